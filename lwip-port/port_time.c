/*
 * The clock and the timers.
 *
 * lwIP's timers are driven from here instead of timeouts.c: the TCP timer runs only while a
 * connection or a TIME_WAIT exists, the second timer (neighbours, reassembly) always. The host asks
 * port_delay() and sleeps exactly so long; nothing polls. After a long sleep of the host the missed
 * ticks are made up only to CATCH_UP_MS, so that waking up does not time everything out at once.
 * They wait while the transmit ring is half full: lwIP counts a window probe that found no room as
 * one without an answer, and twelve ticks in a row would end a connection whose peer does not read.
 */
#include "port.h"

#include "lwip/init.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "lwip/priv/tcp_priv.h"

#define SECOND_MS   1000
#define CATCH_UP_MS 2000
#define RING_BUSY   (PORT_FRAMES_MAX / 2)

struct port_io io;
u32_t port_stats[PORT_COUNTERS_MAX];

static u32_t clock_ms;
static u32_t clock_us;
static u32_t tcp_due;	     /* valid while tcp_running */
static u32_t tcp_stopped_at; /* valid while not: tcp_ticks was right then */
static u32_t second_due;
static u8_t tcp_running;
static u8_t started;

static int is_due(u32_t due)
{
	return (s32_t)(clock_ms - due) >= 0;
}

void port_enter(double now)
{
	u32_t ms = (u32_t)(u64_t)now;

	if ((s32_t)(ms - clock_ms) > 0)
		clock_ms = ms;
	clock_us = (u32_t)(u64_t)(now * 1000);
}

u32_t port_now(void)
{
	return clock_ms;
}

u32_t port_now_us(void)
{
	return clock_us;
}

u32_t sys_now(void)
{
	return clock_ms;
}

u32_t port_tcp_ticks(void)
{
	return tcp_running ? tcp_ticks
			   : tcp_ticks + (clock_ms - tcp_stopped_at) / TCP_SLOW_INTERVAL;
}

/* Called by lwIP whenever a connection enters one of its lists. */
void tcp_timer_needed(void)
{
	if (tcp_running)
		return;
	tcp_ticks = port_tcp_ticks();
	tcp_running = 1;
	tcp_due = clock_ms + TCP_TMR_INTERVAL;
}

static void stop_if_unused(void)
{
	if (tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL)
		return;
	tcp_running = 0;
	tcp_stopped_at = clock_ms;
}

static void run_tcp(void)
{
	if (clock_ms - tcp_due > CATCH_UP_MS)
		tcp_due = clock_ms - CATCH_UP_MS;
	while (tcp_running && is_due(tcp_due) && port_ring_frames() < RING_BUSY) {
		tcp_due += TCP_TMR_INTERVAL;
		tcp_tmr();
		port_tcp_settle();
		stop_if_unused();
	}
}

static void run_second(void)
{
	if (clock_ms - second_due > CATCH_UP_MS)
		second_due = clock_ms - CATCH_UP_MS;
	while (is_due(second_due)) {
		second_due += SECOND_MS;
		port_netif_second();
		port_tcp_second();
	}
}

uint32_t PORT_EXPORT(port_io_address)(double now)
{
	port_enter(now);
	io.layout = PORT_LAYOUT;
	return (uint32_t)(uintptr_t)&io;
}

void PORT_EXPORT(port_start)(double now)
{
	LWIP_ASSERT("port_start: once", !started);
	started = 1;
	clock_ms = (u32_t)(u64_t)now;
	tcp_stopped_at = clock_ms;
	port_heap_init();
	port_rand_seed(io.data);
	lwip_init();
	port_netif_init(io.data + 32);
	port_tcp_init();
	port_icmp_init();
	port_heap_mark();
	second_due = clock_ms + SECOND_MS;
}

void PORT_EXPORT(port_tick)(double now)
{
	port_enter(now);
	if (tcp_running && is_due(tcp_due))
		run_tcp();
	if (is_due(second_due))
		run_second();
}

uint32_t PORT_EXPORT(port_delay)(double now)
{
	u32_t due = second_due;

	port_enter(now);
	if (port_ring_pending())
		return 0;
	if (tcp_running && (s32_t)(tcp_due - due) < 0)
		due = tcp_due;
	return is_due(due) ? 0 : due - clock_ms;
}
