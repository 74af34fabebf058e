/**
 * cancel.c - Look-ups under way: what gai_cancel() and gai_suspend() say of them
 *
 * The program is its own service: it listens at ZT_NC_NETWORK and answers nobody, so that as many
 * requests are under way as the library has threads (16), and the others wait until it goes away.
 *
 * usage: cancel
 */
#define _GNU_SOURCE
#include "probe.h"

#include <netdb.h>
#include <sys/un.h>

#define THREADS	 16
#define REQUESTS 20

static struct gaicb request[REQUESTS], *list[REQUESTS];

static const struct gaicb *const *waited(void)
{
	return (const struct gaicb *const *)list;
}

static int serve(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(un.sun_path, getenv("ZT_NC_NETWORK"), sizeof(un.sun_path) - 1);
	if (bind(fd, (void *)&un, sizeof(un)) != 0 || listen(fd, REQUESTS) != 0)
		say("cannot listen %s", err(-1));
	return fd;
}

static void interrupted(void)
{
	struct timespec none = {0};

	say("suspend in vain %d", gai_suspend(waited(), REQUESTS, &none) == EAI_AGAIN);
	on_alarm(100, 0);
	say("suspend interrupted %d", gai_suspend(waited(), REQUESTS, NULL) == EAI_INTR);
}

/** child() - After fork() nothing of the parent's is under way, and new look-ups work */
static void child(void)
{
	struct gaicb one = {.ar_name = "10.1.2.3"}, *all[] = {&one};

	if (fork() == 0) {
		say("child: cancel %d", gai_cancel(&request[0]) == EAI_ALLDONE);
		say("child: wait %d", getaddrinfo_a(GAI_WAIT, all, 1, NULL));
		say("child: result %d", gai_error(&one));
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	int connections[THREADS], fd, again = 0;

	probe_current = "cancel";
	fd = serve();
	for (int i = 0; i < REQUESTS; i++) {
		request[i].ar_name = "name.test";
		list[i] = &request[i];
	}
	say("started %d", getaddrinfo_a(GAI_NOWAIT, list, REQUESTS, NULL));
	for (int i = 0; i < THREADS; i++)
		connections[i] = accept(fd, NULL, NULL);
	say("under way %d", gai_cancel(&request[0]) == EAI_NOTCANCELED);
	say("waiting %d", gai_cancel(&request[REQUESTS - 1]) == EAI_CANCELED);
	say("again %d", gai_cancel(&request[REQUESTS - 1]) == EAI_ALLDONE);
	say("cancelled %d", gai_error(&request[REQUESTS - 1]) == EAI_CANCELED);
	interrupted();
	child();
	close(fd);
	for (int i = 0; i < THREADS; i++)
		close(connections[i]);
	while (gai_suspend(waited(), REQUESTS, NULL) != EAI_ALLDONE)
		continue;
	for (int i = 0; i < REQUESTS; i++)
		again += gai_error(&request[i]) == EAI_AGAIN;
	say("without a service %d", again == REQUESTS - 1);
	return 0;
}
