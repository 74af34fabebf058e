/**
 * run.h - What the parts of zt-run share
 *
 * zt-run puts programs that a preload cannot reach on a virtual network: their socket calls stop
 * in a seccomp filter and are answered by a supervisor [5 section 15]. Three processes take part:
 *
 *   front       what was started; passes signals on and ends as the target ended     (front.c)
 *   supervisor  its child; answers the calls of the target and of all its children   (serve.c)
 *   target      the supervisor's child; installs the filter, then becomes the program (target.c)
 *
 * The supervisor speaks to the service with the code of the preload library: its descriptors are
 * the same named AF_UNIX sockets, and it keeps no table of anybody's descriptors.
 */
#ifndef RUN_H
#define RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#include "zt.h"

/* Exit codes of zt-run's own failures, as env(1) and timeout(1) have them. */
#define EXIT_FAILURE_OF_RUN 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND	    127

/** say() - One line on stderr, `zt-run: ...` */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --------------------------------------------------------------- filter.c */

/**
 * filter_install() - Stop the socket calls of this thread and of all its children
 *
 * Return: the descriptor on which they are reported, or a negative errno
 */
int filter_install(void);
/** filter_refusal() - What a negative errno of filter_install() means, in words */
const char *filter_refusal(int error);

/* --------------------------------------------------------------- target.c */

/* What the target writes to the supervisor before it becomes the program. */
struct handover {
	int32_t step; /* enum handover_step */
	int32_t value;
};

enum handover_step {
	STEP_LISTENER, /* value: number of the listener in the target */
	STEP_PRIVILEGES,
	STEP_FILTER, /* value: negative errno */
};

/** target_start() - Become the program @argv under the filter; @supervisor is a stream to it */
_Noreturn void target_start(int supervisor, pid_t parent, char **argv, const sigset_t *mask);

/* ---------------------------------------------------------------- front.c */

enum news_kind {
	NEWS_STARTED = 1, /* carries a pidfd of the target */
	NEWS_ENDED,	  /* value: wait status of the target; processes of it go on */
	NEWS_ENDED_ALL,	  /* the same, and the supervisor ends too */
	NEWS_FAILED,	  /* the supervisor has said why */
};

struct news {
	int32_t kind;
	int32_t value;
};

/** front_main() - Pass signals to the target and end as it ends; @supervisor (@pid) brings the news
 */
int front_main(int supervisor, pid_t pid);
/** end_children() - Kill and reap every child, and whoever becomes one by that */
void end_children(void);

/* ---------------------------------------------------------------- serve.c */

/** serve_main() - Start the target and answer its calls; @front takes the news */
_Noreturn void serve_main(int front, char **argv, const sigset_t *mask);

/* ----------------------------------------------------------------- pool.c */

/** pool_start() - Begin to answer what arrives at @listener; false when no thread can be made */
bool pool_start(int listener);
/** pool_may_block() - Whether one more thread may be spent on a call that waits */
bool pool_may_block(void);
void pool_blocks(bool begins);
/** pool_blocked() - Calls that wait now */
int pool_blocked(void);

/* ----------------------------------------------------------------- call.c */

/* One stopped system call. */
struct call {
	uint64_t id;
	int listener;
	int pidfd; /* of the calling thread or its process, -1 until it is needed */
	pid_t tid;
	int nr;
	uint32_t arch;
	uint64_t arg[6];
};

/** call_begin() - Take one stopped call; 1, 0 when it vanished, or a negative errno */
int call_begin(int listener, struct call *out);
void call_end(struct call *c);
/** call_is_valid() - The caller still waits for this answer, so what was read is its */
bool call_is_valid(const struct call *c);

void answer_value(const struct call *c, int64_t value);
/** answer_result() - A result >= 0, or a negative errno */
void answer_result(const struct call *c, long result);
/** answer_continue() - Let the kernel do the call unchanged */
void answer_continue(const struct call *c);
/** answer_interrupted() - As if a signal had ended the wait: see signalled() */
void answer_interrupted(const struct call *c, bool may_restart);

/** memory_read() - Copy from the caller's memory; 0, or -EFAULT */
int memory_read(const struct call *c, uint64_t address, void *out, size_t len);
int memory_write(const struct call *c, uint64_t address, const void *bytes, size_t len);
/** memory_iov() - Copy between @len local bytes and the caller's @count areas, from @skip on */
long memory_scatter(const struct call *c, const struct iovec *to, size_t count, size_t skip,
		    const void *bytes, size_t len);
long memory_gather(const struct call *c, const struct iovec *from, size_t count, size_t skip,
		   void *out, size_t len);

/** caller_fd() - A duplicate of the caller's descriptor @number, or a negative errno */
int caller_fd(struct call *c, int number);
/** caller_fd_flags() - FD_CLOEXEC of the caller's descriptor @number */
int caller_fd_flags(const struct call *c, int number);
/** give_fd() - Install @fd as a new number of the caller (@at < 0) or over @at; the number */
int give_fd(const struct call *c, int fd, int at, bool cloexec);
/** answer_fd() - give_fd() and answer the call with the number, in one step */
int answer_fd(const struct call *c, int fd, bool cloexec);
/** caller_sigpipe() - Send the calling thread SIGPIPE */
void caller_sigpipe(struct call *c);

/* ----------------------------------------------------------------- wait.c */

enum waited {
	WAITED_READY,
	WAITED_TIMEOUT,
	WAITED_GONE,	    /* the caller does not wait any more */
	WAITED_INTERRUPTED, /* a signal waits for the caller */
	WAITED_REFUSED,	    /* too many calls wait already */
};

#define NO_DEADLINE INT64_MAX

/** deadline_of() - When a wait with SO_RCVTIMEO or SO_SNDTIMEO ends that begins now */
int64_t deadline_of(int fd, int name);
/** wait_for() - Until @fd shows @events, as a blocking call of the caller would wait */
enum waited wait_for(const struct call *c, int fd, short events, int64_t deadline);
/** may_wait() - Neither the file nor the flags of a transfer forbid waiting */
bool may_wait(int fd, int flags);
/** answer_waited() - Answer a call whose wait did not end with WAITED_READY */
void answer_waited(const struct call *c, enum waited w, int64_t deadline, int timeout);

/* --------------------------------------------------------------- socket.c */

/** read_address() - Copy a socket address of the caller; its length, or a negative errno */
int read_address(const struct call *c, uint64_t address, uint64_t len,
		 struct sockaddr_storage *out);
/** write_address() - Store a ztaddr as accept() and getpeername() do; 0 or a negative errno */
int write_address(const struct call *c, const uint8_t *ztaddr, char family, uint64_t address,
		  uint64_t len_address);

void call_socket(struct call *c);
void call_bind(struct call *c, int fd, const struct zt_token *t);
void call_listen(struct call *c, int fd, const struct zt_token *t);
void call_shutdown(struct call *c, int fd, const struct zt_token *t);
void call_getsockname(struct call *c, int fd, const struct zt_token *t);
void call_getpeername(struct call *c, int fd, const struct zt_token *t);
void call_getsockopt(struct call *c, int fd, const struct zt_token *t);
void call_setsockopt(struct call *c, int fd, const struct zt_token *t);
void call_ioctl(struct call *c, int fd, const struct zt_token *t);

/* -------------------------------------------------- connect.c, accept.c */

void call_connect(struct call *c, int fd, const struct zt_token *t);
void call_accept(struct call *c, int fd, const struct zt_token *t);

/* ---------------------------------------------------------------- areas.c */

/* What a call wants moved; @iov is in memory of ours, its areas are the caller's. */
struct areas {
	struct iovec *iov;
	size_t count;
	size_t total;
};

/** header_read() - A message of the caller, its name's length checked and cut as Linux does */
int header_read(const struct call *c, uint64_t address, struct msghdr *out);
/** sent_header_read() - The same for a send, whose name can be read; one of no length is none */
int sent_header_read(const struct call *c, uint64_t address, struct msghdr *out);
/** control_check() - Control data of a send: 0, -ENOBUFS or -EFAULT */
int control_check(const struct call *c, const struct msghdr *msg);
/** areas_read() - The vector of a msghdr; 0 or a negative errno. To be freed with areas_free() */
int areas_read(const struct call *c, const struct msghdr *msg, struct areas *a);
void areas_free(struct areas *a);
/** one_area() - A single buffer; @iov is its vector */
struct areas one_area(struct iovec *iov, uint64_t address, uint64_t len);

/* --------------------------------------------------------------- stream.c */

void stream_sendto(struct call *c, int fd, const struct zt_token *t);
void stream_sendmsg(struct call *c, int fd, const struct zt_token *t);
void stream_recvfrom(struct call *c, int fd, const struct zt_token *t);
void stream_recvmsg(struct call *c, int fd, const struct zt_token *t);

/* --------------------------------------------------------------- record.c */

/** record_open() - A datagram socket that is attached if there is a service; fd or negative errno
 */
int record_open(struct zt_token *t, int flags);
/** record_send() - One datagram, without waiting; @msg is in memory of ours */
long record_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags);
/** record_receive() - One datagram, without waiting; @msg is in memory of ours */
long record_receive(int fd, const struct zt_token *t, struct msghdr *msg, int flags);
/** record_error() - SO_ERROR: an error at the head of the queue, consumed; or 0 */
int record_error(int fd, const struct zt_token *t);
/** record_pending() - FIONREAD: length of the first datagram, 0 when there is none */
int record_pending(int fd, const struct zt_token *t);

/* ------------------------------------------------------------- datagram.c */

void datagram_sendto(struct call *c, int fd, const struct zt_token *t);
void datagram_sendmsg(struct call *c, int fd, const struct zt_token *t);
void datagram_recvfrom(struct call *c, int fd, const struct zt_token *t);
void datagram_recvmsg(struct call *c, int fd, const struct zt_token *t);
void datagram_sendmmsg(struct call *c, int fd, const struct zt_token *t);
void datagram_recvmmsg(struct call *c, int fd, const struct zt_token *t);

/* ------------------------------------------------------------- dispatch.c */

/** dispatch() - Answer one call */
void dispatch(struct call *c);

#endif
