/**
 * details.c - Small print of sockets: errors of socket(), queues of listeners, options that are
 * only kept, addresses that a stream cannot have
 *
 * usage: details [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <linux/filter.h>
#include <linux/in6.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <time.h>

static void say_socket(const char *what, int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	say("%s %s", what, err(fd));
	if (fd >= 0)
		close(fd);
}

static void d_socket(void)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (int i = 0; i < 2; i++) {
		int family = families[i];

		say_socket("seqpacket", family, SOCK_SEQPACKET, 0);
		say_socket("rdm", family, SOCK_RDM, 0);
		say_socket("type 0", family, 0, 0);
		say_socket("type 11", family, 11, 0);
		say_socket("type 15", family, 15, 0);
		say_socket("raw 0", family, SOCK_RAW, 0);
		say_socket("stream of UDP", family, SOCK_STREAM, IPPROTO_UDP);
		say_socket("datagram of TCP", family, SOCK_DGRAM, IPPROTO_TCP);
		say_socket("protocol -1", family, SOCK_STREAM, -1);
		say_socket("protocol 300", family, SOCK_DGRAM, 300);
		say_socket("type 0, protocol -1", family, 0, -1);
		say_socket("flags", family, SOCK_STREAM | 0x100000, 0);
	}
}

static void say_queue(const char *what, int fd, unsigned long request)
{
	int n = -1;
	const char *result = err(ioctl(fd, request, &n));

	say("%s %s %d", what, result, n);
}

static void d_queues(void)
{
	struct pair p = connected();
	int waiting = tcp(0);

	say_queue("client in", p.c, FIONREAD);
	say_queue("client out", p.c, SIOCOUTQ);
	say_queue("listener in", p.l, FIONREAD);
	say_queue("listener out", p.l, SIOCOUTQ);
	dial(waiting, OWN, port_of(p.l));
	arrives(p.l);
	say_queue("listener with one in", p.l, FIONREAD);
	say_queue("fresh in", tcp(0), FIONREAD);
	say_queue("fresh out", tcp(0), SIOCOUTQ);
	tell(p.c, "abc");
	arrives(p.s);
	say_queue("server in", p.s, FIONREAD);
}

static void d_fastopen(void)
{
	struct pair p = connected();
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int flags = MSG_FASTOPEN | MSG_NOSIGNAL;
	struct sockaddr_in a = to(OWN, port_of(p.l));

	say("send %s", num(send(p.c, "x", 1, flags)));
	say("sendto %s", num(sendto(p.c, "x", 1, flags, (void *)&a, sizeof(a))));
	m.msg_name = &a;
	m.msg_namelen = sizeof(a);
	say("sendmsg %s", num(sendmsg(p.c, &m, flags)));
	say("server %s", num(sendto(p.s, "x", 1, flags, (void *)&a, sizeof(a))));
}

/** keeps() - An option of a new socket: before, set, after */
static void keeps(const char *what, int fd, int level, int name, int value)
{
	int before = int_option(fd, level, name);
	const char *set = err(set_option(fd, level, name, value));

	say("%s before %d set %d %s after %d", what, before, value, set,
	    int_option(fd, level, name));
	close(fd);
}

static void keeps_either(const char *what, int family, int level, int name, int value)
{
	char text[64];

	snprintf(text, sizeof(text), "tcp%c %s", family == AF_INET ? '4' : '6', what);
	keeps(text, socket(family, SOCK_STREAM, 0), level, name, value);
	snprintf(text, sizeof(text), "udp%c %s", family == AF_INET ? '4' : '6', what);
	keeps(text, socket(family, SOCK_DGRAM, 0), level, name, value);
}

static void d_options(void)
{
	static const int seconds[] = {0, 1, 2, 5, 7, 8, 30, 100, 1000, -3};

	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
		keeps("defer", tcp(0), IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds[i]);
	keeps_either("pacing", AF_INET, SOL_SOCKET, SO_MAX_PACING_RATE, 1000);
	for (int v = -1; v <= 9; v += 2)
		keeps_either("discover", AF_INET, IPPROTO_IP, IP_MTU_DISCOVER, v);
	keeps_either("discover", AF_INET6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, 9);
	keeps_either("late port", AF_INET, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 5);
	keeps_either("all groups", AF_INET, IPPROTO_IP, IP_MULTICAST_ALL, 0);
	keeps_either("all groups", AF_INET, IPPROTO_IP, IP_MULTICAST_ALL, 2);
	keeps_either("all groups", AF_INET6, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	keeps_either("whole", AF_INET6, IPPROTO_IPV6, IPV6_DONTFRAG, 3);
	keeps_either("label", AF_INET6, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0);
	keeps_either("free", AF_INET, IPPROTO_IP, IP_FREEBIND, 2);
	keeps_either("free", AF_INET6, IPPROTO_IPV6, IPV6_FREEBIND, 2);
	keeps("group ttl", tcp(0), IPPROTO_IP, IP_MULTICAST_TTL, 5);
	keeps("group loop", tcp(0), IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	keeps("group hops", socket(AF_INET6, SOCK_STREAM, 0), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 5);
	keeps("group interface", socket(AF_INET6, SOCK_STREAM, 0), IPPROTO_IPV6, IPV6_MULTICAST_IF,
	      1);
}

/** d_free() - One setting under both names: a foreign address of either family can be bound */
static void d_free(void)
{
	struct sockaddr_in6 a = to6(FOREIGN6, 0);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	say("foreign %s", err(bind(fd, (void *)&a, sizeof(a))));
	say("set %s", err(set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)));
	say("other name %d", int_option(fd, IPPROTO_IP, IP_FREEBIND));
	say("foreign %s", err(bind(fd, (void *)&a, sizeof(a))));
}

static void say_received(const char *what, int fd, int level, int name)
{
	char control[256];
	socklen_t len = sizeof(control);
	const char *result = err(getsockopt(fd, level, name, control, &len));

	say("%s %s, length %d", what, result, (int)len);
}

/** d_received() - What a stream was asked to tell of its packets: by default nothing */
static void d_received(void)
{
	struct pair p = connected();

	say_received("fresh", tcp(0), IPPROTO_IP, IP_PKTOPTIONS);
	say_received("server", p.s, IPPROTO_IP, IP_PKTOPTIONS);
	say_received("six", socket(AF_INET6, SOCK_STREAM, 0), IPPROTO_IPV6, IPV6_2292PKTOPTIONS);
	say_received("udp", socket(AF_INET, SOCK_DGRAM, 0), IPPROTO_IP, IP_PKTOPTIONS);
	say_received("udp6", socket(AF_INET6, SOCK_DGRAM, 0), IPPROTO_IPV6, IPV6_2292PKTOPTIONS);
	say("ask %s", err(set_option(p.s, IPPROTO_IP, IP_PKTINFO, 1)));
	say_received("asked", p.s, IPPROTO_IP, IP_PKTOPTIONS);
}

static void say_bind(const char *ip)
{
	struct sockaddr_in a = to(ip, 0);
	int fd = tcp(0);

	say("bind %s %s", ip, err(bind(fd, (void *)&a, sizeof(a))));
	say("dial %s %s", ip, err(dial(tcp(0), ip, 9)));
	close(fd);
}

/** d_many() - Addresses of many, which a stream may have in IPv4 though nothing arrives there */
static void d_many(void)
{
	struct sockaddr_in6 a = to6("ff02::1:77", 0);

	say_bind("239.1.2.3");
	say_bind(SUBNET);
	say_bind("255.255.255.255");
	say_bind(FOREIGN);
	say("group of IPv6 %s", err(bind(socket(AF_INET6, SOCK_STREAM, 0), (void *)&a, sizeof(a))));
}

static void say_set(const char *what, int fd, int level, int name, int value)
{
	say("%s %s", what, err(set_option(fd, level, name, value)));
}

/** d_refused() - Options that a program can do without */
static void d_refused(void)
{
	int t = tcp(0);
	int u = socket(AF_INET, SOCK_DGRAM, 0);
	int t6 = socket(AF_INET6, SOCK_STREAM, 0);
	struct pair p = connected();

	say_set("timestampns", u, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	say_set("timestamping", u, SOL_SOCKET, SO_TIMESTAMPING, 1 << 3);
	say_set("zerocopy", t, SOL_SOCKET, SO_ZEROCOPY, 1);
	say_set("inq", t, IPPROTO_TCP, TCP_INQ, 1);
	say_set("save syn", t, IPPROTO_TCP, TCP_SAVE_SYN, 1);
	say_set("min ttl", t, IPPROTO_IP, IP_MINTTL, 5);
	say_set("min hops", t6, IPPROTO_IPV6, 73, 5);
	say_set("unicast if", u, IPPROTO_IP, IP_UNICAST_IF, 0);
	say_set("unicast if 6", t6, IPPROTO_IPV6, IPV6_UNICAST_IF, 0);
	say_set("preferences", t6, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 1);
	say_queue("not sent", p.c, SIOCOUTQNSD);
}

struct option {
	const char *name;
	int family, type, level, number;
	socklen_t len; /* of the value, whose first int is 1; the rest is 0 */
};

/* libc knows no name. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#define V6(name, number)                                                                           \
	{                                                                                          \
		name, AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, number, sizeof(int)                      \
	}
#define ANY(name, number)                                                                          \
	{                                                                                          \
		name, AF_INET, SOCK_STREAM, SOL_SOCKET, number, sizeof(int)                        \
	}
#define STREAM(name, number)                                                                       \
	{                                                                                          \
		name, AF_INET, SOCK_STREAM, IPPROTO_TCP, number, sizeof(int)                       \
	}
#define V4(name, number, len)                                                                      \
	{                                                                                          \
		name, AF_INET, SOCK_DGRAM, IPPROTO_IP, number, len                                 \
	}

static const struct option options[] = {
	ANY("if index", SO_BINDTOIFINDEX),
	{"tx time", AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_TXTIME, 8},
	ANY("timestampns new", SO_TIMESTAMPNS_NEW),
	ANY("wifi status", SO_WIFI_STATUS),
	ANY("lock filter", SO_LOCK_FILTER),
	ANY("lock buffers", SO_BUF_LOCK),
	STREAM("thin linear", TCP_THIN_LINEAR_TIMEOUTS),
	STREAM("thin ack", TCP_THIN_DUPACK),
	STREAM("fast open connect", TCP_FASTOPEN_CONNECT),
	STREAM("fast open without cookie", TCP_FASTOPEN_NO_COOKIE),
	STREAM("delay", TCP_TX_DELAY),
	V4("options", IP_OPTIONS, 4),
	V4("receive options", IP_RECVOPTS, 4),
	V4("original destination", IP_RECVORIGDSTADDR, 4),
	V4("checksum", IP_CHECKSUM, 4),
	V4("fragments", IP_RECVFRAGSIZE, 4),
	V4("rfc 4884", IP_RECVERR_RFC4884, 4),
	V4("ports", IP_LOCAL_PORT_RANGE, 4),
	V6("old info", IPV6_2292PKTINFO),
	V6("old hop options", IPV6_2292HOPOPTS),
	V6("old options", IPV6_2292DSTOPTS),
	V6("old routes", IPV6_2292RTHDR),
	V6("old hops", IPV6_2292HOPLIMIT),
	V6("flow label", IPV6_FLOWINFO),
	V6("send flow label", IPV6_FLOWINFO_SEND),
	V6("hop options", IPV6_RECVHOPOPTS),
	V6("routes", IPV6_RECVRTHDR),
	V6("destination options", IPV6_RECVDSTOPTS),
	V6("path", IPV6_RECVPATHMTU),
	V6("original destination 6", IPV6_RECVORIGDSTADDR),
	V6("fragments 6", IPV6_RECVFRAGSIZE),
	{"capsules", AF_INET, SOCK_DGRAM, IPPROTO_UDP, UDP_ENCAP, 4},
	{"no checksum 6", AF_INET6, SOCK_DGRAM, IPPROTO_UDP, UDP_NO_CHECK6_RX, 4},
};

static int try_option(const struct option *o)
{
	int value[2] = {1, 0};
	int fd = socket(o->family, o->type, 0);
	int r;

	if (o->number == SO_TXTIME && o->level == SOL_SOCKET)
		value[0] = CLOCK_MONOTONIC;
	if (o->number == IP_LOCAL_PORT_RANGE && o->level == IPPROTO_IP)
		value[0] = 50000 << 16 | 40000;
	if (o->number == UDP_ENCAP && o->level == IPPROTO_UDP)
		value[0] = UDP_ENCAP_ESPINUDP;
	if (o->number == IP_OPTIONS && o->level == IPPROTO_IP)
		value[0] = 0x01010101; /* no operation */
	r = setsockopt(fd, o->level, o->number, value, o->len) == 0 ? 0 : errno;
	close(fd);
	return r;
}

/** try_filter() - A filter that takes everything */
static int try_filter(int type, int name)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0xffff);
	struct sock_fprog program;
	int fd = socket(AF_INET, type, 0);
	int r;

	memset(&program, 0, sizeof(program));
	program.len = 1;
	program.filter = &all;
	set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	r = setsockopt(fd, SOL_SOCKET, name, &program, sizeof(program)) == 0 ? 0 : errno;
	close(fd);
	return r;
}

/** say_level() - One line where all options of a level are answered alike, else one of each */
static void say_level(const char *what, int level)
{
	const size_t count = sizeof(options) / sizeof(options[0]);
	int first = -1, alike = 0;
	bool differ = false;

	for (size_t i = 0; i < count; i++) {
		int r = options[i].level == level ? try_option(&options[i]) : -1;

		if (r >= 0 && first < 0)
			first = r;
		alike += r >= 0;
		differ |= r >= 0 && r != first;
	}
	if (!differ)
		say("%s: %d alike: %s", what, alike, first == 0 ? "ok" : ename(first));
	for (size_t i = 0; differ && i < count; i++) {
		if (options[i].level == level)
			say("%s: %s %s", what, options[i].name, ename(try_option(&options[i])));
	}
}

/** d_others() - Options that are refused beside those of K-refused */
static void d_others(void)
{
	say_level("socket", SOL_SOCKET);
	say_level("tcp", IPPROTO_TCP);
	say_level("ip", IPPROTO_IP);
	say_level("ip6", IPPROTO_IPV6);
	say_level("udp", IPPROTO_UDP);
	say("filter %s", ename(try_filter(SOCK_STREAM, SO_ATTACH_FILTER)));
	say("filter of a group %s", ename(try_filter(SOCK_DGRAM, SO_ATTACH_REUSEPORT_CBPF)));
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

static void say_io(const char *what, const char *call, long r)
{
	const char *result = num(r);

	say("%s %s %s, signals %d", what, call, result, (int)signals);
	signals = 0;
}

/** say_idle() - Every way to read and write on a socket that is no connection */
static void say_idle(const char *what, int fd)
{
	char bytes[4] = "abc";
	struct iovec v[2] = {{bytes, 1}, {bytes, 2}};
	struct iovec none[1] = {{bytes, 0}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};

	say_io(what, "read", read(fd, bytes, 4));
	say_io(what, "read nothing", read(fd, bytes, 0));
	say_io(what, "readv", readv(fd, v, 2));
	say_io(what, "readv nothing", readv(fd, none, 1));
	say_io(what, "recv", recv(fd, bytes, 4, 0));
	say_io(what, "recv nothing", recv(fd, bytes, 0, 0));
	say_io(what, "peek", recv(fd, bytes, 4, MSG_PEEK));
	say_io(what, "discard", recv(fd, NULL, 4, MSG_TRUNC));
	say_io(what, "urgent", recv(fd, bytes, 1, MSG_OOB));
	say_io(what, "recvfrom", recvfrom(fd, bytes, 4, MSG_DONTWAIT, NULL, NULL));
	say_io(what, "recvmsg", recvmsg(fd, &m, 0));
	say_io(what, "write", write(fd, bytes, 3));
	say_io(what, "write nothing", write(fd, bytes, 0));
	say_io(what, "writev", writev(fd, v, 2));
	say_io(what, "writev nothing", writev(fd, none, 1));
	say_io(what, "send", send(fd, bytes, 3, 0));
	say_io(what, "send quietly", send(fd, bytes, 3, MSG_NOSIGNAL));
	say_io(what, "sendto", sendto(fd, bytes, 3, 0, NULL, 0));
	say_io(what, "sendmsg", sendmsg(fd, &m, 0));
	say_io(what, "sendmsg quietly", sendmsg(fd, &m, MSG_NOSIGNAL));
}

/** d_idle() - Reading and writing neither takes what is not data nor spoils the socket */
static void d_idle(void)
{
	struct address a = own(0);
	int fd = tcp(0);
	int client = tcp(0);
	struct iovec nothing = {NULL, 0};
	int copy, served, passed, pair[2];

	signal(SIGPIPE, count_signal);
	say_idle("fresh", fd);
	bind_to(fd, &a);
	say_idle("bound", fd);
	copy = dup(fd);
	say_idle("copy", copy);
	listen(fd, 4);
	say_idle("listener", fd);
	dial_own(client, port_of(fd));
	arrives(fd);
	say_idle("listener with one", fd);
	say_idle("its copy", copy);
	say("listener connects %s", err(dial_own(fd, port_of(fd))));
	say_idle("listener after it", fd);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	send_fd(pair[0], fd);
	passed = receive_fd(pair[1]);
	say_idle("passed", passed);
	close(passed);
	say("nothing %s", err(writev(passed, &nothing, 1)));
	served = accept(copy, NULL, NULL);
	say("accepted %s", err(served));
	tell(client, "abcd");
	say("read %zu", read_all(served, 4));
	say_io("connection", "write", write(client, "x", 1));
	close(copy);
	close(fd);
	copy = tcp(0);
	fd = dup(copy);
	say("connect %s", err(dial_own(fd, closed_port())));
	say_idle("failed", fd);
	say_idle("its copy", copy);
}

static const struct probe_case cases[] = {
	FOUR_SIX("K-idle", d_idle), {"K-refused", d_refused}, {"K-others", d_others},
	{"K-socket", d_socket},	    {"K-queues", d_queues},   {"K-fastopen", d_fastopen},
	{"K-options", d_options},   {"K-free", d_free},	      {"K-many", d_many},
	{"K-received", d_received},
};

TCP_MAIN(cases)
