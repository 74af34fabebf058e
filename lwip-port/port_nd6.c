/*
 * lwIP's neighbour discovery, compiled with another notion of "same subnet".
 *
 * lwIP gives every address a subnet of 64 bits and solicits a neighbour only from an address of the
 * same one; ours have prefixes of any length (40 bits for 6PLANE, for example), and routes may name
 * neighbours of another subnet. port_netif.c decides what is on the link, so the comparison of a
 * next hop with one of our addresses is replaced by its answer. lwIP's file itself is not edited.
 */
#include "port.h"

#undef ip6_addr_net_eq
#define ip6_addr_net_eq(ip, ours) port_speaks_for(ours, ip)

#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "core/ipv6/nd6.c"
