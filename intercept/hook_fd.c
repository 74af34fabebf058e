/**
 * hook_fd.c - Descriptor numbers, ioctl, and the doors behind libc: syscall() and prctl()
 *
 * dup and its relatives only carry the hint to the new number. close() is not wrapped
 * [5 section 4, D10]. syscall() is, since libuv and others make socket calls through it.
 */
#include "zt.h"

#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "raw.h"
#include "real.h"

/* -------------------------------------------------------------- duplicates */

HOOK int dup(int fd)
{
	int r = real_dup(fd);

	if (r >= 0)
		fdtab_copy(fd, r);
	return r;
}

HOOK int dup2(int from, int to)
{
	int r = real_dup2(from, to);

	if (r >= 0 && from != to)
		fdtab_copy(from, to);
	return r;
}

HOOK int dup3(int from, int to, int flags)
{
	int r = real_dup3(from, to, flags);

	if (r >= 0)
		fdtab_copy(from, to);
	return r;
}

static int fcntl_any(int fd, int command, long argument)
{
	int r = real_fcntl(fd, command, argument);

	if (r >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))
		fdtab_copy(fd, r);
	return r;
}

HOOK int fcntl(int fd, int command, ...)
{
	va_list list;
	long argument;

	va_start(list, command);
	argument = va_arg(list, long);
	va_end(list);
	return fcntl_any(fd, command, argument);
}

HOOK int fcntl64(int fd, int command, ...)
{
	va_list list;
	long argument;

	va_start(list, command);
	argument = va_arg(list, long);
	va_end(list);
	return fcntl_any(fd, command, argument);
}

ALIAS(__dup2, dup2)
ALIAS(__fcntl, fcntl)

/* ------------------------------------------------------------------- ioctl */

/* Declared by newer C libraries alone. */
HOOK int pidfd_getfd(int process, int fd, unsigned flags);
HOOK int pidfd_getfd(int process, int fd, unsigned flags)
{
	int r = real_pidfd_getfd(process, fd, flags);

	if (r >= 0 && zt_active())
		fdtab_adopt(r);
	return r;
}

static int store_int(int fd, int value, void *argument)
{
	return mem_put(fd, argument, &value, sizeof(value)) ? 0 : -EFAULT;
}

/** out_queue() - Bytes that the peer has not acknowledged, as the service knows them */
static int out_queue(int fd, const struct zt_token *t, void *argument)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int r = zt_getsockopt(fd, t, IPPROTO_TCP, SIOCOUTQ, &value, &len);

	return r == 0 ? store_int(fd, value, argument) : r;
}

/** stays_with_kernel() - Requests that mean the same on the carrier socket */
static bool stays_with_kernel(unsigned long request)
{
	switch (request) {
	case FIONBIO:
	case FIOASYNC:
	case FIOCLEX:
	case FIONCLEX:
	case FIOSETOWN:
	case FIOGETOWN:
	case SIOCSPGRP:
	case SIOCGPGRP:
		return true;
	default:
		return false;
	}
}

static int ioctl_datagram(int fd, const struct zt_token *t, unsigned long request, void *argument)
{
	/* Linux has neither on echo sockets. */
	if (t->kind == 'e' && (request == FIONREAD || request == SIOCOUTQ))
		return -ENOTTY;
	switch (request) {
	case FIONREAD:
		return store_int(fd, dgram_pending(fd), argument);
	case SIOCOUTQ:
		/* The service takes records as fast as they are written. */
		return store_int(fd, 0, argument);
	default:
		return zt_ioctl(fd, t, request, argument);
	}
}

/** listens() - Whether the stream is known to hold records of connections, not data */
static bool listens(int fd, const struct zt_token *t)
{
	struct fd_info info;

	return fdtab_get(fd, t, &info) && (info.flags & INFO_LISTENING) != 0;
}

static int ioctl_virtual(int fd, const struct zt_token *t, unsigned long request, void *argument)
{
	if (t->kind != 's')
		return ioctl_datagram(fd, t, request, argument);
	switch (request) {
	case FIONREAD:
		return -EINVAL;
	case SIOCOUTQ:
		return out_queue(fd, t, argument);
	case SIOCATMARK:
		return store_int(fd, 0, argument);
	default:
		return zt_ioctl(fd, t, request, argument);
	}
}

HOOK int ioctl(int fd, unsigned long request, ...)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (hint == HINT_NONE || stays_with_kernel(request) || !token_of(fd, &t))
		return real_ioctl(fd, request, argument);
	if (request == FIONREAD && t.kind == 's' && !listens(fd, &t))
		return real_ioctl(fd, request, argument);
	return (int)zt_ret(ioctl_virtual(fd, &t, request, argument));
}

/* ------------------------------------------------------- seccomp and prctl */

HOOK int prctl(int option, ...)
{
	unsigned long v[4];
	bool noted;
	va_list list;
	int r;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		v[i] = va_arg(list, unsigned long);
	va_end(list);
	/* Noted before the call: a strict filter allows nothing afterwards. */
	noted = option == PR_SET_SECCOMP && rpc_note_sandbox();
	r = real_prctl(option, v[0], v[1], v[2], v[3]);
	if (noted && r != 0)
		rpc_unnote_sandbox();
	return r;
}

static long prctl_call(const long *v)
{
	return prctl((int)v[0], v[1], v[2], v[3], v[4]);
}

/** seccomp_call() - seccomp(2), which also tells what the kernel knows, or fails */
static long seccomp_call(const long *v)
{
	bool installs = v[0] == SECCOMP_SET_MODE_STRICT || v[0] == SECCOMP_SET_MODE_FILTER;
	bool noted = installs && rpc_note_sandbox();
	long r = real_syscall(SYS_seccomp, v[0], v[1], v[2], v[3], v[4], v[5]);
	/* More than 0 is a descriptor, or the thread that could not follow. */
	bool failed =
		r < 0 || (r > 0 && ((unsigned long)v[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER) == 0);

	if (noted && failed)
		rpc_unnote_sandbox();
	return r;
}

/* ----------------------------------------------------------------- syscall */

#define FD(x)  ((int)(x))
#define LEN(x) ((socklen_t)(x))
#define PTR(x) ((void *)(x))

/** syscall_control() - Calls of the socket family; false when @n is none of them */
static bool syscall_control(long n, const long *v, long *r)
{
	switch (n) {
	case SYS_socket:
		*r = socket(FD(v[0]), FD(v[1]), FD(v[2]));
		return true;
	case SYS_bind:
		*r = bind(FD(v[0]), (const struct sockaddr *)PTR(v[1]), LEN(v[2]));
		return true;
	case SYS_listen:
		*r = listen(FD(v[0]), FD(v[1]));
		return true;
	case SYS_connect:
		*r = connect(FD(v[0]), (const struct sockaddr *)PTR(v[1]), LEN(v[2]));
		return true;
	case SYS_accept:
		*r = accept(FD(v[0]), (struct sockaddr *)PTR(v[1]), PTR(v[2]));
		return true;
	case SYS_accept4:
		*r = accept4(FD(v[0]), (struct sockaddr *)PTR(v[1]), PTR(v[2]), FD(v[3]));
		return true;
	case SYS_getsockname:
		*r = getsockname(FD(v[0]), (struct sockaddr *)PTR(v[1]), PTR(v[2]));
		return true;
	case SYS_getpeername:
		*r = getpeername(FD(v[0]), (struct sockaddr *)PTR(v[1]), PTR(v[2]));
		return true;
	case SYS_getsockopt:
		*r = getsockopt(FD(v[0]), FD(v[1]), FD(v[2]), PTR(v[3]), PTR(v[4]));
		return true;
	case SYS_setsockopt:
		*r = setsockopt(FD(v[0]), FD(v[1]), FD(v[2]), PTR(v[3]), LEN(v[4]));
		return true;
	case SYS_shutdown:
		*r = shutdown(FD(v[0]), FD(v[1]));
		return true;
	default:
		return false;
	}
}

/** syscall_data() - Reads and writes; false when @n is none of them */
static bool syscall_data(long n, const long *v, long *r)
{
	switch (n) {
	case SYS_read:
		*r = read(FD(v[0]), PTR(v[1]), (size_t)v[2]);
		return true;
	case SYS_readv:
		*r = readv(FD(v[0]), PTR(v[1]), FD(v[2]));
		return true;
	case SYS_write:
		*r = write(FD(v[0]), PTR(v[1]), (size_t)v[2]);
		return true;
	case SYS_writev:
		*r = writev(FD(v[0]), PTR(v[1]), FD(v[2]));
		return true;
	case SYS_recvfrom:
		*r = recvfrom(FD(v[0]), PTR(v[1]), (size_t)v[2], FD(v[3]),
			      (struct sockaddr *)PTR(v[4]), PTR(v[5]));
		return true;
	case SYS_recvmsg:
		*r = recvmsg(FD(v[0]), PTR(v[1]), FD(v[2]));
		return true;
	case SYS_recvmmsg:
		*r = recvmmsg(FD(v[0]), PTR(v[1]), (unsigned)v[2], FD(v[3]), PTR(v[4]));
		return true;
	case SYS_sendto:
		*r = sendto(FD(v[0]), PTR(v[1]), (size_t)v[2], FD(v[3]),
			    (const struct sockaddr *)PTR(v[4]), LEN(v[5]));
		return true;
	case SYS_sendmsg:
		*r = sendmsg(FD(v[0]), PTR(v[1]), FD(v[2]));
		return true;
	case SYS_sendmmsg:
		*r = sendmmsg(FD(v[0]), PTR(v[1]), (unsigned)v[2], FD(v[3]));
		return true;
	default:
		return false;
	}
}

/** syscall_fd() - Descriptor numbers and ioctl; false when @n is none of them */
static bool syscall_fd(long n, const long *v, long *r)
{
	switch (n) {
	case SYS_dup:
		*r = dup(FD(v[0]));
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
		*r = dup2(FD(v[0]), FD(v[1]));
		return true;
#endif
	case SYS_dup3:
		*r = dup3(FD(v[0]), FD(v[1]), FD(v[2]));
		return true;
	case SYS_fcntl:
		*r = fcntl_any(FD(v[0]), FD(v[1]), v[2]);
		return true;
	case SYS_pidfd_getfd:
		*r = pidfd_getfd(FD(v[0]), FD(v[1]), (unsigned)v[2]);
		return true;
	case SYS_ioctl:
		*r = ioctl(FD(v[0]), (unsigned long)v[1], PTR(v[2]));
		return true;
	default:
		return false;
	}
}

HOOK long syscall(long n, ...)
{
	long v[6];
	long r;
	va_list list;

	va_start(list, n);
	for (int i = 0; i < 6; i++)
		v[i] = va_arg(list, long);
	va_end(list);
	if (n == SYS_prctl)
		return prctl_call(v);
	if (n == SYS_seccomp)
		return seccomp_call(v);
	if (syscall_data(n, v, &r) || syscall_control(n, v, &r) || syscall_fd(n, v, &r))
		return r;
	return real_syscall(n, v[0], v[1], v[2], v[3], v[4], v[5]);
}
