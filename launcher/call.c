/**
 * call.c - One stopped call: its memory, its descriptors, its answer
 *
 * The caller may be hostile and may change its memory, its descriptors and its threads at any
 * moment. So everything is read once into memory of ours; after each read the call is asked for
 * again (call_is_valid), since a number of a process means something else once its owner is
 * gone; and a descriptor is a duplicate that we hold, judged by what the kernel says about it.
 */
#include "run.h"

#include <limits.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "raw.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
/* Linux 6.9: a pidfd of one thread, which may have descriptors of its own */
#define PIDFD_THREAD O_EXCL

/* Newer than some systems' headers. */
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

/* The kernel's word to itself for "restart the call after the signal": it never reaches a program
 * while a signal waits for the thread, see signalled(). */
#define KERNEL_ERESTARTSYS 512

/* Room for a kernel whose records are longer than ours. */
#define RECORD_MAX 256

/* --------------------------------------------------------- receive, answer */

static long seccomp_request(int listener, unsigned long nr, const void *record)
{
	return raw6(SYS_ioctl, listener, (long)nr, (long)record, 0, 0, 0);
}

int call_begin(int listener, struct call *out)
{
	union {
		struct seccomp_notif record;
		uint8_t room[RECORD_MAX];
	} n;
	long r;

	memset(&n, 0, sizeof(n));
	r = seccomp_request(listener, SECCOMP_IOCTL_NOTIF_RECV, &n);
	if (r < 0)
		return r == -EINTR || r == -ENOENT ? 0 : (int)r;
	*out = (struct call){.id = n.record.id,
			     .listener = listener,
			     .pidfd = -1,
			     .tid = (pid_t)n.record.pid,
			     .nr = n.record.data.nr,
			     .arch = n.record.data.arch};
	for (int i = 0; i < 6; i++)
		out->arg[i] = n.record.data.args[i];
	return 1;
}

void call_end(struct call *c)
{
	if (c->pidfd >= 0)
		raw_close(c->pidfd);
	c->pidfd = -1;
}

bool call_is_valid(const struct call *c)
{
	return seccomp_request(c->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &c->id) == 0;
}

/** answer() - A caller that was killed meanwhile (ENOENT) needs none */
static void answer(const struct call *c, int64_t value, int error, uint32_t flags)
{
	union {
		struct seccomp_notif_resp record;
		uint8_t room[RECORD_MAX];
	} r;

	memset(&r, 0, sizeof(r));
	r.record.id = c->id;
	r.record.val = value;
	r.record.error = error;
	r.record.flags = flags;
	while (seccomp_request(c->listener, SECCOMP_IOCTL_NOTIF_SEND, &r) == -EINTR)
		;
}

void answer_value(const struct call *c, int64_t value)
{
	answer(c, value, 0, 0);
}

void answer_result(const struct call *c, long result)
{
	if (result < 0)
		answer(c, 0, (int)result, 0);
	else
		answer(c, result, 0, 0);
}

void answer_continue(const struct call *c)
{
	answer(c, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

void answer_interrupted(const struct call *c, bool may_restart)
{
	answer(c, 0, may_restart ? -KERNEL_ERESTARTSYS : -EINTR, 0);
}

/* ------------------------------------------------------------------ memory */

int memory_read(const struct call *c, uint64_t address, void *out, size_t len)
{
	struct iovec mine = {out, len};
	struct iovec theirs = {(void *)(uintptr_t)address, len};

	if (len == 0)
		return 0;
	if (raw6(SYS_process_vm_readv, c->tid, (long)&mine, 1, (long)&theirs, 1, 0) != (long)len)
		return -EFAULT;
	return call_is_valid(c) ? 0 : -EFAULT;
}

int memory_write(const struct call *c, uint64_t address, const void *bytes, size_t len)
{
	struct iovec mine = {(void *)(uintptr_t)bytes, len};
	struct iovec theirs = {(void *)(uintptr_t)address, len};

	if (len == 0)
		return 0;
	if (!call_is_valid(c))
		return -EFAULT;
	if (raw6(SYS_process_vm_writev, c->tid, (long)&mine, 1, (long)&theirs, 1, 0) != (long)len)
		return -EFAULT;
	return 0;
}

/** window() - The part of @all that starts @skip bytes in and is @len long; areas used */
static size_t window(const struct iovec *all, size_t count, size_t skip, size_t len,
		     struct iovec *out)
{
	size_t n = 0;

	for (size_t i = 0; i < count && len > 0; i++) {
		size_t part = all[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		out[n++] = (struct iovec){(uint8_t *)all[i].iov_base + skip, part};
		len -= part;
		skip = 0;
	}
	return n;
}

static long copy_areas(const struct call *c, long nr, const struct iovec *theirs, size_t count,
		       size_t skip, void *bytes, size_t len)
{
	struct iovec mine = {bytes, len};
	struct iovec *part;
	long r;

	if (len == 0)
		return 0;
	if (!call_is_valid(c))
		return -EFAULT;
	part = malloc(count * sizeof(*part));
	if (part == NULL)
		return -ENOMEM;
	count = window(theirs, count, skip, len, part);
	r = raw6(nr, c->tid, (long)&mine, 1, (long)part, (long)count, 0);
	free(part);
	if (r < 0)
		return -EFAULT;
	return call_is_valid(c) ? r : -EFAULT;
}

long memory_scatter(const struct call *c, const struct iovec *to, size_t count, size_t skip,
		    const void *bytes, size_t len)
{
	return copy_areas(c, SYS_process_vm_writev, to, count, skip, (void *)(uintptr_t)bytes, len);
}

long memory_gather(const struct call *c, const struct iovec *from, size_t count, size_t skip,
		   void *out, size_t len)
{
	return copy_areas(c, SYS_process_vm_readv, from, count, skip, out, len);
}

/* ------------------------------------------------------------- descriptors */

/** field() - A decimal field of /proc/TID/status, or -1 */
static long field(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at == NULL ? -1 : strtol(at + strlen(name), NULL, 10);
}

static pid_t process_of(pid_t tid)
{
	char path[64], status[2048];
	long fd, n;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	n = raw_read((int)fd, status, sizeof(status) - 1);
	raw_close((int)fd);
	status[n > 0 ? n : 0] = '\0';
	return (pid_t)field(status, "\nTgid:");
}

/** open_pidfd() - Of the calling thread, or on older kernels of its process */
static int open_pidfd(struct call *c)
{
	long fd;

	if (c->pidfd >= 0)
		return 0;
	fd = raw6(SYS_pidfd_open, c->tid, PIDFD_THREAD, 0, 0, 0, 0);
	if (fd == -EINVAL)
		fd = raw6(SYS_pidfd_open, process_of(c->tid), 0, 0, 0, 0, 0);
	if (fd < 0)
		return (int)fd;
	c->pidfd = (int)fd;
	/* The caller still waited after the pidfd was made, so the pidfd is its. */
	return call_is_valid(c) ? 0 : -ESRCH;
}

int caller_fd(struct call *c, int number)
{
	long fd = open_pidfd(c);

	if (fd == 0)
		fd = raw6(SYS_pidfd_getfd, c->pidfd, number, 0, 0, 0, 0);
	return (int)fd;
}

int caller_fd_flags(const struct call *c, int number)
{
	char path[64], text[512];
	const char *flags;
	long fd, n;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)c->tid, number);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	n = raw_read((int)fd, text, sizeof(text) - 1);
	raw_close((int)fd);
	text[n > 0 ? n : 0] = '\0';
	flags = strstr(text, "flags:");
	if (flags == NULL || !call_is_valid(c))
		return 0;
	return (strtol(flags + 6, NULL, 8) & O_CLOEXEC) != 0 ? FD_CLOEXEC : 0;
}

static int add_fd(const struct call *c, int fd, int at, bool cloexec, uint32_t flags)
{
	struct seccomp_notif_addfd a = {.id = c->id,
					.flags = flags,
					.srcfd = (uint32_t)fd,
					.newfd = at < 0 ? 0 : (uint32_t)at,
					.newfd_flags = cloexec ? O_CLOEXEC : 0};
	long r;

	do
		r = seccomp_request(c->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
	while (r == -EINTR);
	return (int)r;
}

int give_fd(const struct call *c, int fd, int at, bool cloexec)
{
	return add_fd(c, fd, at, cloexec, at < 0 ? 0 : (uint32_t)SECCOMP_ADDFD_FLAG_SETFD);
}

int answer_fd(const struct call *c, int fd, bool cloexec)
{
	return add_fd(c, fd, -1, cloexec, SECCOMP_ADDFD_FLAG_SEND);
}

void caller_sigpipe(struct call *c)
{
	if (open_pidfd(c) == 0)
		raw6(SYS_pidfd_send_signal, c->pidfd, SIGPIPE, 0, 0, 0, 0);
}
