/**
 * probe.h - What the probes share: one line per observation, waiting, addresses, running cases
 *
 * A probe runs on the kernel's sockets and under the preload with the same addresses; its output
 * holds no ports, times or process ids, so that the two runs can be compared line by line.
 */
#ifndef PROBE_H
#define PROBE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN	  "10.147.17.1"	  /* reaches itself */
#define SILENT	  "10.147.17.99"  /* never answers */
#define FOREIGN	  "10.99.99.99"	  /* no route leads there */
#define SUBNET	  "10.147.17.255" /* broadcast address of OWN's subnet */
#define OWN6	  "fd00:17::1"
#define FOREIGN6  "fd99:99::99"
#define SILENT6	  "fd00:17::99"
#define SETTLE_MS 2000

/* Name of the running case, printed before every line. */
extern const char *probe_current;

/*
 * A case named NAME-6 is NAME over IPv6, NAME-mapped is NAME on AF_INET6 sockets with IPv4
 * addresses. What own(), any() and the like give follows the running case.
 */
struct probe_case {
	const char *name;
	void (*run)(void);
};
#define FOUR_SIX(name, run)                                                                        \
	{name, run},                                                                               \
	{                                                                                          \
		name "-6", run                                                                     \
	}
#define FOUR_SIX_MAPPED(name, run)                                                                 \
	FOUR_SIX(name, run),                                                                       \
	{                                                                                          \
		name "-mapped", run                                                                \
	}

/* Family of the running case, and whether its IPv6 addresses hold IPv4 ones. */
extern int probe_family;
extern bool probe_mapped;

/** probe_begin() - Become the case @name: what it prints, and its family */
void probe_begin(const char *name);

/** probe_main() - Run the cases named in @argv, or all; each in a process of its own */
int probe_main(int argc, char **argv, const struct probe_case *cases, size_t count);
#define PROBE_MAIN(cases)                                                                          \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return probe_main(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]));          \
	}

/** say() - One observation */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** cannot() - The case cannot run here, and why: the runner counts it as skipped */
void cannot(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** err() - errno's name of a call that failed, "ok" of one that did not */
const char *err(long r);
/** ename() - Name of an errno value, "0" for none */
const char *ename(int e);
/** num() - The value of a call that worked, errno's name of one that did not */
const char *num(long r);
/** bits() - Names of poll bits */
const char *bits(short mask);

void nap(int ms);
/** slowness() - How many times slower than the kernel a service may be: PROBE_SLOW, or 1 */
int slowness(void);
/** share() - @n, or less of it behind a service that is slow */
int share(int n);
/** mask_now() - Poll bits at this moment */
short mask_now(int fd);
/** settled() - Poll bits once all of @want are set (or time is up) and nothing moves any more */
short settled(int fd, short want);
/** arrives() - Wait until @fd has something to read, or an error; false after SETTLE_MS */
bool arrives(int fd);
/** on_alarm() - SIGALRM with an empty handler after @ms */
void on_alarm(int ms, int flags);
/** time_limit() - SO_RCVTIMEO or SO_SNDTIMEO */
void time_limit(int fd, int option, int ms);

/** An address of either family; the port has the same place in both. */
struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	};
	socklen_t len;
};

struct address own(int port);
struct address any(int port);
struct address foreign(int port);
struct address silent(int port);
struct address loopback(int port);
/** other_family() - An address of OWN's text whose family is not the case's, @len as if it were */
struct address other_family(int port);
int bind_to(int fd, const struct address *a);
int connect_to(int fd, const struct address *a);
/** ip_in() - Address without port */
const char *ip_in(const struct address *a);

struct sockaddr_in to(const char *ip, int port);
struct sockaddr_in6 to6(const char *ip, int port);
/** port_of() - Local port of a socket of either family, or -1 */
int port_of(int fd);
/** int_option() - Value of an int option, or minus errno */
int int_option(int fd, int level, int name);
int set_option(int fd, int level, int name, int value);
/** pending() - FIONREAD, or minus errno */
int pending(int fd);
/** so_error() - SO_ERROR, which clears it */
int so_error(int fd);

void send_fd(int via, int fd);
int receive_fd(int via);

#endif
