/**
 * rpc.c - Requests to the service, on connections that door.c opens
 *
 * Contents: HELLO; one exchange; lines and one-shot calls; the shared connection; attaching
 * sockets.
 *
 * Owns the one control connection of the process. It is taken with a try-lock: a second thread, a
 * signal handler that interrupted a request, a vfork() child, or a lock left behind by longjmp()
 * uses a connection of its own for that one request, so nothing here can deadlock
 * [5 sections 4 D6 and 9.4]. The connection is verified by its name before every use, because the
 * program may have closed or reused the number.
 *
 * No allocation, no stdio, errno as it was; stack use below 2 KiB.
 */
#include "zt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include "raw.h"
#include "real.h"

/* [5 section 9.4] patience with a service that does not answer, in seconds */
#define CONTROL_TIMEOUT_S 10
/* [5 section 9.4] keep out of the way of programs that count on low numbers */
#define CONTROL_FD_MIN 900

struct control {
	atomic_flag busy;
	int fd;
	uint32_t sequence;
	struct zt_token name;
};

static struct control control = {.busy = ATOMIC_FLAG_INIT, .fd = -1};
/* Capabilities of the last WELCOME, plus WELCOME_SEEN */
static atomic_uint capabilities;
#define WELCOME_SEEN 0x10000U

/* ---------------------------------------------------------------- HELLO */

struct hello {
	uint8_t kind;
	const uint8_t *token;
	const uint8_t *connection; /* 8 bytes, or NULL */
	char family;		   /* '4', '6', or 0 for control */
	uint8_t protocol;
	bool use_key;
};

static void hello_emit(const struct hello *h, uint8_t out[HELLO_LEN])
{
	memset(out, 0, HELLO_LEN);
	memcpy(out, "ZTNC", 4);
	out[4] = PROTO_MAJOR;
	out[5] = PROTO_MINOR;
	out[6] = h->kind;
	out[7] = h->use_key ? HELLO_KEY_FLAG : 0;
	memcpy(out + 8, h->token, TOKEN_LEN);
	if (h->connection != NULL)
		memcpy(out + 24, h->connection, 8);
	put32(out + 32, (uint32_t)raw_getpid());
	if (h->family != 0) {
		out[36] = (uint8_t)(h->family - '0');
		out[37] = h->kind == HELLO_DATAGRAM ? 2 : 1;
		out[38] = h->protocol;
	}
	out[39] = (uint8_t)zt_env.policy;
	if (h->use_key)
		memcpy(out + 40, zt_env.key, sizeof(zt_env.key));
}

/**
 * is_over() - A signal interrupted the wait on @c once more: whether its limit has passed
 *
 * Each restarted call has the whole limit again: without this a program with a timer would wait
 * for a silent service for ever. Counted from the first signal, so that others cost nothing.
 */
static bool is_over(struct rpc_line *c)
{
	struct timespec now;
	long first = c->interrupted_s;

	raw6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
	c->interrupted = true;
	c->interrupted_s = first == 0 ? now.tv_sec : first;
	return c->limit_s > 0 && first > 0 && now.tv_sec - first > c->limit_s;
}

/**
 * send_all() - Send every byte of @iov
 *
 * Return: 0, or a negative errno when the connection is unusable: -EAGAIN after the limit
 */
static long send_all(struct rpc_line *c, struct iovec *iov, size_t count)
{
	struct msghdr msg;
	size_t at = 0;

	while (at < count) {
		long n;

		memset(&msg, 0, sizeof(msg));
		msg.msg_iov = iov + at;
		msg.msg_iovlen = count - at;
		n = raw_sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		if (n == -EINTR) {
			if (is_over(c))
				return -EAGAIN;
			continue;
		}
		if (n < 0)
			return n;
		while (at < count && (size_t)n >= iov[at].iov_len)
			n -= (long)iov[at++].iov_len;
		if (at < count) {
			iov[at].iov_base = (uint8_t *)iov[at].iov_base + n;
			iov[at].iov_len -= (size_t)n;
		}
	}
	return 0;
}

static void close_line(void *line)
{
	raw_close(((struct rpc_line *)line)->fd);
}

/** recv_cancellable() - A wait that ends a thread which is cancelled, as connect(2) does */
static long recv_cancellable(struct rpc_line *c, void *out, size_t len)
{
	int before = errno;
	long n;

	pthread_cleanup_push(close_line, c);
	n = real_recv(c->fd, out, len, 0);
	pthread_cleanup_pop(0);
	if (n < 0)
		n = -errno;
	errno = before;
	return n;
}

/**
 * recv_exactly() - 0, or a negative errno: -EPIPE at the end of the stream, -EAGAIN after the limit
 * @ends:	A signal ends the wait, and so does pthread_cancel()
 */
static long recv_exactly(struct rpc_line *c, void *out, size_t len, bool ends)
{
	uint8_t *p = out;

	while (len > 0) {
		long n = ends ? recv_cancellable(c, p, len) : raw_recv(c->fd, p, len, 0);

		if (n == -EINTR && !ends) {
			if (is_over(c))
				return -EAGAIN;
			continue;
		}
		if (n <= 0)
			return n == 0 ? -EPIPE : n;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static long discard_exactly(struct rpc_line *c, size_t len)
{
	uint8_t scratch[256];

	while (len > 0) {
		size_t part = len < sizeof(scratch) ? len : sizeof(scratch);
		long r = recv_exactly(c, scratch, part, false);

		if (r < 0)
			return r;
		len -= part;
	}
	return 0;
}

/** welcome_is_ours() - Check the service's greeting; names another major version once */
static bool welcome_is_ours(const uint8_t *welcome)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (memcmp(welcome, "ZTNS", 4) != 0)
		return false;
	if (welcome[4] == PROTO_MAJOR) {
		atomic_store(&capabilities, WELCOME_SEEN | get16(welcome + WELCOME_CAPABILITIES));
		return true;
	}
	if (!atomic_flag_test_and_set(&said))
		log_line("the service speaks another version of the protocol: ", zt_env.path);
	return false;
}

/* ------------------------------------------------------ one exchange */

/**
 * parking() - REQUEST_NOPARK when no HELLO of the token can be on its way any more
 *
 * A service that was restarted, or has forgotten, does not know the token: it would wait for it
 * [5 section 5.6].
 */
static unsigned parking(const struct rpc *rpc)
{
	return rpc->token != NULL && rpc->fd >= 0 && carrier_is_dead(rpc->fd) ? REQUEST_NOPARK : 0;
}

static long channel_send(struct rpc_line *c, const struct rpc *rpc, unsigned flags)
{
	static const uint8_t no_token[TOKEN_LEN];
	struct hello greeting = {.kind = HELLO_CONTROL, .token = c->name, .use_key = c->use_key};
	uint8_t hello[HELLO_LEN];
	uint8_t header[REQUEST_LEN];
	struct iovec iov[3];
	size_t count = 0;

	memset(header, 0, sizeof(header));
	put32(header, (uint32_t)(REQUEST_LEN + rpc->request_len));
	put16(header + 4, (unsigned)rpc->op);
	put16(header + 6, flags | parking(rpc));
	put32(header + 8, c->sequence);
	memcpy(header + 16, rpc->token == NULL ? no_token : rpc->token, TOKEN_LEN);
	if (c->fresh) {
		hello_emit(&greeting, hello);
		iov[count++] = (struct iovec){hello, sizeof(hello)};
	}
	iov[count++] = (struct iovec){header, sizeof(header)};
	if (rpc->request_len > 0)
		iov[count++] = (struct iovec){(void *)(uintptr_t)rpc->request, rpc->request_len};
	return send_all(c, iov, count);
}

static long channel_welcome(struct rpc_line *c)
{
	uint8_t welcome[WELCOME_LEN];
	long r;

	if (!c->fresh)
		return 0;
	r = recv_exactly(c, welcome, sizeof(welcome), false);
	if (r < 0)
		return r;
	c->fresh = false;
	return welcome_is_ours(welcome) ? 0 : -EPROTO;
}

static long channel_payload(struct rpc_line *c, struct rpc *rpc, size_t len)
{
	size_t keep = len < rpc->reply_cap ? len : rpc->reply_cap;
	long r = keep == 0 ? 0 : recv_exactly(c, rpc->reply, keep, false);

	if (r == 0)
		r = discard_exactly(c, len - keep);
	rpc->reply_len = keep;
	return r;
}

/**
 * channel_receive() - Read the reply to the request just sent
 * @result:	Out: the service's result
 *
 * Return: 0 when @result is valid, else a negative errno of the connection
 */
static long channel_receive(struct rpc_line *c, struct rpc *rpc, int *result)
{
	uint8_t header[REPLY_LEN];
	uint32_t len;
	long r = channel_welcome(c);

	if (r == 0)
		r = recv_exactly(c, header, sizeof(header), c->interruptible);
	if (r < 0)
		return r;
	len = get32(header);
	if (len < REPLY_LEN || len > REQUEST_MAX || get32(header + 8) != c->sequence ||
	    get16(header + 4) != ((unsigned)rpc->op | REPLY_BIT))
		return -EPROTO;
	*result = get32s(header + 12);
	return channel_payload(c, rpc, len - REPLY_LEN);
}

static void set_timeout(struct rpc_line *c, const struct timeval *limit)
{
	c->limit_s = limit->tv_sec;
	c->interrupted_s = 0;
	raw_setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, limit, sizeof(*limit));
	raw_setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, limit, sizeof(*limit));
}

/** channel_open() - A connected control channel, HELLO not sent yet; 0 or a negative errno */
static long channel_open(struct rpc_line *c, const uint8_t name[TOKEN_LEN],
			 const struct sockaddr_un *other)
{
	struct door door = {.other = other};
	long r = door_connect_waiting(c->fd, &door, &c->use_key);

	if (r < 0)
		return r;
	c->fresh = true;
	memcpy(c->name, name, TOKEN_LEN);
	return 0;
}

/* --------------------------------------------- lines and one-shot calls */

static int line_open(struct rpc_line *l, const struct sockaddr_un *other)
{
	uint8_t name[TOKEN_LEN];
	long r = raw_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (r < 0)
		return (int)r;
	*l = (struct rpc_line){.fd = (int)r};
	r = raw_random(name, TOKEN_LEN);
	if (r == 0)
		r = channel_open(l, name, other);
	if (r == 0)
		return 0;
	raw_close(l->fd);
	return RPC_UNREACHABLE;
}

int rpc_line_open(struct rpc_line *l, int about)
{
	struct sockaddr_un other;

	if (rpc_sandboxed())
		return -EPERM;
	return line_open(l, door_foreign(about, &other) ? &other : NULL);
}

int rpc_line_call(struct rpc_line *l, struct rpc *rpc, const struct timeval *limit, bool waits)
{
	int result = RPC_UNREACHABLE;
	long r;

	l->interruptible = waits;
	l->sequence++;
	rpc->reply_len = 0;
	set_timeout(l, limit);
	r = channel_send(l, rpc, 0);
	if (r == 0)
		r = channel_receive(l, rpc, &result);
	if (r == 0)
		return result;
	if (waits && (r == -EINTR || r == -EAGAIN))
		return (int)r;
	return RPC_UNREACHABLE;
}

void rpc_line_close(struct rpc_line *l)
{
	raw_close(l->fd);
}

static int default_one_shot(struct rpc *rpc, const struct sockaddr_un *other)
{
	struct timeval limit = {rpc->timeout_s > 0 ? rpc->timeout_s : CONTROL_TIMEOUT_S, 0};
	struct rpc_line line;
	int r = line_open(&line, other);

	if (r < 0)
		return r;
	r = rpc_line_call(&line, rpc, &limit, false);
	rpc_line_close(&line);
	return r;
}

/* --------------------------------------------- the shared connection */

/** control_is_ours() - The number still carries the connection that we named */
static bool control_is_ours(void)
{
	struct sockaddr_un un, expected;
	socklen_t len = sizeof(un);

	if (control.fd < 0 || raw_getsockname(control.fd, &un, &len) != 0 || len != TOKEN_ADDR_LEN)
		return false;
	token_name(&control.name, &expected);
	return memcmp(&un, &expected, TOKEN_ADDR_LEN) == 0;
}

static void control_forget(void)
{
	if (control_is_ours())
		raw_close(control.fd);
	control.fd = -1;
}

/** lift_fd() - Move @fd to a high number when the limits allow; the number now in use */
static int lift_fd(int fd)
{
	struct rlimit limit = {0, 0};
	long high;

	raw6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0);
	if (limit.rlim_cur <= CONTROL_FD_MIN)
		return fd;
	high = raw_fcntl(fd, F_DUPFD_CLOEXEC, CONTROL_FD_MIN);
	if (high < 0)
		return fd;
	raw_close(fd);
	return (int)high;
}

static long control_open(struct rpc_line *c)
{
	struct timeval limit = {CONTROL_TIMEOUT_S, 0};
	long r;

	control.name = (struct zt_token){.family = '-', .kind = 'c', .carrier = 'k'};
	r = token_open(&control.name, SOCK_CLOEXEC);
	if (r < 0)
		return r;
	c->fd = lift_fd((int)r);
	r = channel_open(c, control.name.id, NULL);
	if (r < 0) {
		raw_close(c->fd);
		return r;
	}
	set_timeout(c, &limit);
	control.fd = c->fd;
	control.sequence = 0;
	return 0;
}

/**
 * may_repeat() - Whether a request that failed with @r can be made once more
 *
 * Of a connection that has ended: it was the one of a service that is gone, and the next one knows
 * nothing of the socket. A service that is silent, or answers in a way that is none, may have
 * carried out what it was asked for.
 */
static bool may_repeat(long r)
{
	return r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN;
}

/**
 * control_call() - Use the shared connection
 * @flags:	REQUEST_NOREPLY or 0
 * @result:	Out: result of the service, RPC_UNREACHABLE when there is none
 *
 * Return: false when the connection is taken or has ended: the caller uses a one-shot
 */
static bool control_call(struct rpc *rpc, unsigned flags, int *result)
{
	struct rpc_line c = {.fresh = false, .limit_s = CONTROL_TIMEOUT_S};
	long r = 0;

	if (!process_is_own() || atomic_flag_test_and_set(&control.busy))
		return false;
	if (control_is_ours())
		c.fd = control.fd;
	else
		r = control_open(&c);
	if (r < 0) {
		control.fd = -1;
		atomic_flag_clear(&control.busy);
		*result = RPC_UNREACHABLE;
		return r != -EMFILE && r != -ENFILE && r != -ENOMEM;
	}
	c.sequence = ++control.sequence;
	r = channel_send(&c, rpc, flags);
	if (r == 0 && flags == REQUEST_NOREPLY)
		r = channel_welcome(&c);
	else if (r == 0)
		r = channel_receive(&c, rpc, result);
	if (r < 0) {
		control_forget();
		*result = RPC_UNREACHABLE;
	}
	atomic_flag_clear(&control.busy);
	return r == 0 || !may_repeat(r);
}

int rpc_call(struct rpc *rpc)
{
	struct sockaddr_un other;
	int result = RPC_UNREACHABLE;

	if (rpc_sandboxed())
		return -EPERM;
	rpc->reply_len = 0;
	if (door_foreign(rpc->fd, &other))
		return default_one_shot(rpc, &other);
	if (rpc->one_shot || !control_call(rpc, 0, &result))
		return default_one_shot(rpc, NULL);
	return result;
}

int rpc_about(int fd, const struct zt_token *t, enum proto_op op, const void *request,
	      size_t request_len, void *reply, size_t reply_cap)
{
	struct rpc rpc = {.op = op,
			  .token = t->id,
			  .request = request,
			  .request_len = request_len,
			  .reply = reply,
			  .reply_cap = reply_cap,
			  .fd = fd};

	return rpc_call(&rpc);
}

int rpc_notify(struct rpc *rpc)
{
	struct sockaddr_un other;
	int result = 0;

	if (rpc_sandboxed())
		return -EPERM;
	rpc->reply_len = 0;
	if (door_foreign(rpc->fd, &other))
		return default_one_shot(rpc, &other);
	if (!control_call(rpc, REQUEST_NOREPLY, &result))
		return default_one_shot(rpc, NULL);
	return result;
}

void rpc_after_fork(void)
{
	control_forget();
	process_after_fork();
	atomic_flag_clear(&control.busy);
}

/* -------------------------------------------------- attaching sockets */

unsigned rpc_capabilities(void)
{
	struct rpc ping = {.op = OP_PING, .fd = -1};

	if ((atomic_load(&capabilities) & WELCOME_SEEN) == 0 && rpc_call(&ping) < 0)
		return 0;
	return atomic_load(&capabilities) & ~WELCOME_SEEN;
}

bool rpc_is_attached(int fd)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);

	return raw_getpeername(fd, &un, &len) == 0;
}

static int attach(int fd, struct hello *h)
{
	uint8_t bytes[HELLO_LEN];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct rpc_line line = {.fd = fd};
	struct door door = {.records = h->kind == HELLO_DATAGRAM};
	long r;

	if (rpc_sandboxed())
		return -EPERM;
	r = door_connect_waiting(fd, &door, &h->use_key);
	if (r == -EISCONN)
		return 0;
	if (r < 0)
		return RPC_UNREACHABLE;
	hello_emit(h, bytes);
	return send_all(&line, &iov, 1) == 0 ? 0 : RPC_UNREACHABLE;
}

int rpc_attach(int fd, const struct zt_token *token)
{
	struct hello h = {.kind = token->kind == 's' ? HELLO_SOCKET : HELLO_DATAGRAM,
			  .token = token->id,
			  .family = token->family,
			  .protocol = token->protocol};

	return rpc_is_attached(fd) ? 0 : attach(fd, &h);
}

int rpc_attach_accepted(int fd, const struct zt_token *token, const uint8_t connection[8])
{
	struct hello h = {.kind = HELLO_ACCEPTED,
			  .token = token->id,
			  .connection = connection,
			  .family = token->family,
			  .protocol = token->protocol};

	return attach(fd, &h);
}
