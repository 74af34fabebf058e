/**
 * raw.h - System calls without libc
 *
 * Everything the library does for itself goes through here: such a call never reaches a hook of
 * our own, is no cancellation point and leaves errno alone, so it is safe in signal handlers, in
 * a vfork() child and before the dynamic loader has finished [5 section 4, D11].
 *
 * Every function returns what the kernel returns: a result, or a negative errno.
 */
#ifndef ZT_RAW_H
#define ZT_RAW_H

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#if defined(__x86_64__)
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
}
#else
#error "this processor has no system call sequence here: add one"
#endif

static inline long raw_close(int fd)
{
	return raw6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline long raw_socket(int domain, int type, int protocol)
{
	return raw6(SYS_socket, domain, type, protocol, 0, 0, 0);
}

static inline long raw_bind(int fd, const void *addr, socklen_t len)
{
	return raw6(SYS_bind, fd, (long)addr, (long)len, 0, 0, 0);
}

static inline long raw_connect(int fd, const void *addr, socklen_t len)
{
	return raw6(SYS_connect, fd, (long)addr, (long)len, 0, 0, 0);
}

static inline long raw_getsockname(int fd, void *addr, socklen_t *len)
{
	return raw6(SYS_getsockname, fd, (long)addr, (long)len, 0, 0, 0);
}

static inline long raw_getpeername(int fd, void *addr, socklen_t *len)
{
	return raw6(SYS_getpeername, fd, (long)addr, (long)len, 0, 0, 0);
}

static inline long raw_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return raw6(SYS_getsockopt, fd, level, name, (long)value, (long)len, 0);
}

static inline long raw_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return raw6(SYS_setsockopt, fd, level, name, (long)value, (long)len, 0);
}

static inline long raw_shutdown(int fd, int how)
{
	return raw6(SYS_shutdown, fd, how, 0, 0, 0, 0);
}

static inline long raw_send(int fd, const void *bytes, size_t len, int flags)
{
	return raw6(SYS_sendto, fd, (long)bytes, (long)len, flags, 0, 0);
}

static inline long raw_recv(int fd, void *bytes, size_t len, int flags)
{
	return raw6(SYS_recvfrom, fd, (long)bytes, (long)len, flags, 0, 0);
}

static inline long raw_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return raw6(SYS_sendmsg, fd, (long)msg, flags, 0, 0, 0);
}

static inline long raw_read(int fd, void *bytes, size_t len)
{
	return raw6(SYS_read, fd, (long)bytes, (long)len, 0, 0, 0);
}

static inline long raw_write(int fd, const void *bytes, size_t len)
{
	return raw6(SYS_write, fd, (long)bytes, (long)len, 0, 0, 0);
}

static inline long raw_open(const char *path, int flags, int mode)
{
	return raw6(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

static inline long raw_fcntl(int fd, int command, long argument)
{
	return raw6(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

/** raw_is_blocking() - O_NONBLOCK is not set on the file */
static inline int raw_is_blocking(int fd)
{
	return (raw_fcntl(fd, F_GETFL, 0) & O_NONBLOCK) == 0;
}

static inline long raw_dup3(int from, int to, int flags)
{
	return raw6(SYS_dup3, from, to, flags, 0, 0, 0);
}

static inline int raw_getpid(void)
{
	return (int)raw6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static inline int raw_gettid(void)
{
	return (int)raw6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/** raw_poll_one() - Event bits of one descriptor now, without waiting; 0 when it cannot be asked */
static inline short raw_poll_one(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events, .revents = 0};
	struct timespec zero = {0, 0};

	if (raw6(SYS_ppoll, (long)&p, 1, (long)&zero, 0, 8, 0) <= 0)
		return 0;
	return p.revents;
}

static inline void raw_sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000};

	raw6(SYS_nanosleep, (long)&t, 0, 0, 0, 0, 0);
}

/** raw_random() - Fill @bytes from the kernel's generator; 0 or a negative errno */
static inline long raw_random(void *bytes, size_t len)
{
	long n = raw6(SYS_getrandom, (long)bytes, (long)len, 0, 0, 0, 0);

	return n == (long)len ? 0 : (n < 0 ? n : -5);
}

#endif
