/**
 * proto.h - Wire format between the library and the service, version 1.0
 *
 * Offsets, lengths and numbers of the HELLO, WELCOME, request, reply, accept and datagram records,
 * drawn once for all C files [5 section 5]. Integers are little-endian, addresses and ports inside
 * a ztaddr are in network byte order.
 */
#ifndef ZT_PROTO_H
#define ZT_PROTO_H

#include <stdint.h>
#include <string.h>

#define PROTO_MAJOR 1
#define PROTO_MINOR 0

/* [5 section 5.2] token name in the abstract namespace */
#define TOKEN_LEN      16
#define TOKEN_PATH_LEN 45
#define TOKEN_PREFIX   "ztnc1."
#define TOKEN_ADDR_LEN ((socklen_t)(2 + TOKEN_PATH_LEN))

/* [5 section 5.3] ztaddr: family, prefix length, port, scope, address */
#define ZTADDR_LEN    24
#define ZTADDR_FAMILY 0
#define ZTADDR_PREFIX 1
#define ZTADDR_PORT   2
#define ZTADDR_SCOPE  4
#define ZTADDR_IP     8

/* [5 section 5.4] HELLO */
#define HELLO_LEN      64
#define HELLO_CONTROL  1
#define HELLO_SOCKET   2
#define HELLO_ACCEPTED 3
#define HELLO_DATAGRAM 4
#define HELLO_KEY_FLAG 1

/* [5 section 5.5] WELCOME */
#define WELCOME_LEN	     64
#define WELCOME_CAPABILITIES 6
#define CAPABILITY_DATAGRAMS 1
#define CAPABILITY_ECHO	     4

/* [5 section 5.6] requests and replies */
#define REQUEST_LEN	32
#define REPLY_LEN	16
#define REQUEST_MAX	65568
#define REQUEST_NOREPLY 1
#define REQUEST_NOPARK	2 /* the stream has ended: no HELLO of this token will follow */
#define REPLY_BIT	0x8000

enum proto_op {
	OP_PING = 1,
	OP_BIND = 2,
	OP_LISTEN = 3,
	OP_CONNECT = 4,
	OP_PADDED = 5,
	OP_WAITCONN = 6,
	OP_NAMES = 7,
	OP_TAKEERR = 8,
	OP_EOFINFO = 9,
	OP_SETOPT = 10,
	OP_GETOPT = 11,
	OP_SHUTDOWN = 12,
	OP_DISCONNECT = 13,
	OP_INHERIT = 14,
	OP_RESOLVE = 15,
	OP_REVERSE = 16,
	OP_IFLIST = 17,
	OP_SRCADDR = 18,
	OP_DNSRAW = 20,
};

/* Flags of RESOLVE; RESOLVE_ORDERED: as getaddrinfo(3) does, else in the order of the source */
#define RESOLVE_CANONICAL 1
#define RESOLVE_ORDERED	  2

/* Results of CONNECT and DISCONNECT */
#define CONNECT_STARTED 0
#define CONNECT_DONE	1
#define CONNECT_REPLACE 2

/* WAITCONN without padding of its own */
#define PADDING_UNCHANGED 0xffffffffU

/* Private options of UDP sockets: is a datagram begun, and would one to that ztaddr leave? */
#define OPT_BEGUN 0x5412
#define OPT_ROUTE 0x5413
/* Would one of that length, cut as UDP_SEGMENT says, leave? ztaddr, then these fields */
#define OPT_CUT	    0x5414
#define CUT_PAYLOAD 24 /* u32 */
#define CUT_SEGMENT 28 /* u16, if CUT_IS_SET; else the socket's own */
#define CUT_IS_SET  30 /* u8 */
#define CUT_LEN	    32

enum proto_state {
	STATE_FRESH = 0,
	STATE_BOUND = 1,
	STATE_LISTENING = 2,
	STATE_CONNECTING = 3,
	STATE_ESTABLISHED = 4,
	STATE_FAILED = 5,
	STATE_CLOSED = 6,
	STATE_RESET = 7,
};

/* [5 section 5.7] accept record: magic, zero, connection id, peer, local */
#define ACCEPT_LEN   64
#define ACCEPT_ID    8
#define ACCEPT_PEER  16
#define ACCEPT_LOCAL 40

/* [5 section 5.8] listener upstream record */
#define UPSTREAM_LEN	 16
#define UPSTREAM_REQUEUE 1
#define UPSTREAM_REJECT	 2

/* [5 section 5.9] datagram record: this header, then the payload, in one SEQPACKET record */
#define DGRAM_LEN     64
#define DGRAM_KIND    0
#define DGRAM_FLAGS   1
#define DGRAM_ERRNO   2
#define DGRAM_PAYLOAD 4
#define DGRAM_TIME    8
#define DGRAM_ADDR    16
#define DGRAM_LOCAL   40
#define DGRAM_IFACE   56
#define DGRAM_TTL     60
#define DGRAM_TOS     61
#define DGRAM_SEGMENT 62

#define DGRAM_DATA  1
#define DGRAM_ERROR 2

/* Flags to the client: what to deliver as control data. */
#define DGRAM_GIVE_PKTINFO 1
#define DGRAM_GIVE_TTL	   2
#define DGRAM_GIVE_TOS	   4
#define DGRAM_GIVE_TIME	   8
/* Flags to the service: which fields the program set. */
#define DGRAM_SET_SOURCE  1
#define DGRAM_SET_TTL	  2
#define DGRAM_SET_TOS	  4
#define DGRAM_MORE	  8  /* parts of the same datagram follow */
#define DGRAM_SET_SEGMENT 16 /* cut into datagrams of that length */

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v & 0xffff);
	put16(p + 2, v >> 16);
}

static inline unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] | ((unsigned)p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) | ((uint32_t)get16(p + 2) << 16);
}

static inline uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) | ((uint64_t)get32(p + 4) << 32);
}

static inline int32_t get32s(const uint8_t *p)
{
	uint32_t v = get32(p);
	int32_t s;

	memcpy(&s, &v, sizeof(s));
	return s;
}

#endif
