/*
 * victim.c - A program that uses sockets in every way at random, to be killed anywhere
 *
 * usage: victim OWN_IP PEER_IP PORT SEED
 *
 * Does some hundred operations, drawn from SEED, on a few TCP and UDP sockets: bind, listen,
 * connect (blocking or not) to an echo server at PEER_IP:PORT or to itself, send, receive, accept,
 * options, dup, fork, close. Results do not matter, only that nothing is left behind when it is
 * gone.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS	   8
#define OPERATIONS 300

static uint64_t state;
static int fds[SOCKETS];
static struct sockaddr_in self, peer;

static uint32_t draw(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static void replace(int i, int fd)
{
	if (fds[i] >= 0)
		close(fds[i]);
	fds[i] = fd;
}

static void start_child(int fd)
{
	char byte = 'c';
	pid_t pid = fork();

	if (pid == 0) {
		(void)!write(fd, &byte, 1);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void operate(int i)
{
	static char buffer[20000];
	struct pollfd p = {.fd = fds[i], .events = POLLIN | POLLOUT};
	struct linger abort_it = {1, 0};
	socklen_t len = sizeof(self);
	int fd = fds[i], one = 1;

	switch (draw(16)) {
	case 0:
	case 1:
		replace(i, socket(AF_INET, SOCK_STREAM | (draw(2) ? SOCK_NONBLOCK : 0), 0));
		break;
	case 2:
		replace(i, socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
		break;
	case 3:
		self.sin_port = htons((uint16_t)(draw(2) ? 0 : 20000 + draw(1000)));
		bind(fd, (struct sockaddr *)&self, sizeof(self));
		break;
	case 4:
		listen(fd, (int)draw(20));
		break;
	case 5:
	case 6:
	case 7:
		connect(fd, (struct sockaddr *)&peer, sizeof(peer));
		break;
	case 8:
		if (getsockname(fds[draw(SOCKETS)], (struct sockaddr *)&self, &len) == 0)
			connect(fd, (struct sockaddr *)&self, sizeof(self));
		break;
	case 9:
		fcntl(fd, F_SETFL, O_NONBLOCK);
		replace((int)draw(SOCKETS), accept(fd, NULL, NULL));
		break;
	case 10:
	case 11:
		send(fd, buffer, draw(sizeof(buffer)), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 12:
		poll(&p, 1, 2);
		recv(fd, buffer, draw(sizeof(buffer)), MSG_DONTWAIT);
		break;
	case 13:
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (draw(4) == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
		break;
	case 14:
		if (draw(4) == 0)
			start_child(fd);
		else
			replace((int)draw(SOCKETS), dup(fd));
		break;
	default:
		if (draw(2) == 0)
			shutdown(fd, (int)draw(3));
		else
			replace(i, -1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	self.sin_family = peer.sin_family = AF_INET;
	if (inet_pton(AF_INET, argv[1], &self.sin_addr) != 1 ||
	    inet_pton(AF_INET, argv[2], &peer.sin_addr) != 1)
		return 2;
	peer.sin_port = htons((uint16_t)atoi(argv[3]));
	state = strtoull(argv[4], NULL, 10) * 2 + 1;
	/* A blocking call that nobody answers must not hold the run up. */
	alarm(5);
	for (int i = 0; i < SOCKETS; i++)
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	for (int i = 0; i < OPERATIONS; i++)
		operate((int)draw(SOCKETS));
	return 0;
}
