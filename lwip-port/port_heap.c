/*
 * The heap: everything lwIP and the port allocate.
 *
 * Size classes in 64 KiB chunks. A chunk belongs to one class while a block of it is in use and
 * goes back to the common pool afterwards; blocks above half a chunk take whole chunks in a row.
 * Chunks are taken lowest first, so resident memory follows the real need although the region is
 * large. Allocation and release are O(1) but for taking or giving back a chunk.
 *
 * Bounds: HEAP_CHUNKS in total. Data from the host stops at TX_LIMIT and from the network at
 * RX_LIMIT, so acknowledgements and control blocks always find room. One connection's share of
 * what waits to be sent is the unused part of TX_SHARED over TX_SHARES: it shrinks as memory fills
 * up, so peers that do not read never take all of it. A release of something that is not an
 * allocated block traps.
 */
#include "port.h"

#include <string.h>

#define CHUNK_BITS  16
#define CHUNK_SIZE  (1u << CHUNK_BITS)
#define HEAP_CHUNKS 3840 /* 240 MiB of the 256 MiB memory */
#define HEAP_BYTES  (HEAP_CHUNKS * CHUNK_SIZE)
#define TX_LIMIT    (HEAP_BYTES / 8 * 5)
#define RX_LIMIT    (HEAP_BYTES / 8 * 7)
#define TX_SHARED   (HEAP_BYTES / 8 * 4) /* from here to TX_LIMIT: two segments for everybody */
#define TX_SHARES   96			 /* alone, a connection gets more than TCP_SND_BUF */
#define GRAIN	    16
#define SMALL_MAX   16384
#define NO_CHUNK    0xffffu
#define CLASS_FREE  0xff
#define CLASS_LARGE 0xfe /* first chunk of a run */
#define CLASS_TAIL  0xfd /* the others of it */

static const u16_t class_size[] = {32,	 64,   96,   128,  160,	 192,  256,  320,   384,   448,
				   512,	 640,  768,  896,  1024, 1280, 1536, 1792,  2048,  2560,
				   3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384};
#define CLASSES (sizeof(class_size) / sizeof(class_size[0]))

struct chunk {
	u32_t free_list; /* offset + 1 of the first free block, 0 = none */
	u16_t used;	 /* blocks in use; for CLASS_LARGE: chunks of the run */
	u16_t fresh;	 /* blocks never handed out start at this index */
	u16_t next;	 /* chunks of the class with free blocks */
	u16_t prev;
	u8_t class;
	u8_t listed;
};

static u8_t region[HEAP_BYTES] __attribute__((aligned(65536)));
static struct chunk chunks[HEAP_CHUNKS];
static u32_t free_map[HEAP_CHUNKS / 32]; /* bit set = free */
static u32_t first_free_word;
static u16_t class_head[CLASSES];
static u8_t class_of[SMALL_MAX / GRAIN + 1];
static u32_t bytes_used;
static u32_t bytes_peak;
static u32_t blocks_used;
static u32_t blocks_at_start;

void port_heap_init(void)
{
	u32_t c = 0;

	for (u32_t i = 0; i <= SMALL_MAX / GRAIN; i++) {
		if (i * GRAIN > class_size[c])
			c++;
		class_of[i] = (u8_t)c;
	}
	for (u32_t i = 0; i < CLASSES; i++)
		class_head[i] = NO_CHUNK;
	memset(free_map, 0xff, sizeof(free_map));
	for (u32_t i = 0; i < HEAP_CHUNKS; i++)
		chunks[i].class = CLASS_FREE;
}

static void map_take(u32_t i)
{
	free_map[i / 32] &= ~(1u << (i % 32));
}

static void map_give(u32_t i)
{
	free_map[i / 32] |= 1u << (i % 32);
	if (i / 32 < first_free_word)
		first_free_word = i / 32;
}

static u32_t take_chunk(void)
{
	for (u32_t w = first_free_word; w < HEAP_CHUNKS / 32; w++) {
		if (free_map[w] != 0) {
			u32_t i = w * 32 + (u32_t)__builtin_ctz(free_map[w]);

			first_free_word = w;
			map_take(i);
			return i;
		}
	}
	first_free_word = HEAP_CHUNKS / 32;
	return NO_CHUNK;
}

/* First fit for `count` chunks in a row; only datagrams near 64 KiB come here. */
static u32_t take_run(u32_t count)
{
	u32_t run = 0;

	for (u32_t i = first_free_word * 32; i < HEAP_CHUNKS; i++) {
		run = (free_map[i / 32] >> (i % 32)) & 1 ? run + 1 : 0;
		if (run < count)
			continue;
		for (u32_t j = i + 1 - count; j <= i; j++)
			map_take(j);
		return i + 1 - count;
	}
	return NO_CHUNK;
}

static void list_add(u32_t i)
{
	struct chunk *ch = &chunks[i];

	ch->prev = NO_CHUNK;
	ch->next = class_head[ch->class];
	if (ch->next != NO_CHUNK)
		chunks[ch->next].prev = (u16_t)i;
	class_head[ch->class] = (u16_t)i;
	ch->listed = 1;
}

static void list_remove(u32_t i)
{
	struct chunk *ch = &chunks[i];

	if (ch->prev != NO_CHUNK)
		chunks[ch->prev].next = ch->next;
	else
		class_head[ch->class] = ch->next;
	if (ch->next != NO_CHUNK)
		chunks[ch->next].prev = ch->prev;
	ch->listed = 0;
}

static void account(u32_t bytes)
{
	bytes_used += bytes;
	blocks_used++;
	if (bytes_used > bytes_peak)
		bytes_peak = bytes_used;
}

static void *alloc_large(size_t size)
{
	u32_t count = (u32_t)((size + CHUNK_SIZE - 1) >> CHUNK_BITS);
	u32_t i = take_run(count);

	if (i == NO_CHUNK)
		return NULL;
	chunks[i].class = CLASS_LARGE;
	chunks[i].used = (u16_t)count;
	for (u32_t j = 1; j < count; j++)
		chunks[i + j].class = CLASS_TAIL;
	account(count * CHUNK_SIZE);
	return region + i * CHUNK_SIZE;
}

static u32_t open_chunk(u8_t class)
{
	u32_t i = take_chunk();

	if (i == NO_CHUNK)
		return i;
	chunks[i].class = class;
	chunks[i].free_list = 0;
	chunks[i].used = 0;
	chunks[i].fresh = 0;
	list_add(i);
	return i;
}

static void *alloc_small(u8_t class)
{
	u32_t i = class_head[class];
	struct chunk *ch;
	u32_t size = class_size[class];
	u8_t *p;

	if (i == NO_CHUNK)
		i = open_chunk(class);
	if (i == NO_CHUNK)
		return NULL;
	ch = &chunks[i];
	if (ch->free_list != 0) {
		p = region + i * CHUNK_SIZE + ch->free_list - 1;
		memcpy(&ch->free_list, p, sizeof(u32_t));
	} else {
		p = region + i * CHUNK_SIZE + ch->fresh * size;
		ch->fresh++;
	}
	ch->used++;
	if (ch->free_list == 0 && (ch->fresh + 1u) * size > CHUNK_SIZE)
		list_remove(i);
	account(size);
	return p;
}

void *port_heap_alloc(size_t size)
{
	void *p;

	if (size <= SMALL_MAX)
		p = alloc_small(class_of[(size + GRAIN - 1) / GRAIN]);
	else if (size <= HEAP_BYTES)
		p = alloc_large(size);
	else
		p = NULL;
	if (p == NULL)
		PORT_COUNT(heapFail);
	return p;
}

void *port_heap_calloc(size_t count, size_t size)
{
	void *p;

	if (size != 0 && count > HEAP_BYTES / size)
		return NULL;
	p = port_heap_alloc(count * size);
	if (p != NULL)
		memset(p, 0, count * size);
	return p;
}

static void free_large(u32_t i)
{
	u32_t count = chunks[i].used;

	for (u32_t j = i; j < i + count; j++) {
		chunks[j].class = CLASS_FREE;
		map_give(j);
	}
	bytes_used -= count * CHUNK_SIZE;
}

static void free_small(u32_t i, u32_t offset)
{
	struct chunk *ch = &chunks[i];
	u32_t size = class_size[ch->class];

	LWIP_ASSERT("port_heap_free: not a block", offset % size == 0 && ch->used > 0);
	memcpy(region + i * CHUNK_SIZE + offset, &ch->free_list, sizeof(u32_t));
	ch->free_list = offset + 1;
	ch->used--;
	bytes_used -= size;
	if (!ch->listed)
		list_add(i);
	/* Keep the last chunk of a class: the next allocation needs it again. */
	if (ch->used == 0 && (ch->next != NO_CHUNK || ch->prev != NO_CHUNK)) {
		list_remove(i);
		ch->class = CLASS_FREE;
		map_give(i);
	}
}

void port_heap_free(void *p)
{
	u32_t at = (u32_t)((u8_t *)p - region);
	u32_t i = at >> CHUNK_BITS;

	if (p == NULL)
		return;
	LWIP_ASSERT("port_heap_free: outside", at < HEAP_BYTES);
	if (chunks[i].class == CLASS_LARGE) {
		LWIP_ASSERT("port_heap_free: not a run", (at & (CHUNK_SIZE - 1)) == 0);
		free_large(i);
	} else {
		LWIP_ASSERT("port_heap_free: not allocated", chunks[i].class < CLASSES);
		free_small(i, at & (CHUNK_SIZE - 1));
	}
	blocks_used--;
}

u32_t port_heap_bytes(void)
{
	return bytes_used;
}

u32_t port_heap_peak(void)
{
	return bytes_peak;
}

u32_t port_heap_blocks(void)
{
	return blocks_used - blocks_at_start;
}

void port_heap_mark(void)
{
	blocks_at_start = blocks_used;
}

int port_heap_tx_ok(void)
{
	return bytes_used < TX_LIMIT;
}

u32_t port_heap_tx_share(void)
{
	return bytes_used < TX_SHARED ? (TX_SHARED - bytes_used) / TX_SHARES : 0;
}

u32_t port_heap_tx_left(void)
{
	return bytes_used < TX_LIMIT ? TX_LIMIT - bytes_used : 0;
}

int port_heap_rx_ok(void)
{
	return bytes_used < RX_LIMIT;
}
