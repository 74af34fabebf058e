/**
 * effects.c - Options of TCP by what they do, epoll's ways to wake, and many connections at once
 *
 * usage: effects [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <grp.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <time.h>

/* Linux sends what TCP_CORK holds after 200 ms: a slower look shows nothing, and is repeated. */
#define CORK_LOOK_MS  100
#define CORK_SLACK_MS 60
#define TRIES	      6
#define MANY_TRIES    50

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say_keep(const char *what, int fd)
{
	say("%s: on %d idle %d interval %d count %d", what,
	    int_option(fd, SOL_SOCKET, SO_KEEPALIVE), int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE),
	    int_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), int_option(fd, IPPROTO_TCP, TCP_KEEPCNT));
}

static void keep(int fd, int idle, int interval, int count)
{
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	say("idle %s", err(set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle)));
	say("interval %s", err(set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval)));
	say("count %s", err(set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, count)));
}

/** f_keep() - Values and who inherits them; a peer that lives answers, and loses nothing by it */
static void f_keep(void)
{
	struct pair p = {.l = listener(8), .c = tcp(0)};
	char b[8];

	say_keep("preset", p.l);
	keep(p.l, 0, 0, 0);
	keep(p.l, 32768, 32768, 128);
	keep(p.l, 1, 1, 1);
	say_keep("listener", p.l);
	join(&p);
	say_keep("accepted", p.s);
	say_keep("client", p.c);
	/* Probes are sent meanwhile; once is enough. */
	if (probe_family == AF_INET)
		nap(2500);
	say("idle for longer: %s %s", bits(mask_now(p.s)), bits(mask_now(p.c)));
	say("send %s", num(tell(p.c, "alive")));
	say("receive %s", num(recv(p.s, b, 5, MSG_WAITALL)));
}

/** corked() - A pair whose client has just written @text behind TCP_CORK; when it began */
static struct pair corked(const char *text, long *began)
{
	struct pair p = connected();

	set_option(p.c, IPPROTO_TCP, TCP_CORK, 1);
	*began = now_ms();
	tell(p.c, text);
	return p;
}

static void end(struct pair p)
{
	close(p.c), close(p.s), close(p.l);
}

/**
 * pushed() - Whether what is held arrives early once @name has @value; 2 when it was never held
 *
 * One early arrival decides; a slow machine may miss some.
 */
static int pushed(int name, int value)
{
	for (int i = 0; i < TRIES; i++) {
		long began, until;
		struct pair p = corked("held", &began);
		int before, after;

		nap(10);
		before = mask_now(p.s) & POLLIN;
		if (name != 0)
			set_option(p.c, IPPROTO_TCP, name, value);
		until = began + CORK_LOOK_MS;
		while ((after = mask_now(p.s) & POLLIN) == 0 && now_ms() < until)
			nap(1);
		end(p);
		if (after != 0 && now_ms() < until + CORK_SLACK_MS)
			return before != 0 ? 2 : 1;
	}
	return 0;
}

/** f_cork() - TCP_CORK holds less than a segment until it is cleared; TCP_NODELAY pushes once */
static void f_cork(void)
{
	struct pair p = connected();
	char b[64];
	ssize_t n;

	say("alone %d", pushed(0, 0));
	say("cleared %d", pushed(TCP_CORK, 0));
	say("nodelay %d", pushed(TCP_NODELAY, 1));
	say("nodelay off %d", pushed(TCP_NODELAY, 0));
	set_option(p.c, IPPROTO_TCP, TCP_CORK, 1);
	tell(p.c, "one");
	tell(p.c, "two");
	shutdown(p.c, SHUT_WR);
	n = recv(p.s, b, sizeof(b), MSG_WAITALL);
	say("held before the end %s %.6s", num(n), b);
	p = connected();
	set_option(p.c, IPPROTO_TCP, TCP_CORK, 1);
	tell(p.c, "last");
	close(p.c);
	say("held before close %s", num(recv(p.s, b, sizeof(b), MSG_WAITALL)));
}

/** f_whole() - Many small writes behind TCP_CORK, cleared in time, are one read */
static void f_whole(void)
{
	for (int i = 0; i < MANY_TRIES; i++) {
		char b[64];
		long began;
		struct pair p = corked("0", &began);
		ssize_t n;

		for (int k = 1; k < 10; k++)
			send(p.c, &"0123456789"[k], 1, MSG_NOSIGNAL);
		set_option(p.c, IPPROTO_TCP, TCP_CORK, 0);
		arrives(p.s);
		n = recv(p.s, b, sizeof(b), 0);
		end(p);
		if (now_ms() - began < CORK_LOOK_MS) {
			say("read %s %.10s", num(n), b);
			return;
		}
	}
	say("never in time");
}

/** f_linger() - close() with SO_LINGER and a time gives the peer everything */
static void f_linger(void)
{
	static char big[300000];
	struct linger on = {1, 5};
	struct pair p = connected();
	int status = -1;
	char b[8];

	setsockopt(p.c, SOL_SOCKET, SO_LINGER, &on, sizeof(on));
	fflush(stdout);
	if (fork() == 0) {
		close(p.c);
		nap(50);
		_exit(read_all(p.s, sizeof(big)) == sizeof(big) && read(p.s, b, 1) == 0 ? 0 : 1);
	}
	close(p.s);
	say("send %s", num(send(p.c, big, sizeof(big), MSG_NOSIGNAL)));
	say("close %s", err(close(p.c)));
	wait(&status);
	say("all arrived, then an end: status %d", status);
}

static const char *at_most(int got, int limit)
{
	if (got <= 0)
		return "unknown";
	return got <= limit ? "at most" : "more";
}

/** f_maxseg() - TCP_MAXSEG bounds segments of both ends; Linux tells what is left beside options */
static void f_maxseg(void)
{
	struct pair p = {.l = listener(8), .c = tcp(0)};

	say("preset %d", int_option(p.c, IPPROTO_TCP, TCP_MAXSEG));
	say("small %s", err(set_option(p.c, IPPROTO_TCP, TCP_MAXSEG, 47)));
	say("large %s", err(set_option(p.c, IPPROTO_TCP, TCP_MAXSEG, 32768)));
	say("none %s", err(set_option(p.c, IPPROTO_TCP, TCP_MAXSEG, 0)));
	say("set %s", err(set_option(p.c, IPPROTO_TCP, TCP_MAXSEG, 700)));
	say("is %d", int_option(p.c, IPPROTO_TCP, TCP_MAXSEG));
	join(&p);
	say("client 700 %s", at_most(int_option(p.c, IPPROTO_TCP, TCP_MAXSEG), 700));
	say("server 700 %s", at_most(int_option(p.s, IPPROTO_TCP, TCP_MAXSEG), 700));
	say("later %s", err(set_option(p.c, IPPROTO_TCP, TCP_MAXSEG, 600)));
	p.c = tcp(0);
	set_option(p.l, IPPROTO_TCP, TCP_MAXSEG, 900);
	join(&p);
	say("listener's client 900 %s", at_most(int_option(p.c, IPPROTO_TCP, TCP_MAXSEG), 900));
	say("accepted 900 %s", at_most(int_option(p.s, IPPROTO_TCP, TCP_MAXSEG), 900));
}

/** f_lowat() - SO_RCVLOWAT: how much there must be before poll() and recv() say so */
static void f_lowat(void)
{
	struct pair p = connected();
	char b[16];

	set_option(p.s, SOL_SOCKET, SO_RCVLOWAT, 5);
	tell(p.c, "abc");
	for (int ms = 0; ms < SETTLE_MS && pending(p.s) < 3; ms++)
		nap(1);
	say("three bytes %s", bits(mask_now(p.s)));
	say("without waiting %s", num(recv(p.s, b, sizeof(b), MSG_DONTWAIT)));
	tell(p.c, "defgh");
	say("five bytes %s", bits(settled(p.s, POLLIN)));
	say("receive %s", num(recv(p.s, b, sizeof(b), 0)));
	say("negative %s", err(set_option(p.s, SOL_SOCKET, SO_RCVLOWAT, -1)));
	say("is %d", int_option(p.s, SOL_SOCKET, SO_RCVLOWAT) > 1 << 20);
	say("none %s", err(set_option(p.s, SOL_SOCKET, SO_RCVLOWAT, 0)));
	say("is %d", int_option(p.s, SOL_SOCKET, SO_RCVLOWAT));
	set_option(p.s, SOL_SOCKET, SO_RCVLOWAT, 5);
	tell(p.c, "ij");
	shutdown(p.c, SHUT_WR);
	say("end %s", bits(settled(p.s, POLLRDHUP)));
	say("receive %s", num(recv(p.s, b, sizeof(b), 0)));
}

/** f_waitall() - MSG_WAITALL ends early by a signal, a time limit, and the peer's end */
static void f_waitall(void)
{
	struct pair p = connected();
	char b[16];

	on_alarm(100, 0);
	say("signal, nothing %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	tell(p.c, "abc");
	arrives(p.s);
	on_alarm(100, 0);
	say("signal, a part %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	tell(p.c, "abcd");
	arrives(p.s);
	on_alarm(100, SA_RESTART);
	say("restart, a part %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	time_limit(p.s, SO_RCVTIMEO, 100);
	say("limit, nothing %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	tell(p.c, "ab");
	arrives(p.s);
	say("limit, a part %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	time_limit(p.s, SO_RCVTIMEO, 0);
	tell(p.c, "abcde");
	arrives(p.s);
	say("not waiting %s", num(recv(p.s, b, 8, MSG_WAITALL | MSG_DONTWAIT)));
	tell(p.c, "abcdef");
	shutdown(p.c, SHUT_WR);
	say("end, a part %s", num(recv(p.s, b, 8, MSG_WAITALL)));
	say("end %s", num(recv(p.s, b, 8, MSG_WAITALL)));
}

static int waits(int ep)
{
	struct epoll_event e;

	return epoll_wait(ep, &e, 1, 50);
}

/** f_oneshot() - EPOLLONESHOT tells once, until it is armed again */
static void f_oneshot(void)
{
	struct pair p = connected();
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
	int ep = epoll_create1(0);
	char b[8];

	epoll_ctl(ep, EPOLL_CTL_ADD, p.s, &e);
	say("nothing %d", waits(ep));
	tell(p.c, "a");
	arrives(p.s);
	say("first %d", waits(ep));
	say("second %d", waits(ep));
	tell(p.c, "b");
	say("more %d", waits(ep));
	say("arm %s", err(epoll_ctl(ep, EPOLL_CTL_MOD, p.s, &e)));
	say("told %d", waits(ep));
	for (int i = 0; i < SETTLE_MS && pending(p.s) < 2; i++)
		nap(1);
	say("waiting %d", pending(p.s));
	recv(p.s, b, sizeof(b), 0);
	epoll_ctl(ep, EPOLL_CTL_MOD, p.s, &e);
	say("armed without data %d", waits(ep));
	close(p.c);
	settled(p.s, POLLRDHUP);
	say("end %d", waits(ep));
}

#define ACCEPTORS   4
#define DIALLERS    32
#define MANY	    12
#define FEW	    4
#define SMALL_QUEUE 16

static atomic_int served, answered;
static int shared_listener;

static void serve(int s)
{
	if (send(s, "k", 1, MSG_NOSIGNAL) == 1)
		atomic_fetch_add(&served, 1);
	close(s);
}

/* Each has an epoll of its own on the one listener. */
static void *exclusive(void *unused)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	int ep = epoll_create1(0), s;

	(void)unused;
	epoll_ctl(ep, EPOLL_CTL_ADD, shared_listener, &e);
	for (;;) {
		epoll_wait(ep, &e, 1, -1);
		while ((s = accept(shared_listener, NULL, NULL)) >= 0)
			serve(s);
	}
	return NULL;
}

static void *blocking(void *unused)
{
	int s;

	(void)unused;
	while ((s = accept(shared_listener, NULL, NULL)) >= 0)
		serve(s);
	return NULL;
}

static void *dialler(void *count)
{
	char b[2];

	for (int i = 0; i < *(int *)count; i++) {
		int c = tcp(0);

		if (dial_own(c, port_of(shared_listener)) != 0)
			say("connect %s", err(-1));
		else if (read(c, b, sizeof(b)) == 1 && read(c, b, sizeof(b)) == 0)
			atomic_fetch_add(&answered, 1);
		close(c);
	}
	return NULL;
}

/** storm() - Many connect at once to a short queue that several serve: none is lost */
static void storm(int per_dialler, int flags, void *(*acceptor)(void *))
{
	pthread_t threads[DIALLERS], thread;
	int each = share(per_dialler);

	shared_listener = listener(SMALL_QUEUE);
	fcntl(shared_listener, F_SETFL, flags);
	for (int i = 0; i < ACCEPTORS; i++)
		pthread_create(&thread, NULL, acceptor, NULL);
	for (int i = 0; i < DIALLERS; i++)
		pthread_create(&threads[i], NULL, dialler, &each);
	for (int i = 0; i < DIALLERS; i++)
		pthread_join(threads[i], NULL);
	say("answered %d served %d of %d", atomic_load(&answered), atomic_load(&served),
	    DIALLERS * each);
}

static void f_exclusive(void)
{
	int l = listener(4), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};

	say("add %s", err(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e)));
	say("modify %s", err(epoll_ctl(ep, EPOLL_CTL_MOD, l, &e)));
	storm(FEW, O_NONBLOCK, exclusive);
}

static void f_storm(void)
{
	storm(MANY, 0, blocking);
}

/** f_low_port() - Ports below 1024 without privileges */
static void f_low_port(void)
{
	struct address a = own(701);
	int fd = tcp(0);

	if (geteuid() != 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
		cannot("needs root");
		return;
	}
	say("tcp %s", err(bind_to(fd, &a)));
	say("udp %s", err(bind_to(socket(probe_family, SOCK_DGRAM, 0), &a)));
}

static const struct probe_case cases[] = {
	FOUR_SIX("F-keep", f_keep),
	{"F-cork", f_cork},
	{"F-whole", f_whole},
	FOUR_SIX("F-linger", f_linger),
	FOUR_SIX("F-maxseg", f_maxseg),
	{"F-lowat", f_lowat},
	{"F-waitall", f_waitall},
	{"F-oneshot", f_oneshot},
	{"F-exclusive", f_exclusive},
	{"F-storm", f_storm},
	FOUR_SIX("F-low-port", f_low_port),
};

TCP_MAIN(cases)
