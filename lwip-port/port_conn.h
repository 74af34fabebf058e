/*
 * Connection records and listeners, as port_conn.c, port_tcp.c and port_listen.c share them.
 */
#ifndef PORT_CONN_H
#define PORT_CONN_H

#include "port.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

/* The phases of a record; see port_conn.c. */
enum phase { PH_FREE, PH_HALF_OPEN, PH_QUEUED, PH_CONNECTING, PH_OPEN, PH_CLOSING };

/* Where a record's pcb is. */
enum place {
	PL_NONE,   /* no pcb, or not in a list yet */
	PL_LISTED, /* in one of lwIP's lists */
	PL_PARKED, /* idle: in no list, found by the hash */
	PL_WAITING /* TIME_WAIT: in the port's own list, found by the hash */
};

#define F_CONNECTED 0x0001
#define F_FIN	    0x0002
#define F_ERROR	    0x0004
#define F_WAKE	    0x0008
#define F_DIRTY	    0x0010 /* linked in the output list */
#define F_STARVED   0x0020
#define F_HELD	    0x0040  /* counted in its listener's backlog by the host */
#define F_SHUT	    0x0080  /* FIN as soon as the handshake is complete */
#define F_KEEP	    F_DIRTY /* survives the record's reuse, as the link does */

struct listener {
	struct tcp_pcb *pcb;
	u32_t handle;
	u16_t backlog;
	u16_t waiting; /* connections in PH_HALF_OPEN, PH_QUEUED or held */
	u8_t used;
};

/* What the program asked for and what is measured; zero in a new record. */
struct tuning {
	u64_t acked;	    /* bytes, all in all */
	u64_t received;	    /* the same */
	u32_t send_max;	    /* bytes; 0 = no limit of its own */
	u32_t receive_max;  /* as above */
	u32_t user_timeout; /* ms; 0 = lwIP's */
	u32_t progress;	 /* clock of the last acknowledgement, or of the first byte after quiet */
	u32_t rtt_seq;	 /* end of the segment whose acknowledgement is timed */
	u32_t rtt_start; /* microseconds */
	u32_t rtt_us;
	u32_t rttvar_us;
	u8_t rtt_timed; /* rtt_seq and rtt_start are set */
	u8_t syn_count; /* repetitions of a SYN; 0 = lwIP's */
};

struct conn {
	struct source src; /* first: cast both ways */
	u32_t handle;
	struct tcp_pcb *pcb; /* NULL once lwIP freed it */
	struct listener *listener;
	struct pbuf *rx_first; /* own list through ->next, each with tot_len == len */
	struct pbuf *rx_last;
	struct conn *dirty_next;
	u32_t rx_bytes;
	u32_t owed;	 /* handed out and not credited */
	u32_t rx_grown;	 /* by how much the receive window exceeds the first one */
	u32_t rx_shrunk; /* by how much it is below */
	u32_t sent;	 /* acknowledged and not reported */
	u32_t since;	 /* clock of the last progress; of entering TIME_WAIT */
	u32_t parkable;	 /* clock before which the pcb stays listed */
	u32_t ack_slot;
	struct tuning tuning;
	s32_t error;
	u16_t local_port; /* counted in the table of ports */
	u16_t bucket;
	u16_t hash_next; /* index, 0 = end */
	u16_t wait_next;
	u16_t wait_prev;
	u16_t flags;
	u8_t phase;
	u8_t place;
};

/* --- port_conn.c --- */
extern struct conn conns[PORT_CONNS_MAX];

struct conn *conn_new(void);
void conn_free(struct conn *c);
/* The host's record of a handle, or NULL. */
struct conn *conn_of(u32_t handle);
/* The same with its pcb in lwIP's list: for everything that may start a timer. */
struct conn *conn_live(u32_t handle);
/* Records from 1 to below this were used at some time. */
u32_t conn_end(void);
u32_t conn_next_handle(u32_t old, u32_t index);
void conn_attach(struct conn *c, struct tcp_pcb *pcb);
/* Make the pcb, whose four-tuple is complete, findable. */
void conn_register(struct conn *c);
struct conn *conn_find(const ip_addr_t *local, u32_t port, const ip_addr_t *remote, u32_t rport);
void conn_starve(struct conn *c);
/* RST if there is a peer that knows us; frees the record. */
void conn_give_up(struct conn *c);
void conn_count_port(u32_t port, int by);
/* An ephemeral port no connection uses from `start` on, or 0. */
u32_t conn_unused_port(u32_t start);

/* --- port_listen.c --- */
err_t port_on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb);
int port_listens_on(u32_t port);
void port_listen_leave(struct conn *c);

/* --- port_tcp.c --- */
#define PORT_FIRST 49152u /* [5 section 6.4] */
#define PORT_RANGE 16384u

void port_tcp_callbacks(struct tcp_pcb *pcb);
err_t port_tcp_on_connected(void *arg, struct tcp_pcb *pcb, err_t err);
void port_tcp_apply(struct conn *c);

/* --- port_connect.c --- */
/* An ephemeral port for an end of its own, or with @remote for that connection; 0: none. */
u32_t port_tcp_choose(const ip_addr_t *local, const ip_addr_t *remote, u32_t rport);

/* --- port_window.c --- */
void port_tcp_first_window(struct tcp_pcb *pcb);
void port_tcp_first_receive_window(struct conn *c);
/* Slow start that counts acknowledged bytes. */
void port_tcp_grow_window(struct tcp_pcb *pcb, u32_t acked);
/* Bytes by which the receive window opens when the program has read `count`. */
u32_t port_tcp_receive_window(struct conn *c, u32_t count);
/* Whether the peer must hear at once how far the receive window has opened. */
int port_tcp_must_update(const struct conn *c);
/* The record's share of receive windows is free again. */
void port_tcp_return_window(struct conn *c);

/* --- port_measure.c --- */
/* Round trip: a segment was sent; a segment arrived; bytes were acknowledged. */
void port_measure_sent(struct conn *c);
void port_measure_input(struct conn *c);
void port_measure_acked(struct conn *c);

#endif
