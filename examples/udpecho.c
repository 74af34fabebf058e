/**
 * udpecho.c - A UDP echo server in C, with nothing about virtual networks in it
 *
 *	cc -o udpecho examples/udpecho.c && ./udpecho [port]
 *
 * Sends every datagram back to where it came from. Run it under the preload library, or link the
 * library into it:
 *
 *	cc -static -o udpecho examples/udpecho.c -Ldist/native -l:libztintercept-static.a \
 *		@dist/native/ztintercept-static.flags
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0)
		return fd;
	perror("udpecho");
	exit(1);
}

int main(int argc, char **argv)
{
	int fd = open_socket((uint16_t)(argc > 1 ? atoi(argv[1]) : 7007));
	struct sockaddr_in6 from;
	static char buf[65536];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0) {
			perror("udpecho: recvfrom");
			return 1;
		}
		if (sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len) < 0)
			perror("udpecho: sendto");
	}
}
