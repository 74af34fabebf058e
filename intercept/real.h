/**
 * real.h - libc's own versions of the functions this library wraps
 *
 * real.c and real_names.c are the only files that refer to them. Before libc's symbol is known (or
 * while it is being looked up) the system call is made directly.
 */
#ifndef ZT_REAL_H
#define ZT_REAL_H

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/** real_start() - Resolve what signal handlers may need, since dlsym() is not safe there */
void real_start(void);

int real_socket(int domain, int type, int protocol);
int real_bind(int fd, const struct sockaddr *addr, socklen_t len);
int real_listen(int fd, int backlog);
int real_connect(int fd, const struct sockaddr *addr, socklen_t len);
int real_accept(int fd, struct sockaddr *addr, socklen_t *len);
int real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int real_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int real_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int real_shutdown(int fd, int how);
ssize_t real_read(int fd, void *buf, size_t len);
ssize_t real_readv(int fd, const struct iovec *iov, int count);
ssize_t real_recv(int fd, void *buf, size_t len, int flags);
ssize_t real_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		      socklen_t *addr_len);
ssize_t real_recvmsg(int fd, struct msghdr *msg, int flags);
int real_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags,
		  struct timespec *timeout);
ssize_t real_write(int fd, const void *buf, size_t len);
ssize_t real_writev(int fd, const struct iovec *iov, int count);
ssize_t real_send(int fd, const void *buf, size_t len, int flags);
ssize_t real_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
		    socklen_t addr_len);
ssize_t real_sendmsg(int fd, const struct msghdr *msg, int flags);
int real_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags);
int real_dup(int fd);
int real_dup2(int from, int to);
int real_dup3(int from, int to, int flags);
int real_fcntl(int fd, int command, long argument);
int real_ioctl(int fd, unsigned long request, void *argument);
int real_pidfd_getfd(int process, int fd, unsigned flags);
int real_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
long real_syscall(long number, long a, long b, long c, long d, long e, long f);

/** real_resolve() - The next definition of @name, cached in @slot; NULL while that is being found
 */
void *real_resolve(void *_Atomic *slot, const char *name);

int real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		     struct addrinfo **result);
int real_getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len,
		     char *service, socklen_t service_len, int flags);
struct hostent *real_gethostbyname(const char *name);
struct hostent *real_gethostbyname2(const char *name, int family);
int real_gethostbyname_r(const char *name, struct hostent *entry, char *buf, size_t len,
			 struct hostent **result, int *error);
int real_gethostbyname2_r(const char *name, int family, struct hostent *entry, char *buf,
			  size_t len, struct hostent **result, int *error);
struct hostent *real_gethostbyaddr(const void *addr, socklen_t len, int family);
int real_gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *entry,
			 char *buf, size_t buf_len, struct hostent **result, int *error);
int real_getifaddrs(struct ifaddrs **list);
struct if_nameindex *real_if_nameindex(void);
unsigned real_if_nametoindex(const char *name);
char *real_if_indextoname(unsigned index, char *name);
int real_bindresvport(int fd, void *sin);
int real_res_query(const char *name, int class, int type, unsigned char *answer, int len);
int real_res_search(const char *name, int class, int type, unsigned char *answer, int len);
int real_res_nquery(void *state, const char *name, int class, int type, unsigned char *answer,
		    int len);
int real_res_nsearch(void *state, const char *name, int class, int type, unsigned char *answer,
		     int len);
int real_res_querydomain(const char *name, const char *domain, int class, int type,
			 unsigned char *answer, int len);
int real_res_nquerydomain(void *state, const char *name, const char *domain, int class, int type,
			  unsigned char *answer, int len);
int real_res_send(const unsigned char *message, int message_len, unsigned char *answer, int len);
int real_res_nsend(void *state, const unsigned char *message, int message_len,
		   unsigned char *answer, int len);
int real_getaddrinfo_a(int mode, struct gaicb **list, int count, struct sigevent *event);
int real_gai_suspend(const struct gaicb *const *list, int count, const struct timespec *wait);
int real_gai_cancel(struct gaicb *request);
int real_rresvport(int *port);
int real_rresvport_af(int *port, sa_family_t family);
int real_rcmd(char **host, unsigned short port, const char *local, const char *remote,
	      const char *command, int *error_fd);
int real_rcmd_af(char **host, unsigned short port, const char *local, const char *remote,
		 const char *command, int *error_fd, sa_family_t family);
int real_rexec(char **host, int port, const char *name, const char *password, const char *command,
	       int *error_fd);
int real_rexec_af(char **host, int port, const char *name, const char *password,
		  const char *command, int *error_fd, sa_family_t family);

#endif
