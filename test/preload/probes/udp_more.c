/**
 * udp_more.c - What UDP sockets do, beyond the conformance table
 *
 * Contents: waiting and batches; who receives; shutdown and destinations; epoll, threads, passing.
 *
 * usage: udp_more [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

static void d_wait(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), status;
	char b[8];

	time_limit(s, SO_RCVTIMEO, 100);
	say("timeout %s", num(recv(s, b, sizeof(b), 0)));
	time_limit(s, SO_RCVTIMEO, 0);
	on_alarm(100, 0);
	say("signal %s", num(recv(s, b, sizeof(b), 0)));
	on_alarm(50, SA_RESTART);
	fflush(stdout);
	if (fork() == 0) {
		nap(200);
		_exit(send_to(c, "late", port_of(s)) != 4);
	}
	say("restarted %s", num(recv(s, b, sizeof(b), 0)));
	wait(&status);
	fcntl(s, F_SETFL, O_NONBLOCK);
	say("nonblocking %s", num(recv(s, b, sizeof(b), 0)));
	say("read %s", num(read(s, b, sizeof(b))));
}

static void d_mmsg(void)
{
	char text[3][16] = {"one", "two", "three"}, in[3][16];
	struct timespec limit = {0, 150000000};
	struct sockaddr_in good, bad = to(OWN, 0);
	struct mmsghdr m[3];
	struct iovec iov[3];
	int s = bound(AF_INET), c = udp(AF_INET);

	good = to(OWN, port_of(s));
	fill(m, iov, text, 3);
	say("no destination %s", num(sendmmsg(c, m, 3, 0)));
	m[0].msg_hdr.msg_name = m[2].msg_hdr.msg_name = &good;
	m[1].msg_hdr.msg_name = &bad;
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr.msg_namelen = sizeof(good);
	say("second bad %s", num(sendmmsg(c, m, 3, 0)));
	say("from the bad one %s", num(sendmmsg(c, m + 1, 2, 0)));
	say("none %s", num(sendmmsg(c, m, 0, 0)));
	say("arrived %s", got(s));
	for (int i = 0; i < 3; i++)
		iov[i] = (struct iovec){in[i], sizeof(in[i])};
	for (int i = 0; i < 3; i++)
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	send_to(c, "single", port_of(s));
	say("waitforone %s", num(recvmmsg(s, m, 3, MSG_WAITFORONE, NULL)));
	time_limit(s, SO_RCVTIMEO, 100);
	send_to(c, "again", port_of(s));
	say("timeout after one %s", num(recvmmsg(s, m, 3, 0, &limit)));
	say("timeout %s", num(recvmmsg(s, m, 3, 0, NULL)));
	say("none %s", num(recvmmsg(s, m, 0, MSG_DONTWAIT, NULL)));
	send_to(c, "x", port_of(s));
	arrives(s);
	m[0].msg_hdr.msg_name = &bad;
	m[0].msg_hdr.msg_namelen = sizeof(bad);
	say("named %s", num(recvmmsg(s, m, 1, 0, NULL)));
	say("from %s len %u", ip_of(&bad), m[0].msg_hdr.msg_namelen);
}

static void d_names(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);
	struct sockaddr_in from = {0};
	char b[16];
	struct iovec iov = {b, sizeof(b)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_namelen = 77};

	send_to(c, "x", port_of(s));
	arrives(s);
	say("no name %s", num(recvmsg(s, &m, 0)));
	say("namelen %u", m.msg_namelen);
	send_to(c, "x", port_of(s));
	arrives(s);
	m = (struct msghdr){.msg_name = &from, .msg_namelen = 3, .msg_iov = &iov, .msg_iovlen = 1};
	say("short name %s", num(recvmsg(s, &m, 0)));
	say("namelen %u port %d", m.msg_namelen, from.sin_port != 0);
	m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = 0};
	iov.iov_len = 1;
	say("send without name %s", num(sendmsg(c, &m, 0)));
	m.msg_iovlen = 0;
	from = to(OWN, port_of(s));
	m.msg_namelen = sizeof(from);
	say("no buffers %s", num(sendmsg(c, &m, 0)));
	say("empty %s", got(s));
	from.sin_family = AF_UNSPEC;
	iov = (struct iovec){"unspec", 6};
	m.msg_iovlen = 1;
	say("unspec %s", num(sendmsg(c, &m, 0)));
	say("arrives %s", got(s));
}

static void d_many_buffers(void)
{
	static char b[2000];
	static struct iovec iov[1000];
	int s = bound(AF_INET), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port_of(s));
	struct msghdr m = {
		.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = iov, .msg_iovlen = 1000};

	memset(b, 'q', sizeof(b));
	for (int i = 0; i < 1000; i++)
		iov[i] = (struct iovec){b + 2 * i, 2};
	say("send %s", num(sendmsg(c, &m, 0)));
	arrives(s);
	memset(b, 0, sizeof(b));
	say("receive %s", num(recvmsg(s, &m, 0)));
	say("whole %d", memchr(b, 0, sizeof(b)) == NULL);
	m.msg_iovlen = 1025;
	say("too many %s", num(sendmsg(c, &m, MSG_DONTWAIT)));
}

static void d_specific(void)
{
	struct sockaddr_in any = to("0.0.0.0", 0);
	int wild = udp(AF_INET), own = udp(AF_INET), peer = bound(AF_INET),
	    stranger = bound(AF_INET);
	struct sockaddr_in a;

	set_option(wild, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(own, SOL_SOCKET, SO_REUSEADDR, 1);
	say("wildcard %s", err(bind(wild, (void *)&any, sizeof(any))));
	a = to(OWN, port_of(wild));
	say("same port %s", err(bind(own, (void *)&a, sizeof(a))));
	send_to(stranger, "one", port_of(wild));
	say("specific wins %s", got(own));
	say("wildcard %s", not_got(wild));
	say("connect %s", err(dial(wild, port_of(peer))));
	send_to(peer, "two", port_of(own));
	say("connected wins %s", got(wild));
	say("specific %s", not_got(own));
	send_to(stranger, "three", port_of(own));
	say("others to specific %s", got(own));
	say("connected %s", not_got(wild));
}

/** d_iperf() - A server connects its bound socket, then binds another one to the same port */
static void d_iperf(void)
{
	struct sockaddr_in any = to("0.0.0.0", 0), from;
	socklen_t len = sizeof(from);
	int first = udp(AF_INET), second = udp(AF_INET), c = udp(AF_INET), d = udp(AF_INET);
	char b[8];

	set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
	bind(first, (void *)&any, sizeof(any));
	dial(c, port_of(first));
	send(c, "hello", 5, 0);
	arrives(first);
	recvfrom(first, b, sizeof(b), 0, (void *)&from, &len);
	say("connect %s", err(connect(first, (void *)&from, sizeof(from))));
	any.sin_port = htons((uint16_t)port_of(first));
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	say("second %s", err(bind(second, (void *)&any, sizeof(any))));
	send(first, "back", 4, 0);
	say("answer %s", got(c));
	send(c, "data", 4, 0);
	say("connected gets %s", got(first));
	say("wildcard %s", not_got(second));
	dial(d, port_of(second));
	send(d, "new", 3, 0);
	say("newcomer to wildcard %s", got(second));
	say("connected %s", not_got(first));
}

static void d_reuse(void)
{
	int first = udp(AF_INET), second = udp(AF_INET), third = udp(AF_INET);
	struct sockaddr_in a = to(OWN, 0);
	int hits[2] = {0, 0};

	set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
	bind(first, (void *)&a, sizeof(a));
	a.sin_port = htons((uint16_t)port_of(first));
	say("one side %s", err(bind(second, (void *)&a, sizeof(a))));
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	say("both %s", err(bind(second, (void *)&a, sizeof(a))));
	set_option(third, SOL_SOCKET, SO_REUSEPORT, 1);
	say("the other option %s", err(bind(third, (void *)&a, sizeof(a))));
	close(first), close(second), close(third);
	first = udp(AF_INET), second = udp(AF_INET), third = udp(AF_INET);
	set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);
	set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
	a.sin_port = 0;
	bind(first, (void *)&a, sizeof(a));
	a.sin_port = htons((uint16_t)port_of(first));
	say("group %s", err(bind(second, (void *)&a, sizeof(a))));
	say("without %s", err(bind(third, (void *)&a, sizeof(a))));
	for (int i = 0; i < 64; i++) {
		int c = udp(AF_INET);
		struct pollfd p[2] = {{.fd = first, .events = POLLIN},
				      {.fd = second, .events = POLLIN}};
		char b[8];

		send_to(c, "x", ntohs(a.sin_port));
		poll(p, 2, SETTLE_MS);
		for (int k = 0; k < 2; k++)
			hits[k] += recv(p[k].fd, b, sizeof(b), MSG_DONTWAIT) == 1;
		close(c);
	}
	say("both used %d all %d", hits[0] > 4 && hits[1] > 4, hits[0] + hits[1]);
}

static void d_shutdown(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);
	char b[8];

	say("unconnected %s", err(shutdown(bound(AF_INET), SHUT_RD)));
	say("how %s", err(shutdown(c, 9)));
	dial(c, port_of(s));
	say("write %s", err(shutdown(c, SHUT_WR)));
	say("poll %s", bits(mask_now(c)));
	signal(SIGPIPE, SIG_DFL);
	say("send %s", num(send(c, "x", 1, 0)));
	send_to(s, "in", port_of(c));
	say("receive %s", got(c));
	c = udp(AF_INET);
	dial(c, port_of(s));
	say("read %s", err(shutdown(c, SHUT_RD)));
	say("poll %s", bits(mask_now(c)));
	say("receive %s", num(recv(c, b, sizeof(b), 0)));
	say("send %s", num(send(c, "out", 3, 0)));
	say("arrives %s", got(s));
	c = udp(AF_INET);
	dial(c, port_of(s));
	say("both %s", err(shutdown(c, SHUT_RDWR)));
	say("poll %s", bits(mask_now(c)));
	say("receive %s", num(recv(c, b, sizeof(b), 0)));
	say("send %s", num(send(c, "x", 1, 0)));
}

static void d_unreachable(void)
{
	struct sockaddr_in f = to(FOREIGN, 9), s = to(SILENT, 9);
	int fd = udp(AF_INET);

	say("connect %s", err(connect(fd, (void *)&f, sizeof(f))));
	say("silent %s", err(connect(fd, (void *)&s, sizeof(s))));
	say("send %s", num(send(fd, "x", 1, 0)));
	say("nothing comes %s", not_got(fd));
	s.sin_family = AF_INET6;
	say("family %s", err(connect(fd, (void *)&s, sizeof(s))));
	say("short %s", err(connect(fd, (void *)&s, 4)));
	say("tiny %s", err(connect(fd, (void *)&s, 1)));
}

static void d_loopback(void)
{
	struct sockaddr_in a = to("127.0.0.1", 0), from, any = to("0.0.0.0", 0);
	socklen_t len = sizeof(from);
	int s = udp(AF_INET), c = udp(AF_INET), w = bound_any(AF_INET);
	char b[8];

	say("bind %s", err(bind(s, (void *)&a, sizeof(a))));
	a.sin_port = htons((uint16_t)port_of(s));
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	send(c, "in", 2, 0);
	arrives(s);
	say("receive %s", num(recvfrom(s, b, sizeof(b), MSG_DONTWAIT, (void *)&from, &len)));
	say("from %s", ip_of(&from));
	sendto(s, "out", 3, 0, (void *)&from, sizeof(from));
	say("answer %s", got(c));
	any.sin_port = htons((uint16_t)port_of(w));
	c = udp(AF_INET);
	say("to any %s", num(sendto(c, "zero", 4, 0, (void *)&any, sizeof(any))));
	say("arrives %s", got(w));
	a.sin_port = any.sin_port;
	sendto(c, "wild", 4, 0, (void *)&a, sizeof(a));
	say("wildcard hears loopback %s", got(w));
}

static void d_epoll(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | (uint32_t)EPOLLET}, out;
	struct timeval t = {2, 0};
	fd_set r, w;

	epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
	say("nothing %d", epoll_wait(ep, &out, 1, 50));
	send_to(c, "1", port_of(s));
	say("edge %d", epoll_wait(ep, &out, 1, SETTLE_MS));
	say("no second %d", epoll_wait(ep, &out, 1, 50));
	send_to(c, "2", port_of(s));
	say("next edge %d", epoll_wait(ep, &out, 1, SETTLE_MS));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(s, &r);
	FD_SET(s, &w);
	say("select %d", select(s + 1, &r, &w, NULL, &t));
}

static atomic_int taken;

static void *reader(void *fd)
{
	char b[32];

	while (recv(*(int *)fd, b, sizeof(b), 0) == 7)
		atomic_fetch_add(&taken, 1);
	return NULL;
}

static void d_threads(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);
	pthread_t threads[4];

	dial(c, port_of(s));
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, reader, &s);
	for (int i = 0; i < 400; i++) {
		send(c, "payload", 7, 0);
		for (int ms = 0; ms < SETTLE_MS && atomic_load(&taken) < i - 20; ms++)
			nap(1);
	}
	for (int ms = 0; ms < SETTLE_MS && atomic_load(&taken) < 400; ms++)
		nap(1);
	for (int i = 0; i < 4; i++)
		send(c, "end", 3, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("whole records %d", atomic_load(&taken));
}

static void d_pass(void)
{
	int via[2], status, s, c = udp(AF_INET);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, via) != 0)
		return;
	fflush(stdout);
	if (fork() == 0) {
		s = receive_fd(via[1]);
		say("passed reads %s", got(s));
		say("type %d", int_option(s, SOL_SOCKET, SO_TYPE));
		_exit(0);
	}
	s = bound(AF_INET);
	send_to(c, "handed on", port_of(s));
	arrives(s);
	send_fd(via[0], s);
	close(s);
	wait(&status);
	say("status %d", status);
}

static void d_syscall(void)
{
	struct sockaddr_in a;
	int s = bound(AF_INET);
	long fd = syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct iovec iov = {"direct", 6};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	char b[16] = {0};

	a = to(OWN, port_of(s));
	say("connect %s", err(syscall(SYS_connect, fd, &a, sizeof(a))));
	say("sendmmsg %s", num(syscall(SYS_sendmmsg, fd, &m, 1, 0)));
	arrives(s);
	say("recvfrom %s %s", num(syscall(SYS_recvfrom, s, b, sizeof(b), 0, NULL, NULL)), b);
	say("write %s", num(syscall(SYS_write, fd, "raw", 3)));
	say("arrives %s", got(s));
	say("read %s", num(syscall(SYS_read, fd, b, sizeof(b))));
}

static void d_queue(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), n = 0, bad = 0;
	unsigned seen = 0, number;

	dial(c, port_of(s));
	for (unsigned i = 0; i < 60; i++)
		send(c, &i, sizeof(i), 0);
	while (arrives(s) && n < 60) {
		if (recv(s, &number, sizeof(number), 0) != sizeof(number) || number != seen)
			bad++;
		seen = number + 1;
		if (++n == 60)
			break;
	}
	say("received %d out of order %d", n, bad);
	say("then %s", not_got(s));
}

/* 200 datagrams of 1,000 bytes that nobody reads: how many are there afterwards. */
static int kept(int buffer)
{
	static char block[1000];
	int s = bound(AF_INET), c = udp(AF_INET), n = 0;

	if (buffer != 0)
		set_option(s, SOL_SOCKET, SO_RCVBUF, buffer);
	dial(c, port_of(s));
	for (int i = 0; i < 200; i++) {
		send(c, block, sizeof(block), 0);
		if (i % 20 == 0)
			nap(20);
	}
	nap(100);
	while (recv(s, block, sizeof(block), MSG_DONTWAIT) > 0)
		n++;
	close(s);
	close(c);
	return n;
}

static void d_buffer(void)
{
	int few = kept(2000), some = kept(20000), many = kept(0);

	say("buffer of 2000: %s", few >= 1 && few <= 3 ? "one to three" : num(few));
	say("buffer of 20000: %s", some > few && some < 40 ? "some" : num(some));
	say("default: %s", many > some ? "more" : num(many));
}

static void d_close(void)
{
	int s = bound(AF_INET), port = port_of(s), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port);

	send_to(c, "unread", port);
	arrives(s);
	close(s);
	nap(50);
	s = udp(AF_INET);
	say("port free again %s", err(bind(s, (void *)&a, sizeof(a))));
	say("old datagram gone %s", not_got(s));
	send_to(c, "fresh", port);
	say("new one %s", got(s));
}

/** speaks() - A new socket and an old one still exchange datagrams */
static void speaks(int old)
{
	int c = udp(AF_INET);

	say("send %s", num(send_to(c, "new", port_of(old))));
	say("receive %s", got(old));
	say("connect %s", err(dial(c, port_of(old))));
	say("bind %d", port_of(bound(AF_INET)) > 0);
}

static void d_drop_user(void)
{
	int s = bound(AF_INET);

	if (geteuid() != 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
		say("skipped");
		return;
	}
	speaks(s);
}

static void d_chroot(void)
{
	char empty[] = "/tmp/probe-XXXXXX";
	int s = bound(AF_INET);

	if (geteuid() != 0 || mkdtemp(empty) == NULL || chroot(empty) != 0 || chdir("/") != 0 ||
	    setgid(65534) != 0 || setuid(65534) != 0) {
		say("skipped");
		return;
	}
	speaks(s);
}

static void d_close_range(void)
{
	bound(AF_INET);
	say("range %s", err(close_range(3, ~0U, 0)));
	speaks(bound(AF_INET));
}

static void d_exec(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), status = -1;
	char number[16];
	pid_t pid;

	send_to(c, "inherited", port_of(s));
	snprintf(number, sizeof(number), "%d", s);
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execl("/proc/self/exe", "udp_more", "--inherited", number, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	say("status %d", status);
	say("still here %s", err(getsockname(s, (void *)&(struct sockaddr_in){0},
					     &(socklen_t){sizeof(struct sockaddr_in)})));
}

static const struct probe_case cases[] = {
	{"D-wait", d_wait},
	{"D-mmsg", d_mmsg},
	{"D-names", d_names},
	{"D-many-buffers", d_many_buffers},
	{"D-specific", d_specific},
	{"D-iperf", d_iperf},
	{"D-reuse", d_reuse},
	{"D-shutdown", d_shutdown},
	{"D-unreachable", d_unreachable},
	{"D-loopback", d_loopback},
	{"D-epoll", d_epoll},
	{"D-threads", d_threads},
	{"D-pass", d_pass},
	{"D-syscall", d_syscall},
	{"D-queue", d_queue},
	{"D-buffer", d_buffer},
	{"D-close", d_close},
	{"D-drop-user", d_drop_user},
	{"D-chroot", d_chroot},
	{"D-close-range", d_close_range},
	{"D-exec", d_exec},
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--inherited") == 0) {
		probe_current = "D-exec";
		say("port %d", port_of(atoi(argv[2])) > 0);
		say("receives %s", got(atoi(argv[2])));
		return 0;
	}
	return probe_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
