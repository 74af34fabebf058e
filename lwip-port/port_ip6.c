/*
 * lwIP's IPv6 input and output, compiled with another notion of "a group we are in".
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

#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "core/ipv6/ip6.c"
