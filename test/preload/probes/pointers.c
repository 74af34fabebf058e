/**
 * pointers.c - Arguments that point nowhere: to no memory, to memory without access, over the end
 * of it, and to memory that can only be read
 *
 * usage: pointers [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

static size_t page;
static uint8_t *mapped; /* one page to write, one without access, one to read */

struct place {
	const char *name;
	uint8_t *(*of)(size_t size);
};

static uint8_t *place_nowhere(size_t size)
{
	(void)size;
	return (uint8_t *)(uintptr_t)64;
}

static uint8_t *place_closed(size_t size)
{
	(void)size;
	return mapped + page;
}

/** place_edge() - The first half can be used */
static uint8_t *place_edge(size_t size)
{
	return mapped + page - size / 2;
}

static uint8_t *place_constant(size_t size)
{
	(void)size;
	return mapped + 2 * page;
}

/* A place to read from is bad in three ways, one to write to in four. */
static const struct place places[] = {
	{"nowhere", place_nowhere},
	{"closed", place_closed},
	{"edge", place_edge},
	{"constant", place_constant},
};
#define FOR_INPUT  3
#define FOR_OUTPUT 4

static void make_memory(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	mapped = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(mapped + page, page, PROT_NONE);
	mprotect(mapped + 2 * page, page, PROT_READ);
}

static void report(const struct place *p, const char *what, long r)
{
	const char *result = num(r);

	say("%s: %s %s", p->name, what, result);
}

/** bad() - An address of at least @size bytes in @p */
static void *bad(const struct place *p, size_t size)
{
	return p->of(size);
}

/* ------------------------------------------------------------------- input */

static void input_addresses(const struct place *p)
{
	struct address a = own(0);
	int fresh = tcp(0);
	int u = socket(probe_family, SOCK_DGRAM, 0);

	report(p, "bind", bind(fresh, bad(p, a.len), a.len));
	report(p, "connect", connect(fresh, bad(p, a.len), a.len));
	report(p, "connect of no length", connect(fresh, bad(p, 0), 0));
	report(p, "connect too long", connect(fresh, bad(p, 200), 200));
	report(p, "bind udp", bind(u, bad(p, a.len), a.len));
	report(p, "connect udp", connect(u, bad(p, a.len), a.len));
	report(p, "sendto", sendto(u, "x", 1, 0, bad(p, a.len), a.len));
	report(p, "sendto too long", sendto(u, "x", 1, 0, bad(p, 200), 200));
	close(fresh);
	close(u);
}

static void input_options(const struct place *p)
{
	struct pair c = connected();
	int u = socket(AF_INET, SOCK_DGRAM, 0);
	int level = probe_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int hops = probe_family == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS;

	report(p, "reuse", setsockopt(c.c, SOL_SOCKET, SO_REUSEADDR, bad(p, 4), 4));
	report(p, "send buffer", setsockopt(c.c, SOL_SOCKET, SO_SNDBUF, bad(p, 4), 4));
	report(p, "linger", setsockopt(c.c, SOL_SOCKET, SO_LINGER, bad(p, 8), 8));
	report(p, "time", setsockopt(c.c, SOL_SOCKET, SO_RCVTIMEO, bad(p, 16), 16));
	report(p, "no delay", setsockopt(c.c, IPPROTO_TCP, TCP_NODELAY, bad(p, 4), 4));
	report(p, "hops", setsockopt(c.c, level, hops, bad(p, 4), 4));
	report(p, "join", setsockopt(u, IPPROTO_IP, IP_ADD_MEMBERSHIP, bad(p, 8), 8));
	report(p, "group hops", setsockopt(u, IPPROTO_IP, IP_MULTICAST_TTL, bad(p, 4), 4));
	report(p, "unknown", setsockopt(u, IPPROTO_UDP, 99, bad(p, 4), 4));
	close(u);
}

/** input_message() - sendmsg() with each part of the message in a bad place */
static void input_message(const struct place *p, const char *kind, int fd)
{
	struct iovec v[2] = {{"a", 1}, {"b", 1}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	volatile int below = -1;
	char what[64];

#define SENT(text, call)                                                                           \
	do {                                                                                       \
		snprintf(what, sizeof(what), "%s %s", kind, text);                                 \
		report(p, what, call);                                                             \
	} while (0)
	SENT("message", sendmsg(fd, bad(p, sizeof(m)), MSG_NOSIGNAL));
	SENT("messages", sendmmsg(fd, bad(p, sizeof(struct mmsghdr)), 1, MSG_NOSIGNAL));
	m.msg_iov = bad(p, sizeof(v));
	SENT("list", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_iov = v;
	v[0].iov_base = bad(p, 1000);
	v[0].iov_len = 1000;
	SENT("buffer", sendmsg(fd, &m, MSG_NOSIGNAL));
	v[0].iov_len = (size_t)-1;
	SENT("buffer below nothing", sendmsg(fd, &m, MSG_NOSIGNAL));
	v[0] = (struct iovec){"a", 1};
	m.msg_iovlen = 2000;
	m.msg_iov = bad(p, sizeof(v));
	SENT("long list", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_iov = v;
	m.msg_iovlen = 2;
	m.msg_control = bad(p, 64);
	m.msg_controllen = 64;
	SENT("control", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_controllen = (size_t)1 << 32;
	SENT("endless control", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_control = NULL;
	m.msg_controllen = 64;
	SENT("no control", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_controllen = 0;
	m.msg_name = bad(p, 28);
	m.msg_namelen = 28;
	SENT("name", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_namelen = (socklen_t)-1;
	SENT("name below nothing", sendmsg(fd, &m, MSG_NOSIGNAL));
	m.msg_namelen = 0;
	SENT("name of no length", sendmsg(fd, &m, MSG_NOSIGNAL));
	SENT("writev", writev(fd, bad(p, 32), 2));
	SENT("writev of one", writev(fd, bad(p, 16), 1));
	SENT("writev of none", writev(fd, bad(p, 16), 0));
	SENT("writev of less", writev(fd, bad(p, 16), below));
	SENT("writev of too many", writev(fd, bad(p, 16), 2000));
#undef SENT
}

static int udp_to_itself(void)
{
	struct address a = own(0);
	int u = socket(probe_family, SOCK_DGRAM, 0);

	bind_to(u, &a);
	a = own(port_of(u));
	connect_to(u, &a);
	return u;
}

static void each_place(int count, void (*run)(const struct place *))
{
	make_memory();
	for (int i = 0; i < count; i++)
		run(&places[i]);
}

static void b_addresses(void)
{
	each_place(FOR_INPUT, input_addresses);
}

static void b_options(void)
{
	each_place(FOR_INPUT, input_options);
}

static void stream_messages(const struct place *p)
{
	struct pair c = connected();
	char read_back[64] = {0};
	long n;

	input_message(p, "tcp", c.c);
	close(c.c);
	n = (long)read_all(c.s, sizeof(read_back));
	report(p, "tcp bytes", n);
	n = tcp(0);
	close((int)n);
	input_message(p, "closed tcp", (int)n);
	input_message(p, "fresh tcp", tcp(0));
	input_message(p, "ended tcp", c.s);
}

static void b_messages(void)
{
	each_place(FOR_INPUT, stream_messages);
}

static void datagram_messages(const struct place *p)
{
	int u = udp_to_itself();
	char bytes[64];
	long n;

	input_message(p, "udp", u);
	send(u, "last", 4, 0);
	for (n = 0; n >= 0 && n != 4 && arrives(u);) {
		n = recv(u, bytes, sizeof(bytes), MSG_DONTWAIT);
		report(p, "udp received", n);
	}
	close(u);
}

static void b_datagrams(void)
{
	each_place(FOR_INPUT, datagram_messages);
}

/* ------------------------------------------------------------------ output */

static void output_names(const struct place *p)
{
	struct pair c = connected();
	struct address a;
	socklen_t len = sizeof(a.six);

	report(p, "own name", getsockname(c.c, bad(p, 16), &len));
	len = 0;
	report(p, "own name, no room", getsockname(c.c, bad(p, 16), &len));
	say("%s: its length %d", p->name, (int)len == (int)own(0).len);
	report(p, "own length", getsockname(c.c, &a.sa, bad(p, 4)));
	len = sizeof(a.six);
	report(p, "peer", getpeername(c.c, bad(p, 16), &len));
	report(p, "peer's length", getpeername(c.c, &a.sa, bad(p, 4)));
	report(p, "peer of none", getpeername(c.l, bad(p, 16), bad(p, 4)));
}

static void output_options(const struct place *p)
{
	struct pair c = connected();
	char value[256];
	socklen_t len = 4;

	report(p, "type", getsockopt(c.c, SOL_SOCKET, SO_TYPE, bad(p, 4), &len));
	report(p, "type's length", getsockopt(c.c, SOL_SOCKET, SO_TYPE, value, bad(p, 4)));
	report(p, "buffer", getsockopt(c.c, SOL_SOCKET, SO_RCVBUF, bad(p, 4), &len));
	report(p, "error", getsockopt(c.c, SOL_SOCKET, SO_ERROR, bad(p, 4), &len));
	report(p, "listens", getsockopt(c.c, SOL_SOCKET, SO_ACCEPTCONN, bad(p, 4), &len));
	report(p, "no delay", getsockopt(c.c, IPPROTO_TCP, TCP_NODELAY, bad(p, 4), &len));
	report(p, "its length", getsockopt(c.c, IPPROTO_TCP, TCP_NODELAY, value, bad(p, 4)));
	len = 104;
	report(p, "info", getsockopt(c.c, IPPROTO_TCP, TCP_INFO, bad(p, 104), &len));
	report(p, "info's length", getsockopt(c.c, IPPROTO_TCP, TCP_INFO, value, bad(p, 4)));
	len = 16;
	report(p, "congestion", getsockopt(c.c, IPPROTO_TCP, TCP_CONGESTION, bad(p, 16), &len));
	report(p, "unknown", getsockopt(c.c, IPPROTO_TCP, 9999, bad(p, 4), bad(p, 4)));
}

static void output_accepted(const struct place *p)
{
	int l = listener(8);
	int clients[2] = {tcp(0), tcp(0)};
	struct address a = own(port_of(l));
	socklen_t len = sizeof(a.six);

	for (int i = 0; i < 2; i++)
		connect_to(clients[i], &a);
	arrives(l);
	report(p, "accepted name", accept(l, bad(p, 16), &len));
	say("%s: its client %d", p->name, (settled(clients[0], POLLRDHUP) & POLLRDHUP) != 0);
	arrives(l);
	report(p, "accepted length", accept4(l, &a.sa, bad(p, 4), 0));
	say("%s: its client %d", p->name, (settled(clients[1], POLLRDHUP) & POLLRDHUP) != 0);
	fcntl(l, F_SETFL, O_NONBLOCK);
	report(p, "accept nothing", accept(l, bad(p, 16), bad(p, 4)));
}

static void output_requests(const struct place *p)
{
	struct ifconf none = {0};
	struct pair c = connected();
	int u = udp_to_itself();

	report(p, "pending", ioctl(c.c, FIONREAD, bad(p, 4)));
	report(p, "sent", ioctl(c.c, SIOCOUTQ, bad(p, 4)));
	report(p, "mark", ioctl(c.c, SIOCATMARK, bad(p, 4)));
	report(p, "udp pending", ioctl(u, FIONREAD, bad(p, 4)));
	report(p, "udp sent", ioctl(u, SIOCOUTQ, bad(p, 4)));
	report(p, "configuration", ioctl(u, SIOCGIFCONF, bad(p, sizeof(struct ifconf))));
	none.ifc_len = -1;
	none.ifc_req = bad(p, sizeof(struct ifreq));
	report(p, "configuration below nothing", ioctl(u, SIOCGIFCONF, &none));
	/* Memory of zeros names no interface. */
	report(p, "address", ioctl(u, SIOCGIFADDR, bad(p, sizeof(struct ifreq))));
	report(p, "index", ioctl(u, SIOCGIFNAME, bad(p, sizeof(struct ifreq))));
	close(u);
}

static void b_names(void)
{
	each_place(FOR_OUTPUT, output_names);
}

static void b_values(void)
{
	each_place(FOR_OUTPUT, output_options);
}

static void b_accepted(void)
{
	each_place(FOR_OUTPUT, output_accepted);
}

static void b_requests(void)
{
	each_place(FOR_OUTPUT, output_requests);
}

/* ---------------------------------------------------------------- receives */

/** left() - Say whether the receive that failed has taken what was there */
static void left(const struct place *p, int fd)
{
	char bytes[64];
	long n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	report(p, "then", n);
}

static void receive_into(const struct place *p, int from, int fd)
{
	char bytes[16];
	char control[128];
	struct address a;
	socklen_t len = sizeof(a.six);
	struct iovec v[2] = {{bytes, 1}, {bytes + 1, 1}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};

#define RECEIVED(what, call)                                                                       \
	do {                                                                                       \
		send(from, "ab", 2, MSG_NOSIGNAL);                                                 \
		arrives(fd);                                                                       \
		report(p, what, call);                                                             \
		left(p, fd);                                                                       \
	} while (0)
	RECEIVED("buffer", recv(fd, bad(p, 64), 64, 0));
	RECEIVED("message", recvmsg(fd, bad(p, sizeof(m)), MSG_DONTWAIT));
	m.msg_iov = bad(p, sizeof(v));
	RECEIVED("list", recvmsg(fd, &m, MSG_DONTWAIT));
	m.msg_iov = v;
	m.msg_iovlen = 2000;
	RECEIVED("long list", recvmsg(fd, &m, MSG_DONTWAIT));
	m.msg_iovlen = 2;
	v[1].iov_len = (size_t)-1;
	RECEIVED("buffer below nothing", recvmsg(fd, &m, MSG_DONTWAIT));
	v[1].iov_len = 1;
	m.msg_name = bad(p, 16);
	m.msg_namelen = sizeof(a.six);
	RECEIVED("name", recvmsg(fd, &m, MSG_DONTWAIT));
	m.msg_name = &a;
	m.msg_namelen = (socklen_t)-1;
	RECEIVED("name below nothing", recvmsg(fd, &m, MSG_DONTWAIT));
	m.msg_name = NULL;
	m.msg_control = bad(p, 24);
	m.msg_controllen = sizeof(control);
	RECEIVED("control", recvmsg(fd, &m, MSG_DONTWAIT));
	say("%s: control of %zu, flags %x", p->name, m.msg_controllen, m.msg_flags);
	m.msg_control = NULL;
	RECEIVED("no control", recvmsg(fd, &m, MSG_DONTWAIT));
	say("%s: control of %zu, flags %x", p->name, m.msg_controllen, m.msg_flags);
	RECEIVED("readv", readv(fd, bad(p, sizeof(v)), 2));
	RECEIVED("readv of one", readv(fd, bad(p, sizeof(v[0])), 1));
	RECEIVED("readv of none", readv(fd, bad(p, sizeof(v[0])), 0));
	RECEIVED("from name", recvfrom(fd, bytes, 2, MSG_DONTWAIT, bad(p, 16), &len));
	RECEIVED("from length", recvfrom(fd, bytes, 2, MSG_DONTWAIT, &a.sa, bad(p, 4)));
	RECEIVED("from nowhere", recvfrom(fd, bytes, 2, MSG_DONTWAIT, &a.sa, NULL));
	RECEIVED("messages", recvmmsg(fd, bad(p, sizeof(struct mmsghdr)), 1, MSG_DONTWAIT, NULL));
#undef RECEIVED
}

static void receive_datagrams(const struct place *p)
{
	int u = udp_to_itself();
	int level = probe_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;

	set_option(u, level, probe_family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
	receive_into(p, u, u);
	close(u);
}

static void receive_stream(const struct place *p)
{
	struct pair c = connected();

	receive_into(p, c.c, c.s);
}

static void receive_timed(const struct place *p)
{
	int u = udp_to_itself();
	char byte[1];
	struct iovec v = {byte, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

	send(u, "a", 1, 0);
	arrives(u);
	report(p, "time limit", recvmmsg(u, &m, 1, MSG_DONTWAIT, bad(p, sizeof(struct timespec))));
	left(p, u);
	close(u);
}

static void b_received(void)
{
	each_place(FOR_OUTPUT, receive_datagrams);
}

static void b_read(void)
{
	each_place(FOR_OUTPUT, receive_stream);
}

static void b_timed(void)
{
	each_place(FOR_INPUT, receive_timed);
}

/** b_limits() - Time limits of recvmmsg() that are none, and what is left of one */
static void b_limits(void)
{
	static const struct timespec wrong[] = {{-1, 0}, {0, -1}, {0, 1000000000}};
	int u = udp_to_itself();
	char byte[1];
	struct iovec v = {byte, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}, two[2];
	struct timespec limit;

	send(u, "a", 1, 0);
	arrives(u);
	for (int i = 0; i < 3; i++) {
		limit = wrong[i];
		say("limit %d %s", i, num(recvmmsg(u, &m, 1, MSG_DONTWAIT, &limit)));
	}
	limit = (struct timespec){100, 0};
	say("limit %s", num(recvmmsg(u, &m, 1, MSG_DONTWAIT, &limit)));
	say("left of it %d", limit.tv_sec == 99 && limit.tv_nsec > 0);
	two[0] = m;
	two[1] =
		(struct mmsghdr){.msg_hdr = {.msg_iov = (void *)place_nowhere(0), .msg_iovlen = 1}};
	send(u, "b", 1, 0);
	arrives(u);
	say("until a bad one %s", num(recvmmsg(u, two, 2, MSG_DONTWAIT, NULL)));
	say("kept %s", ename(so_error(u)));
	limit = (struct timespec){100, 0};
	say("nothing %s", num(recvmmsg(u, &m, 1, MSG_DONTWAIT, &limit)));
	say("left of it %d", limit.tv_sec == 100);
}

static const struct probe_case cases[] = {
	FOUR_SIX("B-addresses", b_addresses), FOUR_SIX("B-options", b_options),
	FOUR_SIX("B-messages", b_messages),   FOUR_SIX("B-datagrams", b_datagrams),
	FOUR_SIX("B-names", b_names),	      FOUR_SIX("B-values", b_values),
	FOUR_SIX("B-accepted", b_accepted),   FOUR_SIX("B-requests", b_requests),
	FOUR_SIX("B-received", b_received),   FOUR_SIX("B-read", b_read),
	FOUR_SIX("B-timed", b_timed),	      {"B-limits", b_limits},
};

TCP_MAIN(cases)
