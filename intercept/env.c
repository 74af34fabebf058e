/**
 * env.c - Switches of the library, read once at start
 *
 * secure_getenv() keeps set-user-ID and file-capability programs inert. Everything is copied,
 * since servers wipe their environment later, and the key file is read now, before a privilege
 * drop can make it unreadable [5 section 9.1]. The variables are documented in docs/intercept.md.
 */
#include "zt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <fcntl.h>

#include "raw.h"

struct zt_env zt_env;

static atomic_int started; /* 0 no, 1 in progress, 2 done */
static atomic_int starter; /* thread that is at it */
static const char *mistake;

static bool is_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f') ||
		      (s[i] >= 'A' && s[i] <= 'F')))
			return false;
	}
	return true;
}

static uint8_t hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0');
	return (uint8_t)((c | 0x20) - 'a' + 10);
}

/** path_mistake() - What is wrong with a value of ZT_NC_NETWORK, or NULL */
static const char *path_mistake(const char *value)
{
	const char *name = strrchr(value, '/');

	if (value[0] != '/')
		return "it is not an absolute path";
	if (strlen(value) > 104)
		return "it is longer than 104 bytes";
	name++;
	if (strcmp(name, "nc_all") == 0)
		return NULL;
	if (strlen(name) != 19 || strncmp(name, "nc_", 3) != 0 || !is_hex(name + 3, 16))
		return "it does not end in nc_<16 hexadecimal digits>, nor in nc_all";
	return NULL;
}

static long small_number(const char *text, long limit)
{
	long v = 0;

	if (text == NULL)
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		v = v * 10 + (*text - '0');
		if (v > limit)
			return limit;
	}
	return v;
}

static int read_policy(const char *value)
{
	if (value == NULL || strcmp(value, "none") == 0)
		return 0;
	if (strcmp(value, "loopback") == 0)
		return 1;
	return strcmp(value, "full") == 0 ? 2 : 0;
}

/** parse_door() - Copy the line at @text; the start of the next one, or NULL at the end */
static const char *parse_door(const char *text, const char *end, char out[108])
{
	const char *stop = memchr(text, '\n', (size_t)(end - text));
	size_t len = (size_t)((stop == NULL ? end : stop) - text);

	if (len < 108)
		memcpy(out, text, len);
	return stop == NULL ? NULL : stop + 1;
}

/** parse_key() - Lines: the key in hexadecimal, the abstract names of the two second doors */
static void parse_key(const char *text, size_t len)
{
	const char *next;

	if (len < 34 || text[32] != '\n' || !is_hex(text, 32))
		return;
	next = parse_door(text + 33, text + len, zt_env.door);
	if (next != NULL)
		parse_door(next, text + len, zt_env.door_dg);
	if (zt_env.door[0] == '\0')
		return;
	for (size_t i = 0; i < 16; i++)
		zt_env.key[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	zt_env.have_key = true;
}

static void read_key(void)
{
	char path[sizeof(zt_env.path) + 4];
	char text[512];
	struct stat st;
	size_t len = strlen(zt_env.path);
	long fd, n;

	memcpy(path, zt_env.path, len);
	memcpy(path + len, ".key", 5);
	fd = raw_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return;
	memset(&st, 0, sizeof(st));
	n = raw6(SYS_fstat, fd, (long)&st, 0, 0, 0, 0);
	if (n == 0 && S_ISREG(st.st_mode)) {
		zt_env.key_uid = st.st_uid;
		n = raw_read((int)fd, text, sizeof(text));
		if (n > 0)
			parse_key(text, (size_t)n);
	}
	raw_close((int)fd);
}

static void read_environment(void)
{
	const char *value = secure_getenv("ZT_NC_NETWORK");
	const char *file;

	if (value == NULL || value[0] == '\0') {
		zt_env.mode = MODE_INERT;
		return;
	}
	zt_env.debug = (int)small_number(secure_getenv("ZT_NC_DEBUG"), 9);
	zt_env.wait_ms = small_number(secure_getenv("ZT_NC_WAIT"), 3600) * 1000;
	zt_env.policy = read_policy(secure_getenv("ZT_NC_FALLTHROUGH"));
	file = secure_getenv("ZT_NC_DEBUG_FILE");
	if (file != NULL && strlen(file) < sizeof(zt_env.debug_file))
		memcpy(zt_env.debug_file, file, strlen(file));
	mistake = path_mistake(value);
	if (mistake != NULL) {
		zt_env.mode = MODE_BROKEN;
		return;
	}
	memcpy(zt_env.path, value, strlen(value));
	read_key();
	zt_env.mode = MODE_ACTIVE;
}

/** await_start() - Another thread is starting the library; our own recursion must not wait */
static void await_start(void)
{
	if (atomic_load(&starter) == raw_gettid())
		return;
	while (atomic_load_explicit(&started, memory_order_acquire) != 2)
		raw_sleep_ms(1);
}

void zt_start(void)
{
	int expected = 0;

	if (atomic_load_explicit(&started, memory_order_acquire) == 2)
		return;
	if (!atomic_compare_exchange_strong(&started, &expected, 1)) {
		await_start();
		return;
	}
	atomic_store(&starter, raw_gettid());
	read_environment();
	if (zt_env.mode == MODE_ACTIVE) {
		rpc_start();
		fdtab_scan();
	}
	fork_start();
	atomic_store_explicit(&started, 2, memory_order_release);
}

bool zt_active(void)
{
	zt_start();
	return zt_env.mode != MODE_INERT;
}

void env_complain(void)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&said))
		log_line("ZT_NC_NETWORK cannot be used, sockets are refused: ", mistake);
}

/** start() - Library constructor */
__attribute__((constructor)) static void start(void)
{
	zt_start();
	if (zt_env.mode != MODE_INERT)
		nss_start();
}
