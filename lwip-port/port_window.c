/*
 * TCP windows: how far a fresh connection may send, and how much a peer may send to us.
 *
 * Invariant: rx_grown is the sum of the records' rx_grown, and never above RX_GROWN_MAX.
 */
#include "port_conn.h"

#define FIRST_WINDOW 10		/* segments */
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
 * program reads, so that it doubles with each window that is read, to TCP_WND; all connections
 * together grow by RX_GROWN_MAX at most.
 */
void port_tcp_first_receive_window(struct tcp_pcb *pcb)
{
	pcb->rcv_wnd = LWIP_MIN(pcb->rcv_wnd, RX_FIRST);
	pcb->rcv_ann_wnd = LWIP_MIN(pcb->rcv_ann_wnd, pcb->rcv_wnd);
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
}

/* Bytes by which the window of @c grows when the program has read @count. */
u32_t port_tcp_grow_receive_window(struct conn *c, u32_t count)
{
	u32_t most = TCP_WND_MAX(c->pcb) - RX_FIRST;
	u32_t n = LWIP_MIN(LWIP_MIN(count, most - c->rx_grown), RX_GROWN_MAX - rx_grown);

	c->rx_grown += n;
	rx_grown += n;
	return n;
}

u32_t port_tcp_windows(void)
{
	return rx_grown;
}

void port_tcp_return_window(struct conn *c)
{
	rx_grown -= c->rx_grown;
	c->rx_grown = 0;
}
