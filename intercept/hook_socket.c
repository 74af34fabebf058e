/**
 * hook_socket.c - Life of a virtual socket: socket, bind, listen, connect, accept, names, shutdown
 *
 * Contents: socket; attaching; bind and listen; connect; names; accept; shutdown; exported calls.
 *
 * The client's half of the state machines of [5 sections 6.1 to 6.3]. A stream stays unconnected
 * until a call needs the service, so that a fresh socket polls as a fresh TCP socket does. A
 * datagram socket is attached at once for the same reason (hook_dgram.c has the rest). Every
 * exported function first asks the kernel whether the descriptor is virtual and hands all others
 * to libc with unchanged arguments.
 *
 * The socket family of calls is async-signal-safe: no allocation, no lock that blocks, no stdio.
 */
#include "zt.h"

#include <netinet/in.h>
#include <sys/time.h>
#include <unistd.h>

#include "raw.h"
#include "real.h"

/* [5 section 6.3] largest padding of a pending connect */
#define PADDING_MAX (1 << 20)
/* [5 section 10] pause per call on a listener whose service died, so that a loop cannot spin */
#define DEAD_LISTENER_MS 100

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static const uint8_t zeros[65536];

/* ---------------------------------------------------------------- socket */

/** leaks_to_host() - Families that would reach a network beside the virtual one */
static bool leaks_to_host(int domain)
{
	switch (domain) {
	case AF_PACKET:
	case AF_VSOCK:
	case AF_TIPC:
	case AF_RDS:
	case AF_SMC:
	case AF_XDP:
	case AF_KCM:
	case AF_QIPCRTR:
	case AF_LLC:
	case AF_X25:
	case AF_IPX:
	case AF_APPLETALK:
	case AF_IEEE802154:
	case AF_MCTP:
		return true;
	default:
		return false;
	}
}

/** choose_carrier() - Which virtual socket socket(2) asks for; 0 or a negative errno */
static int choose_carrier(int domain, int type, int protocol, struct zt_token *t)
{
	t->family = domain == AF_INET ? '4' : '6';
	if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
		t->kind = 's';
		t->carrier = 'k';
		t->protocol = IPPROTO_TCP;
		return 0;
	}
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) {
		t->kind = 'd';
		t->carrier = 'q';
		t->protocol = IPPROTO_UDP;
		return 0;
	}
	if (type == SOCK_DGRAM && protocol == (domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if ((rpc_capabilities() & CAPABILITY_ECHO) == 0)
			return -EACCES;
		t->kind = 'e';
		t->carrier = 'q';
		t->protocol = (uint8_t)protocol;
		return 0;
	}
	if (type == SOCK_RAW)
		return -EPERM;
	return -EPROTONOSUPPORT;
}

static int virtual_socket(int domain, int type, int protocol)
{
	struct zt_token t = {0};
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
	int fd;

	if (zt_env.mode == MODE_BROKEN) {
		env_complain();
		return -ENETDOWN;
	}
	if ((type & ~(0xf | SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0)
		return -EINVAL;
	if (rpc_sandboxed())
		return -EPERM;
	fd = choose_carrier(domain, type & 0xf, protocol, &t);
	if (fd < 0)
		return fd;
	fd = token_open(&t, flags);
	if (fd >= 0)
		fdtab_mark(fd, t.kind == 's' ? HINT_STREAM : HINT_DATAGRAM);
	/* Without a service the socket exists all the same: its calls say ENETUNREACH. */
	if (fd >= 0 && t.kind != 's')
		rpc_attach(fd, &t);
	log_call(LOG_CONTROL, "socket", fd, t.id, fd);
	return fd;
}

HOOK int socket(int domain, int type, int protocol)
{
	int fd;

	if (!zt_active())
		return real_socket(domain, type, protocol);
	if (domain == AF_INET || domain == AF_INET6)
		return (int)zt_ret(virtual_socket(domain, type, protocol));
	if (leaks_to_host(domain) && zt_env.policy == 0)
		return (int)zt_ret(-EAFNOSUPPORT);
	fd = real_socket(domain, type, protocol);
	fdtab_mark(fd, HINT_NONE);
	return fd;
}

/* ------------------------------------------------------------- attaching */

/** call() - One request about the virtual socket @fd */
static int call(int fd, const struct zt_token *t, enum proto_op op, const void *request,
		size_t request_len, void *reply, size_t reply_cap)
{
	struct rpc rpc = {.op = op,
			  .token = t->id,
			  .request = request,
			  .request_len = request_len,
			  .reply = reply,
			  .reply_cap = reply_cap,
			  .fd = fd};

	return rpc_call(&rpc);
}

/* ------------------------------------------------------- bind and listen */

int zt_bind(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len)
{
	uint8_t request[ZTADDR_LEN + 4] = {0};
	int r = addr_parse(addr, len, t->family, request);

	if (r < 0)
		return r;
	r = rpc_attach(fd, t);
	if (r == 0)
		r = call(fd, t, OP_BIND, request, sizeof(request), NULL, 0);
	if (r == 0 && t->kind != 's')
		dgram_bound(fd, t, request);
	return errnomap_result(r, PLACE_BIND);
}

int zt_listen(int fd, const struct zt_token *t, int backlog)
{
	uint8_t request[8] = {0};
	struct fd_info info = {.flags = INFO_LISTENING};
	int r;

	if (t->kind != 's')
		return -EOPNOTSUPP;
	put32(request, (uint32_t)backlog);
	r = rpc_attach(fd, t);
	if (r == 0)
		r = call(fd, t, OP_LISTEN, request, sizeof(request), NULL, 0);
	if (r == 0)
		fdtab_put(fd, t, &info);
	/* The service has forgotten a connection that ended: it cannot listen either. */
	if (r == -ENOTCONN)
		r = -EINVAL;
	return errnomap_result(r, PLACE_BIND);
}

/* --------------------------------------------------------------- connect */

/** padding_len() - Bytes that make the stream unwritable: a quarter of its send buffer */
static size_t padding_len(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	if (raw_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) != 0 || size < 4)
		return 0;
	return size / 4 < PADDING_MAX ? (size_t)size / 4 : PADDING_MAX;
}

/** pad() - Fill the stream; bytes sent, or a negative errno when the service has closed it */
static long pad(int fd)
{
	size_t left = padding_len(fd);
	long sent = 0;

	while (left > 0) {
		size_t part = left < sizeof(zeros) ? left : sizeof(zeros);
		long n = raw_send(fd, zeros, part, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -EAGAIN)
			break;
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		sent += n;
		left -= (size_t)n;
	}
	return sent;
}

static int take_error(int fd, const struct zt_token *t)
{
	uint8_t request[4] = {0};
	uint8_t reply[8] = {0};
	int r = call(fd, t, OP_TAKEERR, request, sizeof(request), reply, sizeof(reply));

	return r < 0 ? r : get32s(reply);
}

static void copy_option(int from, int to, int name)
{
	uint8_t value[16];
	socklen_t len = sizeof(value);

	if (raw_getsockopt(from, SOL_SOCKET, name, value, &len) == 0)
		raw_setsockopt(to, SOL_SOCKET, name, value, len);
}

/** copy_settings() - What the kernel keeps with the descriptor that is about to be replaced */
static void copy_settings(int from, int to)
{
	static const int options[] = {SO_RCVTIMEO,  SO_SNDTIMEO,  SO_RCVLOWAT, SO_REUSEADDR,
				      SO_KEEPALIVE, SO_BROADCAST, SO_PRIORITY};
	static const int buffers[] = {SO_SNDBUF, SO_RCVBUF};
	long flags = raw_fcntl(from, F_GETFL, 0);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		copy_option(from, to, options[i]);
	for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
		int size = 0;
		socklen_t len = sizeof(size);

		/* The kernel doubles what is set. */
		if (raw_getsockopt(from, SOL_SOCKET, buffers[i], &size, &len) == 0) {
			size /= 2;
			raw_setsockopt(to, SOL_SOCKET, buffers[i], &size, sizeof(size));
		}
	}
	if (flags > 0)
		raw_fcntl(to, F_SETFL, flags);
}

/**
 * replace_stream() - Give @fd a fresh stream that inherits options and binding
 *
 * Only after a failed or finished connection is used again: the old stream cannot carry another
 * one. Epoll registrations of @fd end here, as the kernel drops them with the old file.
 */
static int replace_stream(int fd, struct zt_token *t)
{
	struct zt_token fresh = *t;
	long flags = raw_fcntl(fd, F_GETFD, 0);
	int carrier = token_open(&fresh, SOCK_CLOEXEC);
	long r;
	int result;

	if (carrier < 0)
		return carrier;
	copy_settings(fd, carrier);
	r = raw_dup3(carrier, fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
	raw_close(carrier);
	if (r < 0)
		return (int)r;
	result = rpc_attach(fd, &fresh);
	if (result == 0)
		result = call(fd, &fresh, OP_INHERIT, t->id, TOKEN_LEN, NULL, 0);
	*t = fresh;
	return result;
}

static bool is_blocking(int fd)
{
	return (raw_fcntl(fd, F_GETFL, 0) & O_NONBLOCK) == 0;
}

/**
 * await_connect() - Wait for the outcome as a blocking connect(2) does
 * @padding:	Bytes of padding sent now, or PADDING_UNCHANGED
 * @pending:	errno when SO_SNDTIMEO passes first
 */
static int await_connect(int fd, const struct zt_token *t, uint32_t padding, int pending)
{
	uint8_t request[4];
	struct timeval limit = {0, 0};
	socklen_t len = sizeof(limit);
	struct rpc rpc = {.op = OP_WAITCONN,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .fd = fd};
	int r;

	put32(request, padding);
	raw_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len);
	r = rpc_wait(&rpc, &limit);
	return r == -EAGAIN ? -pending : r;
}

/** connect_started() - The service has sent the SYN: make the stream look like a pending one */
static int connect_started(int fd, const struct zt_token *t)
{
	uint8_t request[4];
	struct rpc rpc = {.op = OP_PADDED,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .fd = fd};
	long sent = pad(fd);

	if (sent < 0) {
		int e = take_error(fd, t);

		return e > 0 ? -e : (int)sent;
	}
	if (is_blocking(fd))
		return await_connect(fd, t, (uint32_t)sent, EINPROGRESS);
	put32(request, (uint32_t)sent);
	rpc_notify(&rpc);
	return -EINPROGRESS;
}

static int disconnect(int fd, const struct zt_token *t)
{
	struct zt_token current = *t;
	int r;

	if (!rpc_is_attached(fd))
		return 0;
	r = call(fd, t, OP_DISCONNECT, NULL, 0, NULL, 0);
	if (r == CONNECT_REPLACE)
		r = replace_stream(fd, &current);
	return errnomap_result(r, PLACE_CONNECT);
}

static bool stream_is_dead(int fd)
{
	return (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0;
}

static int connect_tcp(int fd, struct zt_token *t, const uint8_t *request, size_t len)
{
	int r = rpc_attach(fd, t);

	if (r == 0)
		r = call(fd, t, OP_CONNECT, request, len, NULL, 0);
	/* -ENOTCONN: a service that was restarted, or has forgotten, does not know the token. */
	if (r == CONNECT_REPLACE || (r == -ENOTCONN && stream_is_dead(fd))) {
		r = replace_stream(fd, t);
		if (r == 0)
			r = call(fd, t, OP_CONNECT, request, len, NULL, 0);
	}
	if (r == CONNECT_STARTED)
		return connect_started(fd, t);
	if (r == CONNECT_DONE)
		return 0;
	if (r == -EALREADY && is_blocking(fd))
		return await_connect(fd, t, PADDING_UNCHANGED, EALREADY);
	return r;
}

int zt_connect(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len)
{
	uint8_t request[ZTADDR_LEN + 4] = {0};
	struct zt_token current = *t;
	struct fd_info info;
	int r;

	if (addr == NULL)
		return -EFAULT;
	if (len < sizeof(addr->sa_family))
		return -EINVAL;
	if (addr->sa_family == AF_UNSPEC)
		return t->kind == 's' ? disconnect(fd, t) : dgram_disconnect(fd, t);
	if (t->kind != 's')
		return dgram_connect(fd, t, addr, len);
	r = addr_parse(addr, len, t->family, request);
	/* Linux looks at the state of a stream before it looks at the address. */
	if (r < 0)
		return zt_names(fd, t, &info) == STATE_ESTABLISHED ? -EISCONN : r;
	r = connect_tcp(fd, &current, request, sizeof(request));
	return errnomap_result(r, PLACE_CONNECT);
}

/* ----------------------------------------------------------------- names */

int zt_names(int fd, const struct zt_token *t, struct fd_info *info)
{
	uint8_t reply[8 + 2 * ZTADDR_LEN] = {0};
	int r;

	if (fdtab_get(fd, t, info) && (info->flags & INFO_NAMES) != 0)
		return STATE_ESTABLISHED;
	memset(info, 0, sizeof(*info));
	if (!rpc_is_attached(fd))
		return STATE_FRESH;
	if (t->kind != 's')
		dgram_settle(fd);
	r = call(fd, t, OP_NAMES, NULL, 0, reply, sizeof(reply));
	if (r < 0)
		return r;
	memcpy(info->local, reply + 8, ZTADDR_LEN);
	memcpy(info->peer, reply + 8 + ZTADDR_LEN, ZTADDR_LEN);
	r = get32s(reply);
	/* A datagram socket may change its peer at any time. */
	if (r == STATE_ESTABLISHED && t->kind == 's') {
		info->flags = INFO_NAMES;
		fdtab_put(fd, t, info);
	}
	return r;
}

int zt_getsockname(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len)
{
	struct fd_info info;
	int r = zt_names(fd, t, &info);

	/* Without the service the address is unknown, which is what an unbound socket reports. */
	if (r < 0 && r != RPC_UNREACHABLE)
		return errnomap_result(r, PLACE_OPTION);
	if (info.local[ZTADDR_FAMILY] == 0 && t->family == '6')
		info.local[ZTADDR_FAMILY] = 6;
	return addr_return(info.local, t->family, addr, len);
}

int zt_getpeername(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len)
{
	struct fd_info info;
	int r = zt_names(fd, t, &info);

	if (r == -EPERM)
		return r;
	if (r != STATE_ESTABLISHED)
		return -ENOTCONN;
	/* Linux takes a peer without a port, as echo sockets have it, for none. */
	if (get16(info.peer + ZTADDR_PORT) == 0)
		return -ENOTCONN;
	return addr_return(info.peer, t->family, addr, len);
}

/* ---------------------------------------------------------------- accept */

/** is_listening() - From the cache, else from the service */
static int is_listening(int fd, const struct zt_token *t)
{
	struct fd_info info;
	int r;

	if (fdtab_get(fd, t, &info)) {
		if ((info.flags & (INFO_NAMES | INFO_SHUT)) != 0)
			return 0;
		if ((info.flags & INFO_LISTENING) != 0)
			return 1;
	}
	r = zt_names(fd, t, &info);
	if (r == RPC_UNREACHABLE)
		return -ENETDOWN;
	if (r != STATE_LISTENING)
		return r < 0 ? r : 0;
	info = (struct fd_info){.flags = INFO_LISTENING};
	fdtab_put(fd, t, &info);
	return 1;
}

static void answer_record(int listener, uint32_t op, const uint8_t *record)
{
	uint8_t answer[UPSTREAM_LEN] = {0};

	memcpy(answer, "ZTNR", 4);
	put32(answer + 4, op);
	memcpy(answer + 8, record + ACCEPT_ID, 8);
	raw_send(listener, answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/** next_record() - Wait for an accept record as the descriptor's own flags and timeouts say */
static int next_record(int fd, const struct zt_token *t, uint8_t record[ACCEPT_LEN])
{
	struct fd_info info;
	ssize_t n = real_recv(fd, record, ACCEPT_LEN, 0);

	if (n < 0)
		return errno == ENOTCONN ? -EINVAL : -errno;
	if (n == 0) {
		if (fdtab_get(fd, t, &info) && (info.flags & INFO_SHUT) != 0)
			return -EINVAL;
		raw_sleep_ms(DEAD_LISTENER_MS);
		return -ENETDOWN;
	}
	return n == ACCEPT_LEN && memcmp(record, "ZTNA", 4) == 0 ? 0 : -EINVAL;
}

/** take_connection() - A descriptor for the connection of @record, or a negative errno */
static int take_connection(int listener, const struct zt_token *t, const uint8_t *record, int flags)
{
	static const char unreachable[] = "the service cannot be reached: a connection was refused";
	struct zt_token accepted = *t;
	struct fd_info info = {.flags = INFO_NAMES};
	int fd = token_open(&accepted, flags & SOCK_CLOEXEC);

	if (fd < 0) {
		answer_record(listener, UPSTREAM_REQUEUE, record);
		return fd;
	}
	if (rpc_attach_accepted(fd, &accepted, record + ACCEPT_ID) < 0) {
		answer_record(listener, UPSTREAM_REJECT, record);
		raw_close(fd);
		log_line(unreachable, NULL);
		return -ECONNABORTED;
	}
	if ((flags & SOCK_NONBLOCK) != 0)
		raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	memcpy(info.peer, record + ACCEPT_PEER, ZTADDR_LEN);
	memcpy(info.local, record + ACCEPT_LOCAL, ZTADDR_LEN);
	fdtab_mark(fd, HINT_STREAM);
	fdtab_put(fd, &accepted, &info);
	return fd;
}

int zt_accept(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint8_t record[ACCEPT_LEN];
	int r, accepted;

	if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0)
		return -EINVAL;
	if (t->kind != 's')
		return -EOPNOTSUPP;
	r = is_listening(fd, t);
	if (r <= 0)
		return r < 0 ? errnomap_result(r, PLACE_OPTION) : -EINVAL;
	r = next_record(fd, t, record);
	if (r < 0)
		return r;
	accepted = take_connection(fd, t, record, flags);
	if (accepted < 0 || addr == NULL)
		return accepted;
	r = addr_return(record + ACCEPT_PEER, t->family, addr, len);
	if (r < 0)
		raw_close(accepted);
	return r < 0 ? r : accepted;
}

/* -------------------------------------------------------------- shutdown */

static int tell_shutdown(int fd, const struct zt_token *t, int how)
{
	uint8_t request[4];

	put32(request, (uint32_t)how);
	return call(fd, t, OP_SHUTDOWN, request, sizeof(request), NULL, 0);
}

static int shutdown_listener(int fd, const struct zt_token *t, int how)
{
	struct fd_info info = {.flags = INFO_LISTENING | INFO_SHUT};

	/* Linux: only the receiving direction of a listener can be shut down. */
	if (how == SHUT_WR)
		return 0;
	fdtab_put(fd, t, &info);
	tell_shutdown(fd, t, how);
	raw_shutdown(fd, SHUT_RDWR);
	return 0;
}

int zt_shutdown(int fd, const struct zt_token *t, int how)
{
	struct fd_info info;
	int state;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (t->kind != 's')
		return dgram_shutdown(fd, t, how);
	state = zt_names(fd, t, &info);
	switch (state) {
	case STATE_ESTABLISHED:
		if (how == SHUT_RD)
			tell_shutdown(fd, t, how);
		return (int)raw_shutdown(fd, how);
	case STATE_LISTENING:
		return shutdown_listener(fd, t, how);
	case STATE_CONNECTING:
		tell_shutdown(fd, t, how);
		return (int)raw_shutdown(fd, SHUT_RDWR);
	default:
		return state == -EPERM ? state : -ENOTCONN;
	}
}

/* ---------------------------------------------------------- exported calls */

HOOK int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
	const struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_bind(fd, addr, len);
	r = zt_bind(fd, &t, addr, len);
	log_call(LOG_CONTROL, "bind", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int listen(int fd, int backlog)
{
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_listen(fd, backlog);
	r = zt_listen(fd, &t, backlog);
	log_call(LOG_CONTROL, "listen", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
	const struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_connect(fd, addr, len);
	r = zt_connect(fd, &t, addr, len);
	log_call(LOG_CONTROL, "connect", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
	struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;
	int r;

	if (!zt_active())
		return real_accept4(fd, addr, len, flags);
	if (!token_of(fd, &t)) {
		r = real_accept4(fd, addr, len, flags);
		fdtab_mark(r, HINT_NONE);
		return r;
	}
	r = zt_accept(fd, &t, addr, len, flags);
	log_call(LOG_CONTROL, "accept", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int accept(int fd, __SOCKADDR_ARG address, socklen_t *len)
{
	struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;
	int r;

	if (!zt_active())
		return real_accept(fd, addr, len);
	if (!token_of(fd, &t)) {
		r = real_accept(fd, addr, len);
		fdtab_mark(r, HINT_NONE);
		return r;
	}
	r = zt_accept(fd, &t, addr, len, 0);
	log_call(LOG_CONTROL, "accept", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *len)
{
	struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;

	if (!zt_active() || !token_of(fd, &t))
		return real_getsockname(fd, addr, len);
	return (int)zt_ret(zt_getsockname(fd, &t, addr, len));
}

HOOK int getpeername(int fd, __SOCKADDR_ARG address, socklen_t *len)
{
	struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;

	if (!zt_active() || !token_of(fd, &t))
		return real_getpeername(fd, addr, len);
	return (int)zt_ret(zt_getpeername(fd, &t, addr, len));
}

HOOK int shutdown(int fd, int how)
{
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_shutdown(fd, how);
	r = zt_shutdown(fd, &t, how);
	log_call(LOG_CONTROL, "shutdown", fd, t.id, r);
	return (int)zt_ret(r);
}

/* -------------------------------------------------------------- second names */

ALIAS(__connect, connect)
