/**
 * udp_control.c - Control data and socket options of datagram sockets
 *
 * Contents: receiving control data; sending it; options.
 *
 * usage: udp_control [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <stdint.h>
#include <sys/time.h>

#define ROOM 256

struct message {
	char bytes[64];
	char control[ROOM] __attribute__((aligned(8)));
	struct sockaddr_storage from;
	struct iovec iov;
	struct msghdr m;
};

static void prepare(struct message *x, size_t room)
{
	memset(x, 0, sizeof(*x));
	x->iov = (struct iovec){x->bytes, sizeof(x->bytes)};
	x->m = (struct msghdr){.msg_name = &x->from,
			       .msg_namelen = sizeof(x->from),
			       .msg_iov = &x->iov,
			       .msg_iovlen = 1,
			       .msg_control = x->control,
			       .msg_controllen = room};
}

static void say_int(const char *name, const struct cmsghdr *c)
{
	int v = 0;
	size_t len = c->cmsg_len - CMSG_LEN(0);

	memcpy(&v, CMSG_DATA(c), len < sizeof(v) ? len : sizeof(v));
	say("%s %d len %zu", name, v, len);
}

static void say_pktinfo(const struct cmsghdr *c)
{
	struct in_pktinfo info;
	char a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	say("pktinfo to %s source %s interface %d",
	    inet_ntop(AF_INET, &info.ipi_addr, a, sizeof(a)),
	    inet_ntop(AF_INET, &info.ipi_spec_dst, b, sizeof(b)), info.ipi_ifindex > 0);
}

static void say_pktinfo6(const struct cmsghdr *c)
{
	struct in6_pktinfo info;
	char a[INET6_ADDRSTRLEN];

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	say("pktinfo6 to %s interface %d", inet_ntop(AF_INET6, &info.ipi6_addr, a, sizeof(a)),
	    info.ipi6_ifindex > 0);
}

static void say_time(const struct cmsghdr *c)
{
	struct timeval now, then;

	memcpy(&then, CMSG_DATA(c), sizeof(then));
	gettimeofday(&now, NULL);
	say("timestamp recent %d", now.tv_sec - then.tv_sec >= 0 && now.tv_sec - then.tv_sec < 30);
}

static void say_control(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			say_pktinfo(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			say_pktinfo6(c);
		else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP)
			say_time(c);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			say_int("ttl", c);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			say_int("tos", c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
			say_int("hoplimit", c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			say_int("tclass", c);
		else
			say("control level %d type %d", c->cmsg_level, c->cmsg_type);
	}
}

/** receive() - One datagram with everything that comes along */
static void receive(int fd, size_t room)
{
	struct message x;
	ssize_t n;

	prepare(&x, room);
	arrives(fd);
	n = recvmsg(fd, &x.m, MSG_DONTWAIT);
	say("received %s from %s namelen %u", num(n), ip_of(&x.from), x.m.msg_namelen);
	say("controllen %zu flags%s%s", x.m.msg_controllen,
	    (x.m.msg_flags & MSG_CTRUNC) != 0 ? " CTRUNC" : "",
	    (x.m.msg_flags & MSG_TRUNC) != 0 ? " TRUNC" : "");
	say_control(&x.m);
}

static void all_options(int fd, int family)
{
	set_option(fd, IPPROTO_IP, IP_PKTINFO, family == AF_INET);
	set_option(fd, IPPROTO_IP, IP_RECVTTL, 1);
	set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	if (family == AF_INET)
		return;
	set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
}

static void c_none(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);

	send_to(c, "plain", port_of(s));
	receive(s, ROOM);
}

static void c_receive4(void)
{
	int s = bound_any(AF_INET), c = udp(AF_INET);

	all_options(s, AF_INET);
	set_option(c, IPPROTO_IP, IP_TTL, 33);
	set_option(c, IPPROTO_IP, IP_TOS, 0x48);
	send_to(c, "four", port_of(s));
	receive(s, ROOM);
	set_option(s, SOL_SOCKET, SO_TIMESTAMP, 1);
	send_to(c, "timed", port_of(s));
	receive(s, ROOM);
}

static void c_receive6(void)
{
	int s = bound_any(AF_INET6), c = udp(AF_INET6);

	all_options(s, AF_INET6);
	set_option(c, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
	set_option(c, IPPROTO_IPV6, IPV6_TCLASS, 0x48);
	send_to6(c, "six", port_of(s));
	receive(s, ROOM);
}

static void c_receive_mapped(void)
{
	int s = bound_any(AF_INET6), c = udp(AF_INET);

	all_options(s, AF_INET6);
	send_to(c, "mapped", port_of(s));
	receive(s, ROOM);
}

static void c_truncated(void)
{
	static const size_t rooms[] = {0, 8, 16, 20, 24, 28, 32, 40, 56, 80};
	int s = bound_any(AF_INET), c = udp(AF_INET);
	struct message x;

	all_options(s, AF_INET);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		send_to(c, "cut", port_of(s));
		prepare(&x, rooms[i]);
		arrives(s);
		recvmsg(s, &x.m, 0);
		say("room %zu used %zu cut %d first %zu", rooms[i], x.m.msg_controllen,
		    (x.m.msg_flags & MSG_CTRUNC) != 0,
		    rooms[i] >= sizeof(struct cmsghdr)
			    ? ((struct cmsghdr *)(void *)x.control)->cmsg_len
			    : 0);
	}
	prepare(&x, 0);
	x.m.msg_control = NULL;
	x.m.msg_controllen = 64;
	send_to(c, "none", port_of(s));
	arrives(s);
	say("no buffer %s", num(recvmsg(s, &x.m, 0)));
}

/* --------------------------------------------------------------- sending */

static void attach(struct message *x, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&x->m);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	x->m.msg_controllen = CMSG_SPACE(len);
}

/** send_with() - "hi" to @to with one control message */
static ssize_t send_with(int fd, const void *to, socklen_t to_len, int level, int type,
			 const void *data, size_t len)
{
	struct message x;

	prepare(&x, ROOM);
	x.iov = (struct iovec){"hi", 2};
	x.m.msg_name = (void *)(uintptr_t)to;
	x.m.msg_namelen = to_len;
	attach(&x, level, type, data, len);
	return sendmsg(fd, &x.m, 0);
}

static void c_send4(void)
{
	int s = bound_any(AF_INET), c = udp(AF_INET), v;
	struct sockaddr_in a = to(OWN, port_of(s));
	struct in_pktinfo info = {0};
	unsigned char byte = 0x30;

#define SEND4(type, data) send_with(c, &a, sizeof(a), IPPROTO_IP, type, &(data), sizeof(data))
	all_options(s, AF_INET);
	v = 44;
	say("ttl 44 %s", num(SEND4(IP_TTL, v)));
	receive(s, ROOM);
	v = 0;
	say("ttl 0 %s", num(SEND4(IP_TTL, v)));
	v = 256;
	say("ttl 256 %s", num(SEND4(IP_TTL, v)));
	say("ttl short %s", num(SEND4(IP_TTL, byte)));
	v = 0x28;
	say("tos int %s", num(SEND4(IP_TOS, v)));
	receive(s, ROOM);
	say("tos byte %s", num(SEND4(IP_TOS, byte)));
	receive(s, ROOM);
	v = 300;
	say("tos 300 %s", num(SEND4(IP_TOS, v)));
	say("pktinfo empty %s", num(SEND4(IP_PKTINFO, info)));
	say("arrives %s", got(s));
	inet_pton(AF_INET, OWN, &info.ipi_spec_dst);
	say("pktinfo %s", num(SEND4(IP_PKTINFO, info)));
	receive(s, ROOM);
	say("pktinfo short %s", num(SEND4(IP_PKTINFO, v)));
	say("unknown %s", num(SEND4(99, v)));
	say("other level %s",
	    num(send_with(c, &a, sizeof(a), IPPROTO_IPV6, IPV6_HOPLIMIT, &v, sizeof(v))));
	say("arrives %s", got(s));
	say("socket level %s", num(send_with(c, &a, sizeof(a), SOL_SOCKET, 99, &v, sizeof(v))));
	v = 0;
	say("descriptor %s",
	    num(send_with(c, &a, sizeof(a), SOL_SOCKET, SCM_RIGHTS, &v, sizeof(v))));
	say("arrives %s", got(s));
}

/** c_order() - Each datagram leaves with the options of its time; a sender's name is known */
static void c_order(void)
{
	int s = bound_any(AF_INET), c = udp(AF_INET), wrong = 0, unnamed = 0;
	struct message x;

	set_option(s, IPPROTO_IP, IP_RECVTTL, 1);
	dial(c, port_of(s));
	for (int ttl = 1; ttl <= 100; ttl++) {
		set_option(c, IPPROTO_IP, IP_TTL, ttl);
		send(c, &ttl, sizeof(ttl), 0);
	}
	for (int i = 1; i <= 100 && arrives(s); i++) {
		int said = 0, had = -1;

		prepare(&x, ROOM);
		recvmsg(s, &x.m, MSG_DONTWAIT);
		memcpy(&said, x.bytes, sizeof(said));
		memcpy(&had, CMSG_DATA((struct cmsghdr *)(void *)x.control), sizeof(had));
		wrong += said != i || had != i;
	}
	say("wrong %d", wrong);
	for (int i = 0; i < 100; i++) {
		int fd = udp(AF_INET);

		send_to(fd, "x", port_of(s));
		unnamed += port_of(fd) <= 0;
		close(fd);
	}
	say("unnamed %d", unnamed);
	c = udp(AF_INET);
	for (int i = 0; i < 50; i++) {
		dial(c, port_of(s));
		send(c, "x", 1, 0);
		connect(c, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr));
	}
	for (wrong = 150; wrong > 0 && arrives(s) && recv(s, x.bytes, 8, MSG_DONTWAIT) == 1;
	     wrong--)
		;
	say("lost %d", wrong);
}

static void c_send6(void)
{
	int s = bound_any(AF_INET6), c = udp(AF_INET6), v;
	struct sockaddr_in6 a = to6(OWN6, port_of(s));
	struct in6_pktinfo info = {0};

#define SEND6(type, data) send_with(c, &a, sizeof(a), IPPROTO_IPV6, type, &(data), sizeof(data))
	all_options(s, AF_INET6);
	v = 44;
	say("hops 44 %s", num(SEND6(IPV6_HOPLIMIT, v)));
	receive(s, ROOM);
	v = -1;
	say("hops -1 %s", num(SEND6(IPV6_HOPLIMIT, v)));
	receive(s, ROOM);
	v = 256;
	say("hops 256 %s", num(SEND6(IPV6_HOPLIMIT, v)));
	v = 0x30;
	say("class %s", num(SEND6(IPV6_TCLASS, v)));
	receive(s, ROOM);
	v = 256;
	say("class 256 %s", num(SEND6(IPV6_TCLASS, v)));
	inet_pton(AF_INET6, OWN6, &info.ipi6_addr);
	say("pktinfo %s", num(SEND6(IPV6_PKTINFO, info)));
	receive(s, ROOM);
	say("pktinfo short %s", num(SEND6(IPV6_PKTINFO, v)));
	say("unknown %s", num(SEND6(99, v)));
	say("other level %s", num(send_with(c, &a, sizeof(a), IPPROTO_IP, IP_TTL, &v, sizeof(v))));
	say("arrives %s", got(s));
}

static void c_send_bad(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), v = 1;
	struct sockaddr_in a = to(OWN, port_of(s));
	struct message x;

	prepare(&x, ROOM);
	x.iov = (struct iovec){"hi", 2};
	x.m.msg_name = &a;
	x.m.msg_namelen = sizeof(a);
	attach(&x, IPPROTO_IP, IP_TTL, &v, sizeof(v));
	CMSG_FIRSTHDR(&x.m)->cmsg_len = 3;
	say("short header %s", num(sendmsg(c, &x.m, 0)));
	CMSG_FIRSTHDR(&x.m)->cmsg_len = 200;
	say("long header %s", num(sendmsg(c, &x.m, 0)));
	x.m.msg_controllen = 8;
	say("no whole header %s", num(sendmsg(c, &x.m, 0)));
	say("arrives %s", got(s));
}

/* --------------------------------------------------------------- options */

static void option_line(int family, const char *name, int level, int option, int value)
{
	int fd = udp(family);
	int before = int_option(fd, level, option);
	const char *how = err(set_option(fd, level, option, value));

	say("%s before %d set %d %s after %d", name, before, value, how,
	    int_option(fd, level, option));
	close(fd);
}

static void c_options4(void)
{
	static const struct {
		const char *name;
		int level, option, value;
	} rows[] = {
		{"type", SOL_SOCKET, SO_TYPE, 1},
		{"error", SOL_SOCKET, SO_ERROR, 1},
		{"reuseaddr", SOL_SOCKET, SO_REUSEADDR, 1},
		{"reuseport", SOL_SOCKET, SO_REUSEPORT, 7},
		{"broadcast", SOL_SOCKET, SO_BROADCAST, 1},
		{"keepalive", SOL_SOCKET, SO_KEEPALIVE, 1},
		{"oobinline", SOL_SOCKET, SO_OOBINLINE, 1},
		{"timestamp", SOL_SOCKET, SO_TIMESTAMP, 1},
		{"rxq overflow", SOL_SOCKET, SO_RXQ_OVFL, 1},
		{"priority", SOL_SOCKET, SO_PRIORITY, 5},
		{"dontroute", SOL_SOCKET, SO_DONTROUTE, 0},
		{"mark", SOL_SOCKET, SO_MARK, 0},
		{"accepting", SOL_SOCKET, SO_ACCEPTCONN, 1},
		{"tos", IPPROTO_IP, IP_TOS, 0x48},
		{"tos 300", IPPROTO_IP, IP_TOS, 300},
		{"ttl", IPPROTO_IP, IP_TTL, 9},
		{"ttl 0", IPPROTO_IP, IP_TTL, 0},
		{"ttl 256", IPPROTO_IP, IP_TTL, 256},
		{"ttl -1", IPPROTO_IP, IP_TTL, -1},
		{"multicast ttl", IPPROTO_IP, IP_MULTICAST_TTL, 7},
		{"multicast ttl -1", IPPROTO_IP, IP_MULTICAST_TTL, -1},
		{"multicast ttl 256", IPPROTO_IP, IP_MULTICAST_TTL, 256},
		{"multicast loop", IPPROTO_IP, IP_MULTICAST_LOOP, 0},
		{"pktinfo", IPPROTO_IP, IP_PKTINFO, 1},
		{"recvttl", IPPROTO_IP, IP_RECVTTL, 1},
		{"recvtos", IPPROTO_IP, IP_RECVTOS, 1},
		{"freebind", IPPROTO_IP, IP_FREEBIND, 1},
		{"mtu discover", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
		{"recverr", IPPROTO_IP, IP_RECVERR, 1},
		{"mtu", IPPROTO_IP, IP_MTU, 1},
		{"v6only", IPPROTO_IPV6, IPV6_V6ONLY, 1},
		{"tcp option", IPPROTO_TCP, 1, 1},
		{"unknown", SOL_SOCKET, 9999, 1},
		{"unknown ip", IPPROTO_IP, 9999, 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		option_line(AF_INET, rows[i].name, rows[i].level, rows[i].option, rows[i].value);
}

static void c_options6(void)
{
	static const struct {
		const char *name;
		int option, value;
	} rows[] = {
		{"v6only", IPV6_V6ONLY, 1},
		{"hops", IPV6_UNICAST_HOPS, 9},
		{"hops 256", IPV6_UNICAST_HOPS, 256},
		{"hops -1", IPV6_UNICAST_HOPS, -1},
		{"multicast hops", IPV6_MULTICAST_HOPS, 7},
		{"multicast hops 256", IPV6_MULTICAST_HOPS, 256},
		{"multicast loop", IPV6_MULTICAST_LOOP, 0},
		{"multicast loop 2", IPV6_MULTICAST_LOOP, 2},
		{"class", IPV6_TCLASS, 0x48},
		{"class 256", IPV6_TCLASS, 256},
		{"recvpktinfo", IPV6_RECVPKTINFO, 1},
		{"recvhoplimit", IPV6_RECVHOPLIMIT, 1},
		{"recvtclass", IPV6_RECVTCLASS, 1},
		{"recverr", IPV6_RECVERR, 1},
		{"unknown", 9999, 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		option_line(AF_INET6, rows[i].name, IPPROTO_IPV6, rows[i].option, rows[i].value);
	option_line(AF_INET6, "ttl", IPPROTO_IP, IP_TTL, 9);
	option_line(AF_INET6, "domain", SOL_SOCKET, SO_DOMAIN, 1);
}

static void c_option_lengths(void)
{
	int fd = udp(AF_INET);
	unsigned char byte = 17;
	char text[64];
	socklen_t len;

	say("byte ttl %s", err(setsockopt(fd, IPPROTO_IP, IP_TTL, &byte, 1)));
	say("is %d", int_option(fd, IPPROTO_IP, IP_TTL));
	len = 1;
	say("byte get %s", err(getsockopt(fd, IPPROTO_IP, IP_TTL, &byte, &len)));
	say("len %u value %d", len, byte);
	len = 2;
	say("short get %s", err(getsockopt(fd, SOL_SOCKET, SO_TYPE, text, &len)));
	say("len %u", len);
	say("short set %s", err(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &byte, 1)));
	say("no length %s", err(getsockopt(fd, SOL_SOCKET, SO_TYPE, text, NULL)));
	say("no value %s", err(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, NULL, 4)));
	len = sizeof(text);
	say("ip options %s", err(getsockopt(fd, IPPROTO_IP, IP_OPTIONS, text, &len)));
	say("len %u", len);
	len = sizeof(text);
	say("device %s", err(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, &len)));
	say("len %u", len);
	say("outq %d", ({
		    int n = -1;
		    ioctl(fd, TIOCOUTQ, &n);
		    n;
	    }));
	dial(fd, 9);
	say("mtu known %d", int_option(fd, IPPROTO_IP, IP_MTU) > 0);
	say("sizes %d %d", int_option(fd, SOL_SOCKET, SO_SNDBUF) > 0,
	    int_option(fd, SOL_SOCKET, SO_RCVBUF) > 0);
}

static const struct probe_case cases[] = {
	{"C-none", c_none},	      {"C-receive4", c_receive4},
	{"C-receive6", c_receive6},   {"C-receive-mapped", c_receive_mapped},
	{"C-truncated", c_truncated}, {"C-send4", c_send4},
	{"C-send6", c_send6},	      {"C-order", c_order},
	{"C-send-bad", c_send_bad},   {"C-options4", c_options4},
	{"C-options6", c_options6},   {"C-option-lengths", c_option_lengths},
};

PROBE_MAIN(cases)
