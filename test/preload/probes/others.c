/**
 * others.c - Second names that libc exports, checked variants, and seccomp filters
 *
 * Second names (__read, fcntl64, __recv_chk ...) are used on datagram sockets, where a call that
 * misses the library cannot look like one that did not.
 *
 * usage: others [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

ssize_t __read(int fd, void *buf, size_t len);
ssize_t __write(int fd, const void *buf, size_t len);
ssize_t __send(int fd, const void *buf, size_t len, int flags);
int __connect(int fd, const struct sockaddr *addr, socklen_t len);
int __dup2(int from, int to);
int __fcntl(int fd, int command, ...);
int __sendmmsg(int fd, struct mmsghdr *m, unsigned count, int flags);
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *addr,
		       socklen_t *addr_len);

int pidfd_getfd(int process, int fd, unsigned flags);

static void o_names(void)
{
	char text[1][16] = {"batch"}, b[32] = {0};
	int s = bound(AF_INET), c = udp(AF_INET);
	struct sockaddr_in a = to(OWN, port_of(s)), from;
	socklen_t len = sizeof(from);
	struct mmsghdr m[1];
	struct iovec iov[1];

	say("connect %s", err(__connect(c, (void *)&a, sizeof(a))));
	say("write %s", num(__write(c, "one", 3)));
	arrives(s);
	say("read %s %.3s", num(__read(s, b, sizeof(b))), b);
	say("send %s", num(__send(c, "two", 3, 0)));
	arrives(s);
	say("read_chk %s %.3s", num(__read_chk(s, b, 8, sizeof(b))), b);
	fill(m, iov, text, 1);
	say("sendmmsg %s", num(__sendmmsg(c, m, 1, 0)));
	arrives(s);
	say("recv_chk %s %.5s", num(__recv_chk(s, b, 8, sizeof(b), 0)), b);
	send(c, "three", 5, 0);
	arrives(s);
	say("recvfrom_chk %s %.5s", num(__recvfrom_chk(s, b, 8, sizeof(b), 0, (void *)&from, &len)),
	    b);
	say("from %s", ip_of(&from));
}

/** reads_whole() - A number got by a duplicate reads datagrams, not records */
static void reads_whole(const char *how, int fd, int c)
{
	char b[64] = {0};

	send(c, "payload", 7, 0);
	arrives(fd);
	say("%s reads %s %.7s", how, num(read(fd, b, sizeof(b))), b);
}

static void o_duplicates(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);

	dial(c, port_of(s));
	reads_whole("dup", dup(s), c);
	reads_whole("dup2", dup2(s, 100), c);
	reads_whole("__dup2", __dup2(s, 101), c);
	reads_whole("dup3", dup3(s, 102, O_CLOEXEC), c);
	reads_whole("fcntl", fcntl(s, F_DUPFD, 103), c);
	reads_whole("__fcntl", __fcntl(s, F_DUPFD, 110), c);
	reads_whole("fcntl64", fcntl64(s, F_DUPFD_CLOEXEC, 120), c);
	reads_whole("syscall", (int)syscall(SYS_dup, s), c);
}

static void o_overflow(void)
{
	int s = bound(AF_INET), status = 0;
	char b[8];

	fflush(stdout);
	if (fork() == 0) {
		freopen("/dev/null", "w", stderr);
		__recv_chk(s, b, 9, sizeof(b), MSG_DONTWAIT);
		_exit(0);
	}
	wait(&status);
	say("too long ends with signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* Ends the process at every call that a request to a service would need. */
static struct sock_filter no_requests[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

/** filtered() - A stream whose two directions have ended, read after a filter was installed */
static void filtered(bool by_prctl)
{
	struct sock_fprog prog = {.len = sizeof(no_requests) / sizeof(no_requests[0]),
				  .filter = no_requests};
	struct sockaddr_in a = to(OWN, 0);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;
	char b[8];

	bind(l, (void *)&a, sizeof(a));
	listen(l, 4);
	a = to(OWN, port_of(l));
	say("connect %s", err(connect(c, (void *)&a, sizeof(a))));
	s = accept(l, NULL, NULL);
	send(s, "last", 4, MSG_NOSIGNAL);
	shutdown(c, SHUT_WR);
	close(s);
	settled(c, POLLHUP);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (by_prctl)
		say("filter %s", err(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0)));
	else
		say("filter %s", err(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog)));
	say("read %s", num(read(c, b, sizeof(b))));
	say("end %s", num(read(c, b, sizeof(b))));
	say("options %d", int_option(c, SOL_SOCKET, SO_TYPE));
}

static void o_prctl(void)
{
	filtered(true);
}

static void o_seccomp(void)
{
	filtered(false);
}

/** o_asks() - Asking what the kernel knows of filters, and filters that are refused, change nothing
 */
static void o_asks(void)
{
	struct sock_fprog none = {0};
	unsigned action = SECCOMP_RET_ALLOW;

	say("null %s", err(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0)));
	say("socket %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
	say("mode %s", err(prctl(PR_SET_SECCOMP, 77, NULL, 0, 0)));
	say("socket %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
	say("action %s", err(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action)));
	say("socket %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
	say("empty %s", err(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none)));
	say("socket %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
	say("flags %s", err(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, -1, NULL)));
	say("socket %s", err(socket(AF_INET, SOCK_DGRAM, 0)));
}

/** o_vfork() - A child that shares memory puts files in the place of sockets, and installs a filter
 */
static void o_vfork(void)
{
	struct sock_fprog prog = {.len = sizeof(no_requests) / sizeof(no_requests[0]),
				  .filter = no_requests};
	int s = bound(AF_INET), c = udp(AF_INET), status = 0;
	int null = open("/dev/null", O_RDWR);
	pid_t pid;

	dial(c, port_of(s));
	pid = vfork();
	if (pid == 0) {
		dup2(null, s);
		dup2(null, c);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say("child %d", status);
	reads_whole("after vfork", s, c);
	say("socket %s", err(socket(AF_INET, SOCK_STREAM, 0)));
}

static void o_pidfd(void)
{
	int s = bound(AF_INET), c = udp(AF_INET);
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	dial(c, port_of(s));
	reads_whole("pidfd_getfd", pidfd_getfd(self, s, 0), c);
	reads_whole("by number", (int)syscall(SYS_pidfd_getfd, self, s, 0), c);
}

/** o_rights() - Descriptors that come with several messages in one call */
static void o_rights(void)
{
	int s = bound(AF_INET), c = udp(AF_INET), pair[2], fd;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control[2];
	char byte[2];
	struct iovec iov[2] = {{byte, 1}, {byte + 1, 1}};
	struct mmsghdr m[2] = {0};

	dial(c, port_of(s));
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	for (int i = 0; i < 2; i++) {
		send_fd(pair[0], s);
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
					       .msg_iovlen = 1,
					       .msg_control = control[i].bytes,
					       .msg_controllen = sizeof(control[i].bytes)};
	}
	say("messages %s", num(recvmmsg(pair[1], m, 2, 0, NULL)));
	for (int i = 0; i < 2; i++) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m[i].msg_hdr)), sizeof(fd));
		reads_whole("passed", fd, c);
	}
}

/* Ends the process at every call but those that read and write. */
static struct sock_filter reads_only[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_readv, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_writev, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

/** o_stale() - Behind a strict filter, a pipe that has the numbers of sockets */
static void o_stale(void)
{
	struct sock_fprog prog = {.len = sizeof(reads_only) / sizeof(reads_only[0]),
				  .filter = reads_only};
	int first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0);
	int ends[2];
	char b[8];

	close(first);
	close(second);
	say("pipe %s", err(pipe(ends)));
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	say("filter %s", err(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0)));
	say("write %s", num(write(ends[1], "abc", 3)));
	say("read %s", num(read(ends[0], b, sizeof(b))));
}

static const struct probe_case cases[] = {
	{"O-stale", o_stale},	    {"O-names", o_names}, {"O-duplicates", o_duplicates},
	{"O-overflow", o_overflow}, {"O-prctl", o_prctl}, {"O-seccomp", o_seccomp},
	{"O-asks", o_asks},	    {"O-vfork", o_vfork}, {"O-pidfd", o_pidfd},
	{"O-rights", o_rights},
};

PROBE_MAIN(cases)
