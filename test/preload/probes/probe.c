/**
 * probe.c - Printing, waiting, addresses and the process of a case
 *
 * A case that dies or does not end prints so. Helpers of a case end with it: each case has a
 * process group of its own.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/time.h>
#include <time.h>

/* Longest that a case may take, seconds; PROBE_LIMIT in the environment says otherwise. */
#define LIMIT_S 20

const char *probe_current;
int probe_family = AF_INET;
bool probe_mapped;

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

void probe_begin(const char *name)
{
	probe_current = name;
	probe_mapped = ends_with(name, "-mapped");
	probe_family = probe_mapped || ends_with(name, "-6") ? AF_INET6 : AF_INET;
}

void say(const char *format, ...)
{
	char line[512];
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	printf("%s %.*s\n", probe_current, n, line);
	fflush(stdout);
}

void cannot(const char *format, ...)
{
	char why[128];
	va_list list;

	va_start(list, format);
	vsnprintf(why, sizeof(why), format, list);
	va_end(list);
	say("skipped: %s", why);
}

const char *err(long r)
{
	if (r >= 0)
		return "ok";
	return strerrorname_np(errno) != NULL ? strerrorname_np(errno) : "?";
}

const char *ename(int e)
{
	if (e == 0)
		return "0";
	return strerrorname_np(e) != NULL ? strerrorname_np(e) : "?";
}

const char *num(long r)
{
	static char text[8][24];
	static int turn;
	char *t = text[turn++ & 7];

	if (r < 0)
		return err(r);
	snprintf(t, sizeof(text[0]), "%ld", r);
	return t;
}

const char *bits(short mask)
{
	static char text[4][64];
	static int turn;
	static const struct {
		short bit;
		const char *name;
	} all[] = {{POLLIN, "IN"},   {POLLPRI, "PRI"}, {POLLOUT, "OUT"},
		   {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLRDHUP, "RDHUP"}};
	char *t = text[turn++ & 3];

	t[0] = '\0';
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if ((mask & all[i].bit) != 0) {
			if (t[0] != '\0')
				strcat(t, " ");
			strcat(t, all[i].name);
		}
	}
	return t[0] == '\0' ? "-" : t;
}

void nap(int ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

	while (nanosleep(&t, &t) != 0)
		;
}

short mask_now(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP};

	if (poll(&p, 1, 0) < 0)
		return 0;
	return p.revents;
}

short settled(int fd, short want)
{
	short mask = mask_now(fd);

	for (int i = 0; i < SETTLE_MS && (mask & want) != want; i++) {
		nap(1);
		mask = mask_now(fd);
	}
	nap(20);
	return mask_now(fd);
}

bool arrives(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, SETTLE_MS) > 0;
}

static void ignore_signal(int s)
{
	(void)s;
}

void on_alarm(int ms, int flags)
{
	struct sigaction sa = {.sa_handler = ignore_signal, .sa_flags = flags};
	struct itimerval t = {{0, 0}, {ms / 1000, (ms % 1000) * 1000}};

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

void time_limit(int fd, int option, int ms)
{
	struct timeval t = {ms / 1000, (ms % 1000) * 1000};

	setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t));
}

int slowness(void)
{
	const char *text = getenv("PROBE_SLOW");

	return text == NULL ? 1 : atoi(text);
}

int share(int n)
{
	return n / slowness();
}

struct sockaddr_in to(const char *ip, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

struct sockaddr_in6 to6(const char *ip, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	inet_pton(AF_INET6, ip, &a.sin6_addr);
	return a;
}

/** address() - @ip4 or @ip6 by the running case */
static struct address address(const char *ip4, const char *ip6, int port)
{
	struct address a = {.len = sizeof(a.four)};
	char mapped[INET6_ADDRSTRLEN];

	if (probe_family == AF_INET) {
		a.four = to(ip4, port);
		return a;
	}
	snprintf(mapped, sizeof(mapped), "::ffff:%s", ip4);
	a.six = to6(probe_mapped ? mapped : ip6, port);
	a.len = sizeof(a.six);
	return a;
}

struct address own(int port)
{
	return address(OWN, OWN6, port);
}

struct address any(int port)
{
	struct address a = address("0.0.0.0", "::", port);

	/* An AF_INET6 socket bound there hears IPv4, too. */
	if (probe_mapped)
		a.six.sin6_addr = in6addr_any;
	return a;
}

struct address foreign(int port)
{
	return address(FOREIGN, FOREIGN6, port);
}

struct address silent(int port)
{
	return address(SILENT, SILENT6, port);
}

struct address loopback(int port)
{
	return address("127.0.0.1", "::1", port);
}

struct address other_family(int port)
{
	struct address a = own(port);

	a.sa.sa_family = probe_family == AF_INET ? AF_INET6 : AF_UNIX;
	return a;
}

int bind_to(int fd, const struct address *a)
{
	return bind(fd, &a->sa, a->len);
}

int connect_to(int fd, const struct address *a)
{
	return connect(fd, &a->sa, a->len);
}

const char *ip_in(const struct address *a)
{
	static char text[4][INET6_ADDRSTRLEN];
	static int turn;
	char *t = text[turn++ & 3];

	if (a->sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->four.sin_addr, t, INET6_ADDRSTRLEN);
	else if (a->sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a->six.sin6_addr, t, INET6_ADDRSTRLEN);
	else
		strcpy(t, "-");
	return t;
}

int port_of(int fd)
{
	struct sockaddr_in6 a = {0};
	socklen_t len = sizeof(a);

	/* The port has the same place in both kinds of address. */
	return getsockname(fd, (struct sockaddr *)&a, &len) == 0 ? ntohs(a.sin6_port) : -1;
}

int int_option(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) == 0 ? v : -errno;
}

int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

int pending(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) == 0 ? n : -errno;
}

int so_error(int fd)
{
	return int_option(fd, SOL_SOCKET, SO_ERROR);
}

void send_fd(int via, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	char byte = 'f';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	sendmsg(via, &m, 0);
}

int receive_fd(int via)
{
	char control[CMSG_SPACE(sizeof(int))];
	char byte;
	int fd = -1;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	if (recvmsg(via, &m, 0) == 1 && CMSG_FIRSTHDR(&m) != NULL)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void run_case(const struct probe_case *c)
{
	int status = 0, limit_s = LIMIT_S;
	pid_t pid;

	probe_begin(c->name);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		c->run();
		fflush(stdout);
		_exit(0);
	}
	if (getenv("PROBE_LIMIT") != NULL)
		limit_s = atoi(getenv("PROBE_LIMIT"));
	for (int ms = 0; waitpid(pid, &status, WNOHANG) == 0; ms++) {
		if (ms > limit_s * 1000) {
			say("does not end");
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			return;
		}
		nap(1);
	}
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		say("died of signal %d", WTERMSIG(status));
}

int probe_main(int argc, char **argv, const struct probe_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		bool wanted = argc == 1;

		for (int k = 1; k < argc; k++)
			wanted = wanted || strcmp(argv[k], cases[i].name) == 0;
		if (wanted)
			run_case(&cases[i]);
	}
	return 0;
}
