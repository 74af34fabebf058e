/**
 * filter.c - Which system calls stop, as a classic BPF program
 *
 * Everything that could reach a network stops or is refused; everything else runs at full speed,
 * in particular read(), write(), poll and close. Only registers are looked at, so nothing here
 * can be changed under the filter's eyes. No AF_INET socket is ever made in the target: whatever
 * it later does to memory that the supervisor reads, it cannot reach the host's network.
 */
#include "run.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

/* Newer than some systems' headers. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#if defined(__x86_64__)
#define NATIVE_ARCH  AUDIT_ARCH_X86_64
#define FOREIGN_ARCH AUDIT_ARCH_I386
/* 32-bit numbers: socket, socketcall, io_uring_setup */
#define FOREIGN_SOCKET 359
#define FOREIGN_CALL   102
#define X32_BIT	       0x40000000
#elif defined(__aarch64__)
#define NATIVE_ARCH    AUDIT_ARCH_AARCH64
#define FOREIGN_ARCH   AUDIT_ARCH_ARM
#define FOREIGN_SOCKET 281
#define FOREIGN_CALL   102
#endif
#define FOREIGN_IO_URING 425
/* First argument of socketcall() that means socket() */
#define SOCKETCALL_SOCKET 1

#define PROGRAM_MAX 128
/* Flags that AF_UNIX treats differently from TCP and UDP. */
#define ODD_RECEIVE (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)
#define ODD_SEND    (MSG_OOB | MSG_FASTOPEN | MSG_ZEROCOPY | MSG_MORE)
#define SIOC_FIRST  0x8900
#define SIOC_LAST   0x89ff

#define OFF_NR	 offsetof(struct seccomp_data, nr)
#define OFF_ARCH offsetof(struct seccomp_data, arch)
/* Both processors are little-endian: the low half comes first. */
#define OFF_LOW(i)  (offsetof(struct seccomp_data, args) + 8 * (i))
#define OFF_HIGH(i) (OFF_LOW(i) + 4)

#define STOP	SECCOMP_RET_USER_NOTIF
#define PASS	SECCOMP_RET_ALLOW
#define FAIL(e) (SECCOMP_RET_ERRNO | (e))

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short len;
};

static void op(struct program *p, unsigned code, unsigned long k, unsigned jt, unsigned jf)
{
	p->code[p->len++] = (struct sock_filter){(unsigned short)code, (unsigned char)jt,
						 (unsigned char)jf, (unsigned)k};
}

static void load(struct program *p, unsigned long offset)
{
	op(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void give(struct program *p, unsigned long verdict)
{
	op(p, BPF_RET | BPF_K, verdict, 0, 0);
}

/** when() - If the loaded word is @value, the verdict is @verdict */
static void when(struct program *p, unsigned long value, unsigned long verdict)
{
	op(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	give(p, verdict);
}

/** begin() - Start a block that runs for call @nr only; it must end with a verdict */
static unsigned short begin(struct program *p, unsigned long nr)
{
	op(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0);
	return (unsigned short)(p->len - 1);
}

static void end(struct program *p, unsigned short block)
{
	p->code[block].jf = (unsigned char)(p->len - block - 1);
}

/** transfer() - sendto and recvfrom stop when they name an address or have an odd flag */
static void transfer(struct program *p, unsigned long nr, unsigned long odd_flags)
{
	unsigned short block = begin(p, nr);

	load(p, OFF_LOW(4));
	op(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5);
	load(p, OFF_HIGH(4));
	op(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
	load(p, OFF_LOW(3));
	op(p, BPF_JMP | BPF_JSET | BPF_K, odd_flags, 1, 0);
	give(p, PASS);
	give(p, STOP);
	end(p, block);
}

/** families() - Verdict on socket() by its domain: what reaches no network passes */
static void families(struct program *p)
{
	load(p, OFF_LOW(0));
	when(p, AF_INET, STOP);
	when(p, AF_INET6, STOP);
	when(p, AF_UNIX, PASS);
	when(p, AF_NETLINK, PASS);
	when(p, AF_ALG, PASS);
	give(p, FAIL(EAFNOSUPPORT));
}

static void requests(struct program *p)
{
	unsigned short block = begin(p, SYS_ioctl);

	load(p, OFF_LOW(1));
	when(p, SIOCOUTQ, STOP);
	when(p, FIONREAD, STOP);
	op(p, BPF_JMP | BPF_JGE | BPF_K, SIOC_FIRST, 0, 2);
	op(p, BPF_JMP | BPF_JGT | BPF_K, SIOC_LAST, 1, 0);
	give(p, STOP);
	give(p, PASS);
	end(p, block);
}

/** foreign() - 32-bit calls: only what could make a socket is looked at */
static void foreign(struct program *p)
{
	unsigned short block;

	load(p, OFF_NR);
	when(p, FOREIGN_IO_URING, FAIL(ENOSYS));
	block = begin(p, FOREIGN_SOCKET);
	families(p);
	end(p, block);
	block = begin(p, FOREIGN_CALL);
	load(p, OFF_LOW(0));
	when(p, SOCKETCALL_SOCKET, STOP);
	give(p, PASS);
	end(p, block);
	give(p, PASS);
}

static void architectures(struct program *p)
{
	unsigned short block;

	load(p, OFF_ARCH);
	block = begin(p, FOREIGN_ARCH);
	foreign(p);
	end(p, block);
	op(p, BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
	give(p, FAIL(ENOSYS));
	load(p, OFF_NR);
#ifdef X32_BIT
	op(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	give(p, FAIL(ENOSYS));
#endif
}

static void build(struct program *p)
{
	static const int stopped[] = {
		SYS_bind,	 SYS_listen,	  SYS_connect,	  SYS_accept,	  SYS_accept4,
		SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_shutdown,
		SYS_sendmsg,	 SYS_recvmsg,	  SYS_sendmmsg,	  SYS_recvmmsg};
	unsigned short block;

	architectures(p);
	for (size_t i = 0; i < sizeof(stopped) / sizeof(stopped[0]); i++)
		when(p, (unsigned long)stopped[i], STOP);
	/* Its requests would make and connect sockets behind the filter. */
	when(p, SYS_io_uring_setup, FAIL(ENOSYS));
	block = begin(p, SYS_socket);
	families(p);
	end(p, block);
	transfer(p, SYS_sendto, ODD_SEND);
	transfer(p, SYS_recvfrom, ODD_RECEIVE);
	requests(p);
	give(p, PASS);
}

int filter_install(void)
{
	struct program p = {.len = 0};
	struct sock_fprog program;

	build(&p);
	program = (struct sock_fprog){p.len, p.code};
	return (int)raw6(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			 SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			 (long)&program, 0, 0, 0);
}

const char *filter_refusal(int error)
{
	switch (error) {
	case -ENOSYS:
	case -EINVAL:
		return "this kernel cannot stop system calls for a supervisor; Linux 5.19 or newer "
		       "with CONFIG_SECCOMP_FILTER is needed";
	case -EBUSY:
		return "a supervisor watches this process already (a container runtime, or "
		       "netcon run --seccomp inside netcon run --seccomp)";
	case -EPERM:
	case -EACCES:
		return "seccomp filters are forbidden here (a container's own profile?)";
	default:
		return "the kernel refused the seccomp filter";
	}
}
