/**
 * hook_remote.c - libc's remote shell functions, which make their sockets inside libc
 *
 * A reserved port is found by binding sockets of ours. rcmd() and rexec() connect past every hook:
 * they are refused with EOPNOTSUPP (docs/decisions.md), the programs that used them (rsh, rexec)
 * have long carried their own.
 */
#include "zt.h"

#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "real.h"

/* Ports that only root may bind, of which the lower half is for servers (rcmd(3)) */
#define PORT_FIRST (IPPORT_RESERVED / 2)
#define PORT_LAST  (IPPORT_RESERVED - 1)

/** bind_port() - @fd to any address and @port */
static int bind_port(int fd, sa_family_t family, int port)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (family == AF_INET)
		return bind(fd, (struct sockaddr *)&four, sizeof(four));
	return bind(fd, (struct sockaddr *)&six, sizeof(six));
}

/** bind_reserved() - @fd to a free reserved port, from *@port downwards */
static int bind_reserved(int fd, int *port, sa_family_t family)
{
	int first;

	if (*port < PORT_FIRST)
		*port = PORT_FIRST;
	if (*port > PORT_LAST)
		*port = PORT_LAST;
	first = *port;
	do {
		if (bind_port(fd, family, *port) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -errno;
		*port = *port == PORT_FIRST ? PORT_LAST : *port - 1;
	} while (*port != first);
	return -EAGAIN;
}

HOOK int rresvport_af(int *port, sa_family_t family)
{
	int fd, r;

	if (!zt_active())
		return real_rresvport_af(port, family);
	if (family != AF_INET && family != AF_INET6)
		return (int)zt_ret(-EAFNOSUPPORT);
	fd = socket(family, SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	r = bind_reserved(fd, port, family);
	if (r == 0)
		return fd;
	close(fd);
	return (int)zt_ret(r);
}

HOOK int rresvport(int *port)
{
	return zt_active() ? rresvport_af(port, AF_INET) : real_rresvport(port);
}

/** refuse() - What the network cannot carry for this function */
static int refuse(const char *name)
{
	log_call(LOG_ERROR, name, -1, NULL, -EOPNOTSUPP);
	return (int)zt_ret(-EOPNOTSUPP);
}

HOOK int rcmd_af(char **restrict host, unsigned short port, const char *restrict local,
		 const char *restrict remote, const char *restrict command, int *restrict error_fd,
		 sa_family_t family)
{
	return zt_active() ? refuse("rcmd")
			   : real_rcmd_af(host, port, local, remote, command, error_fd, family);
}

HOOK int rcmd(char **restrict host, unsigned short port, const char *restrict local,
	      const char *restrict remote, const char *restrict command, int *restrict error_fd)
{
	return zt_active() ? refuse("rcmd")
			   : real_rcmd(host, port, local, remote, command, error_fd);
}

HOOK int rexec_af(char **restrict host, int port, const char *restrict name,
		  const char *restrict password, const char *restrict command,
		  int *restrict error_fd, sa_family_t family)
{
	return zt_active() ? refuse("rexec")
			   : real_rexec_af(host, port, name, password, command, error_fd, family);
}

HOOK int rexec(char **restrict host, int port, const char *restrict name,
	       const char *restrict password, const char *restrict command, int *restrict error_fd)
{
	return zt_active() ? refuse("rexec")
			   : real_rexec(host, port, name, password, command, error_fd);
}
