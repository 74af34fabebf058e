/**
 * limits.c - Where a virtual socket is known to differ from the kernel's, and its neighbourhood
 *
 * usage: limits [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <limits.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <time.h>

/* What would come is given this long, ms. */
#define QUIET_MS 60
/* A reader that blocks has begun to by then, ms. */
#define BEGUN_MS 500
/* Linux sends what MSG_MORE holds after 200 ms: a slower look shows nothing, and is repeated. */
#define HELD_MS 100
#define TRIES	20

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int datagram(void)
{
	int fd = socket(probe_family, SOCK_DGRAM, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

struct udp_pair {
	int server, client;
};

/** joined() - A datagram socket, and one that is connected to it */
static struct udp_pair joined(void)
{
	struct udp_pair p = {datagram(), datagram()};
	struct address a = own(0);

	bind_to(p.server, &a);
	dial_own(p.client, port_of(p.server));
	return p;
}

/** arrived() - What arrives at @fd within QUIET_MS: its length, or "nothing" */
static const char *arrived(int fd)
{
	static char b[4096];
	long until = now_ms() + QUIET_MS * slowness();
	ssize_t n;

	while ((n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		if (now_ms() >= until)
			return "nothing";
		nap(1);
	}
	return num(n);
}

/** reset() - The peer of @p's accepted socket ends the connection, with nothing unread */
static void reset(struct pair *p)
{
	struct linger now = {1, 0};

	setsockopt(p->c, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p->c);
	settled(p->s, POLLHUP);
}

/* --------------------------------------------------------- connecting again */

static int watch(int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	return ep;
}

/** say_again() - @fd, which @ep watches and @copy duplicates, is connected a second time */
static void say_again(const char *what, int fd, int ep, int copy)
{
	struct epoll_event change_to = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
	struct epoll_event e = {0};
	const char *change, *name;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int l = listener(2);
	int r = dial_own(fd, port_of(l));
	int served, n;

	/* Linux tells of the old failure once more where nobody has asked for it. */
	if (r < 0 && errno == ECONNABORTED)
		r = dial_own(fd, port_of(l));
	say("%s: connect %s", what, r < 0 && errno != EINPROGRESS ? err(r) : "begun");
	served = accept(l, NULL, NULL);
	say("%s: accept %s, poll %s", what, err(served), bits(settled(fd, POLLOUT)));
	n = epoll_wait(ep, &e, 1, 0);
	change = err(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &change_to));
	name = err(getpeername(copy, (void *)&peer, &len));
	say("%s: event %d %s, change %s; copy: peer %s, send %s", what, n, bits((short)e.events),
	    change, name, num(tell(copy, "x")));
}

static void l_again(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int fd = tcp(SOCK_NONBLOCK);
	struct epoll_event e = {0};
	int copy = dup(fd);
	int ep, n;

	dial_own(fd, closed_port());
	ep = watch(fd);
	settled(fd, POLLOUT | POLLHUP);
	n = epoll_wait(ep, &e, 1, SETTLE_MS);
	say("refused: event %d %s", n, bits((short)e.events));
	so_error(fd);
	say_again("refused", fd, ep, copy);
	fd = connected().c;
	copy = dup(fd);
	ep = watch(fd);
	say("disconnect %s", err(connect(fd, &none, sizeof(none))));
	say_again("disconnected", fd, ep, copy);
}

/* ------------------------------------------------------------------ reading */

static atomic_int returned;

/** finish_later() - The other half, once the reader has returned or must be blocked */
static void *finish_later(void *fd)
{
	for (int ms = 0; ms < BEGUN_MS * slowness() && !returned; ms++)
		nap(1);
	tell(*(int *)fd, "fghij");
	return NULL;
}

static void l_peek(void)
{
	struct pair p = connected();
	pthread_t other;
	const char *r;
	char b[10];

	tell(p.c, "abcde");
	arrives(p.s);
	pthread_create(&other, NULL, finish_later, &p.c);
	r = num(recv(p.s, b, sizeof(b), MSG_PEEK | MSG_WAITALL));
	returned = 1;
	pthread_join(other, NULL);
	say("peek all %s", r);
	say("then %zu", read_all(p.s, sizeof(b)));
}

static void l_shut(void)
{
	struct pair p = connected();
	long until = now_ms() + QUIET_MS * slowness();
	int came;

	shutdown(p.s, SHUT_RD);
	tell(p.c, "abc");
	while (pending(p.s) == 0 && now_ms() < until)
		nap(1);
	came = pending(p.s);
	say("came %d, read %zu", came, read_all(p.s, 3));
}

static void l_splice(void)
{
	struct pair p = connected();
	int pipes[2];
	char b[1];

	if (pipe(pipes) != 0)
		return;
	on_alarm(QUIET_MS, 0);
	say("without waiting %s", num(splice(p.s, NULL, pipes[1], NULL, 1, SPLICE_F_NONBLOCK)));
	on_alarm(0, 0);
	reset(&p);
	say("after a reset %s", num(splice(p.s, NULL, pipes[1], NULL, 1, 0)));
	say("read %s", num(read(p.s, b, 1)));
}

/* ------------------------------------------------------------------- events */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

static bool signalled(void)
{
	long until = now_ms() + QUIET_MS * slowness();

	while (signals == 0 && now_ms() < until)
		nap(1);
	return signals != 0;
}

static void l_signal(void)
{
	int l = listener(2);
	int fd = tcp(0);
	int served;

	signal(SIGIO, count_signal);
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
	dial_own(fd, port_of(l));
	served = accept(l, NULL, NULL);
	settled(fd, POLLOUT);
	say("connected %d", signalled());
	signals = 0;
	tell(served, "x");
	say("data %d", signalled());
}

static void l_poll(void)
{
	struct address a = own(0);
	int fd = tcp(0);

	say("fresh %s", bits(mask_now(fd)));
	bind_to(fd, &a);
	say("bound %s", bits(mask_now(fd)));
	fd = tcp(0);
	say("connect %s", err(dial_own(fd, closed_port())));
	say("failed %s", bits(settled(fd, POLLOUT)));
}

/** l_late() - The peer ended its direction, and closes later with something unread */
static void l_late(void)
{
	struct pair p = connected();

	tell(p.s, "q");
	arrives(p.c);
	shutdown(p.c, SHUT_WR);
	settled(p.s, POLLRDHUP);
	close(p.c);
	say("poll %s", bits(mask_now(p.s)));
	say("write %s", num(tell(p.s, "x")));
	say("then %s", bits(settled(p.s, POLLHUP)));
	say("write %s", num(tell(p.s, "x")));
}

/** l_more() - What a sender announces more of is held for that; a slow look is repeated */
static void l_more(void)
{
	for (int i = 0; i < TRIES; i++) {
		struct pair p = connected();
		long began = now_ms();
		const char *first;

		send(p.c, "a", 1, MSG_MORE);
		first = arrived(p.s);
		if (now_ms() - began < HELD_MS * slowness()) {
			say("alone %s", first);
			return;
		}
		close(p.c), close(p.s), close(p.l);
	}
	say("never in time");
}

/* --------------------------------------------------------- descriptors, lists */

/** no_descriptors() - From here on none can be made */
static void no_descriptors(void)
{
	struct rlimit few;

	getrlimit(RLIMIT_NOFILE, &few);
	few.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &few);
}

/** full() - Sockets that were made, and not yet used, when the last descriptor was taken */
static void full(int port)
{
	struct address a = own(0);
	int one = 1;
	int first = tcp(0);
	int second = tcp(0);
	int udp = datagram();
	const char *option, *bound, *listens, *name;

	no_descriptors();
	say("dup %s", err(dup(first)));
	option = err(setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	bound = err(bind_to(first, &a));
	listens = err(listen(first, 2));
	name = err(getsockname(first, &a.sa, &a.len));
	say("option %s, bind %s, listen %s, name %s", option, bound, listens, name);
	name = err(dial_own(second, port));
	say("connect %s, udp %s", name, err(dial_own(udp, port)));
}

/** l_full() - In a process that has not talked to the service yet */
static void l_full(void)
{
	int port = port_of(listener(2));
	int status;
	pid_t child = fork();

	if (child == 0) {
		full(port);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
}

/** fill_list() - @count buffers of one byte each, but for the last two, of four and ten */
static void fill_list(struct iovec *v, int count, char *bytes)
{
	for (int i = 0; i < count; i++)
		v[i] = (struct iovec){bytes + i, 1};
	v[count - 2].iov_len = 4;
	v[count - 1] = (struct iovec){bytes + count + 2, 10};
}

static void say_long(const char *what, int from, int to, int count)
{
	static char out[IOV_MAX + 16], in[IOV_MAX + 16];
	static struct iovec v[IOV_MAX + 1];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)count};

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)('a' + i % 26);
	memset(in, 0, sizeof(in));
	fill_list(v, count, out);
	say("%s of %d: send %s", what, count, num(sendmsg(from, &m, 0)));
	fill_list(v, count, in);
	if (count > IOV_MAX) {
		say("%s of %d: receive %s", what, count, num(recvmsg(to, &m, MSG_DONTWAIT)));
		return;
	}
	arrives(to);
	say("%s of %d: peek %s", what, count, num(recvmsg(to, &m, MSG_PEEK)));
	memset(in, 0, sizeof(in));
	say("%s of %d: receive %s, flags %d, right %d", what, count, num(readv(to, v, count)),
	    m.msg_flags, memcmp(in, out, (size_t)count + 12) == 0);
}

/** l_list() - As many buffers as the kernel takes, and one more */
static void l_list(void)
{
	struct udp_pair u = joined();
	struct pair t = connected();
	char bytes[IOV_MAX];
	struct iovec v[IOV_MAX];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = IOV_MAX};

	for (int count = IOV_MAX - 1; count <= IOV_MAX + 1; count++) {
		say_long("udp", u.client, u.server, count);
		say_long("tcp", t.c, t.s, count);
	}
	for (int i = 0; i < IOV_MAX; i++)
		v[i] = (struct iovec){bytes + i, 1};
	for (int len = 1022; len <= 1025; len++) {
		memset(bytes, 0, sizeof(bytes));
		send(u.client, memset((char[1025]){0}, 'z', (size_t)len), (size_t)len, 0);
		arrives(u.server);
		say("%d bytes: receive %s, flags %d, the last two %d %d", len,
		    num(recvmsg(u.server, &m, 0)), m.msg_flags, bytes[1022], bytes[1023]);
	}
	v[1023].iov_base = (void *)64;
	say("to nowhere %s", num(writev(u.client, v, IOV_MAX)));
	v[1023].iov_len = 70000;
	say("too much %s", num(writev(u.client, v, IOV_MAX)));
	v[1023].iov_len = 0;
	say("nothing there %s", num(writev(u.client, v, IOV_MAX)));
}

/* -------------------------------------------------------------- past the hooks */

/** l_past() - Calls on a datagram socket that no hook sees */
static void l_past(void)
{
	struct udp_pair p = joined();
	char b[9] = "abc";
	struct iovec v = {b, sizeof(b)};
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int pipes[2];

	if (pipe(pipes) != 0)
		return;
	send(p.client, "abc", 3, 0);
	arrives(p.server);
	say("preadv2 %s", num(preadv2(p.server, &v, 1, -1, 0)));
	v.iov_len = 3;
	say("pwritev2 %s", num(pwritev2(p.client, &v, 1, -1, 0)));
	say("pwritev2 gave %s", arrived(p.server));
	say("sendfile %s", num(sendfile(p.client, file, NULL, 100)));
	say("sendfile gave %s", arrived(p.server));
	if (write(pipes[1], "abcdef", 6) != 6)
		return;
	say("splice %s", num(splice(pipes[0], NULL, p.client, NULL, 6, 0)));
	say("splice gave %s", arrived(p.server));
	send(p.client, "abc", 3, 0);
	arrives(p.server);
	say("splice from it %s", num(splice(p.server, NULL, pipes[1], NULL, 100, 0)));
}

/* ------------------------------------------------------- errors, control data */

static void say_refusal(const char *what, int fd)
{
	char b[16];
	union {
		struct cmsghdr head;
		char room[512];
	} control;
	struct iovec v = {b, sizeof(b)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	const char *poll, *queue, *receive;

	poll = bits(settled(fd, POLLERR));
	queue = num(recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT));
	receive = num(recv(fd, b, sizeof(b), MSG_DONTWAIT));
	say("%s: poll %s, queue %s, receive %s, again %s", what, poll, queue, receive,
	    num(recv(fd, b, sizeof(b), MSG_DONTWAIT)));
}

/** l_errors() - IP_RECVERR: what the network reported, with the datagram that it is about */
static void l_errors(void)
{
	bool four = probe_family == AF_INET;
	struct udp_pair p = joined();
	int level = four ? IPPROTO_IP : IPPROTO_IPV6;
	int name = four ? IP_RECVERR : IPV6_RECVERR;
	struct address a = own(port_of(p.server));
	int fd = datagram();

	close(p.server);
	say("set %s", err(set_option(p.client, level, name, 1)));
	set_option(fd, level, name, 1);
	send(p.client, "x", 1, 0);
	say_refusal("connected", p.client);
	sendto(fd, "x", 1, 0, &a.sa, a.len);
	say_refusal("unconnected", fd);
}

/** l_control() - Control data of a connection is not looked at, nor is the time of a datagram */
static void l_control(void)
{
	struct pair p = connected();
	struct udp_pair u = joined();
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = 3, .cmsg_level = SOL_SOCKET, .cmsg_type = 1}};
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct timeval when;

	say("too short %s", num(sendmsg(p.c, &m, 0)));
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	control.head.cmsg_type = SO_RCVBUF;
	say("unknown %s", num(sendmsg(p.c, &m, 0)));
	send(u.client, "x", 1, 0);
	say("time of %s", arrived(u.server));
	say("time %s", err(ioctl(u.server, SIOCGSTAMP_OLD, &when)));
}

static const struct probe_case cases[] = {
	FOUR_SIX("L-again", l_again),	  {"L-peek", l_peek},	  {"L-shut", l_shut},
	{"L-splice", l_splice},		  {"L-signal", l_signal}, {"L-poll", l_poll},
	FOUR_SIX("L-late", l_late),	  {"L-more", l_more},	  {"L-full", l_full},
	FOUR_SIX("L-list", l_list),	  {"L-past", l_past},	  FOUR_SIX("L-errors", l_errors),
	FOUR_SIX("L-control", l_control),
};

TCP_MAIN(cases)
