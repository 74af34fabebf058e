/*
 * Poll(fd, callback): the event loop watches a descriptor that stays the caller's.
 *
 * start(events) with 1 readable, 2 writable; the callback gets the events, or -errno. close() ends
 * it; after that the descriptor may be closed. A Poll keeps the process alive while it is started,
 * and itself until close(): the garbage collector never ends a watch.
 */
#include "io.h"

#include <stdlib.h>
#include <uv.h>

struct watch {
	uv_poll_t handle;
	napi_env env;
	napi_ref callback;
	napi_ref self;
	napi_async_context context;
	int is_closing;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void end(struct watch *w)
{
	if (w->is_closing)
		return;
	w->is_closing = 1;
	uv_poll_stop(&w->handle);
	napi_delete_reference(w->env, w->callback);
	napi_delete_reference(w->env, w->self);
	napi_async_destroy(w->env, w->context);
	uv_close((uv_handle_t *)&w->handle, on_closed);
}

/* The environment ends: a worker thread or the process. */
static void on_teardown(void *data)
{
	end(data);
}

/*
 * What a callback throws is an uncaught exception, as with Node.js's own handles. Left pending it
 * would keep all further callbacks from running and come out of whatever call is made next.
 */
static void tell_exception(napi_env env)
{
	napi_value error;

	if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
	struct watch *w = handle->data;
	napi_handle_scope scope;
	napi_value callback, self, arg;

	if (napi_open_handle_scope(w->env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(w->env, w->callback, &callback) == napi_ok &&
	    napi_get_reference_value(w->env, w->self, &self) == napi_ok) {
		arg = from_int(w->env, status < 0 ? status : events);
		if (napi_make_callback(w->env, w->context, self, callback, 1, &arg, NULL) ==
		    napi_pending_exception)
			tell_exception(w->env);
	}
	napi_close_handle_scope(w->env, scope);
}

static napi_value construct(napi_env env, napi_callback_info info)
{
	struct args a;
	struct watch *w;
	napi_value callback, name;
	uv_loop_t *loop;
	int fd, rc;

	args_take(&a, env, info);
	fd = args_int(&a);
	callback = args_function(&a);
	if (args_failed(&a, "new Poll(fd, callback)"))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL || napi_get_uv_event_loop(env, &loop) != napi_ok) {
		free(w);
		napi_throw_error(env, NULL, "Poll: no memory or no event loop");
		return NULL;
	}
	rc = uv_poll_init(loop, &w->handle, fd);
	if (rc != 0) {
		free(w);
		napi_throw_error(env, uv_err_name(rc), "Poll: the descriptor can not be watched");
		return NULL;
	}
	w->handle.data = w;
	w->env = env;
	napi_create_string_utf8(env, "netcon.poll", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &w->context);
	napi_create_reference(env, callback, 1, &w->callback);
	napi_wrap(env, a.self, w, NULL, NULL, NULL);
	napi_create_reference(env, a.self, 1, &w->self);
	napi_add_env_cleanup_hook(env, on_teardown, w);
	return a.self;
}

static struct watch *watch_of(struct args *a)
{
	void *w = NULL;

	if (napi_unwrap(a->env, a->self, &w) != napi_ok || w == NULL)
		a->bad = 1;
	return w;
}

static napi_value start(napi_env env, napi_callback_info info)
{
	struct args a;
	struct watch *w;
	int events;

	args_take(&a, env, info);
	events = args_int(&a);
	w = watch_of(&a);
	if (args_failed(&a, "start(events) of an open Poll"))
		return NULL;
	return from_int(env,
			uv_poll_start(&w->handle, events & (UV_READABLE | UV_WRITABLE), on_events));
}

static napi_value stop(napi_env env, napi_callback_info info)
{
	struct args a;
	struct watch *w;

	args_take(&a, env, info);
	w = watch_of(&a);
	if (args_failed(&a, "stop() of an open Poll"))
		return NULL;
	return from_int(env, uv_poll_stop(&w->handle));
}

static napi_value close_poll(napi_env env, napi_callback_info info)
{
	struct args a;
	void *w;

	args_take(&a, env, info);
	if (napi_remove_wrap(env, a.self, &w) != napi_ok)
		return NULL; /* closed before */
	napi_remove_env_cleanup_hook(env, on_teardown, w);
	end(w);
	return NULL;
}

napi_status register_poll(napi_env env, napi_value exports)
{
	napi_property_descriptor methods[] = {
		{"start", NULL, start, NULL, NULL, NULL, napi_default, NULL},
		{"stop", NULL, stop, NULL, NULL, NULL, napi_default, NULL},
		{"close", NULL, close_poll, NULL, NULL, NULL, napi_default, NULL},
	};
	napi_value constructor;
	napi_status rc =
		napi_define_class(env, "Poll", NAPI_AUTO_LENGTH, construct, NULL,
				  sizeof(methods) / sizeof(*methods), methods, &constructor);

	if (rc != napi_ok)
		return rc;
	return napi_set_named_property(env, exports, "Poll", constructor);
}
