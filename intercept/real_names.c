/**
 * real_names.c - libc's versions of functions of names and interfaces, which are no system calls
 *
 * The shared library and the archive for dynamic programs find the next definition. In the archive
 * for static programs (ZT_WRAP) there is none: the linker's --wrap gives libc's functions the names
 * __real_<name>. They are in a file of their own, so that a static program that looks up no names
 * does not contain libc's resolver.
 */
#include "real.h"

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>

#ifdef ZT_WRAP
/** NAMED() - Define real_<name> by --wrap's original; @absent is of the other way */
#define NAMED(type, name, params, args, absent)                                                    \
	type __real_##name params;                                                                 \
	type real_##name params                                                                    \
	{                                                                                          \
		return __real_##name args;                                                         \
	}
#else
/** NAMED() - Define real_<name> by the next definition, else it returns @absent */
#define NAMED(type, name, params, args, absent)                                                    \
	type real_##name params                                                                    \
	{                                                                                          \
		static void *_Atomic slot;                                                         \
		type(*fn) params;                                                                  \
		void *p = real_resolve(&slot, #name);                                              \
                                                                                                   \
		if (p == NULL)                                                                     \
			return absent;                                                             \
		memcpy(&fn, &p, sizeof(fn));                                                       \
		return fn args;                                                                    \
	}
#endif

NAMED(int, getaddrinfo,
      (const char *node, const char *service, const struct addrinfo *hints,
       struct addrinfo **result),
      (node, service, hints, result), EAI_SYSTEM)
NAMED(int, getnameinfo,
      (const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len, char *service,
       socklen_t service_len, int flags),
      (addr, len, host, host_len, service, service_len, flags), EAI_SYSTEM)
NAMED(struct hostent *, gethostbyname, (const char *name), (name), NULL)
NAMED(struct hostent *, gethostbyname2, (const char *name, int family), (name, family), NULL)
NAMED(int, gethostbyname_r,
      (const char *name, struct hostent *entry, char *buf, size_t len, struct hostent **result,
       int *error),
      (name, entry, buf, len, result, error), ENOSYS)
NAMED(int, gethostbyname2_r,
      (const char *name, int family, struct hostent *entry, char *buf, size_t len,
       struct hostent **result, int *error),
      (name, family, entry, buf, len, result, error), ENOSYS)
NAMED(struct hostent *, gethostbyaddr, (const void *addr, socklen_t len, int family),
      (addr, len, family), NULL)
NAMED(int, gethostbyaddr_r,
      (const void *addr, socklen_t len, int family, struct hostent *entry, char *buf,
       size_t buf_len, struct hostent **result, int *error),
      (addr, len, family, entry, buf, buf_len, result, error), ENOSYS)
NAMED(int, getifaddrs, (struct ifaddrs * *list), (list), -1)
NAMED(struct if_nameindex *, if_nameindex, (void), (), NULL)
NAMED(unsigned, if_nametoindex, (const char *name), (name), 0)
NAMED(char *, if_indextoname, (unsigned index, char *name), (index, name), NULL)
NAMED(int, bindresvport, (int fd, void *sin), (fd, sin), -1)
NAMED(int, res_query, (const char *name, int class, int type, unsigned char *answer, int len),
      (name, class, type, answer, len), -1)
NAMED(int, res_search, (const char *name, int class, int type, unsigned char *answer, int len),
      (name, class, type, answer, len), -1)
NAMED(int, res_nquery,
      (void *state, const char *name, int class, int type, unsigned char *answer, int len),
      (state, name, class, type, answer, len), -1)
NAMED(int, res_nsearch,
      (void *state, const char *name, int class, int type, unsigned char *answer, int len),
      (state, name, class, type, answer, len), -1)
NAMED(int, res_querydomain,
      (const char *name, const char *domain, int class, int type, unsigned char *answer, int len),
      (name, domain, class, type, answer, len), -1)
NAMED(int, res_nquerydomain,
      (void *state, const char *name, const char *domain, int class, int type,
       unsigned char *answer, int len),
      (state, name, domain, class, type, answer, len), -1)
NAMED(int, res_send,
      (const unsigned char *message, int message_len, unsigned char *answer, int len),
      (message, message_len, answer, len), -1)
NAMED(int, res_nsend,
      (void *state, const unsigned char *message, int message_len, unsigned char *answer, int len),
      (state, message, message_len, answer, len), -1)
NAMED(int, getaddrinfo_a, (int mode, struct gaicb **list, int count, struct sigevent *event),
      (mode, list, count, event), EAI_SYSTEM)
NAMED(int, gai_suspend, (const struct gaicb *const *list, int count, const struct timespec *wait),
      (list, count, wait), EAI_SYSTEM)
NAMED(int, gai_cancel, (struct gaicb * request), (request), EAI_ALLDONE)
NAMED(int, rresvport, (int *port), (port), -1)
NAMED(int, rresvport_af, (int *port, sa_family_t family), (port, family), -1)
NAMED(int, rcmd,
      (char **host, unsigned short port, const char *local, const char *remote, const char *command,
       int *error_fd),
      (host, port, local, remote, command, error_fd), -1)
NAMED(int, rcmd_af,
      (char **host, unsigned short port, const char *local, const char *remote, const char *command,
       int *error_fd, sa_family_t family),
      (host, port, local, remote, command, error_fd, family), -1)
NAMED(int, rexec,
      (char **host, int port, const char *name, const char *password, const char *command,
       int *error_fd),
      (host, port, name, password, command, error_fd), -1)
NAMED(int, rexec_af,
      (char **host, int port, const char *name, const char *password, const char *command,
       int *error_fd, sa_family_t family),
      (host, port, name, password, command, error_fd, family), -1)
