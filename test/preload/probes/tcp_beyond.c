/**
 * tcp_beyond.c - TCP beyond the conformance table: AF_INET6, options, other ways into a process
 *
 * usage: tcp_beyond [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <grp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

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
	int unused = tcp(0);

	/* A port that IPv4 may have: one that the system gives to IPv6 may be in TIME_WAIT there.
	 */
	bind(unused, (void *)&b, sizeof(b));
	a.sin6_port = htons((uint16_t)port_of(unused));
	close(unused);
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
		execl(SELF, SELF, "--described", text, (char *)NULL);
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
		cannot("needs root");
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
		cannot("needs root");
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

static const struct probe_case cases[] = {
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

TCP_MAIN(cases)
