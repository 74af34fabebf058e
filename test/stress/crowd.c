/*
 * crowd.c - Thousands of connections that all transfer at once, through one listener
 *
 * usage: crowd serve PORT
 *        crowd run IP PORT ACTIVE SILENT BYTES
 *
 * `serve` does what the first byte of a connection asks: 'e' echo, 'd' send for ever, 's' never
 * read again. `run` opens SILENT connections of each of the kinds 'd' and 's', which nobody reads,
 * then ACTIVE echoing ones with WINDOW bytes under way on each, and one that asks and answers 64
 * bytes in turns. When the active ones have BYTES each on average, it prints what each had got by
 * then; after that each goes on until it has BYTES, every byte compared. One line of results:
 * "least L most M jain J questions Q longest T ms, complete N".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW	 16384
#define QUESTION 64
#define EVENTS	 512
#define OPENING	 64

struct conn {
	uint64_t sent;	/* by us */
	uint64_t got;	/* back from the peer */
	uint32_t held;	/* serve: bytes of `echo` that wait to be sent */
	uint32_t start; /* serve: first of them */
	int fd;
	char kind;
	char open;
	char *echo;
};

static int poller;
static char buffer[WINDOW];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int op, struct conn *c, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (epoll_ctl(poller, op, c->fd, &e) != 0)
		die("epoll_ctl");
}

static ssize_t checked(ssize_t n, const char *what)
{
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		die(what);
	return 0;
}

/* --- serve ------------------------------------------------------------------------------- */

static void finish(struct conn *c)
{
	close(c->fd);
	free(c->echo);
	free(c);
}

/* False: the connection is over. */
static int serve_first(struct conn *c)
{
	if (recv(c->fd, &c->kind, 1, 0) != 1)
		return 0;
	if (c->kind == 's')
		watch(EPOLL_CTL_MOD, c, 0);
	else if (c->kind == 'd')
		watch(EPOLL_CTL_MOD, c, EPOLLOUT);
	else
		c->echo = malloc(WINDOW);
	return c->kind != 'e' || c->echo != NULL;
}

static int serve_echo(struct conn *c)
{
	ssize_t n;

	if (c->held == 0) {
		n = recv(c->fd, c->echo, WINDOW, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return 0;
		c->start = 0;
		c->held = n < 0 ? 0 : (uint32_t)n;
	}
	n = c->held == 0 ? 0 : send(c->fd, c->echo + c->start, c->held, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return 0;
	if (n > 0) {
		c->start += (uint32_t)n;
		c->held -= (uint32_t)n;
	}
	watch(EPOLL_CTL_MOD, c, c->held == 0 ? EPOLLIN : EPOLLOUT);
	return 1;
}

static int serve_event(struct conn *c, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		return 0;
	if (c->kind == 0)
		return serve_first(c);
	if (c->kind == 'd')
		return send(c->fd, buffer, sizeof(buffer), MSG_NOSIGNAL) > 0 || errno == EAGAIN;
	return serve_echo(c);
}

static void serve_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	struct conn *c;

	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		die("calloc");
	c->fd = fd;
	watch(EPOLL_CTL_ADD, c, EPOLLIN);
}

static void serve(uint16_t port)
{
	struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event events[EVENTS];
	struct conn listener = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};

	if (bind(listener.fd, (struct sockaddr *)&self, sizeof(self)) != 0 ||
	    listen(listener.fd, 4096) != 0)
		die("listen");
	watch(EPOLL_CTL_ADD, &listener, EPOLLIN);
	puts("serving");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == &listener)
				serve_accept(c->fd);
			else if (!serve_event(c, events[i].events))
				finish(c);
		}
	}
}

/* --- run --------------------------------------------------------------------------------- */

static struct sockaddr_in peer;
static struct conn *conns;
static int total, active, opened, greeted, complete;
static uint64_t each, sum, questions;
static int is_measured;
static double asked_at, longest;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static void open_next(void)
{
	struct conn *c = &conns[opened++];

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0 ||
	    (connect(c->fd, (struct sockaddr *)&peer, sizeof(peer)) != 0 && errno != EINPROGRESS))
		die("connect");
	watch(EPOLL_CTL_ADD, c, EPOLLOUT);
}

static uint64_t target(const struct conn *c)
{
	if (c->kind == 'q')
		return complete == active ? c->sent : UINT64_MAX;
	return is_measured ? each : UINT64_MAX;
}

/* As much as may be under way. */
static void push(struct conn *c)
{
	uint64_t ahead = c->kind == 'q' ? QUESTION : WINDOW;

	while (c->sent < target(c) && c->sent - c->got < ahead) {
		uint64_t n = ahead - (c->sent - c->got);
		ssize_t done;

		if (c->kind == 'q')
			asked_at = now_ms();
		if (n > target(c) - c->sent)
			n = target(c) - c->sent;
		for (uint64_t i = 0; i < n; i++)
			buffer[i] = (char)((c->sent + i) * 7 + (uint64_t)c->fd);
		done = checked(send(c->fd, buffer, n, MSG_NOSIGNAL), "send");
		if (done == 0)
			break;
		c->sent += (uint64_t)done;
	}
	watch(EPOLL_CTL_MOD, c,
	      EPOLLIN | (c->sent < target(c) && c->sent - c->got < ahead ? EPOLLOUT : 0));
}

static void answered(void)
{
	double took = now_ms() - asked_at;

	questions++;
	if (took > longest)
		longest = took;
}

static void pull(struct conn *c)
{
	ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0);
	uint64_t before = c->got;

	if (n == 0) {
		fprintf(stderr, "connection %d ended\n", c->fd);
		exit(1);
	}
	n = checked(n, "recv");
	for (ssize_t i = 0; i < n; i++)
		if (buffer[i] != (char)((c->got + (uint64_t)i) * 7 + (uint64_t)c->fd)) {
			fprintf(stderr, "connection %d: other bytes at %llu\n", c->fd,
				(unsigned long long)c->got);
			exit(1);
		}
	c->got += (uint64_t)n;
	if (c->kind == 'q') {
		if (n > 0 && c->got == c->sent)
			answered();
		return;
	}
	sum += (uint64_t)n;
	if (is_measured && before < each && c->got >= each)
		complete++;
}

static void greet(struct conn *c)
{
	char kind = c->kind == 'q' ? 'e' : c->kind;
	int error = 0, one = 1;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
		errno = error;
		die("connect");
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (send(c->fd, &kind, 1, MSG_NOSIGNAL) != 1)
		die("greet");
	c->open = 1;
	watch(EPOLL_CTL_MOD, c, c->kind == 's' ? EPOLLOUT : 0);
	if (opened < total)
		open_next();
	if (++greeted < total)
		return;
	/* All at once, so that nobody has a start. */
	for (int i = 0; i < total; i++)
		if (conns[i].kind == 'e' || conns[i].kind == 'q')
			push(&conns[i]);
}

static void run_event(struct conn *c, uint32_t events)
{
	if (!c->open)
		greet(c);
	else if (c->kind == 's')
		checked(send(c->fd, buffer, sizeof(buffer), MSG_NOSIGNAL), "send to silent");
	else if (c->kind == 'd' || greeted < total) {
		fprintf(stderr, "connection %d ended\n", c->fd);
		exit(1);
	} else {
		if (events & ~(uint32_t)EPOLLOUT)
			pull(c);
		push(c);
	}
}

static void measure(void)
{
	uint64_t least = UINT64_MAX, most = 0;
	double squares = 0;

	is_measured = 1;
	for (int i = 0; i < total; i++) {
		struct conn *c = &conns[i];

		if (c->kind != 'e')
			continue;
		least = c->got < least ? c->got : least;
		most = c->got > most ? c->got : most;
		squares += (double)c->got * (double)c->got;
		if (c->got >= each)
			complete++;
		/* Who has nothing under way would not be woken again. */
		push(c);
	}
	printf("least %llu most %llu jain %.3f questions %llu longest %.0f ms, ",
	       (unsigned long long)least, (unsigned long long)most,
	       (double)sum * (double)sum / (active * squares), (unsigned long long)questions,
	       longest);
	fflush(stdout);
}

/* The silent ones first: what they take must not be missed by the others. */
static void plan(int silent)
{
	total = active + 2 * silent + 1;
	conns = calloc((size_t)total, sizeof(*conns));
	if (conns == NULL)
		die("calloc");
	for (int i = 0; i < total; i++)
		conns[i].kind = i < silent ? 'd' : i < 2 * silent ? 's' : 'e';
	conns[total - 1].kind = 'q';
}

static void run(int silent)
{
	struct epoll_event events[EVENTS];

	plan(silent);
	for (int i = 0; i < OPENING && i < total; i++)
		open_next();
	while (complete < active) {
		int n = epoll_wait(poller, events, EVENTS, -1);

		for (int i = 0; i < n; i++)
			run_event(events[i].data.ptr, events[i].events);
		if (!is_measured && sum >= each * (uint64_t)active)
			measure();
	}
	printf("complete %d\n", complete);
}

int main(int argc, char **argv)
{
	poller = epoll_create1(0);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve((uint16_t)atoi(argv[2]));
	if (argc != 7 || strcmp(argv[1], "run") != 0)
		return 2;
	peer.sin_family = AF_INET;
	peer.sin_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(AF_INET, argv[2], &peer.sin_addr) != 1)
		return 2;
	active = atoi(argv[4]);
	each = strtoull(argv[6], NULL, 10);
	run(atoi(argv[5]));
	return 0;
}
