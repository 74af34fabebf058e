/*
 * The counters and levels that the host asks for: the port's own, and lwIP's.
 */
#include "port.h"

#include "lwip/stats.h"

#include <string.h>

static void count_levels(u32_t *c)
{
	port_tcp_count(c);
	c[PORT_COUNTER_rxWindowUsed] = port_tcp_windows();
	c[PORT_COUNTER_udpUsed] = port_udp_count();
	c[PORT_COUNTER_udpQueuedUsed] = port_udp_queued();
	c[PORT_COUNTER_framesQueuedUsed] = port_ring_frames();
	c[PORT_COUNTER_heapBlocksUsed] = port_heap_blocks();
	c[PORT_COUNTER_heapBytes] = port_heap_bytes();
	c[PORT_COUNTER_heapPeakBytes] = port_heap_peak();
}

static void count_lwip(u32_t *c)
{
	c[PORT_COUNTER_arpRecv] = lwip_stats.etharp.recv;
	c[PORT_COUNTER_arpDrop] = lwip_stats.etharp.drop;
	c[PORT_COUNTER_ipRecv] = lwip_stats.ip.recv;
	c[PORT_COUNTER_ipDrop] = lwip_stats.ip.drop;
	c[PORT_COUNTER_ipChecksum] = lwip_stats.ip.chkerr;
	c[PORT_COUNTER_ip6Recv] = lwip_stats.ip6.recv;
	c[PORT_COUNTER_ip6Drop] = lwip_stats.ip6.drop;
	c[PORT_COUNTER_icmpRecv] = lwip_stats.icmp.recv;
	c[PORT_COUNTER_icmpDrop] = lwip_stats.icmp.drop;
	c[PORT_COUNTER_icmpChecksum] = lwip_stats.icmp.chkerr;
	c[PORT_COUNTER_icmp6Recv] = lwip_stats.icmp6.recv;
	c[PORT_COUNTER_icmp6Checksum] = lwip_stats.icmp6.chkerr;
	c[PORT_COUNTER_tcpRecv] = lwip_stats.tcp.recv;
	c[PORT_COUNTER_tcpSent] = lwip_stats.tcp.xmit;
	c[PORT_COUNTER_tcpDrop] = lwip_stats.tcp.drop;
	c[PORT_COUNTER_tcpChecksum] = lwip_stats.tcp.chkerr;
	c[PORT_COUNTER_tcpMemory] = lwip_stats.tcp.memerr;
	c[PORT_COUNTER_udpRecv] = lwip_stats.udp.recv;
	c[PORT_COUNTER_udpSent] = lwip_stats.udp.xmit;
	c[PORT_COUNTER_udpDrop] = lwip_stats.udp.drop;
	c[PORT_COUNTER_udpChecksum] = lwip_stats.udp.chkerr;
}

void PORT_EXPORT(port_count)(double now)
{
	port_enter(now);
	memcpy(io.counters, port_stats, sizeof(port_stats));
	count_levels(io.counters);
	count_lwip(io.counters);
}
