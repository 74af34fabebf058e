/**
 * tcp_wait.c - Waiting on TCP sockets, and who else has them: T19 to T33 of the table
 *
 * usage: tcp_wait [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <sys/epoll.h>
#include <sys/select.h>

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
		execl(SELF, SELF, "--described", text, (char *)NULL);
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

static const struct probe_case cases[] = {
	{"T19", t19}, {"T23", t23}, {"T24", t24}, {"T25", t25}, {"T26", t26}, {"T27", t27},
	{"T28", t28}, {"T29", t29}, {"T30", t30}, {"T31", t31}, {"T32", t32}, {"T33", t33},
};

TCP_MAIN(cases)
