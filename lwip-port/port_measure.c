/*
 * What is measured of a connection, and what the host may ask: struct tcp_info of [5 section 8].
 *
 * lwIP times round trips in ticks of 100 ms. Here one segment at a time is timed in microseconds,
 * smoothed as RFC 6298 says; nothing is taken while anything is repeated (Karn). lwIP's own timer
 * is left alone.
 */
#include "port_conn.h"

void port_measure_sent(struct conn *c)
{
	struct tuning *t = &c->tuning;

	if (t->rtt_timed || c->pcb == NULL || c->pcb->unacked == NULL)
		return;
	t->rtt_seq = c->pcb->snd_nxt;
	t->rtt_start = port_now_us();
	t->rtt_timed = 1;
}

void port_measure_input(struct conn *c)
{
	if (c->pcb != NULL && (c->pcb->nrtx > 0 || (c->pcb->flags & (TF_INFR | TF_RTO))))
		c->tuning.rtt_timed = 0;
}

static void take_sample(struct tuning *t, u32_t sample)
{
	u32_t off;

	if (t->rtt_us == 0) {
		t->rtt_us = LWIP_MAX(sample, 1);
		t->rttvar_us = sample / 2;
		return;
	}
	off = sample > t->rtt_us ? sample - t->rtt_us : t->rtt_us - sample;
	t->rttvar_us += (u32_t)(((s32_t)off - (s32_t)t->rttvar_us) / 4);
	t->rtt_us = LWIP_MAX(t->rtt_us + (u32_t)(((s32_t)sample - (s32_t)t->rtt_us) / 8), 1);
}

void port_measure_acked(struct conn *c)
{
	struct tuning *t = &c->tuning;

	if (!t->rtt_timed || c->pcb == NULL || TCP_SEQ_LT(c->pcb->lastack, t->rtt_seq))
		return;
	t->rtt_timed = 0;
	take_sample(t, port_now_us() - t->rtt_start);
}

static u32_t negotiated(const struct tcp_pcb *pcb)
{
	return ((pcb->flags & TF_TIMESTAMP) ? PORT_TCP_TIMESTAMPS : 0) |
	       ((pcb->flags & TF_SACK) ? PORT_TCP_SACK : 0) |
	       ((pcb->flags & TF_WND_SCALE) ? PORT_TCP_SCALED : 0);
}

static u32_t queued(const struct tcp_seg *seg)
{
	u32_t n = 0;

	for (; seg != NULL; seg = seg->next)
		n += seg->len;
	return n;
}

static void put_pcb(struct port_tcp_info *info, const struct tcp_pcb *pcb)
{
	info->state = pcb->state;
	info->rto_ms = (u32_t)pcb->rto * TCP_SLOW_INTERVAL;
	info->send_mss = tcp_mss(pcb);
	info->cwnd = pcb->cwnd;
	info->ssthresh = pcb->ssthresh;
	info->unacked = pcb->snd_nxt - pcb->lastack;
	info->unsent = queued(pcb->unsent);
	info->receive_window = pcb->rcv_wnd;
	info->retransmits = pcb->nrtx;
	info->flags = negotiated(pcb);
	info->send_scale = pcb->snd_scale;
	info->receive_scale = pcb->rcv_scale;
}

static void put_tuning(struct port_tcp_info *info, const struct tuning *t)
{
	info->rtt_us = t->rtt_us;
	info->rttvar_us = t->rttvar_us;
	info->acked_low = (u32_t)t->acked;
	info->acked_high = (u32_t)(t->acked >> 32);
	info->received_low = (u32_t)t->received;
	info->received_high = (u32_t)(t->received >> 32);
}

int32_t PORT_EXPORT(port_tcp_info)(double now, uint32_t handle)
{
	struct conn *c;

	port_enter(now);
	c = conn_of(handle);
	if (c == NULL || c->pcb == NULL)
		return 0;
	put_pcb(&io.info, c->pcb);
	put_tuning(&io.info, &c->tuning);
	return 1;
}
