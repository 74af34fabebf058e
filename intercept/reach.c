/**
 * reach.c - Destinations that a route was found for a moment ago
 *
 * A datagram is a record: the service says nothing to a sender without a peer. So that a send to
 * where no route leads fails at once, as in Linux, the first send of a socket to an address asks
 * (hook_dgram.c); this table lets the next ones, for up to two seconds, and answers to whoever has
 * just written, go without. What is not here is asked about, so a lost entry costs one request.
 *
 * One word per entry: 40 bits of a hash over socket and address, 24 bits of the time in seconds.
 * Words are read and written whole; no lock, no allocation.
 */
#include "zt.h"

#include <time.h>

#include "raw.h"

/* Ours: 8 KiB; a server's answers to as many clients within a second or two need no request */
#define REACH_SLOTS 1024
/* Ours: a route that goes away is noticed after so many seconds, and one second at most more */
#define REACH_SECONDS 1
#define TIME_MASK     0xffffffU

/* FNV-1a, 64 bits */
#define FNV_START 0xcbf29ce484222325U
#define FNV_PRIME 0x100000001b3U

static uint64_t slots[REACH_SLOTS];
/* Counts what may have changed the way of later datagrams. */
static uint32_t generation;

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * FNV_PRIME;
	return hash;
}

static uint64_t hash_of(const struct zt_token *t, const uint8_t *to, unsigned piece)
{
	uint32_t g = __atomic_load_n(&generation, __ATOMIC_RELAXED);
	uint64_t hash = mix(FNV_START, t->id, TOKEN_LEN);

	hash = mix(hash, &g, sizeof(g));
	hash = mix(hash, &piece, sizeof(piece));
	hash = mix(hash, to + ZTADDR_FAMILY, 1);
	return mix(hash, to + ZTADDR_IP, ZTADDR_LEN - ZTADDR_IP);
}

static uint32_t now(void)
{
	struct timespec t = {0, 0};

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)t.tv_sec & TIME_MASK;
}

bool reach_known(const struct zt_token *t, const uint8_t to[ZTADDR_LEN], unsigned piece)
{
	uint64_t hash = hash_of(t, to, piece);
	uint64_t slot = __atomic_load_n(&slots[hash % REACH_SLOTS], __ATOMIC_RELAXED);
	uint32_t age = (now() - (uint32_t)slot) & TIME_MASK;

	return slot != 0 && ((slot ^ hash) & ~(uint64_t)TIME_MASK) == 0 && age <= REACH_SECONDS;
}

void reach_note(const struct zt_token *t, const uint8_t to[ZTADDR_LEN], unsigned piece)
{
	uint64_t hash = hash_of(t, to, piece);
	uint64_t slot = (hash & ~(uint64_t)TIME_MASK) | now();

	__atomic_store_n(&slots[hash % REACH_SLOTS], slot, __ATOMIC_RELAXED);
}

void reach_forget(void)
{
	__atomic_fetch_add(&generation, 1, __ATOMIC_RELAXED);
}
