/*
 * TCP windows: how far a fresh connection may send, and how much a peer may send to us.
 *
 * Invariant: rx_grown is the sum of the records' rx_grown, and never above RX_GROWN_MAX.
 */
#include "port_conn.h"

#define FIRST_WINDOW 10		/* segments */
#define WINDOW_MIN   2		/* segments: less would be sent in small pieces */
#define RX_FIRST     65535u	/* bytes: what a SYN can offer without scaling */
#define RX_GROWN_MAX (1u << 28) /* ours: bytes, for 256 programs that read at full speed */

static u32_t rx_grown; /* by how much all receive windows exceed the first ones */

/*
 * lwIP grows the window in slow start by at most two segments per acknowledgement; a receiver that
 * acknowledges a whole batch at once (as port_ring.c does) would slow it down. Count bytes instead,
 * as RFC 3465 with its limit L raised, as Linux does. Not while recovering from a loss.
 */
void port_tcp_grow_window(struct tcp_pcb *pcb, u32_t acked)
{
	u32_t counted = 2u * pcb->mss;

	if (pcb->cwnd >= pcb->ssthresh || (pcb->flags & (TF_RTO | TF_INFR)) || acked <= counted)
		return;
	pcb->cwnd = LWIP_MIN(pcb->cwnd + acked - counted, TCP_SND_BUF);
}

/* RFC 6928, as Linux: ten segments at once on a fresh connection. lwIP starts with two. */
void port_tcp_first_window(struct tcp_pcb *pcb)
{
	pcb->cwnd = LWIP_MAX(pcb->cwnd, FIRST_WINDOW * (u32_t)pcb->mss);
}

/*
 * Receive windows. What a peer has sent and the program has not read lies here or at the host, so a
 * window is memory that a peer may fill. It begins with what a SYN can offer and grows by what the
 * program reads, so that it doubles with each window that is read, to TCP_WND or what the program
 * set as its buffer; all connections together grow by RX_GROWN_MAX at most. A program that asks for
 * less than there is gets it by reading: what was offered is never taken back.
 */
static u32_t window_limit(const struct conn *c)
{
	u32_t least = WINDOW_MIN * (u32_t)c->pcb->mss;
	u32_t most = TCP_WND_MAX(c->pcb);

	if (c->tuning.receive_max == 0)
		return most;
	return LWIP_MIN(LWIP_MAX(c->tuning.receive_max, least), most);
}

void port_tcp_first_receive_window(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	u32_t first = LWIP_MIN(window_limit(c), RX_FIRST);

	c->rx_shrunk = RX_FIRST - first;
	pcb->rcv_wnd = LWIP_MIN(pcb->rcv_wnd, first);
	pcb->rcv_ann_wnd = LWIP_MIN(pcb->rcv_ann_wnd, pcb->rcv_wnd);
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
}

static u32_t window_size(const struct conn *c)
{
	return RX_FIRST + c->rx_grown - c->rx_shrunk;
}

static u32_t shrink(struct conn *c, u32_t count)
{
	u32_t grown = LWIP_MIN(count, c->rx_grown);

	c->rx_grown -= grown;
	rx_grown -= grown;
	c->rx_shrunk += count - grown;
	return count;
}

static u32_t grow(struct conn *c, u32_t count)
{
	u32_t back = LWIP_MIN(count, c->rx_shrunk);
	u32_t more = LWIP_MIN(count - back, RX_GROWN_MAX - rx_grown);

	c->rx_shrunk -= back;
	c->rx_grown += more;
	rx_grown += more;
	return back + more;
}

u32_t port_tcp_receive_window(struct conn *c, u32_t count)
{
	u32_t size = window_size(c);
	u32_t limit = window_limit(c);

	if (size > limit)
		return count - shrink(c, LWIP_MIN(count, size - limit));
	return count + grow(c, LWIP_MIN(count, limit - size));
}

/*
 * lwIP tells a peer of four segments of its largest MSS at least; one with a smaller window would
 * wait for the timer of delayed acknowledgements. Half the window, as RFC 9293 3.8.6.2.2.
 */
int port_tcp_must_update(const struct conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;
	s32_t opened = (s32_t)(pcb->rcv_nxt + pcb->rcv_ann_wnd - pcb->rcv_ann_right_edge);

	return opened >= (s32_t)(window_size(c) / 2);
}

u32_t port_tcp_windows(void)
{
	return rx_grown;
}

void port_tcp_return_window(struct conn *c)
{
	rx_grown -= c->rx_grown;
	c->rx_grown = 0;
	c->rx_shrunk = 0;
}
