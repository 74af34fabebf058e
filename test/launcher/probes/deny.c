/**
 * deny.c - Runs a program in which one system call fails: deny NUMBER ERRNO COMMAND...
 *
 * Stands for old kernels and for containers whose profile forbids a call. NUMBER may be
 * `seccomp-flags`: seccomp() with the flag for killable waits then fails, as before Linux 5.19.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILLABLE (1 << 5)

int main(int argc, char **argv)
{
	int by_flag = argc > 1 && strcmp(argv[1], "seccomp-flags") == 0;
	unsigned nr = argc > 1 && !by_flag ? (unsigned)atoi(argv[1]) : SYS_seccomp;
	unsigned error = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, by_flag ? KILLABLE : ~0U, 0, by_flag ? 1 : 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	if (argc < 4)
		return 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		perror("deny");
		return 2;
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 2;
}
