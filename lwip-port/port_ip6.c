/*
 * lwIP's IPv6 input and output, compiled with another notion of "a group we are in" and with source
 * addresses chosen by the longest common prefix (RFC 6724 rule 8; lwIP compares 64 bits or nothing,
 * so that a 6PLANE neighbour, whose subnet has 40 bits, could be met from any of our addresses).
 *
 * Without MLD lwIP takes in the all-nodes groups and solicited-node groups only. Groups that
 * sockets joined are in port_group.c; the test for "all nodes on the link", which input alone uses,
 * asks there too. lwIP's file itself is not edited.
 */
#include "port.h"

#include "lwip/ip6_addr.h"

static int is_our_group(const ip6_addr_t *ip)
{
	ip_addr_t group;

	if (ip6_addr_isallnodes_linklocal(ip))
		return 1;
	ip_addr_copy_from_ip6(group, *ip);
	return port_group_joined(&group);
}

#undef ip6_addr_isallnodes_linklocal
#define ip6_addr_isallnodes_linklocal(ip) is_our_group(ip)

/* leading bits that two addresses share, 0 to 128 */
static u8_t common_bits(const ip6_addr_t *a, const ip6_addr_t *b)
{
	u8_t bits = 0;

	for (int i = 0; i < 4; i++) {
		u32_t difference = lwip_ntohl(a->addr[i] ^ b->addr[i]);

		if (difference != 0)
			return (u8_t)(bits + __builtin_clz(difference));
		bits += 32;
	}
	return bits;
}

static int same_subnet(const ip6_addr_t *a, const ip6_addr_t *b)
{
	return ip6_addr_net_zoneless_eq(a, b) && ip6_addr_zone_eq(a, b);
}

/* Used where a route is chosen: as lwIP has it. */
#undef ip6_addr_net_eq
#define ip6_addr_net_eq(a, b) same_subnet(a, b)
/* Used where a source is chosen, the second of them also beside the one above: all bits count. */
#undef ip6_addr_net_zoneless_eq
#define ip6_addr_net_zoneless_eq(ours, dest) common_bits(ours, dest)
#undef ip6_addr_nethost_eq
#define ip6_addr_nethost_eq(a, b) ip6_addr_zoneless_eq(a, b)

#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "core/ipv6/ip6.c"
