/*
 * The internet checksum, by 16-byte vectors.
 *
 * lwIP calls this for every header and payload in both directions; its own 16-bit loop costs half
 * of the whole stack's time. Sums of native-order 16-bit words are what lwIP expects (RFC 1071
 * section 2(B): byte order does not matter to the sum).
 */
#include "port.h"

#include <string.h>
#include <wasm_simd128.h>

/* Vectors per block: 32-bit lanes hold 65536 16-bit words without overflow; two words a lane. */
#define BLOCK_VECTORS 16384

static u64_t sum_lanes(v128_t acc)
{
	return (u64_t)wasm_u32x4_extract_lane(acc, 0) + wasm_u32x4_extract_lane(acc, 1) +
	       wasm_u32x4_extract_lane(acc, 2) + wasm_u32x4_extract_lane(acc, 3);
}

static u64_t sum_vectors(const u8_t *p, u32_t vectors)
{
	v128_t a = wasm_i32x4_const(0, 0, 0, 0);
	v128_t b = a;
	u32_t i = 0;

	for (; i + 2 <= vectors; i += 2) {
		a = wasm_i32x4_add(a, wasm_u32x4_extadd_pairwise_u16x8(wasm_v128_load(p + i * 16)));
		b = wasm_i32x4_add(
			b, wasm_u32x4_extadd_pairwise_u16x8(wasm_v128_load(p + i * 16 + 16)));
	}
	if (i < vectors)
		a = wasm_i32x4_add(a, wasm_u32x4_extadd_pairwise_u16x8(wasm_v128_load(p + i * 16)));
	return sum_lanes(wasm_i32x4_add(a, b));
}

static u64_t sum_tail(const u8_t *p, u32_t len)
{
	u64_t sum = 0;
	u16_t word;

	for (; len >= 2; len -= 2, p += 2) {
		memcpy(&word, p, 2);
		sum += word;
	}
	if (len != 0)
		sum += *p; /* low byte of a little-endian word, high byte zero */
	return sum;
}

uint16_t port_chksum(const void *data, int len)
{
	const u8_t *p = data;
	u32_t left = (u32_t)len;
	u64_t sum = 0;

	while (left >= 16) {
		u32_t vectors = LWIP_MIN(left / 16, BLOCK_VECTORS);

		sum += sum_vectors(p, vectors);
		p += vectors * 16;
		left -= vectors * 16;
	}
	sum += sum_tail(p, left);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16_t)sum;
}
