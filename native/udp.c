/*
 * UDP in batches: many datagrams per system call, and segmentation by the kernel or the card where
 * several datagrams of one length go to one place.
 *
 * A batch is described by a table of four words per datagram: offset and length of its bytes in the
 * caller's buffer, port, and family (4 or 6); a second array holds 16 bytes of address for each.
 */
#include "io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX     64
#define ROW_WORDS     4
#define ADDRESS_LEN   16
#define SEGMENTS_MAX  64 /* the kernel's UDP_MAX_SEGMENTS */
#define GSO_BYTES_MAX 65000

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { ROW_OFFSET, ROW_LENGTH, ROW_PORT, ROW_FAMILY };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

static socklen_t to_sockaddr(union address *to, uint32_t family, uint32_t port, const uint8_t *ip)
{
	memset(to, 0, sizeof(*to));
	if (family == 4) {
		to->v4.sin_family = AF_INET;
		to->v4.sin_port = htons((uint16_t)port);
		memcpy(&to->v4.sin_addr, ip, 4);
		return sizeof(to->v4);
	}
	to->v6.sin6_family = AF_INET6;
	to->v6.sin6_port = htons((uint16_t)port);
	memcpy(&to->v6.sin6_addr, ip, ADDRESS_LEN);
	return sizeof(to->v6);
}

static void from_sockaddr(const union address *from, uint32_t *row, uint8_t *ip)
{
	memset(ip, 0, ADDRESS_LEN);
	if (from->any.sa_family == AF_INET) {
		row[ROW_FAMILY] = 4;
		row[ROW_PORT] = ntohs(from->v4.sin_port);
		memcpy(ip, &from->v4.sin_addr, 4);
	} else {
		row[ROW_FAMILY] = 6;
		row[ROW_PORT] = ntohs(from->v6.sin6_port);
		memcpy(ip, &from->v6.sin6_addr, ADDRESS_LEN);
	}
}

/* udpOpen(family, ip: Uint8Array(16), port, bufferLen, gro): fd of a bound socket. */
static napi_value udpOpen(napi_env env, napi_callback_info info)
{
	union address local;
	struct args a;
	struct bytes ip;
	socklen_t len;
	int family, port, buffer, gro, fd, one = 1, omit = IP_PMTUDISC_OMIT, e;

	args_take(&a, env, info);
	family = args_int(&a);
	ip = args_bytes(&a);
	port = args_int(&a);
	buffer = args_int(&a);
	gro = args_int(&a);
	a.bad |= ip.len != ADDRESS_LEN || (family != 4 && family != 6) || port < 0 || port > 65535;
	if (args_failed(&a, "udpOpen(family, ip, port, bufferLen, gro)"))
		return NULL;
	len = to_sockaddr(&local, (uint32_t)family, (uint32_t)port, ip.data);
	fd = socket(local.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return from_rc(env, fd);
	/* The kernel grants what its limits allow; less is no error. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	/* Routers may fragment, and nobody's "fragmentation needed" makes the datagrams shorter. */
	if (family == 4)
		(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit));
	else
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &omit, sizeof(omit));
	if ((family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    bind(fd, &local.any, len) < 0) {
		e = errno;
		close(fd);
		return from_int(env, -e);
	}
	if (gro)
		(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	return from_int(env, fd);
}

/* udpPort(fd): the local port. */
static napi_value udpPort(napi_env env, napi_callback_info info)
{
	union address local;
	socklen_t len = sizeof(local);
	struct args a;
	int fd;

	args_take(&a, env, info);
	fd = args_int(&a);
	if (args_failed(&a, "udpPort(fd)"))
		return NULL;
	if (getsockname(fd, &local.any, &len) < 0)
		return from_rc(env, -1);
	return from_int(env, ntohs(local.any.sa_family == AF_INET ? local.v4.sin_port
								  : local.v6.sin6_port));
}

/* udpTtl(fd, family, hops): hop limit of what is sent from now on. */
static napi_value udpTtl(napi_env env, napi_callback_info info)
{
	struct args a;
	int fd, family, hops;

	args_take(&a, env, info);
	fd = args_int(&a);
	family = args_int(&a);
	hops = args_int(&a);
	if (args_failed(&a, "udpTtl(fd, family, hops)"))
		return NULL;
	return from_rc(env, family == 4 ? setsockopt(fd, IPPROTO_IP, IP_TTL, &hops, sizeof(hops))
					: setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops,
						     sizeof(hops)));
}

/* Bytes of each datagram that the kernel put into one message, or all of it. */
static uint32_t segment_of(struct msghdr *msg, uint32_t len)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		int size;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		if (size > 0)
			return (uint32_t)size;
	}
	return len;
}

/*
 * udpReceive(fd, into, slotLen, table, addresses): rows written, at most 64 messages of slotLen
 * bytes each. A message of several joined datagrams becomes as many rows; those that do not fit the
 * table are lost. Datagrams longer than a slot are cut to it, which their length of slotLen shows.
 */
static napi_value udpReceive(napi_env env, napi_callback_info info)
{
	struct mmsghdr msgs[BATCH_MAX];
	struct iovec iov[BATCH_MAX];
	union address from[BATCH_MAX];
	union control control[BATCH_MAX];
	struct args a;
	struct bytes into, addresses;
	struct words table;
	uint32_t slot, slots, rows = 0, capacity;
	int fd, n;

	args_take(&a, env, info);
	fd = args_int(&a);
	into = args_bytes(&a);
	slot = (uint32_t)args_int(&a);
	table = args_words(&a);
	addresses = args_bytes(&a);
	a.bad |= slot == 0 || into.len < slot;
	if (args_failed(&a, "udpReceive(fd, into, slotLen, table, addresses)"))
		return NULL;
	capacity = (uint32_t)(table.len / ROW_WORDS);
	if (capacity > addresses.len / ADDRESS_LEN)
		capacity = (uint32_t)(addresses.len / ADDRESS_LEN);
	slots = (uint32_t)(into.len / slot);
	if (slots > BATCH_MAX)
		slots = BATCH_MAX;
	if (slots > capacity)
		slots = capacity;
	for (uint32_t i = 0; i < slots; i++) {
		iov[i] = (struct iovec){into.data + i * slot, slot};
		msgs[i].msg_hdr =
			(struct msghdr){&from[i],	 sizeof(from[i]),	  &iov[i], 1,
					control[i].room, sizeof(control[i].room), 0};
	}
	n = recvmmsg(fd, msgs, slots, MSG_DONTWAIT, NULL);
	if (n < 0)
		return from_rc(env, n);
	for (int i = 0; i < n; i++) {
		uint32_t len = msgs[i].msg_len;
		uint32_t segment = segment_of(&msgs[i].msg_hdr, len);

		for (uint32_t at = 0; rows < capacity && (at < len || at == 0); at += segment) {
			uint32_t *row = table.data + rows * ROW_WORDS;

			row[ROW_OFFSET] = (uint32_t)i * slot + at;
			row[ROW_LENGTH] = len - at < segment ? len - at : segment;
			from_sockaddr(&from[i], row, addresses.data + rows * ADDRESS_LEN);
			rows++;
			if (segment == 0)
				break;
		}
	}
	return from_int(env, rows);
}

/* Whether row `i` may follow row `i - 1` in one segmented message that began with row `first`. */
static int joins(const uint32_t *t, const uint8_t *ips, uint32_t first, uint32_t i)
{
	const uint32_t *a = t + first * ROW_WORDS, *p = t + (i - 1) * ROW_WORDS;
	const uint32_t *b = t + i * ROW_WORDS;

	return i - first < SEGMENTS_MAX && p[ROW_LENGTH] == a[ROW_LENGTH] &&
	       b[ROW_LENGTH] <= a[ROW_LENGTH] && b[ROW_LENGTH] > 0 &&
	       b[ROW_OFFSET] == p[ROW_OFFSET] + p[ROW_LENGTH] && b[ROW_PORT] == a[ROW_PORT] &&
	       b[ROW_FAMILY] == a[ROW_FAMILY] &&
	       b[ROW_OFFSET] + b[ROW_LENGTH] - a[ROW_OFFSET] <= GSO_BYTES_MAX &&
	       memcmp(ips + i * ADDRESS_LEN, ips + first * ADDRESS_LEN, ADDRESS_LEN) == 0;
}

static void set_segment(struct msghdr *msg, union control *control, uint32_t size)
{
	uint16_t segment = (uint16_t)size;
	struct cmsghdr *c;

	msg->msg_control = control->room;
	msg->msg_controllen = CMSG_SPACE(sizeof(segment));
	memset(control->room, 0, sizeof(control->room));
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(c), &segment, sizeof(segment));
}

/*
 * udpSend(fd, from, table, addresses, first, count, gso): rows sent, beginning with row `first`;
 * -errno if not even that one was. Rows of one destination whose bytes follow each other and are of
 * one length (the last may be shorter) leave as one segmented message when `gso` is not 0.
 */
static napi_value udpSend(napi_env env, napi_callback_info info)
{
	struct mmsghdr msgs[BATCH_MAX];
	struct iovec iov[BATCH_MAX];
	union address to[BATCH_MAX];
	union control control[BATCH_MAX];
	uint32_t rows[BATCH_MAX];
	struct args a;
	struct bytes from, addresses;
	struct words table;
	uint32_t first, count, used = 0, sent = 0;
	int fd, gso, n;

	args_take(&a, env, info);
	fd = args_int(&a);
	from = args_bytes(&a);
	table = args_words(&a);
	addresses = args_bytes(&a);
	first = (uint32_t)args_int(&a);
	count = (uint32_t)args_int(&a);
	gso = args_int(&a);
	a.bad |= (uint64_t)first + count > table.len / ROW_WORDS ||
		 (uint64_t)first + count > addresses.len / ADDRESS_LEN;
	for (uint32_t i = first; !a.bad && i < first + count; i++) {
		const uint32_t *row = table.data + i * ROW_WORDS;

		a.bad |= (uint64_t)row[ROW_OFFSET] + row[ROW_LENGTH] > from.len ||
			 (row[ROW_FAMILY] != 4 && row[ROW_FAMILY] != 6) || row[ROW_PORT] > 65535;
	}
	if (args_failed(&a, "udpSend(fd, from, table, addresses, first, count, gso)"))
		return NULL;
	for (uint32_t i = first; i < first + count && used < BATCH_MAX; used++) {
		const uint32_t *row = table.data + i * ROW_WORDS;
		uint32_t len = row[ROW_LENGTH], begin = i;
		struct msghdr *msg = &msgs[used].msg_hdr;

		for (i++; gso && i < first + count && joins(table.data, addresses.data, begin, i);
		     i++)
			len += table.data[i * ROW_WORDS + ROW_LENGTH];
		rows[used] = i - begin;
		iov[used] = (struct iovec){from.data + row[ROW_OFFSET], len};
		*msg = (struct msghdr){
			.msg_name = &to[used], .msg_iov = &iov[used], .msg_iovlen = 1};
		msg->msg_namelen = to_sockaddr(&to[used], row[ROW_FAMILY], row[ROW_PORT],
					       addresses.data + begin * ADDRESS_LEN);
		if (rows[used] > 1)
			set_segment(msg, &control[used], row[ROW_LENGTH]);
	}
	n = sendmmsg(fd, msgs, used, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return from_rc(env, n);
	for (int i = 0; i < n; i++)
		sent += rows[i];
	return from_int(env, sent);
}

napi_status register_udp(napi_env env, napi_value exports)
{
	napi_property_descriptor functions[] = {
		FUNCTION(udpOpen),    FUNCTION(udpPort), FUNCTION(udpTtl),
		FUNCTION(udpReceive), FUNCTION(udpSend),
	};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions),
				      functions);
}
