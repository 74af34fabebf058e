/**
 * udp_util.c - See udp.h
 */
#define _GNU_SOURCE
#include "udp.h"

/* How long a datagram that must not arrive is given to do so, ms. */
#define QUIET_MS 60

int udp(int family)
{
	int fd = socket(family, SOCK_DGRAM, 0);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

static int bound_to(int family, const char *ip4, const char *ip6)
{
	struct sockaddr_in a = to(ip4, 0);
	struct sockaddr_in6 a6 = to6(ip6, 0);
	int fd = udp(family);
	int r = family == AF_INET ? bind(fd, (void *)&a, sizeof(a))
				  : bind(fd, (void *)&a6, sizeof(a6));

	if (r != 0) {
		say("bind %s", err(r));
		exit(1);
	}
	return fd;
}

int bound(int family)
{
	return bound_to(family, OWN, probe_mapped ? "::ffff:" OWN : OWN6);
}

int bound_any(int family)
{
	return bound_to(family, "0.0.0.0", "::");
}

int closed_port(int family)
{
	int fd = bound(family);
	int port = port_of(fd);

	close(fd);
	return port;
}

int dial(int fd, int port)
{
	struct address a = own(port);

	return connect_to(fd, &a);
}

int dial6(int fd, int port)
{
	struct sockaddr_in6 a = to6(OWN6, port);

	return connect(fd, (void *)&a, sizeof(a));
}

ssize_t send_to(int fd, const char *text, int port)
{
	struct address a = own(port);

	return sendto(fd, text, strlen(text), 0, &a.sa, a.len);
}

ssize_t send_to6(int fd, const char *text, int port)
{
	struct sockaddr_in6 a = to6(OWN6, port);

	return sendto(fd, text, strlen(text), 0, (void *)&a, sizeof(a));
}

static const char *take(int fd)
{
	static char text[4][256];
	static int turn;
	char *t = text[turn++ & 3];
	ssize_t n = recv(fd, t, sizeof(text[0]) - 1, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? "nothing" : err(n);
	t[n] = '\0';
	return n == 0 ? "(empty)" : t;
}

const char *got(int fd)
{
	arrives(fd);
	return take(fd);
}

const char *not_got(int fd)
{
	nap(QUIET_MS * slowness());
	return take(fd);
}

const char *ip_of(const void *sockaddr)
{
	static char text[4][INET6_ADDRSTRLEN];
	static int turn;
	char *t = text[turn++ & 3];
	const struct sockaddr_in *a = sockaddr;
	const struct sockaddr_in6 *a6 = sockaddr;

	if (a->sin_family == AF_INET)
		inet_ntop(AF_INET, &a->sin_addr, t, INET6_ADDRSTRLEN);
	else if (a->sin_family == AF_INET6)
		inet_ntop(AF_INET6, &a6->sin6_addr, t, INET6_ADDRSTRLEN);
	else
		strcpy(t, "-");
	return t;
}

void fill(struct mmsghdr *m, struct iovec *iov, char text[][16], unsigned count)
{
	memset(m, 0, count * sizeof(*m));
	for (unsigned i = 0; i < count; i++) {
		iov[i] = (struct iovec){text[i], strlen(text[i])};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
}
