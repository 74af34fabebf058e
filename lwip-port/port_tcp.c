/*
 * TCP: connections, listeners, and their way to the host.
 *
 * A *connection record* (struct conn) joins a handle of the host with a pcb of lwIP. It outlives
 * both: the pcb may die first (the host must still hear of it), or the host may close first (the
 * pcb finishes in the background, through FIN_WAIT and TIME_WAIT). lwIP tells of a pcb's end
 * through the "destroyed" callback of its extension argument, whatever the reason.
 *
 * Phases:  PH_HALF_OPEN  SYN received, not the host's yet           -> PH_QUEUED, free
 *          PH_QUEUED     established, waits to be handed out        -> PH_OPEN, free
 *          PH_CONNECTING SYN sent                                   -> PH_OPEN, free (error)
 *          PH_OPEN       the host's                                 -> PH_CLOSING, free (error)
 *          PH_CLOSING    closed by the host, pcb still at work      -> free
 * Every phase ends by time: PH_HALF_OPEN 20 s (lwIP), PH_CONNECTING 127 s or 3 s without a
 * neighbour, PH_OPEN by retransmission or keep-alive, PH_CLOSING by ORPHAN_MS without progress or
 * FIN_WAIT_MS, TIME_WAIT by TIME_WAIT_MS or earlier when more than TIME_WAIT_MAX are waiting.
 *
 * Closing never uses tcp_close(): that answers unread window with RST and stops the activity clock
 * that LAST_ACK depends on. A FIN is queued behind all data, and the rest happens in poll(). Data
 * that arrives after the host closed is answered with RST, as Linux does.
 *
 * The receive window opens only by port_tcp_credit(). What the host writes is copied; a write that
 * the heap refuses is remembered (starved) and the host hears SENT 0 when there is room again.
 */
#include "port.h"
#include "port_hooks.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#include <string.h>

#define PORT_FIRST     49152u /* [5 section 6.4] */
#define PORT_COUNT_ALL 16384u
#define BACKLOG_MAX    4096u /* [5 section 6.2] */
#define LISTEN_BIT     (1u << 30)

#define NEIGHBOUR_MS	  3000	 /* [5 section 10] */
#define FIN_WAIT_MS	  60000	 /* as Linux; lwIP's 20 s is too short [5 section 6.1] */
#define ORPHAN_MS	  120000 /* ours: a closed connection whose peer takes nothing */
#define TIME_WAIT_MS	  10000	 /* ours: several round trips; Linux waits 60 s */
#define TIME_WAIT_MAX	  4096u	 /* ours: lwIP walks this list for every SYN */
#define LAST_ACK_MS	  120000
#define CLOSED_WINDOW_RTX 6   /* back-off of a FIN into a closed window: some 20 s */
#define SYN_RTO_MAX	  640 /* ticks of 100 ms */
#define POLL_TICKS	  5   /* of 100 ms */

enum phase { PH_FREE, PH_HALF_OPEN, PH_QUEUED, PH_CONNECTING, PH_OPEN, PH_CLOSING };

#define F_CONNECTED 0x01
#define F_FIN	    0x02
#define F_ERROR	    0x04
#define F_WAKE	    0x08
#define F_DIRTY	    0x10 /* linked in the output list */
#define F_STARVED   0x20
#define F_HELD	    0x40      /* counted in its listener's backlog by the host */
#define F_SHUT	    0x80      /* FIN as soon as the handshake is complete */
#define F_KEEP	    (F_DIRTY) /* survives the record's reuse, as the link does */

struct listener;

struct conn {
	struct source src; /* first: cast both ways */
	u32_t handle;
	struct tcp_pcb *pcb; /* NULL once lwIP freed it */
	struct listener *listener;
	struct pbuf *rx_first; /* own list through ->next, each with tot_len == len */
	struct pbuf *rx_last;
	struct conn *dirty_next;
	u32_t rx_bytes;
	u32_t owed;  /* handed out and not credited */
	u32_t sent;  /* acknowledged and not reported */
	u32_t since; /* clock of the last progress */
	u32_t ack_slot;
	s32_t error;
	u16_t local_port; /* counted in port_users */
	u8_t phase;
	u8_t flags;
};

struct listener {
	struct tcp_pcb *pcb;
	u32_t handle;
	u16_t backlog;
	u16_t waiting; /* connections in PH_HALF_OPEN, PH_QUEUED or held */
	u8_t used;
	u8_t v6_only;
};

static struct conn conns[PORT_CONNS_MAX];
static struct listener listeners[PORT_LISTENS_MAX];
static u16_t free_conns[PORT_CONNS_MAX]; /* stack of indices given back */
static u32_t free_count;
static u32_t fresh = 1; /* records from here on were never used; index 0 is no handle */
static u32_t conns_used;
static u32_t starved;
static u16_t port_users[PORT_COUNT_ALL];
static struct conn *dirty;
static u8_t netif_changing;
static u32_t time_wait_seen;
static u8_t ext_id;
u8_t port_syn_replay;

/* --- records ------------------------------------------------------------------------------------
 */

static void count_port(u32_t port, int by)
{
	if (port >= PORT_FIRST)
		port_users[port - PORT_FIRST] = (u16_t)(port_users[port - PORT_FIRST] + by);
}

static u32_t next_handle(u32_t old, u32_t index)
{
	u32_t gen = ((old >> PORT_INDEX_BITS) + 1) & 0x7fff;

	return gen << PORT_INDEX_BITS | index;
}

static struct conn *conn_new(void)
{
	struct conn *c;
	u32_t i;

	if (free_count > 0)
		i = free_conns[--free_count];
	else if (fresh < PORT_CONNS_MAX)
		i = fresh++;
	else
		return NULL;
	c = &conns[i];
	c->src.kind = SOURCE_TCP;
	c->handle = next_handle(c->handle, i);
	c->flags &= F_KEEP;
	c->since = port_now();
	conns_used++;
	return c;
}

static void rx_free(struct conn *c)
{
	while (c->rx_first != NULL) {
		struct pbuf *p = c->rx_first;

		c->rx_first = p->next;
		p->next = NULL;
		pbuf_free(p);
	}
	c->rx_last = NULL;
	c->rx_bytes = 0;
}

static void listener_leave(struct conn *c)
{
	if (c->listener != NULL &&
	    (c->phase == PH_HALF_OPEN || c->phase == PH_QUEUED || (c->flags & F_HELD) != 0))
		c->listener->waiting--;
	c->flags &= (u8_t)~F_HELD;
}

/* The record's links in the source and output lists stay valid: both skip PH_FREE records. */
static void conn_free(struct conn *c)
{
	LWIP_ASSERT("conn_free: pcb is gone", c->pcb == NULL);
	rx_free(c);
	listener_leave(c);
	if (c->flags & F_STARVED)
		starved--;
	count_port(c->local_port, -1);
	c->local_port = 0;
	c->listener = NULL;
	c->owed = 0;
	c->sent = 0;
	c->ack_slot = 0;
	c->phase = PH_FREE;
	c->flags &= F_KEEP;
	free_conns[free_count++] = (u16_t)(c->handle & ((1u << PORT_INDEX_BITS) - 1));
	conns_used--;
}

static struct conn *conn_of(u32_t handle)
{
	u32_t i = handle & ((1u << PORT_INDEX_BITS) - 1);
	struct conn *c = &conns[i];

	if (i == 0 || i >= PORT_CONNS_MAX || c->handle != handle)
		return NULL;
	return c->phase == PH_CONNECTING || c->phase == PH_OPEN ? c : NULL;
}

static struct listener *listener_of(u32_t handle)
{
	u32_t i = handle & ((1u << PORT_INDEX_BITS) - 1);

	if (i >= PORT_LISTENS_MAX || !listeners[i].used || listeners[i].handle != handle)
		return NULL;
	return &listeners[i];
}

/* --- callbacks of lwIP --------------------------------------------------------------------------
 */

static void on_destroyed(u8_t id, void *data)
{
	struct conn *c = data;

	LWIP_UNUSED_ARG(id);
	if (c == NULL)
		return;
	c->pcb = NULL;
	if (c->phase != PH_CONNECTING && c->phase != PH_OPEN)
		conn_free(c);
}

static err_t on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb);

static const struct tcp_ext_arg_callbacks ext_callbacks = {on_destroyed, on_passive_open};

static void attach(struct conn *c, struct tcp_pcb *pcb)
{
	c->pcb = pcb;
	tcp_arg(pcb, c);
	tcp_ext_arg_set(pcb, ext_id, c);
	tcp_ext_arg_set_callbacks(pcb, ext_id, &ext_callbacks);
}

static err_t on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
	struct listener *l = lpcb->callback_arg;
	struct conn *c;

	LWIP_UNUSED_ARG(id);
	tcp_arg(pcb, NULL);
	if (l == NULL || l->waiting >= l->backlog) {
		PORT_COUNT(dropSynBacklog);
		return ERR_MEM;
	}
	c = conn_new();
	if (c == NULL) {
		PORT_COUNT(dropSynTable);
		return ERR_MEM;
	}
	c->phase = PH_HALF_OPEN;
	c->listener = l;
	l->waiting++;
	attach(c, pcb);
	return ERR_OK;
}

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

static void give_up(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	listener_leave(c);
	c->phase = PH_CLOSING;
	if (pcb == NULL) {
		conn_free(c);
		return;
	}
	tcp_err(pcb, NULL);
	tcp_abandon(pcb, pcb->state != SYN_SENT);
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
		give_up(c);
		return ERR_ABRT;
	}
	if (p == NULL)
		c->flags |= F_FIN;
	else
		rx_append(c, p);
	port_ring_push(&c->src);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct conn *c = arg;

	LWIP_UNUSED_ARG(pcb);
	c->since = port_now();
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

static err_t fail_connect(struct conn *c, err_t err)
{
	struct tcp_pcb *pcb = c->pcb;

	c->error = PORT_ERR(PORT_PLACE_SYN_SENT, err);
	c->flags |= F_ERROR;
	port_ring_push(&c->src);
	tcp_err(pcb, NULL);
	tcp_abandon(pcb, 0);
	return ERR_ABRT;
}

static err_t poll_connecting(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	u32_t rto = LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL << pcb->nrtx;

	/* lwIP repeats a SYN at a fixed interval; double it as Linux does. */
	pcb->rto = (s16_t)LWIP_MIN(rto, SYN_RTO_MAX);
	if (port_now() - c->since < NEIGHBOUR_MS ||
	    port_neighbour_known(&pcb->local_ip, &pcb->remote_ip))
		return ERR_OK;
	return fail_connect(c, ERR_RTE);
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
		give_up(c);
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
	return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = arg;

	LWIP_UNUSED_ARG(err);
	c->since = port_now();
	if (c->flags & F_SHUT)
		tcp_shutdown(pcb, 0, 1);
	c->phase = PH_OPEN;
	c->flags |= F_CONNECTED;
	port_ring_push(&c->src);
	return ERR_OK;
}

static void set_callbacks(struct tcp_pcb *pcb)
{
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	tcp_poll(pcb, on_poll, POLL_TICKS);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c;

	LWIP_UNUSED_ARG(arg);
	if (err != ERR_OK || pcb == NULL)
		return ERR_VAL;
	c = tcp_ext_arg_get(pcb, ext_id);
	LWIP_ASSERT("on_accept: half open", c->phase == PH_HALF_OPEN);
	c->phase = PH_QUEUED;
	c->since = port_now();
	c->local_port = pcb->local_port;
	count_port(c->local_port, 1);
	set_callbacks(pcb);
	port_ring_push(&c->src);
	return ERR_OK;
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
	forgive_closed_window(pcb, hdr);
	return is_idle_ack(pcb, hdr, p) ? ERR_VAL : ERR_OK;
}

/*
 * Half of how long lwIP keeps `pcb` in TIME_WAIT or LAST_ACK. lwIP asks for each pcb of the
 * TIME_WAIT list in turn, newest first, so counting the questions bounds the list.
 */
unsigned long port_msl_ms(const struct tcp_pcb *pcb)
{
	if (pcb->state != TIME_WAIT)
		return LAST_ACK_MS / 2;
	if (pcb == tcp_tw_pcbs)
		time_wait_seen = 0;
	if (++time_wait_seen <= TIME_WAIT_MAX)
		return TIME_WAIT_MS / 2;
	if (tcp_ticks != pcb->tmr)
		PORT_COUNT(timeWaitEvicted);
	return 0;
}

u32_t *port_tcp_ack_slot(const struct netif_hint *hints)
{
	const struct tcp_pcb *pcb;
	struct conn *c;

	if (hints == NULL)
		return NULL;
	pcb = (const struct tcp_pcb *)(const void *)((const u8_t *)hints -
						     offsetof(struct tcp_pcb, netif_hints));
	c = tcp_ext_arg_get(pcb, ext_id);
	return c == NULL ? NULL : &c->ack_slot;
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
		c->flags &= (u8_t)~F_DIRTY;
		if (c->phase != PH_FREE && c->pcb != NULL && tcp_output(c->pcb) == ERR_BUF)
			mark_dirty(c);
	}
}

int port_tcp_unflushed(void)
{
	return dirty != NULL;
}

void port_tcp_wake(void)
{
	if (starved == 0 || !port_heap_tx_ok())
		return;
	for (u32_t i = 1; i < fresh && starved > 0; i++) {
		struct conn *c = &conns[i];

		if ((c->flags & F_STARVED) == 0)
			continue;
		c->flags = (u8_t)((c->flags & ~F_STARVED) | F_WAKE);
		starved--;
		port_ring_push(&c->src);
	}
}

/* --- events -------------------------------------------------------------------------------------
 */

static int fill_accept(struct conn *c)
{
	struct port_event *ev = port_ring_record(PORT_EV_ACCEPT, c->handle);

	if (ev == NULL)
		return 0;
	ev->a = c->listener->handle;
	port_to_endpoint(&ev->local, &c->pcb->local_ip, c->pcb->local_port);
	port_to_endpoint(&ev->remote, &c->pcb->remote_ip, c->pcb->remote_port);
	c->listener->waiting--;
	c->phase = PH_OPEN;
	return 1;
}

static struct pbuf *rx_pop(struct conn *c)
{
	struct pbuf *p = c->rx_first;

	c->rx_first = p->next;
	if (c->rx_first == NULL)
		c->rx_last = NULL;
	p->next = NULL;
	c->rx_bytes -= p->len;
	c->owed += p->len;
	return p;
}

/* Copies what waits, up to a window's worth, into one piece. NULL: no room, go one by one. */
static u8_t *gather(struct conn *c, u32_t *len)
{
	u32_t want = LWIP_MIN(c->rx_bytes, PORT_DATA_MAX);
	u8_t *to;

	if (c->rx_first->next == NULL)
		return NULL;
	to = port_ring_stage(want);
	if (to == NULL)
		return NULL;
	*len = 0;
	while (c->rx_first != NULL && *len + c->rx_first->len <= want) {
		struct pbuf *p = rx_pop(c);

		memcpy(to + *len, p->payload, p->len);
		*len += p->len;
		pbuf_free(p);
	}
	return to;
}

static int fill_data(struct conn *c)
{
	while (c->rx_first != NULL) {
		struct port_event *ev = port_ring_record(PORT_EV_DATA, c->handle);
		u8_t *piece;
		u32_t len;

		if (ev == NULL)
			return 0;
		piece = gather(c, &len);
		if (piece != NULL) {
			ev->a = (u32_t)(uintptr_t)piece;
			ev->b = len;
		} else {
			struct pbuf *p = rx_pop(c);

			ev->a = (u32_t)(uintptr_t)p->payload;
			ev->b = p->len;
			port_ring_keep(ev, p);
		}
	}
	return 1;
}

static int fill_flag(struct conn *c, u8_t flag, u32_t kind)
{
	if ((c->flags & flag) == 0)
		return 1;
	if (port_ring_record(kind, c->handle) == NULL)
		return 0;
	c->flags &= (u8_t)~flag;
	return 1;
}

static int fill_sent(struct conn *c)
{
	struct port_event *ev;

	if (c->sent == 0 && (c->flags & F_WAKE) == 0)
		return 1;
	ev = port_ring_record(PORT_EV_SENT, c->handle);
	if (ev == NULL)
		return 0;
	ev->a = c->sent;
	c->sent = 0;
	c->flags &= (u8_t)~F_WAKE;
	return 1;
}

static int fill_error(struct conn *c)
{
	struct port_event *ev;

	if ((c->flags & F_ERROR) == 0)
		return 1;
	ev = port_ring_record(PORT_EV_ERROR, c->handle);
	if (ev == NULL)
		return 0;
	ev->a = (u32_t)c->error;
	c->phase = PH_CLOSING;
	conn_free(c);
	return 1;
}

int port_tcp_fill(struct source *s)
{
	struct conn *c = (struct conn *)s;

	if (c->phase == PH_QUEUED && !fill_accept(c))
		return 0;
	if (c->phase != PH_CONNECTING && c->phase != PH_OPEN)
		return 1;
	return fill_flag(c, F_CONNECTED, PORT_EV_CONNECTED) && fill_data(c) && fill_sent(c) &&
	       fill_flag(c, F_FIN, PORT_EV_FIN) && fill_error(c);
}

/* --- opening ------------------------------------------------------------------------------------
 */

static int tuple_used(const ip_addr_t *local, u32_t port, const ip_addr_t *remote, u32_t rport)
{
	struct tcp_pcb *lists[] = {tcp_active_pcbs, tcp_tw_pcbs};

	for (u32_t i = 0; i < 2; i++)
		for (struct tcp_pcb *p = lists[i]; p != NULL; p = p->next)
			if (p->local_port == port && p->remote_port == rport &&
			    ip_addr_eq(&p->remote_ip, remote) && ip_addr_eq(&p->local_ip, local))
				return 1;
	return 0;
}

static int listens_on(u32_t port)
{
	for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next)
		if (l->local_port == port)
			return 1;
	return 0;
}

/* A free ephemeral port; one that only connections elsewhere use, when none is free. 0 = none. */
static u32_t choose_port(const ip_addr_t *local, const ip_addr_t *remote, u32_t rport)
{
	u32_t start = port_rand() % PORT_COUNT_ALL;
	u32_t tries = 64; /* each walks lwIP's lists */

	for (u32_t i = 0; i < PORT_COUNT_ALL; i++) {
		u32_t n = (start + i) % PORT_COUNT_ALL;

		if (port_users[n] == 0 && !listens_on(PORT_FIRST + n))
			return PORT_FIRST + n;
	}
	for (u32_t i = 0; i < tries && remote != NULL; i++) {
		u32_t port = PORT_FIRST + (start + i) % PORT_COUNT_ALL;

		if (!listens_on(port) && !tuple_used(local, port, remote, rport))
			return port;
	}
	return 0;
}

/* 0.0.0.0 and :: as a destination mean this host, as on Linux. */
static void any_to_loopback(ip_addr_t *ip)
{
	if (!ip_addr_isany(ip))
		return;
	if (IP_IS_V6(ip))
		ip_addr_set_loopback(1, ip);
	else
		ip_addr_set_loopback(0, ip);
}

/* Checks both ends and fills in what the host left open. 0 or PORT_ERR. */
static int settle_ends(ip_addr_t *local, u16_t *lport, ip_addr_t *remote, u16_t rport)
{
	ip_addr_t src;
	u32_t port;

	any_to_loopback(remote);
	if (ip_addr_ismulticast(remote) ||
	    (IP_IS_V4(remote) && ip_2_ip4(remote)->addr == IPADDR_BROADCAST))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_RTE);
	if (!ip_addr_isany(local) && IP_IS_V6(local) != IP_IS_V6(remote))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_VAL);
	if (!ip_addr_isany(local) && !port_addr_is_local(local))
		return PORT_ERR(PORT_PLACE_BIND, ERR_RTE);
	if (!port_route(remote, &src))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_RTE);
	if (ip_addr_isany(local))
		ip_addr_copy(*local, src);
	if (*lport != 0)
		return tuple_used(local, *lport, remote, rport) ? PORT_ERR(PORT_PLACE_BIND, ERR_USE)
								: 0;
	port = choose_port(local, remote, rport);
	*lport = (u16_t)port;
	return port != 0 ? 0 : PORT_ERR(PORT_PLACE_CONNECT, ERR_BUF);
}

static int start_connect(const ip_addr_t *local, u16_t lport, const ip_addr_t *remote, u16_t rport)
{
	struct conn *c = conn_new();
	struct tcp_pcb *pcb;
	err_t err;

	if (c == NULL)
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_MEM);
	pcb = tcp_new_ip_type(IP_GET_TYPE(remote));
	if (pcb == NULL) {
		conn_free(c);
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_MEM);
	}
	attach(c, pcb);
	set_callbacks(pcb);
	/* Bound here and not by tcp_bind(), which walks every list to find a conflict. */
	ip_addr_copy(pcb->local_ip, *local);
	pcb->local_port = lport;
	c->phase = PH_CONNECTING;
	err = tcp_connect(pcb, remote, rport, on_connected);
	if (err != ERR_OK) {
		c->phase = PH_CLOSING;
		pcb->local_port = 0;
		tcp_err(pcb, NULL);
		tcp_abort(pcb);
		return PORT_ERR(PORT_PLACE_CONNECT, err);
	}
	c->local_port = lport;
	count_port(lport, 1);
	return (int)c->handle;
}

int32_t PORT_EXPORT(port_tcp_connect)(double now)
{
	ip_addr_t local;
	ip_addr_t remote;
	u16_t lport = io.local.port;
	int err;

	port_enter(now);
	if (io.remote.family == PORT_FAMILY_ANY || port_from_endpoint(&io.remote, &remote) != 0 ||
	    port_from_endpoint(&io.local, &local) != 0)
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_VAL);
	err = settle_ends(&local, &lport, &remote, io.remote.port);
	if (err != 0)
		return err;
	return start_connect(&local, lport, &remote, io.remote.port);
}

/* --- listening ----------------------------------------------------------------------------------
 */

static int overlaps(const ip_addr_t *a, const ip_addr_t *b)
{
	if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
		return 1;
	if (IP_IS_V6(a) != IP_IS_V6(b))
		return 0;
	return ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_eq(a, b);
}

static int listen_conflict(const ip_addr_t *ip, u32_t port)
{
	for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next)
		if (l->local_port == port && overlaps(&l->local_ip, ip))
			return 1;
	return 0;
}

static struct listener *listener_new(void)
{
	for (u32_t i = 0; i < PORT_LISTENS_MAX; i++) {
		struct listener *l = &listeners[i];

		if (l->used)
			continue;
		l->used = 1;
		l->waiting = 0;
		l->handle = (next_handle(l->handle, i) & (LISTEN_BIT - 1)) | LISTEN_BIT;
		return l;
	}
	return NULL;
}

static u16_t clamp_backlog(u32_t backlog)
{
	return (u16_t)LWIP_MIN(LWIP_MAX(backlog, 1), BACKLOG_MAX);
}

static err_t start_listen(struct listener *l, const ip_addr_t *ip, u16_t port)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(ip));
	struct tcp_pcb *lpcb;
	err_t err;

	if (pcb == NULL)
		return ERR_MEM;
	/* Old connections of the port do not hinder, as with SO_REUSEADDR; listen_conflict() does.
	 */
	ip_addr_copy(pcb->local_ip, *ip);
	pcb->local_port = port;
	TCP_REG(&tcp_bound_pcbs, pcb);
	tcp_arg(pcb, l);
	tcp_ext_arg_set_callbacks(pcb, ext_id, &ext_callbacks);
	lpcb = tcp_listen_with_backlog_and_err(pcb, 1, &err);
	if (lpcb == NULL) {
		tcp_abort(pcb);
		return err;
	}
	tcp_accept(lpcb, on_accept);
	l->pcb = lpcb;
	return ERR_OK;
}

int32_t PORT_EXPORT(port_tcp_listen)(double now, uint32_t backlog)
{
	struct listener *l;
	ip_addr_t ip;
	u32_t port = io.local.port;
	err_t err;

	port_enter(now);
	if (port_from_endpoint(&io.local, &ip) != 0)
		return PORT_ERR(PORT_PLACE_BIND, ERR_VAL);
	if (!ip_addr_isany(&ip) && !port_addr_is_local(&ip))
		return PORT_ERR(PORT_PLACE_BIND, ERR_RTE);
	if (port == 0)
		port = choose_port(&ip, NULL, 0);
	if (port == 0)
		return PORT_ERR(PORT_PLACE_BIND, ERR_BUF);
	if (listen_conflict(&ip, port))
		return PORT_ERR(PORT_PLACE_BIND, ERR_USE);
	l = listener_new();
	if (l == NULL)
		return PORT_ERR(PORT_PLACE_BIND, ERR_MEM);
	l->backlog = clamp_backlog(backlog);
	err = start_listen(l, &ip, (u16_t)port);
	if (err != ERR_OK) {
		l->used = 0;
		return PORT_ERR(PORT_PLACE_BIND, err);
	}
	return (int)l->handle;
}

void PORT_EXPORT(port_tcp_backlog)(double now, uint32_t handle, uint32_t backlog)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l != NULL)
		l->backlog = clamp_backlog(backlog);
}

void PORT_EXPORT(port_tcp_unlisten)(double now, uint32_t handle)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l == NULL)
		return;
	for (u32_t i = 1; i < fresh; i++) {
		struct conn *c = &conns[i];

		if (c->phase == PH_FREE || c->listener != l)
			continue;
		listener_leave(c);
		c->listener = NULL;
		if (c->phase == PH_HALF_OPEN || c->phase == PH_QUEUED)
			give_up(c);
	}
	tcp_close(l->pcb);
	l->pcb = NULL;
	l->used = 0;
}

void PORT_EXPORT(port_tcp_hold)(double now, uint32_t handle, uint32_t held)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL || c->listener == NULL || ((c->flags & F_HELD) != 0) == (held != 0))
		return;
	c->flags ^= F_HELD;
	c->listener->waiting = (u16_t)(c->listener->waiting + (held ? 1 : -1));
}

/* --- data ---------------------------------------------------------------------------------------
 */

/* Not before the handshake is complete: lwIP would cut the data into segments of 536 bytes. */
static int may_write(const struct conn *c)
{
	return c != NULL && c->pcb != NULL &&
	       (c->pcb->state == ESTABLISHED || c->pcb->state == CLOSE_WAIT);
}

static void starve(struct conn *c)
{
	if (c->flags & F_STARVED)
		return;
	c->flags |= F_STARVED;
	starved++;
}

uint32_t PORT_EXPORT(port_tcp_write)(double now, uint32_t handle, uint32_t len, uint32_t more)
{
	struct conn *c = conn_of(handle);
	u8_t flags = (u8_t)(TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0));
	u32_t n;

	port_enter(now);
	if (!may_write(c) || len > PORT_DATA_MAX)
		return 0;
	if (!port_heap_tx_ok()) {
		starve(c);
		return 0;
	}
	n = LWIP_MIN(LWIP_MIN(len, 0xffff), c->pcb->snd_buf);
	/* A full queue of tiny segments, or no memory: try less, then wait. */
	while (n > 0 && tcp_write(c->pcb, io.data, (u16_t)n, flags) != ERR_OK)
		n /= 2;
	if (n == 0 && c->pcb->snd_buf > 0 && len > 0)
		starve(c);
	/* With more to come a partial segment waits, but full ones go. */
	if (!more || (c->pcb->unsent != NULL && c->pcb->unsent->next != NULL))
		mark_dirty(c);
	return n;
}

uint32_t PORT_EXPORT(port_tcp_room)(double now, uint32_t handle)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (!may_write(c))
		return 0;
	if (!port_heap_tx_ok()) {
		starve(c);
		return 0;
	}
	return c->pcb->snd_buf;
}

void PORT_EXPORT(port_tcp_credit)(double now, uint32_t handle, uint32_t count)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL)
		return;
	count = LWIP_MIN(count, c->owed);
	c->owed -= count;
	while (count > 0 && c->pcb != NULL) {
		u16_t n = (u16_t)LWIP_MIN(count, 0xffff);

		tcp_recved(c->pcb, n);
		count -= n;
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
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c != NULL && c->pcb != NULL)
		end_output(c);
}

void PORT_EXPORT(port_tcp_close)(double now, uint32_t handle)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL)
		return;
	/* Input that nobody took is answered with RST, as on Linux. */
	if (c->pcb == NULL || c->phase == PH_CONNECTING || c->rx_first != NULL) {
		give_up(c);
		return;
	}
	listener_leave(c);
	c->phase = PH_CLOSING;
	c->since = port_now();
	end_output(c);
}

void PORT_EXPORT(port_tcp_abort)(double now, uint32_t handle)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c != NULL)
		give_up(c);
}

/* --- options and questions ----------------------------------------------------------------------
 */

static void set_keepalive(struct tcp_pcb *pcb, u32_t idle_ms, u32_t interval_ms, u32_t count)
{
	ip_set_option(pcb, SOF_KEEPALIVE);
	pcb->keep_idle = idle_ms;
	pcb->keep_intvl = interval_ms;
	pcb->keep_cnt = count;
}

void PORT_EXPORT(port_tcp_options)(double now, uint32_t handle, uint32_t no_delay, uint32_t keep,
				   uint32_t idle_ms, uint32_t interval_ms, uint32_t count)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL || c->pcb == NULL)
		return;
	if (no_delay == 1) {
		tcp_nagle_disable(c->pcb);
		mark_dirty(c);
	} else if (no_delay == 0) {
		tcp_nagle_enable(c->pcb);
	}
	if (keep == 1)
		set_keepalive(c->pcb, idle_ms, interval_ms, count);
	else if (keep == 0)
		ip_reset_option(c->pcb, SOF_KEEPALIVE);
}

int32_t PORT_EXPORT(port_tcp_info)(double now, uint32_t handle)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL || c->pcb == NULL)
		return 0;
	io.info.state = c->pcb->state;
	io.info.rto_ms = (u32_t)c->pcb->rto * TCP_SLOW_INTERVAL;
	io.info.rtt_ms = (u32_t)(c->pcb->sa * TCP_SLOW_INTERVAL) >> 3;
	io.info.send_mss = tcp_mss(c->pcb);
	io.info.cwnd = c->pcb->cwnd;
	io.info.unacked = c->pcb->snd_nxt - c->pcb->lastack;
	return 1;
}

int32_t PORT_EXPORT(port_tcp_names)(double now, uint32_t handle)
{
	struct conn *c = conn_of(handle);

	port_enter(now);
	if (c == NULL || c->pcb == NULL)
		return 0;
	port_to_endpoint(&io.local, &c->pcb->local_ip, c->pcb->local_port);
	port_to_endpoint(&io.remote, &c->pcb->remote_ip, c->pcb->remote_port);
	return 1;
}

int32_t PORT_EXPORT(port_tcp_listen_name)(double now, uint32_t handle)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l == NULL)
		return 0;
	port_to_endpoint(&io.local, &l->pcb->local_ip, l->pcb->local_port);
	return 1;
}

void port_tcp_init(void)
{
	ext_id = tcp_ext_arg_alloc_id();
}

void port_tcp_netif_change(int begin)
{
	netif_changing = (u8_t)begin;
}

u32_t port_tcp_count(int list)
{
	struct tcp_pcb *lists[] = {tcp_active_pcbs, tcp_tw_pcbs, tcp_listen_pcbs.pcbs,
				   tcp_bound_pcbs};
	u32_t n = 0;

	for (struct tcp_pcb *p = lists[list]; p != NULL; p = p->next)
		n++;
	return n;
}

u32_t port_tcp_handles(void)
{
	return conns_used;
}
