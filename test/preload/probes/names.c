/**
 * names.c - Names, interfaces and the calls around them
 *
 * The same hosts file serves both runs: as /etc/hosts of the kernel's namespace and as the file
 * of the virtual network. It holds NAMED (one address of each family, an alias) and NAMED4.
 *
 * usage: names [CASE...]
 */
#define _GNU_SOURCE
#include "names_util.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <signal.h>

int bindresvport(int fd, struct sockaddr_in *sin);

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
	look("both", NAMED, "80", AF_UNSPEC, SOCK_STREAM, 0);
	look("any type", NAMED, "80", AF_UNSPEC, 0, 0);
	look("mapped", NAMED, NULL, AF_INET6, SOCK_STREAM, AI_V4MAPPED | AI_ALL);
	look("configured", NAMED, NULL, AF_UNSPEC, SOCK_STREAM, AI_ADDRCONFIG);
	look("only four", NAMED4, NULL, AF_UNSPEC, SOCK_STREAM, 0);
	look("localhost", "four.localhost", NULL, AF_INET, SOCK_STREAM, 0);
	look("localhost of both", "localhost", NULL, AF_UNSPEC, SOCK_STREAM, 0);
	look("localhost below", "foo.localhost", NULL, AF_UNSPEC, SOCK_STREAM, 0);
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
	say("%s metric %s", what, err(ioctl(fd, SIOCGIFMETRIC, &one)));
	say("%s is %d", what, one.ifr_metric);
	say("%s queue %s", what, err(ioctl(fd, SIOCGIFTXQLEN, &one)));
	say("%s is %d", what, one.ifr_qlen);
	say("%s map %s", what, err(ioctl(fd, SIOCGIFMAP, &one)));
	say("%s is %lx", what, one.ifr_map.mem_start);
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

/** say_reachable() - Listen, and connect to that port of our own address */
static void say_reachable(const char *what, int fd)
{
	struct sockaddr_in four = to(OWN, port_of(fd));
	struct sockaddr_in6 six = to6(OWN6, port_of(fd));
	int family = int_option(fd, SOL_SOCKET, SO_DOMAIN);
	int client = socket(family, SOCK_STREAM, 0);

	say("%s listen %s", what, err(listen(fd, 1)));
	say("%s connect %s", what,
	    err(family == AF_INET ? connect(client, (void *)&four, sizeof(four))
				  : connect(client, (void *)&six, sizeof(six))));
	close(client);
}

static void reserved(const char *what, int start, sa_family_t family)
{
	int port = start, fd = rresvport_af(&port, family);

	say("%s %s", what, err(fd));
	say("%s is bound %d, near the start %d", what, fd >= 0 && port_of(fd) == port,
	    port <= start || start < 512);
	if (fd >= 0)
		say_reachable(what, fd);
}

static void n_rresvport(void)
{
	int port = 1023, fd = rresvport(&port);

	say("plain %s", err(fd));
	say("is bound %d", fd >= 0 && port_of(fd) == port);
	say_reachable("plain", fd);
	reserved("four", 1023, AF_INET);
	reserved("taken", 1023, AF_INET);
	reserved("six", 900, AF_INET6);
	reserved("low", 3, AF_INET);
	reserved("high", 70000, AF_INET);
	reserved("family", 1000, AF_UNIX);
}

/** remote_server() - What rcmd() and rexec() connect to: takes all, says that it went well */
static void remote_server(int fd)
{
	int s;

	while ((s = accept(fd, NULL, NULL)) >= 0)
		send(s, "", 1, MSG_NOSIGNAL);
}

/** n_remote() - The old remote shells, to a server of the network */
static void n_remote(void)
{
	struct sockaddr_in a = to(OWN, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	unsigned short port;
	char *host = OWN;
	pid_t server;

	bind(fd, (void *)&a, sizeof(a));
	listen(fd, 8);
	port = htons((uint16_t)port_of(fd));
	fflush(stdout);
	server = fork();
	if (server == 0)
		remote_server(fd);
	say("rcmd %s", err(rcmd(&host, port, "a", "b", "c", NULL)));
	host = OWN;
	say("rcmd_af %s", err(rcmd_af(&host, port, "a", "b", "c", NULL, AF_INET)));
	host = OWN;
	say("rexec %s", err(rexec(&host, port, "a", "b", "c", NULL)));
	host = OWN;
	say("rexec_af %s", err(rexec_af(&host, port, "a", "b", "c", NULL, AF_INET)));
	kill(server, SIGKILL);
}

static const struct probe_case cases[] = {
	{"N-numeric", n_numeric},   {"N-hosts", n_hosts},	    {"N-gethostby", n_gethostby},
	{"N-nameinfo", n_nameinfo}, {"N-interfaces", n_interfaces}, {"N-ioctl", n_ioctl},
	{"N-reserved", n_reserved}, {"N-rresvport", n_rresvport},   {"N-remote", n_remote},
};

PROBE_MAIN(cases)
