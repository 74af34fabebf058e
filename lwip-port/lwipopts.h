/*
 * lwIP's options for one virtual network per WebAssembly instance.
 *
 * Every option carries its reason at the end of its line. "[5 ...]" names the intercept document's
 * section that asks for it. Sizes that the host must know are exported through layout.c.
 */
#ifndef PORT_LWIPOPTS_H
#define PORT_LWIPOPTS_H

#include <stddef.h>
#include <stdint.h>

uint32_t port_rand(void);
void *port_heap_alloc(size_t size);
void *port_heap_calloc(size_t count, size_t size);
void port_heap_free(void *p);
uint16_t port_chksum(const void *data, int len);

/* --- system ------------------------------------------------------------------------------- */
#define NO_SYS		     1		 /* one entry at a time from the host; no threads */
#define SYS_LIGHTWEIGHT_PROT 0		 /* nothing to protect against */
#define LWIP_NETCONN	     0		 /* sequential API needs threads */
#define LWIP_SOCKET	     0		 /* as above; the raw API is what the port uses */
#define LWIP_TIMERS	     0		 /* port_time.c asks for the next deadline, nothing polls */
#define LWIP_RAND()	     port_rand() /* keyed from the host's entropy */
#define LWIP_HOOK_FILENAME   "port_hooks.h" /* prototypes of the hooks below */
#define LWIP_CHKSUM	     port_chksum    /* lwIP's own routine halves the throughput */

/* --- memory ------------------------------------------------------------------------------- */
#define MEM_ALIGNMENT		 8 /* widest load of the checksum and of struct copies */
#define MEM_CUSTOM_ALLOCATOR	 1 /* port_heap.c: bounded, O(1), size classes */
#define MEM_CUSTOM_MALLOC	 port_heap_alloc  /* as above */
#define MEM_CUSTOM_CALLOC	 port_heap_calloc /* as above */
#define MEM_CUSTOM_FREE		 port_heap_free	  /* as above */
#define MEMP_MEM_MALLOC		 1  /* pools of thousands would be touched (resident) at start */
#define MEMP_NUM_SYS_TIMEOUT	 0  /* LWIP_TIMERS is 0 */
#define PBUF_LINK_HLEN		 16 /* 2 bytes of ETH_PAD_SIZE and 14 of Ethernet header */
#define ETH_PAD_SIZE		 2  /* aligns the IP header at 4 bytes */
#define PBUF_POOL_SIZE		 4  /* unused: the port allocates received frames exactly */
#define LWIP_SUPPORT_CUSTOM_PBUF 1  /* IP fragments refer to their datagram */

/* --- link and IPv4 ------------------------------------------------------------------------ */
#define LWIP_IPV4		  1    /* the point of it all */
#define LWIP_ETHERNET		  1    /* virtual networks carry Ethernet frames */
#define LWIP_ARP		  1    /* IPv4 neighbours */
#define ARP_TABLE_SIZE		  1024 /* 1,000 neighbours without thrashing; default is 10 */
#define ARP_QUEUEING		  1    /* a burst to a new neighbour is kept, not its last packet */
#define ARP_QUEUE_LEN		  128  /* bounded: the oldest goes first */
#define ETHARP_TABLE_MATCH_NETIF  1    /* each IPv4 address is a netif of its own */
#define LWIP_NETIF_HWADDRHINT	  1    /* per-connection cache of the neighbour index */
#define LWIP_NETIF_TX_SINGLE_PBUF 1    /* frames leave as one contiguous view */
#define LWIP_NETIF_LOOPBACK	  1    /* connections to own addresses [5 section 13] */
#define LWIP_HAVE_LOOPIF	  1    /* 127.0.0.1 and ::1 of the virtual host [5 section 13] */
#define LWIP_SINGLE_NETIF	  0    /* loopback, and one netif per IPv4 address */
#define LWIP_NETIF_API		  0    /* needs threads */
#define IP_FORWARD		  0    /* an end host never routes for others */
#define IP_REASSEMBLY		  1    /* UDP above the MTU */
#define IP_FRAG			  1    /* as above */
#define IP_REASS_MAX_PBUFS	  256  /* 64 KiB datagrams in 1,280-byte pieces, several at once */
#define MEMP_NUM_REASSDATA	  32   /* datagrams in reassembly at once */
#define IP_REASS_MAXAGE		  15   /* seconds a fragment may wait */
#define IP_SOF_BROADCAST	  0    /* the client checks SO_BROADCAST [5 section 7] */
#define IP_SOF_BROADCAST_RECV	  0    /* as above */
#define LWIP_ICMP		  1    /* echo is answered, unreachable is sent */
#define LWIP_BROADCAST_PING	  0    /* no amplification */
#define LWIP_MULTICAST_PING	  0    /* no amplification */
#define LWIP_RAW		  1    /* ICMP echo sockets [5 section 13] */
#define LWIP_DHCP		  0    /* addresses come from the controller */
#define LWIP_AUTOIP		  0    /* as above */
#define LWIP_ACD		  0    /* as above: the controller avoids conflicts */
#define LWIP_IGMP		  0    /* groups are announced by the VL2 layer */
#define LWIP_DNS		  0    /* the host resolves */
#define LWIP_MULTICAST_TX_OPTIONS 1    /* IP_MULTICAST_TTL and _IF [5 section 13] */

/* --- IPv6 --------------------------------------------------------------------------------- */
#define LWIP_IPV6			1    /* dual-stack sockets from the start */
#define LWIP_IPV6_NUM_ADDRESSES		34   /* 32 managed addresses, link-local, one spare */
#define LWIP_IPV6_SCOPES		0    /* one link: zones would only have to be filled in */
#define LWIP_IPV6_MLD			0    /* groups are announced by the VL2 layer */
#define LWIP_IPV6_AUTOCONFIG		0    /* addresses come from the controller */
#define LWIP_IPV6_SEND_ROUTER_SOLICIT	0    /* as above */
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS	0    /* configured addresses are usable at once */
#define LWIP_IPV6_FRAG			1    /* UDP above the MTU */
#define LWIP_IPV6_REASS			1    /* as above */
#define LWIP_IPV6_DHCP6			0    /* addresses come from the controller */
#define LWIP_ND6_ALLOW_RA_UPDATES	0    /* a neighbour must not change the MTU */
#define LWIP_ND6_NUM_NEIGHBORS		127  /* the most an s8_t index allows */
#define LWIP_ND6_NUM_DESTINATIONS	127  /* nd6_tmr() counts them in an s8_t: more never ends */
#define LWIP_ND6_NUM_PREFIXES		1    /* no router advertisements are used */
#define LWIP_ND6_NUM_ROUTERS		1    /* as above */
#define LWIP_ND6_QUEUEING		1    /* as ARP_QUEUEING */
#define MEMP_NUM_ND6_QUEUE		64   /* all neighbours together */
#define LWIP_ND6_DELAY_FIRST_PROBE_TIME 5000 /* RFC 4861 */
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS	0    /* no resolver here */

/* --- UDP ---------------------------------------------------------------------------------- */
#define LWIP_UDP	     1 /* datagram sockets */
#define LWIP_UDPLITE	     0 /* refused at socket() [5 section 7] */
#define LWIP_NETBUF_RECVINFO 0 /* sequential API only */

/* --- TCP ---------------------------------------------------------------------------------- */
#define IP_DEFAULT_TTL		   64	/* as Linux; lwIP's is 255 */
#define LWIP_TCP		   1	/* the point of it all */
#define LWIP_CALLBACK_API	   1	/* callbacks append to the event queue */
#define LWIP_TCP_PCB_NUM_EXT_ARGS  1	/* "pcb freed" and "SYN arrived" callbacks of port_tcp.c */
#define TCP_MSS			   9940 /* MTU 10000 less 60; the interface's MTU decides below */
#define TCP_CALCULATE_EFF_SEND_MSS 1	/* MSS follows the configured MTU */
#define TCP_WND			   (1024 * 1024) /* 100 Mbit/s at 80 ms in flight */
#define TCP_SND_BUF		   (1024 * 1024) /* as TCP_WND */
#define TCP_SND_QUEUELEN	   0xfff0	 /* bytes and the heap limit the queue, not pbufs */
#define TCP_SNDLOWAT		   (2 * TCP_MSS + 1) /* default is out of range with this MSS */
#define TCP_SNDQUEUELOWAT	   5		     /* as above */
#define LWIP_WND_SCALE		   1		     /* windows above 64 KiB */
#define TCP_RCV_SCALE		   5		     /* 65535 << 5 covers TCP_WND */
#define LWIP_TCP_SACK_OUT	   1		     /* tells the peer what to repeat */
#define LWIP_TCP_MAX_SACK_NUM	   4		     /* what fits beside timestamps is used */
#define LWIP_TCP_TIMESTAMPS	   1		     /* round-trip times under loss for the peer */
#define TCP_QUEUE_OOSEQ		   1		     /* out-of-order segments are kept */
#define TCP_OOSEQ_MAX_BYTES	   TCP_WND	     /* a full window */
#define TCP_OOSEQ_MAX_PBUFS	   1024		     /* bounds the cost of tiny segments */
#define TCP_OVERSIZE		   TCP_MSS	     /* small writes fill up the last segment */
#define TCP_TMR_INTERVAL	   50	   /* delayed ACK 50 ms, RTO tick 100 ms; default 250/500 */
#define LWIP_TCP_RTO_TIME	   1000	   /* RFC 6298 initial RTO; default 3000 */
#define TCP_MAXRTX		   12	   /* some 4.5 minutes with back-off */
#define TCP_SYNMAXRTX		   7	   /* 127 s with the back-off of port_tcp.c, as Linux */
#define TCP_MSL			   60000UL /* for LAST_ACK alone: port_conn.c ends TIME_WAIT */
#define TCP_LISTEN_BACKLOG	   0	   /* 8 bits there; port_tcp.c counts up to 4096 */
#define SO_REUSE		   1	   /* listeners beside old connections [5 section 13] */
#define SO_REUSE_RXTOALL	   1	   /* multicast and broadcast to every socket of a port */
#define LWIP_TCP_KEEPALIVE	   1	   /* idle, interval and count per connection */
#define LWIP_HOOK_TCP_ISN	   port_hook_isn /* RFC 6528 instead of a counter */
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, optlen, opt1len, opt2, p)                             \
	port_hook_inpacket(pcb, hdr, p) /* TIME_WAIT reuse; no endless acknowledgements */

#define LWIP_HOOK_IP4_INPUT(p, inp) port_hook_ip4_input(p, inp) /* lists a parked connection */
#define LWIP_HOOK_IP6_INPUT(p, inp) port_hook_ip6_input(p)	/* as above */

/* --- routing ------------------------------------------------------------------------------ */
#define LWIP_HOOK_IP4_ROUTE_SRC(src, dest)   port_hook_ip4_route(src, dest) /* longest prefix */
#define LWIP_HOOK_ETHARP_GET_GW(netif, dest) (dest) /* port_netif.c already chose the next hop */
#define LWIP_HOOK_IP6_ROUTE(src, dest)	     port_hook_ip6_route(src, dest) /* longest prefix */
#define LWIP_HOOK_ND6_GET_GW(netif, dest)    (dest) /* port_netif.c already chose the next hop */

/* --- statistics --------------------------------------------------------------------------- */
#define LWIP_STATS	   1 /* drop counters per protocol */
#define LWIP_STATS_LARGE   1 /* 32-bit counters */
#define LWIP_STATS_DISPLAY 0 /* nowhere to print */
#define SYS_STATS	   0 /* no threads */
#define MEM_STATS	   0 /* port_heap.c counts */
#define MEMP_STATS	   0 /* as above */

#endif
