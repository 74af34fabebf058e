/**
 * kept.c - Options that are kept, refused or told by rule; broadcasts to everybody
 *
 * usage: kept [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/** keeps() - An option of a new socket: before, set, after */
static void keeps(const char *what, int type, int level, int name, int value)
{
	int fd = socket(probe_family, type, 0);
	int before = int_option(fd, level, name);
	const char *set = err(set_option(fd, level, name, value));

	say("%s %s before %d set %d %s after %d", type == SOCK_STREAM ? "tcp" : "udp", what, before,
	    value, set, int_option(fd, level, name));
	close(fd);
}

static void both(const char *what, int level, int name, int value)
{
	keeps(what, SOCK_STREAM, level, name, value);
	keeps(what, SOCK_DGRAM, level, name, value);
}

/** k_kept() - Options without an effect that anybody could see */
static void k_kept(void)
{
	both("debug", SOL_SOCKET, SO_DEBUG, 1);
	both("dontroute", SOL_SOCKET, SO_DONTROUTE, 7);
	both("no check", SOL_SOCKET, SO_NO_CHECK, 1);
	both("priority", SOL_SOCKET, SO_PRIORITY, 5);
	both("bsdcompat", SOL_SOCKET, SO_BSDCOMPAT, 1);
	both("send mark", SOL_SOCKET, SO_SNDLOWAT, 9);
	both("mark", SOL_SOCKET, SO_MARK, 3);
	both("errors first", SOL_SOCKET, SO_SELECT_ERR_QUEUE, 4);
	both("busy poll", SOL_SOCKET, SO_BUSY_POLL, 20);
	both("filter extensions", SOL_SOCKET, SO_BPF_EXTENSIONS, 1);
	both("incoming cpu", SOL_SOCKET, SO_INCOMING_CPU, 0);
	both("unknown", SOL_SOCKET, 200, 1);
	both("unknown", IPPROTO_TCP, 200, 1);
	both("unknown", IPPROTO_IP, 63, 1);
	both("unknown", IPPROTO_IPV6, 82, 1);
	both("unknown level", 77, 1, 1);
}

/** k_tos() - A stream keeps the two bits of ECN to itself */
static void k_tos(void)
{
	int level = probe_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int name = probe_family == AF_INET ? IP_TOS : IPV6_TCLASS;

	for (int v = 1; v < 256; v += 85)
		both("tos", level, name, v);
	both("tos", level, name, 256);
	both("tos", level, name, -1);
}

static void credentials(const char *what, int fd)
{
	struct ucred cred = {.pid = 7, .uid = 7, .gid = 7};
	socklen_t len = sizeof(cred);
	gid_t groups[64];

	say("%s %s", what, err(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)));
	say("%s is %d %d %d len %u", what, cred.pid, (int)cred.uid, (int)cred.gid, len);
	len = 5;
	say("%s short %s len %u", what, err(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)),
	    len);
	len = sizeof(groups);
	say("%s groups %s", what, err(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len)));
	say("%s set %s", what, err(set_option(fd, SOL_SOCKET, SO_PEERCRED, 1)));
}

/** k_peer() - Who the peer's process is: of a network's sockets nobody knows */
static void k_peer(void)
{
	struct address a = own(0);
	int l = socket(probe_family, SOCK_STREAM, 0), c = socket(probe_family, SOCK_STREAM, 0);

	bind_to(l, &a);
	listen(l, 4);
	a = own(port_of(l));
	credentials("fresh", c);
	say("connect %s", err(connect_to(c, &a)));
	credentials("client", c);
	credentials("server", accept(l, NULL, NULL));
	credentials("listener", l);
	credentials("datagram", bound(probe_family));
}

/** k_peek() - SO_PEEK_OFF: where a peek begins */
static void k_peek(void)
{
	int s = bound(probe_family), c = udp(probe_family);
	char b[8] = {0};

	keeps("peek off", SOCK_DGRAM, SOL_SOCKET, SO_PEEK_OFF, 0);
	keeps("peek off", SOCK_DGRAM, SOL_SOCKET, SO_PEEK_OFF, -1);
	set_option(s, SOL_SOCKET, SO_PEEK_OFF, 2);
	send_to(c, "abcdef", port_of(s));
	arrives(s);
	say("peek %s %.2s", num(recv(s, b, 2, MSG_PEEK)), b);
	say("then %s %.2s", num(recv(s, b, 2, MSG_PEEK)), b);
	say("whole %s", got(s));
}

static ssize_t shout(int fd, int port)
{
	struct sockaddr_in a = to("255.255.255.255", port);

	return sendto(fd, "all", 3, 0, (void *)&a, sizeof(a));
}

/** k_broadcast() - 255.255.255.255 wants SO_BROADCAST, whatever made the socket known */
static void k_broadcast(void)
{
	int s = bound_any(AF_INET), c = bound(AF_INET), other;
	struct sockaddr_in a = to("255.255.255.255", port_of(s));
	struct iovec iov = {"all", 3};
	struct mmsghdr m = {.msg_hdr = {.msg_name = &a,
					.msg_namelen = sizeof(a),
					.msg_iov = &iov,
					.msg_iovlen = 1}};

	say("sendto %s", num(shout(c, port_of(s))));
	say("sendmsg %s", num(sendmsg(c, &m.msg_hdr, 0)));
	say("sendmmsg %s", num(sendmmsg(c, &m, 1, 0)));
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	say("nothing %s", not_got(s));
	set_option(c, SOL_SOCKET, SO_BROADCAST, 1);
	say("allowed %s", num(shout(c, port_of(s))));
	say("hears %s", got(s));
	other = dup(c);
	say("by a duplicate %s", num(shout(other, port_of(s))));
	say("hears %s", got(s));
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	say("send %s", num(send(c, "sent", 4, 0)));
	say("hears %s", got(s));
	set_option(other, SOL_SOCKET, SO_BROADCAST, 0);
	say("taken back %s", num(shout(c, port_of(s))));
	say("connected still %s", num(send(c, "still", 5, 0)));
	say("hears %s", got(s));
}

static const struct probe_case cases[] = {
	FOUR_SIX("K-kept", k_kept), FOUR_SIX("K-tos", k_tos),	  FOUR_SIX("K-peer", k_peer),
	FOUR_SIX("K-peek", k_peek), {"K-broadcast", k_broadcast},
};

PROBE_MAIN(cases)
