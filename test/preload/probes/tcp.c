/**
 * tcp.c - What TCP sockets do, one line per behaviour: connecting, data, ends, resets
 *
 * Numbers T1..T41 are those of the conformance table; T19 to T33 are in tcp_wait.c, the others in
 * tcp_load.c.
 *
 * usage: tcp [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

static void t1(void)
{
	int l = listener(8);
	int c = tcp(SOCK_NONBLOCK);

	say("fresh %s", bits(mask_now(c)));
	say("connect %s", err(dial(c, OWN, port_of(l))));
	say("poll %s", bits(settled(c, POLLOUT)));
	say_errors(c);
}

static void t2(void)
{
	int l = listener(8);
	int c = tcp(SOCK_NONBLOCK);

	dial(c, OWN, port_of(l));
	settled(c, POLLOUT);
	say("second %s", err(dial(c, OWN, port_of(l))));
	say("third %s", err(dial(c, OWN, port_of(l))));
	struct pair p = connected();
	say("after blocking %s", err(dial(p.c, OWN, port_of(p.l))));
	say("on accepted %s", err(dial(p.s, OWN, port_of(p.l))));
}

static bool same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_family == b->sin_family && a->sin_port == b->sin_port &&
	       a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static void t3(void)
{
	struct sockaddr_in cn, cp, sn, sp, ap;
	socklen_t len = sizeof(cn);
	struct pair p;
	unsigned char small[16];

	p.l = listener(8);
	p.c = tcp(0);
	dial(p.c, OWN, port_of(p.l));
	p.s = accept(p.l, (struct sockaddr *)&ap, &len);
	say("accept len %u family %d", len, ap.sin_family);
	getsockname(p.c, (struct sockaddr *)&cn, &len);
	getpeername(p.c, (struct sockaddr *)&cp, &len);
	getsockname(p.s, (struct sockaddr *)&sn, &len);
	getpeername(p.s, (struct sockaddr *)&sp, &len);
	say("client name %d accept %d server name %d", same(&cn, &sp), same(&cn, &ap),
	    same(&sn, &cp));
	say("client ip %s", inet_ntoa(cn.sin_addr));
	say("server ip %s", inet_ntoa(sn.sin_addr));
	memset(small, 0xaa, sizeof(small));
	len = 2;
	say("short %s len %u family %d rest %x", err(getsockname(p.c, (void *)small, &len)), len,
	    *(unsigned short *)(void *)small, small[2]);
	len = (socklen_t)-1;
	say("negative %s", err(getsockname(p.c, (void *)small, &len)));
}

static void t4(void)
{
	struct pair p = connected();

	for (int i = 0; i < 2; i++) {
		int fd = i == 0 ? p.c : p.l;

		say("type %d domain %d protocol %d accepting %d",
		    int_option(fd, SOL_SOCKET, SO_TYPE), int_option(fd, SOL_SOCKET, SO_DOMAIN),
		    int_option(fd, SOL_SOCKET, SO_PROTOCOL),
		    int_option(fd, SOL_SOCKET, SO_ACCEPTCONN));
	}
}

static void t5(void)
{
	struct pair p = connected();

	say("idle %s %s pending %d %d", bits(mask_now(p.c)), bits(mask_now(p.s)), pending(p.c),
	    pending(p.s));
}

static void t6(void)
{
	struct pair p = connected();
	char b[16] = {0};

	tell(p.c, "hello");
	say("poll %s", bits(settled(p.s, POLLIN)));
	say("pending %d", pending(p.s));
	say("peek %s", num(recv(p.s, b, 3, MSG_PEEK)));
	say("trunc %s", num(recv(p.s, NULL, 2, MSG_TRUNC)));
	say("read %s", num(read(p.s, b, sizeof(b))));
	say("text %s", b);
	say("oob %s", num(recv(p.s, b, 1, MSG_OOB)));
	say("errqueue %s", num(recv(p.s, b, 1, MSG_ERRQUEUE | MSG_DONTWAIT)));
}

static void t7(void)
{
	struct pair p = connected();
	struct sockaddr_in a = to(FOREIGN, 9);
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char b[16], control[64];
	struct iovec iov = {b, sizeof(b)};
	struct msghdr m = {.msg_name = &from,
			   .msg_namelen = sizeof(from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	say("sendto %s", num(sendto(p.c, "abc", 3, MSG_NOSIGNAL, (void *)&a, sizeof(a))));
	say("recvfrom %s", num(recvfrom(p.s, b, sizeof(b), 0, (void *)&from, &len)));
	say("len %u", len);
	tell(p.c, "defg");
	say("recvmsg %s", num(recvmsg(p.s, &m, 0)));
	say("namelen %u controllen %zu flags %x", m.msg_namelen, m.msg_controllen,
	    (unsigned)m.msg_flags);
}

static void t8(void)
{
	struct pair p = connected();
	char b[8];

	say("shutdown %s", err(shutdown(p.c, SHUT_WR)));
	say("peer %s", bits(settled(p.s, POLLRDHUP)));
	say("self %s", bits(mask_now(p.c)));
	say("read %s", num(read(p.s, b, sizeof(b))));
	say("write %s", num(tell(p.s, "late")));
	settled(p.c, POLLIN);
	say("peer reads %s", num(read(p.c, b, sizeof(b))));
	say("self writes %s", num(tell(p.c, "x")));
	fcntl(p.c, F_SETFL, O_NONBLOCK);
	say("self reads %s", num(read(p.c, b, sizeof(b))));
}

static void t9(void)
{
	struct pair p = connected();
	char b[8];

	shutdown(p.c, SHUT_WR);
	settled(p.s, POLLRDHUP);
	close(p.s);
	say("%s", bits(settled(p.c, POLLHUP)));
	say("read %s", num(read(p.c, b, sizeof(b))));
	say("error %s", ename(so_error(p.c)));
}

static void t10(void)
{
	struct pair p = connected();

	close(p.s);
	say("closed %s", bits(settled(p.c, POLLRDHUP)));
	say("write %s", num(tell(p.c, "a")));
	say("after %s", bits(settled(p.c, POLLHUP)));
	say("write %s", num(tell(p.c, "b")));
	say("after %s", bits(settled(p.c, POLLHUP)));
}

static void after_reset(int fd)
{
	char b[8];

	say("poll %s", bits(settled(fd, POLLHUP)));
	say("read %s", num(read(fd, b, sizeof(b))));
	say("read %s", num(read(fd, b, sizeof(b))));
	say("write %s", num(tell(fd, "x")));
}

static void t11(void)
{
	struct pair p = connected();
	struct linger on = {1, 0};

	setsockopt(p.s, SOL_SOCKET, SO_LINGER, &on, sizeof(on));
	close(p.s);
	after_reset(p.c);
}

static void t12(void)
{
	struct pair p = connected();
	char b[8];

	tell(p.c, "unread");
	settled(p.s, POLLIN);
	close(p.s);
	say("poll %s", bits(settled(p.c, POLLHUP)));
	say_errors(p.c);
	say("read %s", num(read(p.c, b, sizeof(b))));
}

static void t13(void)
{
	struct pair p = connected();
	char b[8];

	say("shutdown %s", err(shutdown(p.c, SHUT_RD)));
	say("self %s", bits(settled(p.c, POLLRDHUP)));
	say("peer %s", bits(mask_now(p.s)));
	say("read %s", num(read(p.c, b, sizeof(b))));
	say("write %s", num(tell(p.c, "out")));
	settled(p.s, POLLIN);
	say("peer reads %s", num(read(p.s, b, sizeof(b))));
	say("peer writes %s", num(tell(p.s, "in")));
	nap(30);
	say("write %s", num(tell(p.c, "out")));
	settled(p.s, POLLIN);
	say("peer reads %s", num(read(p.s, b, sizeof(b))));
}

static void t14(void)
{
	struct pair p = connected();
	char b[8];

	say("shutdown %s", err(shutdown(p.c, SHUT_RDWR)));
	say("self %s", bits(settled(p.c, POLLHUP)));
	say("read %s", num(read(p.c, b, sizeof(b))));
	say("write %s", num(tell(p.c, "x")));
	say("peer %s", bits(settled(p.s, POLLRDHUP)));
	say("peer read %s", num(read(p.s, b, sizeof(b))));
}

static void t15(void)
{
	int port = closed_port();
	int c = tcp(SOCK_NONBLOCK);
	char b[8];

	say("connect %s", err(dial(c, OWN, port)));
	say("poll %s", bits(settled(c, POLLHUP)));
	say_errors(c);
	say("poll %s", bits(mask_now(c)));
	say("write %s", num(tell(c, "x")));
	c = tcp(SOCK_NONBLOCK);
	dial(c, OWN, port);
	settled(c, POLLHUP);
	say("b read %s", num(read(c, b, sizeof(b))));
	say("b read %s", num(read(c, b, sizeof(b))));
	say("b write %s", num(tell(c, "x")));
}

static void t16(void)
{
	int port = closed_port();
	int c = tcp(SOCK_NONBLOCK);

	dial(c, OWN, port);
	settled(c, POLLHUP);
	say("again %s", err(dial(c, OWN, port)));
}

static void t17(void)
{
	int port = closed_port();
	int l = listener(8);
	int c = tcp(SOCK_NONBLOCK);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	dial(c, OWN, port);
	settled(c, POLLHUP);
	so_error(c);
	say("connect %s", err(dial(c, OWN, port_of(l))));
	say("connect %s", err(dial(c, OWN, port_of(l))));
	say("poll %s", bits(settled(c, POLLOUT)));
	say("error %s", ename(so_error(c)));
	say("peer %s", err(getpeername(c, (void *)&a, &len)));
}

static void t18(void)
{
	int port = closed_port();
	int l = listener(8);
	int c = tcp(0);
	char b[8];

	say("refused %s", err(dial(c, OWN, port)));
	say("refused %s", err(dial(c, OWN, port)));
	say("listening %s", err(dial(c, OWN, port_of(l))));
	int s = accept(l, NULL, NULL);
	say("write %s", num(tell(c, "ok")));
	say("read %s", num(recv(s, b, sizeof(b), 0)));
}

static const struct probe_case cases[] = {
	{"T1", t1},   {"T2", t2},   {"T3", t3},	  {"T4", t4},	{"T5", t5},   {"T6", t6},
	{"T7", t7},   {"T8", t8},   {"T9", t9},	  {"T10", t10}, {"T11", t11}, {"T12", t12},
	{"T13", t13}, {"T14", t14}, {"T15", t15}, {"T16", t16}, {"T17", t17}, {"T18", t18},
};

TCP_MAIN(cases)
