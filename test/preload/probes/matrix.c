/**
 * matrix.c - Every wrapped socket call with every kind of argument and state of its socket
 *
 * One case for each kind and family; each line is one call on a connected TCP or UDP socket of its
 * own. The table of hooks.md shows which squares these and the other probes fill.
 *
 * usage: matrix [CASE...]
 */
#define _GNU_SOURCE
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

/* Descriptor that is never open. */
#define NO_FD 900

static bool null_arguments, short_arguments;
static struct address peer; /* of the socket under test */

/** p() - A pointer argument, or NULL for that kind of call */
static void *p(void *pointer)
{
	return null_arguments ? NULL : pointer;
}

static socklen_t addr_len(void)
{
	return short_arguments ? 3 : own(0).len;
}

static size_t data_len(void)
{
	return short_arguments ? 0 : 4;
}

/* ----------------------------------------------------------------- calls */

static char bytes[8] = "data";
static struct iovec vector;
static struct address out;
static socklen_t out_len;

static struct msghdr message(void)
{
	vector = (struct iovec){bytes, 4};
	return (struct msghdr){.msg_iov = p(&vector), .msg_iovlen = short_arguments ? 0 : 1};
}

static struct iovec *list(void)
{
	vector = (struct iovec){bytes, data_len()};
	return p(&vector);
}

static long c_bind(int fd)
{
	struct address a = own(0);

	return bind(fd, p(&a.sa), addr_len());
}

static long c_listen(int fd)
{
	return listen(fd, 4);
}

static long c_connect(int fd)
{
	return connect(fd, p(&peer.sa), addr_len());
}

static long c_accept(int fd)
{
	out_len = addr_len();
	return accept(fd, p(&out.sa), p(&out_len));
}

static long c_accept4(int fd)
{
	out_len = addr_len();
	return accept4(fd, p(&out.sa), p(&out_len), SOCK_NONBLOCK);
}

static long c_getsockname(int fd)
{
	out_len = addr_len();
	return getsockname(fd, p(&out.sa), &out_len);
}

static long c_getpeername(int fd)
{
	out_len = addr_len();
	return getpeername(fd, p(&out.sa), &out_len);
}

static long c_getsockopt(int fd)
{
	int v = 0;
	socklen_t len = short_arguments ? 2 : sizeof(v);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, p(&v), &len);
}

static long c_setsockopt(int fd)
{
	int v = 9;
	socklen_t len = short_arguments ? 0 : sizeof(v);

	if (probe_family == AF_INET6)
		return setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, p(&v), len);
	return setsockopt(fd, IPPROTO_IP, IP_TTL, p(&v), len);
}

static long c_shutdown(int fd)
{
	return shutdown(fd, SHUT_WR);
}

static long c_read(int fd)
{
	return read(fd, p(bytes), data_len());
}

static long c_readv(int fd)
{
	return readv(fd, list(), 1);
}

static long c_recv(int fd)
{
	return recv(fd, p(bytes), data_len(), 0);
}

static long c_recvfrom(int fd)
{
	out_len = addr_len();
	return recvfrom(fd, p(bytes), 4, 0, &out.sa, &out_len);
}

static long c_recvmsg(int fd)
{
	struct msghdr m = message();

	return recvmsg(fd, &m, 0);
}

static long c_recvmmsg(int fd)
{
	struct mmsghdr m = {.msg_hdr = message()};

	m.msg_hdr.msg_iov = &vector;
	m.msg_hdr.msg_iovlen = 1;
	return recvmmsg(fd, p(&m), short_arguments ? 0 : 1, 0, NULL);
}

static long c_write(int fd)
{
	return write(fd, p(bytes), data_len());
}

static long c_writev(int fd)
{
	return writev(fd, list(), 1);
}

static long c_send(int fd)
{
	return send(fd, p(bytes), data_len(), MSG_NOSIGNAL);
}

static long c_sendto(int fd)
{
	return sendto(fd, p(bytes), 4, MSG_NOSIGNAL, &peer.sa, addr_len());
}

static long c_sendmsg(int fd)
{
	struct msghdr m = message();

	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static long c_sendmmsg(int fd)
{
	struct mmsghdr m = {.msg_hdr = message()};

	m.msg_hdr.msg_iov = &vector;
	m.msg_hdr.msg_iovlen = 1;
	return sendmmsg(fd, p(&m), short_arguments ? 0 : 1, MSG_NOSIGNAL);
}

static long c_ioctl(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, p(&n));
}

static long c_dup(int fd)
{
	return dup(fd);
}

static long c_dup2(int fd)
{
	return dup2(fd, 200);
}

static long c_dup3(int fd)
{
	return dup3(fd, 201, O_CLOEXEC);
}

static long c_fcntl(int fd)
{
	return fcntl(fd, F_DUPFD, 202);
}

static long c_syscall(int fd)
{
	out_len = addr_len();
	return syscall(SYS_getpeername, fd, p(&out.sa), &out_len);
}

static const struct call {
	const char *name;
	long (*make)(int fd);
	bool counts;   /* the result is a number of bytes or messages */
	bool receives; /* something must wait to be read, where the kind allows it */
} calls[] = {
	{"bind", c_bind, false, false},
	{"listen", c_listen, false, false},
	{"connect", c_connect, false, false},
	{"accept", c_accept, false, false},
	{"accept4", c_accept4, false, false},
	{"getsockname", c_getsockname, false, false},
	{"getpeername", c_getpeername, false, false},
	{"getsockopt", c_getsockopt, false, false},
	{"setsockopt", c_setsockopt, false, false},
	{"shutdown", c_shutdown, false, false},
	{"read", c_read, true, true},
	{"readv", c_readv, true, true},
	{"recv", c_recv, true, true},
	{"recvfrom", c_recvfrom, true, true},
	{"recvmsg", c_recvmsg, true, true},
	{"recvmmsg", c_recvmmsg, true, true},
	{"write", c_write, true, false},
	{"writev", c_writev, true, false},
	{"send", c_send, true, false},
	{"sendto", c_sendto, true, false},
	{"sendmsg", c_sendmsg, true, false},
	{"sendmmsg", c_sendmmsg, true, false},
	{"ioctl", c_ioctl, false, false},
	{"dup", c_dup, false, false},
	{"dup2", c_dup2, false, false},
	{"dup3", c_dup3, false, false},
	{"fcntl", c_fcntl, false, false},
	{"syscall", c_syscall, false, false},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void report(const char *kind, const struct call *c, long r)
{
	say("%s %s %s", kind, c->name, c->counts ? num(r) : err(r));
}

/* --------------------------------------------------------------- sockets */

struct pair {
	int mine, other;
};

static int bound(int type)
{
	struct address a = own(0);
	int fd = socket(probe_family, type, 0);

	if (fd < 0 || bind_to(fd, &a) != 0) {
		say("socket %s", err(-1));
		exit(1);
	}
	return fd;
}

static struct pair tcp_pair(void)
{
	int l = bound(SOCK_STREAM);
	struct pair x = {.mine = socket(probe_family, SOCK_STREAM, 0)};

	listen(l, 4);
	peer = own(port_of(l));
	if (connect_to(x.mine, &peer) != 0)
		say("connect %s", err(-1));
	x.other = accept(l, NULL, NULL);
	close(l);
	return x;
}

static struct pair udp_pair(void)
{
	struct pair x = {bound(SOCK_DGRAM), bound(SOCK_DGRAM)};
	struct address back = own(port_of(x.mine));

	peer = own(port_of(x.other));
	connect_to(x.mine, &peer);
	connect_to(x.other, &back);
	return x;
}

static const char *kind_of(bool stream)
{
	return stream ? "tcp" : "udp";
}

/** each() - @run for every call and both kinds of socket, each with a connected pair of its own */
static void each(void (*run)(const char *kind, const struct call *c, struct pair x))
{
	for (int stream = 1; stream >= 0; stream--) {
		for (size_t i = 0; i < CALLS; i++) {
			struct pair x = stream ? tcp_pair() : udp_pair();

			run(kind_of(stream), &calls[i], x);
			close(x.mine);
			close(x.other);
		}
	}
}

/** supply() - Something to read, for the calls that read */
static void supply(const struct call *c, struct pair x)
{
	if (!c->receives)
		return;
	send(x.other, "data", 4, MSG_NOSIGNAL);
	arrives(x.mine);
}

/* ------------------------------------------------------------- the kinds */

static void plain(const char *kind, const struct call *c, struct pair x)
{
	supply(c, x);
	report(kind, c, c->make(x.mine));
}

static void m_valid(void)
{
	each(plain);
}

static void m_null(void)
{
	null_arguments = true;
	each(plain);
}

static void m_length(void)
{
	short_arguments = true;
	each(plain);
}

/* No list at all, and lists of lengths that cannot be. */
static void lists(const char *kind, int fd)
{
	static const int counts[] = {0, -1, 1025};

	say("%s recvmsg without message %s", kind, num(recvmsg(fd, NULL, MSG_DONTWAIT)));
	say("%s sendmsg without message %s", kind, num(sendmsg(fd, NULL, MSG_DONTWAIT)));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		vector = (struct iovec){bytes, 4};
		say("%s readv of %d %s", kind, counts[i], num(readv(fd, &vector, counts[i])));
		say("%s writev of %d %s", kind, counts[i], num(writev(fd, &vector, counts[i])));
	}
}

static void m_lists(void)
{
	int l = bound(SOCK_STREAM), c = socket(probe_family, SOCK_STREAM, 0);
	int d = bound(SOCK_DGRAM);
	struct address a;

	listen(l, 1);
	a = own(port_of(l));
	say("connect %s", err(connect_to(c, &a)));
	fcntl(c, F_SETFL, O_NONBLOCK);
	lists("tcp", c);
	a = own(port_of(d));
	say("connect %s", err(connect_to(d, &a)));
	fcntl(d, F_SETFL, O_NONBLOCK);
	lists("udp", d);
}

static void m_wrong_fd(void)
{
	for (size_t i = 0; i < CALLS; i++)
		report("closed", &calls[i], calls[i].make(NO_FD));
}

static void m_not_ours(void)
{
	int fds[2];

	for (size_t i = 0; i < CALLS; i++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) != 0)
			return;
		peer = own(9);
		if (calls[i].receives && send(fds[1], "data", 4, 0) != 4)
			return;
		report("unix", &calls[i], calls[i].make(fds[0]));
		close(fds[0]);
		close(fds[1]);
	}
}

static void nonblocking(const char *kind, const struct call *c, struct pair x)
{
	fcntl(x.mine, F_SETFL, O_NONBLOCK);
	report(kind, c, c->make(x.mine));
}

static void m_nonblocking(void)
{
	each(nonblocking);
}

static void after_shutdown(const char *kind, const struct call *c, struct pair x)
{
	shutdown(x.mine, SHUT_RDWR);
	settled(x.mine, POLLHUP);
	report(kind, c, c->make(x.mine));
}

static void m_shutdown(void)
{
	signal(SIGPIPE, SIG_IGN);
	each(after_shutdown);
}

/** after_reset() - TCP: the peer reset the connection; UDP: its port refused a datagram */
static void after_reset(const char *kind, const struct call *c, struct pair x)
{
	struct linger on = {1, 0};

	setsockopt(x.other, SOL_SOCKET, SO_LINGER, &on, sizeof(on));
	close(x.other);
	fcntl(x.mine, F_SETFL, O_NONBLOCK);
	if (strcmp(kind, "udp") == 0)
		send(x.mine, "x", 1, 0);
	if (strcmp(kind, "udp") == 0)
		arrives(x.mine);
	else
		settled(x.mine, POLLHUP);
	report(kind, c, c->make(x.mine));
}

static void m_reset(void)
{
	signal(SIGPIPE, SIG_IGN);
	each(after_reset);
}

static void duplicated(const char *kind, const struct call *c, struct pair x)
{
	int copy = dup(x.mine);

	supply(c, x);
	close(x.mine);
	report(kind, c, c->make(copy));
	close(copy);
}

static void m_dup(void)
{
	each(duplicated);
}

static void in_child(const char *kind, const struct call *c, struct pair x)
{
	supply(c, x);
	fflush(stdout);
	if (fork() == 0) {
		report(kind, c, c->make(x.mine));
		_exit(0);
	}
	wait(NULL);
}

static void m_fork(void)
{
	each(in_child);
}

static void in_program(const char *kind, const struct call *c, struct pair x)
{
	char fd[16], index[16], port[16];

	supply(c, x);
	snprintf(fd, sizeof(fd), "%d", x.mine);
	snprintf(index, sizeof(index), "%d", (int)(c - calls));
	snprintf(port, sizeof(port), "%d", ntohs(peer.four.sin_port));
	fflush(stdout);
	if (fork() == 0) {
		execl("/proc/self/exe", "matrix", "--inherited", kind, index, fd, port,
		      probe_current, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
}

static void m_exec(void)
{
	each(in_program);
}

struct job {
	const struct call *call;
	int fd;
	long result;
	int error;
};

static void *work(void *argument)
{
	struct job *j = argument;

	j->result = j->call->make(j->fd);
	j->error = errno;
	return NULL;
}

static void in_thread(const char *kind, const struct call *c, struct pair x)
{
	struct job j = {.call = c, .fd = x.mine};
	pthread_t thread;

	supply(c, x);
	pthread_create(&thread, NULL, work, &j);
	pthread_join(thread, NULL);
	errno = j.error;
	report(kind, c, j.result);
}

static void m_threads(void)
{
	each(in_thread);
}

static const struct probe_case cases[] = {
	FOUR_SIX_MAPPED("M-valid", m_valid),
	FOUR_SIX("M-null", m_null),
	FOUR_SIX_MAPPED("M-length", m_length),
	FOUR_SIX("M-wrong-fd", m_wrong_fd),
	FOUR_SIX("M-not-ours", m_not_ours),
	FOUR_SIX("M-nonblocking", m_nonblocking),
	FOUR_SIX("M-shutdown", m_shutdown),
	FOUR_SIX_MAPPED("M-reset", m_reset),
	FOUR_SIX("M-dup", m_dup),
	FOUR_SIX("M-fork", m_fork),
	FOUR_SIX("M-exec", m_exec),
	FOUR_SIX("M-threads", m_threads),
	FOUR_SIX("M-lists", m_lists),
};

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "--inherited") == 0) {
		const struct call *c = &calls[atoi(argv[3])];

		probe_begin(argv[6]);
		peer = own(atoi(argv[5]));
		report(argv[2], c, c->make(atoi(argv[4])));
		return 0;
	}
	return probe_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
