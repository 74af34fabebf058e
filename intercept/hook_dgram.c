/**
 * hook_dgram.c - Datagram sockets: UDP and ICMP echo
 *
 * Contents: the end of a carrier; receiving; error records; sending; control.
 *
 * A virtual datagram socket is one AF_UNIX SOCK_SEQPACKET socket, attached to the service as soon
 * as it is made; one record is one datagram behind a header of 64 bytes [5 sections 5.9 and 6.4].
 * The header travels in a buffer of its own, so payload is never copied here, and several threads
 * or processes may read one socket: the kernel hands out whole records.
 *
 * Requests travel beside the records, on the control connection. The service takes the datagrams
 * sent before a request about their socket first: each leaves with the options of its time, and the
 * name of a socket that has just sent is known.
 *
 * The first send to an address asks whether a route leads there (reach.c).
 *
 * An error that the network reported is a record too: the next receive takes it and fails once.
 *
 * Async-signal-safe, no allocation.
 */
#include "zt.h"

#include <limits.h>
#include <netinet/in.h>
#include <poll.h>

#include "raw.h"
#include "real.h"

/* Largest payload of UDP over IPv4 [5 section 7]. */
#define PAYLOAD_MAX4 65507
/* Over IPv6, 40 less than Linux takes: the stack counts a packet and its header in 16 bits. */
#define PAYLOAD_MAX6 65487

/* ICMP messages that a program may send: echo requests with code 0. */
#define ICMP_HEADER_LEN	 8
#define ICMP_ECHO_TYPE	 8
#define ICMPV6_ECHO_TYPE 128
#define RECEIVE_FLAGS	 (MSG_PEEK | MSG_DONTWAIT)

static size_t payload_room(const struct msghdr *msg)
{
	size_t total = 0;

	/* Linux takes no more than INT_MAX of a longer list. */
	for (size_t i = 0; i < msg->msg_iovlen && total <= INT_MAX; i++)
		total += msg->msg_iov[i].iov_len;
	return total;
}

/* ------------------------------------------------------ the end of a carrier */

/** service_is_gone() - Whether the carrier ended without a shutdown() of the program */
static bool service_is_gone(int fd, const struct zt_token *t)
{
	struct fd_info info;

	if ((raw_poll_one(fd, POLLRDHUP) & POLLHUP) == 0)
		return false;
	return rpc_sandboxed() || zt_names(fd, t, &info) < 0;
}

/** carrier_error() - What a failed call on the carrier means for the datagram socket */
static int carrier_error(int fd, const struct zt_token *t, int error)
{
	switch (error) {
	case ENOTCONN:
		return -ENETUNREACH; /* never attached: there was no service */
	case ECONNRESET:
		return -ENETDOWN;
	case EPIPE:
		return service_is_gone(fd, t) ? -ENETDOWN : -EPIPE;
	default:
		return -error;
	}
}

/* ----------------------------------------------------------------- receiving */

/** consume_error() - Take the error record that was just seen at the head of the queue */
static void consume_error(int fd)
{
	uint8_t head[DGRAM_LEN];

	raw_recv(fd, head, sizeof(head), MSG_DONTWAIT);
}

/**
 * judge() - Check a record of @n bytes
 *
 * Return: length of the payload, or a negative errno; an error record that was only peeked at is
 * consumed, since Linux reports a pending error once
 */
static ssize_t judge(int fd, const uint8_t *head, ssize_t n, int flags)
{
	if (n < DGRAM_LEN)
		return -EIO;
	if (head[DGRAM_KIND] == DGRAM_ERROR) {
		int e = (int)get16(head + DGRAM_ERRNO);

		if ((flags & MSG_PEEK) != 0)
			consume_error(fd);
		return e == 0 ? -EIO : errnomap_result(-e, PLACE_OPTION);
	}
	if (head[DGRAM_KIND] != DGRAM_DATA || get32(head + DGRAM_PAYLOAD) != n - DGRAM_LEN)
		return -EIO;
	return n - DGRAM_LEN;
}

/** describe() - Source address and control data of a record, as recvmsg() stores them */
static int describe(int fd, uint8_t *head, const struct zt_token *t, struct msghdr *msg)
{
	/* Linux gives no identifier with the address of an echo reply. */
	if (t->kind == 'e')
		memset(head + DGRAM_ADDR + ZTADDR_PORT, 0, 2);
	control_build(fd, head, t, msg);
	if (msg->msg_name == NULL)
		return 0;
	return addr_give(fd, head + DGRAM_ADDR, t->family, msg->msg_name, &msg->msg_namelen);
}

/** end_of_records() - Nothing was received: nobody sent it, and nothing is told of it */
static int end_of_records(int fd, const struct zt_token *t, struct msghdr *msg)
{
	if (service_is_gone(fd, t))
		return -ENETDOWN;
	msg->msg_namelen = 0;
	msg->msg_controllen = 0;
	msg->msg_flags = 0;
	return 0;
}

ssize_t dgram_receive(int fd, const struct zt_token *t, struct msghdr *msg, int flags)
{
	uint8_t head[DGRAM_LEN];
	struct iov_list list;
	struct msghdr inner = {0};
	size_t room = payload_room(msg);
	ssize_t n, len;
	int r;

	if ((flags & MSG_ERRQUEUE) != 0)
		return -EAGAIN;
	r = iov_prefix(&list, head, msg->msg_iov, msg->msg_iovlen);
	if (r < 0)
		return r;
	inner.msg_iov = list.iov;
	inner.msg_iovlen = list.count;
	n = real_recvmsg(fd, &inner, (flags & RECEIVE_FLAGS) | MSG_TRUNC);
	r = n < 0 ? carrier_error(fd, t, errno) : iov_spread(&list, fd, (size_t)n);
	iov_done(&list);
	if (r < 0)
		return r;
	if (n == 0)
		return end_of_records(fd, t, msg);
	len = judge(fd, head, n, flags);
	if (len < 0)
		return len;
	reach_note(t, head + DGRAM_ADDR, 0);
	msg->msg_flags = flags & MSG_CMSG_CLOEXEC;
	r = describe(fd, head, t, msg);
	if (r < 0)
		return r;
	if ((size_t)len <= room)
		return len;
	msg->msg_flags |= MSG_TRUNC;
	return (flags & MSG_TRUNC) != 0 ? len : (ssize_t)room;
}

int dgram_pending(int fd)
{
	uint8_t head[DGRAM_LEN];
	long n = raw_recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	return n == DGRAM_LEN && head[DGRAM_KIND] == DGRAM_DATA ? (int)get32(head + DGRAM_PAYLOAD)
								: 0;
}

int dgram_take_error(int fd)
{
	uint8_t head[DGRAM_LEN];
	long n = raw_recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	if (n != DGRAM_LEN || head[DGRAM_KIND] != DGRAM_ERROR)
		return 0;
	consume_error(fd);
	return (int)get16(head + DGRAM_ERRNO);
}

/* ------------------------------------------------------------------- sending */

/** flags_of() - What is cached about a datagram socket */
static uint32_t flags_of(int fd, const struct zt_token *t)
{
	struct fd_info info;

	return fdtab_get(fd, t, &info) ? info.flags : 0;
}

static void set_flags(int fd, const struct zt_token *t, uint32_t off, uint32_t on)
{
	struct fd_info info = {.flags = (flags_of(fd, t) & ~off) | on};

	fdtab_put(fd, t, &info);
}

static uint32_t if_mapped(const struct zt_token *t, const uint8_t *addr, uint32_t flag)
{
	return t->family == '6' && addr[ZTADDR_FAMILY] == 4 ? flag : 0;
}

/** note_connected() - Remember that there is a peer, and of which family */
static void note_connected(int fd, const struct zt_token *t, const uint8_t *peer)
{
	set_flags(fd, t, INFO_PEER4, INFO_CONNECTED | if_mapped(t, peer, INFO_PEER4));
}

void dgram_bound(int fd, const struct zt_token *t, const uint8_t *local)
{
	reach_forget();
	set_flags(fd, t, 0, if_mapped(t, local, INFO_BOUND4));
}

/** is_connected() - From the cache, else from the service; a negative errno when neither knows */
static int is_connected(int fd, const struct zt_token *t)
{
	struct fd_info info;
	int state;

	if ((flags_of(fd, t) & INFO_CONNECTED) != 0)
		return 1;
	/* After a seccomp filter nobody can be asked: the service drops what has no destination. */
	if (rpc_sandboxed())
		return 1;
	state = zt_names(fd, t, &info);
	if (state == RPC_UNREACHABLE)
		return -ENETDOWN;
	if (state != STATE_ESTABLISHED)
		return state < 0 ? errnomap_result(state, PLACE_OPTION) : 0;
	note_connected(fd, t, info.peer);
	return 1;
}

/** pending_error() - Linux fails a send on a connected socket with an error not yet reported */
static int pending_error(int fd, const struct zt_token *t)
{
	return (flags_of(fd, t) & INFO_CONNECTED) != 0 ? -dgram_take_error(fd) : 0;
}

static bool may_broadcast(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return raw_getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, &len) == 0 && on != 0;
}

static sa_family_t family_of(const struct sockaddr *addr)
{
	sa_family_t family;

	memcpy(&family, addr, sizeof(family));
	return family;
}

/**
 * peer_parse() - Destination of a connect or a send
 *
 * A UDP socket of family AF_INET6 takes AF_INET addresses as well.
 */
static int peer_parse(const struct zt_token *t, const struct sockaddr *addr, socklen_t len,
		      uint8_t out[ZTADDR_LEN])
{
	bool plain = t->family == '6' && t->kind == 'd' && family_of(addr) == AF_INET;

	return addr_parse(addr, len, plain ? '4' : t->family, out);
}

/** destination_mistake() - Addresses that Linux refuses before it looks for a route */
static int destination_mistake(int fd, const struct zt_token *t, const uint8_t *to)
{
	bool is_mapped = if_mapped(t, to, 1) != 0;

	if (t->kind == 'e' && is_mapped)
		return -EINVAL;
	if (t->kind == 'd' && get16(to + ZTADDR_PORT) == 0)
		return -EINVAL;
	if (t->family == '6' && !is_mapped && (flags_of(fd, t) & (INFO_PEER4 | INFO_BOUND4)) != 0)
		return -EAFNOSUPPORT;
	if (to[ZTADDR_FAMILY] == 4 && get32(to + ZTADDR_IP) == 0xffffffffU && !may_broadcast(fd))
		return -EACCES;
	return 0;
}

/** destination() - Where a send with an address goes; true in @addressed unless it names none */
static int destination(int fd, const struct zt_token *t, const struct msghdr *msg, uint8_t *head,
		       bool *addressed)
{
	const struct sockaddr *addr = msg->msg_name;
	struct sockaddr_in in;
	socklen_t len = msg->msg_namelen;
	int r;

	*addressed = addr != NULL;
	if (addr == NULL)
		return 0;
	if (len < sizeof(in) || len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (t->kind == 'd' && family_of(addr) == AF_UNSPEC) {
		*addressed = t->family == '4';
		if (!*addressed)
			return 0;
		/* Linux takes an address without a family for AF_INET here. */
		memcpy(&in, addr, sizeof(in));
		in.sin_family = AF_INET;
		addr = (const struct sockaddr *)&in;
		len = sizeof(in);
	}
	r = peer_parse(t, addr, len, head + DGRAM_ADDR);
	if (r == -EAFNOSUPPORT && t->family == '6' && t->kind == 'd')
		return -EINVAL;
	if (r < 0)
		return r;
	return destination_mistake(fd, t, head + DGRAM_ADDR);
}

/** echo_mistake() - An ICMP socket sends echo requests only; 0 or a negative errno */
static int echo_mistake(int fd, const struct zt_token *t, const struct msghdr *msg, size_t len)
{
	uint8_t first[2] = {0, 0};
	size_t got = 0;

	if (len < ICMP_HEADER_LEN)
		return -EINVAL;
	for (size_t i = 0; i < msg->msg_iovlen && got < 2; i++) {
		const uint8_t *bytes = msg->msg_iov[i].iov_base;
		size_t some = msg->msg_iov[i].iov_len < 2 ? msg->msg_iov[i].iov_len : 2;

		if (!mem_readable(fd, bytes, some))
			return -EFAULT;
		for (size_t k = 0; k < some && got < 2; k++)
			first[got++] = bytes[k];
	}
	if (first[0] != (t->family == '4' ? ICMP_ECHO_TYPE : ICMPV6_ECHO_TYPE) || first[1] != 0)
		return -EINVAL;
	return 0;
}

/** is_begun() - Parts of a datagram wait in the service: the next one needs no destination */
static int is_begun(int fd, const struct zt_token *t)
{
	int begun = 0;
	socklen_t len = sizeof(begun);

	if (t->kind != 'd')
		return 0;
	return zt_getsockopt(fd, t, IPPROTO_UDP, OPT_BEGUN, &begun, &len) == 0 && begun != 0;
}

/** has_peer() - Whether a send without an address goes anywhere; a negative errno: nobody knows */
static int has_peer(int fd, const struct zt_token *t)
{
	int r = is_connected(fd, t);

	return r == 0 ? is_begun(fd, t) : r;
}

/**
 * way_mistake() - Linux says at once that no route leads there, to an unconnected sender too
 *
 * Asked once in a while. If nobody can be asked the send itself meets the reason.
 */
static int way_mistake(int fd, const struct zt_token *t, const uint8_t *head)
{
	uint8_t request[12 + ZTADDR_LEN];
	int r;

	/* With a source of its own a datagram takes another way than the socket's others. */
	if (rpc_sandboxed() || (head[DGRAM_FLAGS] & DGRAM_SET_SOURCE) != 0)
		return 0;
	if (reach_known(t, head + DGRAM_ADDR, 0) || (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0)
		return 0;
	if (rpc_attach(fd, t) != 0)
		return 0;
	put32(request, IPPROTO_UDP);
	put32(request + 4, OPT_ROUTE);
	put32(request + 8, ZTADDR_LEN);
	memcpy(request + 12, head + DGRAM_ADDR, ZTADDR_LEN);
	r = rpc_about(fd, t, OP_SETOPT, request, sizeof(request), NULL, 0);
	if (r == 0)
		reach_note(t, head + DGRAM_ADDR, 0);
	else if (r == -ENETUNREACH)
		log_no_route(t->kind, head + DGRAM_ADDR);
	return r == -ENETUNREACH || r == -EACCES || r == -EINVAL ? r : 0;
}

/** refuses_urgent() - UDP of Linux refuses MSG_OOB for IPv4 alone, echo sockets always */
static bool refuses_urgent(const struct zt_token *t, int flags)
{
	return (flags & MSG_OOB) != 0 && (t->family == '4' || t->kind == 'e');
}

/** is_to_ipv4() - Whether a send of an AF_INET6 socket is one of IPv4; @to NULL: to the peer */
static bool is_to_ipv4(int fd, const struct zt_token *t, const uint8_t *to)
{
	return to != NULL ? to[ZTADDR_FAMILY] == 4 : (flags_of(fd, t) & INFO_PEER4) != 0;
}

/** header_of_send() - Check a send as Linux does and fill the record's header */
static int header_of_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags,
			  uint8_t head[DGRAM_LEN])
{
	size_t len = payload_room(msg);
	bool addressed;
	int r;

	memset(head, 0, DGRAM_LEN);
	head[DGRAM_KIND] = DGRAM_DATA;
	put32(head + DGRAM_PAYLOAD, (uint32_t)len);
	if (len > UINT16_MAX)
		return -EMSGSIZE;
	if (refuses_urgent(t, flags))
		return -EOPNOTSUPP;
	/* An echo request is one call in Linux too, whatever the flag. */
	if ((flags & MSG_MORE) != 0 && t->kind == 'd')
		head[DGRAM_FLAGS] |= DGRAM_MORE;
	r = t->kind == 'e' ? echo_mistake(fd, t, msg, len) : 0;
	if (r == 0)
		r = destination(fd, t, msg, head, &addressed);
	if (r < 0)
		return r;
	if (!addressed) {
		r = has_peer(fd, t);
		if (r <= 0)
			return r < 0 ? r : -EDESTADDRREQ;
	}
	if ((flags & MSG_OOB) != 0 && is_to_ipv4(fd, t, addressed ? head + DGRAM_ADDR : NULL))
		return -EOPNOTSUPP;
	r = control_parse(msg, t, head);
	if (r == 0 && addressed)
		r = way_mistake(fd, t, head);
	if (r < 0)
		return r;
	if (len > (t->family == '4' || head[DGRAM_ADDR] == 4 ? PAYLOAD_MAX4 : PAYLOAD_MAX6))
		return -EMSGSIZE;
	r = t->kind == 'd' ? segment_mistake(fd, t, head, len) : 0;
	return r < 0 ? r : pending_error(fd, t);
}

ssize_t dgram_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)
{
	uint8_t head[DGRAM_LEN];
	struct iov_list list;
	struct msghdr inner = {0};
	ssize_t n;
	int r = header_of_send(fd, t, msg, flags, head);

	if (r == 0)
		r = iov_prefix(&list, head, msg->msg_iov, msg->msg_iovlen);
	if (r < 0)
		return r;
	r = iov_fill(&list, fd);
	if (r < 0) {
		iov_done(&list);
		return r;
	}
	inner.msg_iov = list.iov;
	inner.msg_iovlen = list.count;
	n = real_sendmsg(fd, &inner, MSG_NOSIGNAL | (flags & MSG_DONTWAIT));
	r = n < 0 ? errno : 0;
	if (r == ENOTCONN && rpc_attach(fd, t) == 0) {
		n = real_sendmsg(fd, &inner, MSG_NOSIGNAL | (flags & MSG_DONTWAIT));
		r = n < 0 ? errno : 0;
	}
	iov_done(&list);
	return r != 0 ? carrier_error(fd, t, r) : n - DGRAM_LEN;
}

/* ------------------------------------------------------------------- control */

static int call(int fd, const struct zt_token *t, enum proto_op op, const void *request, size_t len)
{
	return rpc_about(fd, t, op, request, len, NULL, 0);
}

int dgram_connect(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len)
{
	uint8_t request[ZTADDR_LEN + 4] = {0};
	int r = peer_parse(t, addr, len, request);

	if (r < 0)
		return r;
	reach_forget();
	r = rpc_attach(fd, t);
	if (r == 0)
		r = call(fd, t, OP_CONNECT, request, sizeof(request));
	if (r >= 0)
		note_connected(fd, t, request);
	else if (r == -ENETUNREACH)
		log_no_route(t->kind, request);
	return r < 0 ? errnomap_result(r, PLACE_CONNECT) : 0;
}

int dgram_disconnect(int fd, const struct zt_token *t)
{
	int r = rpc_is_attached(fd) ? call(fd, t, OP_DISCONNECT, NULL, 0) : 0;

	reach_forget();
	set_flags(fd, t, INFO_CONNECTED | INFO_PEER4, 0);
	return r < 0 ? errnomap_result(r, PLACE_CONNECT) : 0;
}

/** dgram_shutdown() - Linux shuts an unconnected socket down too, although it says ENOTCONN */
int dgram_shutdown(int fd, const struct zt_token *t, int how)
{
	uint8_t request[4];
	struct fd_info info;
	int state = zt_names(fd, t, &info);

	put32(request, (uint32_t)how);
	if (state >= 0 && rpc_is_attached(fd))
		call(fd, t, OP_SHUTDOWN, request, sizeof(request));
	raw_shutdown(fd, how);
	return state == STATE_ESTABLISHED ? 0 : -ENOTCONN;
}
