/**
 * zt.h - What the parts of the preload library share
 *
 * One virtual socket is one AF_UNIX stream (TCP) or seqpacket socket (UDP, ICMP echo), bound to an
 * abstract name that holds its identity [5 section 4, D1 and D9]. No part keeps authoritative
 * state about a descriptor: control calls ask the kernel for the name, and the descriptor table
 * (fdtab.c) is only a hint and a cache.
 *
 * Internal functions return a result or a negative errno and never touch errno; only exported
 * hooks convert, through zt_ret().
 */
#ifndef ZT_H
#define ZT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "proto.h"

#define HOOK __attribute__((visibility("default")))

/* libc also exports some functions under a second name; a static libc must keep those itself */
#ifdef ZT_STATIC
#define ALIAS(name, of)
#else
#define ALIAS(name, of)                                                                            \
	extern __typeof(of) name __attribute__((alias(#of), copy(of), visibility("default")));
#endif

/* ------------------------------------------------------------------ env.c */

enum zt_mode {
	MODE_INERT, /* no ZT_NC_NETWORK: every hook passes through */
	MODE_ACTIVE,
	MODE_BROKEN, /* unusable ZT_NC_NETWORK: AF_INET* sockets are refused */
};

struct zt_env {
	enum zt_mode mode;
	int policy; /* 0 none, 1 loopback, 2 full [5 section 12] */
	int debug;
	long wait_ms;
	char path[108];	      /* the service's socket, NUL-terminated */
	char debug_file[256]; /* empty: stderr */
	bool have_key;
	uint8_t key[16];
	unsigned key_uid;
	char door[108];	   /* abstract name without its leading NUL */
	char door_dg[108]; /* the same for datagram sockets; empty: the service has none */
};

extern struct zt_env zt_env;

/** zt_start() - Read the environment and the key file; runs once, later calls cost one load */
void zt_start(void);

/** zt_active() - Whether hooks have any work to do in this process */
bool zt_active(void);

/** env_complain() - Name the mistake in ZT_NC_NETWORK on stderr, once per process */
void env_complain(void);

/* ------------------------------------------------------------------ log.c */

#define LOG_ERROR   1
#define LOG_CONTROL 2
#define LOG_DATA    3

/** log_call() - Trace one call: `ztnc[pid.tid] name(fd, token) = result` */
void log_call(int level, const char *name, int fd, const uint8_t *token, long result);
/** log_address() - The same with a ztaddr; NULL: without */
void log_address(int level, const char *name, int fd, const uint8_t *token, const uint8_t *address,
		 long result);
/** log_no_route() - LOG_ERROR, not twice in a row: no way leads to a ztaddr, and what may help */
void log_no_route(char kind, const uint8_t address[ZTADDR_LEN]);
/** log_line() - One line to stderr regardless of ZT_NC_DEBUG; only what document 5 lists */
void log_line(const char *text, const char *detail);

/* ---------------------------------------------------------------- token.c */

struct zt_token {
	char family;  /* '4' or '6' */
	char kind;    /* 's' TCP, 'd' UDP, 'e' ICMP echo */
	char carrier; /* 'k' stream, 'q' seqpacket, 'u' seqpacket of the launcher */
	uint8_t protocol;
	uint8_t id[TOKEN_LEN];
};

/** token_of() - Read the identity of @fd from the kernel; false when it is not a virtual socket */
bool token_of(int fd, struct zt_token *out);
/** token_is_stream() - token_of(), and the socket is a TCP one */
bool token_is_stream(int fd, struct zt_token *out);
/** token_bind() - Draw a random id and bind @fd to the name it gives; 0 or a negative errno */
int token_bind(int fd, struct zt_token *token);
/**
 * token_choose() - Which virtual socket socket(2) asks for: 0 or a negative errno
 * @records:	Carrier of datagram sockets
 */
int token_choose(int domain, int type, int protocol, char records, struct zt_token *t);
/** token_open() - New unconnected carrier socket named @token (id drawn); fd or negative errno */
int token_open(struct zt_token *token, int flags);
/** token_name() - Write the AF_UNIX address of @token */
void token_name(const struct zt_token *token, struct sockaddr_un *out);

/* ----------------------------------------------------------------- addr.c */

/** addr_parse() - sockaddr of a virtual socket of @family ('4'/'6') to ztaddr */
int addr_parse(const struct sockaddr *addr, socklen_t len, char family, uint8_t out[ZTADDR_LEN]);
/** addr_emit() - ztaddr to sockaddr as a socket of @family reports it; returns its full length */
socklen_t addr_emit(const uint8_t in[ZTADDR_LEN], char family, struct sockaddr_storage *out);
/** addr_check() - What Linux says to an address argument before it looks at it: 0, -EINVAL, -EFAULT
 */
int addr_check(int fd, const struct sockaddr *addr, socklen_t len);
/**
 * addr_give() - Copy to the program's buffer, truncating
 * @fd:		The socket that is asked for the address
 * @room:	Length of the buffer, then the address's full length
 *
 * Return: 0 or -EFAULT
 */
int addr_give(int fd, const uint8_t in[ZTADDR_LEN], char family, struct sockaddr *addr,
	      socklen_t *room);
/** addr_return() - The same with a length in the program's memory: 0, -EINVAL or -EFAULT */
int addr_return(int fd, const uint8_t in[ZTADDR_LEN], char family, struct sockaddr *addr,
		socklen_t *len);

/* --------------------------------------------------------------- memory.c */

/*
 * @fd is a virtual socket of any kind, by which the kernel is asked. A length of 0 is never
 * followed.
 */

/**
 * mem_begin() - A call begins that looks at several places, most of them in one page
 *
 * Until mem_end() a page that this thread has found good is not asked for again.
 */
void mem_begin(void);
void mem_end(void);
/** mem_readable() - Whether the program may read @len bytes at @p */
bool mem_readable(int fd, const void *p, size_t len);
/** mem_writable() - Whether it may write there; what the bytes were is lost */
bool mem_writable(int fd, void *p, size_t len);
/** mem_length() - The length that a caller gives with a buffer: 0, -EFAULT or -EINVAL */
int mem_length(int fd, const socklen_t *p, socklen_t *out);
/** mem_put() - Store @len bytes in memory of the program; false where Linux says EFAULT */
bool mem_put(int fd, void *to, const void *from, size_t len);
/** mem_buffers() - Check a list of buffers: 0, -EFAULT or -EINVAL */
int mem_buffers(int fd, const struct iovec *iov, size_t count);
/**
 * mem_take_sent() - Copy the message of a send into @out
 *
 * Its name, list of buffers and control data can be read then; the buffers are left to the kernel.
 * A name of no length is none.
 *
 * Return: 0, or the negative errno with which Linux refuses it before it looks at the socket
 */
int mem_take_sent(int fd, const struct msghdr *msg, struct msghdr *out);
/** mem_take_received() - The same for a receive, whose name and control data are not read */
int mem_take_received(int fd, const struct msghdr *msg, struct msghdr *out);
/** mem_give_received() - Tell the caller what recvmsg() tells in @msg: 0 or -EFAULT */
int mem_give_received(int fd, struct msghdr *msg, const struct msghdr *from);

/* ---------------------------------------------------------------- fdtab.c */

enum fd_hint {
	HINT_NONE = 0,
	HINT_STREAM = 1,
	HINT_DATAGRAM = 2,
	HINT_VERIFY = 3, /* number outside the table: ask the kernel */
	HINT_IDLE = 4,	 /* a stream that was not seen connected: new, a listener, inherited */
};

#define INFO_NAMES     1 /* local and peer are valid: the connection was ESTABLISHED */
#define INFO_LISTENING 2
#define INFO_SHUT      4   /* shutdown() was called on the listener */
#define INFO_CONNECTED 8   /* datagram socket with a peer */
#define INFO_PEER4     16  /* AF_INET6 datagram socket whose peer is an IPv4 address */
#define INFO_BOUND4    32  /* AF_INET6 datagram socket bound to an IPv4 address */
#define INFO_SHUT_RD   64  /* this direction of a connection was shut down here */
#define INFO_SHUT_WR   128 /* if both were, the stream tells no more of the peer */
#define INFO_SHUT_BOTH (INFO_SHUT_RD | INFO_SHUT_WR)

struct fd_info {
	uint32_t flags;
	uint8_t local[ZTADDR_LEN];
	uint8_t peer[ZTADDR_LEN];
};

enum fd_hint fdtab_hint(int fd);
/** fdtab_mark() - HINT_NONE only of a number that this thread has just been given */
void fdtab_mark(int fd, enum fd_hint hint);
/** fdtab_forget() - @fd was found to be none of ours; another thread may be making it one */
void fdtab_forget(int fd);
/** fdtab_adopt() - Ask the kernel what @fd is and mark it so */
void fdtab_adopt(int fd);
/** fdtab_copy() - @to is a duplicate of @from */
void fdtab_copy(int from, int to);
/** fdtab_get() - What is cached about @fd; false unless the cache belongs to @token */
bool fdtab_get(int fd, const struct zt_token *token, struct fd_info *out);
void fdtab_put(int fd, const struct zt_token *token, const struct fd_info *info);
/** fdtab_scan() - Adopt every descriptor this image inherited */
void fdtab_scan(void);

/* ----------------------------------------------------------------- door.c */

/* Which door of which service */
struct door {
	const struct sockaddr_un *other; /* another service than the environment's, or NULL */
	bool records;			 /* the door of datagram sockets */
};

/**
 * door_connect_waiting() - Connect @fd to a service, with ZT_NC_WAIT at the first contact
 * @use_key:	Out: the HELLO must carry the key
 *
 * Return: 0 or a negative errno
 */
long door_connect_waiting(int fd, const struct door *door, bool *use_key);
/** door_foreign() - If @fd is attached to another service's path, store that address in @out */
bool door_foreign(int fd, struct sockaddr_un *out);

/* ------------------------------------------------------------------ rpc.c */

/* Outside the range of errno: the service cannot be reached */
#define RPC_UNREACHABLE (-5000)

struct rpc {
	enum proto_op op;
	const uint8_t *token; /* NULL: no socket is meant */
	const void *request;
	size_t request_len;
	void *reply; /* may be NULL; a longer reply is cut */
	size_t reply_cap;
	size_t reply_len; /* out: bytes stored in @reply */
	int fd;		  /* the virtual socket, or -1: selects the service it is attached to */
	bool one_shot;	  /* never use the shared connection */
	int timeout_s;	  /* one-shot only: 0 = the default */
};

/** rpc_call() - One request and its reply: result >= 0, negative errno, or RPC_UNREACHABLE */
int rpc_call(struct rpc *rpc);
/** rpc_about() - rpc_call() about the socket @fd */
int rpc_about(int fd, const struct zt_token *t, enum proto_op op, const void *request,
	      size_t request_len, void *reply, size_t reply_cap);
/** rpc_notify() - A request without reply if the shared connection is free, else with one */
int rpc_notify(struct rpc *rpc);
/* A connection of its own for the requests of a call that waits as long as the network takes */
struct rpc_line {
	int fd;
	uint32_t sequence;
	bool fresh; /* HELLO not sent yet */
	bool use_key;
	bool interruptible; /* a signal ends the wait for the reply */
	bool interrupted;   /* out: a signal came that did not end a wait */
	long limit_s;	    /* patience of the connection, 0 = for ever */
	long interrupted_s; /* when the first signal came, or 0 */
	uint8_t name[TOKEN_LEN];
};

/** rpc_line_open() - To the service of the virtual socket @about: 0 or as rpc_call() */
int rpc_line_open(struct rpc_line *l, int about);
/**
 * rpc_line_call() - One request on @l whose reply may take as long as @limit says (zero = for ever)
 * @waits:	What is asked for may take its time, so that signals and the limit end it
 *
 * Without a limit the kernel restarts the wait after a handler with SA_RESTART.
 *
 * Return: as rpc_call(); if @waits, -EINTR after a signal, -EAGAIN after @limit
 */
int rpc_line_call(struct rpc_line *l, struct rpc *rpc, const struct timeval *limit, bool waits);
void rpc_line_close(struct rpc_line *l);
/** rpc_attach() - Connect @fd to the service and announce @token unless that was done before */
int rpc_attach(int fd, const struct zt_token *token);
/** rpc_attach_accepted() - Connect the stream of an accepted connection */
int rpc_attach_accepted(int fd, const struct zt_token *token, const uint8_t connection[8]);
/** rpc_capabilities() - Bits of the service's WELCOME; asked for when none was seen, 0 without one
 */
unsigned rpc_capabilities(void);
/** rpc_is_attached() - Whether @fd has been connected to a service */
bool rpc_is_attached(int fd);
/** rpc_sandboxed() - This process installed a seccomp filter: no more requests */
bool rpc_sandboxed(void);
/** rpc_note_sandbox() - It is about to; false for one of a process that this is not */
bool rpc_note_sandbox(void);
/** rpc_unnote_sandbox() - What was noted has failed */
void rpc_unnote_sandbox(void);
/** process_is_own() - This is the process that started the library, or a fork() child that was told
 */
bool process_is_own(void);
/** process_after_fork() - Tell the child */
void process_after_fork(void);
/** rpc_memory_is_borrowed() - A vfork() child, whose memory is its parent's */
bool rpc_memory_is_borrowed(void);
/** rpc_after_fork() - In the child: forget the parent's shared connection */
void rpc_after_fork(void);
void rpc_start(void);

/* ----------------------------------------------------------------- fork.c */

void fork_start(void);

/* ------------------------------------------------------------------ nss.c */

/** nss_start() - Keep libc's own look-ups of hosts and networks away from name servers */
void nss_start(void);

/* ----------------------------------------------------------- hook_async.c */

/** async_after_fork() - In the child: forget the parent's look-ups */
void async_after_fork(void);

/* ------------------------------------------------------------- errnomap.c */

enum zt_place {
	PLACE_CONNECT,
	PLACE_BIND,
	PLACE_OPTION,
};

/** errnomap_result() - Result of an RPC as a negative errno that Linux could have given */
int errnomap_result(int result, enum zt_place place);

/* ------------------------------------------------- calls behind the hooks */

static inline long zt_ret(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

/* ------------------------------------------------------------- carrier.c */

/** carrier_pad() - Fill the stream of a pending connect; bytes sent, or a result as rpc_call()'s */
long carrier_pad(int fd, const struct zt_token *t);
/** carrier_padded() - Announce the padding of a connect that nobody waits for: -EINPROGRESS */
int carrier_padded(int fd, const struct zt_token *t, uint32_t sent);
/** carrier_is_dead() - The service has closed the stream */
bool carrier_is_dead(int fd);
/** carrier_copy_options() - The kernel's options of @from for @to, which is new */
void carrier_copy_options(int from, int to);
/** carrier_copy_settings() - The same and the status flags, for a stream that replaces another */
void carrier_copy_settings(int from, int to);
/** listener_check() - 0, or what accept() fails with on a socket that does not listen */
int listener_check(int fd, const struct zt_token *t);
/** listener_judge() - Whether @n, the result of a receive, is an accept record: 0 or -errno */
int listener_judge(int fd, const struct zt_token *t, const uint8_t record[ACCEPT_LEN], long n);
/** listener_answer() - Give the connection of @record back: UPSTREAM_REQUEUE or _REJECT */
void listener_answer(int listener, uint32_t op, const uint8_t record[ACCEPT_LEN]);

/* stream.c: connect() and accept() of TCP sockets */
int stream_connect(int fd, const struct zt_token *t, const uint8_t *request, size_t len);
int stream_disconnect(int fd, const struct zt_token *t);
/** stream_fast_open() - What MSG_FASTOPEN fails with: there is none, and none twice */
int stream_fast_open(int fd);

int zt_bind(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len);
int zt_connect(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len);
int zt_listen(int fd, const struct zt_token *t, int backlog);
int zt_accept(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len, int flags);
int zt_getsockname(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len);
int zt_getpeername(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len);
int zt_shutdown(int fd, const struct zt_token *t, int how);
/**
 * zt_names() - NAMES with cache: state (enum proto_state) or a negative errno; @info is filled
 *
 * Names of a connection that has ended are still those that were known.
 */
int zt_names(int fd, const struct zt_token *t, struct fd_info *info);
/** zt_shut_both() - This process shut both directions of the connection down */
bool zt_shut_both(int fd, const struct zt_token *t);
int zt_getsockopt(int fd, const struct zt_token *t, int level, int name, void *v, socklen_t *len);
int zt_setsockopt(int fd, const struct zt_token *t, int level, int name, const void *v,
		  socklen_t len);
int zt_ioctl(int fd, const struct zt_token *t, unsigned long request, void *argument);

/* ------------------------------------------------------------------- io.c */

/** io_is_datagram() - @fd is a virtual datagram socket named @t; corrects a stale hint */
bool io_is_datagram(int fd, enum fd_hint hint, struct zt_token *t);
/** io_is_stream() - Verified answer for flags whose AF_UNIX meaning differs */
bool io_is_stream(int fd, enum fd_hint hint);
/**
 * io_is_idle() - Whether the stream @fd is no connection and was none, as a hint of HINT_IDLE says
 *
 * Corrects a stale hint. True for what is bound or listens; a stream that no call has attached is
 * left to the kernel, which knows it as unconnected too.
 */
bool io_is_idle(int fd, enum fd_hint hint);
/** io_is_listener() - The same for what listens */
bool io_is_listener(int fd, enum fd_hint hint);
/** io_buffer() - One buffer as a list; the kernel writes through it only when receiving */
struct iovec io_buffer(const void *buf, size_t len);
/** io_total() - Bytes of a list that may be followed, or more than INT_MAX */
size_t io_total(const struct iovec *iov, size_t count);
/** io_is_no_list() - A number of buffers of readv() or writev() that the kernel answers for us */
bool io_is_no_list(int count);
/** io_check_list() - Bytes of the list of a datagram's buffers, 0 for none, or a negative errno */
ssize_t io_check_list(int fd, const struct iovec *iov, int count);

/* ------------------------------------------------------------ after_io.c */

/** after_read() - Judge the answer @r of a read on @fd whose hint is not HINT_NONE */
ssize_t after_read(int fd, ssize_t r);
/**
 * after_write() - Judge the answer @r of a write on a stream
 * @flags:	MSG_NOSIGNAL: SIGPIPE is not wanted, or was the kernel's to raise
 */
ssize_t after_write(int fd, ssize_t r, int flags);
/** refuse_write() - What a write with @flags on a stream without a connection answers: EPIPE */
ssize_t refuse_write(int flags);

/* ------------------------------------------------------------- iov_list.c */

/* Buffers of a caller that are described on the stack (1 KiB of it). */
#define IOV_HERE 63

struct iov_list {
	struct iovec here[IOV_HERE + 1];
	struct iovec *iov;
	size_t count;
	size_t mapped;		  /* bytes to unmap, or 0 */
	const struct iovec *last; /* two buffers of the caller that share one here, or NULL */
};

/** iov_prefix() - @head, then the caller's buffers; 0 or a negative errno */
int iov_prefix(struct iov_list *l, uint8_t *head, const struct iovec *iov, size_t count);
/** iov_fill() - Before a send: copy what shares a buffer; 0 or -EFAULT */
int iov_fill(const struct iov_list *l, int fd);
/** iov_spread() - The same after a receive of @received bytes, the header's among them */
int iov_spread(const struct iov_list *l, int fd, size_t received);
void iov_done(struct iov_list *l);

/* ----------------------------------------------------------- hook_dgram.c */

/** dgram_receive() - recvmsg() of a datagram socket; a result or a negative errno */
ssize_t dgram_receive(int fd, const struct zt_token *t, struct msghdr *msg, int flags);
/** dgram_send() - sendmsg() of a datagram socket; a result or a negative errno */
ssize_t dgram_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags);
/** dgram_pending() - FIONREAD: length of the first datagram, 0 when there is none */
int dgram_pending(int fd);
/** dgram_take_error() - SO_ERROR: an error record at the head of the queue, consumed; or 0 */
int dgram_take_error(int fd);
/** dgram_bound() - Note that @fd was bound to the ztaddr @local */
void dgram_bound(int fd, const struct zt_token *t, const uint8_t *local);
int dgram_connect(int fd, const struct zt_token *t, const struct sockaddr *addr, socklen_t len);
int dgram_disconnect(int fd, const struct zt_token *t);
int dgram_shutdown(int fd, const struct zt_token *t, int how);

/* --------------------------------------------------------------- reach.c */

/**
 * reach_known() - Whether a route from the socket to the ztaddr @to was found a moment ago
 * @piece:	Payload that fits the MTU of that route, of sends that are cut; else 0
 */
bool reach_known(const struct zt_token *t, const uint8_t to[ZTADDR_LEN], unsigned piece);
void reach_note(const struct zt_token *t, const uint8_t to[ZTADDR_LEN], unsigned piece);
/** reach_forget() - Something was set that may change the way of datagrams */
void reach_forget(void);

/* ------------------------------------------------------------- segment.c */

/** segment_set() - UDP_SEGMENT of a socket was set to @size */
void segment_set(const struct zt_token *t, uint16_t size);
/** segment_mistake() - What Linux answers to a send that is cut: 0, -EMSGSIZE or -EINVAL */
int segment_mistake(int fd, const struct zt_token *t, const uint8_t head[DGRAM_LEN], size_t len);

/* -------------------------------------------------------- dgram_control.c */

/** control_parse() - Control data of a send into the header of its record; 0 or negative errno */
int control_parse(const struct msghdr *msg, const struct zt_token *t, uint8_t head[DGRAM_LEN]);
/** control_mistake() - The same for a stream, which heeds none of it */
int control_mistake(const struct msghdr *msg, const struct zt_token *t);
/** control_build() - Control data of a record that @fd received into @msg as recvmsg() does */
void control_build(int fd, const uint8_t head[DGRAM_LEN], const struct zt_token *t,
		   struct msghdr *msg);

/** iface_has_family() - Whether the view has an address of family 4 or 6 beside loopback */
bool iface_has_family(int family);

#endif
