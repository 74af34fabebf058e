/**
 * tcp_names.c - Both names, and shutdown(), of connections in each state
 *
 * usage: tcp_names [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

/** names() - Whether the ends of @fd are known, and by which address */
static void names(const char *when, int fd)
{
	struct sockaddr_in n = {0}, p = {0};
	socklen_t nl = sizeof(n), pl = sizeof(p);
	const char *peer = err(getpeername(fd, (void *)&p, &pl));
	int known = getsockname(fd, (void *)&n, &nl);
	char own[INET_ADDRSTRLEN] = "?";

	if (known == 0)
		inet_ntop(AF_INET, &n.sin_addr, own, sizeof(own));
	say("%s peer %s own %s port %d", when, peer, own, n.sin_port != 0);
}

/** known() - The peer alone: what is left of the own name depends on the port's owner */
static void known(const char *when, int fd)
{
	struct sockaddr_in p;
	socklen_t len = sizeof(p);

	say("%s peer %s", when, err(getpeername(fd, (void *)&p, &len)));
}

static void reset_by(int fd)
{
	struct linger on = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &on, sizeof(on));
	close(fd);
}

/** n_open() - Ends of one direction leave both names */
static void n_open(void)
{
	struct pair p = connected();

	names("client", p.c);
	names("server", p.s);
	say("shutdown %s", err(shutdown(p.c, SHUT_WR)));
	settled(p.s, POLLRDHUP);
	names("own end sent", p.c);
	names("end received", p.s);
	say("shutdown %s", err(shutdown(p.s, SHUT_RD)));
	names("end received, reading off", p.s);
	say("shutdown again %s", err(shutdown(p.c, SHUT_WR)));
	names("own end sent twice", p.c);
	p = connected();
	say("shutdown %s", err(shutdown(p.c, SHUT_RDWR)));
	settled(p.s, POLLRDHUP);
	names("both by us", p.c);
	say("shutdown again %s", err(shutdown(p.c, SHUT_RDWR)));
}

/** n_ended() - Both directions ended in order: no peer any more, on either side */
static void n_ended(void)
{
	struct pair p = connected();

	shutdown(p.c, SHUT_WR);
	settled(p.s, POLLRDHUP);
	shutdown(p.s, SHUT_WR);
	settled(p.c, POLLHUP);
	settled(p.s, POLLHUP);
	known("who ended first", p.c);
	known("who ended last", p.s);
	say("shutdown, first %s", err(shutdown(p.c, SHUT_WR)));
	say("shutdown, last %s", err(shutdown(p.s, SHUT_RDWR)));
	p = connected();
	close(p.s);
	settled(p.c, POLLRDHUP);
	names("closed by the peer", p.c);
	say("shutdown %s", err(shutdown(p.c, SHUT_WR)));
	settled(p.c, POLLHUP);
	known("then by us", p.c);
	say("shutdown again %s", err(shutdown(p.c, SHUT_WR)));
}

/** n_reset() - A reset, with and without data that was not read */
static void n_reset(void)
{
	struct pair p = connected();
	char b[8];

	names("before", p.c);
	reset_by(p.s);
	settled(p.c, POLLHUP);
	known("reset", p.c);
	say("shutdown %s", err(shutdown(p.c, SHUT_RDWR)));
	say("error %s", ename(so_error(p.c)));
	known("error taken", p.c);
	say("read %s", num(read(p.c, b, sizeof(b))));
	p = connected();
	tell(p.s, "unread");
	settled(p.c, POLLIN);
	reset_by(p.s);
	nap(100 * slowness());
	known("reset, unread", p.c);
	p = connected();
	tell(p.s, "unread");
	settled(p.c, POLLIN);
	close(p.c);
	settled(p.s, POLLHUP);
	known("peer closed unread", p.s);
	say("shutdown %s", err(shutdown(p.s, SHUT_WR)));
	p = connected();
	names("never asked before", p.s);
}

/** n_never() - No connection came to be */
static void n_never(void)
{
	int c = tcp(SOCK_NONBLOCK), pending_one = tcp(SOCK_NONBLOCK);
	int l = listener(4);

	known("fresh", c);
	dial(c, OWN, closed_port());
	settled(c, POLLHUP);
	known("refused", c);
	say("shutdown %s", err(shutdown(c, SHUT_WR)));
	so_error(c);
	known("error taken", c);
	dial(pending_one, SILENT, 9);
	known("under way", pending_one);
	known("listens", l);
}

/** n_shared() - A duplicate and a child see the same */
static void n_shared(void)
{
	struct pair p = connected();
	int copy = dup(p.c), status;

	known("duplicate", copy);
	fflush(stdout);
	if (fork() == 0) {
		known("child", p.c);
		reset_by(p.s);
		fflush(stdout);
		_exit(0);
	}
	close(p.s);
	wait(&status);
	settled(p.c, POLLIN);
	known("after the child", p.c);
	known("duplicate", copy);
}

static const struct probe_case cases[] = {
	{"P-open", n_open},   {"P-ended", n_ended},   {"P-reset", n_reset},
	{"P-never", n_never}, {"P-shared", n_shared},
};

TCP_MAIN(cases)
