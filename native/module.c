/* Arguments, results and registration of the addon; see io.h. */
#include "io.h"

#include <errno.h>
#include <stdio.h>

void args_take(struct args *a, napi_env env, napi_callback_info info)
{
	a->env = env;
	a->info = info;
	a->next = 0;
	a->count = MAX_ARGS;
	a->bad = napi_get_cb_info(env, info, &a->count, a->v, &a->self, NULL) != napi_ok;
	if (a->count > MAX_ARGS)
		a->bad = 1;
}

static napi_value args_next(struct args *a)
{
	if (a->bad || a->next >= a->count) {
		a->bad = 1;
		return NULL;
	}
	return a->v[a->next++];
}

int32_t args_int(struct args *a)
{
	napi_value v = args_next(a);
	double d = 0;

	if (v == NULL || napi_get_value_double(a->env, v, &d) != napi_ok || d != (int32_t)d) {
		a->bad = 1;
		return 0;
	}
	return (int32_t)d;
}

static void *args_view(struct args *a, napi_typedarray_type want, size_t *len)
{
	napi_value v = args_next(a);
	napi_typedarray_type type;
	void *data = NULL;

	*len = 0;
	if (v == NULL ||
	    napi_get_typedarray_info(a->env, v, &type, len, &data, NULL, NULL) != napi_ok ||
	    type != want) {
		a->bad = 1;
		*len = 0;
		return NULL;
	}
	return data;
}

struct bytes args_bytes(struct args *a)
{
	struct bytes b;

	b.data = args_view(a, napi_uint8_array, &b.len);
	return b;
}

struct words args_words(struct args *a)
{
	struct words w;

	w.data = args_view(a, napi_uint32_array, &w.len);
	return w;
}

napi_value args_function(struct args *a)
{
	napi_value v = args_next(a);
	napi_valuetype type;

	if (v == NULL || napi_typeof(a->env, v, &type) != napi_ok || type != napi_function)
		a->bad = 1;
	return v;
}

int args_failed(struct args *a, const char *usage)
{
	if (!a->bad)
		return 0;
	napi_throw_type_error(a->env, NULL, usage);
	return 1;
}

napi_value from_int(napi_env env, int64_t n)
{
	napi_value v = NULL;

	napi_create_int64(env, n, &v);
	return v;
}

napi_value from_rc(napi_env env, int64_t rc)
{
	return from_int(env, rc < 0 ? -(int64_t)errno : rc);
}

static napi_value init(napi_env env, napi_value exports)
{
	if (register_poll(env, exports) != napi_ok || register_unix(env, exports) != napi_ok ||
	    register_udp(env, exports) != napi_ok || register_file(env, exports) != napi_ok)
		napi_throw_error(env, NULL, "netcon_io: registration failed");
	return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, init)
