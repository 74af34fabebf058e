/**
 * httpstub.c - A small HTTP server in C, with nothing about virtual networks in it
 *
 *	cc -o httpstub examples/httpstub.c && ./httpstub [port]
 *
 * Answers every request with the address it came from, one connection at a time. Run it under the
 * preload library, or link the library into it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_listener(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(fd, 128) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/** read_request() - Read up to the empty line; 0 when the client sent one */
static int read_request(int fd)
{
	char buf[8192];
	size_t len = 0;

	while (len < sizeof(buf) - 1) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);

		if (n <= 0)
			return -1;
		len += (size_t)n;
		buf[len] = '\0';
		if (strstr(buf, "\r\n\r\n") != NULL)
			return 0;
	}
	return -1;
}

static void write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void answer(int fd, const struct sockaddr_in *from)
{
	char ip[INET_ADDRSTRLEN];
	char body[128];
	char reply[512];
	int body_len, len;

	inet_ntop(AF_INET, &from->sin_addr, ip, sizeof(ip));
	body_len = snprintf(body, sizeof(body), "hello %s\n", ip);
	len = snprintf(reply, sizeof(reply),
		       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
		       "Connection: close\r\n\r\n%s",
		       body_len, body);
	write_all(fd, reply, (size_t)len);
}

int main(int argc, char **argv)
{
	int port = argc > 1 ? atoi(argv[1]) : 8080;
	int listener;

	if (port < 1 || port > 65535) {
		fprintf(stderr, "usage: httpstub [port]\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	listener = open_listener((uint16_t)port);
	if (listener < 0) {
		perror("httpstub");
		return 1;
	}
	printf("httpstub: listening on port %d\n", port);
	fflush(stdout);
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		int fd = accept(listener, (struct sockaddr *)&from, &len);

		if (fd < 0)
			continue;
		if (read_request(fd) == 0)
			answer(fd, &from);
		close(fd);
	}
}
