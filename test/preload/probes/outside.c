/**
 * outside.c - What a preload does not reach, or refuses: raw and packet sockets, io_uring, netlink,
 * /proc/net, urgent data, stdio on datagrams, programs without the library
 *
 * usage: outside [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void say_socket(const char *what, int family, int type, int protocol)
{
	const char *called = err(socket(family, type, protocol));

	say("%s %s, by number %s", what, called, err(syscall(SYS_socket, family, type, protocol)));
}

/** w_raw() - Raw and packet sockets see and send what no virtual network may: for root, too */
static void w_raw(void)
{
	say_socket("icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP);
	say_socket("tcp", AF_INET, SOCK_RAW, IPPROTO_TCP);
	say_socket("udp", AF_INET, SOCK_RAW, IPPROTO_UDP);
	say_socket("raw", AF_INET, SOCK_RAW, IPPROTO_RAW);
	say_socket("icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	say_socket("raw6", AF_INET6, SOCK_RAW, IPPROTO_RAW);
	say_socket("packet", AF_PACKET, SOCK_RAW, htons(3));
	say_socket("cooked packet", AF_PACKET, SOCK_DGRAM, htons(3));
	say_socket("old packet", AF_INET, SOCK_PACKET, htons(3));
}

static struct address listening(int l)
{
	struct address a = own(0);

	if (bind_to(l, &a) != 0 || listen(l, 8) != 0)
		say("listen %s", err(-1));
	return own(port_of(l));
}

struct pair {
	int c, s;
};

static struct pair connected(void)
{
	int l = socket(probe_family, SOCK_STREAM, 0);
	struct pair p = {.c = socket(probe_family, SOCK_STREAM, 0)};
	struct address a = listening(l);

	say("connect %s", err(connect_to(p.c, &a)));
	p.s = accept(l, NULL, NULL);
	close(l);
	return p;
}

static const char *told(int fd, int flags)
{
	static char text[4][64];
	static int turn;
	char b[16] = {0};
	ssize_t n = recv(fd, b, sizeof(b) - 1, flags | MSG_DONTWAIT);
	char *t = text[turn++ & 3];

	snprintf(t, sizeof(text[0]), "%s%s%s", num(n), n > 0 ? " " : "", b);
	return t;
}

static void urgent(bool in_line)
{
	struct pair p = connected();
	int mark = -1;

	set_option(p.s, SOL_SOCKET, SO_OOBINLINE, in_line);
	say("none %s", told(p.s, MSG_OOB));
	say("send %s", num(send(p.c, "ab", 2, MSG_NOSIGNAL)));
	say("urgent %s", num(send(p.c, "X", 1, MSG_OOB | MSG_NOSIGNAL)));
	say("poll %s", bits(settled(p.s, POLLIN)));
	say("out of line %s", told(p.s, MSG_OOB));
	say("read %s", told(p.s, 0));
	say("at mark %s", err(ioctl(p.s, SIOCATMARK, &mark)));
	say("is %d", mark);
	say("read %s", told(p.s, 0));
}

/** w_urgent() - Urgent data */
static void w_urgent(void)
{
	urgent(false);
	urgent(true);
}

/** w_stdio() - libc's own read and write: a stream is one, records of datagrams are not */
static void w_stdio(void)
{
	struct pair p = connected();
	FILE *out = fdopen(p.c, "w"), *in = fdopen(p.s, "r");
	int s = bound(AF_INET), c = udp(AF_INET);
	char b[128] = {0};

	fprintf(out, "a line\n");
	fflush(out);
	say("stream %s", fgets(b, sizeof(b), in) != NULL ? "a line" : "nothing");
	dial(c, port_of(s));
	out = fdopen(c, "w");
	fprintf(out, "a datagram");
	say("flush %s", err(fflush(out)));
	say("receives %s", not_got(s));
	send_to(bound(AF_INET), "whole", port_of(s));
	arrives(s);
	in = fdopen(s, "r");
	fcntl(s, F_SETFL, O_NONBLOCK);
	say("reads %zu bytes", fread(b, 1, sizeof(b), in));
}

/* ---------------------------------------------------------------- io_uring */

struct ring {
	int fd;
	unsigned *tail, *array, mask, *head, *ended;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *results;
	unsigned result_mask;
};

static void *map(const struct ring *r, size_t len, uint64_t at)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, (off_t)at);
}

static bool open_ring(struct ring *r)
{
	struct io_uring_params p = {0};
	char *asked, *done;

	r->fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (r->fd < 0)
		return false;
	asked = map(r, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	done = map(r, p.cq_off.cqes + p.cq_entries * sizeof(*r->results), IORING_OFF_CQ_RING);
	r->entries = map(r, p.sq_entries * sizeof(*r->entries), IORING_OFF_SQES);
	if (asked == MAP_FAILED || done == MAP_FAILED || (void *)r->entries == MAP_FAILED)
		return false;
	r->tail = (unsigned *)(asked + p.sq_off.tail);
	r->array = (unsigned *)(asked + p.sq_off.array);
	r->mask = *(unsigned *)(asked + p.sq_off.ring_mask);
	r->head = (unsigned *)(done + p.cq_off.head);
	r->ended = (unsigned *)(done + p.cq_off.tail);
	r->results = (struct io_uring_cqe *)(done + p.cq_off.cqes);
	r->result_mask = *(unsigned *)(done + p.cq_off.ring_mask);
	return true;
}

/** perform() - One operation; its result or -1 with errno */
static long perform(const struct ring *r, struct io_uring_sqe what)
{
	unsigned tail = *r->tail, at = tail & r->mask;
	int result;

	r->entries[at] = what;
	r->array[at] = at;
	__atomic_store_n(r->tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	if (__atomic_load_n(r->ended, __ATOMIC_ACQUIRE) == *r->head)
		return errno = EIO, -1;
	result = r->results[*r->head & r->result_mask].res;
	__atomic_store_n(r->head, *r->head + 1, __ATOMIC_RELEASE);
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

static struct io_uring_sqe entry(int op, int fd, const void *data, unsigned len)
{
	return (struct io_uring_sqe){.opcode = (uint8_t)op,
				     .fd = fd,
				     .addr = (uintptr_t)data,
				     .len = len,
				     .msg_flags = MSG_NOSIGNAL};
}

/** w_uring() - TCP data works; nothing else knows what a virtual socket is, or reaches the host */
static void w_uring(void)
{
	struct io_uring_sqe socket_entry = {
		.opcode = IORING_OP_SOCKET, .fd = AF_INET, .off = SOCK_STREAM};
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	struct io_uring_sqe connect_entry = {.opcode = IORING_OP_CONNECT, .fd = c};
	struct address a = listening(l);
	struct pair p = connected();
	struct ring r;
	char b[8] = {0};
	long fd;

	if (!open_ring(&r)) {
		cannot("io_uring says %s", err(-1));
		return;
	}
	say("send %s", num(perform(&r, entry(IORING_OP_SEND, p.c, "bytes", 5))));
	say("receive %s %s", num(perform(&r, entry(IORING_OP_RECV, p.s, b, sizeof(b)))), b);
	say("send more %s", num(perform(&r, entry(IORING_OP_SEND, p.c, "more", 4))));
	say("arrives %s", got(p.s));
	connect_entry.addr = (uintptr_t)&a.sa;
	connect_entry.off = a.len;
	say("connect %s", err(perform(&r, connect_entry)));
	say("call connects %s", err(connect_to(c, &a)));
	arrives(l);
	fcntl(l, F_SETFL, O_NONBLOCK);
	say("accept %s",
	    err(perform(&r, (struct io_uring_sqe){.opcode = IORING_OP_ACCEPT, .fd = l})));
	fd = perform(&r, socket_entry);
	say("socket %s", err(fd));
	say("it connects %s", err(connect_to((int)fd, &a)));
}

/* --------------------------------------------------- the machine, as it is */

/** dump() - Whether the answer to a netlink dump of addresses holds @ip */
static bool dump(const struct in_addr *ip)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg body;
	} ask = {.head = {.nlmsg_len = sizeof(ask),
			  .nlmsg_type = RTM_GETADDR,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		 .body = {.rtgen_family = AF_INET}};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	bool found = false;
	char b[8192];
	ssize_t n;

	say("netlink %s", err(fd));
	if (send(fd, &ask, sizeof(ask), 0) < 0)
		return false;
	while ((n = recv(fd, b, sizeof(b), 0)) >= (ssize_t)sizeof(struct nlmsghdr)) {
		found = found || memmem(b, (size_t)n, ip, sizeof(*ip)) != NULL;
		if (((struct nlmsghdr *)b)->nlmsg_type == NLMSG_DONE)
			break;
	}
	return found;
}

/** lists() - Whether a file of /proc/net has the port of @fd */
static bool lists(const char *file, int fd)
{
	char line[512], port[8];
	FILE *f = fopen(file, "r");
	bool found = false;

	snprintf(port, sizeof(port), ":%04X ", (unsigned)port_of(fd));
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		found = found || strstr(line, port) != NULL;
	return found;
}

/** w_host() - Netlink and /proc/net tell of the machine: read, they show nothing virtual */
static void w_host(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), d = bound(AF_INET);
	struct in_addr ip;

	listening(l);
	inet_pton(AF_INET, OWN, &ip);
	say("has the address %d", dump(&ip));
	say("proc has the listener %d", lists("/proc/net/tcp", l));
	say("proc has the datagram socket %d", lists("/proc/net/udp", d));
}

/** w_bare() - exec of a program without the library: data goes on, names are not those of IP */
static void w_bare(void)
{
	struct pair p = connected();
	char number[16];
	int status = -1;

	send(p.c, "bytes", 5, MSG_NOSIGNAL);
	snprintf(number, sizeof(number), "%d", p.s);
	fflush(stdout);
	if (fork() == 0) {
		unsetenv("LD_PRELOAD");
		execl("/proc/self/exe", "outside", "--bare", number, probe_current, (char *)NULL);
		_exit(1);
	}
	wait(&status);
	say("status %d", status);
	say("answer %s", got(p.c));
}

static int bare(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof(a);
	char b[8] = {0};

	say("name %s", err(getsockname(fd, (void *)&a, &len)));
	say("family %d", a.ss_family);
	say("read %s %s", num(read(fd, b, sizeof(b))), b);
	say("write %s", num(write(fd, "back", 4)));
	return 0;
}

static const struct probe_case cases[] = {
	{"W-raw", w_raw},     {"W-urgent", w_urgent}, {"W-stdio", w_stdio},
	{"W-uring", w_uring}, {"W-host", w_host},     {"W-bare", w_bare},
};

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--bare") == 0) {
		probe_begin(argv[3]);
		return bare(atoi(argv[2]));
	}
	return probe_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
