/*
 * Prototypes of the functions lwIP calls through its hook macros (see lwipopts.h).
 */
#ifndef PORT_HOOKS_H
#define PORT_HOOKS_H

#include "lwip/ip_addr.h"

struct netif;
struct pbuf;
struct tcp_pcb;
struct tcp_hdr;

u32_t port_hook_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
		    u16_t remote_port);
err_t port_hook_inpacket(struct tcp_pcb *pcb, struct tcp_hdr *hdr, struct pbuf *p);
int port_hook_ip4_input(struct pbuf *p, struct netif *in);
/* Lets the loop interface @in take a packet for @dest, if that is an address of 127.0.0.0/8. */
void port_loop_takes(struct netif *in, const u8_t dest[4]);
int port_hook_ip6_input(struct pbuf *p);
struct netif *port_hook_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest);
struct netif *port_hook_ip6_route(const ip6_addr_t *src, const ip6_addr_t *dest);

#endif
