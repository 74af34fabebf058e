/*
 * What goes to the host: the event batch and the ring of frames to send.
 *
 * Events: sources with news wait in one FIFO; port_events() fills the batch from them. Received
 * bytes are handed out where they lie; the buffers of a batch are freed when the next batch is
 * asked for. A connection with several segments waiting gets them copied together (stage), since
 * one callback and one write further up cost far more than the copy.
 *
 * Frames: the netif appends references to lwIP's own buffers (no copy); port_frames() describes
 * them and the next call releases them. lwIP does not repeat a segment whose buffer is still here.
 * A pure acknowledgement that a later one of the same connection makes redundant is withdrawn
 * (len = 0) as long as it has not been described yet.
 */
#include "port.h"

#include "lwip/netif.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/stats.h"
#include "lwip/tcp.h"

#include <string.h>

#define STAGE_BYTES (256 * 1024)
#define RING_MASK   (PORT_FRAMES_MAX - 1)
#define ETH_LEN	    14
#define IP4_LEN	    20
#define IP6_LEN	    40
#define TCP_LEN	    20
#define TCP_LEN_TS  32 /* with timestamps */

static struct source *first;
static struct source *last;

static u8_t stage[STAGE_BYTES];
static u32_t stage_used;

/* Free-running counts; slot = count & RING_MASK. released <= described <= appended. */
static u32_t appended;
static u32_t described;
static u32_t released;

void port_ring_push(struct source *s)
{
	if (s->queued)
		return;
	s->queued = 1;
	s->next = NULL;
	if (first == NULL)
		first = s;
	else
		last->next = s;
	last = s;
}

static void pop(void)
{
	struct source *s = first;

	first = s->next;
	s->next = NULL;
	s->queued = 0;
}

struct port_event *port_ring_record(u32_t kind, u32_t handle)
{
	struct port_event *ev;

	if (io.event_count == PORT_EVENTS_MAX)
		return NULL;
	ev = &io.events[io.event_count++];
	ev->kind = kind;
	ev->handle = handle;
	ev->a = 0;
	ev->b = 0;
	ev->c = 0;
	ev->owner = 0;
	return ev;
}

void port_ring_keep(struct port_event *ev, struct pbuf *p)
{
	ev->owner = (u32_t)(uintptr_t)p;
}

u8_t *port_ring_stage(u32_t len)
{
	u8_t *p = stage + stage_used;

	if (len > STAGE_BYTES - stage_used)
		return NULL;
	stage_used += (len + 15) & ~15u;
	if (stage_used > STAGE_BYTES)
		stage_used = STAGE_BYTES;
	return p;
}

static void release_events(void)
{
	for (u32_t i = 0; i < io.event_count; i++)
		if (io.events[i].owner != 0)
			pbuf_free((struct pbuf *)(uintptr_t)io.events[i].owner);
	io.event_count = 0;
	stage_used = 0;
}

static int fill(struct source *s)
{
	switch (s->kind) {
	case SOURCE_TCP:
		return port_tcp_fill(s);
	case SOURCE_UDP:
		return port_udp_fill(s);
	default:
		return port_echo_fill(s);
	}
}

uint32_t PORT_EXPORT(port_events)(double now)
{
	port_enter(now);
	release_events();
	port_tcp_flush();
	netif_poll_all();
	port_tcp_settle();
	port_tcp_wake();
	while (first != NULL && fill(first))
		pop();
	return io.event_count;
}

int port_ring_pending(void)
{
	struct netif *n;

	if (first != NULL || appended != described || port_tcp_unflushed())
		return 1;
	NETIF_FOREACH(n)
	{
		if (n->loop_first != NULL)
			return 1;
	}
	return 0;
}

u32_t port_ring_frames(void)
{
	return appended - released;
}

/* The TCP header in an Ethernet frame, or NULL. No IP options are ever sent. */
static const u8_t *tcp_header(const u8_t *frame, u32_t len, u32_t *total)
{
	u32_t type = (u32_t)(frame[12] << 8 | frame[13]);
	const u8_t *ip = frame + ETH_LEN;

	if (type == ETHTYPE_IP && len >= ETH_LEN + IP4_LEN + TCP_LEN && ip[9] == IP_PROTO_TCP) {
		*total = (u32_t)(ip[2] << 8 | ip[3]) - IP4_LEN;
		return ip + IP4_LEN;
	}
	if (type == ETHTYPE_IPV6 && len >= ETH_LEN + IP6_LEN + TCP_LEN && ip[6] == IP_PROTO_TCP) {
		*total = (u32_t)(ip[4] << 8 | ip[5]);
		return ip + IP6_LEN;
	}
	return NULL;
}

/* Whether a segment is an acknowledgement and nothing else; SACK blocks are something else. */
static int is_pure_ack(const u8_t *tcp, u32_t total)
{
	u32_t hdr = (u32_t)(tcp[12] >> 4) * 4;

	return tcp[13] == TCP_ACK && total == hdr && (hdr == TCP_LEN || hdr == TCP_LEN_TS);
}

static u32_t ack_number(const u8_t *tcp)
{
	return (u32_t)tcp[8] << 24 | (u32_t)tcp[9] << 16 | (u32_t)tcp[10] << 8 | tcp[11];
}

static void withdraw_if_older(u32_t index, u32_t ackno)
{
	struct port_frame *f = &io.frames[index & RING_MASK];
	const u8_t *frame = (const u8_t *)(uintptr_t)f->ptr;
	const u8_t *tcp;
	u32_t total;

	tcp = tcp_header(frame, f->len, &total);
	if (tcp == NULL || (s32_t)(ackno - ack_number(tcp)) <= 0)
		return;
	pbuf_free((struct pbuf *)(uintptr_t)f->pbuf);
	f->pbuf = 0;
	f->len = 0;
	PORT_COUNT(frameAckMerged);
}

/*
 * Withdraw the connection's previous acknowledgement if this one says more. Duplicates (the same
 * number) stay: the peer counts them. `slot` remembers ring position + 1 per connection.
 */
static void merge_ack(const struct netif *netif, const u8_t *frame, u32_t len)
{
	u32_t total;
	const u8_t *tcp = tcp_header(frame, len, &total);
	u32_t *slot = tcp == NULL ? NULL : port_tcp_ack_slot(netif->hints);

	if (slot == NULL)
		return;
	if (!is_pure_ack(tcp, total)) {
		*slot = 0;
		return;
	}
	if (*slot != 0 && (s32_t)(*slot - 1 - described) >= 0)
		withdraw_if_older(*slot - 1, ack_number(tcp));
	*slot = appended + 1;
}

err_t port_ring_frame(struct netif *netif, struct pbuf *p)
{
	struct port_frame *f;
	struct pbuf *q;

	if (appended - released == PORT_FRAMES_MAX) {
		PORT_COUNT(dropTxFull);
		return ERR_BUF;
	}
	if (p->next == NULL) {
		q = p;
		pbuf_ref(q);
	} else {
		q = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
		if (q == NULL)
			return ERR_MEM;
	}
	f = &io.frames[appended & RING_MASK];
	f->ptr = (u32_t)(uintptr_t)q->payload + ETH_PAD_SIZE;
	f->len = (u32_t)q->len - ETH_PAD_SIZE;
	f->pbuf = (u32_t)(uintptr_t)q;
	merge_ack(netif, (const u8_t *)(uintptr_t)f->ptr, f->len);
	appended++;
	PORT_COUNT(frameOut);
	return ERR_OK;
}

static void release_frames(void)
{
	for (; released != described; released++) {
		struct port_frame *f = &io.frames[released & RING_MASK];

		if (f->pbuf != 0)
			pbuf_free((struct pbuf *)(uintptr_t)f->pbuf);
		f->pbuf = 0;
	}
}

uint32_t PORT_EXPORT(port_frames)(double now, uint32_t most)
{
	u32_t start;

	port_enter(now);
	release_frames();
	port_tcp_flush();
	start = described & RING_MASK;
	io.frame_first = start;
	io.frame_count = LWIP_MIN(appended - described, PORT_FRAMES_MAX - start);
	io.frame_count = LWIP_MIN(io.frame_count, most);
	described += io.frame_count;
	return io.frame_count;
}
