/**
 * udp.h - Datagram sockets for the probes: making, sending, receiving, describing
 */
#ifndef UDP_H
#define UDP_H

#include "probe.h"

/** udp() - A datagram socket of @family; ends the case when there is none */
int udp(int family);
/** bound() - A UDP socket bound to OWN or OWN6 on a port of the system's choice */
int bound(int family);
/** bound_any() - The same, bound to the wildcard address */
int bound_any(int family);
/** closed_port() - A port of OWN or OWN6 where nobody receives */
int closed_port(int family);
/** dial() - Connect to OWN, or its like of the running case */
int dial(int fd, int port);
int dial6(int fd, int port);
/** send_to() - @text to OWN, or its like of the running case */
ssize_t send_to(int fd, const char *text, int port);
ssize_t send_to6(int fd, const char *text, int port);
/** got() - Wait for a datagram and take it: its text, or errno's name, or "nothing" */
const char *got(int fd);
/** not_got() - The same for one that must not arrive: waits a while, then looks */
const char *not_got(int fd);
/** fill() - One message of one buffer for each text */
void fill(struct mmsghdr *m, struct iovec *iov, char text[][16], unsigned count);
/** ip_of() - Address without port of a sockaddr */
const char *ip_of(const void *sockaddr);

#endif
