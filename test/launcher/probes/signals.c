/**
 * signals.c - Signals that meet a blocking accept, connect or receive, one line each
 *
 * Runs on the kernel and under zt-run; the lines must be equal. Needs a thread library and, as its
 * arguments, an address of this machine and one that never answers. No sleep decides a result:
 * a helper process acts when the caller is seen asleep in the kernel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static const char *own, *silent;

static void on_signal(int number)
{
	(void)number;
	handled++;
}

static const char *result(long r)
{
	if (r >= 0)
		return "ok";
	return strerrorname_np(errno);
}

static void handle(int number, int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

	sigaction(number, &action, NULL);
}

static struct sockaddr_in address(const char *ip, int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, ip, &in.sin_addr);
	return in;
}

static int listener(int port)
{
	struct sockaddr_in in = address("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 8) != 0)
		exit(1);
	return fd;
}

static long attempt(const char *ip, int port)
{
	struct sockaddr_in in = address(ip, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&in, sizeof(in));
}

/** asleep() - Wait until a thread has been in the same system call for 50 ms */
static void asleep(pid_t tid)
{
	char path[64], text[256] = "", before[256];
	int same = 0;

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	while (same < 5) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = '\0';
		same = strcmp(text, before) == 0 && strncmp(text, "running", 7) != 0 ? same + 1 : 0;
		strcpy(before, text);
		usleep(10000);
	}
}

/** helper() - A process that sends @number to the caller once it sleeps, then connects if asked */
static pid_t helper(int number, int port)
{
	pid_t caller = getpid();
	pid_t child = fork();

	if (child != 0)
		return child;
	asleep(caller);
	kill(caller, number);
	if (port > 0) {
		asleep(caller);
		_exit(attempt(own, port) == 0 ? 0 : 1);
	}
	_exit(0);
}

static void accepts(int fd)
{
	pid_t child = helper(SIGUSR1, 0);
	int status;

	printf("accept without SA_RESTART %s", result(accept(fd, NULL, NULL)));
	waitpid(child, &status, 0);
	printf(" handled %d\n", handled);
	handled = 0;
	child = helper(SIGUSR2, 7001);
	printf("accept with SA_RESTART %s", result(accept(fd, NULL, NULL)));
	waitpid(child, &status, 0);
	printf(" handled %d\n", handled);
	handled = 0;
}

static void limited(int fd)
{
	struct timeval limit = {20, 0};
	pid_t child;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	child = helper(SIGUSR2, 0);
	printf("accept with SO_RCVTIMEO and SA_RESTART %s\n", result(accept(fd, NULL, NULL)));
	waitpid(child, NULL, 0);
	limit.tv_sec = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static void connects(void)
{
	pid_t child = helper(SIGUSR1, 0);

	printf("connect without SA_RESTART %s\n", result(attempt(silent, 7002)));
	waitpid(child, NULL, 0);
}

static void receives(int fd)
{
	struct sockaddr_in peer = address(own, 7001);
	socklen_t len = sizeof(peer);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	char byte;
	pid_t child;

	if (connect(client, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		exit(1);
	close(accept(fd, NULL, NULL));
	shutdown(client, SHUT_WR);
	client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(client, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		exit(1);
	accept(fd, NULL, NULL);
	child = helper(SIGUSR1, 0);
	printf("recvfrom without SA_RESTART %s\n",
	       result(recvfrom(client, &byte, 1, 0, (struct sockaddr *)&peer, &len)));
	waitpid(child, NULL, 0);
}

/** sleeper() - A child that blocks in accept(); in an orphaned group it could not be stopped */
static pid_t sleeper(int fd)
{
	pid_t child = fork();

	if (child == 0 && setpgid(0, 0) == 0)
		_exit(accept(fd, NULL, NULL) >= 0 ? 3 : 4);
	asleep(child);
	return child;
}

static void ends(int fd, int number)
{
	pid_t child = sleeper(fd);
	int status;

	kill(child, number);
	waitpid(child, &status, 0);
	printf("accept killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void stops(int fd)
{
	pid_t child = sleeper(fd);
	int status;

	kill(child, SIGTSTP);
	waitpid(child, &status, WUNTRACED);
	printf("accept stopped %d\n", WIFSTOPPED(status) ? WSTOPSIG(status) : -1);
	kill(child, SIGCONT);
	asleep(child);
	printf("connect to the continued one %s\n", result(attempt(own, 7001)));
	waitpid(child, &status, 0);
	printf("accept after the stop %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void *thread_accept(void *argument)
{
	return (void *)(long)accept(*(int *)argument, NULL, NULL);
}

/** threads() - The main thread handles the signal; four that wait in accept() do not notice */
static void threads(int fd)
{
	pthread_t t[4];
	void *r;
	int ok = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread_accept, &fd);
	for (int i = 0; i < 50; i++)
		kill(getpid(), SIGUSR1);
	for (int i = 0; i < 4; i++) {
		if (attempt(own, 7001) != 0)
			exit(1);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		ok += (long)r >= 0;
	}
	printf("threads %d accepted\n", ok);
}

/** stops_threads() - A stop reaches every thread, also those that wait in accept() */
static void stops_threads(int fd)
{
	pthread_t t;
	pid_t child = fork();
	int status;

	if (child == 0) {
		pthread_create(&t, NULL, thread_accept, &fd);
		pthread_join(t, NULL);
		_exit(5);
	}
	asleep(child);
	kill(child, SIGSTOP);
	waitpid(child, &status, WUNTRACED);
	printf("threads stopped %d\n", WIFSTOPPED(status));
	kill(child, SIGCONT);
	printf("connect to the continued ones %s\n", result(attempt(own, 7001)));
	waitpid(child, &status, 0);
	printf("threads after the stop %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int main(int argc, char **argv)
{
	struct rlimit none = {0, 0};
	int fd;

	if (argc < 3)
		return 2;
	own = argv[1];
	silent = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	setrlimit(RLIMIT_CORE, &none);
	handle(SIGUSR1, 0);
	handle(SIGUSR2, SA_RESTART);
	fd = listener(7001);
	accepts(fd);
	limited(fd);
	connects();
	receives(fd);
	ends(fd, SIGTERM);
	ends(fd, SIGQUIT);
	ends(fd, SIGKILL);
	stops(fd);
	threads(fd);
	stops_threads(fd);
	return 0;
}
