/*
 * Opening TCP connections: which ends they get, and the handshake's start. Its end, refused or
 * done, is an event that port_tcp.c makes.
 */
#include "port_conn.h"

u32_t port_tcp_choose(const ip_addr_t *local, const ip_addr_t *remote, u32_t rport)
{
	u32_t start = port_rand() % PORT_RANGE;
	u32_t port = conn_unused_port(start);

	/* lwIP knows no simultaneous open, and so no connection to itself. */
	if (remote != NULL && port == rport && ip_addr_eq(local, remote))
		port = conn_unused_port((port - PORT_FIRST + 1) % PORT_RANGE);
	/* All in use: one that is free towards this destination will do. */
	for (u32_t i = 0; port == 0 && remote != NULL && i < PORT_RANGE; i++) {
		u32_t p = PORT_FIRST + (start + i) % PORT_RANGE;

		if (!port_listens_on(p) && conn_find(local, p, remote, rport) == NULL)
			port = p;
	}
	return port;
}

/* 0.0.0.0 and :: as a destination mean this host, as on Linux. */
static void any_to_loopback(ip_addr_t *ip)
{
	if (!ip_addr_isany(ip))
		return;
	if (IP_IS_V6(ip))
		ip_addr_set_loopback(1, ip);
	else
		ip_addr_set_loopback(0, ip);
}

/* Checks both ends and fills in what the host left open. 0 or PORT_ERR. */
static int settle_ends(ip_addr_t *local, u16_t *lport, ip_addr_t *remote, u16_t rport)
{
	ip_addr_t src;
	u32_t port;

	any_to_loopback(remote);
	if (ip_addr_ismulticast(remote) ||
	    (IP_IS_V4(remote) && ip_2_ip4(remote)->addr == IPADDR_BROADCAST))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_RTE);
	if (!ip_addr_isany(local) && IP_IS_V6(local) != IP_IS_V6(remote))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_VAL);
	if (!ip_addr_isany(local) && !port_addr_is_local(local))
		return PORT_ERR(PORT_PLACE_BIND, ERR_RTE);
	if (!port_route(remote, &src))
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_RTE);
	if (ip_addr_isany(local))
		ip_addr_copy(*local, src);
	if (*lport == rport && ip_addr_eq(local, remote))
		return PORT_ERR(PORT_PLACE_SYN_SENT, ERR_RST);
	if (*lport != 0)
		return conn_find(local, *lport, remote, rport) != NULL
			       ? PORT_ERR(PORT_PLACE_BIND, ERR_USE)
			       : 0;
	port = port_tcp_choose(local, remote, rport);
	*lport = (u16_t)port;
	return port != 0 ? 0 : PORT_ERR(PORT_PLACE_CONNECT, ERR_BUF);
}

static int start_connect(const ip_addr_t *local, u16_t lport, const ip_addr_t *remote, u16_t rport)
{
	struct conn *c = conn_new();
	struct tcp_pcb *pcb;
	err_t err;

	if (c == NULL)
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_MEM);
	pcb = tcp_new_ip_type(IP_GET_TYPE(remote));
	if (pcb == NULL) {
		conn_free(c);
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_MEM);
	}
	conn_attach(c, pcb);
	port_tcp_callbacks(pcb);
	port_tcp_apply(c);
	/* Bound here and not by tcp_bind(), which walks every list to find a conflict. */
	ip_addr_copy(pcb->local_ip, *local);
	pcb->local_port = lport;
	c->phase = PH_CONNECTING;
	err = tcp_connect(pcb, remote, rport, port_tcp_on_connected);
	if (err != ERR_OK) {
		c->phase = PH_CLOSING;
		pcb->local_port = 0;
		tcp_err(pcb, NULL);
		tcp_abort(pcb);
		return PORT_ERR(PORT_PLACE_CONNECT, err);
	}
	conn_register(c);
	c->local_port = lport;
	conn_count_port(lport, 1);
	return (int)c->handle;
}

int32_t PORT_EXPORT(port_tcp_connect)(double now)
{
	ip_addr_t local;
	ip_addr_t remote;
	u16_t lport = io.local.port;
	int err;

	port_enter(now);
	if (io.remote.family == PORT_FAMILY_ANY || port_from_endpoint(&io.remote, &remote) != 0 ||
	    port_from_endpoint(&io.local, &local) != 0)
		return PORT_ERR(PORT_PLACE_CONNECT, ERR_VAL);
	err = settle_ends(&local, &lport, &remote, io.remote.port);
	if (err != 0)
		return err;
	return start_connect(&local, lport, &remote, io.remote.port);
}
