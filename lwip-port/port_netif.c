/*
 * The network interface: addresses, routes, neighbours, output. Frames that arrive: port_input.c.
 *
 * lwIP knows one IPv4 address per netif, so every IPv4 address gets a netif; all share one link and
 * one Ethernet address. IPv6 addresses all sit on the first one. Routing is longest prefix over the
 * addresses' own subnets and the configured routes; lwIP asks through its hooks, and the netif's
 * output functions hand the *next hop* to the neighbour code, so no default gateway is ever set.
 *
 * Contents: addresses, routes, output, configuration, questions.
 */
#include "port.h"
#include "port_hooks.h"

#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/ip.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"

#include <string.h>

#define IP4_SLOTS     32
#define NEIGHBOUR_MAX 127

static const u8_t LOOPBACK4[4] = {IP_LOOPBACKNET, 0, 0, 1};

struct route {
	ip_addr_t target;
	ip_addr_t via;
	u8_t prefix_len;
	u8_t has_via;
};

struct netif port_main_netif;
static struct netif more_netifs[IP4_SLOTS - 1];
static u8_t slot_prefix[IP4_SLOTS];
static u8_t slot_added[IP4_SLOTS];
static u8_t ip6_prefix[LWIP_IPV6_NUM_ADDRESSES];
static struct route routes[PORT_ROUTES_MAX];
static u32_t route_count;
static u16_t mtu = 1500;
static u8_t mac[6];

static struct netif *slot_netif(u32_t i)
{
	return i == 0 ? &port_main_netif : &more_netifs[i - 1];
}

static int slot_used(u32_t i)
{
	return slot_added[i] && !ip4_addr_isany_val(*netif_ip4_addr(slot_netif(i)));
}

/* --- addresses ----------------------------------------------------------------------------------
 */

void port_to_endpoint(struct port_endpoint *ep, const ip_addr_t *ip, u16_t port)
{
	memset(ep, 0, sizeof(*ep));
	ep->port = port;
	if (IP_IS_ANY_TYPE_VAL(*ip)) {
		ep->family = PORT_FAMILY_ANY;
	} else if (IP_IS_V6(ip)) {
		ep->family = PORT_FAMILY_6;
		memcpy(ep->ip, ip_2_ip6(ip)->addr, 16);
	} else {
		ep->family = PORT_FAMILY_4;
		memcpy(ep->ip, &ip_2_ip4(ip)->addr, 4);
	}
}

void port_make_ip(ip_addr_t *ip, u32_t family, const u8_t *bytes)
{
	memset(ip, 0, sizeof(*ip));
	if (family == PORT_FAMILY_6) {
		IP_SET_TYPE_VAL(*ip, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(ip)->addr, bytes, 16);
	} else {
		IP_SET_TYPE_VAL(*ip, IPADDR_TYPE_V4);
		memcpy(&ip_2_ip4(ip)->addr, bytes, 4);
	}
}

int port_from_endpoint(const struct port_endpoint *ep, ip_addr_t *ip)
{
	if (ep->family == PORT_FAMILY_ANY) {
		ip_addr_copy(*ip, *IP_ANY_TYPE);
		return 0;
	}
	if (ep->family != PORT_FAMILY_4 && ep->family != PORT_FAMILY_6)
		return -1;
	port_make_ip(ip, ep->family, ep->ip);
	return 0;
}

static const u8_t *ip_bytes(const ip_addr_t *ip)
{
	return IP_IS_V6(ip) ? (const u8_t *)ip_2_ip6(ip)->addr : (const u8_t *)&ip_2_ip4(ip)->addr;
}

static int prefix_match(const u8_t *a, const u8_t *b, u32_t bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return 0;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

int port_addr_is_local(const ip_addr_t *ip)
{
	if (ip_addr_isloopback(ip))
		return 1;
	if (IP_IS_V6(ip))
		return netif_get_ip6_addr_match(&port_main_netif, ip_2_ip6(ip)) >= 0;
	for (u32_t i = 0; i < IP4_SLOTS; i++)
		if (slot_used(i) && ip4_addr_eq(netif_ip4_addr(slot_netif(i)), ip_2_ip4(ip)))
			return 1;
	return 0;
}

static int valid6(u32_t i)
{
	return ip6_addr_isvalid(netif_ip6_addr_state(&port_main_netif, (s8_t)i));
}

/* --- routes -------------------------------------------------------------------------------------
 */

struct way {
	struct netif *netif;
	ip_addr_t next;
	int prefix; /* -1 = none */
};

static struct netif *first_ip4(void)
{
	for (u32_t i = 0; i < IP4_SLOTS; i++)
		if (slot_used(i))
			return slot_netif(i);
	return NULL;
}

static void way_direct4(const ip4_addr_t *dest, struct way *way)
{
	for (u32_t i = 0; i < IP4_SLOTS; i++) {
		struct netif *n = slot_netif(i);

		if (!slot_used(i) || (int)slot_prefix[i] <= way->prefix)
			continue;
		if (!prefix_match((const u8_t *)dest, (const u8_t *)netif_ip4_addr(n),
				  slot_prefix[i]))
			continue;
		way->netif = n;
		way->prefix = slot_prefix[i];
		ip_addr_copy_from_ip4(way->next, *dest);
	}
}

/* Index of our address with the longest prefix over `ip`, or -1. */
static int nearest6(const ip6_addr_t *ip)
{
	int best = -1;

	for (u32_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (!valid6(i) || (best >= 0 && ip6_prefix[i] <= ip6_prefix[best]))
			continue;
		if (prefix_match((const u8_t *)ip->addr,
				 (const u8_t *)netif_ip6_addr(&port_main_netif, i)->addr,
				 ip6_prefix[i]))
			best = (int)i;
	}
	return best;
}

static void way_direct6(const ip6_addr_t *dest, struct way *way)
{
	int i = nearest6(dest);

	if (i < 0)
		return;
	way->netif = &port_main_netif;
	way->prefix = ip6_prefix[i];
	ip_addr_copy_from_ip6(way->next, *dest);
}

int port_speaks_for(const ip6_addr_t *ours, const ip6_addr_t *neighbour)
{
	int i = nearest6(neighbour);

	/* A neighbour outside of all our prefixes, named by a route, is asked link-locally. */
	return ours == netif_ip6_addr(&port_main_netif, i < 0 ? 0 : i);
}

static struct netif *netif_towards(const ip_addr_t *gateway)
{
	struct way way = {NULL, IPADDR4_INIT(0), -1};

	if (IP_IS_V6(gateway))
		return &port_main_netif;
	way_direct4(ip_2_ip4(gateway), &way);
	return way.netif != NULL ? way.netif : first_ip4();
}

static struct way find_way(const ip_addr_t *dest)
{
	struct way way = {NULL, IPADDR4_INIT(0), -1};

	if (IP_IS_V6(dest))
		way_direct6(ip_2_ip6(dest), &way);
	else
		way_direct4(ip_2_ip4(dest), &way);
	for (u32_t i = 0; i < route_count; i++) {
		const struct route *r = &routes[i];
		const ip_addr_t *next = r->has_via ? &r->via : dest;
		struct netif *n;

		if (IP_IS_V6(&r->target) != IP_IS_V6(dest) || (int)r->prefix_len <= way.prefix)
			continue;
		if (!prefix_match(ip_bytes(dest), ip_bytes(&r->target), r->prefix_len))
			continue;
		n = netif_towards(next);
		if (n == NULL)
			continue;
		way.netif = n;
		way.prefix = r->prefix_len;
		ip_addr_copy(way.next, *next);
	}
	return way;
}

struct netif *port_netif_of_ip4(const ip4_addr_t *ip)
{
	for (u32_t i = 0; i < IP4_SLOTS; i++)
		if (slot_used(i) && ip4_addr_eq(netif_ip4_addr(slot_netif(i)), ip))
			return slot_netif(i);
	return NULL;
}

static struct netif *loop_netif(void)
{
	struct netif *n;

	NETIF_FOREACH(n)
	{
		if (n->name[0] == 'l' && n->name[1] == 'o')
			return n;
	}
	return NULL;
}

/*
 * All of 127.0.0.0/8 is loopback, but lwIP's interface takes packets for its own address only: it
 * has that of the packet while it is taken, and 127.0.0.1 whenever a way is asked for.
 */
static struct netif *loop_as(const u8_t ip[4])
{
	struct netif *loop = loop_netif();

	memcpy(&ip_2_ip4(&loop->ip_addr)->addr, ip, 4);
	return loop;
}

void port_loop_takes(struct netif *in, const u8_t dest[4])
{
	if (dest[0] == IP_LOOPBACKNET && in == loop_netif())
		loop_as(dest);
}

struct netif *port_hook_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest)
{
	struct netif *own = src == NULL || ip4_addr_isany(src) ? NULL : port_netif_of_ip4(src);
	struct netif *to = port_netif_of_ip4(dest);
	ip_addr_t d;
	struct way way;

	if (ip4_addr_isloopback(dest))
		return loop_as(LOOPBACK4);
	if (to != NULL)
		return to;
	if (ip4_addr_ismulticast(dest) || dest->addr == IPADDR_BROADCAST)
		return own != NULL ? own : first_ip4();
	ip_addr_copy_from_ip4(d, *dest);
	way = find_way(&d);
	if (way.netif == NULL)
		return NULL;
	return own != NULL ? own : way.netif;
}

struct netif *port_hook_ip6_route(const ip6_addr_t *src, const ip6_addr_t *dest)
{
	ip_addr_t d;

	LWIP_UNUSED_ARG(src);
	if (ip6_addr_isloopback(dest))
		return loop_netif();
	if (ip6_addr_ismulticast(dest))
		return &port_main_netif;
	ip_addr_copy_from_ip6(d, *dest);
	return find_way(&d).netif;
}

static int route6(const ip6_addr_t *dest, ip_addr_t *src)
{
	const ip_addr_t *from;
	ip_addr_t d;

	ip_addr_copy_from_ip6(d, *dest);
	if (ip6_addr_isloopback(dest)) {
		if (src != NULL)
			ip_addr_copy(*src, d);
		return 1;
	}
	if (!ip6_addr_ismulticast(dest) && find_way(&d).netif == NULL)
		return 0;
	from = ip6_select_source_address(&port_main_netif, dest);
	if (from == NULL)
		return 0;
	if (src != NULL)
		ip_addr_copy(*src, *from);
	return 1;
}

int port_route(const ip_addr_t *dest, ip_addr_t *src)
{
	struct netif *n;

	if (IP_IS_V6(dest))
		return route6(ip_2_ip6(dest), src);
	n = port_hook_ip4_route(NULL, ip_2_ip4(dest));
	if (n == NULL)
		return 0;
	if (src != NULL)
		ip_addr_copy_from_ip4(*src, *netif_ip4_addr(n));
	return 1;
}

static int known6(const ip6_addr_t *ip)
{
	for (u32_t i = 0; i < NEIGHBOUR_MAX; i++)
		if (neighbor_cache[i].state > ND6_INCOMPLETE &&
		    ip6_addr_eq(&neighbor_cache[i].next_hop_address, ip))
			return 1;
	return 0;
}

int port_neighbour_known(const ip_addr_t *src, const ip_addr_t *dest)
{
	struct eth_addr *eth;
	const ip4_addr_t *ip;
	struct netif *own;
	struct way way;

	if (port_addr_is_local(dest))
		return 1;
	way = find_way(dest);
	if (way.netif == NULL)
		return 0;
	if (IP_IS_V6(dest))
		return known6(ip_2_ip6(&way.next));
	own = port_netif_of_ip4(ip_2_ip4(src));
	return etharp_find_addr(own != NULL ? own : way.netif, ip_2_ip4(&way.next), &eth, &ip) >= 0;
}

/* --- output -------------------------------------------------------------------------------------
 */

static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *dest)
{
	ip_addr_t d;
	struct way way;

	if (ip4_addr_ismulticast(dest) || ip4_addr_isbroadcast(dest, netif))
		return etharp_output(netif, p, dest);
	ip_addr_copy_from_ip4(d, *dest);
	way = find_way(&d);
	if (way.netif == NULL)
		return ERR_RTE;
	return etharp_output(netif, p, ip_2_ip4(&way.next));
}

static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *dest)
{
	ip_addr_t d;
	struct way way;

	if (ip6_addr_ismulticast(dest))
		return ethip6_output(netif, p, dest);
	ip_addr_copy_from_ip6(d, *dest);
	way = find_way(&d);
	if (way.netif == NULL)
		return ERR_RTE;
	return ethip6_output(netif, p, ip_2_ip6(&way.next));
}

static err_t init_netif(struct netif *netif)
{
	netif->name[0] = 'z';
	netif->name[1] = 't';
	netif->mtu = mtu;
	netif->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(netif->hwaddr, mac, ETH_HWADDR_LEN);
	netif->output = output4;
	netif->output_ip6 = output6;
	netif->linkoutput = port_ring_frame;
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
	return ERR_OK;
}

static void add_slot(u32_t i)
{
	struct netif *n = slot_netif(i);

	if (slot_added[i])
		return;
	netif_add(n, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4, NULL, init_netif, ip_input);
	netif_set_link_up(n);
	netif_set_up(n);
	slot_added[i] = 1;
}

void port_netif_init(const u8_t *own_mac)
{
	memcpy(mac, own_mac, 6);
	add_slot(0);
	netif_create_ip6_linklocal_address(&port_main_netif, 1);
	netif_ip6_addr_set_state(&port_main_netif, 0, IP6_ADDR_PREFERRED);
	ip6_prefix[0] = 64;
}

void port_netif_second(void)
{
	etharp_tmr();
	ip_reass_tmr();
	nd6_tmr();
	ip6_reass_tmr();
}

/* --- configuration ------------------------------------------------------------------------------
 */

static int wanted(u32_t family, const u8_t *bytes, u32_t addrs, u32_t *prefix_len)
{
	for (u32_t i = 0; i < addrs; i++) {
		const struct port_addr *a = &io.addrs[i];

		if (a->family == family && memcmp(a->ip, bytes, family == 6 ? 16 : 4) == 0) {
			*prefix_len = a->prefix_len;
			return 1;
		}
	}
	return 0;
}

static void set_ip4(u32_t i, const ip4_addr_t *ip, u32_t prefix_len)
{
	ip4_addr_t mask;
	u32_t bits = prefix_len == 0 ? 0 : 0xffffffffu << (32 - prefix_len);

	ip4_addr_set_u32(&mask, lwip_htonl(bits));
	netif_set_addr(slot_netif(i), ip, &mask, IP4_ADDR_ANY4);
	slot_prefix[i] = (u8_t)prefix_len;
}

/* Vanished addresses first go to "none", so that lwIP moves no listener to another address. */
static void drop_addresses(u32_t addrs)
{
	u32_t prefix_len;

	for (u32_t i = 0; i < IP4_SLOTS; i++) {
		if (!slot_used(i))
			continue;
		if (wanted(PORT_FAMILY_4, (const u8_t *)netif_ip4_addr(slot_netif(i)), addrs,
			   &prefix_len))
			set_ip4(i, netif_ip4_addr(slot_netif(i)), prefix_len);
		else
			set_ip4(i, IP4_ADDR_ANY4, 0);
	}
	for (u32_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (!valid6(i))
			continue;
		if (wanted(PORT_FAMILY_6, (const u8_t *)netif_ip6_addr(&port_main_netif, i)->addr,
			   addrs, &prefix_len))
			ip6_prefix[i] = (u8_t)prefix_len;
		else
			netif_ip6_addr_set_state(&port_main_netif, (s8_t)i, IP6_ADDR_INVALID);
	}
}

static void add_ip4(const ip_addr_t *ip, u32_t prefix_len)
{
	for (u32_t i = 0; i < IP4_SLOTS; i++) {
		if (slot_used(i))
			continue;
		add_slot(i);
		set_ip4(i, ip_2_ip4(ip), prefix_len);
		return;
	}
}

static void add_ip6(const ip_addr_t *ip, u32_t prefix_len)
{
	for (u32_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (valid6(i))
			continue;
		netif_ip6_addr_set(&port_main_netif, (s8_t)i, ip_2_ip6(ip));
		netif_ip6_addr_set_state(&port_main_netif, (s8_t)i, IP6_ADDR_PREFERRED);
		ip6_prefix[i] = (u8_t)prefix_len;
		return;
	}
}

static void add_addresses(u32_t addrs)
{
	ip_addr_t ip;

	for (u32_t i = 0; i < addrs; i++) {
		const struct port_addr *a = &io.addrs[i];

		if (a->family != PORT_FAMILY_4 && a->family != PORT_FAMILY_6)
			continue;
		port_make_ip(&ip, a->family, a->ip);
		if (ip_addr_isany(&ip) || ip_addr_ismulticast(&ip) || port_addr_is_local(&ip))
			continue;
		if (a->family == PORT_FAMILY_4)
			add_ip4(&ip, LWIP_MIN(a->prefix_len, 32));
		else
			add_ip6(&ip, LWIP_MIN(a->prefix_len, 128));
	}
}

static void set_routes(u32_t count)
{
	route_count = 0;
	for (u32_t i = 0; i < count; i++) {
		const struct port_route *from = &io.routes[i];
		struct route *r = &routes[route_count];
		u32_t max = from->family == PORT_FAMILY_6 ? 128 : 32;

		if (from->family != PORT_FAMILY_4 && from->family != PORT_FAMILY_6)
			continue;
		port_make_ip(&r->target, from->family, from->target);
		port_make_ip(&r->via, from->family, from->via);
		r->prefix_len = (u8_t)LWIP_MIN(from->prefix_len, max);
		r->has_via = from->has_via;
		route_count++;
	}
}

void PORT_EXPORT(port_configure)(double now, uint32_t new_mtu, uint32_t addrs, uint32_t count)
{
	port_enter(now);
	mtu = (u16_t)LWIP_MIN(LWIP_MAX(new_mtu, PORT_MTU_MIN), PORT_MTU_MAX);
	addrs = LWIP_MIN(addrs, PORT_ADDRS_MAX);
	port_tcp_list_all();
	port_tcp_netif_change(1);
	drop_addresses(addrs);
	port_tcp_netif_change(0);
	add_addresses(addrs);
	set_routes(LWIP_MIN(count, PORT_ROUTES_MAX));
	for (u32_t i = 0; i < IP4_SLOTS; i++)
		if (slot_added[i])
			slot_netif(i)->mtu = mtu;
	nd6_clear_destination_cache();
}

/* --- questions ----------------------------------------------------------------------------------
 */

int32_t PORT_EXPORT(port_source_for)(double now)
{
	ip_addr_t dest;
	ip_addr_t src;

	port_enter(now);
	if (port_from_endpoint(&io.remote, &dest) != 0 || !port_route(&dest, &src))
		return 0;
	port_to_endpoint(&io.local, &src, 0);
	return 1;
}

int32_t PORT_EXPORT(port_is_local)(double now)
{
	ip_addr_t ip;

	port_enter(now);
	return port_from_endpoint(&io.remote, &ip) == 0 && port_addr_is_local(&ip);
}
