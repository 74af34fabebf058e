/*
 * ICMP and ICMPv6 towards the host: echo sockets, and errors about our own datagrams.
 *
 * lwIP itself answers echo requests and neighbour discovery; the two raw pcbs here only look on and
 * eat nothing but echo replies whose identifier the host registered. Replies wait in one queue of
 * at most QUEUE_COUNT; the newest is dropped.
 */
#include "port.h"

#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/mem.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/raw.h"

#include <string.h>

#define QUEUE_COUNT   256u
#define ECHO_LEN      8u
#define ECHO4_REQUEST 8
#define ECHO4_REPLY   0
#define ECHO6_REQUEST 128
#define ECHO6_REPLY   129
#define UNREACHABLE4  3
#define UNREACHABLE6  1
#define ECHO4_MAX     65507u
#define ECHO6_MAX     65487u /* lwIP counts the header in 16 bits */

struct reply {
	struct reply *next;
	struct pbuf *p; /* from the ICMP header on */
	ip_addr_t remote;
	ip_addr_t local;
	u16_t id;
	u8_t ttl;
	u8_t tos;
};

static struct source source;
static struct reply *first;
static struct reply *last;
static u32_t count;
static struct raw_pcb *raw4;
static struct raw_pcb *raw6;
static u32_t owned[2][65536 / 32]; /* bit per identifier; [0] ICMP, [1] ICMPv6 */

static int is_owned(u32_t v6, u32_t id)
{
	return (owned[v6][id / 32] >> (id % 32)) & 1;
}

static int checksum_ok(struct pbuf *p, u32_t v6)
{
	if (v6)
		return ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, ip6_current_src_addr(),
					 ip6_current_dest_addr()) == 0;
	return inet_chksum_pbuf(p) == 0;
}

/* Takes over `p`. */
static void queue_reply(struct pbuf *p, const ip_addr_t *addr, u32_t v6, u32_t id)
{
	struct reply *r;

	if (count >= QUEUE_COUNT || (r = mem_calloc(1, sizeof(*r))) == NULL) {
		PORT_COUNT(dropUdpQueue);
		pbuf_free(p);
		return;
	}
	r->p = p;
	r->id = (u16_t)id;
	ip_addr_copy(r->remote, *addr);
	ip_addr_copy(r->local, *ip_current_dest_addr());
	r->ttl = v6 ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
	r->tos = v6 ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
	if (first == NULL)
		first = r;
	else
		last->next = r;
	last = r;
	count++;
	port_ring_push(&source);
}

static u16_t load16(const u8_t *p)
{
	return (u16_t)(p[0] << 8 | p[1]);
}

/* `q` points at the IP packet that an ICMP error quotes. */
static void quoted4(const u8_t *q, u32_t len, u16_t code)
{
	u32_t hdr = len > 0 ? (u32_t)(q[0] & 15) * 4 : 0;
	ip_addr_t src;
	ip_addr_t dst;

	if (len < IP_HLEN || hdr < IP_HLEN || len < hdr + 8 || q[9] != IP_PROTO_UDP)
		return;
	memset(&src, 0, sizeof(src));
	memset(&dst, 0, sizeof(dst));
	memcpy(&ip_2_ip4(&src)->addr, q + 12, 4);
	memcpy(&ip_2_ip4(&dst)->addr, q + 16, 4);
	port_udp_unreachable(&src, load16(q + hdr), &dst, load16(q + hdr + 2), code);
}

static void quoted6(const u8_t *q, u32_t len, u16_t code)
{
	ip_addr_t src;
	ip_addr_t dst;

	if (len < IP6_HLEN + 8 || q[6] != IP6_NEXTH_UDP)
		return;
	memset(&src, 0, sizeof(src));
	memset(&dst, 0, sizeof(dst));
	IP_SET_TYPE_VAL(src, IPADDR_TYPE_V6);
	IP_SET_TYPE_VAL(dst, IPADDR_TYPE_V6);
	memcpy(ip_2_ip6(&src)->addr, q + 8, 16);
	memcpy(ip_2_ip6(&dst)->addr, q + 24, 16);
	port_udp_unreachable(&src, load16(q + 40), &dst, load16(q + 42), code);
}

static void look_at_error(struct pbuf *whole, u32_t hlen, u32_t v6)
{
	const u8_t *icmp = (const u8_t *)whole->payload + hlen;
	u32_t len = whole->len - hlen;
	u16_t code;
	struct pbuf *p;
	int ok;

	if (icmp[0] != (v6 ? UNREACHABLE6 : UNREACHABLE4))
		return;
	p = pbuf_clone(PBUF_RAW, PBUF_RAM, whole);
	if (p == NULL)
		return;
	pbuf_remove_header(p, hlen);
	ok = checksum_ok(p, v6);
	pbuf_free(p);
	if (!ok)
		return;
	code = (u16_t)(icmp[0] << 8 | icmp[1]);
	if (v6)
		quoted6(icmp + ECHO_LEN, len - ECHO_LEN, code);
	else
		quoted4(icmp + ECHO_LEN, len - ECHO_LEN, code);
}

/* Return 1 only if `p` was taken over. */
static u8_t on_raw(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
	u32_t v6 = ip_current_is_v6() ? 1 : 0;
	u32_t hlen = ip_current_header_tot_len();
	const u8_t *icmp = (const u8_t *)p->payload + hlen;
	u32_t id;

	LWIP_UNUSED_ARG(arg);
	LWIP_UNUSED_ARG(pcb);
	if (p->len < hlen + ECHO_LEN)
		return 0;
	id = load16(icmp + 4);
	if (icmp[0] != (v6 ? ECHO6_REPLY : ECHO4_REPLY)) {
		look_at_error(p, hlen, v6);
		return 0;
	}
	if (!is_owned(v6, id))
		return 0;
	pbuf_remove_header(p, hlen);
	if (!checksum_ok(p, v6))
		pbuf_free(p);
	else
		queue_reply(p, addr, v6, id);
	return 1;
}

int port_echo_fill(struct source *src)
{
	LWIP_UNUSED_ARG(src);
	while (first != NULL) {
		struct reply *r = first;
		struct port_event *ev = port_ring_record(PORT_EV_ECHO, 0);
		u8_t *to;

		if (ev == NULL)
			return 0;
		to = port_ring_stage(r->p->tot_len);
		if (to == NULL) {
			io.event_count--;
			return 0;
		}
		pbuf_copy_partial(r->p, to, r->p->tot_len, 0);
		ev->a = (u32_t)(uintptr_t)to;
		ev->b = r->p->tot_len;
		ev->c = (u32_t)r->ttl | (u32_t)r->tos << 8 | (u32_t)r->id << 16;
		port_to_endpoint(&ev->remote, &r->remote, 0);
		port_to_endpoint(&ev->local, &r->local, 0);
		first = r->next;
		count--;
		pbuf_free(r->p);
		mem_free(r);
	}
	last = NULL;
	return 1;
}

void port_icmp_init(void)
{
	source.kind = SOURCE_ECHO;
	raw4 = raw_new_ip_type(IPADDR_TYPE_V4, IP_PROTO_ICMP);
	raw6 = raw_new_ip_type(IPADDR_TYPE_V6, IP6_NEXTH_ICMP6);
	LWIP_ASSERT("port_icmp_init: heap is empty", raw4 != NULL && raw6 != NULL);
	raw6->chksum_reqd = 1;
	raw6->chksum_offset = 2;
	raw_recv(raw4, on_raw, NULL);
	raw_recv(raw6, on_raw, NULL);
}

int32_t PORT_EXPORT(port_echo_open)(double now, uint32_t family, uint32_t id)
{
	u32_t v6 = family == PORT_FAMILY_6;

	port_enter(now);
	if (id > 0xffff || is_owned(v6, id))
		return 0;
	owned[v6][id / 32] |= 1u << (id % 32);
	return 1;
}

void PORT_EXPORT(port_echo_close)(double now, uint32_t family, uint32_t id)
{
	u32_t v6 = family == PORT_FAMILY_6;

	port_enter(now);
	if (id <= 0xffff)
		owned[v6][id / 32] &= ~(1u << (id % 32));
}

static void set_header(struct raw_pcb *raw, u32_t how)
{
	u8_t ttl = how & PORT_HOW_TTL ? (u8_t)(how >> PORT_HOW_TTL_SHIFT) : RAW_TTL;

	raw->ttl = ttl;
	raw_set_multicast_ttl(raw, ttl);
	raw->tos = how & PORT_HOW_TOS ? (u8_t)(how >> PORT_HOW_TOS_SHIFT) : 0;
}

static err_t send(const ip_addr_t *to, u32_t len, u32_t how)
{
	struct raw_pcb *raw = IP_IS_V6(to) ? raw6 : raw4;
	struct netif *netif;
	struct pbuf *p;
	ip_addr_t src;
	u8_t *icmp;
	u16_t sum;
	err_t err;

	if (!port_route(to, &src))
		return ERR_RTE;
	if ((how & PORT_HOW_SOURCE) &&
	    (port_from_endpoint(&io.local, &src) != 0 || IP_IS_V6(&src) != IP_IS_V6(to)))
		return ERR_VAL;
	netif = ip_route(&src, to);
	if (netif == NULL)
		return ERR_RTE;
	p = port_heap_tx_ok() ? pbuf_alloc(PBUF_IP, (u16_t)len, PBUF_RAM) : NULL;
	if (p == NULL)
		return ERR_MEM;
	icmp = p->payload;
	memcpy(icmp, io.data, len);
	memset(icmp + 2, 0, 2);
	if (!IP_IS_V6(to)) {
		sum = inet_chksum(icmp, (u16_t)len);
		memcpy(icmp + 2, &sum, 2);
	}
	set_header(raw, how);
	err = raw_sendto_if_src(raw, p, to, netif, &src);
	pbuf_free(p);
	return err;
}

int32_t PORT_EXPORT(port_echo_send)(double now, uint32_t len, uint32_t how)
{
	ip_addr_t to;
	err_t err;

	port_enter(now);
	if (io.remote.family == PORT_FAMILY_ANY || port_from_endpoint(&io.remote, &to) != 0 ||
	    len < ECHO_LEN || len > (IP_IS_V6(&to) ? ECHO6_MAX : ECHO4_MAX) ||
	    io.data[0] != (IP_IS_V6(&to) ? ECHO6_REQUEST : ECHO4_REQUEST) || io.data[1] != 0)
		return PORT_ERR(PORT_PLACE_DATAGRAM, ERR_VAL);
	err = send(&to, len, how);
	return err == ERR_OK ? 0 : PORT_ERR(PORT_PLACE_DATAGRAM, err);
}
