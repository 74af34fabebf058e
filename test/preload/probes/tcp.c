/**
 * tcp.c - What TCP sockets do, one line per behaviour
 *
 * Numbers T1..T41 are those of the conformance table.
 *
 * Contents: making sockets; cases T1 to T41; cases beyond the table (X).
 *
 * usage: tcp [CASE...]
 */
#define _GNU_SOURCE
#include "probe.h"

#include <grp.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>

static char *self_path;

static int tcp(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

static int listener(int backlog)
{
	struct sockaddr_in a = to(OWN, 0);
	int fd = tcp(0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, backlog) != 0) {
		say("listener %s", err(-1));
		exit(1);
	}
	return fd;
}

static int dial(int fd, const char *ip, int port)
{
	struct sockaddr_in a = to(ip, port);

	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

struct pair {
	int l, c, s;
};

/** connected() - A listener, a client and the accepted socket */
static struct pair connected(void)
{
	struct pair p;

	p.l = listener(8);
	p.c = tcp(0);
	if (dial(p.c, OWN, port_of(p.l)) != 0) {
		say("connect %s", err(-1));
		exit(1);
	}
	p.s = accept(p.l, NULL, NULL);
	if (p.s < 0) {
		say("accept %s", err(-1));
		exit(1);
	}
	return p;
}

/** closed_port() - A port of OWN where nobody listens */
static int closed_port(void)
{
	int l = listener(1);
	int port = port_of(l);

	close(l);
	return port;
}

static long tell(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/** say_errors() - SO_ERROR twice: the second reading must be clear */
static void say_errors(int fd)
{
	int first = so_error(fd);

	say("error %s again %s", ename(first), ename(so_error(fd)));
}

/* --------------------------------------------------------------- the cases */

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

static const char *epoll_bits(int ep, int ms)
{
	struct epoll_event e = {0};
	int n = epoll_wait(ep, &e, 1, ms);

	return n == 1 ? bits((short)(e.events & 0xffff)) : "none";
}

static void epoll_case(bool edge, bool before)
{
	int l = listener(8);
	int c = tcp(SOCK_NONBLOCK);
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};
	char first[64], data[64], second[64], fin[64];

	if (edge)
		e.events |= (uint32_t)EPOLLET;
	if (before)
		epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
	if (before && edge)
		epoll_wait(ep, &e, 1, 0);
	dial(c, OWN, port_of(l));
	if (!before)
		epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
	int s = accept(l, NULL, NULL);
	settled(c, POLLOUT);
	strcpy(first, epoll_bits(ep, SETTLE_MS));
	tell(s, "data");
	settled(c, POLLIN);
	strcpy(data, epoll_bits(ep, SETTLE_MS));
	strcpy(second, epoll_bits(ep, 50));
	close(s);
	settled(c, POLLRDHUP);
	strcpy(fin, epoll_bits(ep, SETTLE_MS));
	say("%s %s: %s; %s; %s; %s", edge ? "edge" : "level", before ? "before" : "after", first,
	    data, second, fin);
}

static void t19(void)
{
	epoll_case(false, false);
	epoll_case(false, true);
	epoll_case(true, false);
	epoll_case(true, true);
}

static void t23(void)
{
	int l = listener(8);
	int c = tcp(SOCK_NONBLOCK);
	struct timeval t = {2, 0};
	fd_set r, w;

	dial(c, OWN, port_of(l));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(c, &r);
	FD_SET(c, &w);
	say("select %d", select(c + 1, &r, &w, NULL, &t));
	say("r %d w %d", FD_ISSET(c, &r) != 0, FD_ISSET(c, &w) != 0);
}

static void t24(void)
{
	int c = tcp(SOCK_NONBLOCK);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char b[8];

	say("connect %s", err(dial(c, SILENT, 9)));
	nap(50);
	say("poll %s", bits(mask_now(c)));
	say("read %s", num(read(c, b, sizeof(b))));
	say("again %s", err(dial(c, SILENT, 9)));
	say("peer %s", err(getpeername(c, (void *)&a, &len)));
	say("error %s", ename(so_error(c)));
	say("write %s", num(tell(c, "x")));
}

static void t25(void)
{
	int c = tcp(0);

	on_alarm(100, 0);
	say("connect %s", err(dial(c, SILENT, 9)));
	on_alarm(100, 0);
	say("again %s", err(dial(c, SILENT, 9)));
}

static void t26(void)
{
	int c = tcp(0);

	time_limit(c, SO_SNDTIMEO, 200);
	say("connect %s", err(dial(c, SILENT, 9)));
	say("again %s", err(dial(c, SILENT, 9)));
}

static void t27(void)
{
	int l = listener(8);

	fcntl(l, F_SETFL, O_NONBLOCK);
	say("empty %s", err(accept(l, NULL, NULL)));
	fcntl(l, F_SETFL, 0);
	time_limit(l, SO_RCVTIMEO, 100);
	say("timeout %s", err(accept(l, NULL, NULL)));
	time_limit(l, SO_RCVTIMEO, 0);
	on_alarm(100, 0);
	say("signal %s", err(accept(l, NULL, NULL)));
	say("flags %s", err(accept4(l, NULL, NULL, 1)));
}

static void t28(void)
{
	int l = listener(8);
	int c1 = tcp(0), c2 = tcp(0), s;

	fcntl(l, F_SETFL, O_NONBLOCK);
	dial(c1, OWN, port_of(l));
	settled(l, POLLIN);
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	say("flags %d %d", (fcntl(s, F_GETFL) & O_NONBLOCK) != 0, fcntl(s, F_GETFD));
	dial(c2, OWN, port_of(l));
	settled(l, POLLIN);
	s = accept(l, NULL, NULL);
	say("inherited %d %d", (fcntl(s, F_GETFL) & O_NONBLOCK) != 0, fcntl(s, F_GETFD));
}

static void describe(const char *what, int fd)
{
	struct sockaddr_in n, p;
	socklen_t nl = sizeof(n), pl = sizeof(p);
	int rn = getsockname(fd, (void *)&n, &nl);
	int rp = getpeername(fd, (void *)&p, &pl);
	char b[16] = {0};

	say("%s name %d %s peer %d %s", what, rn == 0 ? n.sin_family : -1,
	    rn == 0 ? inet_ntoa(n.sin_addr) : "-", rp == 0 ? p.sin_family : -1,
	    rp == 0 ? "known" : "-");
	say("%s read %s", what, num(recv(fd, b, sizeof(b), 0)));
	say("%s text %s", what, b);
}

static void t29(void)
{
	struct pair p = connected();
	char text[16];
	int status = 0;
	pid_t pid;

	tell(p.c, "hello");
	fflush(stdout);
	snprintf(text, sizeof(text), "%d", p.s);
	pid = fork();
	if (pid == 0) {
		execl(self_path, self_path, "--described", text, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	say("status %d", status);
}

static void t30(void)
{
	int via[2];
	int status;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, via) != 0)
		return;
	fflush(stdout);
	if (fork() == 0) {
		describe("passed", receive_fd(via[1]));
		_exit(0);
	}
	struct pair p = connected();
	tell(p.c, "abc");
	send_fd(via[0], p.s);
	close(p.s);
	wait(&status);
	say("status %d", status);
}

static void t31(void)
{
	struct pair p = connected();
	char b[8];
	int d = dup(p.c);
	int e = dup2(p.c, 100);

	say("numbers %d %d", d > p.c, e);
	say("write %s", num(tell(d, "1")));
	say("write %s", num(tell(e, "22")));
	close(p.c);
	settled(p.s, POLLIN);
	say("read %s", num(recv(p.s, b, 3, MSG_WAITALL)));
	say("still %s", bits(mask_now(p.s)));
	close(d);
	close(e);
	say("ended %s", bits(settled(p.s, POLLRDHUP)));
	say("read %s", num(read(p.s, b, sizeof(b))));
}

static void t32(void)
{
	int l = listener(8);
	int port = port_of(l);
	int c = tcp(0), d = tcp(0);
	char b[8];

	dial(c, OWN, port);
	nap(20);
	close(l);
	say("pending %s", bits(settled(c, POLLHUP)));
	say("read %s", num(read(c, b, sizeof(b))));
	say("connect %s", err(dial(d, OWN, port)));
}

static void t33(void)
{
	int l = listener(8);
	int port = port_of(l);
	struct sockaddr_in a = to(OWN, port), f = to(FOREIGN, 0), z = to(OWN, 0),
			   any = to("0.0.0.0", port);
	int on = 1;
	int fd = tcp(0);

	say("same port %s", err(bind(fd, (void *)&a, sizeof(a))));
	say("wildcard %s", err(bind(fd, (void *)&any, sizeof(any))));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	say("reuseaddr against a listener %s", err(bind(fd, (void *)&a, sizeof(a))));
	say("foreign %s", err(bind(fd, (void *)&f, sizeof(f))));
	say("port 0 %s", err(bind(fd, (void *)&z, sizeof(z))));
	say("given %d", port_of(fd) > 1023);
	say("twice %s", err(bind(fd, (void *)&z, sizeof(z))));
	fd = tcp(0);
	say("short %s", err(bind(fd, (void *)&z, 8)));
	z.sin_family = AF_INET6;
	say("family %s", err(bind(fd, (void *)&z, sizeof(z))));
	a.sin_family = AF_INET6;
	say("connect family %s", err(connect(fd, (void *)&a, sizeof(a))));
	say("connect short %s", err(connect(fd, (void *)&a, 4)));
}

#define WORKERS	    4
#define CONNECTIONS 200

static void serve_forever(int l)
{
	for (;;) {
		int s = accept(l, NULL, NULL);

		if (s < 0)
			_exit(1);
		tell(s, "k");
		close(s);
	}
}

static void t34(void)
{
	int l = listener(128);
	pid_t workers[WORKERS];
	int ok = 0;
	char b[8];

	fflush(stdout);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		if (workers[i] == 0)
			serve_forever(l);
	}
	for (int i = 0; i < CONNECTIONS; i++) {
		int c = tcp(0);

		if (dial(c, OWN, port_of(l)) == 0 && read(c, b, sizeof(b)) == 1 &&
		    read(c, b, sizeof(b)) == 0)
			ok++;
		close(c);
	}
	for (int i = 0; i < WORKERS; i++)
		kill(workers[i], SIGKILL);
	say("%d ok", ok);
}

static size_t read_all(int fd, size_t len)
{
	char b[4096];
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, b, sizeof(b));

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

static void t35(void)
{
	struct pair p = connected();
	FILE *f = tmpfile();
	char b[10000];
	int pipes[2];
	off_t at = 0;

	memset(b, 'z', sizeof(b));
	fwrite(b, 1, sizeof(b), f);
	fflush(f);
	say("sendfile %s", num(sendfile(p.c, fileno(f), &at, sizeof(b))));
	say("read %zu", read_all(p.s, sizeof(b)));
	if (pipe(pipes) != 0 || write(pipes[1], b, 5000) != 5000)
		return;
	say("splice out %s", num(splice(pipes[0], NULL, p.c, NULL, 5000, 0)));
	settled(p.s, POLLIN);
	nap(20);
	say("splice in %s", num(splice(p.s, NULL, pipes[1], NULL, 5000, 0)));
	say("read %zu", read_all(pipes[0], 5000));
}

#define BULK (8U << 20)

static unsigned char pattern(size_t at, unsigned seed)
{
	return (unsigned char)((at * 2654435761U + seed) >> 13);
}

/** exchange() - Send and check @BULK bytes at once on a non-blocking socket; bad bytes */
static size_t exchange(int fd, unsigned mine, unsigned theirs)
{
	static unsigned char out[70001], in[70001];
	size_t sent = 0, got = 0, bad = 0, step = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (sent < BULK || got < BULK) {
		struct pollfd p = {.fd = fd};

		p.events = (short)((sent < BULK ? POLLOUT : 0) | (got < BULK ? POLLIN : 0));
		if (poll(&p, 1, 10000) <= 0)
			return BULK;
		if ((p.revents & POLLOUT) != 0) {
			size_t n = step = step * 7 % 69997 + 1;

			if (n > BULK - sent)
				n = BULK - sent;
			for (size_t i = 0; i < n; i++)
				out[i] = pattern(sent + i, mine);
			ssize_t w = write(fd, out, n);
			if (w > 0)
				sent += (size_t)w;
		}
		if ((p.revents & POLLIN) != 0) {
			ssize_t r = read(fd, in, sizeof(in));

			if (r == 0 || (r < 0 && errno != EAGAIN))
				return BULK;
			for (ssize_t i = 0; i < r; i++)
				bad += in[i] != pattern(got + (size_t)i, theirs);
			if (r > 0)
				got += (size_t)r;
		}
	}
	return bad;
}

static void t36(void)
{
	struct pair p = connected();
	int status = 0;

	fflush(stdout);
	if (fork() == 0)
		_exit(exchange(p.s, 2, 1) == 0 ? 0 : 1);
	say("client bad %zu", exchange(p.c, 1, 2));
	wait(&status);
	say("server status %d", status);
}

static void t37(void)
{
	int status = 0;

	fflush(stdout);
	if (fork() == 0) {
		struct pair p = connected();
		char b[8];

		close(p.s);
		settled(p.c, POLLRDHUP);
		for (int i = 0; i < 10; i++) {
			b[0] = 'x';
			if (write(p.c, b, 1) < 0)
				_exit(2);
			nap(20);
		}
		_exit(3);
	}
	wait(&status);
	say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	fflush(stdout);
	if (fork() == 0)
		_exit(write(tcp(0), "x", 1) == 1);
	wait(&status);
	say("fresh killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void t38(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = tcp(0);
	char b[8];

	say("peer %s", err(getpeername(fd, (void *)&a, &len)));
	say("shutdown %s", err(shutdown(fd, SHUT_WR)));
	say("recv %s", num(recv(fd, b, 1, 0)));
	say("send %s", num(tell(fd, "x")));
	say("accept %s", err(accept(fd, NULL, NULL)));
	say("how %s", err(shutdown(fd, 7)));
	len = sizeof(a);
	say("name %s", err(getsockname(fd, (void *)&a, &len)));
	say("is %s %d", inet_ntoa(a.sin_addr), a.sin_port);
}

static void t39(void)
{
	int fd = tcp(0);
	int v = 1;

	say("listen(999) %s", err(listen(999, 1)));
	say("option %s", err(setsockopt(fd, IPPROTO_TCP, 9999, &v, sizeof(v))));
	say("short %s", err(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, 1)));
	say("bind(999) %s", err(bind(999, (void *)&v, sizeof(v))));
	say("connect(999) %s", err(dial(999, OWN, 1)));
	say("sctp %s", err(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)));
	say("type %s", err(socket(AF_INET, SOCK_STREAM | 0x40000000, 0)));
}

static void t40(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int l = listener(8);

	say("peer %s", err(getpeername(l, (void *)&a, &len)));
	say("connect %s", err(dial(l, OWN, 9)));
	say("again %s", err(listen(l, 16)));
	say("shutdown %s", err(shutdown(l, SHUT_RD)));
	say("accept %s", err(accept(l, NULL, NULL)));
}

/* T41: threads, forks and a signal that makes control calls, all at once */

static atomic_int stress_errors;
static int stress_port;
static int stress_named;

static void on_tick(int s)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int saved = errno;

	(void)s;
	getpeername(stress_named, (void *)&a, &len);
	errno = saved;
}

static int stress_one(void)
{
	char b[8];
	int c = socket(AF_INET, SOCK_STREAM, 0);
	int r;

	do
		r = dial(c, OWN, stress_port);
	while (r < 0 && (errno == EINTR || errno == EALREADY));
	if (r < 0 && errno != EISCONN) {
		close(c);
		return 1;
	}
	do
		r = (int)read(c, b, 1);
	while (r < 0 && errno == EINTR);
	close(c);
	return r != 1;
}

static void *stress_thread(void *n)
{
	for (int i = 0; i < *(int *)n; i++)
		atomic_fetch_add(&stress_errors, stress_one());
	return NULL;
}

static int stress_threads(int per_thread)
{
	struct sigaction sa = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	struct itimerval t = {{0, 2000}, {0, 2000}};
	pthread_t threads[6];

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, stress_thread, &per_thread);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	memset(&t, 0, sizeof(t));
	setitimer(ITIMER_REAL, &t, NULL);
	return atomic_load(&stress_errors);
}

static void t41(void)
{
	struct pair p = connected();
	int l = listener(512);
	pid_t server;
	int status, errors;

	stress_named = p.c;
	stress_port = port_of(l);
	fflush(stdout);
	server = fork();
	if (server == 0)
		serve_forever(l);
	for (int i = 0; i < 3; i++) {
		if (fork() == 0)
			_exit(stress_threads(20) != 0);
	}
	errors = stress_threads(20);
	for (int i = 0; i < 3; i++) {
		while (wait(&status) < 0 && errno == EINTR)
			;
		errors += status != 0;
	}
	kill(server, SIGKILL);
	say("errors %d", errors);
}

/* -------------------------------------------- beyond the table: X cases */

static void x_dual_stack(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	struct sockaddr_in6 n;
	socklen_t len = sizeof(a);
	char text[64];
	int l = socket(AF_INET6, SOCK_STREAM, 0);
	int c = tcp(0);
	int s;

	say("bind %s", err(bind(l, (void *)&a, sizeof(a))));
	say("listen %s", err(listen(l, 8)));
	getsockname(l, (void *)&a, &len);
	say("name %s", inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof(text)));
	say("connect %s", err(dial(c, OWN, ntohs(a.sin6_port))));
	len = sizeof(n);
	s = accept(l, (void *)&n, &len);
	say("peer %s len %u", inet_ntop(AF_INET6, &n.sin6_addr, text, sizeof(text)), len);
	len = sizeof(n);
	getsockname(s, (void *)&n, &len);
	say("local %s", inet_ntop(AF_INET6, &n.sin6_addr, text, sizeof(text)));
	inet_pton(AF_INET6, "::ffff:" OWN, &n.sin6_addr);
	n.sin6_port = a.sin6_port;
	c = socket(AF_INET6, SOCK_STREAM, 0);
	say("mapped %s", err(connect(c, (void *)&n, sizeof(n))));
	len = sizeof(n);
	getpeername(c, (void *)&n, &len);
	say("its peer %s", inet_ntop(AF_INET6, &n.sin6_addr, text, sizeof(text)));
	say("domain %d", int_option(c, SOL_SOCKET, SO_DOMAIN));
	say("v4 conflict %s",
	    (c = tcp(0),
	     err(bind(c,
		      (void *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = a.sin6_port},
		      sizeof(struct sockaddr_in)))));
}

static void x_v6only(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	socklen_t len = sizeof(a);
	int on = 1;
	int l = socket(AF_INET6, SOCK_STREAM, 0);
	int f = tcp(0);
	int c = tcp(0);
	struct sockaddr_in b = to("0.0.0.0", 0);

	say("default %d", int_option(l, IPPROTO_IPV6, IPV6_V6ONLY));
	say("set %s", err(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))));
	say("get %d", int_option(l, IPPROTO_IPV6, IPV6_V6ONLY));
	bind(l, (void *)&a, sizeof(a));
	say("after bind %s", err(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))));
	listen(l, 8);
	getsockname(l, (void *)&a, &len);
	say("v4 connect %s", err(dial(c, OWN, ntohs(a.sin6_port))));
	b.sin_port = a.sin6_port;
	say("v4 bind %s", err(bind(f, (void *)&b, sizeof(b))));
}

static void x_reuseport(void)
{
	struct sockaddr_in a = to(OWN, 0);
	int on = 1;
	int first = tcp(0), second = tcp(0);
	int hits[2] = {0, 0};

	setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	say("bind %s", err(bind(first, (void *)&a, sizeof(a))));
	a.sin_port = htons((uint16_t)port_of(first));
	say("bind %s", err(bind(second, (void *)&a, sizeof(a))));
	say("listen %s", err(listen(first, 64)));
	say("listen %s", err(listen(second, 64)));
	fcntl(first, F_SETFL, O_NONBLOCK);
	fcntl(second, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 64; i++) {
		int c = tcp(0);
		struct pollfd p[2] = {{.fd = first, .events = POLLIN},
				      {.fd = second, .events = POLLIN}};

		dial(c, OWN, ntohs(a.sin_port));
		poll(p, 2, 2000);
		for (int k = 0; k < 2; k++) {
			int s = accept(p[k].fd, NULL, NULL);

			if (s >= 0)
				hits[k]++, close(s);
		}
		close(c);
	}
	say("both used %d all %d", hits[0] > 4 && hits[1] > 4, hits[0] + hits[1]);
	int third = tcp(0);
	say("without %s", err(bind(third, (void *)&a, sizeof(a))));
}

static void x_restart(void)
{
	int l = listener(8);
	int c = tcp(0);
	int status;

	on_alarm(50, SA_RESTART);
	fflush(stdout);
	if (fork() == 0) {
		nap(200);
		_exit(dial(c, OWN, port_of(l)) != 0);
	}
	say("accept %s", accept(l, NULL, NULL) >= 0 ? "ok" : err(-1));
	wait(&status);
	say("status %d", status);
}

static void x_waitall(void)
{
	struct pair p = connected();
	char b[8];

	fflush(stdout);
	if (fork() == 0) {
		tell(p.c, "abc");
		nap(50);
		tell(p.c, "defg");
		_exit(0);
	}
	say("waitall %s", num(recv(p.s, b, 7, MSG_WAITALL)));
	wait(NULL);
}

static void x_vfork(void)
{
	struct pair p = connected();
	char text[16];
	int status = 0;
	pid_t pid;

	tell(p.c, "vfork");
	snprintf(text, sizeof(text), "%d", p.s);
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execl(self_path, self_path, "--described", text, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	say("status %d", status);
	say("still %s", err(dial(tcp(0), OWN, port_of(p.l))));
}

static void x_close_range(void)
{
	int l = listener(8);
	int port = port_of(l);
	int c;

	say("range %s", err(close_range(3, ~0U, 0)));
	l = listener(8);
	c = tcp(0);
	say("connect %s", err(dial(c, OWN, port_of(l))));
	say("closed port %s", err(dial(tcp(0), OWN, port)));
}

static void x_drop_user(void)
{
	struct pair p = connected();
	int c;

	if (geteuid() != 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
		say("skipped");
		return;
	}
	c = tcp(0);
	say("connect %s", err(dial(c, OWN, port_of(p.l))));
	say("accept %s", accept(p.l, NULL, NULL) >= 0 ? "ok" : err(-1));
}

static void x_chroot(void)
{
	struct pair p = connected();
	char empty[] = "/tmp/probe-XXXXXX";
	int c;

	if (geteuid() != 0 || mkdtemp(empty) == NULL || chroot(empty) != 0 || chdir("/") != 0 ||
	    setgid(65534) != 0 || setuid(65534) != 0) {
		say("skipped");
		return;
	}
	c = tcp(0);
	say("connect %s", err(dial(c, OWN, port_of(p.l))));
	say("accept %s", accept(p.l, NULL, NULL) >= 0 ? "ok" : err(-1));
}

static void x_emfile(void)
{
	int l = listener(8);
	int c = tcp(0);
	struct rlimit limit = {64, 64};
	int spare[64];
	int n = 0, s;
	char b[8];

	setrlimit(RLIMIT_NOFILE, &limit);
	dial(c, OWN, port_of(l));
	tell(c, "kept");
	settled(l, POLLIN);
	while (n < 64 && (spare[n] = dup(0)) >= 0)
		n++;
	say("accept %s", err(accept(l, NULL, NULL)));
	for (int i = 0; i < n; i++)
		close(spare[i]);
	settled(l, POLLIN);
	s = accept(l, NULL, NULL);
	say("later %s", num(read(s, b, sizeof(b))));
}

static void option_line(const char *name, int level, int option, int value)
{
	int fd = tcp(0);
	int before = int_option(fd, level, option);
	int r = setsockopt(fd, level, option, &value, sizeof(value));
	const char *how = err(r);

	say("%s before %d set %s after %d", name, before, how, int_option(fd, level, option));
}

static void x_options(void)
{
	struct linger on = {1, 5}, got = {0, 0};
	socklen_t len = sizeof(got);
	char text[64];
	int fd = tcp(0);

	option_line("nodelay", IPPROTO_TCP, TCP_NODELAY, 1);
	option_line("cork", IPPROTO_TCP, TCP_CORK, 5);
	option_line("keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 30);
	option_line("keepidle 0", IPPROTO_TCP, TCP_KEEPIDLE, 0);
	option_line("keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 3);
	option_line("keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 4);
	option_line("user timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, 1000);
	option_line("keepalive", SOL_SOCKET, SO_KEEPALIVE, 1);
	option_line("reuseaddr", SOL_SOCKET, SO_REUSEADDR, 1);
	option_line("reuseport", SOL_SOCKET, SO_REUSEPORT, 1);
	option_line("oobinline", SOL_SOCKET, SO_OOBINLINE, 1);
	option_line("tos", IPPROTO_IP, IP_TOS, 16);
	option_line("ttl", IPPROTO_IP, IP_TTL, 7);
	option_line("ttl 300", IPPROTO_IP, IP_TTL, 300);
	option_line("type", SOL_SOCKET, SO_TYPE, 1);
	option_line("error", SOL_SOCKET, SO_ERROR, 1);
	option_line("v6only on v4", IPPROTO_IPV6, IPV6_V6ONLY, 1);
	say("linger %s", err(setsockopt(fd, SOL_SOCKET, SO_LINGER, &on, sizeof(on))));
	getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len);
	say("linger is %d %d len %u", got.l_onoff, got.l_linger, len);
	len = sizeof(text);
	say("ip options %s", err(getsockopt(fd, IPPROTO_IP, IP_OPTIONS, text, &len)));
	say("len %u", len);
	len = sizeof(text);
	say("device %s", err(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, &len)));
	say("len %u", len);
	len = 2;
	say("short get %s", err(getsockopt(fd, SOL_SOCKET, SO_TYPE, text, &len)));
	say("len %u", len);
}

static void x_disconnect(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct pair p = connected();
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	say("disconnect %s", err(connect(p.c, &none, sizeof(none))));
	say("peer %s", err(getpeername(p.c, (void *)&a, &len)));
	say("connect %s", err(dial(p.c, OWN, port_of(p.l))));
	say("peer saw %s", bits(settled(p.s, POLLHUP)));
}

static void x_reconnect(void)
{
	struct linger on = {1, 0};
	struct pair p = connected();
	char b[8];

	setsockopt(p.s, SOL_SOCKET, SO_LINGER, &on, sizeof(on));
	close(p.s);
	settled(p.c, POLLHUP);
	say("after reset %s", err(dial(p.c, OWN, port_of(p.l))));
	say("again %s", err(dial(p.c, OWN, port_of(p.l))));
	say("read %s", num(read(p.c, b, sizeof(b))));
	p = connected();
	close(p.s);
	settled(p.c, POLLRDHUP);
	shutdown(p.c, SHUT_RDWR);
	settled(p.c, POLLHUP);
	say("after both ends %s", err(dial(p.c, OWN, port_of(p.l))));
}

static void x_syscall(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	struct pair p = connected();
	char b[8];
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	a = to(OWN, port_of(p.l));
	say("connect %s", err(syscall(SYS_connect, fd, &a, sizeof(a))));
	say("peer %s", err(syscall(SYS_getpeername, fd, &a, &len)));
	say("family %d", a.sin_family);
	say("write %s", num(syscall(SYS_write, fd, "raw", 3)));
	int s = accept(p.l, NULL, NULL);
	say("read %s", num(read(s, b, sizeof(b))));
}

static void x_half_close_order(void)
{
	struct pair p = connected();
	char *big = calloc(1, 1 << 20);
	size_t got;
	int status = -1;

	fflush(stdout);
	if (fork() == 0) {
		got = read_all(p.s, 1 << 20);
		tell(p.s, "done");
		_exit(got == 1 << 20 ? 0 : 1);
	}
	close(p.s);
	size_t sent = 0;
	while (sent < 1 << 20) {
		ssize_t n = write(p.c, big + sent, (1 << 20) - sent);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	shutdown(p.c, SHUT_WR);
	say("sent %zu", sent);
	char b[8];
	say("reply %s", num(recv(p.c, b, sizeof(b), 0)));
	say("end %s", num(recv(p.c, b, sizeof(b), 0)));
	wait(&status);
	say("server status %d", status);
}

static void x_close_after_write(void)
{
	struct pair p = connected();
	char *big = calloc(1, 300000);
	size_t sent = 0;

	fflush(stdout);
	if (fork() == 0) {
		close(p.c);
		nap(200);
		say("server got %zu", read_all(p.s, 1 << 20));
		_exit(0);
	}
	close(p.s);
	while (sent < 300000) {
		ssize_t n = write(p.c, big + sent, 300000 - sent);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	close(p.c);
	wait(NULL);
}

static void x_listen_close(void)
{
	int l = listener(8);
	int c = tcp(0);
	char b[8];

	dial(c, OWN, port_of(l));
	tell(c, "go");
	int s = accept(l, NULL, NULL);
	close(l);
	say("read %s", num(read(s, b, sizeof(b))));
	say("write %s", num(tell(s, "back")));
	say("reply %s", num(read(c, b, sizeof(b))));
}

#define DIALLED 10

static int count_connected(const int *fds)
{
	int n = 0;

	for (int i = 0; i < DIALLED; i++)
		n += (mask_now(fds[i]) & POLLOUT) != 0;
	return n;
}

static void x_backlog(void)
{
	int l = listener(2);
	int c[DIALLED];
	int first;

	for (int i = 0; i < DIALLED; i++) {
		c[i] = tcp(SOCK_NONBLOCK);
		dial(c[i], OWN, port_of(l));
	}
	nap(300);
	first = count_connected(c);
	say("beyond the backlog connects stay pending %d", first >= 2 && first <= 4);
	for (int i = 0; i < first; i++)
		accept(l, NULL, NULL);
	for (int ms = 0; ms < 5000 && count_connected(c) <= first; ms += 10)
		nap(10);
	say("after accept more connect %d", count_connected(c) > first);
}

static void x_defer(void)
{
	int l = listener(8);
	int c = tcp(0);
	int seconds = 5;
	struct pollfd p = {.fd = l, .events = POLLIN};
	char b[8];

	setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
	dial(c, OWN, port_of(l));
	say("silent %d", poll(&p, 1, 200));
	tell(c, "data");
	say("spoken %d", poll(&p, 1, 3000));
	int s = accept(l, NULL, NULL);
	say("read %s", num(read(s, b, sizeof(b))));
}

/* -------------------------------------------------------------------- main */

static const struct probe_case cases[] = {
	{"T1", t1},
	{"T2", t2},
	{"T3", t3},
	{"T4", t4},
	{"T5", t5},
	{"T6", t6},
	{"T7", t7},
	{"T8", t8},
	{"T9", t9},
	{"T10", t10},
	{"T11", t11},
	{"T12", t12},
	{"T13", t13},
	{"T14", t14},
	{"T15", t15},
	{"T16", t16},
	{"T17", t17},
	{"T18", t18},
	{"T19", t19},
	{"T23", t23},
	{"T24", t24},
	{"T25", t25},
	{"T26", t26},
	{"T27", t27},
	{"T28", t28},
	{"T29", t29},
	{"T30", t30},
	{"T31", t31},
	{"T32", t32},
	{"T33", t33},
	{"T34", t34},
	{"T35", t35},
	{"T36", t36},
	{"T37", t37},
	{"T38", t38},
	{"T39", t39},
	{"T40", t40},
	{"T41", t41},
	{"X-dual-stack", x_dual_stack},
	{"X-v6only", x_v6only},
	{"X-reuseport", x_reuseport},
	{"X-restart", x_restart},
	{"X-waitall", x_waitall},
	{"X-vfork", x_vfork},
	{"X-close-range", x_close_range},
	{"X-drop-user", x_drop_user},
	{"X-chroot", x_chroot},
	{"X-emfile", x_emfile},
	{"X-options", x_options},
	{"X-disconnect", x_disconnect},
	{"X-reconnect", x_reconnect},
	{"X-syscall", x_syscall},
	{"X-half-close", x_half_close_order},
	{"X-close-after-write", x_close_after_write},
	{"X-listen-close", x_listen_close},
	{"X-backlog", x_backlog},
	{"X-defer", x_defer},
};

int main(int argc, char **argv)
{
	self_path = "/proc/self/exe";
	if (argc == 3 && strcmp(argv[1], "--described") == 0) {
		probe_current = "exec";
		describe("after exec", atoi(argv[2]));
		return 0;
	}
	return probe_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
