/**
 * tcp_buffers.c - TCP over IPv4 and over IPv6: what is inherited, small buffers, TCP_INFO
 *
 * usage: tcp_buffers [CASE...]
 *
 * Each case runs once per family.
 */
#define _GNU_SOURCE
#include "ends.h"

#include <linux/tcp.h>
#include <sys/time.h>

#define SMALL	8192
#define DEFAULT 65536

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

BOTH(inherit, inherited)
BOTH(small, small_buffers)
BOTH(slow, small_transfer)
BOTH(told, info)

static const struct probe_case cases[] = {
	{"E-inherit4", inherit4}, {"E-inherit6", inherit6}, {"E-small4", small4},
	{"E-small6", small6},	  {"E-slow4", slow4},	    {"E-slow6", slow6},
	{"E-info4", told4},	  {"E-info6", told6},
};
PROBE_MAIN(cases)
