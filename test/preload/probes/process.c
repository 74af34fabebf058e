/**
 * process.c - Sockets over the ways in which a process starts another, and loses its descriptors
 *
 * usage: process [CASE...] | --described FD | --accept FD
 */
#define _GNU_SOURCE
#include "tcp.h"

#include <pthread.h>
#include <sched.h>

#include <signal.h>
#include <spawn.h>

extern char **environ;

/** say_status() - How a process of this case ended */
static void say_status(const char *what, pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	say("%s ended %d %d", what, WIFEXITED(status), WEXITSTATUS(status));
}

static void spawn(const char *what, char *mode, posix_spawn_file_actions_t *actions,
		  posix_spawnattr_t *how)
{
	char *arguments[] = {SELF, mode, "9", NULL};
	pid_t pid;

	fflush(stdout);
	say("%s %d", what, posix_spawn(&pid, SELF, actions, how, arguments, environ));
	say_status(what, pid);
}

/** p_spawn() - The accepted socket under another number, the client closed in the child */
static void p_spawn(void)
{
	struct pair p = connected();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t how;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p.s, 9);
	posix_spawn_file_actions_addclose(&actions, p.s);
	posix_spawn_file_actions_addclose(&actions, p.c);
	tell(p.c, "first");
	spawn("plain", "--described", &actions, NULL);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);
	tell(p.c, "second");
	spawn("group", "--described", &actions, &how);
	close(p.s);
	say("all ends closed %s", bits(settled(p.c, POLLRDHUP)));
}

/** p_spawn_listener() - The child takes a connection from the listener that it was given */
static void p_spawn_listener(void)
{
	struct pair p = connected();
	posix_spawn_file_actions_t actions;
	char text[8] = {0};
	int waiting = tcp(0);

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p.l, 9);
	say("dial %s", err(dial(waiting, OWN, port_of(p.l))));
	spawn("listener", "--accept", &actions, NULL);
	say("served %s", num(recv(waiting, text, 6, MSG_WAITALL)));
	say("text %s", text);
	say("still listens %s", err(dial(tcp(0), OWN, port_of(p.l))));
}

/** p_daemon() - The grandchild has the sockets, no terminal and nobody who waits for it */
static void p_daemon(void)
{
	struct pair p = connected();
	char b[8] = {0};
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int other;

		if (daemon(0, 0) != 0)
			_exit(1);
		tell(p.s, getppid() == 1 || getsid(0) == getpgid(0) ? "daemon" : "nobody");
		other = tcp(0);
		dial(other, OWN, port_of(p.l));
		tell(other, "dialled");
		read_all(p.s, 4);
		_exit(0);
	}
	say_status("parent of the daemon", pid);
	close(p.s);
	say("tells %s", num(recv(p.c, b, 6, MSG_WAITALL)));
	say("text %s", b);
	p.s = accept(p.l, NULL, NULL);
	say("its connection %s", num(recv(p.s, b, 7, MSG_WAITALL)));
	say("text %.7s", b);
	tell(p.c, "done");
	say("it ends %s", bits(settled(p.c, POLLRDHUP)));
}

/** p_closefrom() - Everything but one socket closed one by one, then new sockets */
static void p_closefrom(void)
{
	struct pair p = connected(), other;
	int limit = 1024;

	dup2(p.c, 3);
	for (int fd = 4; fd < limit; fd++)
		close(fd);
	say("peer of what is left %s", err(tell(3, "x")));
	say("port %d", port_of(3) > 0);
	other = connected();
	tell(other.c, "again");
	say("new connection %zu", read_all(other.s, 5));
	closefrom(3);
	other = connected();
	tell(other.c, "again");
	say("after closefrom %zu", read_all(other.s, 5));
}

/** use_sockets() - A dozen requests, whose answers must be this process's own */
static int use_sockets(void)
{
	int good = 0;

	for (int i = 0; i < 12; i++) {
		struct pair p = connected();

		good += port_of(p.c) > 0 && tell(p.c, "x") == 1 && read_all(p.s, 1) == 1;
		close(p.c);
		close(p.s);
		close(p.l);
	}
	return good;
}

static int exit_status(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/** p_namespace() - Parent and child that are both process 1, each of its own namespace */
static void p_namespace(void)
{
	pid_t first, second;
	int mine;

	if (unshare(CLONE_NEWPID) != 0) {
		cannot("no namespaces of processes: %s", err(-1));
		return;
	}
	fflush(stdout);
	first = fork();
	if (first == 0) {
		use_sockets();
		unshare(CLONE_NEWPID);
		second = fork();
		if (second == 0)
			_exit(use_sockets());
		mine = use_sockets();
		_exit(mine == 12 ? exit_status(second) : 100 + mine);
	}
	say("both work %d", exit_status(first));
}

static void *connect_to_nobody(void *fd)
{
	struct sockaddr_in a = to(SILENT, 9);

	connect(*(int *)fd, (void *)&a, sizeof(a));
	return NULL;
}

/** p_cancel() - A thread that waits in connect() can be cancelled */
static void p_cancel(void)
{
	int fd = tcp(0);
	pthread_t thread;
	void *result = NULL;

	pthread_create(&thread, NULL, connect_to_nobody, &fd);
	for (int i = 0; i < SETTLE_MS && mask_now(fd) != 0; i++)
		nap(1);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	say("cancelled %d", result == PTHREAD_CANCELED);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	say("again %s", err(dial(fd, SILENT, 9)));
	say("works %d", use_sockets());
}

static const struct probe_case cases[] = {
	{"P-namespace", p_namespace}, {"P-cancel", p_cancel},
	{"P-spawn", p_spawn},	      {"P-spawn-listener", p_spawn_listener},
	{"P-daemon", p_daemon},	      {"P-closefrom", p_closefrom},
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--accept") == 0)
		return tell(accept(atoi(argv[2]), NULL, NULL), "served") == 6 ? 0 : 1;
	return tcp_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
