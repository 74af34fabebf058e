/**
 * leaks.c - Every function of libc that makes a socket inside libc, called once
 *
 * Each asks for a name of its own (`<function>.leak.test`, an address of 10.9.9.0/24 in the order
 * below, or a connection to 127.0.0.1:PORT), so that whoever listens at the host's name server and
 * port knows which one got out. The functions that only programs of before glibc 2.32 reach
 * (libc's SunRPC) are not here: docs/intercept.md.
 *
 * usage: leaks PORT
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#define NAME(function) function ".leak.test"

static unsigned char answer[512];

static void names(void)
{
	struct hostent entry, *found;
	struct addrinfo *list;
	struct gaicb one = {.ar_name = NAME("getaddrinfo_a")}, *all[] = {&one};
	char buf[1024];
	int error;

	say("getaddrinfo %d", getaddrinfo(NAME("getaddrinfo"), "80", NULL, &list) == EAI_NONAME);
	say("getaddrinfo_a %d", getaddrinfo_a(GAI_WAIT, all, 1, NULL));
	say("gai_error %d", gai_error(&one) == EAI_NONAME);
	say("gethostbyname %d", gethostbyname(NAME("gethostbyname")) == NULL);
	say("gethostbyname2 %d", gethostbyname2(NAME("gethostbyname2"), AF_INET6) == NULL);
	gethostbyname_r(NAME("gethostbyname_r"), &entry, buf, sizeof(buf), &found, &error);
	say("gethostbyname_r %d", found == NULL);
	gethostbyname2_r(NAME("gethostbyname2_r"), AF_INET, &entry, buf, sizeof(buf), &found,
			 &error);
	say("gethostbyname2_r %d", found == NULL);
}

static void addresses(void)
{
	struct hostent entry, *found;
	struct sockaddr_in a = to("10.9.9.1", 80);
	char buf[1024];
	int error;

	say("getnameinfo %d", getnameinfo((void *)&a, sizeof(a), buf, sizeof(buf), NULL, 0,
					  NI_NAMEREQD) == EAI_NONAME);
	a = to("10.9.9.2", 80);
	say("gethostbyaddr %d", gethostbyaddr(&a.sin_addr, 4, AF_INET) == NULL);
	a = to("10.9.9.3", 80);
	gethostbyaddr_r(&a.sin_addr, 4, AF_INET, &entry, buf, sizeof(buf), &found, &error);
	say("gethostbyaddr_r %d", found == NULL);
}

static int message(const char *name, unsigned char query[512])
{
	return res_mkquery(QUERY, name, C_IN, T_A, NULL, 0, NULL, query, 512);
}

static void resolver(void)
{
	unsigned char q[512];
	int n;

	res_init();
	say("res_query %d", res_query(NAME("res_query"), C_IN, T_A, answer, 512));
	say("res_search %d", res_search(NAME("res_search"), C_IN, T_A, answer, 512));
	say("res_nquery %d", res_nquery(&_res, NAME("res_nquery"), C_IN, T_A, answer, 512));
	say("res_nsearch %d", res_nsearch(&_res, NAME("res_nsearch"), C_IN, T_A, answer, 512));
	say("res_querydomain %d",
	    res_querydomain("res_querydomain", "leak.test", C_IN, T_A, answer, 512));
	say("res_nquerydomain %d",
	    res_nquerydomain(&_res, "res_nquerydomain", "leak.test", C_IN, T_A, answer, 512));
	n = message(NAME("res_send"), q);
	say("res_send %d", res_send(q, n, answer, 512) >= 12);
	say("code %d", answer[3] & 15);
	n = message(NAME("res_nsend"), q);
	say("res_nsend %d", res_nsend(&_res, q, n, answer, 512) >= 12);
	say("code %d", answer[3] & 15);
}

/** others() - Look-ups of hosts and networks that are part of something else */
static void others(void)
{
	struct netent entry, *found;
	char buf[1024];
	int error;

	say("getnetbyname %d", getnetbyname(NAME("getnetbyname")) == NULL);
	getnetbyname_r(NAME("getnetbyname_r"), &entry, buf, sizeof(buf), &found, &error);
	say("getnetbyname_r %d", found == NULL);
	say("getnetbyaddr %d", getnetbyaddr(0x0a090904, AF_INET) == NULL);
	say("ruserok %d", ruserok(NAME("ruserok"), 0, "nobody", "nobody"));
	say("gethostid %d", gethostid() == 0);
}

static void remote(int port)
{
	char *host = "127.0.0.1";

	say("rcmd %s", err(rcmd(&host, htons((uint16_t)port), "a", "b", "c", NULL)));
	host = "127.0.0.1";
	say("rcmd_af %s", err(rcmd_af(&host, htons((uint16_t)port), "a", "b", "c", NULL, AF_INET)));
	host = "127.0.0.1";
	say("rexec %s", err(rexec(&host, htons((uint16_t)port), "a", "b", "c", NULL)));
	host = "127.0.0.1";
	say("rexec_af %s",
	    err(rexec_af(&host, htons((uint16_t)port), "a", "b", "c", NULL, AF_INET)));
}

int main(int argc, char **argv)
{
	probe_current = "leaks";
	names();
	addresses();
	resolver();
	others();
	remote(argc > 1 ? atoi(argv[1]) : 9);
	fflush(stdout);
	return 0;
}
