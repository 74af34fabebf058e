/**
 * tcp_load.c - Many connections, much data, signals; sockets in states of no use: T34 to T41
 *
 * usage: tcp_load [CASE...]
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <sys/time.h>

#define WORKERS	    4
#define CONNECTIONS 200

static void serve_forever(int l)
{
	for (;;) {
		int s = accept(l, NULL, NULL);

		if (s < 0)
			_exit(1);
		tell(s, "k");
		close(s);
	}
}

static void t34(void)
{
	int l = listener(128);
	pid_t workers[WORKERS];
	int ok = 0;
	char b[8];

	fflush(stdout);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		if (workers[i] == 0)
			serve_forever(l);
	}
	for (int i = 0; i < share(CONNECTIONS); i++) {
		int c = tcp(0);

		if (dial(c, OWN, port_of(l)) == 0 && read(c, b, sizeof(b)) == 1 &&
		    read(c, b, sizeof(b)) == 0)
			ok++;
		close(c);
	}
	for (int i = 0; i < WORKERS; i++)
		kill(workers[i], SIGKILL);
	say("%d ok", ok);
}

static void t35(void)
{
	struct pair p = connected();
	FILE *f = tmpfile();
	char b[10000];
	int pipes[2];
	off_t at = 0;

	memset(b, 'z', sizeof(b));
	fwrite(b, 1, sizeof(b), f);
	fflush(f);
	say("sendfile %s", num(sendfile(p.c, fileno(f), &at, sizeof(b))));
	say("read %zu", read_all(p.s, sizeof(b)));
	if (pipe(pipes) != 0 || write(pipes[1], b, 5000) != 5000)
		return;
	say("splice out %s", num(splice(pipes[0], NULL, p.c, NULL, 5000, 0)));
	settled(p.s, POLLIN);
	nap(20);
	say("splice in %s", num(splice(p.s, NULL, pipes[1], NULL, 5000, 0)));
	say("read %zu", read_all(pipes[0], 5000));
}

#define BULK (8U << 20)

static unsigned char pattern(size_t at, unsigned seed)
{
	return (unsigned char)((at * 2654435761U + seed) >> 13);
}

/** exchange() - Send and check @BULK bytes at once on a non-blocking socket; bad bytes */
static size_t exchange(int fd, unsigned mine, unsigned theirs)
{
	static unsigned char out[70001], in[70001];
	size_t sent = 0, got = 0, bad = 0, step = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (sent < BULK || got < BULK) {
		struct pollfd p = {.fd = fd};

		p.events = (short)((sent < BULK ? POLLOUT : 0) | (got < BULK ? POLLIN : 0));
		if (poll(&p, 1, 10000) <= 0)
			return BULK;
		if ((p.revents & POLLOUT) != 0) {
			size_t n = step = step * 7 % 69997 + 1;

			if (n > BULK - sent)
				n = BULK - sent;
			for (size_t i = 0; i < n; i++)
				out[i] = pattern(sent + i, mine);
			ssize_t w = write(fd, out, n);
			if (w > 0)
				sent += (size_t)w;
		}
		if ((p.revents & POLLIN) != 0) {
			ssize_t r = read(fd, in, sizeof(in));

			if (r == 0 || (r < 0 && errno != EAGAIN))
				return BULK;
			for (ssize_t i = 0; i < r; i++)
				bad += in[i] != pattern(got + (size_t)i, theirs);
			if (r > 0)
				got += (size_t)r;
		}
	}
	return bad;
}

static void t36(void)
{
	struct pair p = connected();
	int status = 0;

	fflush(stdout);
	if (fork() == 0)
		_exit(exchange(p.s, 2, 1) == 0 ? 0 : 1);
	say("client bad %zu", exchange(p.c, 1, 2));
	wait(&status);
	say("server status %d", status);
}

static void t37(void)
{
	int status = 0;

	fflush(stdout);
	if (fork() == 0) {
		struct pair p = connected();
		char b[8];

		close(p.s);
		settled(p.c, POLLRDHUP);
		for (int i = 0; i < 10; i++) {
			b[0] = 'x';
			if (write(p.c, b, 1) < 0)
				_exit(2);
			nap(20);
		}
		_exit(3);
	}
	wait(&status);
	say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	fflush(stdout);
	if (fork() == 0)
		_exit(write(tcp(0), "x", 1) == 1);
	wait(&status);
	say("fresh killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void t38(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = tcp(0);
	char b[8];

	say("peer %s", err(getpeername(fd, (void *)&a, &len)));
	say("shutdown %s", err(shutdown(fd, SHUT_WR)));
	say("recv %s", num(recv(fd, b, 1, 0)));
	say("send %s", num(tell(fd, "x")));
	say("accept %s", err(accept(fd, NULL, NULL)));
	say("how %s", err(shutdown(fd, 7)));
	len = sizeof(a);
	say("name %s", err(getsockname(fd, (void *)&a, &len)));
	say("is %s %d", inet_ntoa(a.sin_addr), a.sin_port);
}

static void t39(void)
{
	int fd = tcp(0);
	int v = 1;

	say("listen(999) %s", err(listen(999, 1)));
	say("option %s", err(setsockopt(fd, IPPROTO_TCP, 9999, &v, sizeof(v))));
	say("short %s", err(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, 1)));
	say("bind(999) %s", err(bind(999, (void *)&v, sizeof(v))));
	say("connect(999) %s", err(dial(999, OWN, 1)));
	say("sctp %s", err(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)));
	say("type %s", err(socket(AF_INET, SOCK_STREAM | 0x40000000, 0)));
}

static void t40(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int l = listener(8);

	say("peer %s", err(getpeername(l, (void *)&a, &len)));
	say("connect %s", err(dial(l, OWN, 9)));
	say("again %s", err(listen(l, 16)));
	say("shutdown %s", err(shutdown(l, SHUT_RD)));
	say("accept %s", err(accept(l, NULL, NULL)));
}

/* T41: threads, forks and a signal that makes control calls, all at once */

static atomic_int stress_errors;
static int stress_port;
static int stress_named;

static void on_tick(int s)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int saved = errno;

	(void)s;
	getpeername(stress_named, (void *)&a, &len);
	errno = saved;
}

static int stress_one(void)
{
	char b[8];
	int c = socket(AF_INET, SOCK_STREAM, 0);
	int r;

	do
		r = dial(c, OWN, stress_port);
	while (r < 0 && (errno == EINTR || errno == EALREADY));
	if (r < 0 && errno != EISCONN) {
		close(c);
		return 1;
	}
	do
		r = (int)read(c, b, 1);
	while (r < 0 && errno == EINTR);
	close(c);
	return r != 1;
}

static void *stress_thread(void *n)
{
	for (int i = 0; i < *(int *)n; i++)
		atomic_fetch_add(&stress_errors, stress_one());
	return NULL;
}

static int stress_threads(int per_thread)
{
	struct sigaction sa = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	struct itimerval t = {{0, 2000}, {0, 2000}};
	pthread_t threads[6];

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, stress_thread, &per_thread);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	memset(&t, 0, sizeof(t));
	setitimer(ITIMER_REAL, &t, NULL);
	return atomic_load(&stress_errors);
}

static void t41(void)
{
	struct pair p = connected();
	int l = listener(512);
	pid_t server;
	int status, errors;

	stress_named = p.c;
	stress_port = port_of(l);
	fflush(stdout);
	server = fork();
	if (server == 0)
		serve_forever(l);
	for (int i = 0; i < 3; i++) {
		if (fork() == 0)
			_exit(stress_threads(share(20)) != 0);
	}
	errors = stress_threads(share(20));
	for (int i = 0; i < 3; i++) {
		while (wait(&status) < 0 && errno == EINTR)
			;
		errors += status != 0;
	}
	kill(server, SIGKILL);
	say("errors %d", errors);
}

static const struct probe_case cases[] = {
	{"T34", t34}, {"T35", t35}, {"T36", t36}, {"T37", t37},
	{"T38", t38}, {"T39", t39}, {"T40", t40}, {"T41", t41},
};

TCP_MAIN(cases)
