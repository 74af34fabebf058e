/*
 * TCP: lwIP's callbacks, the events made of them, and the host's calls on connections.
 *
 * Records and their phases are described in port_conn.c, opening is in port_connect.c, listeners in
 * port_listen.c, windows in port_window.c; what the host hears of it is made in port_tcp_events.c.
 *
 * Contents: callbacks, hooks, output, settings, data, options and questions.
 *
 * Closing never uses tcp_close(): that answers unread window with RST and stops the activity clock
 * that LAST_ACK depends on. A FIN is queued behind all data, and the rest happens in on_poll().
 * Data that arrives after the host closed is answered with RST, as Linux does.
 *
 * The receive window opens only by port_tcp_credit(). What the host writes is copied; a write that
 * the heap refuses is remembered (starved) and the host hears SENT 0 when there is room again. A
 * write above the connection's share is not: what it has under way tells when to go on.
 */
#include "port_conn.h"
#include "port_hooks.h"

#define NEIGHBOUR_MS	  3000	 /* [5 section 10] */
#define FIN_WAIT_MS	  60000	 /* as Linux; lwIP's 20 s is too short [5 section 6.1] */
#define ORPHAN_MS	  120000 /* ours: a closed connection whose peer takes nothing */
#define SHARE_MIN	  2	 /* segments that every connection may have under way */
#define CLOSED_WINDOW_RTX 6	 /* back-off of a FIN into a closed window: some 20 s */
#define SYN_RTO_MAX	  640	 /* ticks of 100 ms */
#define POLL_TICKS	  5	 /* of 100 ms */

static struct conn *dirty;
static u8_t netif_changing;
u8_t port_syn_replay;

/* --- callbacks of lwIP --------------------------------------------------------------------------
 */

/* Take a chain apart into the record's own list. Zero-length elements (trimmed) are dropped. */
static void rx_append(struct conn *c, struct pbuf *p)
{
	while (p != NULL) {
		struct pbuf *rest = p->next;

		p->next = NULL;
		p->tot_len = p->len;
		if (p->len == 0) {
			pbuf_free(p);
		} else {
			c->rx_bytes += p->len;
			if (c->rx_first == NULL)
				c->rx_first = p;
			else
				c->rx_last->next = p;
			c->rx_last = p;
		}
		p = rest;
	}
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *c = arg;

	LWIP_UNUSED_ARG(err);
	LWIP_UNUSED_ARG(pcb);
	c->since = port_now();
	if (c->phase == PH_CLOSING) {
		if (p == NULL)
			return ERR_OK;
		pbuf_free(p);
		conn_give_up(c);
		return ERR_ABRT;
	}
	if (p == NULL) {
		c->flags |= F_FIN;
	} else {
		c->tuning.received += p->tot_len;
		rx_append(c, p);
	}
	port_ring_push(&c->src);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct conn *c = arg;

	c->since = port_now();
	c->tuning.progress = port_now();
	c->tuning.acked += len;
	port_measure_acked(c);
	port_tcp_grow_window(pcb, len);
	if (c->phase != PH_OPEN)
		return ERR_OK;
	c->sent += len;
	port_ring_push(&c->src);
	return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
	struct conn *c = arg;

	/* ERR_CLSD: both directions ended in order; the host has seen or will see FIN. */
	if (c == NULL || err == ERR_CLSD || (c->phase != PH_CONNECTING && c->phase != PH_OPEN))
		return;
	if (netif_changing)
		err = ERR_RST;
	c->error = PORT_ERR(c->phase == PH_CONNECTING ? PORT_PLACE_SYN_SENT : PORT_PLACE_OPEN, err);
	c->flags |= F_ERROR;
	port_ring_push(&c->src);
}

/* Ends a connection from within its poll: the host hears of it, the peer nothing. */
static err_t fail(struct conn *c, int place, err_t err)
{
	struct tcp_pcb *pcb = c->pcb;

	c->error = PORT_ERR(place, err);
	c->flags |= F_ERROR;
	port_ring_push(&c->src);
	tcp_err(pcb, NULL);
	tcp_abandon(pcb, 0);
	return ERR_ABRT;
}

/* How long a handshake may take: TCP_USER_TIMEOUT, or the time of TCP_SYNCNT repetitions. */
static u32_t connect_limit(const struct conn *c)
{
	u32_t count = c->tuning.syn_count;

	if (c->tuning.user_timeout != 0)
		return c->tuning.user_timeout;
	return count == 0 || count >= TCP_SYNMAXRTX ? PORT_NEVER
						    : ((2u << count) - 1) * LWIP_TCP_RTO_TIME;
}

static err_t poll_connecting(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	u32_t rto = LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL << pcb->nrtx;
	u32_t elapsed = port_now() - c->since;

	/* lwIP repeats a SYN at a fixed interval; double it as Linux does. */
	pcb->rto = (s16_t)LWIP_MIN(rto, SYN_RTO_MAX);
	if (elapsed >= connect_limit(c))
		return fail(c, PORT_PLACE_SYN_SENT, ERR_TIMEOUT);
	if (elapsed < NEIGHBOUR_MS || port_neighbour_known(&pcb->local_ip, &pcb->remote_ip))
		return ERR_OK;
	return fail(c, PORT_PLACE_SYN_SENT, ERR_RTE);
}

/* TCP_USER_TIMEOUT: bytes wait, sent or not, and no acknowledgement came for that long. */
static err_t poll_open(struct conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;

	if (c->tuning.user_timeout == 0 || (pcb->unacked == NULL && pcb->unsent == NULL) ||
	    port_now() - c->tuning.progress < c->tuning.user_timeout)
		return ERR_OK;
	return fail(c, PORT_PLACE_OPEN, ERR_TIMEOUT);
}

static err_t poll_closing(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	u32_t idle = port_now() - c->since;

	if (pcb->state == FIN_WAIT_2 && idle >= FIN_WAIT_MS) {
		tcp_err(pcb, NULL);
		tcp_abandon(pcb, 0);
		return ERR_ABRT;
	}
	if (idle >= ORPHAN_MS) {
		conn_give_up(c);
		return ERR_ABRT;
	}
	return ERR_OK;
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
	struct conn *c = arg;

	LWIP_UNUSED_ARG(pcb);
	if (c->phase == PH_CONNECTING)
		return poll_connecting(c);
	if (c->phase == PH_CLOSING)
		return poll_closing(c);
	return c->phase == PH_OPEN ? poll_open(c) : ERR_OK;
}

err_t port_tcp_on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = arg;

	LWIP_UNUSED_ARG(err);
	c->since = port_now();
	port_tcp_first_window(pcb);
	port_tcp_first_receive_window(c);
	if (c->flags & F_SHUT)
		tcp_shutdown(pcb, 0, 1);
	c->phase = PH_OPEN;
	c->flags |= F_CONNECTED;
	port_ring_push(&c->src);
	return ERR_OK;
}

void port_tcp_callbacks(struct tcp_pcb *pcb)
{
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	tcp_poll(pcb, on_poll, POLL_TICKS);
}

/* --- hooks of lwIP ------------------------------------------------------------------------------
 */

/*
 * A new SYN above the window of a connection in TIME_WAIT starts a new one (RFC 1122 4.2.2.13).
 * lwIP would answer with an ACK and make the client wait. The caller feeds the SYN in again.
 */
static err_t reuse_time_wait(struct tcp_pcb *pcb, const struct tcp_hdr *hdr)
{
	if ((TCPH_FLAGS(hdr) & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN ||
	    !TCP_SEQ_GT(hdr->seqno, pcb->rcv_nxt))
		return ERR_OK;
	tcp_abort(pcb);
	port_syn_replay = 1;
	PORT_COUNT(timeWaitReused);
	return ERR_ABRT;
}

/*
 * With a closed receive window lwIP takes every segment for one outside of it and answers, even an
 * acknowledgement that says nothing new; two such peers would answer each other for ever. Nothing
 * has to be said to an empty segment at RCV.NXT (RFC 9293 3.10.7.4), or one further: lwIP sends its
 * FIN even into a closed window. Duplicates that may stand for lost data still pass.
 */
static int is_idle_ack(const struct tcp_pcb *pcb, const struct tcp_hdr *hdr, const struct pbuf *p)
{
	return pcb->rcv_wnd == 0 && p->tot_len == 0 && pcb->snd_nxt - pcb->lastack <= 1 &&
	       (TCPH_FLAGS(hdr) & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK &&
	       hdr->seqno - pcb->rcv_nxt <= 1 && hdr->ackno == pcb->lastack &&
	       (tcpwnd_size_t)SND_WND_SCALE(pcb, hdr->wnd) == pcb->snd_wnd;
}

/*
 * A peer that answers but keeps its window closed is alive: a FIN it cannot take must be repeated,
 * at a long interval, and not end the connection after TCP_MAXRTX.
 */
static void forgive_closed_window(struct tcp_pcb *pcb, const struct tcp_hdr *hdr)
{
	if ((TCPH_FLAGS(hdr) & TCP_ACK) && hdr->wnd == 0 && pcb->snd_wnd == 0)
		pcb->nrtx = (u8_t)LWIP_MIN(pcb->nrtx, CLOSED_WINDOW_RTX);
}

err_t port_hook_inpacket(struct tcp_pcb *pcb, struct tcp_hdr *hdr, struct pbuf *p)
{
	if (pcb->state == TIME_WAIT)
		return reuse_time_wait(pcb, hdr);
	if (pcb->state < ESTABLISHED)
		return ERR_OK;
	if (pcb->callback_arg != NULL)
		port_measure_input(pcb->callback_arg);
	forgive_closed_window(pcb, hdr);
	return is_idle_ack(pcb, hdr, p) ? ERR_VAL : ERR_OK;
}

/* --- output -------------------------------------------------------------------------------------
 */

static void mark_dirty(struct conn *c)
{
	if (c->flags & F_DIRTY)
		return;
	c->flags |= F_DIRTY;
	c->dirty_next = dirty;
	dirty = c;
}

/* Sends what was written. A connection that meets a full transmit ring stays for the next time. */
void port_tcp_flush(void)
{
	struct conn *list = dirty;

	dirty = NULL;
	while (list != NULL) {
		struct conn *c = list;

		list = c->dirty_next;
		c->dirty_next = NULL;
		c->flags &= (u16_t)~F_DIRTY;
		if (c->phase == PH_FREE || c->pcb == NULL)
			continue;
		if (tcp_output(c->pcb) == ERR_BUF)
			mark_dirty(c);
		port_measure_sent(c);
	}
}

int port_tcp_unflushed(void)
{
	return dirty != NULL;
}

/* --- settings ----------------------------------------------------------------------------------
 */

static void set_keepalive(struct tcp_pcb *pcb)
{
	if (io.settings.keep == 0) {
		ip_reset_option(pcb, SOF_KEEPALIVE);
		return;
	}
	ip_set_option(pcb, SOF_KEEPALIVE);
	pcb->keep_idle = io.settings.idle_ms;
	pcb->keep_intvl = io.settings.interval_ms;
	pcb->keep_cnt = io.settings.count;
}

/* Takes what io.settings say. */
void port_tcp_apply(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	if (io.settings.no_delay)
		tcp_nagle_disable(pcb);
	else
		tcp_nagle_enable(pcb);
	set_keepalive(pcb);
	pcb->ttl = (u8_t)io.settings.ttl;
	pcb->tos = (u8_t)io.settings.tos;
	c->tuning.send_max = io.settings.send_max;
	c->tuning.receive_max = io.settings.receive_max;
	c->tuning.user_timeout = io.settings.user_timeout_ms;
	c->tuning.syn_count = (u8_t)LWIP_MIN(io.settings.syn_count, 255);
}

/* --- data ---------------------------------------------------------------------------------------
 */

/* Not before the handshake is complete: lwIP would cut the data into segments of 536 bytes. */
static int may_write(const struct conn *c)
{
	return c != NULL && c->pcb != NULL &&
	       (c->pcb->state == ESTABLISHED || c->pcb->state == CLOSE_WAIT);
}

/*
 * Room in the connection's send buffer, which the program may have limited, and in its share of the
 * heap. A connection above its share
 * takes nothing until acknowledgements have brought it a segment below: no small pieces.
 */
static u32_t send_room(const struct conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;
	u32_t held = TCP_SND_BUF - pcb->snd_buf;
	u32_t share = port_heap_tx_share();

	if (c->tuning.send_max != 0)
		share = LWIP_MIN(share, c->tuning.send_max);
	share = LWIP_MAX(share, SHARE_MIN * (u32_t)pcb->mss);
	if (share >= TCP_SND_BUF)
		return pcb->snd_buf;
	return held + pcb->mss > share ? 0 : LWIP_MIN(share - held, pcb->snd_buf);
}

uint32_t PORT_EXPORT(port_tcp_write)(double now, uint32_t handle, uint32_t len, uint32_t more)
{
	struct conn *c;
	u8_t flags = (u8_t)(TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0));
	u32_t n, room;

	port_enter(now);
	c = conn_live(handle);
	if (!may_write(c) || len > PORT_DATA_MAX)
		return 0;
	if (!port_heap_tx_ok()) {
		conn_starve(c);
		return 0;
	}
	room = send_room(c);
	n = LWIP_MIN(LWIP_MIN(len, 0xffff), room);
	if (c->pcb->unacked == NULL && c->pcb->unsent == NULL)
		c->tuning.progress = port_now();
	/* A full queue of tiny segments, or no memory: try less, then wait. */
	while (n > 0 && tcp_write(c->pcb, io.data, (u16_t)n, flags) != ERR_OK)
		n /= 2;
	if (n == 0 && room > 0 && len > 0)
		conn_starve(c);
	/* With more to come a partial segment waits, but full ones go. */
	if (!more || (c->pcb->unsent != NULL && c->pcb->unsent->next != NULL))
		mark_dirty(c);
	return n;
}

uint32_t PORT_EXPORT(port_tcp_room)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_of(handle);
	if (!may_write(c))
		return 0;
	if (!port_heap_tx_ok()) {
		conn_starve(c);
		return 0;
	}
	return send_room(c);
}

void PORT_EXPORT(port_tcp_credit)(double now, uint32_t handle, uint32_t count)
{
	struct conn *c;

	port_enter(now);
	c = conn_live(handle);
	if (c == NULL)
		return;
	count = LWIP_MIN(count, c->owed);
	c->owed -= count;
	if (c->pcb != NULL)
		count = port_tcp_receive_window(c, count);
	while (count > 0 && c->pcb != NULL) {
		u16_t n = (u16_t)LWIP_MIN(count, 0xffff);

		tcp_recved(c->pcb, n);
		count -= n;
	}
	if (c->pcb != NULL && port_tcp_must_update(c)) {
		tcp_ack_now(c->pcb);
		mark_dirty(c);
	}
}

/*
 * FIN behind all data. Without memory for it lwIP keeps TF_CLOSEPEND and retries from its timer;
 * before the handshake is complete on_connected() does it.
 */
static void end_output(struct conn *c)
{
	c->flags |= F_SHUT;
	tcp_shutdown(c->pcb, 0, 1);
}

void PORT_EXPORT(port_tcp_shutdown)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_live(handle);
	if (c != NULL && c->pcb != NULL)
		end_output(c);
}

void PORT_EXPORT(port_tcp_close)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_live(handle);
	if (c == NULL)
		return;
	/* Input that nobody took is answered with RST, as on Linux. */
	if (c->pcb == NULL || c->phase == PH_CONNECTING || c->rx_first != NULL) {
		conn_give_up(c);
		return;
	}
	port_listen_leave(c);
	c->phase = PH_CLOSING;
	c->since = port_now();
	end_output(c);
}

void PORT_EXPORT(port_tcp_abort)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_live(handle);
	if (c != NULL)
		conn_give_up(c);
}

/* --- options and questions ----------------------------------------------------------------------
 */

void PORT_EXPORT(port_tcp_options)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_live(handle);
	if (c == NULL || c->pcb == NULL)
		return;
	port_tcp_apply(c);
	/* What Nagle's algorithm held back may go. */
	if (io.settings.no_delay)
		mark_dirty(c);
}

int32_t PORT_EXPORT(port_tcp_names)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_of(handle);
	if (c == NULL || c->pcb == NULL)
		return 0;
	port_to_endpoint(&io.local, &c->pcb->local_ip, c->pcb->local_port);
	port_to_endpoint(&io.remote, &c->pcb->remote_ip, c->pcb->remote_port);
	return 1;
}

void port_tcp_netif_change(int begin)
{
	netif_changing = (u8_t)begin;
}
