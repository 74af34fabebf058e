/**
 * door.c - Ways to a service: its path, the door for datagram sockets, the abstract second doors
 *
 * The path comes first; a process that lost its rights or its root directory uses the abstract
 * name, and gives the key only to a service of the key file's owner or root [5 sections 5.1, 14].
 *
 * No allocation, no stdio, no errno.
 */
#include "zt.h"

#include <stdatomic.h>
#include <unistd.h>

#include "raw.h"

/* [5 section 6.3] patience with a full backlog of the service, in seconds */
#define BACKLOG_S 2
/* [5 section 12] ZT_NC_WAIT polls this often */
#define WAIT_STEP_MS 50
/* [5 section 5.1] the service may pad its abstract name to the full length */
#define ABSTRACT_PADDED_LEN 110

static atomic_bool contacted; /* the service was reached once: never wait again */

/* [5 section 5.1] the door of datagram sockets has the stream's path with this behind it */
#define RECORDS_SUFFIX	   ".dg"
#define RECORDS_SUFFIX_LEN 3

static socklen_t path_address(const char *path, bool records, struct sockaddr_un *out)
{
	size_t len = strlen(path);

	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(out->sun_path, path, len);
	if (records) {
		memcpy(out->sun_path + len, RECORDS_SUFFIX, RECORDS_SUFFIX_LEN);
		len += RECORDS_SUFFIX_LEN;
	}
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
}

static long seconds(void)
{
	struct timespec now;

	raw6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
	return now.tv_sec;
}

/** connect_until() - connect(), repeated while the backlog is full or a signal interrupts */
static long connect_until(int fd, const struct sockaddr_un *addr, socklen_t len, long end)
{
	long r;

	do {
		r = raw_connect(fd, addr, len);
		if (r == -EAGAIN)
			raw_sleep_ms(1);
		else if (r != -EINTR)
			return r;
	} while (seconds() < end);
	return -ETIMEDOUT;
}

static bool is_limit(const struct timeval *t, long limit_s)
{
	return t->tv_sec == limit_s && t->tv_usec == 0;
}

/**
 * connect_patiently() - With the time limit of @fd lent: a service that is stopped takes nobody
 *
 * A shorter limit of the program will do. What another thread sets meanwhile stays.
 */
static long connect_patiently(int fd, const struct sockaddr_un *addr, socklen_t len)
{
	static const struct timeval limit = {BACKLOG_S, 0};
	struct timeval before = {0, 0};
	struct timeval now = {0, 0};
	socklen_t size = sizeof(before);
	bool lends;
	long r;

	raw_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, &size);
	lends = (before.tv_sec == 0 && before.tv_usec == 0) || before.tv_sec > BACKLOG_S;
	if (lends)
		raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	r = connect_until(fd, addr, len, seconds() + BACKLOG_S);
	size = sizeof(now);
	if (lends && raw_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &now, &size) == 0 &&
	    is_limit(&now, BACKLOG_S))
		raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, sizeof(before));
	return r;
}

/** peer_is_trusted() - The abstract name is still held by the owner of the key file, or root */
static bool peer_is_trusted(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (raw_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	return cred.uid == 0 || cred.uid == zt_env.key_uid;
}

/** connect_abstract() - The second door, for processes that lost access to the path */
static long connect_abstract(int fd, const char *name)
{
	struct sockaddr_un un;
	size_t len = strlen(name);
	long r;

	memset(&un, 0, sizeof(un));
	un.sun_family = AF_UNIX;
	memcpy(un.sun_path + 1, name, len);
	r = connect_patiently(fd, &un, ABSTRACT_PADDED_LEN);
	if (r == -ECONNREFUSED)
		r = connect_patiently(
			fd, &un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
	return r;
}

static bool may_use_abstract(long path_result)
{
	return zt_env.have_key && (path_result == -EACCES || path_result == -ENOENT ||
				   path_result == -EPERM || path_result == -ELOOP);
}

/**
 * door_connect() - Connect @fd to the service
 * @use_key:	Out: the HELLO must carry the key
 */
static long door_connect(int fd, const struct door *door, bool *use_key)
{
	const char *path = door->other == NULL ? zt_env.path : door->other->sun_path;
	const char *second = door->records ? zt_env.door_dg : zt_env.door;
	struct sockaddr_un un;
	socklen_t len = path_address(path, door->records, &un);
	long r = connect_patiently(fd, &un, len);

	*use_key = false;
	if (door->other != NULL || second[0] == '\0' || !may_use_abstract(r))
		return r;
	r = connect_abstract(fd, second);
	if (r == 0 && !peer_is_trusted(fd)) {
		raw_shutdown(fd, SHUT_RDWR);
		return -EPERM;
	}
	*use_key = r == 0;
	return r;
}

/** complain_door() - With ZT_NC_DEBUG, say which service was not reached and why */
static void complain_door(const char *path, long r)
{
	if (zt_env.debug < LOG_ERROR)
		return;
	switch (r) {
	case -ENOENT:
		log_line("nothing is there (service not running, or network not joined): ", path);
		return;
	case -ECONNREFUSED:
		log_line("no service listens at ", path);
		return;
	case -EACCES:
	case -EPERM:
		log_line("no permission to use the service at ", path);
		return;
	}
	log_line("the service could not be reached at ", path);
}

/** lacks_records() - A service is there, but it has no door for datagram sockets */
static bool lacks_records(const struct door *door, long r)
{
	return door->records && r == -ENOENT &&
	       raw6(SYS_faccessat, AT_FDCWD, (long)zt_env.path, F_OK, 0, 0, 0) == 0;
}

long door_connect_waiting(int fd, const struct door *door, bool *use_key)
{
	long waited = 0;
	long r = door_connect(fd, door, use_key);

	while ((r == -ENOENT || r == -ECONNREFUSED) && waited < zt_env.wait_ms &&
	       !atomic_load(&contacted) && !lacks_records(door, r)) {
		raw_sleep_ms(WAIT_STEP_MS);
		waited += WAIT_STEP_MS;
		r = door_connect(fd, door, use_key);
	}
	atomic_store(&contacted, true);
	if (r != 0)
		complain_door(door->other == NULL ? zt_env.path : door->other->sun_path, r);
	return r;
}

/** strip_records() - From the path of a datagram door to that of the service's streams */
static void strip_records(char *path)
{
	size_t len = strlen(path);

	if (len > RECORDS_SUFFIX_LEN &&
	    strcmp(path + len - RECORDS_SUFFIX_LEN, RECORDS_SUFFIX) == 0)
		path[len - RECORDS_SUFFIX_LEN] = '\0';
}

bool door_foreign(int fd, struct sockaddr_un *out)
{
	socklen_t len = sizeof(*out);

	memset(out, 0, sizeof(*out));
	if (fd < 0 || raw_getpeername(fd, out, &len) != 0)
		return false;
	if (out->sun_path[0] != '/' || len >= sizeof(*out))
		return false;
	strip_records(out->sun_path);
	return strcmp(out->sun_path, zt_env.path) != 0;
}
