/**
 * secure.c - What a program sees of a library that /etc/ld.so.preload names for all
 *
 * usage: secure serve PORT     accepts one connection
 *        secure connect PORT   prints whether the loader runs it in secure mode, whether the
 * library is there, and how a connection to OWN ends
 */
#define _GNU_SOURCE
#include "probe.h"

#include <sys/auxv.h>

static bool is_loaded(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		found = found || strstr(line, "libztintercept") != NULL;
	if (maps != NULL)
		fclose(maps);
	return found;
}

static int serve(int port)
{
	struct sockaddr_in a = to(OWN, port);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(s, (void *)&a, sizeof(a)) != 0 || listen(s, 1) != 0) {
		perror("serve");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	return accept(s, NULL, NULL) < 0;
}

static int dial(int port)
{
	struct sockaddr_in a = to(OWN, port);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	printf("secure %lu\n", getauxval(AT_SECURE));
	printf("loaded %d\n", is_loaded());
	printf("connect %s\n", err(connect(s, (void *)&a, sizeof(a))));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	return strcmp(argv[1], "serve") == 0 ? serve(atoi(argv[2])) : dial(atoi(argv[2]));
}
