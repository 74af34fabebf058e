/**
 * log.c - Tracing that is safe in a signal handler
 *
 * A line is built on the stack and leaves in one write(2), to stderr or to ZT_NC_DEBUG_FILE,
 * which is opened per line so that the program may close every descriptor it does not know.
 * Without ZT_NC_DEBUG nothing is printed but the lines of log_line().
 */
#include "zt.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "raw.h"

struct line {
	char text[512];
	size_t len;
};

static void add(struct line *l, const char *s)
{
	while (*s != '\0' && l->len < sizeof(l->text) - 1)
		l->text[l->len++] = *s++;
}

static void add_number(struct line *l, long v)
{
	char digits[24];
	size_t i = sizeof(digits);
	unsigned long u = v < 0 ? 0UL - (unsigned long)v : (unsigned long)v;

	digits[--i] = '\0';
	do {
		digits[--i] = (char)('0' + u % 10);
		u /= 10;
	} while (u != 0);
	if (v < 0)
		digits[--i] = '-';
	add(l, digits + i);
}

static void add_prefix(struct line *l)
{
	add(l, "ztnc[");
	add_number(l, raw_getpid());
	add(l, ".");
	add_number(l, raw_gettid());
	add(l, "] ");
}

static void add_hex(struct line *l, unsigned v)
{
	static const char hex[] = "0123456789abcdef";
	char one[2] = {0, 0};
	bool started = false;

	for (int shift = 12; shift >= 0; shift -= 4) {
		one[0] = hex[(v >> shift) & 15];
		started = started || one[0] != '0' || shift == 0;
		if (started)
			add(l, one);
	}
}

/** add_address() - A ztaddr with its port: 10.0.0.1:80 or [fd00:0:0:0:0:0:0:1]:80 */
static void add_address(struct line *l, const uint8_t *a)
{
	const uint8_t *ip = a + ZTADDR_IP;

	if (a[ZTADDR_FAMILY] == 6) {
		for (int i = 0; i < 8; i++) {
			add(l, i == 0 ? "[" : ":");
			add_hex(l, (unsigned)ip[2 * i] << 8 | ip[2 * i + 1]);
		}
		add(l, "]");
	} else {
		for (int i = 0; i < 4; i++) {
			add(l, i == 0 ? "" : ".");
			add_number(l, ip[i]);
		}
	}
	add(l, ":");
	add_number(l, (long)a[ZTADDR_PORT] << 8 | a[ZTADDR_PORT + 1]);
}

static void add_token(struct line *l, const uint8_t *token)
{
	static const char hex[] = "0123456789abcdef";
	char pair[3] = {0, 0, 0};

	add(l, ", ");
	for (int i = 0; i < 4; i++) {
		pair[0] = hex[token[i] >> 4];
		pair[1] = hex[token[i] & 15];
		add(l, pair);
	}
}

/** file_name() - ZT_NC_DEBUG_FILE with %p replaced by the process id */
static void file_name(struct line *out)
{
	out->len = 0;
	for (const char *p = zt_env.debug_file; *p != '\0'; p++) {
		char one[2] = {*p, '\0'};

		if (p[0] == '%' && p[1] == 'p') {
			add_number(out, raw_getpid());
			p++;
		} else {
			add(out, one);
		}
	}
	out->text[out->len] = '\0';
}

static void emit(struct line *l)
{
	struct line name;
	long fd;

	l->text[l->len++] = '\n';
	if (zt_env.debug_file[0] == '\0') {
		raw_write(2, l->text, l->len);
		return;
	}
	file_name(&name);
	fd = raw_open(name.text, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	raw_write((int)fd, l->text, l->len);
	raw_close((int)fd);
}

void log_call(int level, const char *name, int fd, const uint8_t *token, long result)
{
	log_address(level, name, fd, token, NULL, result);
}

void log_address(int level, const char *name, int fd, const uint8_t *token, const uint8_t *address,
		 long result)
{
	struct line l;

	if (zt_env.debug < level || rpc_sandboxed())
		return;
	l.len = 0;
	add_prefix(&l);
	add(&l, name);
	add(&l, "(");
	add_number(&l, fd);
	if (token != NULL)
		add_token(&l, token);
	if (address != NULL) {
		add(&l, ", ");
		add_address(&l, address);
	}
	add(&l, ") = ");
	add_number(&l, result);
	emit(&l);
}

/* FNV-1a, 32 bits */
#define FNV_START 0x811c9dc5U
#define FNV_PRIME 0x01000193U

/** no_route_help() - What may lead there, for a kind of socket */
static const char *no_route_help(char kind)
{
	if (kind == 'e')
		return "; echo requests (ping) never leave the network";
	if (zt_env.policy == 0)
		return "; join its network, add a route there, or reach it by the host with "
		       "ZT_NC_FALLTHROUGH";
	if (zt_env.policy == 1)
		return "; ZT_NC_FALLTHROUGH asks for the host's loopback alone";
	return ", nor of the host, as far as fallthrough in the service's local.conf grants it";
}

void log_no_route(char kind, const uint8_t address[ZTADDR_LEN])
{
	static _Atomic uint32_t last;
	uint32_t hash = FNV_START;
	struct line l;

	if (zt_env.debug < LOG_ERROR || rpc_sandboxed())
		return;
	for (size_t i = 0; i < ZTADDR_LEN; i++)
		hash = (hash ^ address[i]) * FNV_PRIME;
	/* A program that goes on trying says it once. */
	if (atomic_exchange(&last, hash) == hash)
		return;
	l.len = 0;
	add_prefix(&l);
	add(&l, "no route to ");
	add_address(&l, address);
	add(&l, ": no address or route of ");
	add(&l, zt_env.path);
	add(&l, no_route_help(kind));
	emit(&l);
}

void log_line(const char *text, const char *detail)
{
	struct line l;

	if (rpc_sandboxed())
		return;
	l.len = 0;
	add_prefix(&l);
	add(&l, text);
	add(&l, detail == NULL ? "" : detail);
	l.text[l.len++] = '\n';
	raw_write(2, l.text, l.len);
}
