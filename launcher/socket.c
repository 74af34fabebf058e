/**
 * socket.c - socket(), and the calls that need no waiting: names, options, bind, listen, shutdown
 *
 * The code of the preload library does the work on a duplicate of the caller's descriptor; here
 * arguments come from the caller's memory and results go there.
 */
#include "run.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

/* Ours: longer option values are cut; the longest that anybody takes is TCP_INFO's. */
#define OPTION_MAX 1024
/* Ours: entries of SIOCGIFCONF */
#define CONFIG_MAX 256

/* --------------------------------------------------------------- addresses */

int read_address(const struct call *c, uint64_t address, uint64_t len, struct sockaddr_storage *out)
{
	int n = (int)len;

	if (n < 0 || (size_t)n > sizeof(*out))
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	return memory_read(c, address, out, (size_t)n) < 0 ? -EFAULT : n;
}

int write_address(const struct call *c, const uint8_t *ztaddr, char family, uint64_t address,
		  uint64_t len_address)
{
	struct sockaddr_storage full;
	socklen_t full_len = addr_emit(ztaddr, family, &full);
	int room;

	if (memory_read(c, len_address, &room, sizeof(room)) < 0)
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	if ((socklen_t)room > full_len)
		room = (int)full_len;
	if (memory_write(c, address, &full, (size_t)room) < 0 ||
	    memory_write(c, len_address, &full_len, sizeof(full_len)) < 0)
		return -EFAULT;
	return 0;
}

/* ------------------------------------------------------------------ socket */

void call_socket(struct call *c)
{
	int type = (int)c->arg[1];
	struct zt_token t = {0};
	int fd, r;

	if ((type & ~(0xf | SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) {
		answer_result(c, -EINVAL);
		return;
	}
	fd = token_choose((int)c->arg[0], type & 0xf, (int)c->arg[2], 'u', &t);
	if (fd == 0)
		fd = t.kind == 's' ? token_open(&t, SOCK_CLOEXEC | (type & SOCK_NONBLOCK))
				   : record_open(&t, SOCK_CLOEXEC | (type & SOCK_NONBLOCK));
	if (fd < 0) {
		answer_result(c, fd == -EMFILE ? -ENFILE : fd);
		return;
	}
	r = answer_fd(c, fd, (type & SOCK_CLOEXEC) != 0);
	if (r < 0)
		answer_result(c, r);
	raw_close(fd);
}

/* ------------------------------------------------------ bind, listen, shut */

void call_bind(struct call *c, int fd, const struct zt_token *t)
{
	struct sockaddr_storage addr;
	int len = read_address(c, c->arg[1], c->arg[2], &addr);

	answer_result(c, len < 0 ? len : zt_bind(fd, t, (struct sockaddr *)&addr, (socklen_t)len));
}

void call_listen(struct call *c, int fd, const struct zt_token *t)
{
	answer_result(c, zt_listen(fd, t, (int)c->arg[1]));
}

void call_shutdown(struct call *c, int fd, const struct zt_token *t)
{
	answer_result(c, zt_shutdown(fd, t, (int)c->arg[1]));
}

/* ------------------------------------------------------------------- names */

typedef int name_call(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len);

static void answer_name(struct call *c, int fd, const struct zt_token *t, name_call *get)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int room, r;

	r = get(fd, t, (struct sockaddr *)&addr, &len);
	if (r == 0 && memory_read(c, c->arg[2], &room, sizeof(room)) < 0)
		r = -EFAULT;
	else if (r == 0 && room < 0)
		r = -EINVAL;
	if (r == 0) {
		if ((socklen_t)room > len)
			room = (int)len;
		if (memory_write(c, c->arg[1], &addr, (size_t)room) < 0 ||
		    memory_write(c, c->arg[2], &len, sizeof(len)) < 0)
			r = -EFAULT;
	}
	answer_result(c, r);
}

void call_getsockname(struct call *c, int fd, const struct zt_token *t)
{
	answer_name(c, fd, t, zt_getsockname);
}

void call_getpeername(struct call *c, int fd, const struct zt_token *t)
{
	answer_name(c, fd, t, zt_getpeername);
}

/* ----------------------------------------------------------------- options */

/** error_option() - SO_ERROR of a datagram socket, whose errors are records */
static int error_option(int fd, const struct zt_token *t, uint8_t *value, socklen_t *len)
{
	int error;

	if ((int)*len < 0)
		return -EINVAL;
	error = record_error(fd, t);
	if (*len > sizeof(error))
		*len = sizeof(error);
	memcpy(value, &error, *len);
	return 0;
}

void call_getsockopt(struct call *c, int fd, const struct zt_token *t)
{
	uint8_t value[OPTION_MAX];
	socklen_t len;
	int r;

	if (memory_read(c, c->arg[4], &len, sizeof(len)) < 0) {
		answer_result(c, -EFAULT);
		return;
	}
	if ((int)len > OPTION_MAX)
		len = OPTION_MAX;
	if (t->kind != 's' && (int)c->arg[1] == SOL_SOCKET && (int)c->arg[2] == SO_ERROR)
		r = error_option(fd, t, value, &len);
	else
		r = zt_getsockopt(fd, t, (int)c->arg[1], (int)c->arg[2], value, &len);
	if (r == 0 && (memory_write(c, c->arg[3], value, len) < 0 ||
		       memory_write(c, c->arg[4], &len, sizeof(len)) < 0))
		r = -EFAULT;
	answer_result(c, r);
}

void call_setsockopt(struct call *c, int fd, const struct zt_token *t)
{
	uint8_t value[OPTION_MAX];
	int len = (int)c->arg[4];
	bool given = c->arg[3] != 0;

	if (len > OPTION_MAX)
		len = OPTION_MAX;
	if (len > 0 && given && memory_read(c, c->arg[3], value, (size_t)len) < 0) {
		answer_result(c, -EFAULT);
		return;
	}
	answer_result(c, zt_setsockopt(fd, t, (int)c->arg[1], (int)c->arg[2], given ? value : NULL,
				       (socklen_t)len));
}

/* ------------------------------------------------------------------- ioctl */

/** readable() - FIONREAD: of a datagram socket the first datagram alone, of a listener nothing */
static void readable(struct call *c, int fd, const struct zt_token *t)
{
	struct fd_info info;
	int value;

	if (t->kind == 's') {
		if (zt_names(fd, t, &info) == STATE_LISTENING)
			answer_result(c, -EINVAL);
		else
			answer_continue(c);
		return;
	}
	/* Echo sockets have no such request. */
	if (t->kind == 'e') {
		answer_result(c, -ENOTTY);
		return;
	}
	value = record_pending(fd, t);
	answer_result(c, memory_write(c, c->arg[2], &value, sizeof(value)));
}

static int out_queue(struct call *c, int fd, const struct zt_token *t)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int r = 0;

	if (t->kind == 'e')
		return -ENOTTY;
	/* A datagram leaves at once. */
	if (t->kind == 's')
		r = zt_getsockopt(fd, t, IPPROTO_TCP, SIOCOUTQ, &value, &len);

	return r < 0 ? r : memory_write(c, c->arg[2], &value, sizeof(value));
}

/** interface_list() - SIOCGIFCONF: the only request that points to a second area */
static int interface_list(struct call *c, int fd, const struct zt_token *t)
{
	struct ifconf theirs, ours;
	size_t room;
	int r;

	if (memory_read(c, c->arg[2], &theirs, sizeof(theirs)) < 0)
		return -EFAULT;
	room = theirs.ifc_len < 0 ? 0 : (size_t)theirs.ifc_len / sizeof(struct ifreq);
	ours = theirs;
	if (theirs.ifc_buf != NULL) {
		if (room > CONFIG_MAX)
			room = CONFIG_MAX;
		ours.ifc_len = (int)(room * sizeof(struct ifreq));
		ours.ifc_buf = malloc(room * sizeof(struct ifreq) + 1);
		if (ours.ifc_buf == NULL)
			return -ENOMEM;
	}
	r = zt_ioctl(fd, t, SIOCGIFCONF, &ours);
	if (r == 0 && theirs.ifc_buf != NULL)
		r = memory_write(c, (uintptr_t)theirs.ifc_buf, ours.ifc_buf, (size_t)ours.ifc_len);
	if (theirs.ifc_buf != NULL)
		free(ours.ifc_buf);
	theirs.ifc_len = ours.ifc_len;
	return r < 0 ? r : memory_write(c, c->arg[2], &theirs, sizeof(theirs));
}

static int interface_request(struct call *c, int fd, const struct zt_token *t)
{
	struct ifreq ifr;
	int r;

	if (memory_read(c, c->arg[2], &ifr, sizeof(ifr)) < 0)
		return -EFAULT;
	r = zt_ioctl(fd, t, (uint32_t)c->arg[1], &ifr);
	return r < 0 ? r : memory_write(c, c->arg[2], &ifr, sizeof(ifr));
}

void call_ioctl(struct call *c, int fd, const struct zt_token *t)
{
	int zero = 0;

	switch ((uint32_t)c->arg[1]) {
	case FIONREAD:
		readable(c, fd, t);
		return;
	case FIOSETOWN:
	case FIOGETOWN:
	case SIOCSPGRP:
	case SIOCGPGRP:
		answer_continue(c);
		return;
	case SIOCOUTQ:
		answer_result(c, out_queue(c, fd, t));
		return;
	case SIOCATMARK:
		answer_result(c, memory_write(c, c->arg[2], &zero, sizeof(zero)));
		return;
	case SIOCGIFCONF:
		answer_result(c, interface_list(c, fd, t));
		return;
	default:
		answer_result(c, interface_request(c, fd, t));
	}
}
