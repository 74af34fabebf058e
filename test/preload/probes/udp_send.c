/**
 * udp_send.c - Datagrams made of several calls or cut into several, and sends that go nowhere
 *
 * usage: udp_send [CASE...]
 */
#define _GNU_SOURCE
#include "udp.h"

#include <stdint.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define UDP_CORK 1

static ssize_t more_to(int fd, const char *text, const char *ip, int port)
{
	struct sockaddr_in a = to(ip, port);

	return sendto(fd, text, strlen(text), MSG_MORE, (void *)&a, sizeof(a));
}

/** s_more() - MSG_MORE: the first call says where to, the last one sends */
static void s_more(void)
{
	int s = bound(AF_INET), other = bound(AF_INET), c = udp(AF_INET);
	char big[40000] = {0};
	struct iovec iov = {"d", 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	say("nowhere %s", num(send(c, "x", 1, MSG_MORE)));
	say("first %s", num(more_to(c, "a", OWN, port_of(s))));
	say("held %s", not_got(s));
	say("second, elsewhere %s", num(more_to(c, "b", OWN, port_of(other))));
	say("third, without address %s", num(send(c, "c", 1, MSG_MORE)));
	say("last %s", num(sendmsg(c, &m, 0)));
	say("one datagram %s", got(s));
	say("elsewhere %s", not_got(other));
	say("then without address %s", num(send(c, "x", 1, 0)));
	say("connect %s", err(dial(c, port_of(s))));
	say("empty first %s", num(send(c, "", 0, MSG_MORE)));
	say("then %s", num(send(c, "e", 1, 0)));
	say("hears %s", got(s));
	say("empty last %s", num(send(c, "f", 1, MSG_MORE)));
	say("then %s", num(send(c, "", 0, 0)));
	say("hears %s", got(s));
	memset(big, 'x', sizeof(big) - 1);
	connect(c, &(struct sockaddr){AF_UNSPEC, {0}}, sizeof(struct sockaddr));
	say("much %s", num(more_to(c, big, OWN, port_of(s))));
	say("too much %s", num(more_to(c, big, OWN, port_of(s))));
	say("the next %s", num(send_to(c, "g", port_of(s))));
	say("hears %s", got(s));
}

/** s_cork() - UDP_CORK: what is sent waits until it is cleared */
static void s_cork(void)
{
	int s = bound(AF_INET), c = bound(AF_INET), six = udp(AF_INET6), tcp, s6 = bound(AF_INET6);
	char b[8];

	tcp = socket(AF_INET, SOCK_STREAM, 0);
	say("preset %d", int_option(c, IPPROTO_UDP, UDP_CORK));
	say("set %s", err(set_option(c, IPPROTO_UDP, UDP_CORK, 7)));
	say("is %d", int_option(c, IPPROTO_UDP, UDP_CORK));
	say("one %s", num(send_to(c, "one", port_of(s))));
	say("two %s", num(send_to(c, "two", port_of(s))));
	say("held %s", not_got(s));
	say("clear %s", err(set_option(c, IPPROTO_UDP, UDP_CORK, 0)));
	say("hears %s", got(s));
	say("nothing more %s", not_got(s));
	say("clear again %s", err(set_option(c, IPPROTO_UDP, UDP_CORK, 0)));
	say("no empty datagram %s", not_got(s));
	say("short %s", err(setsockopt(c, IPPROTO_UDP, UDP_CORK, b, 3)));
	say("set %s", err(set_option(six, IPPROTO_UDP, UDP_CORK, 1)));
	say("connect %s", err(dial6(six, port_of(s6))));
	say("write %s", num(write(six, "w", 1)));
	say("writev %s", num(writev(six, &(struct iovec){"v", 1}, 1)));
	say("clear %s", err(set_option(six, IPPROTO_UDP, UDP_CORK, 0)));
	say("hears %s", got(s6));
	set_option(six, IPPROTO_UDP, UDP_CORK, 1);
	send(six, "lost", 4, 0);
	close(six);
	say("closed before %s", not_got(s6));
	say("of TCP %s", err(set_option(tcp, IPPROTO_UDP, UDP_CORK, 1)));
	say("of TCP, get %d", int_option(tcp, IPPROTO_UDP, UDP_CORK));
	say("unknown %s", err(set_option(c, IPPROTO_UDP, 99, 1)));
	say("unknown, get %d", int_option(c, IPPROTO_UDP, 99));
}

static ssize_t send_cut(int fd, const char *text, uint16_t size, int port)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(size))];
	} control = {0};
	struct sockaddr_in a = to(OWN, port);
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr m = {.msg_name = &a,
			   .msg_namelen = sizeof(a),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	return sendmsg(fd, &m, 0);
}

/** s_segment() - UDP_SEGMENT: one call, several datagrams of one size */
static void s_segment(void)
{
	int s = bound(AF_INET), c = bound(AF_INET), s6 = bound(AF_INET6), c6 = bound(AF_INET6);

	say("preset %d", int_option(c, IPPROTO_UDP, UDP_SEGMENT));
	say("negative %s", err(set_option(c, IPPROTO_UDP, UDP_SEGMENT, -1)));
	say("large %s", err(set_option(c, IPPROTO_UDP, UDP_SEGMENT, 65536)));
	say("set %s", err(set_option(c, IPPROTO_UDP, UDP_SEGMENT, 3)));
	say("is %d", int_option(c, IPPROTO_UDP, UDP_SEGMENT));
	say("send %s", num(send_to(c, "abcdefgh", port_of(s))));
	say("hears %s", got(s));
	say("hears %s", got(s));
	say("hears %s", got(s));
	say("short %s", num(send_to(c, "ij", port_of(s))));
	say("hears %s", got(s));
	say("off %s", err(set_option(c, IPPROTO_UDP, UDP_SEGMENT, 0)));
	say("send %s", num(send_to(c, "abcdefgh", port_of(s))));
	say("whole %s", got(s));
	say("by message %s", num(send_cut(c, "klmno", 2, port_of(s))));
	say("hears %s", got(s));
	say("hears %s", got(s));
	say("hears %s", got(s));
	say("by message, 0 %s", num(send_cut(c, "pqr", 0, port_of(s))));
	say("whole %s", got(s));
	set_option(c6, IPPROTO_UDP, UDP_SEGMENT, 2);
	say("six %s", num(send_to6(c6, "stu", port_of(s6))));
	say("hears %s", got(s6));
	say("hears %s", got(s6));
}

/** cut() - A send of @len bytes that UDP_SEGMENT cuts into pieces of @size */
static const char *cut(int fd, const char *ip, int port, size_t len, int size)
{
	static const char bytes[65507];
	struct sockaddr_in a = to(ip, port);

	set_option(fd, IPPROTO_UDP, UDP_SEGMENT, size);
	return num(sendto(fd, bytes, len, 0, (void *)&a, sizeof(a)));
}

static const char *cut6(int fd, size_t len, int size)
{
	static const char bytes[9000];
	struct sockaddr_in6 a = to6("fd00:17::99", 9);

	set_option(fd, IPPROTO_UDP, UDP_SEGMENT, size);
	return num(sendto(fd, bytes, len, 0, (void *)&a, sizeof(a)));
}

/** s_cut() - What UDP_SEGMENT does not take: too many pieces, or pieces longer than the MTU */
static void s_cut(void)
{
	int s = bound(AF_INET), c = bound(AF_INET), six = bound(AF_INET6), dup_of_c;
	struct sockaddr_in silent = to(SILENT, 9);
	char b[200] = {0};
	int n = 0;

	say("128 pieces %s", cut(c, OWN, port_of(s), 128, 1));
	while (n < 128 && arrives(s) && recv(s, b, sizeof(b), MSG_DONTWAIT) == 1)
		n++;
	say("arrive %d", n);
	say("129 pieces %s", cut(c, OWN, port_of(s), 129, 1));
	say("none %s", not_got(s));
	say("long pieces to ourselves %s", cut(c, OWN, port_of(s), 40000, 20000));
	say("piece above the MTU %s", cut(c, SILENT, 9, 9000, 5000));
	say("again %s", cut(c, SILENT, 9, 9000, 5000));
	say("a short datagram %s", cut(c, SILENT, 9, 500, 5000));
	say("one long piece %s", cut(c, SILENT, 9, 5000, 5000));
	say("pieces of 1400 %s", cut(c, SILENT, 9, 9000, 1400));
	say("again %s", cut(c, SILENT, 9, 9000, 1400));
	say("whole %s", cut(c, SILENT, 9, 9000, 0));
	say("over IPv6, above the MTU %s", cut6(six, 9000, 5000));
	say("over IPv6, 129 %s", cut6(six, 129, 1));
	say("over IPv6 %s", cut6(six, 9000, 1400));
	set_option(c, IPPROTO_UDP, UDP_SEGMENT, 1);
	dup_of_c = dup(c);
	say("by a duplicate %s", num(sendto(dup_of_c, b, 129, 0, (void *)&silent, sizeof(silent))));
	say("connect %s", err(connect(c, (void *)&silent, sizeof(silent))));
	say("sendmsg without address, 128 %s",
	    num(sendmsg(c, &(struct msghdr){.msg_iov = &(struct iovec){b, 128}, .msg_iovlen = 1},
			0)));
	say("sendmsg without address, 129 %s",
	    num(sendmsg(c, &(struct msghdr){.msg_iov = &(struct iovec){b, 129}, .msg_iovlen = 1},
			0)));
	set_option(c, IPPROTO_UDP, UDP_CORK, 1);
	say("corked %s", num(sendto(c, b, 129, 0, (void *)&silent, sizeof(silent))));
	say("uncorked %s", err(set_option(c, IPPROTO_UDP, UDP_CORK, 0)));
}

/** s_joined() - UDP_GRO: a receiver that takes joined datagrams gets single ones too */
static void s_joined(void)
{
	int s = bound(AF_INET), c = bound(AF_INET), tcp = socket(AF_INET, SOCK_STREAM, 0);
	int six = udp(AF_INET6);
	char b[4] = {0};

	say("preset %d", int_option(s, IPPROTO_UDP, UDP_GRO));
	say("set %s", err(set_option(s, IPPROTO_UDP, UDP_GRO, 1)));
	say("is %d", int_option(s, IPPROTO_UDP, UDP_GRO));
	say("send %s", num(send_to(c, "one", port_of(s))));
	say("hears %s", got(s));
	say("other value %s", err(set_option(s, IPPROTO_UDP, UDP_GRO, -7)));
	say("is %d", int_option(s, IPPROTO_UDP, UDP_GRO));
	say("off %s", err(set_option(s, IPPROTO_UDP, UDP_GRO, 0)));
	say("is %d", int_option(s, IPPROTO_UDP, UDP_GRO));
	say("short %s", err(setsockopt(s, IPPROTO_UDP, UDP_GRO, b, 3)));
	say("six %s", err(set_option(six, IPPROTO_UDP, UDP_GRO, 1)));
	say("of TCP %s", err(set_option(tcp, IPPROTO_UDP, UDP_GRO, 1)));
}

/** s_nowhere() - An unconnected socket, too, hears at once that no route leads there */
static void s_nowhere(void)
{
	int c = udp(AF_INET), six = udp(AF_INET6), lo = udp(AF_INET);
	struct sockaddr_in foreign = to(FOREIGN, 9), silent = to(SILENT, 9);
	struct sockaddr_in loopback = to("127.0.0.1", 0);
	struct sockaddr_in6 foreign6 = to6(FOREIGN6, 9), mapped = to6("::ffff:" FOREIGN, 9);

	for (int i = 0; i < 2; i++) {
		say("foreign %s", num(sendto(c, "x", 1, 0, (void *)&foreign, sizeof(foreign))));
		say("foreign6 %s",
		    num(sendto(six, "x", 1, 0, (void *)&foreign6, sizeof(foreign6))));
		say("mapped %s", num(sendto(six, "x", 1, 0, (void *)&mapped, sizeof(mapped))));
		say("silent %s", num(sendto(c, "x", 1, 0, (void *)&silent, sizeof(silent))));
	}
	say("port all the same %d", port_of(c) > 0);
	say("bind %s", err(bind(lo, (void *)&loopback, sizeof(loopback))));
	say("from loopback %s", num(sendto(lo, "x", 1, 0, (void *)&silent, sizeof(silent))));
}

static const struct probe_case cases[] = {
	{"S-more", s_more}, {"S-cork", s_cork},	    {"S-segment", s_segment},
	{"S-cut", s_cut},   {"S-joined", s_joined}, {"S-nowhere", s_nowhere},
};

PROBE_MAIN(cases)
