/*
 * UDP sockets.
 *
 * Each socket queues what arrived until the host takes it: at most QUEUE_BYTES or QUEUE_COUNT, the
 * newest is dropped [5 section 6.4]. Datagrams that came in fragments are copied together when they
 * are handed out. An ICMP "unreachable" about a datagram of ours is queued among them.
 */
#include "port.h"

#include "lwip/icmp.h"
#include "lwip/icmp6.h"
#include "lwip/ip.h"
#include "lwip/mem.h"
#include "lwip/udp.h"

#include <string.h>

#define QUEUE_BYTES (256u * 1024)
#define QUEUE_COUNT 512u
#define UDP_MAX_4   65507u
#define UDP_MAX_6   65487u /* lwIP counts the header in 16 bits */
#define UDP_BIT	    (1u << 29)

struct datagram {
	struct datagram *next;
	struct pbuf *p; /* NULL: an error */
	ip_addr_t remote;
	ip_addr_t local;
	u16_t remote_port;
	u16_t icmp;    /* type << 8 | code of an error */
	u16_t headers; /* bytes of IP headers before the UDP header */
	u8_t ttl;
	u8_t tos;
};

struct socket {
	struct source src; /* first: cast both ways */
	u32_t handle;
	struct udp_pcb *pcb;
	struct datagram *first;
	struct datagram *last;
	u32_t bytes;
	u16_t count;
	u8_t used;
};

static struct socket sockets[PORT_UDPS_MAX];
static u32_t used_count;
static u32_t queued_count;
static u32_t fresh = 1;

static struct socket *socket_of(u32_t handle)
{
	u32_t i = handle & ((1u << PORT_INDEX_BITS) - 1);

	if (i == 0 || i >= PORT_UDPS_MAX || !sockets[i].used || sockets[i].handle != handle)
		return NULL;
	return &sockets[i];
}

static struct socket *socket_new(void)
{
	for (u32_t i = 1; i < PORT_UDPS_MAX; i++) {
		struct socket *s = &sockets[i];
		u32_t gen;

		if (s->used)
			continue;
		gen = ((s->handle >> PORT_INDEX_BITS) + 1) & 0x3fff;
		s->handle = UDP_BIT | gen << PORT_INDEX_BITS | i;
		s->src.kind = SOURCE_UDP;
		s->used = 1;
		used_count++;
		if (i >= fresh)
			fresh = i + 1;
		return s;
	}
	return NULL;
}

static struct datagram *pop(struct socket *s)
{
	struct datagram *d = s->first;

	s->first = d->next;
	if (s->first == NULL)
		s->last = NULL;
	s->count--;
	queued_count--;
	if (d->p != NULL)
		s->bytes -= d->p->tot_len;
	return d;
}

static void socket_free(struct socket *s)
{
	while (s->first != NULL) {
		struct datagram *d = pop(s);

		if (d->p != NULL)
			pbuf_free(d->p);
		mem_free(d);
	}
	s->pcb = NULL;
	s->used = 0;
	used_count--;
}

static int push(struct socket *s, struct datagram *d)
{
	u32_t len = d->p == NULL ? 0 : d->p->tot_len;

	if (s->count >= QUEUE_COUNT || s->bytes + len > QUEUE_BYTES)
		return 0;
	d->next = NULL;
	if (s->first == NULL)
		s->first = d;
	else
		s->last->next = d;
	s->last = d;
	s->count++;
	s->bytes += len;
	queued_count++;
	port_ring_push(&s->src);
	return 1;
}

static void header_fields(struct datagram *d)
{
	if (ip_current_is_v6()) {
		d->ttl = IP6H_HOPLIM(ip6_current_header());
		d->tos = IP6H_TC(ip6_current_header());
	} else {
		d->ttl = IPH_TTL(ip4_current_header());
		d->tos = IPH_TOS(ip4_current_header());
	}
}

static void on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
		    u16_t port)
{
	struct socket *s = arg;
	struct datagram *d = mem_malloc(sizeof(*d));

	LWIP_UNUSED_ARG(pcb);
	if (d != NULL) {
		memset(d, 0, sizeof(*d));
		d->p = p;
		ip_addr_copy(d->remote, *addr);
		ip_addr_copy(d->local, *ip_current_dest_addr());
		d->remote_port = port;
		d->headers = ip_current_header_tot_len();
		header_fields(d);
		if (push(s, d))
			return;
		mem_free(d);
	}
	PORT_COUNT(dropUdpQueue);
	pbuf_free(p);
}

void port_udp_unreachable(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
			  u16_t remote_port, u16_t code)
{
	for (u32_t i = 1; i < fresh; i++) {
		struct socket *s = &sockets[i];
		struct datagram *d;

		if (!s->used || s->pcb->local_port != local_port ||
		    (!ip_addr_isany(&s->pcb->local_ip) && !ip_addr_eq(&s->pcb->local_ip, local)))
			continue;
		d = mem_calloc(1, sizeof(*d));
		if (d == NULL)
			return;
		ip_addr_copy(d->remote, *remote);
		ip_addr_copy(d->local, *local);
		d->remote_port = remote_port;
		d->icmp = code;
		if (!push(s, d))
			mem_free(d);
		return;
	}
}

/* One view of the whole payload. 0: the batch has no room for a copy, try in the next one. */
static int payload(struct port_event *ev, struct pbuf *p)
{
	u8_t *to;

	ev->b = p->tot_len;
	if (p->next == NULL) {
		to = p->payload;
	} else {
		to = port_ring_stage(p->tot_len);
		if (to == NULL)
			return 0;
		pbuf_copy_partial(p, to, p->tot_len, 0);
	}
	ev->a = (u32_t)(uintptr_t)to;
	port_ring_keep(ev, p); /* its headers too, for port_udp_refuse() */
	return 1;
}

int port_udp_fill(struct source *src)
{
	struct socket *s = (struct socket *)src;

	while (s->used && s->first != NULL) {
		struct datagram *d = s->first;
		struct port_event *ev = port_ring_record(
			d->p == NULL ? PORT_EV_UNREACHABLE : PORT_EV_DATAGRAM, s->handle);

		if (ev == NULL)
			return 0;
		port_to_endpoint(&ev->remote, &d->remote, d->remote_port);
		port_to_endpoint(&ev->local, &d->local, s->pcb->local_port);
		ev->c = (u32_t)d->ttl | (u32_t)d->tos << 8 | (u32_t)d->headers << 16;
		if (d->p == NULL) {
			ev->a = d->icmp;
		} else {
			u16_t len = d->p->tot_len;

			if (!payload(ev, d->p)) {
				io.event_count--;
				return 0;
			}
			s->bytes -= len;
			d->p = NULL;
		}
		mem_free(pop(s));
	}
	return 1;
}

/* --- exports ------------------------------------------------------------------------------------
 */

static int overlaps(const ip_addr_t *a, const ip_addr_t *b)
{
	if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
		return 1;
	if (IP_IS_V6(a) != IP_IS_V6(b))
		return 0;
	return ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_eq(a, b);
}

static int conflict(const ip_addr_t *ip, u32_t port, int reuse)
{
	for (const struct udp_pcb *p = udp_pcbs; p != NULL; p = p->next)
		if (p->local_port == port && overlaps(&p->local_ip, ip) &&
		    !(reuse && ip_get_option(p, SOF_REUSEADDR)))
			return 1;
	return 0;
}

int32_t PORT_EXPORT(port_udp_open)(double now, uint32_t reuse)
{
	struct socket *s;
	struct udp_pcb *pcb;
	ip_addr_t ip;
	err_t err;

	port_enter(now);
	if (port_from_endpoint(&io.local, &ip) != 0)
		return PORT_ERR(PORT_PLACE_BIND, ERR_VAL);
	if (!ip_addr_isany(&ip) && !ip_addr_ismulticast(&ip) && !port_addr_is_local(&ip))
		return PORT_ERR(PORT_PLACE_BIND, ERR_RTE);
	if (io.local.port != 0 && conflict(&ip, io.local.port, reuse != 0))
		return PORT_ERR(PORT_PLACE_BIND, ERR_USE);
	s = socket_new();
	if (s == NULL)
		return PORT_ERR(PORT_PLACE_BIND, ERR_MEM);
	pcb = udp_new_ip_type(IP_GET_TYPE(&ip));
	if (pcb == NULL) {
		socket_free(s);
		return PORT_ERR(PORT_PLACE_BIND, ERR_MEM);
	}
	if (reuse)
		ip_set_option(pcb, SOF_REUSEADDR);
	udp_recv(pcb, on_recv, s);
	err = udp_bind(pcb, &ip, io.local.port);
	if (err != ERR_OK) {
		udp_remove(pcb);
		socket_free(s);
		return PORT_ERR(PORT_PLACE_BIND, err);
	}
	s->pcb = pcb;
	return (int)s->handle;
}

/* The source address of a datagram: as told, as bound, or of the way to `to`. */
static err_t choose_source(const struct udp_pcb *pcb, const ip_addr_t *to, u32_t how,
			   ip_addr_t *src)
{
	if (!port_route(to, src))
		return ERR_RTE;
	if (how & PORT_HOW_SOURCE) {
		if (port_from_endpoint(&io.local, src) != 0 || IP_IS_V6(src) != IP_IS_V6(to))
			return ERR_VAL;
	} else if (!ip_addr_isany(&pcb->local_ip) && !ip_addr_ismulticast(&pcb->local_ip)) {
		if (IP_IS_V6(&pcb->local_ip) != IP_IS_V6(to))
			return ERR_VAL;
		ip_addr_copy(*src, pcb->local_ip);
	}
	return ERR_OK;
}

static void set_header(struct udp_pcb *pcb, u32_t how)
{
	u8_t ttl = how & PORT_HOW_TTL ? (u8_t)(how >> PORT_HOW_TTL_SHIFT) : UDP_TTL;

	pcb->ttl = ttl;
	udp_set_multicast_ttl(pcb, ttl);
	pcb->tos = how & PORT_HOW_TOS ? (u8_t)(how >> PORT_HOW_TOS_SHIFT) : 0;
}

static err_t send(struct socket *s, const ip_addr_t *to, u32_t len, u32_t how)
{
	struct netif *netif;
	struct pbuf *p;
	ip_addr_t src;
	err_t err = choose_source(s->pcb, to, how, &src);

	if (err != ERR_OK)
		return err;
	netif = ip_route(&src, to);
	if (netif == NULL)
		return ERR_RTE;
	if (!port_heap_tx_ok())
		return ERR_MEM;
	p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
	if (p == NULL)
		return ERR_MEM;
	memcpy(p->payload, io.data, len);
	if ((how & PORT_HOW_LOOP) && (ip_addr_ismulticast(to) || ip_addr_isbroadcast(to, netif)))
		p->flags |= PBUF_FLAG_MCASTLOOP;
	set_header(s->pcb, how);
	err = udp_sendto_if_src(s->pcb, p, to, io.remote.port, netif, &src);
	pbuf_free(p);
	return err;
}

int32_t PORT_EXPORT(port_udp_send)(double now, uint32_t handle, uint32_t len, uint32_t how)
{
	struct socket *s = socket_of(handle);
	ip_addr_t to;
	err_t err;

	port_enter(now);
	if (s == NULL || io.remote.family == PORT_FAMILY_ANY ||
	    port_from_endpoint(&io.remote, &to) != 0 ||
	    len > (IP_IS_V6(&to) ? UDP_MAX_6 : UDP_MAX_4))
		return PORT_ERR(PORT_PLACE_DATAGRAM, ERR_VAL);
	if (ip_addr_isany(&to))
		ip_addr_set_loopback(IP_IS_V6(&to), &to);
	err = send(s, &to, len, how);
	return err == ERR_OK ? 0 : PORT_ERR(PORT_PLACE_DATAGRAM, err);
}

/* lwIP answers to the packet "being received"; this one was a little earlier. */
static void unreachable6(struct pbuf *p, const ip_addr_t *from, const ip_addr_t *to)
{
	struct netif *netif = ip6_route(ip_2_ip6(to), ip_2_ip6(from));

	if (netif == NULL)
		return;
	ip_data.current_netif = netif;
	ip_addr_copy(ip_data.current_iphdr_src, *from);
	ip_addr_copy(ip_data.current_iphdr_dest, *to);
	icmp6_dest_unreach(p, ICMP6_DUR_PORT);
	ip_data.current_netif = NULL;
	ip_addr_set_zero(&ip_data.current_iphdr_src);
	ip_addr_set_zero(&ip_data.current_iphdr_dest);
}

void PORT_EXPORT(port_udp_refuse)(double now, uint32_t index)
{
	struct port_event *ev = &io.events[index];
	struct pbuf *p;
	ip_addr_t from;
	ip_addr_t to;

	port_enter(now);
	if (index >= io.event_count || ev->kind != PORT_EV_DATAGRAM || ev->owner == 0)
		return;
	p = (struct pbuf *)(uintptr_t)ev->owner;
	if (port_from_endpoint(&ev->remote, &from) != 0 ||
	    port_from_endpoint(&ev->local, &to) != 0 || !port_addr_is_local(&to) ||
	    pbuf_header_force(p, (s16_t)((ev->c >> 16) + UDP_HLEN)) != 0)
		return;
	PORT_COUNT(udpRefused);
	if (IP_IS_V6(&to))
		unreachable6(p, &from, &to);
	else
		icmp_dest_unreach(p, ICMP_DUR_PORT);
}

void PORT_EXPORT(port_udp_close)(double now, uint32_t handle)
{
	struct socket *s = socket_of(handle);

	port_enter(now);
	if (s == NULL)
		return;
	udp_remove(s->pcb);
	socket_free(s);
}

int32_t PORT_EXPORT(port_udp_name)(double now, uint32_t handle)
{
	struct socket *s = socket_of(handle);

	port_enter(now);
	if (s == NULL)
		return 0;
	port_to_endpoint(&io.local, &s->pcb->local_ip, s->pcb->local_port);
	return 1;
}

u32_t port_udp_count(void)
{
	return used_count;
}

u32_t port_udp_queued(void)
{
	return queued_count;
}
