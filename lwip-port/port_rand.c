/*
 * Unpredictable numbers: SipHash-2-4 under keys that the host draws from its entropy at start.
 *
 * Owns the keys. Two uses with a key each: LWIP_RAND (ports, identifiers) as SipHash of a counter,
 * and TCP initial sequence numbers as RFC 6528: a clock of 4 us plus a keyed hash of the
 * four-tuple, so that numbers of one tuple grow and those of different tuples say nothing about
 * each other.
 */
#include "port.h"
#include "port_hooks.h"

#include <string.h>

struct sipkey {
	u64_t k0;
	u64_t k1;
};

static struct sipkey rand_key;
static struct sipkey isn_key;
static u64_t rand_counter;

static inline u64_t rotl(u64_t x, int n)
{
	return (x << n) | (x >> (64 - n));
}

static inline void sipround(u64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-2-4 of `count` 64-bit words. */
static u64_t siphash(const struct sipkey *key, const u64_t *words, u32_t count)
{
	u64_t v[4] = {key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull,
		      key->k0 ^ 0x6c7967656e657261ull, key->k1 ^ 0x7465646279746573ull};
	u64_t last = (u64_t)(count * 8) << 56;

	for (u32_t i = 0; i <= count; i++) {
		u64_t m = i < count ? words[i] : last;

		v[3] ^= m;
		sipround(v);
		sipround(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sipround(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void port_rand_seed(const u8_t *entropy32)
{
	memcpy(&rand_key, entropy32, 16);
	memcpy(&isn_key, entropy32 + 16, 16);
}

uint32_t port_rand(void)
{
	rand_counter++;
	return (u32_t)siphash(&rand_key, &rand_counter, 1);
}

u32_t port_hook_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
		    u16_t remote_port)
{
	struct port_endpoint ep[2];
	u64_t words[sizeof(ep) / 8];

	memset(ep, 0, sizeof(ep));
	port_to_endpoint(&ep[0], local, local_port);
	port_to_endpoint(&ep[1], remote, remote_port);
	memcpy(words, ep, sizeof(ep));
	return (u32_t)siphash(&isn_key, words, sizeof(ep) / 8) + port_now() * 250;
}
