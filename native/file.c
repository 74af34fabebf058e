/* What Node.js does not tell about files. */
#include "io.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#define NAME_MAX_LEN 255

static int to_text(struct bytes from, char *to, size_t size)
{
	if (from.len == 0 || from.len >= size || memchr(from.data, 0, from.len) != NULL)
		return -1;
	memcpy(to, from.data, from.len);
	to[from.len] = 0;
	return 0;
}

/* attributeLen(path: Uint8Array, name: Uint8Array): bytes of an extended attribute [xattr(7)]. */
static napi_value attributeLen(napi_env env, napi_callback_info info)
{
	char path[PATH_MAX], name[NAME_MAX_LEN + 1];
	struct args a;
	struct bytes p, n;

	args_take(&a, env, info);
	p = args_bytes(&a);
	n = args_bytes(&a);
	if (args_failed(&a, "attributeLen(path, name)"))
		return NULL;
	if (to_text(p, path, sizeof(path)) < 0 || to_text(n, name, sizeof(name)) < 0)
		return from_int(env, -EINVAL);
	return from_rc(env, getxattr(path, name, NULL, 0));
}

napi_status register_file(napi_env env, napi_value exports)
{
	napi_property_descriptor functions[] = {FUNCTION(attributeLen)};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions),
				      functions);
}
