/*
 * TCP listeners: binding, the backlog, and connections until they are handed to the host.
 *
 * The backlog is the port's own: connections that are half open, wait to be handed out, or are held
 * by the host count; above the limit a SYN is dropped, not reset, so the peer tries again
 * [5 section 6.2]. lwIP's counter has 8 bits and is compiled out.
 */
#include "port_conn.h"

#define BACKLOG_MAX 4096u /* [5 section 6.2] */
#define LISTEN_BIT  (1u << 30)

static struct listener listeners[PORT_LISTENS_MAX];

static struct listener *listener_of(u32_t handle)
{
	u32_t i = handle & ((1u << PORT_INDEX_BITS) - 1);

	if (i >= PORT_LISTENS_MAX || !listeners[i].used || listeners[i].handle != handle)
		return NULL;
	return &listeners[i];
}

void port_listen_leave(struct conn *c)
{
	int counted = c->phase == PH_HALF_OPEN || c->phase == PH_QUEUED || (c->flags & F_HELD) != 0;

	if (c->listener != NULL && counted)
		c->listener->waiting--;
	c->flags &= (u16_t)~F_HELD;
}

int port_listens_on(u32_t port)
{
	for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next)
		if (l->local_port == port)
			return 1;
	return 0;
}

/* --- callbacks of lwIP --------------------------------------------------------------------------
 */

err_t port_on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
	struct listener *l = lpcb->callback_arg;
	struct conn *c;

	LWIP_UNUSED_ARG(id);
	tcp_arg(pcb, NULL);
	if (l == NULL || l->waiting >= l->backlog) {
		PORT_COUNT(dropSynBacklog);
		return ERR_MEM;
	}
	c = conn_new();
	if (c == NULL) {
		PORT_COUNT(dropSynTable);
		return ERR_MEM;
	}
	c->phase = PH_HALF_OPEN;
	c->listener = l;
	l->waiting++;
	conn_attach(c, pcb);
	conn_register(c);
	return ERR_OK;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = arg;

	if (err != ERR_OK || pcb == NULL)
		return ERR_VAL;
	LWIP_ASSERT("on_accept: half open", c->phase == PH_HALF_OPEN);
	c->phase = PH_QUEUED;
	c->since = port_now();
	c->local_port = pcb->local_port;
	conn_count_port(c->local_port, 1);
	port_tcp_callbacks(pcb);
	port_tcp_first_receive_window(c);
	port_ring_push(&c->src);
	return ERR_OK;
}

/* --- listening ----------------------------------------------------------------------------------
 */

static int overlaps(const ip_addr_t *a, const ip_addr_t *b)
{
	if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
		return 1;
	if (IP_IS_V6(a) != IP_IS_V6(b))
		return 0;
	return ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_eq(a, b);
}

static int listen_conflict(const ip_addr_t *ip, u32_t port)
{
	for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next)
		if (l->local_port == port && overlaps(&l->local_ip, ip))
			return 1;
	return 0;
}

static struct listener *listener_new(void)
{
	for (u32_t i = 0; i < PORT_LISTENS_MAX; i++) {
		struct listener *l = &listeners[i];

		if (l->used)
			continue;
		l->used = 1;
		l->waiting = 0;
		l->handle = (conn_next_handle(l->handle, i) & (LISTEN_BIT - 1)) | LISTEN_BIT;
		return l;
	}
	return NULL;
}

static u16_t clamp_backlog(u32_t backlog)
{
	return (u16_t)LWIP_MIN(LWIP_MAX(backlog, 1), BACKLOG_MAX);
}

static err_t start_listen(struct listener *l, const ip_addr_t *ip, u16_t port)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(ip));
	struct tcp_pcb *lpcb;
	err_t err;

	if (pcb == NULL)
		return ERR_MEM;
	/* Old connections of the port do not hinder, as with SO_REUSEADDR; listen_conflict() does.
	 */
	ip_addr_copy(pcb->local_ip, *ip);
	pcb->local_port = port;
	TCP_REG(&tcp_bound_pcbs, pcb);
	conn_attach(NULL, pcb); /* for its "SYN arrived" callback */
	tcp_arg(pcb, l);
	lpcb = tcp_listen_with_backlog_and_err(pcb, 1, &err);
	if (lpcb == NULL) {
		tcp_abort(pcb);
		return err;
	}
	tcp_accept(lpcb, on_accept);
	l->pcb = lpcb;
	return ERR_OK;
}

int32_t PORT_EXPORT(port_tcp_listen)(double now, uint32_t backlog)
{
	struct listener *l;
	ip_addr_t ip;
	u32_t port = io.local.port;
	err_t err;

	port_enter(now);
	if (port_from_endpoint(&io.local, &ip) != 0)
		return PORT_ERR(PORT_PLACE_BIND, ERR_VAL);
	if (!ip_addr_isany(&ip) && !port_addr_is_local(&ip))
		return PORT_ERR(PORT_PLACE_BIND, ERR_RTE);
	if (port == 0)
		port = port_tcp_choose(&ip, NULL, 0);
	if (port == 0)
		return PORT_ERR(PORT_PLACE_BIND, ERR_BUF);
	if (listen_conflict(&ip, port))
		return PORT_ERR(PORT_PLACE_BIND, ERR_USE);
	l = listener_new();
	if (l == NULL)
		return PORT_ERR(PORT_PLACE_BIND, ERR_MEM);
	l->backlog = clamp_backlog(backlog);
	err = start_listen(l, &ip, (u16_t)port);
	if (err != ERR_OK) {
		l->used = 0;
		return PORT_ERR(PORT_PLACE_BIND, err);
	}
	return (int)l->handle;
}

void PORT_EXPORT(port_tcp_backlog)(double now, uint32_t handle, uint32_t backlog)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l != NULL)
		l->backlog = clamp_backlog(backlog);
}

void PORT_EXPORT(port_tcp_unlisten)(double now, uint32_t handle)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l == NULL)
		return;
	for (u32_t i = 1; i < conn_end(); i++) {
		struct conn *c = &conns[i];

		if (c->phase == PH_FREE || c->listener != l)
			continue;
		port_listen_leave(c);
		c->listener = NULL;
		if (c->phase == PH_HALF_OPEN || c->phase == PH_QUEUED)
			conn_give_up(c);
	}
	tcp_close(l->pcb);
	l->pcb = NULL;
	l->used = 0;
}

void PORT_EXPORT(port_tcp_hold)(double now, uint32_t handle, uint32_t held)
{
	struct conn *c;

	port_enter(now);
	c = conn_of(handle);
	if (c == NULL || c->listener == NULL || ((c->flags & F_HELD) != 0) == (held != 0))
		return;
	c->flags ^= F_HELD;
	c->listener->waiting = (u16_t)(c->listener->waiting + (held ? 1 : -1));
}

int32_t PORT_EXPORT(port_tcp_listen_name)(double now, uint32_t handle)
{
	struct listener *l = listener_of(handle);

	port_enter(now);
	if (l == NULL)
		return 0;
	port_to_endpoint(&io.local, &l->pcb->local_ip, l->pcb->local_port);
	return 1;
}
