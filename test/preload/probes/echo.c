/**
 * echo.c - Datagram sockets that send ICMP echo requests, both families
 *
 * usage: echo [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#define BODY 24

struct packet {
	uint8_t type, code;
	uint16_t sum, id, sequence;
	char body[BODY];
};

static struct packet request(int type, int sequence)
{
	struct packet p = {.type = (uint8_t)type, .sequence = htons((uint16_t)sequence)};

	strcpy(p.body, "echo body");
	return p;
}

static int echo_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);

	if (fd < 0) {
		say("socket %s", err(fd));
		exit(1);
	}
	return fd;
}

/** reply() - One answer: its fields, who sent it, and whether its identifier is ours */
static void reply(int fd)
{
	struct packet p = {0};
	struct sockaddr_in6 from = {0};
	socklen_t len = sizeof(from);
	ssize_t n;

	arrives(fd);
	n = recvfrom(fd, &p, sizeof(p), MSG_DONTWAIT, (void *)&from, &len);
	if (n < 0) {
		say("reply %s", errno == EAGAIN ? "nothing" : err(n));
		return;
	}
	say("reply %zd type %d code %d sequence %d body %.*s", n, p.type, p.code, ntohs(p.sequence),
	    BODY, p.body);
	say("id ours %d from %s port %d len %u", ntohs(p.id) == port_of(fd), ip_of(&from),
	    from.sin6_port, len);
}

static void e_four(void)
{
	struct packet p = request(ICMP_ECHO, 7);
	struct sockaddr_in a = to(OWN, 0), name;
	socklen_t len = sizeof(name);
	int fd = echo_socket(AF_INET);

	say("fresh %s", bits(mask_now(fd)));
	say("type %d protocol %d", int_option(fd, SOL_SOCKET, SO_TYPE),
	    int_option(fd, SOL_SOCKET, SO_PROTOCOL));
	say("send %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	reply(fd);
	getsockname(fd, (void *)&name, &len);
	say("name %s id %d", ip_of(&name), name.sin_port != 0);
	say("pending %d", pending(fd));
	p = request(ICMP_ECHO, 8);
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	say("loopback %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	reply(fd);
}

static void e_six(void)
{
	struct packet p = request(ICMP6_ECHO_REQUEST, 9);
	struct sockaddr_in6 a = to6(OWN6, 0);
	int fd = echo_socket(AF_INET6);

	say("fresh %s", bits(mask_now(fd)));
	say("send %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	reply(fd);
	a = to6("::1", 0);
	say("loopback %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	reply(fd);
	a = to6("::ffff:" OWN, 0);
	say("mapped %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
}

static void e_errors(void)
{
	struct packet p = request(ICMP_ECHO, 1);
	struct sockaddr_in a = to(OWN, 0), f = to(FOREIGN, 0);
	struct sockaddr_in6 six = to6(OWN6, 0);
	int fd = echo_socket(AF_INET);

	say("unconnected %s", num(send(fd, &p, sizeof(p), 0)));
	say("short %s", num(sendto(fd, &p, 7, 0, (void *)&a, sizeof(a))));
	p.type = ICMP_ECHOREPLY;
	say("other type %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	p = request(ICMP_ECHO, 1);
	p.code = 1;
	say("code %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	p.code = 0;
	say("family %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&six, sizeof(six))));
	say("short address %s", num(sendto(fd, &p, sizeof(p), 0, (void *)&a, 8)));
	say("foreign %s", err(connect(fd, (void *)&f, sizeof(f))));
	say("listen %s", err(listen(fd, 1)));
	say("wrong protocol %s", err(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6)));
}

static void e_connected(void)
{
	struct packet p = request(ICMP_ECHO, 3);
	struct sockaddr_in a = to(OWN, 0), name = to(OWN, 4242);
	socklen_t len = sizeof(a);
	int fd = echo_socket(AF_INET), other = echo_socket(AF_INET);

	say("bind %s", err(bind(fd, (void *)&name, sizeof(name))));
	say("id kept %d", port_of(fd) == 4242);
	say("connect %s", err(connect(fd, (void *)&a, sizeof(a))));
	say("peer %s", err(getpeername(fd, (void *)&a, &len)));
	say("is %s", ip_of(&a));
	say("write %s", num(write(fd, &p, sizeof(p))));
	reply(fd);
	a = to(OWN, 0);
	say("other sends %s", num(sendto(other, &p, sizeof(p), 0, (void *)&a, sizeof(a))));
	reply(other);
	say("not to the first %s", not_got(fd));
}

static void e_control(void)
{
	struct packet p = request(ICMP_ECHO, 3);
	char control[128];
	struct iovec iov = {&p, sizeof(p)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct sockaddr_in a = to(OWN, 0);
	int fd = echo_socket(AF_INET);

	say("recvttl %s", err(set_option(fd, IPPROTO_IP, IP_RECVTTL, 1)));
	sendto(fd, &p, sizeof(p), 0, (void *)&a, sizeof(a));
	arrives(fd);
	say("recvmsg %s", num(recvmsg(fd, &m, MSG_DONTWAIT)));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
		say("control level %d type %d", c->cmsg_level, c->cmsg_type);
}

static const struct probe_case cases[] = {
	{"E-four", e_four},	      {"E-six", e_six},		{"E-errors", e_errors},
	{"E-connected", e_connected}, {"E-control", e_control},
};

PROBE_MAIN(cases)
