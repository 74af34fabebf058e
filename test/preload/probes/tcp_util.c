/**
 * tcp_util.c - TCP sockets for the probes
 */
#define _GNU_SOURCE
#include "tcp.h"

int tcp(int flags)
{
	int fd = socket(probe_family, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

int listener(int backlog)
{
	struct address a = own(0);
	int fd = tcp(0);

	if (bind_to(fd, &a) != 0 || listen(fd, backlog) != 0) {
		say("listener %s", err(-1));
		exit(1);
	}
	return fd;
}

int dial(int fd, const char *ip, int port)
{
	struct sockaddr_in a = to(ip, port);

	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

int dial_own(int fd, int port)
{
	struct address a = own(port);

	return connect_to(fd, &a);
}

void join(struct pair *p)
{
	if (dial_own(p->c, port_of(p->l)) != 0) {
		say("connect %s", err(-1));
		exit(1);
	}
	p->s = accept(p->l, NULL, NULL);
	if (p->s < 0) {
		say("accept %s", err(-1));
		exit(1);
	}
}

struct pair connected(void)
{
	struct pair p = {.l = listener(8), .c = tcp(0)};

	join(&p);
	return p;
}

int closed_port(void)
{
	int l = listener(1);
	int port = port_of(l);

	close(l);
	return port;
}

long tell(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL);
}

void say_errors(int fd)
{
	int first = so_error(fd);

	say("error %s again %s", ename(first), ename(so_error(fd)));
}

size_t read_all(int fd, size_t len)
{
	char b[4096];
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, b, sizeof(b));

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

void describe(const char *what, int fd)
{
	struct sockaddr_in n, p;
	socklen_t nl = sizeof(n), pl = sizeof(p);
	int rn = getsockname(fd, (void *)&n, &nl);
	int rp = getpeername(fd, (void *)&p, &pl);
	char b[16] = {0};

	say("%s name %d %s peer %d %s", what, rn == 0 ? n.sin_family : -1,
	    rn == 0 ? inet_ntoa(n.sin_addr) : "-", rp == 0 ? p.sin_family : -1,
	    rp == 0 ? "known" : "-");
	say("%s read %s", what, num(recv(fd, b, sizeof(b), 0)));
	say("%s text %s", what, b);
}

int tcp_main(int argc, char **argv, const struct probe_case *cases, size_t count)
{
	if (argc == 3 && strcmp(argv[1], "--described") == 0) {
		probe_current = "exec";
		describe("after exec", atoi(argv[2]));
		return 0;
	}
	return probe_main(argc, argv, cases, count);
}
