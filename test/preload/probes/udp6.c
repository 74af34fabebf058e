/**
 * udp6.c - UDP over IPv6, and AF_INET6 sockets that speak IPv4
 *
 * usage: udp6 [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

static int wildcard6(int only)
{
	struct sockaddr_in6 a = to6("::", 0);
	int fd = udp(AF_INET6);

	set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, only);
	bind(fd, (void *)&a, sizeof(a));
	return fd;
}

/** receive_from() - One datagram and where it came from */
static void receive_from(int fd)
{
	struct sockaddr_in6 from = {0};
	socklen_t len = sizeof(from);
	char b[32] = {0};
	ssize_t n;

	arrives(fd);
	n = recvfrom(fd, b, sizeof(b) - 1, MSG_DONTWAIT, (void *)&from, &len);
	say("received %s %s from %s len %u", num(n), b, n < 0 ? "-" : ip_of(&from), len);
}

static void v_basic(void)
{
	struct sockaddr_in6 a = {0}, any = to6("::", 0), f = to6(FOREIGN6, 9);
	socklen_t len = sizeof(a);
	int s = bound(AF_INET6), c = udp(AF_INET6), fd = udp(AF_INET6);

	say("fresh %s", bits(mask_now(fd)));
	getsockname(fd, (void *)&a, &len);
	say("name %s %d len %u", ip_of(&a), a.sin6_port, len);
	say("domain %d protocol %d", int_option(s, SOL_SOCKET, SO_DOMAIN),
	    int_option(s, SOL_SOCKET, SO_PROTOCOL));
	say("send %s", num(send_to6(c, "six", port_of(s))));
	receive_from(s);
	say("connect %s", err(dial6(c, port_of(s))));
	len = sizeof(a);
	getpeername(c, (void *)&a, &len);
	say("peer %s", ip_of(&a));
	len = sizeof(a);
	getsockname(c, (void *)&a, &len);
	say("local %s", ip_of(&a));
	say("write %s", num(write(c, "connected", 9)));
	receive_from(s);
	any.sin6_port = htons((uint16_t)port_of(s));
	say("conflict %s", err(bind(fd, (void *)&any, sizeof(any))));
	say("short bind %s", err(bind(fd, (void *)&any, 20)));
	say("foreign route %s", err(connect(fd, (void *)&f, sizeof(f))));
	f.sin6_port = 0;
	say("foreign bind %s", err(bind(udp(AF_INET6), (void *)&f, sizeof(f))));
	say("refused %s", err(dial6(fd, closed_port(AF_INET6))));
	send(fd, "x", 1, 0);
	arrives(fd);
	say("told %s", got(fd));
}

static void v_mapped(void)
{
	struct sockaddr_in6 m = to6("::ffff:" OWN, 0), a;
	socklen_t len = sizeof(a);
	int s = wildcard6(0), four = bound(AF_INET), c = udp(AF_INET6), d = udp(AF_INET);

	send_to(d, "from four", port_of(s));
	receive_from(s);
	m.sin6_port = htons((uint16_t)port_of(four));
	say("to four %s", num(sendto(s, "to four", 7, 0, (void *)&m, sizeof(m))));
	receive_from(four);
	say("connect %s", err(connect(c, (void *)&m, sizeof(m))));
	getpeername(c, (void *)&a, &len);
	say("peer %s", ip_of(&a));
	len = sizeof(a);
	getsockname(c, (void *)&a, &len);
	say("local %s", ip_of(&a));
	say("write %s", num(write(c, "mapped", 6)));
	receive_from(four);
	say("to six while mapped %s", num(send_to6(c, "x", port_of(s))));
	c = udp(AF_INET6);
	m.sin6_port = 0;
	say("mapped bind %s", err(bind(c, (void *)&m, sizeof(m))));
	send_to(d, "hello", port_of(c));
	receive_from(c);
	say("six from a mapped socket %s", num(send_to6(c, "x", port_of(s))));
}

/** v_plain() - AF_INET addresses on an AF_INET6 socket */
static void v_plain(void)
{
	struct sockaddr_in a;
	int four = bound(AF_INET), c = udp(AF_INET6);

	a = to(OWN, port_of(four));
	say("sendto %s", num(sendto(c, "plain", 5, 0, (void *)&a, sizeof(a))));
	receive_from(four);
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	say("write %s", num(write(c, "connected", 9)));
	receive_from(four);
	say("bind %s", err(bind(udp(AF_INET6), (void *)&a, sizeof(a))));
	a.sin_family = AF_UNIX;
	say("other family %s", num(sendto(udp(AF_INET6), "x", 1, 0, (void *)&a, sizeof(a))));
	a.sin_family = AF_UNSPEC;
	say("unspec %s", num(sendto(udp(AF_INET6), "x", 1, 0, (void *)&a, sizeof(a))));
}

static void v_only(void)
{
	struct sockaddr_in any = to("0.0.0.0", 0);
	int s = wildcard6(1), c = udp(AF_INET), four = udp(AF_INET), both = wildcard6(0);
	struct sockaddr_in6 any6 = to6("::", 0);

	say("v6only %d", int_option(s, IPPROTO_IPV6, IPV6_V6ONLY));
	say("after bind %s", err(set_option(s, IPPROTO_IPV6, IPV6_V6ONLY, 0)));
	send_to(c, "four", port_of(s));
	say("four not heard %s", not_got(s));
	any.sin_port = htons((uint16_t)port_of(s));
	say("four beside six %s", err(bind(four, (void *)&any, sizeof(any))));
	send_to(c, "four", port_of(s));
	say("four hears %s", got(four));
	say("six %s", not_got(s));
	send_to6(udp(AF_INET6), "six", port_of(s));
	say("six hears %s", got(s));
	any.sin_port = htons((uint16_t)port_of(both));
	say("four against both %s", err(bind(udp(AF_INET), (void *)&any, sizeof(any))));
	four = bound_any(AF_INET);
	any6.sin6_port = htons((uint16_t)port_of(four));
	say("both against four %s", err(bind(udp(AF_INET6), (void *)&any6, sizeof(any6))));
	c = udp(AF_INET6);
	set_option(c, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	struct sockaddr_in6 m = to6("::ffff:" OWN, 9);
	say("mapped connect %s", err(connect(c, (void *)&m, sizeof(m))));
	say("mapped bind %s", err(bind(c, (void *)&m, sizeof(m))));
}

static void v_loopback(void)
{
	struct sockaddr_in6 a = to6("::1", 0), any;
	int s = udp(AF_INET6), c = udp(AF_INET6), w = wildcard6(0);

	say("bind %s", err(bind(s, (void *)&a, sizeof(a))));
	a.sin6_port = htons((uint16_t)port_of(s));
	say("send %s", num(sendto(c, "one", 3, 0, (void *)&a, sizeof(a))));
	receive_from(s);
	any = to6("::", port_of(w));
	say("to any %s", num(sendto(c, "zero", 4, 0, (void *)&any, sizeof(any))));
	receive_from(w);
}

static void v_sizes(void)
{
	static char big[70000];
	int s = bound(AF_INET6), c = udp(AF_INET6);
	struct sockaddr_in6 a = to6(OWN6, port_of(s));

	say("65528 %s", num(sendto(c, big, 65528, 0, (void *)&a, sizeof(a))));
	say("65488 %s", num(sendto(c, big, 65488, 0, (void *)&a, sizeof(a))));
	while (arrives(s) && recv(s, big, 1, MSG_DONTWAIT) < 0)
		;
	say("65487 %s", num(sendto(c, big, 65487, 0, (void *)&a, sizeof(a))));
	arrives(s);
	say("receive %s", num(recv(s, big, sizeof(big), MSG_DONTWAIT)));
	say("peek none %s", num(recv(s, big, 1, MSG_PEEK | MSG_DONTWAIT)));
}

static const struct probe_case cases[] = {
	{"V-basic", v_basic}, {"V-mapped", v_mapped},	  {"V-plain", v_plain},
	{"V-only", v_only},   {"V-loopback", v_loopback}, {"V-sizes", v_sizes},
};

PROBE_MAIN(cases)
