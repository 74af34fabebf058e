/**
 * replies.c - Every call whose answer the library parses, against a service that answers nonsense
 * (replies.ts): replies CYCLES. No call may crash, hang, write beyond a buffer or return an errno
 * that Linux does not have. It is no comparison with the kernel: only with itself.
 */
#define _GNU_SOURCE
#include <ifaddrs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <resolv.h>
#include <stdint.h>

#include "probe.h"

#define ERRNO_MAX 133
#define ROOM	  200
#define GUARD	  0xa5

static unsigned long calls, failures;
static uint32_t luck = 1;

/* A sequence of its own: the same calls in each run. */
static unsigned below(unsigned n)
{
	luck = luck * 1664525U + 1013904223U;
	return (luck >> 16) % n;
}

/** fail() - A promise is broken: say which, and end as a test does */
static void fail(const char *what, long r)
{
	printf("broken: %s returned %ld, errno %d\n", what, r, errno);
	exit(1);
}

/** check() - The result of a call that promises at most @max, and a Linux errno when it fails */
static long check(const char *what, long r, long max)
{
	calls++;
	if (r > max || r < -1)
		fail(what, r);
	if (r < 0) {
		failures++;
		if (errno < 1 || errno > ERRNO_MAX)
			fail(what, r);
	}
	return r;
}

struct guarded {
	unsigned char bytes[ROOM + 16];
};

static void guard(struct guarded *g, size_t len)
{
	memset(g->bytes + len, GUARD, sizeof(g->bytes) - len);
}

static void check_guard(const char *what, const struct guarded *g, size_t len)
{
	for (size_t i = len; i < sizeof(g->bytes); i++)
		if (g->bytes[i] != GUARD)
			fail(what, (long)i);
}

static void names_of(int fd)
{
	struct guarded g;
	socklen_t len, room = below(sizeof(struct sockaddr_storage));

	guard(&g, room);
	len = room;
	check("getsockname", getsockname(fd, (struct sockaddr *)g.bytes, &len), 0);
	check_guard("getsockname", &g, room);
	len = room;
	check("getpeername", getpeername(fd, (struct sockaddr *)g.bytes, &len), 0);
	check_guard("getpeername", &g, room);
}

static void options_of(int fd)
{
	static const int which[][2] = {
		{SOL_SOCKET, SO_ERROR},	       {SOL_SOCKET, SO_LINGER},
		{SOL_SOCKET, SO_ACCEPTCONN},   {SOL_SOCKET, SO_BINDTODEVICE},
		{IPPROTO_TCP, TCP_INFO},       {IPPROTO_TCP, TCP_NODELAY},
		{IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_MAXSEG},
		{IPPROTO_IP, IP_TTL},	       {IPPROTO_IP, IP_MULTICAST_IF},
	};
	const int *o = which[below(sizeof(which) / sizeof(which[0]))];
	struct guarded g;
	socklen_t room = below(ROOM), len = room;
	int value = (int)below(300);

	guard(&g, room);
	check("getsockopt", getsockopt(fd, o[0], o[1], g.bytes, &len), 0);
	check_guard("getsockopt", &g, room);
	if (len > room)
		fail("getsockopt's length", (long)len);
	check("setsockopt", setsockopt(fd, o[0], o[1], &value, sizeof(value)), 0);
}

static void requests_of(int fd)
{
	struct ifreq list[3], one = {.ifr_name = "zt0"};
	struct ifconf conf = {.ifc_len = (int)(sizeof(list[0]) * below(4)), .ifc_req = list};
	int value;

	check("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, &conf), 0);
	check("SIOCGIFADDR", ioctl(fd, SIOCGIFADDR, &one), 0);
	check("SIOCGIFHWADDR", ioctl(fd, SIOCGIFHWADDR, &one), 0);
	check("FIONREAD", ioctl(fd, FIONREAD, &value), 0);
	check("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &value), 0);
}

static void stream(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in four = to(OWN, 80);
	struct sockaddr_in6 six = to6(OWN6, 80);
	const void *addr = family == AF_INET ? (void *)&four : (void *)&six;
	socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);
	char byte;

	check("connect", connect(fd, addr, len), 0);
	options_of(fd);
	names_of(fd);
	check("recv", recv(fd, &byte, 1, 0), 1);
	check("send", send(fd, "x", 1, MSG_NOSIGNAL), 1);
	check("connect again", connect(fd, addr, len), 0);
	requests_of(fd);
	check("shutdown", shutdown(fd, (int)below(3)), 0);
	close(fd);
}

static void listener(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in any = to("0.0.0.0", 0);
	struct guarded g;
	socklen_t room = below(ROOM), len = room;
	int accepted;

	check("bind", bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	check("listen", listen(fd, 5), 0);
	guard(&g, room);
	accepted = (int)check("accept", accept(fd, (struct sockaddr *)g.bytes, &len), 1 << 20);
	check_guard("accept", &g, room);
	if (accepted >= 0) {
		names_of(accepted);
		close(accepted);
	}
	names_of(fd);
	close(fd);
}

static void receive_message(int fd, int flags)
{
	struct guarded data, name, control;
	unsigned data_room = below(ROOM), name_room = below(64), control_room = below(ROOM);
	struct iovec iov = {data.bytes, data_room};
	struct msghdr msg = {.msg_name = name.bytes,
			     .msg_namelen = name_room,
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = control_room};
	long r;

	guard(&data, data_room);
	guard(&name, name_room);
	guard(&control, control_room);
	r = check("recvmsg", recvmsg(fd, &msg, MSG_DONTWAIT | flags), 1 << 17);
	check_guard("recvmsg's data", &data, data_room);
	check_guard("recvmsg's name", &name, name_room);
	check_guard("recvmsg's control data", &control, control_room);
	if (r < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_len > control_room)
			fail("a control message", (long)c->cmsg_len);
}

static void datagrams(int family)
{
	int fd = socket(family, SOCK_DGRAM, 0);
	struct sockaddr_in any = to("0.0.0.0", 0), peer = to(OWN, 9);
	char bytes[ROOM];
	int value;

	arrives(fd);
	if (family == AF_INET)
		check("bind", bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	names_of(fd);
	for (int i = 0; i < 8; i++) {
		check("FIONREAD", ioctl(fd, FIONREAD, &value), 0);
		if (below(4) == 0)
			options_of(fd);
		receive_message(fd, below(3) == 0 ? MSG_PEEK | MSG_TRUNC : 0);
		check("read", recv(fd, bytes, below(ROOM), MSG_DONTWAIT), ROOM);
	}
	if (family == AF_INET)
		check("connect", connect(fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	check("send", send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 1);
	check("sendto", sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&peer, sizeof(peer)),
	      1);
	close(fd);
}

/** sum() - Every byte of it can be read */
static unsigned sum(const void *p, size_t len)
{
	const unsigned char *b = p;
	unsigned s = 0;

	for (size_t i = 0; i < len; i++)
		s += b[i];
	return s;
}

static void interfaces(void)
{
	struct ifaddrs *all = NULL;
	struct if_nameindex *named;
	char name[IF_NAMESIZE];
	volatile unsigned seen = 0;

	if (check("getifaddrs", getifaddrs(&all), 0) == 0) {
		for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
			seen += sum(i->ifa_name, strlen(i->ifa_name));
			seen += sum(i->ifa_addr, sizeof(*i->ifa_addr));
		}
		freeifaddrs(all);
	}
	named = if_nameindex();
	for (struct if_nameindex *i = named; named != NULL && i->if_name != NULL; i++)
		seen += sum(i->if_name, strlen(i->if_name));
	if (named != NULL)
		if_freenameindex(named);
	if_nametoindex("zt0");
	if_indextoname(2, name);
	calls += 3;
}

static void walk(const struct hostent *h)
{
	volatile unsigned seen = sum(h->h_name, strlen(h->h_name));

	for (char **a = h->h_aliases; *a != NULL; a++)
		seen += sum(*a, strlen(*a));
	for (char **a = h->h_addr_list; *a != NULL; a++)
		seen += sum(*a, (size_t)h->h_length);
}

static void lookups(void)
{
	struct addrinfo hints = {.ai_flags = (int)below(2) * AI_CANONNAME,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct sockaddr_in peer = to(OWN, 80);
	struct hostent entry, *h = NULL;
	char host[NI_MAXHOST];
	struct guarded g;
	unsigned room = below(ROOM);
	int e, r = getaddrinfo("name.test", "80", &hints, &found);

	calls += 4;
	if (r == 0) {
		for (struct addrinfo *a = found; a != NULL; a = a->ai_next)
			sum(a->ai_addr, a->ai_addrlen);
		freeaddrinfo(found);
	}
	guard(&g, room);
	if (gethostbyname_r("name.test", &entry, (char *)g.bytes, room, &h, &e) == 0 && h != NULL)
		walk(h);
	check_guard("gethostbyname_r", &g, room);
	h = gethostbyname2("name.test", AF_INET6);
	if (h != NULL)
		walk(h);
	h = gethostbyaddr(&peer.sin_addr, sizeof(peer.sin_addr), AF_INET);
	if (h != NULL)
		walk(h);
	if (getnameinfo((struct sockaddr *)&peer, sizeof(peer), host, below(40), NULL, 0, 0) == 0)
		sum(host, strlen(host));
	guard(&g, room);
	if (res_query("name.test", 1, 1, g.bytes, (int)room) > 1 << 16)
		fail("res_query", 0);
	check_guard("res_query", &g, room);
}

int main(int argc, char **argv)
{
	int cycles = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < cycles; i++) {
		stream(i % 2 == 0 ? AF_INET : AF_INET6);
		listener();
		datagrams(i % 2 == 0 ? AF_INET : AF_INET6);
		interfaces();
		lookups();
	}
	printf("calls %lu, failed %lu\n", calls, failures);
	return 0;
}
