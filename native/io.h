/*
 * What Node.js can not do itself: polling of descriptors, record-preserving Unix sockets with
 * credentials and passed descriptors, UDP in batches, attributes of files. Plumbing only, no
 * protocol.
 *
 * Conventions: a function that does a system call returns its result, or -errno; a wrong kind of
 * argument throws a TypeError, since only our own code calls this. Byte arguments are Uint8Array or
 * Uint32Array views of memory that the caller owns and that is not kept after the call.
 */
#ifndef IO_H
#define IO_H

#include <node_api.h>
#include <stdint.h>

#define MAX_ARGS 8

/* The arguments of one call, taken in order; `bad` once one was of the wrong kind. */
struct args {
	napi_env env;
	napi_callback_info info;
	napi_value self;
	napi_value v[MAX_ARGS];
	size_t count;
	size_t next;
	int bad;
};

struct bytes {
	uint8_t *data;
	size_t len;
};

struct words {
	uint32_t *data;
	size_t len;
};

void args_take(struct args *a, napi_env env, napi_callback_info info);
int32_t args_int(struct args *a);
struct bytes args_bytes(struct args *a);
struct words args_words(struct args *a);
napi_value args_function(struct args *a);
/* Throws if an argument was wrong. Returns whether it did. */
int args_failed(struct args *a, const char *usage);

napi_value from_int(napi_env env, int64_t n);
/* `rc` of a system call, or -errno where it failed. */
napi_value from_rc(napi_env env, int64_t rc);

napi_status register_poll(napi_env env, napi_value exports);
napi_status register_unix(napi_env env, napi_value exports);
napi_status register_udp(napi_env env, napi_value exports);
napi_status register_file(napi_env env, napi_value exports);

#define FUNCTION(name)                                                                             \
	{                                                                                          \
#name, NULL, name, NULL, NULL, NULL, napi_enumerable, NULL                         \
	}

#endif
