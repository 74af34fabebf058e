/**
 * hook_iface.c - Interfaces of the view in place of the host's: getifaddrs(), if_*(), SIOCGIF*,
 * bindresvport()
 *
 * All from one IFLIST request; nothing is cached, since addresses come and go with the network
 * [5 sections 5.6 and 11].
 */
#include "zt.h"

#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "real.h"

/* Ours: an IFLIST reply that is longer is cut; about 75 addresses fit */
#define LIST_MAX 2000
/* Packets that an Ethernet interface of Linux queues */
#define QUEUE_LEN 1000
/* [5 section 7, row bindresvport] */
#define RESERVED_FIRST 600
#define RESERVED_LAST  1023

struct iface {
	uint32_t index;
	uint32_t flags;
	uint32_t mtu;
	uint8_t mac[6];
	uint8_t name_len;
	uint8_t addr_count;
	const uint8_t *name;
	const uint8_t *addrs; /* addr_count x ztaddr */
};

struct iface_list {
	uint8_t bytes[LIST_MAX];
	size_t len;
	size_t at;
	unsigned left;
};

/** list_open() - Ask the service; 0 or a negative errno */
static int list_open(struct iface_list *list)
{
	struct rpc rpc = {
		.op = OP_IFLIST, .reply = list->bytes, .reply_cap = sizeof(list->bytes), .fd = -1};
	int r = zt_env.mode == MODE_BROKEN ? RPC_UNREACHABLE : rpc_call(&rpc);

	if (r < 0)
		return errnomap_result(r, PLACE_OPTION);
	list->len = rpc.reply_len;
	list->at = 2;
	list->left = rpc.reply_len < 2 ? 0 : get16(list->bytes);
	return 0;
}

/** list_next() - The next interface; false at the end, or where the reply was cut */
static bool list_next(struct iface_list *list, struct iface *out)
{
	const uint8_t *p = list->bytes + list->at;
	size_t need;

	if (list->left == 0 || list->at + 20 > list->len)
		return false;
	out->index = get32(p);
	out->flags = get32(p + 4);
	out->mtu = get32(p + 8);
	memcpy(out->mac, p + 12, 6);
	out->name_len = p[18];
	out->addr_count = p[19];
	out->name = p + 20;
	out->addrs = out->name + out->name_len;
	need = 20 + (size_t)out->name_len + (size_t)out->addr_count * ZTADDR_LEN;
	if (out->name_len == 0 || out->name_len >= IFNAMSIZ || list->at + need > list->len)
		return false;
	list->at += need;
	list->left--;
	return true;
}

bool iface_has_family(int family)
{
	struct iface_list list;
	struct iface i;

	if (list_open(&list) < 0)
		return false;
	while (list_next(&list, &i)) {
		for (unsigned n = 0; (i.flags & IFF_LOOPBACK) == 0 && n < i.addr_count; n++) {
			if (i.addrs[n * ZTADDR_LEN] == family)
				return true;
		}
	}
	return false;
}

/* -------------------------------------------------------------- conversions */

static void mask_bytes(uint8_t *out, size_t len, unsigned prefix)
{
	for (size_t i = 0; i < len; i++) {
		unsigned bits = prefix > 8 * i ? prefix - 8 * (unsigned)i : 0;

		out[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
	}
}

static char family_of(const uint8_t *addr)
{
	return addr[ZTADDR_FAMILY] == 6 ? '6' : '4';
}

/** netmask_of() - ztaddr holding the netmask of @addr */
static void netmask_of(const uint8_t *addr, uint8_t out[ZTADDR_LEN])
{
	memset(out, 0, ZTADDR_LEN);
	out[ZTADDR_FAMILY] = addr[ZTADDR_FAMILY];
	mask_bytes(out + ZTADDR_IP, addr[ZTADDR_FAMILY] == 6 ? 16 : 4, addr[ZTADDR_PREFIX]);
}

/** broadcast_of() - ztaddr holding the broadcast address of an IPv4 @addr */
static void broadcast_of(const uint8_t *addr, uint8_t out[ZTADDR_LEN])
{
	uint8_t mask[4];

	memcpy(out, addr, ZTADDR_LEN);
	mask_bytes(mask, 4, addr[ZTADDR_PREFIX]);
	for (int i = 0; i < 4; i++)
		out[ZTADDR_IP + i] |= (uint8_t)~mask[i];
}

/* --------------------------------------------------------------- getifaddrs */

/* One node with everything it points to. */
struct node {
	struct ifaddrs entry;
	char name[IFNAMSIZ];
	struct sockaddr_storage addr, mask, broadcast;
};

static unsigned count_nodes(struct iface_list list)
{
	struct iface i;
	unsigned n = 0;

	while (list_next(&list, &i))
		n += 1U + i.addr_count;
	return n;
}

static void fill_common(struct node *n, const struct iface *i)
{
	memcpy(n->name, i->name, i->name_len);
	n->entry.ifa_name = n->name;
	n->entry.ifa_flags = i->flags;
	n->entry.ifa_addr = (struct sockaddr *)&n->addr;
}

static void fill_link(struct node *n, const struct iface *i)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)i->index,
				 .sll_hatype = ARPHRD_ETHER,
				 .sll_halen = 6};

	fill_common(n, i);
	if ((i->flags & IFF_LOOPBACK) != 0)
		ll.sll_hatype = ARPHRD_LOOPBACK;
	memcpy(ll.sll_addr, i->mac, 6);
	memcpy(&n->addr, &ll, sizeof(ll));
}

static void fill_address(struct node *n, const struct iface *i, const uint8_t *addr)
{
	uint8_t other[ZTADDR_LEN];

	fill_common(n, i);
	addr_emit(addr, family_of(addr), &n->addr);
	netmask_of(addr, other);
	addr_emit(other, family_of(addr), &n->mask);
	n->entry.ifa_netmask = (struct sockaddr *)&n->mask;
	if (addr[ZTADDR_FAMILY] != 4)
		return;
	if ((i->flags & IFF_LOOPBACK) == 0)
		broadcast_of(addr, other);
	else
		memcpy(other, addr, ZTADDR_LEN);
	addr_emit(other, '4', &n->broadcast);
	n->entry.ifa_broadaddr = (struct sockaddr *)&n->broadcast;
}

/** fill_nodes() - Link entries first, then the addresses, as the kernel's dump has it */
static void fill_nodes(struct node *nodes, struct iface_list list)
{
	struct iface_list again = list;
	struct iface i;
	unsigned n = 0;

	while (list_next(&list, &i))
		fill_link(&nodes[n++], &i);
	while (list_next(&again, &i)) {
		for (unsigned a = 0; a < i.addr_count; a++)
			fill_address(&nodes[n++], &i, i.addrs + a * ZTADDR_LEN);
	}
}

HOOK int getifaddrs(struct ifaddrs **result)
{
	struct iface_list list;
	struct node *nodes;
	unsigned count;
	int r;

	if (!zt_active())
		return real_getifaddrs(result);
	r = list_open(&list);
	if (r < 0)
		return (int)zt_ret(r);
	count = count_nodes(list);
	nodes = calloc(count == 0 ? 1 : count, sizeof(*nodes));
	if (nodes == NULL)
		return (int)zt_ret(-ENOMEM);
	fill_nodes(nodes, list);
	for (unsigned i = 0; i + 1 < count; i++)
		nodes[i].entry.ifa_next = &nodes[i + 1].entry;
	if (count == 0) {
		free(nodes);
		nodes = NULL;
	}
	*result = nodes == NULL ? NULL : &nodes->entry;
	return 0;
}

/* --------------------------------------------------------------------- if_* */

static bool find_name(struct iface_list *list, const char *name, struct iface *out)
{
	while (list_next(list, out)) {
		if (strlen(name) == out->name_len && memcmp(name, out->name, out->name_len) == 0)
			return true;
	}
	return false;
}

HOOK unsigned if_nametoindex(const char *name)
{
	struct iface_list list;
	struct iface i;

	if (!zt_active())
		return real_if_nametoindex(name);
	if (list_open(&list) == 0 && find_name(&list, name, &i))
		return i.index;
	errno = ENODEV;
	return 0;
}

HOOK char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
	struct iface_list list;
	struct iface i;

	if (!zt_active())
		return real_if_indextoname(index, name);
	if (list_open(&list) == 0) {
		while (list_next(&list, &i)) {
			if (i.index != index)
				continue;
			memset(name, 0, IFNAMSIZ);
			return memcpy(name, i.name, i.name_len);
		}
	}
	errno = ENXIO;
	return NULL;
}

HOOK struct if_nameindex *if_nameindex(void)
{
	struct iface_list list;
	struct iface i;
	struct if_nameindex *all;
	unsigned n = 0;
	int r;

	if (!zt_active())
		return real_if_nameindex();
	r = list_open(&list);
	all = r < 0 ? NULL : calloc(list.left + 1, sizeof(*all));
	if (all == NULL) {
		errno = r < 0 ? -r : ENOBUFS;
		return NULL;
	}
	while (list_next(&list, &i)) {
		char *name = strndup((const char *)i.name, i.name_len);

		if (name == NULL) {
			if_freenameindex(all);
			errno = ENOBUFS;
			return NULL;
		}
		all[n].if_index = i.index;
		all[n++].if_name = name;
	}
	return all;
}

/* ------------------------------------------------------------------ SIOCGIF* */

/** first_ipv4() - First IPv4 address of an interface, or NULL */
static const uint8_t *first_ipv4(const struct iface *i)
{
	for (unsigned n = 0; n < i->addr_count; n++) {
		if (i->addrs[n * ZTADDR_LEN] == 4)
			return i->addrs + n * ZTADDR_LEN;
	}
	return NULL;
}

static void put_ipv4(const uint8_t *addr, struct sockaddr *out)
{
	struct sockaddr_storage full;

	addr_emit(addr, '4', &full);
	memcpy(out, &full, sizeof(*out));
}

/** list_config() - SIOCGIFCONF: one ifreq per IPv4 address */
static int list_config(int fd, struct iface_list *list, struct ifconf *conf)
{
	struct iface i;
	bool has_room = conf->ifc_buf != NULL && conf->ifc_len > 0;
	size_t room = has_room ? (size_t)conf->ifc_len / sizeof(struct ifreq) : 0;
	size_t n = 0;

	while (list_next(list, &i)) {
		const uint8_t *addr = first_ipv4(&i);
		struct ifreq one = {0};

		if (addr == NULL || (conf->ifc_buf != NULL && n == room))
			continue;
		if (conf->ifc_buf != NULL) {
			memcpy(one.ifr_name, i.name, i.name_len);
			put_ipv4(addr, &one.ifr_addr);
			if (!mem_put(fd, conf->ifc_req + n, &one, sizeof(one)))
				return -EFAULT;
		}
		n++;
	}
	conf->ifc_len = (int)(n * sizeof(struct ifreq));
	return 0;
}

static bool is_of_address(unsigned long request)
{
	return request == SIOCGIFADDR || request == SIOCGIFDSTADDR || request == SIOCGIFNETMASK ||
	       request == SIOCGIFBRDADDR;
}

/** address_request() - SIOCGIFADDR and its relatives, for the first IPv4 address */
static int address_request(const struct iface *i, unsigned long request, struct ifreq *out)
{
	const uint8_t *addr = first_ipv4(i);
	uint8_t other[ZTADDR_LEN];

	if (addr == NULL)
		return -EADDRNOTAVAIL;
	if (request == SIOCGIFNETMASK)
		netmask_of(addr, other);
	else if (request == SIOCGIFBRDADDR)
		broadcast_of(addr, other);
	else
		memcpy(other, addr, ZTADDR_LEN);
	put_ipv4(other, &out->ifr_addr);
	return 0;
}

static int interface_request(const struct iface *i, unsigned long request, struct ifreq *out)
{
	switch (request) {
	case SIOCGIFFLAGS:
		out->ifr_flags = (short)i->flags;
		return 0;
	case SIOCGIFMTU:
		out->ifr_mtu = (int)i->mtu;
		return 0;
	case SIOCGIFINDEX:
		out->ifr_ifindex = (int)i->index;
		return 0;
	case SIOCGIFMETRIC:
		out->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		out->ifr_qlen = QUEUE_LEN;
		return 0;
	case SIOCGIFMAP:
		memset(&out->ifr_map, 0, sizeof(out->ifr_map));
		return 0;
	case SIOCGIFHWADDR:
		memset(&out->ifr_hwaddr, 0, sizeof(out->ifr_hwaddr));
		out->ifr_hwaddr.sa_family =
			(i->flags & IFF_LOOPBACK) != 0 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
		memcpy(out->ifr_hwaddr.sa_data, i->mac, 6);
		return 0;
	default:
		return address_request(i, request, out);
	}
}

static int name_of_index(struct iface_list *list, struct ifreq *out)
{
	struct iface i;

	while (list_next(list, &i)) {
		if ((int)i.index != out->ifr_ifindex)
			continue;
		memset(out->ifr_name, 0, IFNAMSIZ);
		memcpy(out->ifr_name, i.name, i.name_len);
		return 0;
	}
	return -ENODEV;
}

/** is_question() - Requests that are answered here */
static bool is_question(unsigned long request)
{
	switch (request) {
	case SIOCGIFCONF:
	case SIOCGIFNAME:
	case SIOCGIFFLAGS:
	case SIOCGIFMTU:
	case SIOCGIFINDEX:
	case SIOCGIFHWADDR:
	case SIOCGIFMETRIC:
	case SIOCGIFTXQLEN:
	case SIOCGIFMAP:
		return true;
	default:
		return is_of_address(request);
	}
}

/** is_setting() - Requests that would change an interface */
static bool is_setting(unsigned long request)
{
	switch (request) {
	case SIOCSIFFLAGS:
	case SIOCSIFADDR:
	case SIOCSIFDSTADDR:
	case SIOCSIFBRDADDR:
	case SIOCSIFNETMASK:
	case SIOCSIFMTU:
	case SIOCSIFHWADDR:
	case SIOCSIFNAME:
	case SIOCADDRT:
	case SIOCDELRT:
		return true;
	default:
		return false;
	}
}

/** ask_config() - SIOCGIFCONF with the structure of the program */
static int ask_config(int fd, struct iface_list *list, struct ifconf *argument)
{
	struct ifconf conf;
	int r;

	if (!mem_readable(fd, argument, sizeof(conf)))
		return -EFAULT;
	conf = *argument;
	r = list_config(fd, list, &conf);
	if (r == 0 && !mem_put(fd, argument, &conf, sizeof(conf)))
		return -EFAULT;
	return r;
}

/** ask_interface() - The other SIOCGIF* requests, about the interface that the program names */
static int ask_interface(int fd, struct iface_list *list, unsigned long request,
			 struct ifreq *argument)
{
	struct ifreq req;
	struct iface i;
	char name[IFNAMSIZ + 1] = {0};
	int r;

	if (!mem_readable(fd, argument, sizeof(req)))
		return -EFAULT;
	req = *argument;
	if (request == SIOCGIFNAME) {
		r = name_of_index(list, &req);
	} else {
		memcpy(name, req.ifr_name, IFNAMSIZ);
		r = find_name(list, name, &i) ? interface_request(&i, request, &req) : -ENODEV;
	}
	if (r == 0 && !mem_put(fd, argument, &req, sizeof(req)))
		return -EFAULT;
	return r;
}

int zt_ioctl(int fd, const struct zt_token *t, unsigned long request, void *argument)
{
	struct iface_list list;
	int r;

	if (is_setting(request))
		return -EPERM;
	if (!is_question(request))
		return -ENOTTY;
	/* Addresses of IPv4 are told to sockets of IPv4. */
	if (t->family == '6' && is_of_address(request))
		return mem_readable(fd, argument, sizeof(struct ifreq)) ? -ENOTTY : -EFAULT;
	r = list_open(&list);
	if (r < 0)
		return r;
	return request == SIOCGIFCONF ? ask_config(fd, &list, argument)
				      : ask_interface(fd, &list, request, argument);
}

/* ------------------------------------------------------------- bindresvport */

HOOK int bindresvport(int fd, struct sockaddr_in *sin);
HOOK int bindresvport(int fd, struct sockaddr_in *sin)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	struct zt_token t;
	int r = -EADDRINUSE;

	if (!zt_active() || !token_of(fd, &t))
		return real_bindresvport(fd, sin);
	if (sin == NULL)
		sin = &any;
	else if (sin->sin_family != AF_INET)
		return (int)zt_ret(-EAFNOSUPPORT);
	for (unsigned port = RESERVED_LAST; port >= RESERVED_FIRST && r == -EADDRINUSE; port--) {
		sin->sin_port = htons((uint16_t)port);
		r = zt_bind(fd, &t, (const struct sockaddr *)sin, sizeof(*sin));
	}
	return (int)zt_ret(r);
}
