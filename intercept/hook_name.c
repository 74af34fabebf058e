/**
 * hook_name.c - Name functions on top of RESOLVE and REVERSE [5 section 11]
 *
 * libc resolves names through sockets of its own that no preload can see, so these functions are
 * replaced as a whole: numeric names and localhost are answered here, everything else by the
 * service. The lists that getaddrinfo() returns are made by libc's own getaddrinfo() from numeric
 * text, one call per address, and chained, so that libc's freeaddrinfo() frees them.
 *
 * These functions may use malloc, as libc's do.
 */
#include "zt.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "raw.h"
#include "real.h"

/* [5 section 9.4] a look-up may take seconds */
#define RESOLVE_TIMEOUT_S 30
/* Ours: addresses of one name that are passed on */
#define ADDRESSES_MAX 64
/* Longest name of DNS with its dot and NUL */
#define NAME_MAX_LEN 256

struct answers {
	char canonical[NAME_MAX_LEN];
	int count;
	struct {
		int family; /* AF_INET or AF_INET6 */
		uint8_t ip[16];
	} at[ADDRESSES_MAX];
};

/* ---------------------------------------------------------------- look-ups */

static void add_answer(struct answers *a, int family, const void *ip)
{
	if (a->count == ADDRESSES_MAX)
		return;
	a->at[a->count].family = family;
	memcpy(a->at[a->count].ip, ip, family == AF_INET ? 4 : 16);
	a->count++;
}

static bool is_localhost(const char *name)
{
	size_t len = strlen(name);
	size_t tail = strlen("localhost");

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len < tail || strncasecmp(name + len - tail, "localhost", tail) != 0)
		return false;
	return len == tail || name[len - tail - 1] == '.';
}

/** answer_localhost() - IPv6 first, which is the order of getaddrinfo(3) */
static void answer_localhost(int family, struct answers *out)
{
	static const uint8_t four[4] = {127, 0, 0, 1};
	static const uint8_t six[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

	memcpy(out->canonical, "localhost", sizeof("localhost"));
	if (family != AF_INET)
		add_answer(out, AF_INET6, six);
	if (family != AF_INET6)
		add_answer(out, AF_INET, four);
}

/** parse_resolution() - Reply of RESOLVE; false when its lengths do not add up */
static bool parse_resolution(const uint8_t *reply, size_t len, struct answers *out)
{
	size_t count, canonical_len, at;

	if (len < 4)
		return false;
	count = get16(reply);
	canonical_len = get16(reply + 2);
	at = 4 + canonical_len;
	if (canonical_len >= sizeof(out->canonical) || at > len)
		return false;
	memcpy(out->canonical, reply + 4, canonical_len);
	out->canonical[canonical_len] = '\0';
	for (size_t i = 0; i < count && at + ZTADDR_LEN <= len; i++, at += ZTADDR_LEN)
		add_answer(out, reply[at] == 4 ? AF_INET : AF_INET6, reply + at + ZTADDR_IP);
	return true;
}

static int family_number(int family)
{
	if (family == AF_INET)
		return 4;
	return family == AF_INET6 ? 6 : 0;
}

/**
 * look_up() - Ask for the addresses of a name that is not numeric
 * @flags:	RESOLVE_ORDERED, or 0 for the order of the source
 *
 * Return: 0, -2 unknown name, -11 try again, -5 failure, as RESOLVE answers
 */
static int look_up(const char *name, int family, unsigned flags, struct answers *out)
{
	uint8_t request[4 + NAME_MAX_LEN];
	uint8_t reply[4 + NAME_MAX_LEN + ADDRESSES_MAX * ZTADDR_LEN];
	struct rpc rpc = {.op = OP_RESOLVE,
			  .request = request,
			  .reply = reply,
			  .reply_cap = sizeof(reply),
			  .fd = -1,
			  .one_shot = true,
			  .timeout_s = RESOLVE_TIMEOUT_S};
	size_t len = strlen(name);
	int r;

	out->count = 0;
	out->canonical[0] = '\0';
	if (is_localhost(name)) {
		answer_localhost(family, out);
		return 0;
	}
	if (zt_env.mode == MODE_BROKEN) {
		env_complain();
		return -EAGAIN;
	}
	if (len == 0 || len >= NAME_MAX_LEN)
		return -2;
	request[0] = (uint8_t)family_number(family);
	request[1] = (uint8_t)(RESOLVE_CANONICAL | flags);
	put16(request + 2, (unsigned)len);
	memcpy(request + 4, name, len);
	rpc.request_len = 4 + len;
	r = rpc_call(&rpc);
	log_call(LOG_CONTROL, "resolve", -1, NULL, r);
	if (r == 0 && !parse_resolution(reply, rpc.reply_len, out))
		return -5;
	if (r == RPC_UNREACHABLE || r == -EPERM)
		return -EAGAIN;
	return r;
}

/** reverse() - Name of an address, false when there is none */
static bool reverse(int family, const void *ip, char name[NAME_MAX_LEN])
{
	static const uint8_t six[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	uint8_t request[ZTADDR_LEN] = {0};
	uint8_t reply[2 + NAME_MAX_LEN];
	struct rpc rpc = {.op = OP_REVERSE,
			  .request = request,
			  .request_len = sizeof(request),
			  .reply = reply,
			  .reply_cap = sizeof(reply),
			  .fd = -1,
			  .one_shot = true,
			  .timeout_s = RESOLVE_TIMEOUT_S};
	size_t len;

	if (family == AF_INET ? *(const uint8_t *)ip == 127 : memcmp(ip, six, 16) == 0) {
		memcpy(name, "localhost", sizeof("localhost"));
		return true;
	}
	request[ZTADDR_FAMILY] = (uint8_t)family_number(family);
	memcpy(request + ZTADDR_IP, ip, family == AF_INET ? 4 : 16);
	if (zt_env.mode == MODE_BROKEN || rpc_call(&rpc) != 0 || rpc.reply_len < 2)
		return false;
	len = get16(reply);
	if (len == 0 || len >= NAME_MAX_LEN || len + 2 > rpc.reply_len)
		return false;
	memcpy(name, reply + 2, len);
	name[len] = '\0';
	return true;
}

/* ------------------------------------------------------------- getaddrinfo */

static int eai_of(int result)
{
	switch (result) {
	case 0:
		return 0;
	case -2:
		return EAI_NONAME;
	case -EAGAIN:
		return EAI_AGAIN;
	default:
		return EAI_FAIL;
	}
}

/** one_address() - libc's list for a single numeric address */
static int one_address(int family, const uint8_t *ip, bool mapped, const char *service,
		       const struct addrinfo *hints, struct addrinfo **out)
{
	struct addrinfo inner = {0};
	char text[INET6_ADDRSTRLEN + 8] = "::ffff:";
	char *at = mapped ? text + 7 : text;

	if (inet_ntop(family, ip, at, INET6_ADDRSTRLEN) == NULL)
		return EAI_FAIL;
	if (hints != NULL) {
		inner = *hints;
		inner.ai_flags &= AI_PASSIVE | AI_NUMERICSERV;
	}
	inner.ai_flags |= AI_NUMERICHOST;
	inner.ai_family = mapped ? AF_INET6 : family;
	inner.ai_canonname = NULL;
	inner.ai_addr = NULL;
	inner.ai_next = NULL;
	return real_getaddrinfo(text, service, &inner, out);
}

static void append(struct addrinfo **list, struct addrinfo *more)
{
	while (*list != NULL)
		list = &(*list)->ai_next;
	*list = more;
}

/** chain() - The answers of @family (AF_UNSPEC: all) as one list that libc can free */
static int chain(const struct answers *a, int family, bool mapped, const char *service,
		 const struct addrinfo *hints, struct addrinfo **out)
{
	int first_error = EAI_NODATA;

	for (int i = 0; i < a->count; i++) {
		struct addrinfo *one = NULL;
		int r;

		if (family != AF_UNSPEC && a->at[i].family != family)
			continue;
		r = one_address(a->at[i].family, a->at[i].ip, mapped, service, hints, &one);
		if (r == 0)
			append(out, one);
		else if (first_error == EAI_NODATA)
			first_error = r;
	}
	return *out != NULL ? 0 : first_error;
}

/** drop_unconfigured() - AI_ADDRCONFIG: keep families of which the view has an address */
static void drop_unconfigured(struct answers *a)
{
	int kept = 0;
	bool four = iface_has_family(4);
	bool six = iface_has_family(6);

	if (!four && !six)
		return;
	for (int i = 0; i < a->count; i++) {
		if (a->at[i].family == AF_INET ? four : six)
			a->at[kept++] = a->at[i];
	}
	a->count = kept;
}

static int resolve_list(const char *node, const char *service, const struct addrinfo *hints,
			struct addrinfo **out)
{
	struct answers a;
	int flags = hints == NULL ? 0 : hints->ai_flags;
	int family = hints == NULL ? AF_UNSPEC : hints->ai_family;
	bool map = family == AF_INET6 && (flags & AI_V4MAPPED) != 0;
	int r = look_up(node, map ? AF_UNSPEC : family, RESOLVE_ORDERED, &a);

	if (r != 0)
		return eai_of(r);
	if ((flags & AI_ADDRCONFIG) != 0 && !map)
		drop_unconfigured(&a);
	r = chain(&a, family, false, service, hints, out);
	if (map && (*out == NULL || (flags & AI_ALL) != 0))
		r = chain(&a, AF_INET, true, service, hints, out);
	if (r == 0 && (flags & AI_CANONNAME) != 0)
		(*out)->ai_canonname = strdup(a.canonical[0] == '\0' ? node : a.canonical);
	return r;
}

HOOK int getaddrinfo(const char *restrict node, const char *restrict service,
		     const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
	struct addrinfo numeric = {0};
	int r;

	if (!zt_active())
		return real_getaddrinfo(node, service, hints, result);
	if (hints != NULL)
		numeric = *hints;
	numeric.ai_flags &= ~AI_ADDRCONFIG;
	if (node == NULL)
		return real_getaddrinfo(node, service, &numeric, result);
	numeric.ai_flags |= AI_NUMERICHOST;
	r = real_getaddrinfo(node, service, &numeric, result);
	if (r != EAI_NONAME || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
		return r;
	*result = NULL;
	return resolve_list(node, service, hints, result);
}

/* ------------------------------------------------------------- getnameinfo */

/** address_of() - Where the IP of a socket address is; NULL for other families */
static const void *address_of(const struct sockaddr *addr, socklen_t len, int *family)
{
	if (addr->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		*family = AF_INET;
		return &((const struct sockaddr_in *)(const void *)addr)->sin_addr;
	}
	if (addr->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		const struct in6_addr *six =
			&((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;

		*family = IN6_IS_ADDR_V4MAPPED(six) ? AF_INET : AF_INET6;
		return *family == AF_INET ? six->s6_addr + 12 : six->s6_addr;
	}
	return NULL;
}

HOOK int getnameinfo(const struct sockaddr *restrict addr, socklen_t len, char *restrict host,
		     socklen_t host_len, char *restrict service, socklen_t service_len, int flags)
{
	char name[NAME_MAX_LEN];
	const void *ip;
	int family = AF_UNSPEC;

	if (!zt_active() || (flags & NI_NUMERICHOST) != 0 || host == NULL || host_len == 0)
		return real_getnameinfo(addr, len, host, host_len, service, service_len, flags);
	ip = address_of(addr, len, &family);
	if (ip == NULL)
		return real_getnameinfo(addr, len, host, host_len, service, service_len, flags);
	if (!reverse(family, ip, name)) {
		if ((flags & NI_NAMEREQD) != 0)
			return EAI_NONAME;
		return real_getnameinfo(addr, len, host, host_len, service, service_len,
					flags | NI_NUMERICHOST);
	}
	if (strlen(name) >= host_len)
		return EAI_OVERFLOW;
	memcpy(host, name, strlen(name) + 1);
	if (service == NULL || service_len == 0)
		return 0;
	return real_getnameinfo(addr, len, NULL, 0, service, service_len, flags);
}

/* ------------------------------------------------------------ struct hostent */

struct arena {
	char *at;
	size_t left;
};

/** arena_take() - @len bytes aligned for pointers, or NULL when the caller's buffer is short */
static void *arena_take(struct arena *a, size_t len)
{
	size_t skip = (sizeof(void *) - (uintptr_t)a->at % sizeof(void *)) % sizeof(void *);
	char *p;

	if (skip > a->left || len > a->left - skip)
		return NULL;
	p = a->at + skip;
	a->at = p + len;
	a->left -= skip + len;
	return p;
}

static char *arena_text(struct arena *a, const char *text)
{
	char *p = arena_take(a, strlen(text) + 1);

	if (p != NULL)
		memcpy(p, text, strlen(text) + 1);
	return p;
}

/** fill_entry() - Answers of one family as a hostent; 0 or ERANGE */
static int fill_entry(const struct answers *a, int family, const char *name, struct hostent *out,
		      char *buf, size_t len)
{
	struct arena arena = {buf, len};
	size_t ip_len = family == AF_INET ? 4 : 16;
	char **list = arena_take(&arena, ((size_t)a->count + 1) * sizeof(char *));
	char **aliases = arena_take(&arena, sizeof(char *));
	int n = 0;

	out->h_name = arena_text(&arena, name);
	if (list == NULL || aliases == NULL || out->h_name == NULL)
		return ERANGE;
	aliases[0] = NULL;
	for (int i = 0; i < a->count; i++) {
		if (a->at[i].family != family)
			continue;
		list[n] = arena_take(&arena, ip_len);
		if (list[n] == NULL)
			return ERANGE;
		memcpy(list[n++], a->at[i].ip, ip_len);
	}
	list[n] = NULL;
	out->h_aliases = aliases;
	out->h_addrtype = family;
	out->h_length = (int)ip_len;
	out->h_addr_list = list;
	return 0;
}

static int h_error_of(int result)
{
	if (result == -2)
		return HOST_NOT_FOUND;
	return result == -EAGAIN ? TRY_AGAIN : NO_RECOVERY;
}

static bool numeric_answer(const char *name, int family, struct answers *out)
{
	uint8_t ip[16];
	struct in_addr four;

	out->count = 0;
	out->canonical[0] = '\0';
	if (family == AF_INET ? inet_aton(name, &four) == 0 : inet_pton(AF_INET6, name, ip) != 1)
		return false;
	add_answer(out, family, family == AF_INET ? (const void *)&four : ip);
	return true;
}

static bool has_family(const struct answers *a, int family)
{
	for (int i = 0; i < a->count; i++) {
		if (a->at[i].family == family)
			return true;
	}
	return false;
}

HOOK int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict entry,
			  char *restrict buf, size_t len, struct hostent **restrict result,
			  int *restrict error)
{
	struct answers a;
	int r = 0;

	if (!zt_active())
		return real_gethostbyname2_r(name, family, entry, buf, len, result, error);
	*result = NULL;
	if (family != AF_INET && family != AF_INET6) {
		*error = NO_RECOVERY;
		return EAFNOSUPPORT;
	}
	if (!numeric_answer(name, family, &a))
		r = look_up(name, family, 0, &a);
	if (r != 0 || !has_family(&a, family)) {
		*error = r != 0 ? h_error_of(r) : NO_DATA;
		return *error == TRY_AGAIN ? EAGAIN : 0;
	}
	r = fill_entry(&a, family, a.canonical[0] == '\0' ? name : a.canonical, entry, buf, len);
	if (r == 0)
		*result = entry;
	else
		*error = NETDB_INTERNAL;
	return r;
}

HOOK int gethostbyname_r(const char *restrict name, struct hostent *restrict entry,
			 char *restrict buf, size_t len, struct hostent **restrict result,
			 int *restrict error)
{
	if (!zt_active())
		return real_gethostbyname_r(name, entry, buf, len, result, error);
	return gethostbyname2_r(name, AF_INET, entry, buf, len, result, error);
}

HOOK int gethostbyaddr_r(const void *restrict addr, socklen_t len, int family,
			 struct hostent *restrict entry, char *restrict buf, size_t buf_len,
			 struct hostent **restrict result, int *restrict error)
{
	struct answers a = {.count = 0};
	char name[NAME_MAX_LEN];
	int r;

	if (!zt_active())
		return real_gethostbyaddr_r(addr, len, family, entry, buf, buf_len, result, error);
	*result = NULL;
	if (len != (family == AF_INET ? 4 : 16) || (family != AF_INET && family != AF_INET6)) {
		*error = NO_RECOVERY;
		return EINVAL;
	}
	if (!reverse(family, addr, name)) {
		*error = HOST_NOT_FOUND;
		return 0;
	}
	add_answer(&a, family, addr);
	r = fill_entry(&a, family, name, entry, buf, buf_len);
	if (r == 0)
		*result = entry;
	else
		*error = NETDB_INTERNAL;
	return r;
}

/* The forms without _r keep one answer for the process, as libc's do. */
static struct hostent static_entry;
static char static_buffer[4096];

HOOK struct hostent *gethostbyname2(const char *name, int family)
{
	struct hostent *result;

	if (!zt_active())
		return real_gethostbyname2(name, family);
	gethostbyname2_r(name, family, &static_entry, static_buffer, sizeof(static_buffer), &result,
			 &h_errno);
	return result;
}

HOOK struct hostent *gethostbyname(const char *name)
{
	if (!zt_active())
		return real_gethostbyname(name);
	return gethostbyname2(name, AF_INET);
}

HOOK struct hostent *gethostbyaddr(const void *addr, socklen_t len, int family)
{
	struct hostent *result;

	if (!zt_active())
		return real_gethostbyaddr(addr, len, family);
	gethostbyaddr_r(addr, len, family, &static_entry, static_buffer, sizeof(static_buffer),
			&result, &h_errno);
	return result;
}
