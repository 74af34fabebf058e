/**
 * segment.c - Sends that UDP_SEGMENT cuts into several datagrams, and what Linux refuses of them
 *
 * The service cuts, and knows the MTU of the way, but says nothing to the sender of a record. So a
 * send that may be too much asks it first: one of more pieces than Linux allows, or of pieces that
 * need not fit into the MTU of every network. Whether a socket cuts at all stands in a table by
 * token, which forks and duplicates share: 2 KiB that may forget, or miss what another process
 * set. Then the datagrams are dropped by the service, which tells a connected socket by its next
 * call.
 *
 * One word per entry: 48 bits of the token, 16 bits of the length. No lock, no allocation.
 */
#include "zt.h"

#include <netinet/in.h>

#include "raw.h"

/* Ours: as many sockets of a process set the option at once, with luck */
#define SLOTS 256
/* [5 section 7] pieces that one send may be cut into (UDP_MAX_SEGMENTS of Linux) */
#define PIECES_MAX 128
/* Payload that fits any network: the smallest MTU of IPv6, 1,280, without IPv6 and UDP headers */
#define PIECE_SAFE 1232
#define SIZE_MASK  0xffffU

static uint64_t slots[SLOTS];

static uint64_t *slot_of(const struct zt_token *t)
{
	return &slots[t->id[0] % SLOTS];
}

static uint64_t key_of(const struct zt_token *t)
{
	return get64(t->id) & ~(uint64_t)SIZE_MASK;
}

void segment_set(const struct zt_token *t, uint16_t size)
{
	__atomic_store_n(slot_of(t), key_of(t) | size, __ATOMIC_RELAXED);
}

static unsigned size_of(const struct zt_token *t)
{
	uint64_t slot = __atomic_load_n(slot_of(t), __ATOMIC_RELAXED);

	return (slot & ~(uint64_t)SIZE_MASK) == key_of(t) ? (unsigned)(slot & SIZE_MASK) : 0;
}

/** ask() - The service knows the MTU, and what else was set */
static int ask(int fd, const struct zt_token *t, const uint8_t *head, size_t len)
{
	uint8_t request[12 + CUT_LEN] = {0};

	put32(request, IPPROTO_UDP);
	put32(request + 4, OPT_CUT);
	put32(request + 8, CUT_LEN);
	memcpy(request + 12, head + DGRAM_ADDR, ZTADDR_LEN);
	put32(request + 12 + CUT_PAYLOAD, (uint32_t)len);
	request[12 + CUT_IS_SET] = (head[DGRAM_FLAGS] & DGRAM_SET_SEGMENT) != 0;
	memcpy(request + 12 + CUT_SEGMENT, head + DGRAM_SEGMENT, 2);
	return rpc_about(fd, t, OP_SETOPT, request, sizeof(request), NULL, 0);
}

int segment_mistake(int fd, const struct zt_token *t, const uint8_t head[DGRAM_LEN], size_t len)
{
	bool is_set = (head[DGRAM_FLAGS] & DGRAM_SET_SEGMENT) != 0;
	size_t size = is_set ? get16(head + DGRAM_SEGMENT) : size_of(t);
	unsigned piece = (unsigned)(len < size ? len : size);
	bool many = len > size * PIECES_MAX;
	int r;

	/* Of a datagram of several calls the last one is cut. */
	if (size == 0 || (head[DGRAM_FLAGS] & DGRAM_MORE) != 0)
		return 0;
	if (!many && (piece <= PIECE_SAFE || reach_known(t, head + DGRAM_ADDR, piece)))
		return 0;
	if (rpc_sandboxed() || rpc_attach(fd, t) != 0)
		return 0;
	r = ask(fd, t, head, len);
	if (r == 0 && !many)
		reach_note(t, head + DGRAM_ADDR, piece);
	return r == -EMSGSIZE || r == -EINVAL ? r : 0;
}
