/**
 * hostile.c - A program that tries to break its supervisor: hostile SEED ADDRESS
 *
 * Threads make random socket calls with wrong pointers, wrong lengths and wrong descriptors, while
 * another thread rewrites the memory that the calls point to and a timer interrupts them; the
 * processes that do so are killed in the middle. Then an orderly connection must still work, and
 * the supervisor must hold no descriptor of anybody. Prints what is left in the supervisor.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define THREADS	  6
#define CALLS	  1500

static const long numbers[] = {
	SYS_socket,	 SYS_bind,	  SYS_listen,	  SYS_connect,	  SYS_accept,	SYS_accept4,
	SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_shutdown, SYS_sendto,
	SYS_recvfrom,	 SYS_sendmsg,	  SYS_recvmsg,	  SYS_sendmmsg,	  SYS_recvmmsg, SYS_ioctl,
	SYS_socket,	 SYS_close,	  SYS_socket,	  SYS_listen,	  SYS_connect,	SYS_dup};

struct shared {
	_Atomic long calls;
	uint8_t bytes[65536];
};

static struct shared *shared;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static long pointer(uint64_t *s)
{
	switch (next(s) % 6) {
	case 0:
		return 0;
	case 1:
		return (long)(next(s) << 20);
	case 2:
		return -4096 + (long)(next(s) % 4096);
	default:
		return (long)(shared->bytes + next(s) % 60000);
	}
}

static long number(uint64_t *s)
{
	static const long odd[] = {0,	1,   -1,   16,	  28,	      110,
				   128, 129, 4096, 65536, 0x7fffffff, 1L << 40};

	return next(s) % 2 == 0 ? odd[next(s) % 12] : (long)(next(s) % 64);
}

static void one_call(uint64_t *s)
{
	long nr = numbers[next(s) % (sizeof(numbers) / sizeof(numbers[0]))];
	long fd = 3 + (long)(next(s) % 40);

	if (nr == SYS_socket)
		syscall(nr, next(s) % 2 == 0 ? AF_INET : AF_INET6,
			(next(s) % 3 == 0 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
	else if (nr == SYS_ioctl)
		syscall(nr, fd, 0x8900 + (long)(next(s) % 0x60), pointer(s));
	else if (nr == SYS_getsockopt || nr == SYS_setsockopt)
		syscall(nr, fd, next(s) % 42, next(s) % 60, pointer(s),
			nr == SYS_getsockopt ? pointer(s) : number(s));
	else if (nr == SYS_sendto || nr == SYS_recvfrom)
		syscall(nr, fd, pointer(s), number(s), (int)next(s), pointer(s), pointer(s));
	else if (nr == SYS_sendmmsg || nr == SYS_recvmmsg)
		syscall(nr, fd, pointer(s), number(s), (int)next(s), pointer(s));
	else
		syscall(nr, fd, pointer(s), number(s), pointer(s));
	atomic_fetch_add(&shared->calls, 1);
}

static void *caller(void *argument)
{
	uint64_t state = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15ULL + 1;

	for (;;)
		one_call(&state);
	return NULL;
}

/** rewriter() - Addresses, message headers and their vectors that change under the supervisor */
static void *rewriter(void *argument)
{
	uint64_t state = (uint64_t)(uintptr_t)argument | 1;

	for (;;) {
		uint8_t *at = shared->bytes + next(&state) % 60000;
		struct msghdr msg = {.msg_iov = (struct iovec *)(void *)shared->bytes,
				     .msg_iovlen = next(&state) % 2000,
				     .msg_name = shared->bytes,
				     .msg_namelen = 28};
		uint16_t family = next(&state) % 2 == 0 ? AF_INET : AF_INET6;

		switch (next(&state) % 4) {
		case 0:
			memcpy(at, &msg, sizeof(msg));
			break;
		case 1:
			memcpy(at, &family, 2);
			break;
		case 2:
			memset(at, 0, 64);
			break;
		default:
			memcpy(at, &state, 8);
		}
	}
	return NULL;
}

static void on_timer(int n)
{
	(void)n;
}

static void attack(long seed)
{
	struct itimerval each = {{0, 3000}, {0, 3000}};
	struct sigaction action = {.sa_handler = on_timer};
	pthread_t t;

	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	setitimer(ITIMER_REAL, &each, NULL);
	pthread_create(&t, NULL, rewriter, (void *)(seed + 77));
	for (long i = 1; i < THREADS; i++)
		pthread_create(&t, NULL, caller, (void *)(seed * 100 + i));
	caller((void *)(seed * 100));
}

static void orderly(const char *ip)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7100)};
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;
	char text[6] = "";

	if (bind(l, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(l, 1) != 0) {
		printf("bind or listen: %s\n", strerror(errno));
		return;
	}
	inet_pton(AF_INET, ip, &in.sin_addr);
	if (connect(c, (struct sockaddr *)&in, sizeof(in)) != 0) {
		printf("connect: %s\n", strerror(errno));
		return;
	}
	s = accept(l, NULL, NULL);
	if (write(c, "hello", 5) != 5 || read(s, text, 5) != 5)
		printf("no data\n");
	printf("orderly %s\n", text);
}

static int supervisor_files(void)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", getppid());
	d = opendir(path);
	if (d == NULL)
		return -1;
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	pid_t children[PROCESSES];
	int status = 0;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0)
			attack(atol(argv[1]) * PROCESSES + i);
	}
	for (int i = 0; i < PROCESSES; i++) {
		while (atomic_load(&shared->calls) < CALLS * (i + 1)) {
			if (waitpid(children[i], &status, WNOHANG) != 0) {
				printf("a process ended with %x\n", (unsigned)status);
				return 1;
			}
			usleep(1000);
		}
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	orderly(argv[2]);
	/* Calls of the killed ones are noticed at the next look. */
	while (supervisor_files() > 24)
		usleep(10000);
	printf("left nothing\n");
	return 0;
}
