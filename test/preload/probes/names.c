/**
 * names.c - Names, interfaces and the calls around them
 *
 * The same hosts file serves both runs: as /etc/hosts of the kernel's namespace and as the file
 * of the virtual network. A case of DNS brings the kernel's name server along. The file holds NAMED
 * (one address of each family, an alias) and NAMED4.
 *
 * usage: names [CASE...]
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/nameser.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <resolv.h>
#include <signal.h>

#define NAMED	 "server.probe.test"
#define ALIAS	 "alias.probe.test"
#define NAMED4	 "four.probe.test"
#define ADDRESS	 "10.147.17.77"
#define ADDRESS6 "fd00:17::77"

int bindresvport(int fd, struct sockaddr_in *sin);

static const char *eai(int e)
{
	switch (e) {
	case 0:
		return "0";
	case EAI_NONAME:
		return "EAI_NONAME";
	case EAI_AGAIN:
		return "EAI_AGAIN";
	case EAI_FAMILY:
		return "EAI_FAMILY";
	case EAI_SERVICE:
		return "EAI_SERVICE";
	case EAI_BADFLAGS:
		return "EAI_BADFLAGS";
	case EAI_ADDRFAMILY:
		return "EAI_ADDRFAMILY";
	case EAI_NODATA:
		return "EAI_NODATA";
	default:
		return "another";
	}
}

static const char *text_of(const struct sockaddr *a)
{
	static char text[INET6_ADDRSTRLEN];

	if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text,
			  sizeof(text));
	return text;
}

static void look(const char *what, const char *node, const char *service, int family, int type,
		 int flags)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = type, .ai_flags = flags};
	struct addrinfo *list = NULL;
	int e = getaddrinfo(node, service, &hints, &list);

	say("%s %s", what, eai(e));
	for (struct addrinfo *i = list; e == 0 && i != NULL; i = i->ai_next)
		say("%s family %d type %d protocol %d %s port %d name %s", what, i->ai_family,
		    i->ai_socktype, i->ai_protocol, text_of(i->ai_addr),
		    ntohs(((struct sockaddr_in *)i->ai_addr)->sin_port),
		    i->ai_canonname != NULL ? i->ai_canonname : "-");
	if (e == 0)
		freeaddrinfo(list);
}

static void n_numeric(void)
{
	look("v4", "10.1.2.3", "80", AF_UNSPEC, SOCK_STREAM, 0);
	look("v4 datagram", "10.1.2.3", "53", AF_UNSPEC, SOCK_DGRAM, AI_NUMERICHOST);
	look("v6", "fd00::5", NULL, AF_UNSPEC, SOCK_STREAM, 0);
	look("v6 as v4", "fd00::5", NULL, AF_INET, SOCK_STREAM, 0);
	look("passive", NULL, "8080", AF_INET, SOCK_STREAM, AI_PASSIVE);
	look("loopback", NULL, "8080", AF_INET, SOCK_STREAM, 0);
	look("any type", "10.1.2.3", NULL, AF_INET, 0, 0);
	look("not numeric", "named", NULL, AF_UNSPEC, SOCK_STREAM, AI_NUMERICHOST);
	look("nothing", NULL, NULL, AF_UNSPEC, SOCK_STREAM, 0);
	look("service", "10.1.2.3", "no such service", AF_UNSPEC, SOCK_STREAM, 0);
	look("flags", "10.1.2.3", NULL, AF_UNSPEC, SOCK_STREAM, 0x40000000);
}

static void n_hosts(void)
{
	look("four", NAMED, "80", AF_INET, SOCK_STREAM, 0);
	look("six", NAMED, "80", AF_INET6, SOCK_STREAM, 0);
	look("alias", ALIAS, NULL, AF_INET, SOCK_DGRAM, 0);
	look("canonical", ALIAS, NULL, AF_INET, SOCK_STREAM, AI_CANONNAME);
	look("localhost", "localhost", NULL, AF_INET, SOCK_STREAM, 0);
}

static void say_host(const char *what, const struct hostent *h)
{
	char text[INET6_ADDRSTRLEN];

	if (h == NULL) {
		say("%s nothing", what);
		return;
	}
	say("%s name %s type %d length %d", what, h->h_name, h->h_addrtype, h->h_length);
	for (char **a = h->h_addr_list; *a != NULL; a++)
		say("%s address %s", what, inet_ntop(h->h_addrtype, *a, text, sizeof(text)));
}

static void n_gethostby(void)
{
	struct hostent entry, *found = NULL;
	char buf[1024];
	struct in_addr a;
	int error = 0;

	say_host("name", gethostbyname(NAMED4));
	say_host("name2", gethostbyname2(NAMED, AF_INET6));
	say_host("numeric", gethostbyname("10.1.2.3"));
	say("name_r %d", gethostbyname_r(NAMED4, &entry, buf, sizeof(buf), &found, &error));
	say_host("name_r", found);
	say("short buffer %s", ename(gethostbyname_r(NAMED4, &entry, buf, 8, &found, &error)));
	say("name2_r %d",
	    gethostbyname2_r(NAMED, AF_INET6, &entry, buf, sizeof(buf), &found, &error));
	say_host("name2_r", found);
	inet_pton(AF_INET, ADDRESS, &a);
	say_host("addr", gethostbyaddr(&a, sizeof(a), AF_INET));
	say("addr_r %d",
	    gethostbyaddr_r(&a, sizeof(a), AF_INET, &entry, buf, sizeof(buf), &found, &error));
	say_host("addr_r", found);
}

static void n_nameinfo(void)
{
	struct sockaddr_in a = to(ADDRESS, 80);
	char host[256], service[32];
	int e = getnameinfo((void *)&a, sizeof(a), host, sizeof(host), service, sizeof(service),
			    NI_NUMERICSERV);

	say("name %s %s %s", eai(e), e == 0 ? host : "-", e == 0 ? service : "-");
	e = getnameinfo((void *)&a, sizeof(a), host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	say("numeric %s %s", eai(e), e == 0 ? host : "-");
	e = getnameinfo((void *)&a, 4, host, sizeof(host), NULL, 0, 0);
	say("short %s", eai(e));
}

/** n_interfaces() - lo, and one interface with our addresses */
static void n_interfaces(void)
{
	struct ifaddrs *list = NULL;
	struct if_nameindex *all;
	char name[IF_NAMESIZE] = "", text[IF_NAMESIZE];
	bool indexes = true;
	int count = 0;

	say("getifaddrs %s", err(getifaddrs(&list)));
	for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		const char *ip, *which = strcmp(i->ifa_name, "lo") == 0 ? "lo" : "own";
		struct sockaddr_in *mask = (void *)i->ifa_netmask;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		ip = text_of(i->ifa_addr);
		if (strcmp(ip, OWN) == 0)
			strcpy(name, i->ifa_name);
		say("%s %s mask %x up %d loopback %d", which, ip,
		    mask != NULL ? ntohl(mask->sin_addr.s_addr) : 0, (i->ifa_flags & IFF_UP) != 0,
		    (i->ifa_flags & IFF_LOOPBACK) != 0);
	}
	freeifaddrs(list);
	all = if_nameindex();
	for (struct if_nameindex *i = all; i != NULL && i->if_index != 0; i++, count++)
		indexes = indexes && if_nametoindex(i->if_name) == i->if_index &&
			  if_indextoname(i->if_index, text) != NULL;
	if_freenameindex(all);
	say("own interface found %d indexes agree %d, more than lo %d", name[0] != '\0', indexes,
	    count > 1);
	say("lo is %u", if_nametoindex("lo"));
	say("index 1 is %s", if_indextoname(1, text));
	errno = 0;
	say("unknown %u", if_nametoindex("nosuch0"));
	say("because %s", ename(errno));
	say("no index %s", if_indextoname(9999, text) == NULL ? err(-1) : text);
}

static void interface_calls(const char *what, int fd)
{
	struct ifreq room[16], *r = room, one = {0};
	struct ifconf conf = {.ifc_len = sizeof(room), .ifc_req = room};
	struct sockaddr_in *a;
	int own = 0;

	say("%s conf %s", what, err(ioctl(fd, SIOCGIFCONF, &conf)));
	for (size_t n = (size_t)conf.ifc_len / sizeof(*r); n > 0; n--, r++) {
		a = (void *)&r->ifr_addr;
		if (a->sin_addr.s_addr == inet_addr(OWN)) {
			own++;
			one = *r;
		}
	}
	say("%s own %d", what, own);
	say("%s address %s", what, err(ioctl(fd, SIOCGIFADDR, &one)));
	say("%s is %s", what, text_of(&one.ifr_addr));
	say("%s mask %s", what, err(ioctl(fd, SIOCGIFNETMASK, &one)));
	say("%s is %s", what, text_of(&one.ifr_netmask));
	say("%s flags %s", what, err(ioctl(fd, SIOCGIFFLAGS, &one)));
	say("%s up %d", what, (one.ifr_flags & IFF_UP) != 0);
	say("%s index %s", what, err(ioctl(fd, SIOCGIFINDEX, &one)));
	say("%s equal %d", what, one.ifr_ifindex == (int)if_nametoindex(one.ifr_name));
	say("%s name %s", what, err(ioctl(fd, SIOCGIFNAME, &one)));
	strcpy(one.ifr_name, "nosuch0");
	say("%s unknown %s", what, err(ioctl(fd, SIOCGIFADDR, &one)));
	say("%s no argument %s", what, err(ioctl(fd, SIOCGIFCONF, NULL)));
	say("%s odd request %s", what, err(ioctl(fd, 0x1234, &one)));
}

static void n_ioctl(void)
{
	interface_calls("tcp", socket(AF_INET, SOCK_STREAM, 0));
	interface_calls("udp", socket(AF_INET, SOCK_DGRAM, 0));
}

static void n_reserved(void)
{
	struct sockaddr_in a = to("0.0.0.0", 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);

	say("bind %s", err(bindresvport(fd, NULL)));
	say("reserved %d", port_of(fd) >= 512 && port_of(fd) < 1024);
	say("datagram %s", err(bindresvport(other, &a)));
	say("reserved %d", port_of(other) >= 512 && port_of(other) < 1024);
	a.sin_family = AF_INET6;
	say("family %s", err(bindresvport(socket(AF_INET, SOCK_STREAM, 0), &a)));
}

/* ------------------------------------------------------------------ DNS */

/** respond() - Name server of the kernel's run: A of NAMED, nothing else of it, no other name */
static void respond(void)
{
	static const uint8_t name[] = "\6server\5probe\4test";
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 147, 17, 77};
	struct sockaddr_in a = to("127.0.0.1", 53), from;
	socklen_t len = sizeof(from);
	uint8_t m[512];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	ssize_t n;

	bind(fd, (void *)&a, sizeof(a));
	while ((n = recvfrom(fd, m, 400, 0, (void *)&from, &len)) > 12) {
		size_t end = 12 + strlen((char *)m + 12) + 5;
		bool known = memcmp(m + 12, name, sizeof(name)) == 0;
		bool has = known && m[end - 3] == 1;

		m[2] = 0x85;
		m[3] = known ? 0x80 : 0x83;
		m[7] = has;
		m[8] = m[9] = m[10] = m[11] = 0;
		memcpy(m + end, record, sizeof(record));
		sendto(fd, m, end + (has ? sizeof(record) : 0), 0, (void *)&from, len);
		len = sizeof(from);
	}
}

typedef int query_call(const char *name, int class, int type, unsigned char *answer, int len);
typedef int nquery_call(res_state state, const char *name, int class, int type,
			unsigned char *answer, int len);

#if defined(__x86_64__) && !defined(PROBE_STATIC)
/* Second names, as programs of before glibc 2.34 refer to them. */
query_call old_query, old_search;
nquery_call old_nquery, old_nsearch;
__asm__(".symver old_query, __res_query@GLIBC_2.2.5");
__asm__(".symver old_search, __res_search@GLIBC_2.2.5");
__asm__(".symver old_nquery, __res_nquery@GLIBC_2.2.5");
__asm__(".symver old_nsearch, __res_nsearch@GLIBC_2.2.5");
#endif

static void say_answer(const char *what, int n, const unsigned char *m)
{
	if (n < 0)
		say("%s h_errno %d", what, h_errno);
	else
		say("%s length %d code %d answers %d last byte %d", what, n, m[3] & 15, m[7],
		    m[n - 1]);
}

static void ask(const char *what, query_call *call, const char *name, int type)
{
	unsigned char m[512] = {0};

	h_errno = 0;
	say_answer(what, call(name, C_IN, type, m, sizeof(m)), m);
}

static void ask_state(const char *what, nquery_call *call)
{
	unsigned char m[512] = {0};

	res_init();
	say_answer(what, call(&_res, NAMED, C_IN, T_A, m, sizeof(m)), m);
}

static void n_dns(void)
{
	unsigned char small[16];
	pid_t server;

	fflush(stdout);
	server = fork();
	if (server == 0)
		respond();
	nap(100);
	ask("query", res_query, NAMED, T_A);
	ask("search", res_search, NAMED ".", T_A);
	ask("no data", res_query, NAMED, T_TXT);
	ask("no name", res_query, "nobody.probe.test", T_A);
	ask("long label", res_query,
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test", T_A);
	ask_state("nquery", res_nquery);
	ask_state("nsearch", res_nsearch);
#if defined(__x86_64__) && !defined(PROBE_STATIC)
	ask("__query", old_query, NAMED, T_A);
	ask("__search", old_search, NAMED ".", T_A);
	ask_state("__nquery", old_nquery);
	ask_state("__nsearch", old_nsearch);
#endif
	say("short room %d", res_query(NAMED, C_IN, T_A, small, sizeof(small)));
	kill(server, SIGKILL);
}

static const struct probe_case cases[] = {
	{"N-numeric", n_numeric},	{"N-hosts", n_hosts},
	{"N-gethostby", n_gethostby},	{"N-nameinfo", n_nameinfo},
	{"N-interfaces", n_interfaces}, {"N-ioctl", n_ioctl},
	{"N-reserved", n_reserved},	{"N-dns", n_dns},
};

PROBE_MAIN(cases)
