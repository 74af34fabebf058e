/**
 * dgram_control.c - Between control data of datagram calls and the header of a record
 *
 * Both directions follow Linux: unknown messages of a level that applies are refused, those of
 * other levels ignored; on the way back a message that does not fit is cut and MSG_CTRUNC set.
 * A datagram from an IPv4 peer on an AF_INET6 socket carries IPV6_PKTINFO with mapped addresses,
 * but TTL and TOS at level IPPROTO_IP [5 sections 5.9 and 7].
 */
#include "zt.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/time.h>

#define MAPPED_AT 12 /* an IPv4 address begins here in its IPv6-mapped form */

static const uint8_t mapped[MAPPED_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ------------------------------------------------------------------ sending */

/** int_of() - The int of a message of exactly that length; false otherwise */
static bool int_of(const uint8_t *data, size_t len, int *out)
{
	if (len != sizeof(*out))
		return false;
	memcpy(out, data, sizeof(*out));
	return true;
}

static int want_ttl(const uint8_t *data, size_t len, int lowest, uint8_t *head)
{
	int v;

	if (!int_of(data, len, &v) || v < lowest || v > 255)
		return -EINVAL;
	/* -1 asks for the socket's own value. */
	if (v < 0)
		return 0;
	head[DGRAM_FLAGS] |= DGRAM_SET_TTL;
	head[DGRAM_TTL] = (uint8_t)v;
	return 0;
}

static int want_tos(int v, int lowest, uint8_t *head)
{
	if (v < lowest || v > 255)
		return -EINVAL;
	if (v < 0)
		return 0;
	head[DGRAM_FLAGS] |= DGRAM_SET_TOS;
	head[DGRAM_TOS] = (uint8_t)v;
	return 0;
}

/** want_source() - Source address and interface; both zero ask for nothing */
static void want_source(const void *ip, size_t ip_len, uint32_t iface, uint8_t *head)
{
	static const uint8_t any[16];

	if (memcmp(ip, any, ip_len) == 0 && iface == 0)
		return;
	head[DGRAM_FLAGS] |= DGRAM_SET_SOURCE;
	memcpy(head + DGRAM_LOCAL, ip, ip_len);
	put32(head + DGRAM_IFACE, iface);
}

static int parse_ip(int type, const uint8_t *data, size_t len, uint8_t *head)
{
	struct in_pktinfo info;
	int v;

	switch (type) {
	case IP_PKTINFO:
		if (len != sizeof(info))
			return -EINVAL;
		memcpy(&info, data, sizeof(info));
		want_source(&info.ipi_spec_dst, 4, (uint32_t)info.ipi_ifindex, head);
		return 0;
	case IP_TTL:
		return want_ttl(data, len, 1, head);
	case IP_TOS:
		if (len == 1)
			return want_tos(data[0], 0, head);
		return int_of(data, len, &v) ? want_tos(v, 0, head) : -EINVAL;
	default:
		return -EINVAL;
	}
}

/** parse_pktinfo6() - A mapped source belongs to an IPv4 destination, a real one to IPv6 */
static int parse_pktinfo6(const uint8_t *data, size_t len, uint8_t *head)
{
	struct in6_pktinfo info;
	bool is_mapped;

	if (len < sizeof(info))
		return -EINVAL;
	memcpy(&info, data, sizeof(info));
	is_mapped = memcmp(&info.ipi6_addr, mapped, sizeof(mapped)) == 0;
	if (is_mapped && head[DGRAM_ADDR] == 6)
		return -EINVAL;
	if (is_mapped)
		want_source(info.ipi6_addr.s6_addr + MAPPED_AT, 4, info.ipi6_ifindex, head);
	else if (head[DGRAM_ADDR] != 4)
		want_source(&info.ipi6_addr, 16, info.ipi6_ifindex, head);
	else
		return -EINVAL;
	return 0;
}

static int parse_ipv6(int type, const uint8_t *data, size_t len, uint8_t *head)
{
	int v;

	if (type == IPV6_PKTINFO)
		return parse_pktinfo6(data, len, head);
	/* To an IPv4 peer only the source address counts. */
	if (head[DGRAM_ADDR] == 4)
		return 0;
	switch (type) {
	case IPV6_HOPLIMIT:
		return want_ttl(data, len, -1, head);
	case IPV6_TCLASS:
		return int_of(data, len, &v) ? want_tos(v, -1, head) : -EINVAL;
	default:
		return -EINVAL;
	}
}

static int parse_udp(int type, const uint8_t *data, size_t len, uint8_t *head)
{
	uint16_t size;

	if (type != UDP_SEGMENT || len != sizeof(size))
		return -EINVAL;
	memcpy(&size, data, sizeof(size));
	head[DGRAM_FLAGS] |= DGRAM_SET_SEGMENT;
	put16(head + DGRAM_SEGMENT, size);
	return 0;
}

/** parse_socket() - Descriptors and credentials mean nothing here; Linux ignores them too */
static int parse_socket(int type, const struct zt_token *t)
{
	if (type == SCM_RIGHTS || type == SCM_CREDENTIALS)
		return 0;
	/* A stream takes, and does not heed, what marks or stamps its segments. */
	if (t->kind == 's' && (type == SO_MARK || type == SO_PRIORITY || type == SO_TIMESTAMPING))
		return 0;
	return -EINVAL;
}

static int parse_one(const struct cmsghdr *c, const uint8_t *data, const struct zt_token *t,
		     uint8_t *head)
{
	size_t len = c->cmsg_len - CMSG_LEN(0);

	if (t->kind == 's' && c->cmsg_level != SOL_SOCKET)
		return 0;
	switch (c->cmsg_level) {
	case SOL_SOCKET:
		return parse_socket(c->cmsg_type, t);
	case IPPROTO_IP:
		if (t->family == '6' && head[DGRAM_ADDR] == 6)
			return 0;
		return parse_ip(c->cmsg_type, data, len, head);
	case IPPROTO_IPV6:
		return t->family == '6' ? parse_ipv6(c->cmsg_type, data, len, head) : 0;
	case IPPROTO_UDP:
		return t->kind == 'd' ? parse_udp(c->cmsg_type, data, len, head) : 0;
	default:
		return 0;
	}
}

int control_parse(const struct msghdr *msg, const struct zt_token *t, uint8_t head[DGRAM_LEN])
{
	const uint8_t *at = msg->msg_control;
	size_t left = at == NULL ? 0 : msg->msg_controllen;

	while (left >= sizeof(struct cmsghdr)) {
		struct cmsghdr c;
		size_t step;
		int r;

		memcpy(&c, at, sizeof(c));
		if (c.cmsg_len < sizeof(c) || c.cmsg_len > left)
			return -EINVAL;
		r = parse_one(&c, at + CMSG_LEN(0), t, head);
		if (r < 0)
			return r;
		step = CMSG_ALIGN(c.cmsg_len);
		if (step > left)
			break;
		at += step;
		left -= step;
	}
	return 0;
}

int control_mistake(const struct msghdr *msg, const struct zt_token *t)
{
	uint8_t unused[DGRAM_LEN] = {0};

	return control_parse(msg, t, unused);
}

/* ---------------------------------------------------------------- receiving */

struct writer {
	int fd;
	uint8_t *at;
	size_t left;
	size_t used;
	int flags; /* MSG_CTRUNC when something was cut */
};

/** append() - One message, cut to the room that is left */
static void append(struct writer *w, int level, int type, const void *data, size_t len)
{
	struct cmsghdr c = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	size_t space = CMSG_SPACE(len);

	if (w->left < sizeof(c)) {
		w->flags |= MSG_CTRUNC;
		return;
	}
	if (w->left < c.cmsg_len) {
		w->flags |= MSG_CTRUNC;
		c.cmsg_len = w->left;
	}
	/* What cannot be stored is left out, as Linux does. */
	if (!mem_put(w->fd, w->at, &c, sizeof(c)) ||
	    !mem_put(w->fd, w->at + CMSG_LEN(0), data, c.cmsg_len - CMSG_LEN(0)))
		return;
	if (space > w->left)
		space = w->left;
	w->at += space;
	w->left -= space;
	w->used += space;
}

static void append_time(const uint8_t *head, struct writer *w)
{
	uint64_t us = get64(head + DGRAM_TIME);
	struct timeval tv = {.tv_sec = (time_t)(us / 1000000),
			     .tv_usec = (suseconds_t)(us % 1000000)};

	append(w, SOL_SOCKET, SCM_TIMESTAMP, &tv, sizeof(tv));
}

static void append_pktinfo(const uint8_t *head, char family, struct writer *w)
{
	struct in_pktinfo info = {0};
	struct in6_pktinfo info6 = {0};
	uint32_t iface = get32(head + DGRAM_IFACE);

	if (family == '4') {
		info.ipi_ifindex = (int)iface;
		memcpy(&info.ipi_addr, head + DGRAM_LOCAL, 4);
		/* The local address; the one of a group or broadcast cannot be a source. */
		if (!IN_MULTICAST(ntohl(info.ipi_addr.s_addr)) &&
		    info.ipi_addr.s_addr != INADDR_BROADCAST)
			info.ipi_spec_dst = info.ipi_addr;
		append(w, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
		return;
	}
	info6.ipi6_ifindex = iface;
	if (head[DGRAM_ADDR] == 4) {
		memcpy(&info6.ipi6_addr, mapped, sizeof(mapped));
		memcpy(info6.ipi6_addr.s6_addr + MAPPED_AT, head + DGRAM_LOCAL, 4);
	} else {
		memcpy(&info6.ipi6_addr, head + DGRAM_LOCAL, 16);
	}
	append(w, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

static void append_ttl(const uint8_t *head, struct writer *w)
{
	int v = head[DGRAM_TTL];

	if (head[DGRAM_ADDR] == 4)
		append(w, IPPROTO_IP, IP_TTL, &v, sizeof(v));
	else
		append(w, IPPROTO_IPV6, IPV6_HOPLIMIT, &v, sizeof(v));
}

static void append_tos(const uint8_t *head, struct writer *w)
{
	int v = head[DGRAM_TOS];

	if (head[DGRAM_ADDR] == 4)
		append(w, IPPROTO_IP, IP_TOS, head + DGRAM_TOS, 1);
	else
		append(w, IPPROTO_IPV6, IPV6_TCLASS, &v, sizeof(v));
}

void control_build(int fd, const uint8_t head[DGRAM_LEN], const struct zt_token *t,
		   struct msghdr *msg)
{
	struct writer w = {.fd = fd,
			   .at = msg->msg_control,
			   .left = msg->msg_control == NULL ? 0 : msg->msg_controllen};
	uint8_t flags = head[DGRAM_FLAGS];

	if ((flags & DGRAM_GIVE_TIME) != 0)
		append_time(head, &w);
	if ((flags & DGRAM_GIVE_PKTINFO) != 0)
		append_pktinfo(head, t->family, &w);
	if ((flags & DGRAM_GIVE_TTL) != 0)
		append_ttl(head, &w);
	if ((flags & DGRAM_GIVE_TOS) != 0)
		append_tos(head, &w);
	msg->msg_controllen = w.used;
	msg->msg_flags |= w.flags;
}
