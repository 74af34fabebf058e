/**
 * udp.c - What UDP sockets do, one line per behaviour
 *
 * Cases U1 to U12 of the conformance table, each over IPv4, over IPv6 and with IPv4 addresses in
 * AF_INET6 sockets; udp_more.c goes on.
 *
 * usage: udp [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

static void u1(void)
{
	struct address a = own(0), all = any(0), f = foreign(0), o, lo = loopback(0), name = {0};
	int fd = udp(probe_family), other = udp(probe_family);

	name.len = sizeof(name.six);
	say("fresh %s", bits(mask_now(fd)));
	say("name %s", err(getsockname(fd, &name.sa, &name.len)));
	say("is %s %d len %u", ip_in(&name), name.four.sin_port, name.len);
	say("bind %s", err(bind_to(fd, &a)));
	say("given %d", port_of(fd) > 1023);
	say("twice %s", err(bind_to(fd, &a)));
	a.four.sin_port = all.four.sin_port = htons((uint16_t)port_of(fd));
	say("conflict %s", err(bind_to(other, &a)));
	say("wildcard conflict %s", err(bind_to(other, &all)));
	say("foreign %s", err(bind_to(other, &f)));
	say("short %s", err(bind(other, &a.sa, a.len / 2)));
	say("long %s", err(bind(other, &a.sa, sizeof(struct sockaddr_storage) + 1)));
	o = other_family(0);
	say("family %s", err(bind_to(other, &o)));
	say("loopback %s", err(bind_to(other, &lo)));
	say("bound %s", bits(mask_now(fd)));
	close(fd);
	all.four.sin_port = htons(700);
	say("low port %s", err(bind_to(udp(probe_family), &all)));
}

static ssize_t put(int fd, const char *text, const struct address *a)
{
	return sendto(fd, text, strlen(text), 0, &a->sa, a->len);
}

static void u2(void)
{
	struct address a = {.len = sizeof(a.six)}, o = other_family(9), zero = own(0);
	int fd = udp(probe_family);

	say("send %s", num(send(fd, "x", 1, 0)));
	say("write %s", num(write(fd, "x", 1)));
	say("peer %s", err(getpeername(fd, &a.sa, &a.len)));
	fd = bound(probe_family);
	say("bound send %s", num(send(fd, "x", 1, 0)));
	say("bound peer %s", err(getpeername(fd, &a.sa, &a.len)));
	a = own(9);
	say("short %s", num(sendto(fd, "x", 1, 0, &a.sa, 8)));
	say("no length %s", num(sendto(fd, "x", 1, 0, &a.sa, 0)));
	say("family %s", num(put(fd, "x", &o)));
	say("port 0 %s", num(put(fd, "x", &zero)));
	say("oob %s", num(send(fd, "x", 1, MSG_OOB)));
	say("oob to %s", num(sendto(fd, "x", 1, MSG_OOB, &a.sa, a.len)));
	dial(fd, port_of(bound(probe_family)));
	say("oob to the peer %s", num(send(fd, "x", 1, MSG_OOB)));
}

static void u3(void)
{
	struct address name = {.len = sizeof(name.six)}, from = name, small = name;
	int s = bound_any(probe_family), c = udp(probe_family);
	char b[16] = {0};

	say("send %s", num(send_to(c, "hello", port_of(s))));
	getsockname(c, &name.sa, &name.len);
	say("sender bound to %s, port %d", ip_in(&name), name.four.sin_port != 0);
	arrives(s);
	say("receive %s", num(recvfrom(s, b, sizeof(b), 0, &from.sa, &from.len)));
	say("text %s len %u family %d", b, from.len, from.sa.sa_family);
	say("source %s port equal %d", ip_in(&from), from.four.sin_port == name.four.sin_port);
	say("answer %s", num(put(s, "back", &from)));
	say("it gets %s", got(c));
	send_to(c, "again", port_of(s));
	arrives(s);
	memset(&small.six, 0xaa, sizeof(small.six));
	small.len = 4;
	say("short %s", num(recvfrom(s, b, sizeof(b), 0, &small.sa, &small.len)));
	say("len %u family %d rest %x", small.len, small.sa.sa_family, small.four.sin_addr.s_addr);
	send_to(c, "third", port_of(s));
	arrives(s);
	say("no address %s", num(recvfrom(s, b, sizeof(b), 0, NULL, NULL)));
}

static const char *flag_names(int flags)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s%s%s", (flags & MSG_TRUNC) != 0 ? "T" : "",
		 (flags & MSG_CTRUNC) != 0 ? "C" : "",
		 (flags & ~(MSG_TRUNC | MSG_CTRUNC)) != 0 ? "+" : "");
	return text[0] == '\0' ? "-" : text;
}

static void u4(void)
{
	int s = bound(probe_family), c = udp(probe_family);
	char b[32] = {0};
	struct iovec iov[3] = {{b, 2}, {b + 8, 0}, {b + 16, 3}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 3};

	say("empty %d", pending(s));
	send_to(c, "0123456789", port_of(s));
	send_to(c, "next", port_of(s));
	say("poll %s", bits(settled(s, POLLIN)));
	say("peek %s", num(recv(s, b, 4, MSG_PEEK)));
	say("peek trunc %s", num(recv(s, b, 4, MSG_PEEK | MSG_TRUNC)));
	say("peek trunc nothing %s", num(recv(s, NULL, 0, MSG_PEEK | MSG_TRUNC)));
	say("peek all %s %.10s", num(recv(s, b, sizeof(b), MSG_PEEK)), b);
	say("pending %d", pending(s));
	memset(b, 0, sizeof(b));
	say("recvmsg %s", num(recvmsg(s, &m, 0)));
	say("parts %.2s %.3s flags %s", b, b + 16, flag_names(m.msg_flags));
	say("pending %d", pending(s));
	say("rest gone, %s", got(s));
	say("then %s", num(recv(s, b, sizeof(b), MSG_DONTWAIT)));
	send_to(c, "0123456789", port_of(s));
	arrives(s);
	say("recv trunc %s", num(recv(s, b, 4, MSG_TRUNC)));
	send_to(c, "0123456789", port_of(s));
	arrives(s);
	m.msg_iovlen = 1;
	say("recvmsg trunc %s", num(recvmsg(s, &m, MSG_TRUNC)));
	say("flags %s", flag_names(m.msg_flags));
	send_to(c, "waited", port_of(s));
	arrives(s);
	say("waitall %s", num(recv(s, b, 20, MSG_WAITALL)));
	say("errqueue %s", num(recv(s, b, 4, MSG_ERRQUEUE)));
	say("drained %d %s", pending(s), bits(mask_now(s)));
}

static void u5(void)
{
	int s = bound(probe_family), c = udp(probe_family);
	struct address a = own(port_of(s)), from = {.len = sizeof(from.six)};
	struct iovec none = {NULL, 0};
	char b[8];

	say("send %s", num(sendto(c, NULL, 0, 0, &a.sa, a.len)));
	say("poll %s", bits(settled(s, POLLIN)));
	say("pending %d", pending(s));
	say("read nothing %s", num(read(s, b, 0)));
	say("receive %s", num(recvfrom(s, b, sizeof(b), MSG_DONTWAIT, &from.sa, &from.len)));
	say("from %s len %u", ip_in(&from), from.len);
	say("then %s", num(recv(s, b, sizeof(b), MSG_DONTWAIT)));
	dial(c, port_of(s));
	say("write nothing %s", num(write(c, b, 0)));
	say("arrived %d", arrives(s));
	say("read %s", num(read(s, b, sizeof(b))));
	say("writev nothing %s", num(writev(c, &none, 1)));
	say("then %s", not_got(s));
	send_to(c, "skipped", port_of(s));
	arrives(s);
	say("receive nothing %s", num(recv(s, b, 0, MSG_DONTWAIT)));
	say("then %s", not_got(s));
}

/** u6() - The longest datagram; those of IPv6 are in udp6.c */
static void u6(void)
{
	static char big[70000];
	int s = bound(probe_family), c = udp(probe_family);
	struct address a = own(port_of(s));

	memset(big, 'b', sizeof(big));
	say("70000 %s", num(sendto(c, big, 70000, 0, &a.sa, a.len)));
	say("65508 %s", num(sendto(c, big, 65508, 0, &a.sa, a.len)));
	say("65507 %s", num(sendto(c, big, 65507, 0, &a.sa, a.len)));
	arrives(s);
	say("receive %s", num(recv(s, big, sizeof(big), MSG_DONTWAIT)));
	say("9000 %s", num(sendto(c, big, 9000, 0, &a.sa, a.len)));
	arrives(s);
	say("receive %s", num(recv(s, big, sizeof(big), MSG_DONTWAIT)));
	say("whole %d", memchr(big, 0, 9000) == NULL);
}

static void u7(void)
{
	struct address peer = {.len = sizeof(peer.six)};
	int s = bound(probe_family), other = bound(probe_family), c = udp(probe_family);
	char b[16] = {0};
	struct iovec out[2] = {{"ve", 2}, {"ctor", 4}}, in[2] = {{b, 3}, {b + 3, 9}};

	say("connect %s", err(dial(c, port_of(s))));
	say("poll %s", bits(mask_now(c)));
	say("peer %s", err(getpeername(c, &peer.sa, &peer.len)));
	say("is %s port equal %d", ip_in(&peer), ntohs(peer.four.sin_port) == port_of(s));
	peer.len = sizeof(peer.six);
	getsockname(c, &peer.sa, &peer.len);
	say("local %s port %d", ip_in(&peer), peer.four.sin_port != 0);
	say("write %s", num(write(c, "written", 7)));
	arrives(s);
	say("read %s %s", num(read(s, b, sizeof(b))), b);
	say("writev %s", num(writev(c, out, 2)));
	arrives(s);
	memset(b, 0, sizeof(b));
	say("readv %s %s", num(readv(s, in, 2)), b);
	say("elsewhere %s", num(send_to(c, "other", port_of(other))));
	say("arrives %s", got(other));
	say("reconnect %s", err(dial(c, port_of(other))));
	say("send %s", num(send(c, "moved", 5, 0)));
	say("arrives %s", got(other));
	say("bind after %s", err(bind_to(c, &peer)));
}

static void u8(void)
{
	int port = closed_port(probe_family), c = udp(probe_family);
	struct address a = own(port);
	char b[8];

	dial(c, port);
	say("send %s", num(send(c, "x", 1, 0)));
	say("told %d", arrives(c));
	say("poll %s", bits(mask_now(c)));
	say("receive %s", num(recv(c, b, sizeof(b), MSG_DONTWAIT)));
	say("then %s", num(recv(c, b, sizeof(b), MSG_DONTWAIT)));
	say("poll %s", bits(mask_now(c)));
	send(c, "x", 1, 0);
	arrives(c);
	say("error %s", ename(so_error(c)));
	say("again %s", ename(so_error(c)));
	send(c, "x", 1, 0);
	arrives(c);
	say("send %s", num(send(c, "x", 1, 0)));
	say("send %s", num(send(c, "x", 1, 0)));
	arrives(c);
	say("peek %s", num(recv(c, b, sizeof(b), MSG_PEEK | MSG_DONTWAIT)));
	say("then %s", not_got(c));
	c = udp(probe_family);
	put(c, "x", &a);
	say("unconnected %s", not_got(c));
	say("error %s", ename(so_error(c)));
}

static void u9(void)
{
	int s = bound(probe_family), stranger = bound(probe_family), c = bound(probe_family);

	dial(c, port_of(s));
	send_to(stranger, "stranger", port_of(c));
	say("stranger %s", not_got(c));
	send_to(s, "peer", port_of(c));
	say("peer %s", got(c));
}

static void u10(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct address a = {.len = sizeof(a.six)};
	int s = bound(probe_family), other = bound(probe_family), c = udp(probe_family), port;

	dial(c, port_of(s));
	say("disconnect %s", err(connect(c, &none, sizeof(none))));
	say("peer %s", err(getpeername(c, &a.sa, &a.len)));
	a.len = sizeof(a.six);
	getsockname(c, &a.sa, &a.len);
	say("local %s port %d", ip_in(&a), a.four.sin_port != 0);
	say("send %s", num(send(c, "x", 1, 0)));
	say("fresh %s", err(connect(udp(probe_family), &none, sizeof(none))));
	c = bound(probe_family);
	port = port_of(c);
	dial(c, port_of(s));
	connect(c, &none, sizeof(none));
	say("bound port kept %d", port == port_of(c));
	c = udp(probe_family);
	a = own(port);
	bind_to(c, &a);
	dial(c, port_of(s));
	connect(c, &none, sizeof(none));
	say("chosen port kept %d", port == port_of(c));
	send_to(other, "any", port);
	say("open again %s", got(c));
}

static void u11(void)
{
	char text[4][16] = {"a", "bcd", "", "efgh"}, in[6][16];
	struct mmsghdr m[6] = {0};
	struct iovec iov[6];
	int s = bound(probe_family), c = udp(probe_family), d, status;

	dial(c, port_of(s));
	fill(m, iov, text, 4);
	say("sendmmsg %s", num(sendmmsg(c, m, 4, 0)));
	say("lengths %u %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len);
	nap(50);
	for (int i = 0; i < 6; i++)
		iov[i] = (struct iovec){in[i], sizeof(in[i])};
	for (int i = 0; i < 6; i++)
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	say("recvmmsg %s", num(recvmmsg(s, m, 6, MSG_DONTWAIT, NULL)));
	say("lengths %u %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len);
	say("text %.1s %.3s %.4s", in[0], in[1], in[3]);
	say("then %s", num(recvmmsg(s, m, 6, MSG_DONTWAIT, NULL)));
	d = dup(s);
	send(c, "to the copy", 11, 0);
	say("dup reads %s", got(d));
	say("original %s", not_got(s));
	fflush(stdout);
	if (fork() == 0) {
		say("child reads %s", got(s));
		_exit(0);
	}
	send(c, "to the child", 12, 0);
	wait(&status);
	say("parent %s", not_got(s));
	close(s);
	send(c, "still", 5, 0);
	say("last copy %s", got(d));
}

static void u12(void)
{
	int s = bound(probe_family);

	say("listen %s", err(listen(s, 1)));
	say("accept %s", err(accept(s, NULL, NULL)));
	say("type %d domain %d protocol %d accepting %d", int_option(s, SOL_SOCKET, SO_TYPE),
	    int_option(s, SOL_SOCKET, SO_DOMAIN), int_option(s, SOL_SOCKET, SO_PROTOCOL),
	    int_option(s, SOL_SOCKET, SO_ACCEPTCONN));
}

static const struct probe_case cases[] = {
	FOUR_SIX_MAPPED("U1", u1),   FOUR_SIX_MAPPED("U2", u2),	  FOUR_SIX_MAPPED("U3", u3),
	FOUR_SIX_MAPPED("U4", u4),   FOUR_SIX_MAPPED("U5", u5),	  {"U6", u6},
	{"U6-mapped", u6},	     FOUR_SIX_MAPPED("U7", u7),	  FOUR_SIX_MAPPED("U8", u8),
	FOUR_SIX_MAPPED("U9", u9),   FOUR_SIX_MAPPED("U10", u10), FOUR_SIX_MAPPED("U11", u11),
	FOUR_SIX_MAPPED("U12", u12),
};

PROBE_MAIN(cases)
