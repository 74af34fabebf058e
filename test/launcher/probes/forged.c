/**
 * forged.c - A program that names sockets of its own as virtual ones and plays the service
 *
 * What is passed with a record may be anything: a pipe that never has data, files that are no
 * notes, more descriptors than anybody expects. The supervisor must answer each call at once and
 * go on. Then more threads than the supervisor has block in accept(): those beyond its limit are
 * refused and everybody else is still served. One line each.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MANY	200
#define THREADS 1100

static const char *result(long r)
{
	static char text[32];

	if (r < 0)
		return strerrorname_np(errno);
	snprintf(text, sizeof(text), "%ld", r);
	return text;
}

/** forge() - A pair of record sockets, [0] bound to a name of carrier u */
static void forge(int pair[2], const char *kind)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0)
		exit(1);
	snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "ztnc1.4%s.%032x", kind, rand());
	if (bind(pair[0], (struct sockaddr *)&un, 47) != 0)
		exit(1);
}

static void pass(int to, const void *bytes, size_t len, const int *fds, size_t count)
{
	char control[CMSG_SPACE(MANY * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (count > 0) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	if (sendmsg(to, &msg, 0) < 0)
		exit(1);
}

static void receive(const char *what, int fd)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char text[100];

	printf("%s %s\n", what,
	       result(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len)));
}

static void notes(void)
{
	char header[64] = {1};
	int pair[2], p[2], many[MANY];
	int wrong = memfd_create("wrong", 0), brief = memfd_create("short", 0);

	forge(pair, "du11");
	if (pipe(p) != 0 || write(wrong, header, sizeof(header)) != 64 ||
	    write(brief, header, 63) != 63)
		exit(1);
	for (int i = 0; i < MANY; i++)
		many[i] = p[0];
	pass(pair[1], "data", 4, NULL, 0);
	receive("nothing passed", pair[0]);
	pass(pair[1], "data", 4, &p[0], 1);
	receive("a pipe", pair[0]);
	pass(pair[1], "data", 4, &brief, 1);
	receive("a short note", pair[0]);
	pass(pair[1], "data", 4, &wrong, 1);
	receive("a wrong note", pair[0]);
	pass(pair[1], "data", 4, many, MANY);
	receive("many pipes", pair[0]);
	header[4] = 4;
	header[16] = 4;
	if (pwrite(wrong, header, sizeof(header), 0) != 64)
		exit(1);
	pass(pair[1], "data", 4, &wrong, 1);
	receive("a right note", pair[0]);
	close(pair[1]);
	receive("no service", pair[0]);
}

static atomic_int refused, waiting;

static void *block(void *argument)
{
	int r;

	atomic_fetch_add(&waiting, 1);
	r = accept(*(int *)argument, NULL, NULL);
	if (r < 0 && errno == ENOBUFS)
		atomic_fetch_add(&refused, 1);
	return NULL;
}

static void crowd(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7200)};
	socklen_t len = sizeof(in);
	static pthread_t threads[THREADS];
	pthread_attr_t small;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&in, len) != 0 || listen(fd, 5) != 0)
		exit(1);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], &small, block, &fd) != 0)
			exit(1);
	}
	while (atomic_load(&refused) == 0)
		usleep(10000);
	in.sin_port = 0;
	printf("a name meanwhile %s", result(getsockname(fd, (struct sockaddr *)&in, &len)));
	printf(" port %d\n", ntohs(in.sin_port));
	shutdown(fd, SHUT_RDWR);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("all came back\n");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	srand(7);
	notes();
	crowd();
	return 0;
}
