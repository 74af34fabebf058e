/**
 * udp_more.c - What UDP sockets of either family do, beyond the conformance table
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
	int s = bound(probe_family), c = udp(probe_family), status;
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
	struct address good, bad = own(0);
	struct mmsghdr m[3];
	struct iovec iov[3];
	int s = bound(probe_family), c = udp(probe_family);

	good = own(port_of(s));
	fill(m, iov, text, 3);
	say("no destination %s", num(sendmmsg(c, m, 3, 0)));
	m[0].msg_hdr.msg_name = m[2].msg_hdr.msg_name = &good.sa;
	m[1].msg_hdr.msg_name = &bad.sa;
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr.msg_namelen = good.len;
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
	m[0].msg_hdr.msg_name = &bad.sa;
	m[0].msg_hdr.msg_namelen = sizeof(bad.six);
	say("named %s", num(recvmmsg(s, m, 1, 0, NULL)));
	say("from %s len %u", ip_in(&bad), m[0].msg_hdr.msg_namelen);
}

static void d_names(void)
{
	int s = bound(probe_family), c = udp(probe_family);
	struct address from = {0};
	char b[16];
	struct iovec iov = {b, sizeof(b)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_namelen = 77};

	send_to(c, "x", port_of(s));
	arrives(s);
	say("no name %s", num(recvmsg(s, &m, 0)));
	say("namelen %u", m.msg_namelen);
	send_to(c, "x", port_of(s));
	arrives(s);
	m = (struct msghdr){
		.msg_name = &from.sa, .msg_namelen = 3, .msg_iov = &iov, .msg_iovlen = 1};
	say("short name %s", num(recvmsg(s, &m, 0)));
	say("namelen %u port %d", m.msg_namelen, from.four.sin_port != 0);
	m = (struct msghdr){
		.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from.sa, .msg_namelen = 0};
	iov.iov_len = 1;
	say("send without name %s", num(sendmsg(c, &m, 0)));
	m.msg_iovlen = 0;
	from = own(port_of(s));
	m.msg_namelen = from.len;
	say("no buffers %s", num(sendmsg(c, &m, 0)));
	say("empty %s", got(s));
	from.sa.sa_family = AF_UNSPEC;
	iov = (struct iovec){"unspec", 6};
	m.msg_iovlen = 1;
	say("unspec %s", num(sendmsg(c, &m, 0)));
	say("arrives %s", not_got(s));
}

static void d_many_buffers(void)
{
	static char b[2000];
	static struct iovec iov[1000];
	int s = bound(probe_family), c = udp(probe_family);
	struct address a = own(port_of(s));
	struct msghdr m = {
		.msg_name = &a.sa, .msg_namelen = a.len, .msg_iov = iov, .msg_iovlen = 1000};

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
	struct address all = any(0), a;
	int wild = udp(probe_family), mine = udp(probe_family), peer = bound(probe_family),
	    stranger = bound(probe_family);

	set_option(wild, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(mine, SOL_SOCKET, SO_REUSEADDR, 1);
	say("wildcard %s", err(bind_to(wild, &all)));
	a = own(port_of(wild));
	say("same port %s", err(bind_to(mine, &a)));
	send_to(stranger, "one", port_of(wild));
	say("specific wins %s", got(mine));
	say("wildcard %s", not_got(wild));
	say("connect %s", err(dial(wild, port_of(peer))));
	send_to(peer, "two", port_of(mine));
	say("connected wins %s", got(wild));
	say("specific %s", not_got(mine));
	send_to(stranger, "three", port_of(mine));
	say("others to specific %s", got(mine));
	say("connected %s", not_got(wild));
}

/** d_iperf() - A server connects its bound socket, then binds another one to the same port */
static void d_iperf(void)
{
	struct address all = any(0), from = {.len = sizeof(from.six)};
	int first = udp(probe_family), second = udp(probe_family), c = udp(probe_family),
	    d = udp(probe_family);
	char b[8];

	set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
	bind_to(first, &all);
	dial(c, port_of(first));
	send(c, "hello", 5, 0);
	arrives(first);
	recvfrom(first, b, sizeof(b), 0, &from.sa, &from.len);
	say("connect %s", err(connect_to(first, &from)));
	all.four.sin_port = htons((uint16_t)port_of(first));
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	say("second %s", err(bind_to(second, &all)));
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
	int first = udp(probe_family), second = udp(probe_family), third = udp(probe_family);
	struct address a = own(0);
	int hits[2] = {0, 0};

	set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
	bind_to(first, &a);
	a.four.sin_port = htons((uint16_t)port_of(first));
	say("one side %s", err(bind_to(second, &a)));
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	say("both %s", err(bind_to(second, &a)));
	set_option(third, SOL_SOCKET, SO_REUSEPORT, 1);
	say("the other option %s", err(bind_to(third, &a)));
	close(first), close(second), close(third);
	first = udp(probe_family), second = udp(probe_family), third = udp(probe_family);
	set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);
	set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
	a.four.sin_port = 0;
	bind_to(first, &a);
	a.four.sin_port = htons((uint16_t)port_of(first));
	say("group %s", err(bind_to(second, &a)));
	say("without %s", err(bind_to(third, &a)));
	for (int i = 0; i < 64; i++) {
		int c = udp(probe_family);
		struct pollfd p[2] = {{.fd = first, .events = POLLIN},
				      {.fd = second, .events = POLLIN}};
		char b[8];

		send_to(c, "x", ntohs(a.four.sin_port));
		poll(p, 2, SETTLE_MS);
		for (int k = 0; k < 2; k++)
			hits[k] += recv(p[k].fd, b, sizeof(b), MSG_DONTWAIT) == 1;
		close(c);
	}
	say("both used %d all %d", hits[0] > 4 && hits[1] > 4, hits[0] + hits[1]);
}

static void d_shutdown(void)
{
	int s = bound(probe_family), c = udp(probe_family);
	char b[8];

	say("unconnected %s", err(shutdown(bound(probe_family), SHUT_RD)));
	say("how %s", err(shutdown(c, 9)));
	dial(c, port_of(s));
	say("write %s", err(shutdown(c, SHUT_WR)));
	say("poll %s", bits(mask_now(c)));
	signal(SIGPIPE, SIG_DFL);
	say("send %s", num(send(c, "x", 1, 0)));
	send_to(s, "in", port_of(c));
	say("receive %s", got(c));
	c = udp(probe_family);
	dial(c, port_of(s));
	say("read %s", err(shutdown(c, SHUT_RD)));
	say("poll %s", bits(mask_now(c)));
	say("receive %s", num(recv(c, b, sizeof(b), 0)));
	say("send %s", num(send(c, "out", 3, 0)));
	say("arrives %s", got(s));
	c = udp(probe_family);
	dial(c, port_of(s));
	say("both %s", err(shutdown(c, SHUT_RDWR)));
	say("poll %s", bits(mask_now(c)));
	say("receive %s", num(recv(c, b, sizeof(b), 0)));
	say("send %s", num(send(c, "x", 1, 0)));
}

static void d_unreachable(void)
{
	struct address f = foreign(9), s = silent(9), o = other_family(9);
	int fd = udp(probe_family);

	say("connect %s", err(connect_to(fd, &f)));
	say("silent %s", err(connect_to(fd, &s)));
	say("send %s", num(send(fd, "x", 1, 0)));
	say("nothing comes %s", not_got(fd));
	say("family %s", err(connect_to(fd, &o)));
	say("short %s", err(connect(fd, &s.sa, 4)));
	say("tiny %s", err(connect(fd, &s.sa, 1)));
	say("long %s", err(connect(fd, &s.sa, sizeof(struct sockaddr_storage) + 1)));
	say("long send %s", num(sendto(fd, "x", 1, 0, &s.sa, sizeof(struct sockaddr_storage) + 1)));
}

static void d_loopback(void)
{
	struct address a = loopback(0), from = {.len = sizeof(from.six)}, all;
	int s = udp(probe_family), c = udp(probe_family), w = bound_any(probe_family);
	char b[8];

	say("bind %s", err(bind_to(s, &a)));
	a.four.sin_port = htons((uint16_t)port_of(s));
	say("connect %s", err(connect_to(c, &a)));
	send(c, "in", 2, 0);
	arrives(s);
	say("receive %s", num(recvfrom(s, b, sizeof(b), MSG_DONTWAIT, &from.sa, &from.len)));
	say("from %s", ip_in(&from));
	sendto(s, "out", 3, 0, &from.sa, from.len);
	say("answer %s", got(c));
	all = any(port_of(w));
	c = udp(probe_family);
	say("to any %s", num(sendto(c, "zero", 4, 0, &all.sa, all.len)));
	say("arrives %s", got(w));
	a.four.sin_port = all.four.sin_port;
	sendto(c, "wild", 4, 0, &a.sa, a.len);
	say("wildcard hears loopback %s", got(w));
}

static void d_epoll(void)
{
	int s = bound(probe_family), c = udp(probe_family), ep = epoll_create1(0);
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
	int s = bound(probe_family), c = udp(probe_family);
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
	int via[2], status, s, c = udp(probe_family);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, via) != 0)
		return;
	fflush(stdout);
	if (fork() == 0) {
		s = receive_fd(via[1]);
		say("passed reads %s", got(s));
		say("type %d", int_option(s, SOL_SOCKET, SO_TYPE));
		_exit(0);
	}
	s = bound(probe_family);
	send_to(c, "handed on", port_of(s));
	arrives(s);
	send_fd(via[0], s);
	close(s);
	wait(&status);
	say("status %d", status);
}

static void d_syscall(void)
{
	int s = bound(probe_family);
	struct address a = own(port_of(s));
	long fd = syscall(SYS_socket, probe_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct iovec iov = {"direct", 6};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	char b[16] = {0};

	say("connect %s", err(syscall(SYS_connect, fd, &a.sa, a.len)));
	say("sendmmsg %s", num(syscall(SYS_sendmmsg, fd, &m, 1, 0)));
	arrives(s);
	say("recvfrom %s %s", num(syscall(SYS_recvfrom, s, b, sizeof(b), 0, NULL, NULL)), b);
	say("write %s", num(syscall(SYS_write, fd, "raw", 3)));
	say("arrives %s", got(s));
	say("read %s", num(syscall(SYS_read, fd, b, sizeof(b))));
}

static void d_queue(void)
{
	int s = bound(probe_family), c = udp(probe_family), n = 0, bad = 0;
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
	int s = bound(probe_family), c = udp(probe_family), n = 0;

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
	int s = bound(probe_family), port = port_of(s), c = udp(probe_family);
	struct address a = own(port);

	send_to(c, "unread", port);
	arrives(s);
	close(s);
	nap(50);
	s = udp(probe_family);
	say("port free again %s", err(bind_to(s, &a)));
	say("old datagram gone %s", not_got(s));
	send_to(c, "fresh", port);
	say("new one %s", got(s));
}

/** speaks() - A new socket and an old one still exchange datagrams */
static void speaks(int old)
{
	int c = udp(probe_family);

	say("send %s", num(send_to(c, "new", port_of(old))));
	say("receive %s", got(old));
	say("connect %s", err(dial(c, port_of(old))));
	say("bind %d", port_of(bound(probe_family)) > 0);
}

static void d_drop_user(void)
{
	int s = bound(probe_family);

	if (geteuid() != 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
		cannot("needs root");
		return;
	}
	speaks(s);
}

static void d_chroot(void)
{
	char empty[] = "/tmp/probe-XXXXXX";
	int s = bound(probe_family);

	if (geteuid() != 0 || mkdtemp(empty) == NULL || chroot(empty) != 0 || chdir("/") != 0 ||
	    setgid(65534) != 0 || setuid(65534) != 0) {
		cannot("needs root");
		return;
	}
	speaks(s);
}

static void d_close_range(void)
{
	bound(probe_family);
	say("range %s", err(close_range(3, ~0U, 0)));
	speaks(bound(probe_family));
}

static void d_exec(void)
{
	int s = bound(probe_family), c = udp(probe_family), status = -1;
	char number[16];
	pid_t pid;

	send_to(c, "inherited", port_of(s));
	snprintf(number, sizeof(number), "%d", s);
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execl("/proc/self/exe", "udp_more", "--inherited", number, probe_current,
		      (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	say("status %d", status);
	say("still here %d", port_of(s) > 0);
}

static const struct probe_case cases[] = {
	FOUR_SIX("D-wait", d_wait),
	FOUR_SIX_MAPPED("D-mmsg", d_mmsg),
	FOUR_SIX_MAPPED("D-names", d_names),
	FOUR_SIX_MAPPED("D-many-buffers", d_many_buffers),
	FOUR_SIX_MAPPED("D-specific", d_specific),
	FOUR_SIX_MAPPED("D-iperf", d_iperf),
	FOUR_SIX_MAPPED("D-reuse", d_reuse),
	FOUR_SIX_MAPPED("D-shutdown", d_shutdown),
	FOUR_SIX_MAPPED("D-unreachable", d_unreachable),
	FOUR_SIX_MAPPED("D-loopback", d_loopback),
	FOUR_SIX_MAPPED("D-epoll", d_epoll),
	FOUR_SIX("D-threads", d_threads),
	FOUR_SIX("D-pass", d_pass),
	FOUR_SIX_MAPPED("D-syscall", d_syscall),
	FOUR_SIX("D-queue", d_queue),
	{"D-buffer", d_buffer},
	FOUR_SIX("D-close", d_close),
	{"D-drop-user", d_drop_user},
	{"D-chroot", d_chroot},
	{"D-close-range", d_close_range},
	FOUR_SIX("D-exec", d_exec),
};

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--inherited") == 0) {
		probe_begin(argv[3]);
		say("port %d", port_of(atoi(argv[2])) > 0);
		say("receives %s", got(atoi(argv[2])));
		return 0;
	}
	return probe_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
