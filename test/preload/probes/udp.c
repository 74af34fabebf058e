/**
 * udp.c - What UDP sockets do, one line per behaviour
 *
 * Cases U1 to U12 of the conformance table; udp_more.c goes on.
 *
 * usage: udp [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

static void u1(void)
{
	struct sockaddr_in a = to(OWN, 0), any = to("0.0.0.0", 0), f = to(FOREIGN, 0);
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	int fd = udp(AF_INET), other = udp(AF_INET);

	say("fresh %s", bits(mask_now(fd)));
	say("name %s", err(getsockname(fd, (void *)&name, &len)));
	say("is %s %d len %u", ip_of(&name), name.sin_port, len);
	say("bind %s", err(bind(fd, (void *)&a, sizeof(a))));
	say("given %d", port_of(fd) > 1023);
	say("twice %s", err(bind(fd, (void *)&a, sizeof(a))));
	a.sin_port = any.sin_port = htons((uint16_t)port_of(fd));
	say("conflict %s", err(bind(other, (void *)&a, sizeof(a))));
	say("wildcard conflict %s", err(bind(other, (void *)&any, sizeof(any))));
	say("foreign %s", err(bind(other, (void *)&f, sizeof(f))));
	say("short %s", err(bind(other, (void *)&a, 8)));
	a.sin_family = AF_INET6;
	say("family %s", err(bind(other, (void *)&a, sizeof(a))));
	a.sin_family = AF_INET;
	a.sin_port = 0;
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	say("loopback %s", err(bind(other, (void *)&a, sizeof(a))));
	say("bound %s", bits(mask_now(fd)));
	close(fd);
	any.sin_port = htons(700);
	say("low port %s", err(bind(udp(AF_INET), (void *)&any, sizeof(any))));
}

static void u2(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = udp(AF_INET);

	say("send %s", num(send(fd, "x", 1, 0)));
	say("write %s", num(write(fd, "x", 1)));
	say("peer %s", err(getpeername(fd, (void *)&a, &len)));
	fd = bound(AF_INET);
	say("bound send %s", num(send(fd, "x", 1, 0)));
	say("bound peer %s", err(getpeername(fd, (void *)&a, &len)));
	a = to(OWN, 9);
	say("short %s", num(sendto(fd, "x", 1, 0, (void *)&a, 8)));
	say("no length %s", num(sendto(fd, "x", 1, 0, (void *)&a, 0)));
	a.sin_family = AF_INET6;
	say("family %s", num(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a))));
	a = to(OWN, 0);
	say("port 0 %s", num(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a))));
	say("oob %s", num(send(fd, "x", 1, MSG_OOB)));
}

static void u3(void)
{
	struct sockaddr_in name, from, small;
	socklen_t len = sizeof(name);
	int s = bound_any(AF_INET), c = udp(AF_INET);
	char b[16] = {0};

	say("send %s", num(send_to(c, "hello", port_of(s))));
	getsockname(c, (void *)&name, &len);
	say("sender bound to %s, port %d", ip_of(&name), name.sin_port != 0);
	arrives(s);
	len = sizeof(from);
	say("receive %s", num(recvfrom(s, b, sizeof(b), 0, (void *)&from, &len)));
	say("text %s len %u family %d", b, len, from.sin_family);
	say("source %s port equal %d", ip_of(&from), from.sin_port == name.sin_port);
	say("answer %s", num(sendto(s, "back", 4, 0, (void *)&from, sizeof(from))));
	say("it gets %s", got(c));
	send_to(c, "again", port_of(s));
	arrives(s);
	memset(&small, 0xaa, sizeof(small));
	len = 4;
	say("short %s", num(recvfrom(s, b, sizeof(b), 0, (void *)&small, &len)));
	say("len %u family %d rest %x", len, small.sin_family, small.sin_addr.s_addr);
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
	int s = bound(AF_INET), c = udp(AF_INET);
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
	int s = bound(AF_INET), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port_of(s)), from = {0};
	socklen_t len = sizeof(from);
	struct iovec none = {NULL, 0};
	char b[8];

	say("send %s", num(sendto(c, NULL, 0, 0, (void *)&a, sizeof(a))));
	say("poll %s", bits(settled(s, POLLIN)));
	say("pending %d", pending(s));
	say("read nothing %s", num(read(s, b, 0)));
	say("receive %s", num(recvfrom(s, b, sizeof(b), MSG_DONTWAIT, (void *)&from, &len)));
	say("from %s", ip_of(&from));
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

static void u6(void)
{
	static char big[70000];
	int s = bound(AF_INET), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port_of(s));

	memset(big, 'b', sizeof(big));
	say("70000 %s", num(sendto(c, big, 70000, 0, (void *)&a, sizeof(a))));
	say("65508 %s", num(sendto(c, big, 65508, 0, (void *)&a, sizeof(a))));
	say("65507 %s", num(sendto(c, big, 65507, 0, (void *)&a, sizeof(a))));
	arrives(s);
	say("receive %s", num(recv(s, big, sizeof(big), MSG_DONTWAIT)));
	say("9000 %s", num(sendto(c, big, 9000, 0, (void *)&a, sizeof(a))));
	arrives(s);
	say("receive %s", num(recv(s, big, sizeof(big), MSG_DONTWAIT)));
	say("whole %d", memchr(big, 0, 9000) == NULL);
}

static void u7(void)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	int s = bound(AF_INET), other = bound(AF_INET), c = udp(AF_INET);
	char b[16] = {0};
	struct iovec out[2] = {{"ve", 2}, {"ctor", 4}}, in[2] = {{b, 3}, {b + 3, 9}};

	say("connect %s", err(dial(c, port_of(s))));
	say("poll %s", bits(mask_now(c)));
	say("peer %s", err(getpeername(c, (void *)&peer, &len)));
	say("is %s port equal %d", ip_of(&peer), ntohs(peer.sin_port) == port_of(s));
	len = sizeof(peer);
	getsockname(c, (void *)&peer, &len);
	say("local %s port %d", ip_of(&peer), peer.sin_port != 0);
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
	say("bind after %s", err(bind(c, (void *)&peer, sizeof(peer))));
}

static void u8(void)
{
	int port = closed_port(AF_INET), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port);
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
	c = udp(AF_INET);
	sendto(c, "x", 1, 0, (void *)&a, sizeof(a));
	say("unconnected %s", not_got(c));
	say("error %s", ename(so_error(c)));
}

static void u9(void)
{
	int s = bound(AF_INET), stranger = bound(AF_INET), c = bound(AF_INET);

	dial(c, port_of(s));
	send_to(stranger, "stranger", port_of(c));
	say("stranger %s", not_got(c));
	send_to(s, "peer", port_of(c));
	say("peer %s", got(c));
}

static void u10(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int s = bound(AF_INET), other = bound(AF_INET), c = udp(AF_INET), port;

	dial(c, port_of(s));
	say("disconnect %s", err(connect(c, &none, sizeof(none))));
	say("peer %s", err(getpeername(c, (void *)&a, &len)));
	len = sizeof(a);
	getsockname(c, (void *)&a, &len);
	say("local %s port %d", ip_of(&a), a.sin_port != 0);
	say("send %s", num(send(c, "x", 1, 0)));
	say("fresh %s", err(connect(udp(AF_INET), &none, sizeof(none))));
	c = bound(AF_INET);
	port = port_of(c);
	dial(c, port_of(s));
	connect(c, &none, sizeof(none));
	say("bound port kept %d", port == port_of(c));
	c = udp(AF_INET);
	a = to(OWN, port);
	bind(c, (void *)&a, sizeof(a));
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
	int s = bound(AF_INET), c = udp(AF_INET), d, status;

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
	int s = bound(AF_INET);

	say("listen %s", err(listen(s, 1)));
	say("accept %s", err(accept(s, NULL, NULL)));
	say("type %d domain %d protocol %d accepting %d", int_option(s, SOL_SOCKET, SO_TYPE),
	    int_option(s, SOL_SOCKET, SO_DOMAIN), int_option(s, SOL_SOCKET, SO_PROTOCOL),
	    int_option(s, SOL_SOCKET, SO_ACCEPTCONN));
}

static const struct probe_case cases[] = {
	{"U1", u1}, {"U2", u2}, {"U3", u3}, {"U4", u4},	  {"U5", u5},	{"U6", u6},
	{"U7", u7}, {"U8", u8}, {"U9", u9}, {"U10", u10}, {"U11", u11}, {"U12", u12},
};

PROBE_MAIN(cases)
