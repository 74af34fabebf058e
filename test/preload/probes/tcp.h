/**
 * tcp.h - TCP sockets for the probes: making, connecting, telling, describing
 *
 * All end the case when there is no socket.
 */
#ifndef TCP_H
#define TCP_H

#include "probe.h"

/* The program itself, for exec */
#define SELF "/proc/self/exe"

/** tcp() - A stream socket of the running case's family with @flags */
int tcp(int flags);
/** listener() - It listens to OWN, or its like, on a port of the system's choice */
int listener(int backlog);
int dial(int fd, const char *ip, int port);
/** dial_own() - Connect to OWN, or its like of the running case */
int dial_own(int fd, int port);

struct pair {
	int l, c, s;
};

/** join() - Connect @p's client to its listener, which may have been given options, and accept */
void join(struct pair *p);
/** connected() - A listener, a client and the accepted socket */
struct pair connected(void);
/** closed_port() - A port of OWN where nobody listens */
int closed_port(void);
/** tell() - Send @text, without SIGPIPE */
long tell(int fd, const char *text);
/** say_errors() - SO_ERROR twice: the second reading must be clear */
void say_errors(int fd);
/** read_all() - Read until the end or @len bytes; how many there were */
size_t read_all(int fd, size_t len);
/** describe() - Names of @fd, and what it reads */
void describe(const char *what, int fd);

/** tcp_main() - As probe_main(); with `--described FD` describe() instead */
int tcp_main(int argc, char **argv, const struct probe_case *cases, size_t count);
#define TCP_MAIN(cases)                                                                            \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return tcp_main(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]));            \
	}

#endif
