/**
 * hook_sockopt.c - getsockopt() and setsockopt() of virtual sockets
 *
 * One table row per option says who answers: the kernel's AF_UNIX socket, the service, a
 * constant, or nobody [5 section 8]. Options that the service must know attach the stream first.
 */
#include "zt.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include "raw.h"
#include "real.h"

/* Options newer than the headers of old systems [5 section 8]. */
#define OPT_ZEROCOPY	     60
#define OPT_FASTOPEN_CONNECT 30
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#define OPT_OUTQ 0x5411 /* private: SIOCOUTQ through GETOPT */

/* struct group_req: an interface and the address of a group of either family */
#define GROUP_LEN ((unsigned)sizeof(struct group_req))
/* struct group_source_req: and the address of a source */
#define GROUP_SOURCE_LEN ((unsigned)sizeof(struct group_source_req))
/* struct ip_mreq_source */
#define MREQ_SOURCE_LEN ((unsigned)sizeof(struct ip_mreq_source))

/* Linux doubles what a program asks for; beyond this a pending connect could not be padded. */
#define BUFFER_MAX (1 << 20)

/* Largest option value that travels to the service: struct group_source_req. */
#define VALUE_MAX 264

enum set_way {
	SET_REFUSE,  /* ENOPROTOOPT */
	SET_DENY,    /* EPERM */
	SET_KERNEL,  /* the AF_UNIX socket */
	SET_SERVICE, /* the service, with a reply */
	SET_BOTH,
	SET_QUIET, /* the service, without a reply */
	SET_IGNORE,
	SET_BUFFER,   /* the AF_UNIX socket, capped, and the service, without a reply */
	SET_DATAGRAM, /* the service on a datagram socket, the AF_UNIX socket on a stream */
};

enum get_way {
	GET_REFUSE,
	GET_KERNEL,
	GET_SERVICE,
	GET_ZERO,
	GET_EMPTY,   /* success with length 0 */
	GET_NOTHING, /* the same on a stream, as GET_REFUSE on a datagram socket */
	GET_TYPE,
	GET_DOMAIN,
	GET_PROTOCOL,
	GET_ERROR,
	GET_ACCEPTCONN,
	GET_PEERCRED,
	GET_NO_DATA,
	GET_DATAGRAM, /* as SET_DATAGRAM */
};

struct option {
	int level;
	int name;
	enum set_way set;
	enum get_way get;
	unsigned min_len; /* shorter values of setsockopt() are EINVAL */
	int low, high;	  /* range checked here because no reply is awaited; 0, 0: none */
};

static const struct option options[] = {
	{SOL_SOCKET, SO_TYPE, SET_REFUSE, GET_TYPE, 4, 0, 0},
	{SOL_SOCKET, SO_DOMAIN, SET_REFUSE, GET_DOMAIN, 4, 0, 0},
	{SOL_SOCKET, SO_PROTOCOL, SET_REFUSE, GET_PROTOCOL, 4, 0, 0},
	{SOL_SOCKET, SO_ERROR, SET_REFUSE, GET_ERROR, 4, 0, 0},
	{SOL_SOCKET, SO_ACCEPTCONN, SET_REFUSE, GET_ACCEPTCONN, 4, 0, 0},
	{SOL_SOCKET, SO_REUSEADDR, SET_BOTH, GET_KERNEL, 4, 0, 0},
	{SOL_SOCKET, SO_BROADCAST, SET_BOTH, GET_KERNEL, 4, 0, 0},
	{SOL_SOCKET, SO_KEEPALIVE, SET_BOTH, GET_KERNEL, 4, 0, 0},
	{SOL_SOCKET, SO_REUSEPORT, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{SOL_SOCKET, SO_LINGER, SET_BOTH, GET_SERVICE, 8, 0, 0},
	{SOL_SOCKET, SO_OOBINLINE, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{SOL_SOCKET, SO_SNDBUF, SET_BUFFER, GET_KERNEL, 4, 0, 0},
	{SOL_SOCKET, SO_RCVBUF, SET_BUFFER, GET_KERNEL, 4, 0, 0},
	{SOL_SOCKET, SO_RCVTIMEO, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_SNDTIMEO, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_RCVLOWAT, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_PRIORITY, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_BUSY_POLL, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_TIMESTAMP, SET_DATAGRAM, GET_DATAGRAM, 4, 0, 0},
	{SOL_SOCKET, SO_RXQ_OVFL, SET_DATAGRAM, GET_DATAGRAM, 4, 0, 0},
	{SOL_SOCKET, SO_COOKIE, SET_REFUSE, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_INCOMING_NAPI_ID, SET_REFUSE, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_BINDTODEVICE, SET_SERVICE, GET_SERVICE, 0, 0, 0},
	{SOL_SOCKET, SO_PEERCRED, SET_REFUSE, GET_PEERCRED, 0, 0, 0},
	{SOL_SOCKET, SO_MAX_PACING_RATE, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_PEERGROUPS, SET_REFUSE, GET_NO_DATA, 0, 0, 0},
	{SOL_SOCKET, SO_DEBUG, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_MARK, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_DONTROUTE, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_INCOMING_CPU, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_NO_CHECK, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_BSDCOMPAT, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_SNDLOWAT, SET_REFUSE, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_SELECT_ERR_QUEUE, SET_KERNEL, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, SO_BPF_EXTENSIONS, SET_REFUSE, GET_KERNEL, 0, 0, 0},
	{SOL_SOCKET, OPT_ZEROCOPY, SET_REFUSE, GET_REFUSE, 4, 0, 0},

	{IPPROTO_TCP, TCP_NODELAY, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_MAXSEG, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_CORK, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_KEEPIDLE, SET_QUIET, GET_SERVICE, 4, 1, 32767},
	{IPPROTO_TCP, TCP_KEEPINTVL, SET_QUIET, GET_SERVICE, 4, 1, 32767},
	{IPPROTO_TCP, TCP_KEEPCNT, SET_QUIET, GET_SERVICE, 4, 1, 127},
	{IPPROTO_TCP, TCP_SYNCNT, SET_QUIET, GET_SERVICE, 4, 1, 127},
	{IPPROTO_TCP, TCP_LINGER2, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_WINDOW_CLAMP, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_QUICKACK, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, SET_QUIET, GET_SERVICE, 4, 0, 2147483647},
	{IPPROTO_TCP, TCP_FASTOPEN, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, SET_QUIET, GET_SERVICE, 4, 0, 0},
	{IPPROTO_TCP, TCP_CONGESTION, SET_SERVICE, GET_SERVICE, 0, 0, 0},
	{IPPROTO_TCP, TCP_INFO, SET_REFUSE, GET_SERVICE, 0, 0, 0},
	{IPPROTO_TCP, OPT_OUTQ, SET_REFUSE, GET_SERVICE, 4, 0, 0},

	{IPPROTO_IP, IP_TOS, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_TTL, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_OPTIONS, SET_REFUSE, GET_EMPTY, 0, 0, 0},
	{IPPROTO_IP, IP_PKTOPTIONS, SET_REFUSE, GET_NOTHING, 0, 0, 0},
	{IPPROTO_IP, IP_PKTINFO, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_MTU_DISCOVER, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_RECVERR, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_RECVTTL, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_RECVTOS, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_MTU, SET_REFUSE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IP, IP_FREEBIND, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_MULTICAST_IF, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IP, IP_MULTICAST_TTL, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_MULTICAST_LOOP, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_ADD_MEMBERSHIP, SET_SERVICE, GET_REFUSE, 8, 0, 0},
	{IPPROTO_IP, IP_DROP_MEMBERSHIP, SET_SERVICE, GET_REFUSE, 8, 0, 0},
	{IPPROTO_IP, MCAST_JOIN_GROUP, SET_SERVICE, GET_REFUSE, GROUP_LEN, 0, 0},
	{IPPROTO_IP, MCAST_LEAVE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_LEN, 0, 0},
	{IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, SET_SERVICE, GET_REFUSE, MREQ_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, SET_SERVICE, GET_REFUSE, MREQ_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, IP_BLOCK_SOURCE, SET_SERVICE, GET_REFUSE, MREQ_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, IP_UNBLOCK_SOURCE, SET_SERVICE, GET_REFUSE, MREQ_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, MCAST_BLOCK_SOURCE, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, MCAST_UNBLOCK_SOURCE, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_MULTICAST_ALL, SET_SERVICE, GET_SERVICE, 1, 0, 0},
	{IPPROTO_IP, IP_RETOPTS, SET_IGNORE, GET_ZERO, 1, 0, 0},
	{IPPROTO_IP, IP_HDRINCL, SET_DENY, GET_REFUSE, 0, 0, 0},
	{IPPROTO_IP, IP_TRANSPARENT, SET_DENY, GET_REFUSE, 0, 0, 0},
	{IPPROTO_IP, IP_IPSEC_POLICY, SET_DENY, GET_REFUSE, 0, 0, 0},

	{IPPROTO_IPV6, IPV6_V6ONLY, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_JOIN_GROUP, SET_SERVICE, GET_REFUSE, 20, 0, 0},
	{IPPROTO_IPV6, IPV6_LEAVE_GROUP, SET_SERVICE, GET_REFUSE, 20, 0, 0},
	{IPPROTO_IPV6, MCAST_JOIN_GROUP, SET_SERVICE, GET_REFUSE, GROUP_LEN, 0, 0},
	{IPPROTO_IPV6, MCAST_LEAVE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_LEN, 0, 0},
	{IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IPV6, MCAST_BLOCK_SOURCE, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE, SET_SERVICE, GET_REFUSE, GROUP_SOURCE_LEN, 0, 0},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_MTU, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_RECVERR, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_TCLASS, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_MULTICAST_ALL, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_DONTFRAG, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_2292PKTOPTIONS, SET_REFUSE, GET_NOTHING, 0, 0, 0},
	{IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_IPV6, IPV6_FREEBIND, SET_SERVICE, GET_SERVICE, 4, 0, 0},

	{IPPROTO_UDP, UDP_CORK, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_UDP, UDP_SEGMENT, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_UDP, UDP_GRO, SET_SERVICE, GET_SERVICE, 4, 0, 0},
	{IPPROTO_UDP, OPT_BEGUN, SET_REFUSE, GET_SERVICE, 4, 0, 0},
};

/** find_option() - The row of an option; NULL for those that nobody supports */
static const struct option *find_option(const struct zt_token *t, int level, int name)
{
	if (level == IPPROTO_TCP && t->kind != 's')
		return NULL;
	if (level == IPPROTO_UDP && t->kind != 'd')
		return NULL;
	if (level == IPPROTO_IPV6 && t->family != '6')
		return NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	}
	return NULL;
}

/* --------------------------------------------------------------------- set */

static int set_in_kernel(int fd, int name, const void *value, socklen_t len)
{
	return (int)raw_setsockopt(fd, SOL_SOCKET, name, value, len);
}

static int set_buffer(int fd, int name, const void *value)
{
	int size;

	memcpy(&size, value, sizeof(size));
	if (size > BUFFER_MAX)
		size = BUFFER_MAX;
	return set_in_kernel(fd, name, &size, sizeof(size));
}

/**
 * is_quiet() - No answer of the service could change the result
 *
 * What is written after TCP_CORK was set must not overtake it: its answer is awaited.
 */
static bool is_quiet(const struct option *o, const uint8_t *value)
{
	if (o->level == IPPROTO_TCP && o->name == TCP_CORK && get32(value) != 0)
		return false;
	return o->set == SET_QUIET || o->set == SET_BUFFER;
}

/** set_in_service() - IP options may be one byte long: they travel as int */
static int set_in_service(int fd, const struct zt_token *t, const struct option *o,
			  const void *value, socklen_t len)
{
	uint8_t request[12 + VALUE_MAX];
	struct rpc rpc = {.op = OP_SETOPT, .token = t->id, .request = request, .fd = fd};
	int r;

	if (len > VALUE_MAX)
		return -EINVAL;
	memset(request, 0, sizeof(request));
	put32(request, (uint32_t)o->level);
	put32(request + 4, (uint32_t)o->name);
	memcpy(request + 12, value, len);
	if (o->min_len == 1 && len < 4)
		len = 4;
	put32(request + 8, len);
	rpc.request_len = 12 + len;
	r = rpc_attach(fd, t);
	if (t->kind != 's')
		reach_forget();
	if (r == 0)
		r = is_quiet(o, request + 12) ? rpc_notify(&rpc) : rpc_call(&rpc);
	if (r == 0 && o->level == IPPROTO_UDP && o->name == UDP_SEGMENT)
		segment_set(t, (uint16_t)get16(request + 12));
	return errnomap_result(r, PLACE_OPTION);
}

/** in_range() - Linux's limits of an int option whose request gets no reply */
static bool in_range(const struct option *o, const void *value)
{
	int v;

	if (o->low == 0 && o->high == 0)
		return true;
	memcpy(&v, value, sizeof(v));
	return v >= o->low && v <= o->high;
}

/** reads_nothing() - Whether Linux takes an option without a value for 0: the ints of IPv6 */
static bool reads_nothing(const struct option *o)
{
	return o->level == IPPROTO_IPV6 && o->min_len == sizeof(int);
}

/** has_readable_int() - Linux reads the value of an option before it finds that there is none */
static bool has_readable_int(int fd, int level, const void *value, socklen_t len)
{
	bool may_be_none = level == IPPROTO_IPV6 && value == NULL;

	return may_be_none || len < sizeof(int) || mem_readable(fd, value, sizeof(int));
}

int zt_setsockopt(int fd, const struct zt_token *t, int level, int name, const void *value,
		  socklen_t len)
{
	static const int zero;
	const struct option *o = find_option(t, level, name);
	int r;

	if ((o == NULL || o->set == SET_REFUSE) && !has_readable_int(fd, level, value, len))
		return -EFAULT;
	if (o == NULL || o->set == SET_REFUSE)
		return -ENOPROTOOPT;
	if (o->set == SET_DENY)
		return -EPERM;
	if ((int)len < 0 || len < o->min_len)
		return -EINVAL;
	if (value == NULL && len > 0) {
		if (!reads_nothing(o))
			return -EFAULT;
		value = &zero;
		len = sizeof(zero);
	}
	if (!mem_readable(fd, value, len < VALUE_MAX ? len : VALUE_MAX))
		return -EFAULT;
	if (!in_range(o, value))
		return -EINVAL;
	switch (o->set) {
	case SET_KERNEL:
		return set_in_kernel(fd, name, value, len);
	case SET_BUFFER:
		r = set_buffer(fd, name, value);
		return r < 0 ? r : set_in_service(fd, t, o, value, len);
	case SET_BOTH:
		set_in_kernel(fd, name, value, len);
		return set_in_service(fd, t, o, value, len);
	case SET_SERVICE:
	case SET_QUIET:
		return set_in_service(fd, t, o, value, len);
	case SET_DATAGRAM:
		return t->kind == 's' ? set_in_kernel(fd, name, value, len)
				      : set_in_service(fd, t, o, value, len);
	default:
		return 0;
	}
}

/* --------------------------------------------------------------------- get */

/** give() - Store a value as the kernel does: cut to the caller's room, *@len = what was stored */
static int give(int fd, const void *from, socklen_t from_len, void *value, socklen_t *len)
{
	socklen_t room;
	int r = mem_length(fd, len, &room);

	if (r < 0)
		return r;
	if (room > from_len)
		room = from_len;
	if (!mem_put(fd, value, from, room))
		return -EFAULT;
	return mem_put(fd, len, &room, sizeof(room)) ? 0 : -EFAULT;
}

static int give_int(int fd, int v, void *value, socklen_t *len)
{
	return give(fd, &v, sizeof(v), value, len);
}

/** get_error() - The one pending error: the service's answer beats the kernel's */
static int get_error(int fd, const struct zt_token *t)
{
	uint8_t request[4] = {0};
	uint8_t reply[8] = {0};
	struct rpc rpc = {.op = OP_TAKEERR,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .reply = reply,
			  .reply_cap = sizeof(reply),
			  .fd = fd};
	int kernel = 0;
	socklen_t len = sizeof(kernel);

	if (t->kind != 's')
		return dgram_take_error(fd);
	raw_getsockopt(fd, SOL_SOCKET, SO_ERROR, &kernel, &len);
	if (rpc_sandboxed() || !rpc_is_attached(fd))
		return kernel;
	return rpc_call(&rpc) == 0 ? get32s(reply) : kernel;
}

static int is_accepting(int fd, const struct zt_token *t)
{
	struct fd_info info;

	return zt_names(fd, t, &info) == STATE_LISTENING;
}

static int get_from_service(int fd, const struct zt_token *t, const struct option *o, void *value,
			    socklen_t *len)
{
	uint8_t request[12] = {0};
	uint8_t reply[4 + VALUE_MAX] = {0};
	struct rpc rpc = {.op = OP_GETOPT,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .reply = reply,
			  .reply_cap = sizeof(reply),
			  .fd = fd};
	uint32_t got;
	int r = rpc_attach(fd, t);

	put32(request, (uint32_t)o->level);
	put32(request + 4, (uint32_t)o->name);
	put32(request + 8, VALUE_MAX);
	if (r == 0)
		r = rpc_call(&rpc);
	if (r < 0)
		return errnomap_result(r, PLACE_OPTION);
	got = get32(reply);
	if (rpc.reply_len < 4 || got > rpc.reply_len - 4)
		return -EIO;
	return give(fd, reply + 4, got, value, len);
}

static int get_peercred(int fd, void *value, socklen_t *len)
{
	struct ucred cred = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

	return give(fd, &cred, sizeof(cred), value, len);
}

/** has_level() - False where Linux finds nobody to ask; AF_INET6 sockets refuse what they have not
 */
static bool has_level(const struct zt_token *t, int level)
{
	if (t->family == '6' || level == SOL_SOCKET || level == IPPROTO_IP)
		return true;
	return level == (t->kind == 's' ? IPPROTO_TCP : IPPROTO_UDP);
}

int zt_getsockopt(int fd, const struct zt_token *t, int level, int name, void *value,
		  socklen_t *len)
{
	const struct option *o = find_option(t, level, name);
	socklen_t room;

	if (mem_length(fd, len, &room) == -EFAULT)
		return -EFAULT;
	if (!has_level(t, level))
		return -EOPNOTSUPP;
	if (o == NULL || o->get == GET_REFUSE)
		return -ENOPROTOOPT;
	switch (o->get) {
	case GET_KERNEL:
		return (int)raw_getsockopt(fd, level, name, value, len);
	case GET_TYPE:
		return give_int(fd, t->kind == 's' ? SOCK_STREAM : SOCK_DGRAM, value, len);
	case GET_DOMAIN:
		return give_int(fd, t->family == '6' ? AF_INET6 : AF_INET, value, len);
	case GET_PROTOCOL:
		return give_int(fd, t->protocol, value, len);
	case GET_ERROR:
		return give_int(fd, get_error(fd, t), value, len);
	case GET_ACCEPTCONN:
		return give_int(fd, t->kind == 's' ? is_accepting(fd, t) : 0, value, len);
	case GET_PEERCRED:
		return get_peercred(fd, value, len);
	case GET_NO_DATA:
		return -ENODATA;
	case GET_EMPTY:
		return give(fd, NULL, 0, value, len);
	case GET_NOTHING:
		return t->kind == 's' ? give(fd, NULL, 0, value, len) : -ENOPROTOOPT;
	case GET_SERVICE:
		return get_from_service(fd, t, o, value, len);
	case GET_DATAGRAM:
		return t->kind == 's' ? (int)raw_getsockopt(fd, level, name, value, len)
				      : get_from_service(fd, t, o, value, len);
	default:
		return give_int(fd, 0, value, len);
	}
}

/* ----------------------------------------------------------- exported calls */

HOOK int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_getsockopt(fd, level, name, value, len);
	r = zt_getsockopt(fd, &t, level, name, value, len);
	log_call(LOG_CONTROL, "getsockopt", fd, t.id, r);
	return (int)zt_ret(r);
}

HOOK int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct zt_token t;
	int r;

	if (!zt_active() || !token_of(fd, &t))
		return real_setsockopt(fd, level, name, value, len);
	r = zt_setsockopt(fd, &t, level, name, value, len);
	log_call(LOG_CONTROL, "setsockopt", fd, t.id, r);
	return (int)zt_ret(r);
}
