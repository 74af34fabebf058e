/*
 * What the port's files share among themselves; the host never sees any of it.
 *
 * Queueing model: a *source* (connection, socket) that has something to tell is linked into one
 * FIFO; port_events() takes sources off it and turns their flags and buffers into event records.
 * So a queue can never overflow: each source is linked at most once, and what it holds is bounded
 * by its receive window or queue limit.
 */
#ifndef PORT_H
#define PORT_H

#include "port_api.h"

#include "lwip/opt.h"
#include "lwip/err.h"
#include "lwip/ip_addr.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"

#define PORT_EXPORT(name) __attribute__((export_name(#name), visibility("default"))) name

extern struct port_io io;
extern u32_t port_stats[PORT_COUNTERS_MAX];

#define PORT_COUNT(name) (port_stats[PORT_COUNTER_##name]++)

/* --- port_time.c --- */
void port_enter(double now);
u32_t port_now(void);
/* The same in microseconds, for differences below an hour. */
u32_t port_now_us(void);
/* lwIP's clock of ticks, right even while its timer is stopped. */
u32_t port_tcp_ticks(void);

/* --- port_rand.c --- */
void port_rand_seed(const u8_t *entropy32);

/* --- port_heap.c --- */
void port_heap_init(void);
u32_t port_heap_bytes(void);
u32_t port_heap_peak(void);
/* Blocks in use beyond those of port_heap_mark(), which the end of the start-up calls. */
u32_t port_heap_blocks(void);
void port_heap_mark(void);
/* Whether data from the host (tx) or the network (rx) may still be taken in. */
int port_heap_tx_ok(void);
int port_heap_rx_ok(void);
/* Bytes that one connection may have waiting to be sent; bytes that all may still add. */
u32_t port_heap_tx_share(void);
u32_t port_heap_tx_left(void);

/* --- port_ring.c --- */
struct source {
	struct source *next;
	u8_t queued;
	u8_t kind; /* SOURCE_* */
};

#define SOURCE_TCP  1
#define SOURCE_UDP  2
#define SOURCE_ECHO 3

void port_ring_push(struct source *s);
/* The next free record, or NULL when the batch is full. Zeroed but for its endpoints. */
struct port_event *port_ring_record(u32_t kind, u32_t handle);
/* Free `p` when the current batch is given back. */
void port_ring_keep(struct port_event *ev, struct pbuf *p);
/* Room for `len` bytes that lives as long as the current batch, or NULL. */
u8_t *port_ring_stage(u32_t len);
err_t port_ring_frame(struct netif *netif, struct pbuf *p);
int port_ring_pending(void);
u32_t port_ring_frames(void);

/* Each fills in records until done (1) or the batch is full (0); TCP's is in port_tcp_events.c. */
int port_tcp_fill(struct source *s);
int port_udp_fill(struct source *s);
int port_echo_fill(struct source *s);

/* --- port_netif.c --- */
extern struct netif port_main_netif;
void port_netif_init(const u8_t *mac);
void port_netif_second(void);
int port_addr_is_local(const ip_addr_t *ip);
/* Whether there is a way to `dest`; sets the source address to use if `src` is not NULL. */
int port_route(const ip_addr_t *dest, ip_addr_t *src);
/* Whether a solicitation of `neighbour`, a next hop, is to carry this address of ours as source. */
int port_speaks_for(const ip6_addr_t *ours, const ip6_addr_t *neighbour);
/* Whether the next hop towards `dest` has answered (or needs none). */
int port_neighbour_known(const ip_addr_t *src, const ip_addr_t *dest);
void port_to_endpoint(struct port_endpoint *ep, const ip_addr_t *ip, u16_t port);
/* 0, or -1 for an unknown family. PORT_FAMILY_ANY gives the any-type wildcard. */
int port_from_endpoint(const struct port_endpoint *ep, ip_addr_t *ip);

/* From 4 or 16 bytes in network order; any family but 6 is taken for 4. */
void port_make_ip(ip_addr_t *ip, u32_t family, const u8_t *bytes);
/* The interface that has this address of ours, or NULL. */
struct netif *port_netif_of_ip4(const ip4_addr_t *ip);

/* --- port_tcp.c --- */
void port_tcp_init(void);
void port_tcp_flush(void);
int port_tcp_unflushed(void);
void port_tcp_wake(void);
/* After input and timers: takes pcbs in TIME_WAIT out of lwIP's list. */
void port_tcp_settle(void);
void port_tcp_second(void);
/* Before anything that walks all of lwIP's connections. */
void port_tcp_list_all(void);
void port_tcp_netif_change(int begin);
void port_tcp_count(u32_t *counters);
/* Replays a SYN that ended a TIME_WAIT: set by the hook, cleared by the caller. */
extern u8_t port_syn_replay;
/* Where the ring remembers a connection's last pure ACK; `hints` must be those of a TCP pcb. */
u32_t *port_tcp_ack_slot(const struct netif_hint *hints);

/* --- port_window.c --- */
/* By how many bytes all receive windows exceed the first ones. */
u32_t port_tcp_windows(void);

/* --- port_udp.c --- */
u32_t port_udp_count(void);
u32_t port_udp_queued(void);
void port_udp_unreachable(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
			  u16_t remote_port, u16_t code);

/* --- port_group.c --- */
/* Whether a multicast packet is for us. */
int port_group_joined(const ip_addr_t *group);

/* --- port_icmp.c --- */
void port_icmp_init(void);

#endif
