/**
 * token.c - The identity of a virtual socket, kept by the kernel as its abstract name
 *
 * Layout in [5 section 5.2]. The name survives dup, fork, exec and SCM_RIGHTS without any table
 * of ours; reading it costs a quarter of a microsecond.
 */
#include "zt.h"

#include <netinet/in.h>

#include "raw.h"

/* Linux: protocols are numbers below this one (IPPROTO_MAX of new headers) */
#define PROTOCOL_END 263

#define OFF_FAMILY   7
#define OFF_KIND     8
#define OFF_CARRIER  9
#define OFF_PROTOCOL 10
#define OFF_DOT	     12
#define OFF_ID	     13

/* Ours: draws before a name that is always taken counts as a fault of the system. */
#define BIND_TRIES 8

static const char hex[] = "0123456789abcdef";

/** unhex() - Value of a lower-case hexadecimal digit, or -1 */
static int unhex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool unhex_bytes(const char *text, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high = unhex(text[2 * i]);
		int low = unhex(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool token_of(int fd, struct zt_token *out)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);
	const char *p = un.sun_path;

	if (raw_getsockname(fd, &un, &len) != 0 || len != TOKEN_ADDR_LEN)
		return false;
	if (un.sun_family != AF_UNIX || p[0] != '\0' || memcmp(p + 1, TOKEN_PREFIX, 6) != 0)
		return false;
	if (p[OFF_KIND] == 'c' || p[OFF_DOT] != '.')
		return false;
	out->family = p[OFF_FAMILY];
	out->kind = p[OFF_KIND];
	out->carrier = p[OFF_CARRIER];
	return unhex_bytes(p + OFF_PROTOCOL, &out->protocol, 1) &&
	       unhex_bytes(p + OFF_ID, out->id, TOKEN_LEN);
}

bool token_is_stream(int fd, struct zt_token *out)
{
	return token_of(fd, out) && out->kind == 's';
}

void token_name(const struct zt_token *token, struct sockaddr_un *out)
{
	char *p = out->sun_path;

	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(p + 1, TOKEN_PREFIX, 6);
	p[OFF_FAMILY] = token->family;
	p[OFF_KIND] = token->kind;
	p[OFF_CARRIER] = token->carrier;
	p[OFF_PROTOCOL] = hex[token->protocol >> 4];
	p[OFF_PROTOCOL + 1] = hex[token->protocol & 15];
	p[OFF_DOT] = '.';
	for (size_t i = 0; i < TOKEN_LEN; i++) {
		p[OFF_ID + 2 * i] = hex[token->id[i] >> 4];
		p[OFF_ID + 2 * i + 1] = hex[token->id[i] & 15];
	}
}

int token_bind(int fd, struct zt_token *token)
{
	struct sockaddr_un un;
	long r = -EADDRINUSE;

	for (int i = 0; i < BIND_TRIES && r == -EADDRINUSE; i++) {
		r = raw_random(token->id, TOKEN_LEN);
		if (r < 0)
			break;
		token_name(token, &un);
		r = raw_bind(fd, &un, TOKEN_ADDR_LEN);
	}
	return (int)r;
}

int token_choose(int domain, int type, int protocol, char records, struct zt_token *t)
{
	if (protocol < 0 || protocol >= PROTOCOL_END)
		return -EINVAL;
	t->family = domain == AF_INET ? '4' : '6';
	if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
		t->kind = 's';
		t->carrier = 'k';
		t->protocol = IPPROTO_TCP;
		return 0;
	}
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) {
		t->kind = 'd';
		t->carrier = records;
		t->protocol = IPPROTO_UDP;
		return 0;
	}
	if (type == SOCK_DGRAM && protocol == (domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if ((rpc_capabilities() & CAPABILITY_ECHO) == 0)
			return -EACCES;
		t->kind = 'e';
		t->carrier = records;
		t->protocol = (uint8_t)protocol;
		return 0;
	}
	if (type == SOCK_STREAM || type == SOCK_DGRAM)
		return -EPROTONOSUPPORT;
	if (type == SOCK_RAW)
		return protocol == 0 ? -EPROTONOSUPPORT : -EPERM;
	return type > SOCK_PACKET ? -EINVAL : -ESOCKTNOSUPPORT;
}

int token_open(struct zt_token *token, int flags)
{
	int type = token->carrier == 'q' ? SOCK_SEQPACKET : SOCK_STREAM;
	long fd = raw_socket(AF_UNIX, type | flags, 0);
	int r;

	if (fd < 0)
		return (int)fd;
	r = token_bind((int)fd, token);
	if (r < 0) {
		raw_close((int)fd);
		return r;
	}
	return (int)fd;
}
