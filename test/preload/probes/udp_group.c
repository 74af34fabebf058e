/**
 * udp_group.c - Broadcast and multicast
 *
 * usage: udp_group [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <net/if.h>

#define GROUP  "239.77.1.1"
#define OTHER  "239.77.1.2"
#define GROUP6 "ff05::77:1"
#define OTHER6 "ff05::77:2"

/** own_index() - Index of the interface that has OWN */
static unsigned own_index(void)
{
	struct if_nameindex *all = if_nameindex();
	unsigned index = 0;

	for (struct if_nameindex *i = all; i != NULL && i->if_index != 0; i++) {
		if (strcmp(i->if_name, "lo") != 0 && strcmp(i->if_name, "v1") != 0)
			index = i->if_index;
	}
	if_freenameindex(all);
	return index;
}

static ssize_t shout(int fd, const char *ip, const char *text, int port)
{
	struct sockaddr_in a = to(ip, port);

	return sendto(fd, text, strlen(text), 0, (void *)&a, sizeof(a));
}

static ssize_t shout6(int fd, const char *ip, const char *text, int port)
{
	struct sockaddr_in6 a = to6(ip, port);

	return sendto(fd, text, strlen(text), 0, (void *)&a, sizeof(a));
}

static void g_broadcast(void)
{
	struct sockaddr_in sub = to(SUBNET, 9);
	int s = bound_any(AF_INET), own = bound(AF_INET), c = bound(AF_INET), fd = udp(AF_INET);

	say("without option %s", num(shout(c, "255.255.255.255", "x", port_of(s))));
	say("subnet without %s", num(shout(c, SUBNET, "x", port_of(s))));
	say("subnet connect without %s", err(connect(fd, (void *)&sub, sizeof(sub))));
	say("option %s", err(set_option(c, SOL_SOCKET, SO_BROADCAST, 1)));
	say("subnet %s", num(shout(c, SUBNET, "subnet", port_of(s))));
	say("own machine hears %s", got(s));
	shout(c, SUBNET, "subnet", port_of(own));
	say("bound to the address %s", not_got(own));
	set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
	say("connect %s", err(connect(fd, (void *)&sub, sizeof(sub))));
	say("option off %s", err(set_option(c, SOL_SOCKET, SO_BROADCAST, 0)));
	say("then %s", num(shout(c, SUBNET, "x", port_of(s))));
}

static void g_join(void)
{
	struct ip_mreq join = {0};
	struct ip_mreqn mine = {0};
	int s = bound_any(AF_INET), t = udp(AF_INET), c = bound(AF_INET);
	struct sockaddr_in any = to("0.0.0.0", 0);
	struct in_addr iface;

	inet_pton(AF_INET, GROUP, &join.imr_multiaddr);
	inet_pton(AF_INET, OWN, &join.imr_interface);
	iface = join.imr_interface;
	say("interface %s", err(setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &iface, 4)));
	say("unjoined send %s", num(shout(c, GROUP, "early", port_of(s))));
	say("nobody %s", not_got(s));
	say("join %s", err(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	say("twice %s", err(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	say("send %s", num(shout(c, GROUP, "group", port_of(s))));
	say("member hears %s", got(s));
	shout(c, OTHER, "other", port_of(s));
	say("other group %s", not_got(s));
	set_option(c, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	shout(c, GROUP, "quiet", port_of(s));
	say("without loop %s", not_got(s));
	set_option(c, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
	say("leave %s", err(setsockopt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join))));
	say("again %s", err(setsockopt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join))));
	shout(c, GROUP, "late", port_of(s));
	say("left %s", not_got(s));
	mine.imr_multiaddr = join.imr_multiaddr;
	mine.imr_ifindex = (int)own_index();
	say("index %d", mine.imr_ifindex > 0);
	say("join by index %s",
	    err(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mine, sizeof(mine))));
	shout(c, GROUP, "index", port_of(s));
	say("hears %s", got(s));
	inet_pton(AF_INET, "10.1.2.3", &join.imr_multiaddr);
	say("no group %s", err(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	say("short %s", err(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, 4)));
	inet_pton(AF_INET, GROUP, &join.imr_multiaddr);
	inet_pton(AF_INET, FOREIGN, &join.imr_interface);
	say("foreign interface %s",
	    err(setsockopt(t, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	bind(t, (void *)&any, sizeof(any));
}

/** g_shared() - Two members on one port both hear the group; a unicast goes to one of them */
static void g_shared(void)
{
	struct ip_mreq join = {0};
	struct sockaddr_in any = to("0.0.0.0", 0);
	struct in_addr iface;
	int first = udp(AF_INET), second = udp(AF_INET), c = bound(AF_INET), n = 0;
	char b[8];

	set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	bind(first, (void *)&any, sizeof(any));
	any.sin_port = htons((uint16_t)port_of(first));
	say("second %s", err(bind(second, (void *)&any, sizeof(any))));
	inet_pton(AF_INET, GROUP, &join.imr_multiaddr);
	inet_pton(AF_INET, OWN, &join.imr_interface);
	iface = join.imr_interface;
	setsockopt(first, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join));
	setsockopt(second, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join));
	setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &iface, 4);
	shout(c, GROUP, "both", port_of(first));
	say("first %s", got(first));
	say("second %s", got(second));
	shout(c, OWN, "one", port_of(first));
	nap(60);
	n += recv(first, b, sizeof(b), MSG_DONTWAIT) == 3;
	n += recv(second, b, sizeof(b), MSG_DONTWAIT) == 3;
	say("unicast reaches %d", n);
	close(second);
	shout(c, GROUP, "rest", port_of(first));
	say("after one left %s", got(first));
}

static void g_join6(void)
{
	struct ipv6_mreq join = {0};
	int s = bound_any(AF_INET6), c = bound(AF_INET6), off = 0, on = 1, index;

	index = (int)own_index();
	join.ipv6mr_interface = (unsigned)index;
	inet_pton(AF_INET6, GROUP6, &join.ipv6mr_multiaddr);
	say("interface %s", err(set_option(c, IPPROTO_IPV6, IPV6_MULTICAST_IF, index)));
	say("is it %d", int_option(c, IPPROTO_IPV6, IPV6_MULTICAST_IF) == index);
	say("unjoined send %s", num(shout6(c, GROUP6, "early", port_of(s))));
	say("nobody %s", not_got(s));
	say("join %s", err(setsockopt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &join, sizeof(join))));
	say("twice %s", err(setsockopt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &join, sizeof(join))));
	shout6(c, GROUP6, "group", port_of(s));
	say("member hears %s", got(s));
	shout6(c, OTHER6, "other", port_of(s));
	say("other group %s", not_got(s));
	setsockopt(c, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof(off));
	shout6(c, GROUP6, "quiet", port_of(s));
	say("without loop %s", not_got(s));
	setsockopt(c, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &on, sizeof(on));
	say("leave %s", err(setsockopt(s, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &join, sizeof(join))));
	say("again %s", err(setsockopt(s, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &join, sizeof(join))));
	shout6(c, GROUP6, "late", port_of(s));
	say("left %s", not_got(s));
	inet_pton(AF_INET6, OWN6, &join.ipv6mr_multiaddr);
	say("no group %s", err(setsockopt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &join, sizeof(join))));
	join.ipv6mr_interface = 9999;
	inet_pton(AF_INET6, GROUP6, &join.ipv6mr_multiaddr);
	say("no interface %s",
	    err(setsockopt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &join, sizeof(join))));
}

/** g_bound() - A socket bound to the group itself hears only what is sent to it */
static void g_bound(void)
{
	struct ip_mreq join = {0};
	struct sockaddr_in group = to(GROUP, 0);
	struct in_addr iface;
	int s = udp(AF_INET), c = bound(AF_INET);

	say("bind to the group %s", err(bind(s, (void *)&group, sizeof(group))));
	inet_pton(AF_INET, GROUP, &join.imr_multiaddr);
	inet_pton(AF_INET, OWN, &join.imr_interface);
	iface = join.imr_interface;
	setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join));
	setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &iface, 4);
	shout(c, GROUP, "group", port_of(s));
	say("hears %s", got(s));
	shout(c, OWN, "unicast", port_of(s));
	say("unicast %s", not_got(s));
	getsockname(s, (void *)&group, &(socklen_t){sizeof(group)});
	say("name %s", ip_of(&group));
}

/** request() - What the calls that name interface and group alike for both families take */
static struct group_req request(unsigned index, int family, const char *group)
{
	struct group_req r = {.gr_interface = index};

	if (family == AF_INET)
		memcpy(&r.gr_group, &(struct sockaddr_in[]){to(group, 0)},
		       sizeof(struct sockaddr_in));
	else
		memcpy(&r.gr_group, &(struct sockaddr_in6[]){to6(group, 0)},
		       sizeof(struct sockaddr_in6));
	return r;
}

static int generic(int fd, int level, int name, struct group_req r)
{
	return setsockopt(fd, level, name, &r, sizeof(r));
}

static void g_generic(void)
{
	unsigned index = own_index();
	struct group_req four = request(index, AF_INET, GROUP);
	struct group_req six = request(index, AF_INET6, GROUP6);
	int s = bound_any(AF_INET), c = bound(AF_INET);
	int s6 = bound_any(AF_INET6), c6 = bound(AF_INET6);
	struct in_addr iface;

	inet_pton(AF_INET, OWN, &iface);
	setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &iface, sizeof(iface));
	set_option(c6, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index);
	say("join %s", err(generic(s, IPPROTO_IP, MCAST_JOIN_GROUP, four)));
	say("twice %s", err(generic(s, IPPROTO_IP, MCAST_JOIN_GROUP, four)));
	shout(c, GROUP, "four", port_of(s));
	say("hears %s", got(s));
	say("leave %s", err(generic(s, IPPROTO_IP, MCAST_LEAVE_GROUP, four)));
	say("again %s", err(generic(s, IPPROTO_IP, MCAST_LEAVE_GROUP, four)));
	shout(c, GROUP, "late", port_of(s));
	say("left %s", not_got(s));
	say("join6 %s", err(generic(s6, IPPROTO_IPV6, MCAST_JOIN_GROUP, six)));
	say("twice %s", err(generic(s6, IPPROTO_IPV6, MCAST_JOIN_GROUP, six)));
	shout6(c6, GROUP6, "six", port_of(s6));
	say("hears %s", got(s6));
	say("leave %s", err(generic(s6, IPPROTO_IPV6, MCAST_LEAVE_GROUP, six)));
	say("again %s", err(generic(s6, IPPROTO_IPV6, MCAST_LEAVE_GROUP, six)));
	say("family %s", err(generic(s, IPPROTO_IP, MCAST_JOIN_GROUP, six)));
	say("family6 %s", err(generic(s6, IPPROTO_IPV6, MCAST_JOIN_GROUP, four)));
	say("level %s", err(generic(s, IPPROTO_IPV6, MCAST_JOIN_GROUP, six)));
	say("no group %s",
	    err(generic(s, IPPROTO_IP, MCAST_JOIN_GROUP, request(index, AF_INET, FOREIGN))));
	say("no interface %s",
	    err(generic(s, IPPROTO_IP, MCAST_JOIN_GROUP, request(9999, AF_INET, GROUP))));
	say("short %s", err(setsockopt(s, IPPROTO_IP, MCAST_JOIN_GROUP, &four, 100)));
	say("get %d", int_option(s, IPPROTO_IP, MCAST_JOIN_GROUP));
}

static const struct probe_case cases[] = {
	{"G-broadcast", g_broadcast}, {"G-join", g_join},   {"G-shared", g_shared},
	{"G-join6", g_join6},	      {"G-bound", g_bound}, {"G-generic", g_generic},
};

PROBE_MAIN(cases)
