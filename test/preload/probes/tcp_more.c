/**
 * tcp_more.c - TCP beyond the conformance table: IPv6, SO_RCVLOWAT, restarted calls, limits
 *
 * usage: tcp_more [CASE...]
 */
#define _GNU_SOURCE
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static int tcp(int family)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

static int listener(int family)
{
	struct sockaddr_in a = to(OWN, 0);
	struct sockaddr_in6 a6 = to6(OWN6, 0);
	int fd = tcp(family);
	int r = family == AF_INET ? bind(fd, (void *)&a, sizeof(a))
				  : bind(fd, (void *)&a6, sizeof(a6));

	if (r != 0 || listen(fd, 8) != 0) {
		say("listener %s", err(-1));
		exit(1);
	}
	return fd;
}

static int dial(int fd, const char *ip, int port)
{
	struct sockaddr_in a = to(ip, port);

	return connect(fd, (void *)&a, sizeof(a));
}

static const char *text6(const struct sockaddr_in6 *a)
{
	static char text[INET6_ADDRSTRLEN];

	return inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
}

static void x_ipv6(void)
{
	struct sockaddr_in6 a, n = {0};
	socklen_t len = sizeof(n);
	int l = listener(AF_INET6), c = tcp(AF_INET6), s, port = port_of(l);
	char b[16];

	a = to6(OWN6, port);
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	s = accept(l, (void *)&n, &len);
	say("peer %s len %u scope %u", text6(&n), len, n.sin6_scope_id);
	len = sizeof(n);
	getsockname(c, (void *)&n, &len);
	say("local %s", text6(&n));
	len = sizeof(n);
	getpeername(c, (void *)&n, &len);
	say("remote %s port equal %d", text6(&n), ntohs(n.sin6_port) == port);
	say("send %s", num(send(c, "hello", 5, MSG_NOSIGNAL)));
	say("receive %s", num(recv(s, b, 5, MSG_WAITALL)));
	say("four does not reach it %s", err(dial(tcp(AF_INET), OWN, port)));
	close(l);
	say("refused %s", err(connect(tcp(AF_INET6), (void *)&a, sizeof(a))));
	a = to6(FOREIGN6, 9);
	say("foreign %s", err(connect(tcp(AF_INET6), (void *)&a, sizeof(a))));
	say("foreign bind %s", err(bind(tcp(AF_INET6), (void *)&a, sizeof(a))));
	a = to6("::1", 0);
	l = tcp(AF_INET6);
	say("loopback bind %s", err(bind(l, (void *)&a, sizeof(a))));
	listen(l, 4);
	a = to6("::1", port_of(l));
	say("loopback connect %s", err(connect(tcp(AF_INET6), (void *)&a, sizeof(a))));
	say("short %s", err(connect(tcp(AF_INET6), (void *)&a, 20)));
	a.sin6_family = AF_INET;
	say("family %s", err(connect(tcp(AF_INET6), (void *)&a, sizeof(a))));
}

struct pair {
	int c, s;
};

static struct pair connected(void)
{
	struct pair p = {tcp(AF_INET), -1};
	int l = listener(AF_INET);

	dial(p.c, OWN, port_of(l));
	p.s = accept(l, NULL, NULL);
	close(l);
	return p;
}

static void x_rcvlowat(void)
{
	struct pair p = connected();
	char b[16];

	say("set %s", err(set_option(p.s, SOL_SOCKET, SO_RCVLOWAT, 5)));
	say("get %d", int_option(p.s, SOL_SOCKET, SO_RCVLOWAT));
	fflush(stdout);
	if (fork() == 0) {
		send(p.c, "abc", 3, MSG_NOSIGNAL);
		nap(60);
		/* Linux counts from what recv() has already taken: as many as the mark again. */
		send(p.c, "defghi", 6, MSG_NOSIGNAL);
		_exit(0);
	}
	say("receive %d", recv(p.s, b, sizeof(b), 0) >= 5);
	wait(NULL);
}

static long elapsed_ms(const struct timeval *since)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_usec - since->tv_usec) / 1000;
}

static void on_first(int s)
{
	(void)s;
	/* The second alarm is one that interrupts. */
	on_alarm(150, 0);
}

static void x_restart_connect(void)
{
	struct sigaction sa = {.sa_handler = on_first, .sa_flags = SA_RESTART};
	struct itimerval t = {{0, 0}, {0, 50000}};
	struct timeval began;

	gettimeofday(&began, NULL);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	say("connect %s", err(dial(tcp(AF_INET), SILENT, 9)));
	say("after the second alarm %d", elapsed_ms(&began) >= 190);
}

static void x_limits(void)
{
	struct rlimit limit = {32, 32};
	int last = -1, fd;

	setrlimit(RLIMIT_NOFILE, &limit);
	while ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
		last = fd;
	say("socket %s", err(fd));
	say("datagram %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
	say("last %d", last);
	close(last);
	say("again %d", socket(AF_INET, SOCK_DGRAM, 0) == last);
}

static void *writer(void *fd)
{
	for (int i = 0; i < 500; i++)
		send(*(int *)fd, "12345678", 8, MSG_NOSIGNAL);
	return NULL;
}

static void x_threads(void)
{
	struct pair p = connected();
	pthread_t threads[4];
	char b[8];
	int whole = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, writer, &p.c);
	for (int i = 0; i < 2000; i++)
		whole += recv(p.s, b, 8, MSG_WAITALL) == 8 && memcmp(b, "12345678", 8) == 0;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("whole %d", whole);
}

static const struct probe_case cases[] = {
	{"X-ipv6", x_ipv6},
	{"X-rcvlowat", x_rcvlowat},
	{"X-restart-connect", x_restart_connect},
	{"X-limits", x_limits},
	{"X-threads", x_threads},
};

PROBE_MAIN(cases)
