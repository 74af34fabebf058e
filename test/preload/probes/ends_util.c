/**
 * ends_util.c - A pair of TCP sockets of either family, for the probes of ends
 */
#define _GNU_SOURCE
#include "ends.h"

int family;

socklen_t address(struct sockaddr_storage *a, int port)
{
	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		*(struct sockaddr_in *)a = to(OWN, port);
		return sizeof(struct sockaddr_in);
	}
	*(struct sockaddr_in6 *)a = to6(OWN6, port);
	return sizeof(struct sockaddr_in6);
}

int stream(void)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

void dial(int fd, int port)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, port);

	if (connect(fd, (void *)&a, len) != 0)
		say("connect %s", err(-1));
}

void start(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, 0);

	if (bind(fd, (void *)&a, len) != 0 || listen(fd, 8) != 0)
		say("listen %s", err(-1));
}

/* The listener and the client may have been given options. */
void join(struct pair *p)
{
	start(p->listener);
	dial(p->client, port_of(p->listener));
	p->server = accept(p->listener, NULL, NULL);
	if (p->server < 0)
		say("accept %s", err(-1));
}

struct pair connected(void)
{
	struct pair p = {.listener = stream(), .client = stream(), .server = -1};

	join(&p);
	return p;
}

void reset_on_close(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

const char *reads(int fd)
{
	char b[16];

	return num(read(fd, b, sizeof(b)));
}

/** knock() - A non-blocking socket that asks to connect where nobody listens any more */
int knock(void)
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
	return fd;
}
