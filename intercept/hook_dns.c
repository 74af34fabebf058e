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

static int query(const char *domain, int class, int type, unsigned char *answer, int len)
{
	uint8_t request[2 + QUERY_MAX];
	size_t request_len;
	struct rpc rpc = {.op = OP_DNSRAW,
			  .request = request,
			  .fd = -1,
			  .one_shot = true,
			  .timeout_s = DNS_TIMEOUT_S};
	int r;

	if (domain == NULL || answer == NULL || len < 0)
		return failed(NO_RECOVERY);
	request_len = put_query(domain, class, type, request);
	if (request_len == 0)
		return failed(NO_RECOVERY);
	rpc.request_len = request_len;
	rpc.reply_cap = 2 + ANSWER_MAX;
	rpc.reply = malloc(rpc.reply_cap);
	if (rpc.reply == NULL)
		return failed(NO_RECOVERY);
	r = zt_env.mode == MODE_BROKEN ? RPC_UNREACHABLE : rpc_call(&rpc);
	log_call(LOG_CONTROL, "dns", -1, NULL, r);
	r = r < 0 ? failed(TRY_AGAIN) : take_answer(rpc.reply, rpc.reply_len, answer, len);
	free(rpc.reply);
	return r;
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

RES(res_query, real_res_query)
RES(res_search, real_res_search)
RES(__res_query, real_res_query)
RES(__res_search, real_res_search)
RES_N(res_nquery, real_res_nquery)
RES_N(res_nsearch, real_res_nsearch)
RES_N(__res_nquery, real_res_nquery)
RES_N(__res_nsearch, real_res_nsearch)
