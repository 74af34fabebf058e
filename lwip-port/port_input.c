/*
 * Frames that arrive: room for them, what is dropped at the door, and lwIP's input.
 *
 * The host asks for room, fills it and says what it is; at most one frame is under way so. The
 * source address filter drops what claims to come from loopback or from us.
 */
#include "port.h"
#include "port_hooks.h"

#include "lwip/etharp.h"
#include "lwip/ip.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/tcp.h"

#include <string.h>

#define ARP_LEN	     28
#define ARP_OFF_TPA  24
#define IP4_OFF_SRC  12
#define IP6_OFF_SRC  8
#define NEXT_HDR_TCP 6

static struct pbuf *incoming;

uint32_t PORT_EXPORT(port_frame_alloc)(double now, uint32_t len)
{
	port_enter(now);
	PORT_COUNT(frameIn);
	if (incoming != NULL) {
		pbuf_free(incoming);
		incoming = NULL;
	}
	if (len == 0 || len > PORT_FRAME_MAX) {
		PORT_COUNT(dropFrameShort);
		return 0;
	}
	/* Short frames always pass: they carry the acknowledgements that free memory. */
	if (len > 256 && !port_heap_rx_ok()) {
		PORT_COUNT(dropFrameMemory);
		return 0;
	}
	incoming = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
	if (incoming == NULL) {
		PORT_COUNT(dropFrameMemory);
		return 0;
	}
	return (uint32_t)(uintptr_t)incoming->payload;
}

static struct netif *arp_netif(const struct pbuf *p)
{
	ip4_addr_t target;
	struct netif *n;

	memcpy(&target, (const u8_t *)p->payload + ARP_OFF_TPA, 4);
	n = port_netif_of_ip4(&target);
	return n != NULL ? n : &port_main_netif;
}

/* A SYN without ACK and RST, which may end a TIME_WAIT and must then be seen again. */
static int is_syn(const u8_t *ip, u32_t len)
{
	u32_t at;

	if (ip[0] >> 4 == 6) {
		at = 40;
		if (len < at + 20 || ip[6] != NEXT_HDR_TCP)
			return 0;
	} else {
		at = (u32_t)(ip[0] & 15) * 4;
		if (len < at + 20 || ip[9] != NEXT_HDR_TCP)
			return 0;
	}
	return (ip[at + 13] & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static int bad_source(const u8_t *ip, u32_t len)
{
	ip_addr_t src;

	if (ip[0] >> 4 == 6) {
		if (len < 40)
			return 0;
		port_make_ip(&src, PORT_FAMILY_6, ip + IP6_OFF_SRC);
	} else {
		if (len < 20)
			return 0;
		port_make_ip(&src, PORT_FAMILY_4, ip + IP4_OFF_SRC);
	}
	return !ip_addr_isany(&src) && port_addr_is_local(&src);
}

static void input_ip(struct pbuf *p, int version)
{
	const u8_t *ip = p->payload;
	struct pbuf *again = NULL;

	if (ip[0] >> 4 != version) {
		PORT_COUNT(dropFrameType);
		pbuf_free(p);
		return;
	}
	if (bad_source(ip, p->len)) {
		PORT_COUNT(dropFrameSource);
		pbuf_free(p);
		return;
	}
	if (is_syn(ip, p->len))
		again = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
	port_syn_replay = 0;
	ip_input(p, &port_main_netif);
	if (port_syn_replay && again != NULL)
		ip_input(again, &port_main_netif);
	else if (again != NULL)
		pbuf_free(again);
}

void PORT_EXPORT(port_frame_in)(double now, uint32_t type, uint32_t group)
{
	struct pbuf *p = incoming;

	port_enter(now);
	if (p == NULL)
		return;
	incoming = NULL;
	if (group)
		p->flags |= PBUF_FLAG_LLMCAST;
	switch (type) {
	case ETHTYPE_IP:
		input_ip(p, 4);
		break;
	case ETHTYPE_IPV6:
		input_ip(p, 6);
		break;
	case ETHTYPE_ARP:
		if (p->len < ARP_LEN) {
			PORT_COUNT(dropFrameShort);
			pbuf_free(p);
			break;
		}
		etharp_input(p, arp_netif(p));
		break;
	default:
		PORT_COUNT(dropFrameType);
		pbuf_free(p);
	}
	port_tcp_settle();
}
