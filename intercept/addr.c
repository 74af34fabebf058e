/**
 * addr.c - Between struct sockaddr and the protocol's ztaddr [5 section 5.3]
 *
 * IPv4-mapped addresses of an AF_INET6 socket travel as IPv4; the way back depends on the family
 * of the socket that reports the address.
 */
#include "zt.h"

#include <netinet/in.h>

/* Linux accepts sockaddr_in6 without the scope id, as RFC 2133 had it. */
#define SIN6_LEN_MIN 24

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int parse4(const struct sockaddr *addr, socklen_t len, uint8_t *out)
{
	struct sockaddr_in in;

	if (len < sizeof(in))
		return -EINVAL;
	memcpy(&in, addr, sizeof(in));
	if (in.sin_family != AF_INET &&
	    !(in.sin_family == AF_UNSPEC && in.sin_addr.s_addr == INADDR_ANY))
		return -EAFNOSUPPORT;
	out[ZTADDR_FAMILY] = 4;
	memcpy(out + ZTADDR_PORT, &in.sin_port, 2);
	memcpy(out + ZTADDR_IP, &in.sin_addr, 4);
	return 0;
}

static int parse6(const struct sockaddr *addr, socklen_t len, uint8_t *out)
{
	struct sockaddr_in6 in;

	if (len < SIN6_LEN_MIN)
		return -EINVAL;
	memset(&in, 0, sizeof(in));
	memcpy(&in, addr, len < sizeof(in) ? len : sizeof(in));
	if (in.sin6_family != AF_INET6)
		return -EAFNOSUPPORT;
	memcpy(out + ZTADDR_PORT, &in.sin6_port, 2);
	if (memcmp(&in.sin6_addr, mapped, sizeof(mapped)) == 0) {
		out[ZTADDR_FAMILY] = 4;
		memcpy(out + ZTADDR_IP, in.sin6_addr.s6_addr + 12, 4);
		return 0;
	}
	out[ZTADDR_FAMILY] = 6;
	put32(out + ZTADDR_SCOPE, in.sin6_scope_id);
	memcpy(out + ZTADDR_IP, &in.sin6_addr, 16);
	return 0;
}

int addr_parse(const struct sockaddr *addr, socklen_t len, char family, uint8_t out[ZTADDR_LEN])
{
	memset(out, 0, ZTADDR_LEN);
	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (addr == NULL)
		return -EFAULT;
	return family == '6' ? parse6(addr, len, out) : parse4(addr, len, out);
}

static void emit6(const uint8_t *in, struct sockaddr_in6 *out)
{
	memset(out, 0, sizeof(*out));
	out->sin6_family = AF_INET6;
	memcpy(&out->sin6_port, in + ZTADDR_PORT, 2);
	if (in[ZTADDR_FAMILY] == 4) {
		memcpy(out->sin6_addr.s6_addr, mapped, sizeof(mapped));
		memcpy(out->sin6_addr.s6_addr + 12, in + ZTADDR_IP, 4);
		return;
	}
	out->sin6_scope_id = get32(in + ZTADDR_SCOPE);
	memcpy(&out->sin6_addr, in + ZTADDR_IP, 16);
}

socklen_t addr_emit(const uint8_t in[ZTADDR_LEN], char family, struct sockaddr_storage *out)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	memset(out, 0, sizeof(*out));
	if (family == '6') {
		emit6(in, &in6);
		memcpy(out, &in6, sizeof(in6));
		return sizeof(in6);
	}
	memset(&in4, 0, sizeof(in4));
	in4.sin_family = AF_INET;
	memcpy(&in4.sin_port, in + ZTADDR_PORT, 2);
	memcpy(&in4.sin_addr, in + ZTADDR_IP, 4);
	memcpy(out, &in4, sizeof(in4));
	return sizeof(in4);
}

int addr_check(int fd, const struct sockaddr *addr, socklen_t len)
{
	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	return mem_readable(fd, addr, len) ? 0 : -EFAULT;
}

int addr_give(int fd, const uint8_t in[ZTADDR_LEN], char family, struct sockaddr *addr,
	      socklen_t *room)
{
	struct sockaddr_storage full;
	socklen_t full_len = addr_emit(in, family, &full);

	if (!mem_put(fd, addr, &full, *room < full_len ? *room : full_len))
		return -EFAULT;
	*room = full_len;
	return 0;
}

int addr_return(int fd, const uint8_t in[ZTADDR_LEN], char family, struct sockaddr *addr,
		socklen_t *len)
{
	socklen_t room;
	int r = mem_length(fd, len, &room);

	if (r == 0)
		r = addr_give(fd, in, family, addr, &room);
	if (r < 0)
		return r;
	return mem_put(fd, len, &room, sizeof(room)) ? 0 : -EFAULT;
}
