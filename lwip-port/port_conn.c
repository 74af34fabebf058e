/*
 * Connection records: the table, the hash, and where pcbs are kept.
 *
 * A *record* (struct conn) joins a handle of the host with a pcb of lwIP. It outlives both: the pcb
 * may die first (the host must still hear of it), or the host may close first (the pcb finishes in
 * the background, through FIN_WAIT and TIME_WAIT). lwIP tells of a pcb's end through the
 * "destroyed" callback of its extension argument, whatever the reason.
 *
 * Phases:  HALF_OPEN  SYN received, not the host's yet           -> QUEUED, free
 *          QUEUED     established, waits to be handed out        -> OPEN, free
 *          CONNECTING SYN sent                                   -> OPEN, free (error)
 *          OPEN       the host's                                 -> CLOSING, free (error)
 *          CLOSING    closed by the host, pcb still at work      -> free
 * Every phase ends by time: HALF_OPEN 20 s (lwIP), CONNECTING 127 s or 3 s without a neighbour,
 * OPEN by retransmission or keep-alive, CLOSING without progress or in FIN_WAIT_2 (port_tcp.c),
 * TIME_WAIT by TIME_WAIT_MS or earlier when more than TIME_WAIT_MAX are waiting.
 *
 * Places. lwIP searches its lists for every segment and walks them at every tick: with 10,000 idle
 * connections that costs 100 us a segment and 5 % of a CPU at rest (measured). So an idle pcb is
 * *parked*: taken out of lwIP's list and only found by the hash. The hook on IP input looks up the
 * record of each TCP segment and puts its pcb back first; so do the calls of the host that may
 * start a timer. pcbs in TIME_WAIT wait in a list of the port's own, oldest first. lwIP's clock of
 * ticks follows the real one while its timer is stopped (port_time.c), so no timer of a parked pcb
 * is lost; keep-alive is looked after here.
 */
#include "port_conn.h"
#include "port_hooks.h"

#include "lwip/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"

#include <string.h>

#define BUCKETS	      16384u
#define TIME_WAIT_MS  10000 /* ours: several round trips; Linux waits 60 s */
#define TIME_WAIT_MAX 4096u /* ours: bounds memory; the oldest goes first */
#define IDLE_TICKS    10    /* of 100 ms without a segment: parked */
#define FRAGMENT_MS   20000 /* longer than reassembly takes: the rest comes without a port number */
#define WAKE_BYTES    8192 /* ours: what a woken writer is expected to take, two segments and more */
#define KEEP_EARLY_MS 2000 /* listed again before the first keep-alive is due */

struct conn conns[PORT_CONNS_MAX];

static u16_t free_conns[PORT_CONNS_MAX]; /* stack of indices given back */
static u32_t free_count;
static u32_t fresh = 1; /* records from here on were never used; index 0 is no handle */
static u32_t used;
static u32_t parked;
static u32_t starved;
static u32_t wake_at; /* the last one woken */
static u16_t buckets[BUCKETS];
static u32_t secret;
static u16_t wait_first;
static u16_t wait_last;
static u32_t waiting;
static u16_t port_users[PORT_RANGE];
static u8_t ext_id;

static u32_t index_of(const struct conn *c)
{
	return (u32_t)(c - conns);
}

/* --- ports --------------------------------------------------------------------------------------
 */

void conn_count_port(u32_t port, int by)
{
	if (port >= PORT_FIRST)
		port_users[port - PORT_FIRST] = (u16_t)(port_users[port - PORT_FIRST] + by);
}

u32_t conn_unused_port(u32_t start)
{
	for (u32_t i = 0; i < PORT_RANGE; i++) {
		u32_t n = (start + i) % PORT_RANGE;

		if (port_users[n] == 0 && !port_listens_on(PORT_FIRST + n))
			return PORT_FIRST + n;
	}
	return 0;
}

/* --- hash ---------------------------------------------------------------------------------------
 */

static u32_t mix(u32_t h, u32_t word)
{
	h = (h ^ word) * 0x9e3779b1u;
	return h ^ (h >> 15);
}

static u32_t mix_ip(u32_t h, const ip_addr_t *ip)
{
	if (!IP_IS_V6(ip))
		return mix(h, ip_2_ip4(ip)->addr);
	for (u32_t i = 0; i < 4; i++)
		h = mix(h, ip_2_ip6(ip)->addr[i]);
	return h;
}

static u32_t bucket_of(u32_t port, const ip_addr_t *remote, u32_t rport)
{
	return mix_ip(mix(secret, port << 16 | rport), remote) % BUCKETS;
}

struct conn *conn_find(const ip_addr_t *local, u32_t port, const ip_addr_t *remote, u32_t rport)
{
	for (u32_t i = buckets[bucket_of(port, remote, rport)]; i != 0; i = conns[i].hash_next) {
		struct tcp_pcb *p = conns[i].pcb;

		if (p->local_port == port && p->remote_port == rport &&
		    ip_addr_eq(&p->remote_ip, remote) && ip_addr_eq(&p->local_ip, local))
			return &conns[i];
	}
	return NULL;
}

void conn_register(struct conn *c)
{
	const struct tcp_pcb *p = c->pcb;

	c->bucket = (u16_t)bucket_of(p->local_port, &p->remote_ip, p->remote_port);
	c->hash_next = buckets[c->bucket];
	buckets[c->bucket] = (u16_t)index_of(c);
	c->place = PL_LISTED;
}

static void unregister(struct conn *c)
{
	u16_t *link = &buckets[c->bucket];

	while (*link != 0 && *link != index_of(c))
		link = &conns[*link].hash_next;
	if (*link != 0)
		*link = c->hash_next;
	c->hash_next = 0;
}

/* --- places -------------------------------------------------------------------------------------
 */

static void wait_append(struct conn *c)
{
	u16_t i = (u16_t)index_of(c);

	c->wait_prev = wait_last;
	c->wait_next = 0;
	if (wait_last != 0)
		conns[wait_last].wait_next = i;
	else
		wait_first = i;
	wait_last = i;
	waiting++;
	c->place = PL_WAITING;
	c->since = port_now();
}

static void wait_remove(struct conn *c)
{
	if (c->wait_prev != 0)
		conns[c->wait_prev].wait_next = c->wait_next;
	else
		wait_first = c->wait_next;
	if (c->wait_next != 0)
		conns[c->wait_next].wait_prev = c->wait_prev;
	else
		wait_last = c->wait_prev;
	waiting--;
	c->place = PL_NONE;
}

/* Back into lwIP's list. */
static void list(struct conn *c)
{
	if (c->place == PL_PARKED) {
		parked--;
		c->place = PL_LISTED;
		TCP_REG_ACTIVE(c->pcb);
	} else if (c->place == PL_WAITING) {
		wait_remove(c);
		c->place = PL_LISTED;
		TCP_REG(&tcp_tw_pcbs, c->pcb);
	}
}

static struct conn *conn_of_pcb(const struct tcp_pcb *pcb)
{
	return tcp_ext_arg_get(pcb, ext_id);
}

/* Ends the oldest TIME_WAIT: tcp_abort() sends nothing in that state. */
static void evict_oldest(void)
{
	struct conn *c = &conns[wait_first];

	tcp_abort(c->pcb);
}

void port_tcp_settle(void)
{
	while (tcp_tw_pcbs != NULL) {
		struct tcp_pcb *pcb = tcp_tw_pcbs;

		tcp_tw_pcbs = pcb->next;
		pcb->next = NULL;
		wait_append(conn_of_pcb(pcb));
	}
	while (waiting > TIME_WAIT_MAX) {
		PORT_COUNT(timeWaitEvicted);
		evict_oldest();
	}
}

static int keepalive_near(const struct tcp_pcb *pcb)
{
	u32_t idle_ms = (port_tcp_ticks() - pcb->tmr) * TCP_SLOW_INTERVAL;

	return ip_get_option(pcb, SOF_KEEPALIVE) && idle_ms + KEEP_EARLY_MS >= pcb->keep_idle;
}

static int is_idle(const struct tcp_pcb *pcb)
{
	const tcpflags_t busy =
		TF_ACK_DELAY | TF_ACK_NOW | TF_INFR | TF_CLOSEPEND | TF_NAGLEMEMERR | TF_RTO;

	if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT && pcb->state != FIN_WAIT_2)
		return 0;
	return pcb->unsent == NULL && pcb->unacked == NULL && pcb->ooseq == NULL &&
	       pcb->refused_data == NULL && pcb->persist_backoff == 0 && !(pcb->flags & busy) &&
	       port_tcp_ticks() - pcb->tmr >= IDLE_TICKS && !keepalive_near(pcb);
}

static void park_idle(void)
{
	struct tcp_pcb **link = &tcp_active_pcbs;

	while (*link != NULL) {
		struct tcp_pcb *pcb = *link;
		struct conn *c = conn_of_pcb(pcb);

		if (c->phase != PH_OPEN || (s32_t)(port_now() - c->parkable) < 0 || !is_idle(pcb)) {
			link = &pcb->next;
			continue;
		}
		*link = pcb->next;
		pcb->next = NULL;
		pcb->listener = NULL; /* lwIP clears it in its own lists when the listener goes */
		c->place = PL_PARKED;
		parked++;
	}
}

static void list_for_keepalive(void)
{
	if (parked == 0)
		return;
	for (u32_t i = 1; i < fresh; i++)
		if (conns[i].place == PL_PARKED && keepalive_near(conns[i].pcb))
			list(&conns[i]);
}

void port_tcp_second(void)
{
	list_for_keepalive();
	park_idle();
	while (wait_first != 0 && port_now() - conns[wait_first].since >= TIME_WAIT_MS)
		evict_oldest();
}

void port_tcp_list_all(void)
{
	for (u32_t i = 1; i < fresh; i++)
		if (conns[i].place == PL_PARKED)
			list(&conns[i]);
}

/* --- the hook on IP input -----------------------------------------------------------------------
 */

/* Finds the record of a segment whose TCP header starts at `tcp`, and lists its pcb. */
static void list_for(const u8_t *tcp, u32_t len, const ip_addr_t *src, const ip_addr_t *dst,
		     int fragment)
{
	struct conn *c;

	if (len < 4)
		return;
	c = conn_find(dst, (u32_t)(tcp[2] << 8 | tcp[3]), src, (u32_t)(tcp[0] << 8 | tcp[1]));
	if (c == NULL)
		return;
	if (fragment)
		c->parkable = port_now() + FRAGMENT_MS;
	list(c);
}

/* A multicast packet of a group that nobody here joined; lwIP without IGMP takes all. */
static int is_foreign_group(const u8_t *ip, u32_t len)
{
	ip_addr_t dst;

	if (len < IP_HLEN || (ip[16] & 0xf0) != 0xe0)
		return 0;
	memset(&dst, 0, sizeof(dst));
	memcpy(&ip_2_ip4(&dst)->addr, ip + 16, 4);
	return !port_group_joined(&dst);
}

int port_hook_ip4_input(struct pbuf *p, struct netif *in)
{
	const u8_t *ip = p->payload;
	u32_t hlen = (u32_t)(ip[0] & 15) * 4;
	u32_t offset = (u32_t)(ip[6] << 8 | ip[7]);
	ip_addr_t src;
	ip_addr_t dst;

	if (is_foreign_group(ip, p->len)) {
		PORT_COUNT(dropGroup);
		pbuf_free(p);
		return 1;
	}
	if (p->len >= IP_HLEN)
		port_loop_takes(in, ip + 16);
	if (p->len < hlen || hlen < IP_HLEN || ip[9] != IP_PROTO_TCP || (offset & IP_OFFMASK) != 0)
		return 0;
	memset(&src, 0, sizeof(src));
	memset(&dst, 0, sizeof(dst));
	memcpy(&ip_2_ip4(&src)->addr, ip + 12, 4);
	memcpy(&ip_2_ip4(&dst)->addr, ip + 16, 4);
	list_for(ip + hlen, p->len - hlen, &src, &dst, (offset & IP_MF) != 0);
	return 0;
}

/* Offset of the TCP header behind extension headers, or 0. */
static u32_t tcp_offset6(const u8_t *ip, u32_t len, int *fragment)
{
	u32_t next = ip[6];
	u32_t at = IP6_HLEN;

	while (at + 8 <= len) {
		switch (next) {
		case IP6_NEXTH_TCP:
			return at;
		case IP6_NEXTH_FRAGMENT:
			if (((u32_t)(ip[at + 2] << 8 | ip[at + 3]) & IP6_FRAG_OFFSET_MASK) != 0)
				return 0;
			*fragment = 1;
			next = ip[at];
			at += IP6_FRAG_HLEN;
			break;
		case IP6_NEXTH_HOPBYHOP:
		case IP6_NEXTH_ROUTING:
		case IP6_NEXTH_DESTOPTS:
			next = ip[at];
			at += (ip[at + 1] + 1u) * 8;
			break;
		default:
			return 0;
		}
	}
	return 0;
}

int port_hook_ip6_input(struct pbuf *p)
{
	const u8_t *ip = p->payload;
	ip_addr_t src;
	ip_addr_t dst;
	int fragment = 0;
	u32_t at;

	if (p->len < IP6_HLEN)
		return 0;
	at = tcp_offset6(ip, p->len, &fragment);
	if (at == 0)
		return 0;
	memset(&src, 0, sizeof(src));
	memset(&dst, 0, sizeof(dst));
	IP_SET_TYPE_VAL(src, IPADDR_TYPE_V6);
	IP_SET_TYPE_VAL(dst, IPADDR_TYPE_V6);
	memcpy(ip_2_ip6(&src)->addr, ip + 8, 16);
	memcpy(ip_2_ip6(&dst)->addr, ip + 24, 16);
	list_for(ip + at, p->len - at, &src, &dst, fragment);
	return 0;
}

/* --- records ------------------------------------------------------------------------------------
 */

u32_t conn_next_handle(u32_t old, u32_t index)
{
	u32_t gen = ((old >> PORT_INDEX_BITS) + 1) & 0x7fff;

	return gen << PORT_INDEX_BITS | index;
}

u32_t conn_end(void)
{
	return fresh;
}

static u32_t take_index(void)
{
	if (free_count == 0 && fresh == PORT_CONNS_MAX && wait_first != 0)
		evict_oldest();
	if (free_count > 0)
		return free_conns[--free_count];
	return fresh < PORT_CONNS_MAX ? fresh++ : 0;
}

struct conn *conn_new(void)
{
	u32_t i = take_index();
	struct conn *c = &conns[i];

	if (i == 0)
		return NULL;
	c->src.kind = SOURCE_TCP;
	c->handle = conn_next_handle(c->handle, i);
	c->flags &= F_KEEP;
	c->since = port_now();
	c->parkable = port_now();
	c->place = PL_NONE;
	memset(&c->tuning, 0, sizeof(c->tuning));
	used++;
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

/* The record's links in the source and output lists stay valid: both skip free records. */
void conn_free(struct conn *c)
{
	LWIP_ASSERT("conn_free: pcb is gone", c->pcb == NULL);
	rx_free(c);
	port_listen_leave(c);
	if (c->flags & F_STARVED)
		starved--;
	port_tcp_return_window(c);
	conn_count_port(c->local_port, -1);
	c->local_port = 0;
	c->listener = NULL;
	c->owed = 0;
	c->sent = 0;
	c->ack_slot = 0;
	c->phase = PH_FREE;
	c->flags &= F_KEEP;
	free_conns[free_count++] = (u16_t)index_of(c);
	used--;
}

struct conn *conn_of(u32_t handle)
{
	u32_t i = handle & ((1u << PORT_INDEX_BITS) - 1);
	struct conn *c = &conns[i];

	if (i == 0 || i >= PORT_CONNS_MAX || c->handle != handle)
		return NULL;
	return c->phase == PH_CONNECTING || c->phase == PH_OPEN ? c : NULL;
}

struct conn *conn_live(u32_t handle)
{
	struct conn *c = conn_of(handle);

	if (c != NULL && c->pcb != NULL)
		list(c);
	return c;
}

/* Called by lwIP just before a pcb's memory is freed; its ports are cleared already. */
static void on_destroyed(u8_t id, void *data)
{
	struct conn *c = data;

	LWIP_UNUSED_ARG(id);
	if (c == NULL)
		return;
	if (c->place != PL_NONE)
		unregister(c);
	if (c->place == PL_PARKED)
		parked--;
	if (c->place == PL_WAITING)
		wait_remove(c);
	c->place = PL_NONE;
	c->pcb = NULL;
	if (c->phase != PH_CONNECTING && c->phase != PH_OPEN)
		conn_free(c);
}

static const struct tcp_ext_arg_callbacks ext_callbacks = {on_destroyed, port_on_passive_open};

void conn_attach(struct conn *c, struct tcp_pcb *pcb)
{
	if (c != NULL)
		c->pcb = pcb;
	tcp_arg(pcb, c);
	tcp_ext_arg_set(pcb, ext_id, c);
	tcp_ext_arg_set_callbacks(pcb, ext_id, &ext_callbacks);
}

void conn_give_up(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	port_listen_leave(c);
	c->phase = PH_CLOSING;
	if (pcb == NULL) {
		conn_free(c);
		return;
	}
	tcp_err(pcb, NULL);
	tcp_abandon(pcb, pcb->state != SYN_SENT);
}

void conn_starve(struct conn *c)
{
	if (c->flags & F_STARVED)
		return;
	c->flags |= F_STARVED;
	starved++;
}

/*
 * Tells those that were refused memory that there is some again: in turns, as many at once as there
 * is room for, so that nobody finds it taken each time by those before.
 */
void port_tcp_wake(void)
{
	u32_t turns = (port_heap_tx_left() + WAKE_BYTES - 1) / WAKE_BYTES;

	for (u32_t i = 1; i < fresh && starved > 0 && turns > 0; i++) {
		struct conn *c;

		wake_at = wake_at + 1 < fresh ? wake_at + 1 : 1;
		c = &conns[wake_at];
		if ((c->flags & F_STARVED) == 0)
			continue;
		c->flags = (u16_t)((c->flags & ~F_STARVED) | F_WAKE);
		starved--;
		turns--;
		port_ring_push(&c->src);
	}
}

u32_t *port_tcp_ack_slot(const struct netif_hint *hints)
{
	const struct tcp_pcb *pcb;
	struct conn *c;

	if (hints == NULL)
		return NULL;
	pcb = (const struct tcp_pcb *)(const void *)((const u8_t *)hints -
						     offsetof(struct tcp_pcb, netif_hints));
	c = conn_of_pcb(pcb);
	return c == NULL ? NULL : &c->ack_slot;
}

static u32_t length(const struct tcp_pcb *p)
{
	u32_t n = 0;

	for (; p != NULL; p = p->next)
		n++;
	return n;
}

void port_tcp_count(u32_t *c)
{
	c[PORT_COUNTER_tcpActiveUsed] = length(tcp_active_pcbs) + parked;
	c[PORT_COUNTER_tcpParked] = parked;
	c[PORT_COUNTER_tcpTimeWait] = length(tcp_tw_pcbs) + waiting;
	c[PORT_COUNTER_tcpListenUsed] = length(tcp_listen_pcbs.pcbs);
	c[PORT_COUNTER_tcpBoundUsed] = length(tcp_bound_pcbs);
	c[PORT_COUNTER_tcpHandlesUsed] = used;
}

void port_tcp_init(void)
{
	ext_id = tcp_ext_arg_alloc_id();
	secret = port_rand();
}
