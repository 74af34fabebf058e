/*
 * What the host hears of connections: a record with news is turned into events, in the order
 * accept, connected, data, room, end, error. A full batch leaves the rest for the next one.
 */
#include "port_conn.h"

#include <string.h>

static int fill_accept(struct conn *c)
{
	struct port_event *ev = port_ring_record(PORT_EV_ACCEPT, c->handle);

	if (ev == NULL)
		return 0;
	ev->a = c->listener->handle;
	port_to_endpoint(&ev->local, &c->pcb->local_ip, c->pcb->local_port);
	port_to_endpoint(&ev->remote, &c->pcb->remote_ip, c->pcb->remote_port);
	c->listener->waiting--;
	c->phase = PH_OPEN;
	port_tcp_first_window(c->pcb);
	return 1;
}

static struct pbuf *rx_pop(struct conn *c)
{
	struct pbuf *p = c->rx_first;

	c->rx_first = p->next;
	if (c->rx_first == NULL)
		c->rx_last = NULL;
	p->next = NULL;
	c->rx_bytes -= p->len;
	c->owed += p->len;
	return p;
}

/* Copies what waits, up to a window's worth, into one piece. NULL: no room, go one by one. */
static u8_t *gather(struct conn *c, u32_t *len)
{
	u32_t want = LWIP_MIN(c->rx_bytes, PORT_DATA_MAX);
	u8_t *to;

	if (c->rx_first->next == NULL)
		return NULL;
	to = port_ring_stage(want);
	if (to == NULL)
		return NULL;
	*len = 0;
	while (c->rx_first != NULL && *len + c->rx_first->len <= want) {
		struct pbuf *p = rx_pop(c);

		memcpy(to + *len, p->payload, p->len);
		*len += p->len;
		pbuf_free(p);
	}
	return to;
}

static int fill_data(struct conn *c)
{
	while (c->rx_first != NULL) {
		struct port_event *ev = port_ring_record(PORT_EV_DATA, c->handle);
		u8_t *piece;
		u32_t len;

		if (ev == NULL)
			return 0;
		piece = gather(c, &len);
		if (piece != NULL) {
			ev->a = (u32_t)(uintptr_t)piece;
			ev->b = len;
		} else {
			struct pbuf *p = rx_pop(c);

			ev->a = (u32_t)(uintptr_t)p->payload;
			ev->b = p->len;
			port_ring_keep(ev, p);
		}
	}
	return 1;
}

static int fill_flag(struct conn *c, u16_t flag, u32_t kind)
{
	if ((c->flags & flag) == 0)
		return 1;
	if (port_ring_record(kind, c->handle) == NULL)
		return 0;
	c->flags &= (u16_t)~flag;
	return 1;
}

static int fill_sent(struct conn *c)
{
	struct port_event *ev;

	if (c->sent == 0 && (c->flags & F_WAKE) == 0)
		return 1;
	ev = port_ring_record(PORT_EV_SENT, c->handle);
	if (ev == NULL)
		return 0;
	ev->a = c->sent;
	c->sent = 0;
	c->flags &= (u16_t)~F_WAKE;
	return 1;
}

static int fill_error(struct conn *c)
{
	struct port_event *ev;

	if ((c->flags & F_ERROR) == 0)
		return 1;
	ev = port_ring_record(PORT_EV_ERROR, c->handle);
	if (ev == NULL)
		return 0;
	ev->a = (u32_t)c->error;
	c->phase = PH_CLOSING;
	conn_free(c);
	return 1;
}

int port_tcp_fill(struct source *s)
{
	struct conn *c = (struct conn *)s;

	if (c->phase == PH_QUEUED && !fill_accept(c))
		return 0;
	if (c->phase != PH_CONNECTING && c->phase != PH_OPEN)
		return 1;
	return fill_flag(c, F_CONNECTED, PORT_EV_CONNECTED) && fill_data(c) && fill_sent(c) &&
	       fill_flag(c, F_FIN, PORT_EV_FIN) && fill_error(c);
}
