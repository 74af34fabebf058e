/**
 * tcp_ends.c - TCP over IPv4 and over IPv6: ends and resets after each other
 *
 * usage: tcp_ends [CASE...]
 *
 * Each case runs once per family.
 */
#define _GNU_SOURCE
#include "ends.h"

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
	int fd = knock();

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

BOTH(reset, reset_after_end)
BOTH(cut, cut_answer)
BOTH(error, error_first)
BOTH(shut, shutdown_before_close)
BOTH(unread, unread_request)
BOTH(gone, write_to_closed)
BOTH(half, half_closes)
BOTH(no, refused)
BOTH(self, to_itself)
BOTH(waits, time_wait)

static const struct probe_case cases[] = {
	{"E-reset4", reset4},	{"E-reset6", reset6},	{"E-cut4", cut4},    {"E-cut6", cut6},
	{"E-error4", error4},	{"E-error6", error6},	{"E-shut4", shut4},  {"E-shut6", shut6},
	{"E-unread4", unread4}, {"E-unread6", unread6}, {"E-gone4", gone4},  {"E-gone6", gone6},
	{"E-half4", half4},	{"E-half6", half6},	{"E-refused4", no4}, {"E-refused6", no6},
	{"E-self4", self4},	{"E-self6", self6},	{"E-wait4", waits4}, {"E-wait6", waits6},
};
PROBE_MAIN(cases)
