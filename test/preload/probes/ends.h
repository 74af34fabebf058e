/**
 * ends.h - A pair of TCP sockets of either family, for the probes of ends
 */
#ifndef ENDS_H
#define ENDS_H

#include "probe.h"

/* Of the running case. */
extern int family;

struct pair {
	int listener, client, server;
};

/** address() - The own address with @port; its length */
socklen_t address(struct sockaddr_storage *a, int port);
int stream(void);
void dial(int fd, int port);
/** start() - Make @fd a listener on a port of its own */
void start(int fd);
/** join() - Connect a pair whose listener and client may have been given options */
void join(struct pair *p);
struct pair connected(void);
/** knock() - A non-blocking socket that asks to connect where nobody listens any more */
int knock(void);
void reset_on_close(int fd);
/** reads() - What one read() says */
const char *reads(int fd);

/* A case once per family. */
#define BOTH(name, what)                                                                           \
	static void name##4(void)                                                                  \
	{                                                                                          \
		family = AF_INET;                                                                  \
		what();                                                                            \
	}                                                                                          \
	static void name##6(void)                                                                  \
	{                                                                                          \
		family = AF_INET6;                                                                 \
		what();                                                                            \
	}

#endif
