/**
 * hook_socket.c - Life of a virtual socket: socket, bind, listen, connect, accept, names, shutdown
 *
 * Contents: socket; bind and listen; connect; names; shutdown; exported calls. How a TCP socket
 * connects and accepts is in stream.c, what datagram sockets do in hook_dgram.c.
 *
 * A stream stays unconnected until a call needs the service, so that a fresh socket polls as a
 * fresh TCP socket does. A datagram socket is attached at once for the same reason (hook_dgram.c
 * has the rest). Every exported function first asks the kernel whether the descriptor is virtual
 * and hands all others to libc with unchanged arguments.
 *
 * The socket family of calls is async-signal-safe: no allocation, no lock that blocks, no stdio.
 */
#include "zt.h"

#include <unistd.h>

#include "raw.h"
#include "real.h"

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
	fd = token_choose(domain, type & 0xf, protocol, 'q', &t);
	if (fd < 0)
		return fd;
	fd = token_open(&t, flags);
	if (fd >= 0)
		fdtab_mark(fd, t.kind == 's' ? HINT_IDLE : HINT_DATAGRAM);
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

/* ------------------------------------------------------- bind and listen */

int zt_bind(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len)
{
	uint8_t request[ZTADDR_LEN + 4] = {0};
	int r = addr_check(fd, addr, len);

	if (r == 0)
		r = addr_parse(addr, len, t->family, request);
	if (r < 0)
		return r;
	r = rpc_attach(fd, t);
	if (r == 0)
		r = rpc_about(fd, t, OP_BIND, request, sizeof(request), NULL, 0);
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
		r = rpc_about(fd, t, OP_LISTEN, request, sizeof(request), NULL, 0);
	if (r == 0) {
		fdtab_put(fd, t, &info);
		fdtab_mark(fd, HINT_IDLE);
	}
	/* The service has forgotten a connection that ended: it cannot listen either. */
	if (r == -ENOTCONN)
		r = -EINVAL;
	return errnomap_result(r, PLACE_BIND);
}

/* --------------------------------------------------------------- connect */

int zt_connect(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len)
{
	uint8_t request[ZTADDR_LEN + 4] = {0};
	struct fd_info info;
	int r = addr_check(fd, addr, len);

	if (r < 0)
		return r;
	if (len < sizeof(addr->sa_family))
		return -EINVAL;
	if (addr->sa_family == AF_UNSPEC)
		return t->kind == 's' ? stream_disconnect(fd, t) : dgram_disconnect(fd, t);
	if (t->kind != 's')
		return dgram_connect(fd, t, addr, len);
	r = addr_parse(addr, len, t->family, request);
	/* Linux looks at the state of a stream before it looks at the address. */
	if (r < 0)
		return zt_names(fd, t, &info) == STATE_ESTABLISHED ? -EISCONN : r;
	r = stream_connect(fd, t, request, sizeof(request));
	if (r == -ENETUNREACH)
		log_no_route(t->kind, request);
	return errnomap_result(r, PLACE_CONNECT);
}

/* ----------------------------------------------------------------- names */

/**
 * may_have_ended() - A connection that was established may be none any more
 *
 * Its stream has hung up: reset, ended by both sides, or the service is gone. After a seccomp
 * filter nothing is asked, neither the service nor the kernel.
 */
static bool may_have_ended(int fd, const struct fd_info *info)
{
	if ((info->flags & INFO_SHUT_BOTH) == INFO_SHUT_BOTH)
		return false;
	return !rpc_sandboxed() && carrier_is_dead(fd);
}

bool zt_shut_both(int fd, const struct zt_token *t)
{
	struct fd_info info;

	return fdtab_get(fd, t, &info) && (info.flags & INFO_SHUT_BOTH) == INFO_SHUT_BOTH;
}

int zt_names(int fd, const struct zt_token *t, struct fd_info *info)
{
	uint8_t reply[8 + 2 * ZTADDR_LEN] = {0};
	bool known = fdtab_get(fd, t, info) && (info->flags & INFO_NAMES) != 0;
	int r;

	if (known && !may_have_ended(fd, info))
		return STATE_ESTABLISHED;
	if (!known)
		memset(info, 0, sizeof(*info));
	if (!rpc_is_attached(fd))
		return STATE_FRESH;
	r = rpc_about(fd, t, OP_NAMES, NULL, 0, reply, sizeof(reply));
	if (r < 0)
		return r;
	if (known)
		return get32s(reply);
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

	/*
	 * Without its service (gone: unreachable; another one: -ENOTCONN) the address is unknown,
	 * which is what an unbound socket reports.
	 */
	if (r < 0 && r != RPC_UNREACHABLE && r != -ENOTCONN)
		return errnomap_result(r, PLACE_OPTION);
	if (info.local[ZTADDR_FAMILY] == 0 && t->family == '6')
		info.local[ZTADDR_FAMILY] = 6;
	return addr_return(fd, info.local, t->family, addr, len);
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
	return addr_return(fd, info.peer, t->family, addr, len);
}

/* -------------------------------------------------------------- shutdown */

static int tell_shutdown(int fd, const struct zt_token *t, int how)
{
	uint8_t request[4];

	put32(request, (uint32_t)how);
	return rpc_about(fd, t, OP_SHUTDOWN, request, sizeof(request), NULL, 0);
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

/** resets_on_close() - SO_LINGER with no time: a close after the peer's end is a reset, then */
static bool resets_on_close(int fd)
{
	struct linger linger = {0, 0};
	socklen_t len = sizeof(linger);

	return raw_getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 &&
	       linger.l_onoff != 0 && linger.l_linger == 0;
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
		/* The end of the stream would look like that of a close, to the service. */
		if (how == SHUT_RD || resets_on_close(fd))
			tell_shutdown(fd, t, how);
		info.flags |= how != SHUT_WR ? INFO_SHUT_RD : 0;
		info.flags |= how != SHUT_RD ? INFO_SHUT_WR : 0;
		fdtab_put(fd, t, &info);
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

/** trace() - LOG_CONTROL: a call that names an address */
static void trace(const char *name, int fd, const struct zt_token *t, const struct sockaddr *addr,
		  socklen_t len, int r)
{
	uint8_t where[ZTADDR_LEN] = {0};
	bool readable = zt_env.debug >= LOG_CONTROL && addr_check(fd, addr, len) == 0 &&
			addr_parse(addr, len, t->family, where) == 0;

	log_address(LOG_CONTROL, name, fd, t->id, readable ? where : NULL, r);
}

/** trace_accept() - LOG_CONTROL: the peer is that of the new descriptor */
static void trace_accept(int fd, const struct zt_token *t, int r)
{
	struct zt_token accepted;
	struct fd_info info;
	bool known = zt_env.debug >= LOG_CONTROL && r >= 0 && token_of(r, &accepted) &&
		     fdtab_get(r, &accepted, &info);

	log_address(LOG_CONTROL, "accept", fd, t->id, known ? info.peer : NULL, r);
}

HOOK int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
	const struct sockaddr *addr = address.__sockaddr__;
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_bind(fd, addr, len);
	r = zt_bind(fd, &t, addr, len);
	trace("bind", fd, &t, addr, len, r);
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
	trace("connect", fd, &t, addr, len, r);
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
	trace_accept(fd, &t, r);
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
	trace_accept(fd, &t, r);
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
