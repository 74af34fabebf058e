/**
 * tcp_ends.c - TCP over IPv4 and over IPv6: ends and resets after each other, inheritance, buffers
 *
 * usage: tcp_ends [CASE...]
 *
 * Each case runs once per family.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <linux/seccomp.h>
#include <linux/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#define SMALL	8192
#define DEFAULT 65536

static int family;

struct pair {
	int listener, client, server;
};

static socklen_t address(struct sockaddr_storage *a, int port)
{
	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		*(struct sockaddr_in *)a = to(OWN, port);
		return sizeof(struct sockaddr_in);
	}
	*(struct sockaddr_in6 *)a = to6(OWN6, port);
	return sizeof(struct sockaddr_in6);
}

static int stream(void)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

static void dial(int fd, int port)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, port);

	if (connect(fd, (void *)&a, len) != 0)
		say("connect %s", err(-1));
}

static void start(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, 0);

	if (bind(fd, (void *)&a, len) != 0 || listen(fd, 8) != 0)
		say("listen %s", err(-1));
}

/* The listener and the client may have been given options. */
static void join(struct pair *p)
{
	start(p->listener);
	dial(p->client, port_of(p->listener));
	p->server = accept(p->listener, NULL, NULL);
	if (p->server < 0)
		say("accept %s", err(-1));
}

static struct pair connected(void)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};

	join(&p);
	return p;
}

static void reset_on_close(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static const char *reads(int fd)
{
	char b[16];

	return num(read(fd, b, sizeof(b)));
}

/* The server resets after the client's end: with and without an answer before it. */
static void reset_after_end(void)
{
	struct pair p = connected();

	shutdown(p.client, SHUT_WR);
	settled(p.server, POLLRDHUP);
	reset_on_close(p.server);
	close(p.server);
	settled(p.client, POLLHUP);
	say("read %s", reads(p.client));
	say("again %s", reads(p.client));
	say("SO_ERROR %s", ename(so_error(p.client)));
}

static void cut_answer(void)
{
	struct pair p = connected();
	ssize_t n;

	shutdown(p.client, SHUT_WR);
	settled(p.server, POLLRDHUP);
	n = send(p.server, "part", 4, 0);
	arrives(p.client);
	reset_on_close(p.server);
	close(p.server);
	settled(p.client, POLLHUP);
	say("sent %s, read %s", num(n), reads(p.client));
	say("then %s", reads(p.client));
}

static void error_first(void)
{
	struct pair p = connected();

	shutdown(p.client, SHUT_WR);
	settled(p.server, POLLRDHUP);
	reset_on_close(p.server);
	close(p.server);
	settled(p.client, POLLHUP);
	say("SO_ERROR %s", ename(so_error(p.client)));
	say("read %s", reads(p.client));
}

/* A shutdown() first: the end is orderly, however the close is meant. */
static void shutdown_before_close(void)
{
	struct pair p = connected();

	shutdown(p.client, SHUT_WR);
	settled(p.server, POLLRDHUP);
	reset_on_close(p.server);
	say("sent %s", num(send(p.server, "all", 3, 0)));
	shutdown(p.server, SHUT_WR);
	settled(p.client, POLLRDHUP);
	close(p.server);
	say("read %s", reads(p.client));
	say("then %s", reads(p.client));
	say("SO_ERROR %s", ename(so_error(p.client)));
}

/* The request is never read: close() is a reset, after the end of the client too. */
static void unread_request(void)
{
	struct pair p = connected();

	send(p.client, "request", 7, 0);
	shutdown(p.client, SHUT_WR);
	settled(p.server, POLLRDHUP);
	close(p.server);
	settled(p.client, POLLHUP);
	say("read %s", reads(p.client));
	say("then %s", reads(p.client));
}

/* Bytes for a peer that is gone: what a reader and SO_ERROR are told. */
static void write_to_closed(void)
{
	struct pair p = connected();

	close(p.server);
	settled(p.client, POLLRDHUP);
	say("write %s", num(send(p.client, "x", 1, MSG_NOSIGNAL)));
	settled(p.client, POLLHUP);
	say("read %s", reads(p.client));
	say("SO_ERROR %s", ename(so_error(p.client)));
	say("read %s", reads(p.client));
	say("write %s", num(send(p.client, "x", 1, MSG_NOSIGNAL)));
}

static void say_limit(const char *what, int fd, int option)
{
	struct timeval t = {-1, 0};
	socklen_t len = sizeof(t);

	getsockopt(fd, SOL_SOCKET, option, &t, &len);
	say("%s %ld.%06ld", what, (long)t.tv_sec, (long)t.tv_usec);
}

/* What an accepted socket has from its listener, and what it has not. */
static void inherited(void)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};
	struct linger linger = {1, 7};
	socklen_t len = sizeof(linger);

	time_limit(p.listener, SO_RCVTIMEO, 400);
	time_limit(p.listener, SO_SNDTIMEO, 300);
	set_option(p.listener, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(p.listener, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(p.listener, SOL_SOCKET, SO_RCVLOWAT, 2);
	set_option(p.listener, SOL_SOCKET, SO_RCVBUF, SMALL);
	set_option(p.listener, SOL_SOCKET, SO_SNDBUF, SMALL);
	set_option(p.listener, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(p.listener, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
	setsockopt(p.listener, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	join(&p);
	linger = (struct linger){0, 0};
	getsockopt(p.server, SOL_SOCKET, SO_LINGER, &linger, &len);
	say_limit("receive limit", p.server, SO_RCVTIMEO);
	say_limit("send limit", p.server, SO_SNDTIMEO);
	say("keepalive %d reuseaddr %d lowat %d", int_option(p.server, SOL_SOCKET, SO_KEEPALIVE),
	    int_option(p.server, SOL_SOCKET, SO_REUSEADDR),
	    int_option(p.server, SOL_SOCKET, SO_RCVLOWAT));
	say("buffers %d %d", int_option(p.server, SOL_SOCKET, SO_RCVBUF),
	    int_option(p.server, SOL_SOCKET, SO_SNDBUF));
	say("nodelay %d user timeout %d", int_option(p.server, IPPROTO_TCP, TCP_NODELAY),
	    int_option(p.server, IPPROTO_TCP, TCP_USER_TIMEOUT));
	say("linger %d %d", linger.l_onoff, linger.l_linger);
	say("flags %d", fcntl(p.server, F_GETFL) & O_NONBLOCK);
	set_option(p.server, SOL_SOCKET, SO_RCVLOWAT, 1);
	say("recv %s", reads(p.server));
}

/* What goes in before the receiver has read anything. */
static long swallowed(const struct pair *p)
{
	static char block[4096];
	long all = 0;
	ssize_t n;

	for (int quiet = 0; quiet < 10;) {
		n = send(p->client, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
		all += n > 0 ? n : 0;
		if (n > 0) {
			quiet = 0;
			continue;
		}
		nap(20);
		quiet++;
	}
	return all;
}

static void small_buffers(void)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};
	long bytes;

	set_option(p.listener, SOL_SOCKET, SO_RCVBUF, SMALL);
	set_option(p.client, SOL_SOCKET, SO_SNDBUF, SMALL);
	join(&p);
	bytes = swallowed(&p);
	say("small: a little %s", bytes > SMALL / 2 && bytes < 16 * SMALL ? "yes" : num(bytes));
	p = connected();
	bytes = swallowed(&p);
	say("default: much more %s", bytes >= DEFAULT ? "yes" : num(bytes));
}

/* Small buffers delay, and lose nothing. */
static void small_transfer(void)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};
	static char out[400000], in[sizeof(out)];
	size_t got = 0;
	ssize_t n;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 31 + i / 256);
	set_option(p.listener, SOL_SOCKET, SO_RCVBUF, SMALL);
	set_option(p.client, SOL_SOCKET, SO_SNDBUF, SMALL);
	join(&p);
	if (fork() == 0) {
		size_t sent = 0;

		while (sent < sizeof(out)) {
			n = send(p.client, out + sent, sizeof(out) - sent, 0);
			if (n < 0)
				_exit(1);
			sent += (size_t)n;
		}
		_exit(0);
	}
	close(p.client);
	while (got < sizeof(in) && (n = read(p.server, in + got, sizeof(in) - got)) > 0)
		got += (size_t)n;
	say("got %zu, equal %s", got, memcmp(in, out, sizeof(in)) == 0 ? "yes" : "no");
	say("then %s", reads(p.server));
	wait(NULL);
}

static void say_info(const char *what, int fd)
{
	struct tcp_info i = {0};
	socklen_t len = sizeof(i);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) != 0) {
		say("%s %s", what, err(-1));
		return;
	}
	say("%s: state %u retransmits %u unacked %u notsent %u", what, i.tcpi_state,
	    i.tcpi_retransmits, i.tcpi_unacked, i.tcpi_notsent_bytes);
	say("%s: times %s, %s", what, i.tcpi_rto > 0 ? "rto" : "no rto",
	    i.tcpi_rtt > 0 ? "rtt" : "no rtt");
	say("%s: sizes %s, %s, %s", what, i.tcpi_snd_mss > 0 ? "mss" : "no mss",
	    i.tcpi_snd_cwnd > 0 ? "window" : "no window", i.tcpi_pmtu > 1000 ? "mtu" : "no mtu");
	say("%s: options %u, scales %s", what, i.tcpi_options & 7,
	    i.tcpi_snd_wscale > 0 && i.tcpi_rcv_wscale > 0 ? "yes" : "no");
	say("%s: received %llu", what, (unsigned long long)i.tcpi_bytes_received);
	say("%s: acknowledged %s", what, i.tcpi_bytes_acked >= 30 ? "30 or more" : "less");
}

static void info(void)
{
	struct pair p = connected();
	char b[64];

	for (int i = 0; i < 30; i++) {
		send(p.client, "q", 1, 0);
		arrives(p.server);
		recv(p.server, b, sizeof(b), 0);
		send(p.server, "a", 1, 0);
		arrives(p.client);
		recv(p.client, b, sizeof(b), 0);
	}
	/* The last acknowledgement may be delayed. */
	nap(300);
	say_info("client", p.client);
	say_info("server", p.server);
	say("waiting %d", int_option(p.client, SOL_SOCKET, SO_ERROR));
	p.client = stream();
	{
		struct tcp_info i = {0};
		socklen_t len = sizeof(i);

		getsockopt(p.client, IPPROTO_TCP, TCP_INFO, &i, &len);
		say("fresh: state %u rto %u mss %u window %u", i.tcpi_state, i.tcpi_rto,
		    i.tcpi_snd_mss, i.tcpi_snd_cwnd);
	}
}

/* Half-closes in both orders, and what poll() says of them. */
static void half_closes(void)
{
	struct pair p = connected();

	shutdown(p.client, SHUT_WR);
	say("server %s", bits(settled(p.server, POLLRDHUP)));
	say("client %s", bits(mask_now(p.client)));
	say("answer %s", num(send(p.server, "answer", 6, 0)));
	arrives(p.client);
	say("read %s", reads(p.client));
	shutdown(p.server, SHUT_WR);
	say("client %s", bits(settled(p.client, POLLRDHUP)));
	say("read %s and %s", reads(p.client), reads(p.server));
	say("write %s", num(send(p.server, "x", 1, MSG_NOSIGNAL)));
}

static void refused(void)
{
	struct sockaddr_storage a;
	int fd = stream(), port;
	socklen_t len;

	start(fd);
	port = port_of(fd);
	close(fd);
	fd = stream();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	len = address(&a, port);
	say("connect %s", err(connect(fd, (void *)&a, len)));
	say("poll %s", bits(settled(fd, POLLOUT)));
	say("SO_ERROR %s then %s", ename(so_error(fd)), ename(so_error(fd)));
}

static void to_itself(void)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, 0);
	int fd = stream();

	bind(fd, (void *)&a, len);
	len = address(&a, port_of(fd));
	say("connect %s", err(connect(fd, (void *)&a, len)));
}

static volatile int signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/** by_call() - One byte by the call of that number, with MSG_NOSIGNAL where it takes flags */
static ssize_t by_call(int fd, int call)
{
	struct iovec parts[2] = {{"x", 1}, {"y", 1}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 1};

	switch (call) {
	case 0:
		return write(fd, "x", 1);
	case 1:
		return writev(fd, parts, 2);
	case 2:
		return send(fd, "x", 1, 0);
	case 3:
		return sendmsg(fd, &msg, 0);
	case 4:
		return send(fd, "x", 1, MSG_NOSIGNAL);
	default:
		return sendmsg(fd, &msg, MSG_NOSIGNAL);
	}
}

/* A writer that waits when the reset comes hears it once too. */
static void blocked_writer(void)
{
	static char block[1 << 16];
	struct pair p = connected();
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		const char *first, *second;
		int early;

		signal(SIGPIPE, count_signal);
		close(p.server);
		while (write(p.client, block, sizeof(block)) > 0)
			;
		first = ename(errno);
		early = signals;
		second = num(write(p.client, "x", 1));
		say("write %s signals %d, again %s signals %d", first, early, second, signals);
		fflush(NULL);
		_exit(0);
	}
	close(p.client);
	/* Some time for the writer to fill all buffers; one that has not yet hears the same. */
	nap(300);
	reset_on_close(p.server);
	close(p.server);
	waitpid(child, NULL, 0);
}

/* In strict mode the kernel kills who makes any other call than read() and write(). */
static void strict_mode(void)
{
	struct pair ended = connected(), reset = connected();
	pid_t child;
	int status;

	close(ended.server);
	reset_on_close(reset.server);
	close(reset.server);
	settled(ended.client, POLLRDHUP);
	settled(reset.client, POLLHUP);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		char byte;
		bool good;

		signal(SIGPIPE, SIG_IGN);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		good = read(ended.client, &byte, 1) == 0;
		good = write(reset.client, "x", 1) < 0 && good;
		syscall(SYS_exit, good ? 0 : 1);
	}
	waitpid(child, &status, 0);
	say("ended by %d, status %d", WTERMSIG(status), WEXITSTATUS(status));
}

/* Of a reset the first write tells, without a signal; the next ones say EPIPE, with one. */
static void write_after_reset(void)
{
	signal(SIGPIPE, count_signal);
	for (int call = 0; call < 6; call++) {
		struct pair p = connected();
		const char *first, *error;
		int early;

		reset_on_close(p.server);
		close(p.server);
		settled(p.client, POLLHUP);
		signals = 0;
		first = num(by_call(p.client, call));
		early = signals;
		error = ename(so_error(p.client));
		say("%d: %s signals %d SO_ERROR %s", call, first, early, error);
		first = num(by_call(p.client, call));
		say("%d: again %s signals %d, read %s", call, first, signals, reads(p.client));
	}
}

/* A write after the own end, which is no error of the connection. */
static void write_after_end(void)
{
	struct pair p = connected();
	const char *result;

	signal(SIGPIPE, count_signal);
	shutdown(p.client, SHUT_WR);
	for (int call = 0; call < 6; call++) {
		signals = 0;
		result = num(by_call(p.client, call));
		say("%d: %s signals %d", call, result, signals);
	}
}

/* The first write tells a refused connection too. */
static void write_refused(void)
{
	struct sockaddr_storage a;
	socklen_t len;
	const char *result;
	int port, fd = stream();

	signal(SIGPIPE, count_signal);
	signals = 0;
	start(fd);
	port = port_of(fd);
	close(fd);
	fd = stream();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	len = address(&a, port);
	connect(fd, (void *)&a, len);
	settled(fd, POLLHUP);
	result = num(by_call(fd, 0));
	say("write %s signals %d", result, signals);
	result = num(by_call(fd, 0));
	say("again %s signals %d", result, signals);
}

/** take_port() - Binding another socket to @port, with SO_REUSEADDR or without */
static const char *take_port(int port, int reuse)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, port);
	int fd = stream();
	const char *result;

	set_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	result = err(bind(fd, (void *)&a, len));
	close(fd);
	return result;
}

/** ended() - Port of a listener whose only connection was ended by the server first, or last */
static int ended(int reuse, int server_first)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};
	int port;

	set_option(p.listener, SOL_SOCKET, SO_REUSEADDR, reuse);
	join(&p);
	port = port_of(p.listener);
	close(p.listener);
	if (server_first)
		close(p.server);
	else
		close(p.client);
	settled(server_first ? p.client : p.server, POLLRDHUP);
	say("%s ends: read %s", server_first ? "server" : "client",
	    reads(server_first ? p.client : p.server));
	close(server_first ? p.client : p.server);
	return port;
}

/* Who ends a connection first keeps its port for a while, but from those who share it. */
static void time_wait(void)
{
	int port = ended(0, 1);

	say("plain: plain %s, reuse %s", take_port(port, 0), take_port(port, 1));
	port = ended(1, 1);
	say("reuse: plain %s, reuse %s", take_port(port, 0), take_port(port, 1));
	port = ended(0, 0);
	for (int i = 0; i < SETTLE_MS && strcmp(take_port(port, 0), "ok") != 0; i += 10)
		nap(10);
	say("client first: plain %s", take_port(port, 0));
}

#define BOTH(name, what)                                                                           \
	static void name##4(void)                                                                  \
	{                                                                                          \
		family = AF_INET;                                                                  \
		what();                                                                            \
	}                                                                                          \
	static void name##6(void)                                                                  \
	{                                                                                          \
		family = AF_INET6;                                                                 \
		what();                                                                            \
	}

BOTH(reset, reset_after_end)
BOTH(cut, cut_answer)
BOTH(error, error_first)
BOTH(shut, shutdown_before_close)
BOTH(unread, unread_request)
BOTH(gone, write_to_closed)
BOTH(inherit, inherited)
BOTH(small, small_buffers)
BOTH(slow, small_transfer)
BOTH(told, info)
BOTH(half, half_closes)
BOTH(no, refused)
BOTH(self, to_itself)
BOTH(waits, time_wait)
BOTH(writes, write_after_reset)
BOTH(ended, write_after_end)
BOTH(dead, write_refused)
BOTH(block, blocked_writer)
BOTH(strict, strict_mode)

static const struct probe_case cases[] = {
	{"E-reset4", reset4},	  {"E-reset6", reset6},	    {"E-cut4", cut4},
	{"E-cut6", cut6},	  {"E-error4", error4},	    {"E-error6", error6},
	{"E-shut4", shut4},	  {"E-shut6", shut6},	    {"E-unread4", unread4},
	{"E-unread6", unread6},	  {"E-gone4", gone4},	    {"E-gone6", gone6},
	{"E-inherit4", inherit4}, {"E-inherit6", inherit6}, {"E-small4", small4},
	{"E-small6", small6},	  {"E-slow4", slow4},	    {"E-slow6", slow6},
	{"E-info4", told4},	  {"E-info6", told6},	    {"E-half4", half4},
	{"E-half6", half6},	  {"E-refused4", no4},	    {"E-refused6", no6},
	{"E-self4", self4},	  {"E-self6", self6},	    {"E-write4", writes4},
	{"E-write6", writes6},	  {"E-ended4", ended4},	    {"E-ended6", ended6},
	{"E-dead4", dead4},	  {"E-dead6", dead6},	    {"E-wait4", waits4},
	{"E-wait6", waits6},	  {"E-block4", block4},	    {"E-block6", block6},
	{"E-strict4", strict4},	  {"E-strict6", strict6},
};
PROBE_MAIN(cases)
