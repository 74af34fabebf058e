/**
 * udp_source.c - Multicast groups of which only some sources are wanted
 *
 * usage: udp_source [CASE...]
 *
 * All datagrams come from OWN; SILENT and others stand for sources that send nothing.
 */
#define _GNU_SOURCE
#include "udp.h"

#include <net/if.h>

#define GROUP  "239.77.2.1"
#define OTHER  "239.77.2.2"
#define GROUP6 "ff05::77:21"
#define MANY   70

static int own_index;

static ssize_t shout(int fd, const char *group, const char *text, int port)
{
	struct sockaddr_in a = to(group, port);

	return sendto(fd, text, strlen(text), 0, (void *)&a, sizeof(a));
}

static ssize_t shout6(int fd, const char *text, int port)
{
	struct sockaddr_in6 a = to6(GROUP6, port);

	return sendto(fd, text, strlen(text), 0, (void *)&a, sizeof(a));
}

/** option() - A call about @source of @group, in the form of the IP level */
static const char *option(int fd, int name, const char *group, const char *source)
{
	struct ip_mreq_source r;

	inet_pton(AF_INET, group, &r.imr_multiaddr);
	inet_pton(AF_INET, OWN, &r.imr_interface);
	inet_pton(AF_INET, source, &r.imr_sourceaddr);
	return err(setsockopt(fd, IPPROTO_IP, name, &r, sizeof(r)));
}

static const char *member(int fd, int name, const char *group)
{
	struct ip_mreq r;

	inet_pton(AF_INET, group, &r.imr_multiaddr);
	inet_pton(AF_INET, OWN, &r.imr_interface);
	return err(setsockopt(fd, IPPROTO_IP, name, &r, sizeof(r)));
}

static int sender(void)
{
	int c = bound(AF_INET);
	struct in_addr iface;

	inet_pton(AF_INET, OWN, &iface);
	setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &iface, sizeof(iface));
	return c;
}

/** g_wanted() - Sources that are wanted: a membership that hears nobody else */
static void g_wanted(void)
{
	int s = bound_any(AF_INET), c = sender();

	say("silent %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, SILENT));
	say("send %s", num(shout(c, GROUP, "unwanted", port_of(s))));
	say("hears %s", not_got(s));
	say("own %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	say("twice %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	shout(c, GROUP, "wanted", port_of(s));
	say("hears %s", got(s));
	say("join %s", member(s, IP_ADD_MEMBERSHIP, GROUP));
	say("block %s", option(s, IP_BLOCK_SOURCE, GROUP, SILENT));
	say("unblock %s", option(s, IP_UNBLOCK_SOURCE, GROUP, SILENT));
	say("not own any more %s", option(s, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OWN));
	say("again %s", option(s, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OWN));
	shout(c, GROUP, "late", port_of(s));
	say("hears %s", not_got(s));
	say("last %s", option(s, IP_DROP_SOURCE_MEMBERSHIP, GROUP, SILENT));
	say("that was the membership %s", member(s, IP_DROP_MEMBERSHIP, GROUP));
	say("no member %s", option(s, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OWN));
	say("own %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	say("leave %s", member(s, IP_DROP_MEMBERSHIP, GROUP));
}

/** g_blocked() - A membership that hears all but some */
static void g_blocked(void)
{
	int s = bound_any(AF_INET), c = sender();

	say("no member, block %s", option(s, IP_BLOCK_SOURCE, GROUP, OWN));
	say("no member, unblock %s", option(s, IP_UNBLOCK_SOURCE, GROUP, OWN));
	say("join %s", member(s, IP_ADD_MEMBERSHIP, GROUP));
	say("unblock %s", option(s, IP_UNBLOCK_SOURCE, GROUP, OWN));
	say("block %s", option(s, IP_BLOCK_SOURCE, GROUP, OWN));
	say("twice %s", option(s, IP_BLOCK_SOURCE, GROUP, OWN));
	say("want %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	shout(c, GROUP, "blocked", port_of(s));
	say("hears %s", not_got(s));
	say("unblock %s", option(s, IP_UNBLOCK_SOURCE, GROUP, OWN));
	shout(c, GROUP, "again", port_of(s));
	say("hears %s", got(s));
	say("want of all %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, SILENT));
	shout(c, GROUP, "unwanted", port_of(s));
	say("hears %s", not_got(s));
	say("group %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, OWN, OWN));
	say("short %s", err(setsockopt(s, IPPROTO_IP, IP_BLOCK_SOURCE, &s, 4)));
	say("get %d", int_option(s, IPPROTO_IP, IP_BLOCK_SOURCE));
}

/** g_unjoined() - A socket that hears all groups, unless it is a member that wants others */
static void g_unjoined(void)
{
	int joined = bound_any(AF_INET), s = bound_any(AF_INET), c = sender();

	say("join %s", member(joined, IP_ADD_MEMBERSHIP, GROUP));
	shout(c, GROUP, "of another", port_of(s));
	say("hears %s", got(s));
	say("silent %s", option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, SILENT));
	shout(c, GROUP, "unwanted", port_of(s));
	say("hears %s", not_got(s));
	say("other group %s", member(joined, IP_ADD_MEMBERSHIP, OTHER));
	shout(c, OTHER, "other", port_of(s));
	say("hears %s", got(s));
}

static struct group_source_req request(int family, const char *group, const char *source)
{
	struct group_source_req r = {.gsr_interface = (unsigned)own_index};

	if (family == AF_INET) {
		memcpy(&r.gsr_group, &(struct sockaddr_in[]){to(group, 0)}, 16);
		memcpy(&r.gsr_source, &(struct sockaddr_in[]){to(source, 0)}, 16);
	} else {
		memcpy(&r.gsr_group, &(struct sockaddr_in6[]){to6(group, 0)}, 28);
		memcpy(&r.gsr_source, &(struct sockaddr_in6[]){to6(source, 0)}, 28);
	}
	return r;
}

static const char *generic(int fd, int level, int name, struct group_source_req r)
{
	return err(setsockopt(fd, level, name, &r, sizeof(r)));
}

/** find_index() - Of the interface that has OWN */
static void find_index(void)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i != NULL && i->if_index != 0; i++) {
		if (strcmp(i->if_name, "lo") != 0 && strcmp(i->if_name, "v1") != 0)
			own_index = (int)i->if_index;
	}
	if_freenameindex(all);
}

/** g_sources() - The calls for both families, over IPv4 */
static void g_sources(void)
{
	int s = bound_any(AF_INET), c = sender();
	struct group_source_req own, silent, short_one;

	find_index();
	own = request(AF_INET, GROUP, OWN);
	silent = request(AF_INET, GROUP, SILENT);
	short_one = own;
	say("own %s", generic(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, own));
	say("twice %s", generic(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, own));
	shout(c, GROUP, "wanted", port_of(s));
	say("hears %s", got(s));
	say("block %s", generic(s, IPPROTO_IP, MCAST_BLOCK_SOURCE, silent));
	say("not silent %s", generic(s, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, silent));
	say("not own %s", generic(s, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, own));
	say("left %s", member(s, IP_DROP_MEMBERSHIP, GROUP));
	member(s, IP_ADD_MEMBERSHIP, GROUP);
	say("block %s", generic(s, IPPROTO_IP, MCAST_BLOCK_SOURCE, own));
	shout(c, GROUP, "blocked", port_of(s));
	say("hears %s", not_got(s));
	say("unblock %s", generic(s, IPPROTO_IP, MCAST_UNBLOCK_SOURCE, own));
	shout(c, GROUP, "again", port_of(s));
	say("hears %s", got(s));
	say("families %s",
	    generic(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, request(AF_INET6, GROUP6, OWN6)));
	memcpy(&short_one.gsr_source, &(struct sockaddr_in6[]){to6(OWN6, 0)}, 28);
	say("source of the other family %s",
	    generic(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, short_one));
	say("short %s", err(setsockopt(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &own, 200)));
	own.gsr_interface = 9999;
	say("no interface %s", generic(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, own));
}

/** g_sources6() - And over IPv6 */
static void g_sources6(void)
{
	int s = bound_any(AF_INET6), c = bound(AF_INET6);
	struct group_source_req own, silent, mixed;

	find_index();
	own = request(AF_INET6, GROUP6, OWN6);
	silent = request(AF_INET6, GROUP6, FOREIGN6);
	mixed = own;
	set_option(c, IPPROTO_IPV6, IPV6_MULTICAST_IF, own_index);
	say("silent %s", generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, silent));
	shout6(c, "unwanted", port_of(s));
	say("hears %s", not_got(s));
	say("own %s", generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, own));
	say("twice %s", generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, own));
	shout6(c, "wanted", port_of(s));
	say("hears %s", got(s));
	say("block %s", generic(s, IPPROTO_IPV6, MCAST_BLOCK_SOURCE, own));
	say("not own %s", generic(s, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, own));
	say("again %s", generic(s, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, own));
	say("not silent %s", generic(s, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, silent));
	say("no member %s", generic(s, IPPROTO_IPV6, MCAST_BLOCK_SOURCE, silent));
	say("want %s", generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, own));
	memcpy(&mixed.gsr_source, &(struct sockaddr_in[]){to(OWN, 0)}, 16);
	say("source of the other family %s",
	    generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, mixed));
	own.gsr_interface = 9999;
	say("no interface %s", generic(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, own));
	say("on AF_INET %s", generic(bound(AF_INET), IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, own));
}

/** g_limits() - How many sources one membership takes */
static void g_limits(void)
{
	int s = bound_any(AF_INET), s6 = bound_any(AF_INET6), n = 0;
	char text[40];
	const char *r = "ok";

	find_index();
	for (; n < MANY && strcmp(r, "ok") == 0; n++) {
		snprintf(text, sizeof(text), "192.0.2.%d", n + 1);
		r = option(s, IP_ADD_SOURCE_MEMBERSHIP, GROUP, text);
	}
	say("%s at %d", r, n);
	r = "ok";
	for (n = 0; n < MANY && strcmp(r, "ok") == 0; n++) {
		snprintf(text, sizeof(text), "fd00:18::%d", n + 1);
		r = generic(s6, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP,
			    request(AF_INET6, GROUP6, text));
	}
	say("%s at %d", r, n);
}

static const struct probe_case cases[] = {
	{"G-wanted", g_wanted},	  {"G-blocked", g_blocked},   {"G-unjoined", g_unjoined},
	{"G-sources", g_sources}, {"G-sources6", g_sources6}, {"G-limits", g_limits},
};

PROBE_MAIN(cases)
