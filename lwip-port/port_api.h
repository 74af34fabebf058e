/*
 * The whole surface between lwIP's port and the host: exports, and the window they share.
 *
 * Contracts that hold for every export:
 * - `now` is the host's monotonic clock in whole milliseconds; it becomes lwIP's clock before
 *   anything else happens. Time never goes backwards (an earlier `now` is taken as no progress).
 * - No export calls the host. What happened is appended to the event queue and read by
 *   port_events(); frames to send are appended to the transmit ring and read by port_frames().
 * - Results are >= 0, or PORT_ERR(place, err): a place and lwIP's err_t, mapped to errno(3) names
 *   once, in src/stack/errors.ts.
 * - Bad handles are answered with an error, never with a trap: a handle may die (peer reset)
 *   between two calls of the host.
 * - Memory never grows, so views of it stay valid for the life of the instance.
 *
 * Multi-byte fields of the window are little-endian (WebAssembly), IP addresses in network order.
 * src/stack/layout.ts is generated from this file by layout.c.
 */
#ifndef PORT_API_H
#define PORT_API_H

#include <stdint.h>

#define PORT_DATA_MAX	 65536 /* bytes of the data window; one UDP datagram or write piece */
#define PORT_EVENTS_MAX	 128   /* events handed out per port_events() */
#define PORT_FRAMES_MAX	 4096  /* frames waiting to be sent; beyond, lwIP sees ERR_BUF */
#define PORT_ADDRS_MAX	 64    /* addresses of one configuration */
#define PORT_ROUTES_MAX	 256   /* routes of one configuration */
#define PORT_FRAME_MAX	 10240 /* longest Ethernet payload accepted */
#define PORT_MTU_MIN	 1280  /* IPv6 minimum */
#define PORT_MTU_MAX	 10000
#define PORT_CONNS_MAX	 24576 /* connections, TIME_WAIT included; below 1 << PORT_INDEX_BITS */
#define PORT_LISTENS_MAX 1024
#define PORT_UDPS_MAX	 4096
#define PORT_GROUPS_MAX	 256 /* joined multicast groups of both families */
#define PORT_INDEX_BITS	 15
#define PORT_NEVER	 0xffffffffu

#define PORT_FAMILY_ANY 0 /* both families, wildcard */
#define PORT_FAMILY_4	4
#define PORT_FAMILY_6	6

/* Where an error arose; the column of the table in [5 section 10]. */
#define PORT_PLACE_BIND	     1
#define PORT_PLACE_CONNECT   2
#define PORT_PLACE_SYN_SENT  3
#define PORT_PLACE_OPEN	     4
#define PORT_PLACE_DATAGRAM  5
#define PORT_ERR(place, err) (-(((place) << 8) | -(int)(err)))

/*
 * How a datagram is sent: a word of flags with a TTL (hop limit) in bits 8 to 15 and a TOS (traffic
 * class) in bits 16 to 23. Without a flag the stack decides.
 */
#define PORT_HOW_SOURCE	   1 /* io.local.ip is the source */
#define PORT_HOW_TTL	   2
#define PORT_HOW_TOS	   4
#define PORT_HOW_LOOP	   8 /* a multicast or broadcast comes back to our own sockets too */
#define PORT_HOW_TTL_SHIFT 8
#define PORT_HOW_TOS_SHIFT 16

struct port_endpoint {
	uint8_t ip[16]; /* IPv4 in the first 4 bytes */
	uint16_t port;	/* host order */
	uint8_t family; /* PORT_FAMILY_* */
	uint8_t zero;
};

struct port_addr {
	uint8_t ip[16];
	uint8_t family;
	uint8_t prefix_len;
	uint16_t zero;
};

struct port_route {
	uint8_t target[16];
	uint8_t via[16];
	uint8_t family;
	uint8_t prefix_len;
	uint8_t has_via;
	uint8_t zero;
};

enum port_event_kind {
	PORT_EV_ACCEPT = 1, /* a = listener's handle; local, remote are set */
	PORT_EV_CONNECTED,
	PORT_EV_DATA, /* a = address, b = length; borrowed until the next port_events() */
	PORT_EV_SENT, /* a = bytes acknowledged since the last one; 0 = memory is available again */
	PORT_EV_FIN,  /* after all data */
	PORT_EV_ERROR, /* a = PORT_ERR(place, err); the handle is dead */
	/* As DATA; remote = sender, local = addressed to, c = ttl | tos << 8 | port's own << 16. */
	PORT_EV_DATAGRAM,
	PORT_EV_UNREACHABLE, /* UDP: a = ICMP type << 8 | code; remote = where it was sent to */
	PORT_EV_ECHO,	     /* as DATAGRAM; a, b = the ICMP message, handle = 0, c |= id << 16 */
};

struct port_event {
	uint32_t kind;
	uint32_t handle;
	uint32_t a;
	uint32_t b;
	uint32_t c;
	uint32_t owner; /* port's own */
	struct port_endpoint local;
	struct port_endpoint remote;
};

struct port_frame {
	uint32_t ptr;  /* Ethernet header: 6 + 6 + 2 bytes, then the payload */
	uint32_t len;  /* header included; 0 = withdrawn, skip */
	uint32_t pbuf; /* port's own */
};

struct port_tcp_info {
	uint32_t state; /* lwIP's enum tcp_state */
	uint32_t rto_ms;
	uint32_t rtt_us;    /* smoothed; 0 = not measured yet */
	uint32_t rttvar_us; /* mean deviation */
	uint32_t send_mss;
	uint32_t cwnd;
	uint32_t ssthresh;
	uint32_t unacked; /* bytes sent and not acknowledged */
	uint32_t unsent;  /* bytes written and not sent */
	uint32_t receive_window;
	uint32_t retransmits; /* in a row, of the oldest segment */
	uint32_t flags;	      /* PORT_TCP_* */
	uint32_t send_scale;
	uint32_t receive_scale;
	uint32_t acked_low; /* bytes acknowledged by the peer, 64 bits */
	uint32_t acked_high;
	uint32_t received_low; /* bytes received in order, 64 bits */
	uint32_t received_high;
};

#define PORT_TCP_TIMESTAMPS 1u
#define PORT_TCP_SACK	    2u
#define PORT_TCP_SCALED	    4u

/* What a connection is told; port_tcp_connect() and port_tcp_options() read it. */
struct port_tcp_settings {
	uint32_t no_delay; /* 0 or 1 */
	uint32_t keep;	   /* 0 or 1: keep-alive */
	uint32_t idle_ms;
	uint32_t interval_ms;
	uint32_t count;
	uint32_t ttl;
	uint32_t tos;
	uint32_t send_max;	  /* most bytes to hold for sending; 0 = no limit of its own */
	uint32_t receive_max;	  /* most bytes the receive window may grow to; 0 = as above */
	uint32_t user_timeout_ms; /* without an acknowledgement; 0 = lwIP's own */
	uint32_t syn_count;	  /* repetitions of a SYN */
};

/* name, meaning. Names ending in "Used" are levels that return to 0 when everything is closed. */
#define PORT_COUNTERS(X)                                                                           \
	X(tcpActiveUsed, "connections in any state but TIME_WAIT")                                 \
	X(tcpBoundUsed, "bound and neither listening nor connecting")                              \
	X(tcpListenUsed, "listeners")                                                              \
	X(tcpHandlesUsed, "connection records of the port")                                        \
	X(rxWindowUsed, "bytes by which receive windows have grown")                               \
	X(udpUsed, "UDP sockets")                                                                  \
	X(udpQueuedUsed, "datagrams waiting for the host")                                         \
	X(framesQueuedUsed, "frames waiting for the host")                                         \
	X(heapBlocksUsed, "heap blocks beyond those of the start-up")                              \
	X(tcpParked, "idle connections out of the lists of lwIP")                                  \
	X(tcpTimeWait, "connections in TIME_WAIT")                                                 \
	X(heapBytes, "heap bytes in use")                                                          \
	X(heapPeakBytes, "most heap bytes ever in use")                                            \
	X(heapFail, "allocations refused")                                                         \
	X(frameIn, "frames received")                                                              \
	X(frameOut, "frames sent")                                                                 \
	X(frameAckMerged, "pure acknowledgements replaced by a later one before they left")        \
	X(dropFrameShort, "frame without a whole header")                                          \
	X(dropFrameType, "EtherType that is not ARP, IPv4 or IPv6")                                \
	X(dropFrameDst, "frame for another station")                                               \
	X(dropFrameMemory, "frame refused because the heap is nearly full")                        \
	X(dropFrameSource, "IP source is loopback or our own address")                             \
	X(dropTxFull, "frame not sent because the transmit ring is full")                          \
	X(dropSynBacklog, "SYN dropped because the queue of the listener is full")                 \
	X(dropSynTable, "SYN dropped because the connection table is full")                        \
	X(dropUdpQueue, "datagram dropped because the queue of the socket is full")                \
	X(dropGroup, "multicast packet of a group that nobody joined")                             \
	X(udpRefused, "datagrams answered with port unreachable because the user wanted none")     \
	X(timeWaitReused, "TIME_WAIT ended early by a new SYN")                                    \
	X(timeWaitEvicted, "TIME_WAIT ended early to bound the list")                              \
	X(arpRecv, "ARP packets received")                                                         \
	X(arpDrop, "ARP packets dropped")                                                          \
	X(ipRecv, "IPv4 packets received")                                                         \
	X(ipDrop, "IPv4 packets dropped")                                                          \
	X(ipChecksum, "IPv4 header checksum errors")                                               \
	X(ip6Recv, "IPv6 packets received")                                                        \
	X(ip6Drop, "IPv6 packets dropped")                                                         \
	X(icmpRecv, "ICMP messages received")                                                      \
	X(icmpDrop, "ICMP messages dropped")                                                       \
	X(icmpChecksum, "ICMP checksum errors")                                                    \
	X(icmp6Recv, "ICMPv6 messages received")                                                   \
	X(icmp6Checksum, "ICMPv6 checksum errors")                                                 \
	X(tcpRecv, "TCP segments received")                                                        \
	X(tcpSent, "TCP segments sent")                                                            \
	X(tcpDrop, "TCP segments dropped")                                                         \
	X(tcpChecksum, "TCP checksum errors")                                                      \
	X(tcpMemory, "TCP allocation failures")                                                    \
	X(udpRecv, "UDP datagrams received")                                                       \
	X(udpSent, "UDP datagrams sent")                                                           \
	X(udpDrop, "UDP datagrams dropped")                                                        \
	X(udpChecksum, "UDP checksum errors")

enum port_counter {
#define X(name, text) PORT_COUNTER_##name,
	PORT_COUNTERS(X)
#undef X
		PORT_COUNTERS_MAX
};

/* The shared window. The host writes arguments before a call and reads results after it. */
struct port_io {
	uint32_t layout; /* PORT_LAYOUT: the loader refuses a file that does not fit layout.ts */
	struct port_endpoint local;
	struct port_endpoint remote;
	struct port_tcp_info info;
	struct port_tcp_settings settings;
	uint32_t counters[PORT_COUNTERS_MAX];
	struct port_addr addrs[PORT_ADDRS_MAX];
	struct port_route routes[PORT_ROUTES_MAX];
	uint32_t event_count;
	uint32_t frame_first; /* index of the first frame in the ring */
	uint32_t frame_count; /* contiguous frames from there */
	struct port_event events[PORT_EVENTS_MAX];
	struct port_frame frames[PORT_FRAMES_MAX];
	uint8_t data[PORT_DATA_MAX];
};

#define PORT_LAYOUT ((uint32_t)(sizeof(struct port_io) | PORT_COUNTERS_MAX << 24))

/* --- port_time.c ------------------------------------------------------------------------------ */

/** port_io_address() - Where struct port_io lies; constant for the life of the instance */
uint32_t port_io_address(double now);

/**
 * port_start() - Start the stack, once
 * @now:	Clock
 *
 * data[0..32) holds entropy from the host, data[32..38) the own Ethernet address.
 */
void port_start(double now);

/** port_tick() - Run all timers that are due */
void port_tick(double now);

/** port_delay() - Milliseconds from the last `now` to the next timer; 0 = due, or PORT_NEVER */
uint32_t port_delay(double now);

/* --- port_ring.c ------------------------------------------------------------------------------ */

/**
 * port_events() - Give back the last batch of events and fill in the next one
 *
 * Also sends what was written since the last call. Memory that DATA, DATAGRAM and ECHO events
 * pointed at is freed here.
 *
 * Return: io.event_count
 */
uint32_t port_events(double now);

/**
 * port_frames() - Give back the last batch of frames and describe the next one
 * @most:	Frames at most
 *
 * Return: io.frame_count, frames from io.frames[io.frame_first] on
 */
uint32_t port_frames(double now, uint32_t most);

/* --- port_netif.c ----------------------------------------------------------------------------- */

/**
 * port_configure() - Replace addresses, routes and MTU
 * @mtu:	Bytes, PORT_MTU_MIN..PORT_MTU_MAX
 * @addrs:	Number of entries in io.addrs
 * @routes:	Number of entries in io.routes
 *
 * Connections from addresses that vanished report ERR_RST.
 */
void port_configure(double now, uint32_t mtu, uint32_t addrs, uint32_t routes);

/**
 * port_frame_alloc() - Get memory for a received frame's payload
 * @len:	Length, 1..PORT_FRAME_MAX
 *
 * Return: address to copy the payload to, or 0 when the frame must be dropped (counted)
 */
uint32_t port_frame_alloc(double now, uint32_t len);

/**
 * port_frame_in() - Process the frame just copied
 * @type:	EtherType
 * @group:	1 if the destination was a group address
 */
void port_frame_in(double now, uint32_t type, uint32_t group);

/** port_source_for() - io.local.ip = source towards io.remote; 1, or 0 without a route */
int32_t port_source_for(double now);

/** port_is_local() - Whether io.remote.ip is an own or loopback address */
int32_t port_is_local(double now);

/** port_count() - Fill io.counters */
void port_count(double now);

/* --- port_tcp.c ------------------------------------------------------------------------------- */

/**
 * port_tcp_connect() - From io.local (family ANY or port 0: chosen) to io.remote, with io.settings
 *
 * Return: handle or error
 */
int32_t port_tcp_connect(double now);

/** port_tcp_listen() - At io.local; handle or error */
int32_t port_tcp_listen(double now, uint32_t backlog);

/** port_tcp_backlog() - Change the backlog of a listener */
void port_tcp_backlog(double now, uint32_t handle, uint32_t backlog);

/** port_tcp_unlisten() - Close a listener; connections not handed out yet are reset */
void port_tcp_unlisten(double now, uint32_t handle);

/** port_tcp_hold() - Count an accepted connection against its listener's backlog (1) or stop (0) */
void port_tcp_hold(double now, uint32_t handle, uint32_t held);

/** port_tcp_write() - Queue data[0..len); bytes taken */
uint32_t port_tcp_write(double now, uint32_t handle, uint32_t len, uint32_t more);

/** port_tcp_room() - Bytes port_tcp_write() would take now */
uint32_t port_tcp_room(double now, uint32_t handle);

/** port_tcp_credit() - Open the receive window by `count` bytes handed out before */
void port_tcp_credit(double now, uint32_t handle, uint32_t count);

/** port_tcp_shutdown() - FIN after all queued data */
void port_tcp_shutdown(double now, uint32_t handle);

/** port_tcp_close() - Orderly end in the background; the handle is dead */
void port_tcp_close(double now, uint32_t handle);

/** port_tcp_abort() - RST; the handle is dead */
void port_tcp_abort(double now, uint32_t handle);

/** port_tcp_options() - Apply io.settings */
void port_tcp_options(double now, uint32_t handle);

/** port_tcp_info() - Fill io.info; 1, or 0 for a dead handle */
int32_t port_tcp_info(double now, uint32_t handle);

/** port_tcp_names() - Fill io.local and io.remote; 1, or 0 for a dead handle */
int32_t port_tcp_names(double now, uint32_t handle);

/** port_tcp_listen_name() - Fill io.local; 1, or 0 for a dead handle */
int32_t port_tcp_listen_name(double now, uint32_t handle);

/* --- port_udp.c ------------------------------------------------------------------------------- */

/** port_udp_open() - At io.local; handle or error */
int32_t port_udp_open(double now, uint32_t reuse);

/** port_udp_send() - data[0..len) to io.remote; `how`: PORT_HOW_*; 0 or error */
int32_t port_udp_send(double now, uint32_t handle, uint32_t len, uint32_t how);

/**
 * port_udp_refuse() - Answer a DATAGRAM event with "port unreachable"
 * @index:	Of the event in the current batch
 *
 * Nothing is sent about a multicast or broadcast.
 */
void port_udp_refuse(double now, uint32_t index);

/** port_udp_close() - Close a socket; datagrams waiting are dropped */
void port_udp_close(double now, uint32_t handle);

/** port_udp_name() - Fill io.local; 1, or 0 for a dead handle */
int32_t port_udp_name(double now, uint32_t handle);

/* --- port_group.c ----------------------------------------------------------------------------- */

/** port_group_join() - Take in packets to the multicast group io.remote; 1, 0 if the table is full
 */
int32_t port_group_join(double now);

/** port_group_leave() - Stop taking them in */
void port_group_leave(double now);

/* --- port_icmp.c ------------------------------------------------------------------------------ */

/** port_echo_open() - Deliver echo replies with this identifier as ECHO events; 1, 0 if taken */
int32_t port_echo_open(double now, uint32_t family, uint32_t id);

/**
 * port_echo_send() - ICMP echo request data[0..len) (type 8 or 128, id set) to io.remote
 * @how:	PORT_HOW_*
 */
int32_t port_echo_send(double now, uint32_t len, uint32_t how);

/** port_echo_close() - Stop delivering replies with this identifier */
void port_echo_close(double now, uint32_t family, uint32_t id);

#endif
