/**
 * real.c - Lazy resolution of libc's versions; the only file that reaches them
 *
 * Symbols are resolved one by one at first use, since resolving all of them early upsets
 * debuggers and valgrind; only those that POSIX allows in signal handlers are looked up when the
 * library starts. A thread-local guard sends calls that dlsym() itself makes to the kernel.
 *
 * With ZT_STATIC (the objects of libztintercept.a) there is no dynamic loader to ask: socket
 * calls are system calls, and name functions are found through the linker's --wrap or, in a
 * dynamic program, through dlsym().
 */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "raw.h"

static __thread bool resolving __attribute__((tls_model("initial-exec")));

static long raw_ret(long r)
{
	if (r >= 0 || r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}

#ifdef ZT_STATIC
#define RESOLVE_SOCKET(slot, name) NULL
#pragma weak dlsym
#else
#define RESOLVE_SOCKET(slot, name) resolve(slot, name)
#endif

/** resolve() - The next definition of @name, cached in @slot; NULL while that is being found */
static void *resolve(void *_Atomic *slot, const char *name)
{
	void *p = atomic_load_explicit(slot, memory_order_acquire);
	int saved;

	if (p != NULL || resolving)
		return p;
#ifdef ZT_STATIC
	if (dlsym == NULL)
		return NULL;
#endif
	resolving = true;
	saved = errno;
	p = dlsym(RTLD_NEXT, name);
	errno = saved;
	resolving = false;
	atomic_store_explicit(slot, p, memory_order_release);
	return p;
}

#define A(x) ((long)(x))

/*
 * REAL() - Define real_<name>: libc's <name>, or the system call @raw until that is known.
 * ISO C has no cast from object to function pointer; the copy is what dlsym(3) recommends.
 */
#define REAL(type, name, params, args, raw)                                                        \
	type real_##name params                                                                    \
	{                                                                                          \
		static void *_Atomic slot;                                                         \
		type(*fn) params;                                                                  \
		void *p = RESOLVE_SOCKET(&slot, #name);                                            \
                                                                                                   \
		(void)slot;                                                                        \
		if (p == NULL)                                                                     \
			return (type)raw_ret(raw);                                                 \
		memcpy(&fn, &p, sizeof(fn));                                                       \
		return fn args;                                                                    \
	}

REAL(int, socket, (int domain, int type, int protocol), (domain, type, protocol),
     raw_socket(domain, type, protocol))
REAL(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len),
     raw_bind(fd, addr, len))
REAL(int, listen, (int fd, int backlog), (fd, backlog), raw6(SYS_listen, fd, backlog, 0, 0, 0, 0))
REAL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len),
     raw_connect(fd, addr, len))
REAL(int, accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw6(SYS_accept, fd, A(addr), A(len), 0, 0, 0))
REAL(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
     (fd, addr, len, flags), raw6(SYS_accept4, fd, A(addr), A(len), flags, 0, 0))
REAL(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw_getsockname(fd, addr, len))
REAL(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw_getpeername(fd, addr, len))
REAL(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len), raw_getsockopt(fd, level, name, value, len))
REAL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), raw_setsockopt(fd, level, name, value, len))
REAL(int, shutdown, (int fd, int how), (fd, how), raw_shutdown(fd, how))

REAL(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len), raw_read(fd, buf, len))
REAL(ssize_t, readv, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     raw6(SYS_readv, fd, A(iov), count, 0, 0, 0))
REAL(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags),
     raw_recv(fd, buf, len, flags))
REAL(ssize_t, recvfrom,
     (int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addr_len),
     (fd, buf, len, flags, addr, addr_len),
     raw6(SYS_recvfrom, fd, A(buf), A(len), flags, A(addr), A(addr_len)))
REAL(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags),
     raw6(SYS_recvmsg, fd, A(msg), flags, 0, 0, 0))
REAL(int, recvmmsg,
     (int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout),
     (fd, msgs, count, flags, timeout),
     raw6(SYS_recvmmsg, fd, A(msgs), A(count), flags, A(timeout), 0))
REAL(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len), raw_write(fd, buf, len))
REAL(ssize_t, writev, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     raw6(SYS_writev, fd, A(iov), count, 0, 0, 0))
REAL(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags),
     raw_send(fd, buf, len, flags))
REAL(ssize_t, sendto,
     (int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
      socklen_t addr_len),
     (fd, buf, len, flags, addr, addr_len),
     raw6(SYS_sendto, fd, A(buf), A(len), flags, A(addr), A(addr_len)))
REAL(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags),
     raw_sendmsg(fd, msg, flags))
REAL(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags),
     (fd, msgs, count, flags), raw6(SYS_sendmmsg, fd, A(msgs), A(count), flags, 0, 0))

REAL(int, dup, (int fd), (fd), raw6(SYS_dup, fd, 0, 0, 0, 0, 0))
REAL(int, dup3, (int from, int to, int flags), (from, to, flags), raw_dup3(from, to, flags))

/** raw_dup2() - There is no dup2 system call on newer processors; equal numbers need care */
static long raw_dup2(int from, int to)
{
	if (from != to)
		return raw_dup3(from, to, 0);
	return raw_fcntl(from, F_GETFD, 0) < 0 ? -EBADF : to;
}

REAL(int, dup2, (int from, int to), (from, to), raw_dup2(from, to))
REAL(int, prctl, (int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d),
     (option, a, b, c, d), raw6(SYS_prctl, option, A(a), A(b), A(c), A(d), 0))

int real_fcntl(int fd, int command, long argument)
{
	static void *_Atomic slot;
	int (*fn)(int, int, ...);
	void *p = RESOLVE_SOCKET(&slot, "fcntl");

	(void)slot;
	if (p == NULL)
		return (int)raw_ret(raw_fcntl(fd, command, argument));
	memcpy(&fn, &p, sizeof(fn));
	return fn(fd, command, argument);
}

int real_ioctl(int fd, unsigned long request, void *argument)
{
	static void *_Atomic slot;
	int (*fn)(int, unsigned long, ...);
	void *p = RESOLVE_SOCKET(&slot, "ioctl");

	(void)slot;
	if (p == NULL)
		return (int)raw_ret(raw6(SYS_ioctl, fd, A(request), A(argument), 0, 0, 0));
	memcpy(&fn, &p, sizeof(fn));
	return fn(fd, request, argument);
}

long real_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	return raw_ret(raw6(number, a, b, c, d, e, f));
}

/*
 * NAMED() - Define real_<name> for a function that is no system call: --wrap's original when the
 * program was linked so, else the next definition, else @absent.
 */
#ifdef ZT_STATIC
#define WRAPPED(type, name, params) type __real_##name params __attribute__((weak));
#define WRAPPED_CALL(name, args)                                                                   \
	if (__real_##name != NULL)                                                                 \
		return __real_##name args;
#else
#define WRAPPED(type, name, params)
#define WRAPPED_CALL(name, args)
#endif

#define NAMED(type, name, params, args, absent)                                                    \
	WRAPPED(type, name, params)                                                                \
	type real_##name params                                                                    \
	{                                                                                          \
		static void *_Atomic slot;                                                         \
		type(*fn) params;                                                                  \
		void *p;                                                                           \
                                                                                                   \
		WRAPPED_CALL(name, args)                                                           \
		p = resolve(&slot, #name);                                                         \
		if (p == NULL)                                                                     \
			return absent;                                                             \
		memcpy(&fn, &p, sizeof(fn));                                                       \
		return fn args;                                                                    \
	}

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

void real_start(void)
{
	int saved = errno;

	/* A call with an impossible descriptor resolves the symbol and does nothing else. */
	real_read(-1, NULL, 0);
	real_readv(-1, NULL, 0);
	real_write(-1, NULL, 0);
	real_writev(-1, NULL, 0);
	real_recv(-1, NULL, 0, 0);
	real_recvfrom(-1, NULL, 0, 0, NULL, NULL);
	real_recvmsg(-1, NULL, 0);
	real_send(-1, NULL, 0, 0);
	real_sendto(-1, NULL, 0, 0, NULL, 0);
	real_sendmsg(-1, NULL, 0);
	real_dup(-1);
	real_dup2(-1, -1);
	real_fcntl(-1, 0, 0);
	errno = saved;
}
