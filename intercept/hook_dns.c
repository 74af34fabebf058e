/**
 * hook_dns.c - res_query() and its relatives: DNS messages through the view
 *
 * libc's own would ask the host's name servers through sockets that no hook sees. A question is
 * built here and answered by the service (DNSRAW), which knows the hosts file and the servers of
 * the network [5 sections 5.6 and 11]. res_search() asks for the name as it stands: the search
 * list of /etc/resolv.conf is the host's. May allocate, as libc's versions may.
 */
#include "zt.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "raw.h"
#include "real.h"

/* [5 section 9.4] longest wait for an answer, in seconds */
#define DNS_TIMEOUT_S 30
/* RFC 1035: header, longest name, type and class; longest label */
#define HEADER_LEN 12
#define NAME_LEN   255
#define LABEL_LEN  63
#define QUERY_MAX  (HEADER_LEN + NAME_LEN + 4)
/* Longest message behind the length of a DNSRAW reply. */
#define ANSWER_MAX 65535

/* Header: flags, and where counts and result code are. */
#define RECURSION_DESIRED 0x01
#define AT_FLAGS	  2
#define AT_RCODE	  3
#define AT_QUESTIONS	  5
#define AT_ANSWERS	  6
#define RCODE_SERVFAIL	  2
#define RCODE_NXDOMAIN	  3
#define RCODE_NOTIMP	  4
#define RCODE_REFUSED	  5

/* MAXDNAME of <arpa/nameser.h>: longest name as text, with its NUL */
#define TEXT_MAX 1026

/** put_name() - @domain as labels; its length, or 0 when it is no name */
static size_t put_name(const char *domain, uint8_t *out)
{
	size_t at = 0;

	while (*domain != '\0' && strcmp(domain, ".") != 0) {
		size_t len = strcspn(domain, ".");

		if (len == 0 || len > LABEL_LEN || at + len + 2 > NAME_LEN)
			return 0;
		out[at++] = (uint8_t)len;
		memcpy(out + at, domain, len);
		at += len;
		domain += len;
		if (*domain == '.')
			domain++;
	}
	out[at++] = 0;
	return at;
}

/** put_query() - A question behind the two length bytes of a request; total length, 0 when bad */
static size_t put_query(const char *domain, int class, int type, uint8_t *request)
{
	uint8_t *message = request + 2;
	size_t len = put_name(domain, message + HEADER_LEN);
	uint8_t *end = message + HEADER_LEN + len;

	if (len == 0 || raw_random(message, 2) < 0)
		return 0;
	memset(message + AT_FLAGS, 0, HEADER_LEN - AT_FLAGS);
	message[AT_FLAGS] = RECURSION_DESIRED;
	message[AT_QUESTIONS] = 1;
	end[0] = (uint8_t)(type >> 8);
	end[1] = (uint8_t)type;
	end[2] = (uint8_t)(class >> 8);
	end[3] = (uint8_t) class;
	put16(request, (unsigned)(HEADER_LEN + len + 4));
	return 2 + HEADER_LEN + len + 4;
}

/** herrno_of() - What h_errno says about an answer; 0 when it has records */
static int herrno_of(const uint8_t *message)
{
	switch (message[AT_RCODE] & 15) {
	case 0:
		return message[AT_ANSWERS] == 0 && message[AT_ANSWERS + 1] == 0 ? NO_DATA : 0;
	case RCODE_NXDOMAIN:
		return HOST_NOT_FOUND;
	case RCODE_SERVFAIL:
		return TRY_AGAIN;
	default:
		return NO_RECOVERY;
	}
}

static int failed(int error)
{
	h_errno = error;
	return -1;
}

/** take_answer() - Copy the message of a reply, cut to @len; what was copied, or -1 */
static int take_answer(const uint8_t *reply, size_t reply_len, unsigned char *answer, int len)
{
	size_t full = reply_len < 2 ? 0 : get16(reply);
	size_t room = (size_t)len;
	int error;

	if (full < HEADER_LEN || reply_len < 2 + full || room < HEADER_LEN)
		return failed(TRY_AGAIN);
	if (full > room)
		full = room;
	memcpy(answer, reply + 2, full);
	error = herrno_of(reply + 2);
	return error != 0 ? failed(error) : (int)full;
}

/** exchange() - Ask the service; its result, and the reply in memory that the caller frees */
static int exchange(const uint8_t *request, size_t request_len, struct rpc *rpc)
{
	int r;

	*rpc = (struct rpc){.op = OP_DNSRAW,
			    .request = request,
			    .request_len = request_len,
			    .reply_cap = 2 + ANSWER_MAX,
			    .fd = -1,
			    .one_shot = true,
			    .timeout_s = DNS_TIMEOUT_S};
	rpc->reply = malloc(rpc->reply_cap);
	if (rpc->reply == NULL)
		return -ENOMEM;
	r = zt_env.mode == MODE_BROKEN ? RPC_UNREACHABLE : rpc_call(rpc);
	log_call(LOG_CONTROL, "dns", -1, NULL, r);
	return r;
}

static int query(const char *domain, int class, int type, unsigned char *answer, int len)
{
	uint8_t request[2 + QUERY_MAX];
	size_t request_len;
	struct rpc rpc;
	int r;

	if (domain == NULL || answer == NULL || len < 0)
		return failed(NO_RECOVERY);
	request_len = put_query(domain, class, type, request);
	if (request_len == 0)
		return failed(NO_RECOVERY);
	r = exchange(request, request_len, &rpc);
	if (r < 0)
		r = failed(r == -ENOMEM ? NO_RECOVERY : TRY_AGAIN);
	else
		r = take_answer(rpc.reply, rpc.reply_len, answer, len);
	free(rpc.reply);
	return r;
}

/** query_domain() - query() of @name within @domain; without one, of @name less its last dot */
static int query_domain(const char *name, const char *domain, int class, int type,
			unsigned char *answer, int len)
{
	char whole[TEXT_MAX];
	int n;

	if (name == NULL)
		return failed(NO_RECOVERY);
	if (domain == NULL)
		return query(name, class, type, answer, len);
	n = snprintf(whole, sizeof(whole), "%s.%s", name, domain);
	if (n < 0 || (size_t)n >= sizeof(whole))
		return failed(NO_RECOVERY);
	return query(whole, class, type, answer, len);
}

/** is_refusal() - A server that cannot answer, in place of which libc would ask the next */
static bool is_refusal(const uint8_t *message)
{
	uint8_t code = message[AT_RCODE] & 15;

	return code == RCODE_SERVFAIL || code == RCODE_NOTIMP || code == RCODE_REFUSED;
}

/** message_result() - Answer to a whole message, whatever it says; its length or negative errno */
static int message_result(int r, const struct rpc *rpc, unsigned char *answer, size_t room)
{
	const uint8_t *reply = rpc->reply;
	size_t full;

	if (r < 0)
		return r == RPC_UNREACHABLE ? -ECONNREFUSED : -ETIMEDOUT;
	full = rpc->reply_len < 2 ? 0 : get16(reply);
	if (full < HEADER_LEN || rpc->reply_len < 2 + full || is_refusal(reply + 2))
		return -ETIMEDOUT;
	if (full > room)
		full = room;
	memcpy(answer, reply + 2, full);
	return (int)full;
}

/** send_message() - res_send(): a message that the program has made itself */
static int send_message(const unsigned char *message, int message_len, unsigned char *answer,
			int len)
{
	struct rpc rpc;
	uint8_t *request;
	int r;

	if (len < HEADER_LEN || message_len < HEADER_LEN || message_len > ANSWER_MAX)
		return (int)zt_ret(-EINVAL);
	request = malloc(2 + (size_t)message_len);
	if (request == NULL)
		return (int)zt_ret(-ENOMEM);
	put16(request, (unsigned)message_len);
	memcpy(request + 2, message, (size_t)message_len);
	r = exchange(request, 2 + (size_t)message_len, &rpc);
	r = message_result(r, &rpc, answer, (size_t)len);
	free(request);
	free(rpc.reply);
	return (int)zt_ret(r);
}

#define RES(name, real)                                                                            \
	HOOK int name(const char *domain, int class, int type, unsigned char *answer, int len);    \
	HOOK int name(const char *domain, int class, int type, unsigned char *answer, int len)     \
	{                                                                                          \
		return zt_active() ? query(domain, class, type, answer, len)                       \
				   : real(domain, class, type, answer, len);                       \
	}

#define RES_N(name, real)                                                                          \
	HOOK int name(void *state, const char *domain, int class, int type, unsigned char *answer, \
		      int len);                                                                    \
	HOOK int name(void *state, const char *domain, int class, int type, unsigned char *answer, \
		      int len)                                                                     \
	{                                                                                          \
		return zt_active() ? query(domain, class, type, answer, len)                       \
				   : real(state, domain, class, type, answer, len);                \
	}

#define QUERYDOMAIN(name, real)                                                                    \
	HOOK int name(const char *host, const char *domain, int class, int type,                   \
		      unsigned char *answer, int len);                                             \
	HOOK int name(const char *host, const char *domain, int class, int type,                   \
		      unsigned char *answer, int len)                                              \
	{                                                                                          \
		return zt_active() ? query_domain(host, domain, class, type, answer, len)          \
				   : real(host, domain, class, type, answer, len);                 \
	}

#define QUERYDOMAIN_N(name, real)                                                                  \
	HOOK int name(void *state, const char *host, const char *domain, int class, int type,      \
		      unsigned char *answer, int len);                                             \
	HOOK int name(void *state, const char *host, const char *domain, int class, int type,      \
		      unsigned char *answer, int len)                                              \
	{                                                                                          \
		return zt_active() ? query_domain(host, domain, class, type, answer, len)          \
				   : real(state, host, domain, class, type, answer, len);          \
	}

#define SEND(name, real)                                                                           \
	HOOK int name(const unsigned char *message, int message_len, unsigned char *answer,        \
		      int len);                                                                    \
	HOOK int name(const unsigned char *message, int message_len, unsigned char *answer,        \
		      int len)                                                                     \
	{                                                                                          \
		return zt_active() ? send_message(message, message_len, answer, len)               \
				   : real(message, message_len, answer, len);                      \
	}

#define SEND_N(name, real)                                                                         \
	HOOK int name(void *state, const unsigned char *message, int message_len,                  \
		      unsigned char *answer, int len);                                             \
	HOOK int name(void *state, const unsigned char *message, int message_len,                  \
		      unsigned char *answer, int len)                                              \
	{                                                                                          \
		return zt_active() ? send_message(message, message_len, answer, len)               \
				   : real(state, message, message_len, answer, len);               \
	}

RES(res_query, real_res_query)
RES(res_search, real_res_search)
RES(__res_query, real_res_query)
RES(__res_search, real_res_search)
RES_N(res_nquery, real_res_nquery)
RES_N(res_nsearch, real_res_nsearch)
RES_N(__res_nquery, real_res_nquery)
RES_N(__res_nsearch, real_res_nsearch)
QUERYDOMAIN(res_querydomain, real_res_querydomain)
QUERYDOMAIN(__res_querydomain, real_res_querydomain)
QUERYDOMAIN_N(res_nquerydomain, real_res_nquerydomain)
QUERYDOMAIN_N(__res_nquerydomain, real_res_nquerydomain)
SEND(res_send, real_res_send)
SEND(__res_send, real_res_send)
SEND_N(res_nsend, real_res_nsend)
SEND_N(__res_nsend, real_res_nsend)
