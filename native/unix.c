/*
 * Unix sockets of kind SOCK_SEQPACKET: records keep their bounds, peers their credentials, and
 * descriptors can be passed. All descriptors made here are non-blocking and close on exec.
 */
#include "io.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_PASSED 8

static socklen_t length_of(struct bytes name)
{
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.len);
}

/* connectRecords(name: Uint8Array): fd. EAGAIN: the queue of the listener is full. */
static napi_value connectRecords(napi_env env, napi_callback_info info)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct args a;
	struct bytes name;
	int fd;

	args_take(&a, env, info);
	name = args_bytes(&a);
	if (args_failed(&a, "connectRecords(name)"))
		return NULL;
	if (name.len == 0 || name.len >= sizeof(un.sun_path))
		return from_int(env, -ENAMETOOLONG);
	memcpy(un.sun_path, name.data, name.len);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, length_of(name)) < 0) {
		int e = errno;

		close(fd);
		return from_int(env, -e);
	}
	return from_rc(env, fd);
}

/* listenRecords(name: Uint8Array, backlog): fd. A name that begins with NUL is abstract. */
static napi_value listenRecords(napi_env env, napi_callback_info info)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct args a;
	struct bytes name;
	int backlog, fd;

	args_take(&a, env, info);
	name = args_bytes(&a);
	backlog = args_int(&a);
	if (args_failed(&a, "listenRecords(name, backlog)"))
		return NULL;
	if (name.len == 0 || name.len >= sizeof(un.sun_path))
		return from_int(env, -ENAMETOOLONG);
	memcpy(un.sun_path, name.data, name.len);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return from_rc(env, fd);
	if (bind(fd, (struct sockaddr *)&un, length_of(name)) < 0 || listen(fd, backlog) < 0) {
		int e = errno;

		close(fd);
		return from_int(env, -e);
	}
	return from_int(env, fd);
}

/* accept(fd): the next connection's descriptor. */
static napi_value accept_fd(napi_env env, napi_callback_info info)
{
	struct args a;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	if (args_failed(&a, "accept(fd)"))
		return NULL;
	return from_rc(env, accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static napi_value close_fd(napi_env env, napi_callback_info info)
{
	struct args a;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	if (args_failed(&a, "close(fd)"))
		return NULL;
	return from_rc(env, close(fd));
}

/* peerName(fd, into: Uint8Array): bytes of the peer's name, cut to the array. */
static napi_value peerName(napi_env env, napi_callback_info info)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);
	struct args a;
	struct bytes into;
	size_t n;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	into = args_bytes(&a);
	if (args_failed(&a, "peerName(fd, into)"))
		return NULL;
	if (getpeername(fd, (struct sockaddr *)&un, &len) < 0)
		return from_rc(env, -1);
	n = len > offsetof(struct sockaddr_un, sun_path)
		    ? len - offsetof(struct sockaddr_un, sun_path)
		    : 0;
	/* A path that fills its field is told one byte longer than the field. */
	if (n > sizeof(un.sun_path))
		n = sizeof(un.sun_path);
	if (n > into.len)
		n = into.len;
	memcpy(into.data, un.sun_path, n);
	return from_int(env, (int64_t)n);
}

/* credentials(fd, into: Uint32Array(3)): pid, uid and gid of the peer when it connected. */
static napi_value credentials(napi_env env, napi_callback_info info)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct args a;
	struct words into;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	into = args_words(&a);
	a.bad |= into.len < 3;
	if (args_failed(&a, "credentials(fd, into)"))
		return NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return from_rc(env, -1);
	into.data[0] = (uint32_t)cred.pid;
	into.data[1] = cred.uid;
	into.data[2] = cred.gid;
	return from_int(env, 0);
}

/* pair(into: Uint32Array(2)): two connected record sockets. */
static napi_value pair(napi_env env, napi_callback_info info)
{
	struct args a;
	struct words into;
	int fds[2];

	args_take(&a, env, info);
	into = args_words(&a);
	a.bad |= into.len < 2;
	if (args_failed(&a, "pair(into)"))
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return from_rc(env, -1);
	into.data[0] = (uint32_t)fds[0];
	into.data[1] = (uint32_t)fds[1];
	return from_int(env, 0);
}

/* send(fd, record: Uint8Array, passed = -1): one record, with a descriptor if `passed` >= 0. */
static napi_value send_record(napi_env env, napi_callback_info info)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.room = {0}};
	struct msghdr msg = {0};
	struct iovec iov;
	struct args a;
	struct bytes record;
	int fd, passed;

	args_take(&a, env, info);
	fd = args_int(&a);
	record = args_bytes(&a);
	passed = args_int(&a);
	if (args_failed(&a, "send(fd, record, passed)"))
		return NULL;
	iov.iov_base = record.data;
	iov.iov_len = record.len;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (passed >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &passed, sizeof(int));
	}
	return from_rc(env, sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* Keeps the first descriptors that fit, closes the others. Returns how many were kept. */
static uint32_t take_passed(struct msghdr *msg, struct words into)
{
	uint32_t kept = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (kept + 1 < into.len)
				into.data[++kept] = (uint32_t)fd;
			else
				close(fd);
		}
	}
	return kept;
}

/*
 * receive(fd, into: Uint8Array, passed: Uint32Array): length of one record (0: the peer is gone),
 * even if it was longer than the array. passed[0] = how many descriptors came, then these; more
 * than fit are closed.
 */
static napi_value receive(napi_env env, napi_callback_info info)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(MAX_PASSED * sizeof(int))];
	} control;
	struct msghdr msg = {0};
	struct iovec iov;
	struct args a;
	struct bytes into;
	struct words passed;
	ssize_t n;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	into = args_bytes(&a);
	passed = args_words(&a);
	a.bad |= passed.len < 1;
	if (args_failed(&a, "receive(fd, into, passed)"))
		return NULL;
	iov.iov_base = into.data;
	iov.iov_len = into.len;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.room;
	msg.msg_controllen = sizeof(control.room);
	n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	passed.data[0] = n < 0 ? 0 : take_passed(&msg, passed);
	return from_rc(env, n);
}

/* setSendBuffer(fd, len): bounds what the kernel holds for the other end; 0 or -errno. */
static napi_value setSendBuffer(napi_env env, napi_callback_info info)
{
	struct args a;
	int fd, len;

	args_take(&a, env, info);
	fd = args_int(&a);
	len = args_int(&a);
	if (args_failed(&a, "setSendBuffer(fd, len)"))
		return NULL;
	return from_rc(env, setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len)));
}

/* heldLen(fd): bytes, with the kernel's own costs, that the other end has not read; or -errno. */
static napi_value heldLen(napi_env env, napi_callback_info info)
{
	struct args a;
	int fd, r, len = 0;

	args_take(&a, env, info);
	fd = args_int(&a);
	if (args_failed(&a, "heldLen(fd)"))
		return NULL;
	r = ioctl(fd, TIOCOUTQ, &len);
	return r < 0 ? from_rc(env, r) : from_int(env, len);
}

/* isHungUp(fd): 1 when both directions are over, that is when the peer has closed; else 0. */
static napi_value isHungUp(napi_env env, napi_callback_info info)
{
	struct pollfd p = {.events = 0};
	struct args a;
	int rc;

	args_take(&a, env, info);
	p.fd = args_int(&a);
	if (args_failed(&a, "isHungUp(fd)"))
		return NULL;
	rc = poll(&p, 1, 0);
	if (rc < 0)
		return from_rc(env, rc);
	return from_int(env, (p.revents & POLLHUP) != 0);
}

/* hasEnded(fd): 1 when the peer sends no more, also while records of it still wait; else 0. */
static napi_value hasEnded(napi_env env, napi_callback_info info)
{
	struct pollfd p = {.events = POLLRDHUP};
	struct args a;
	int rc;

	args_take(&a, env, info);
	p.fd = args_int(&a);
	if (args_failed(&a, "hasEnded(fd)"))
		return NULL;
	rc = poll(&p, 1, 0);
	if (rc < 0)
		return from_rc(env, rc);
	return from_int(env, (p.revents & (POLLRDHUP | POLLHUP)) != 0);
}

/* note(bytes): a descriptor of a file in memory that holds these bytes, to be passed. */
static napi_value note(napi_env env, napi_callback_info info)
{
	struct args a;
	struct bytes bytes;
	int fd;

	args_take(&a, env, info);
	bytes = args_bytes(&a);
	if (args_failed(&a, "note(bytes)"))
		return NULL;
	fd = memfd_create("ztnc-note", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, bytes.data, bytes.len) != (ssize_t)bytes.len) {
		close(fd);
		errno = ENOSPC;
		fd = -1;
	}
	return from_rc(env, fd);
}

napi_status register_unix(napi_env env, napi_value exports)
{
	napi_property_descriptor functions[] = {
		FUNCTION(listenRecords),
		FUNCTION(connectRecords),
		{"accept", NULL, accept_fd, NULL, NULL, NULL, napi_enumerable, NULL},
		{"close", NULL, close_fd, NULL, NULL, NULL, napi_enumerable, NULL},
		FUNCTION(peerName),
		FUNCTION(credentials),
		FUNCTION(pair),
		FUNCTION(setSendBuffer),
		FUNCTION(heldLen),
		FUNCTION(isHungUp),
		FUNCTION(hasEnded),
		FUNCTION(note),
		{"send", NULL, send_record, NULL, NULL, NULL, napi_enumerable, NULL},
		FUNCTION(receive),
	};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions),
				      functions);
}
