/**
 * refused.c - Ways to the host's network that zt-run must close, one line each
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(const char *name, long r)
{
	printf("%s %s\n", name, r >= 0 ? "ok" : strerrorname_np(errno));
}

static void show_raw(const char *name, long r)
{
	errno = (int)-r;
	show(name, r < 0 ? -1 : 0);
}

#if defined(__x86_64__)
static long int80(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}
#endif

/** has_32_bit() - Kernels without the 32-bit calls answer int 0x80 with a signal */
static int has_32_bit(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
#if defined(__x86_64__)
		_exit(int80(20, 0, 0, 0) > 0 ? 0 : 1);
#else
		_exit(1);
#endif
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
	struct io_uring_params params;

	memset(&params, 0, sizeof(params));
	show("inet", socket(AF_INET, SOCK_STREAM, 0));
	show("unix", socket(AF_UNIX, SOCK_STREAM, 0));
	show("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	show("packet", socket(AF_PACKET, SOCK_RAW, 0));
	show("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	show("smc", socket(AF_SMC, SOCK_STREAM, 0));
	show("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	show("sctp", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	show("type", socket(AF_INET, SOCK_STREAM | 0x100000, 0));
	show("io_uring", syscall(SYS_io_uring_setup, 8, &params));
	show("descriptor", shutdown(999, SHUT_RD));
#if defined(__x86_64__)
	show("x32", syscall(0x40000000 | SYS_socket, AF_INET, SOCK_STREAM, 0));
	if (!has_32_bit())
		return 0;
	show_raw("32-bit inet", int80(359, AF_INET, SOCK_STREAM, 0));
	show_raw("32-bit call", int80(102, 1, 0, 0));
	show_raw("32-bit unix", int80(359, AF_UNIX, SOCK_STREAM, 0));
	show_raw("32-bit packet", int80(359, AF_PACKET, SOCK_RAW, 0));
#endif
	return 0;
}
