/** Latencies of a peer, one observation per keepalive round [4 section 10, zt_peer_latency]. */

/** What a path without a measurement counts as [2 section 13.1]. */
export const UNKNOWN_LATENCY = 0xffff;

/** Upper bounds of the buckets, in ms; the last bucket has none. */
export const LATENCY_BOUNDS = [1, 3, 6, 10, 30, 60, 100, 300, 600, 1000] as const;

export class LatencyHistogram {
  /** Observations per bucket, not summed up. */
  readonly buckets = new Uint32Array(LATENCY_BOUNDS.length + 1);
  sum = 0;

  observe(ms: number): void {
    const i = LATENCY_BOUNDS.findIndex((bound) => ms <= bound);
    const at = i < 0 ? LATENCY_BOUNDS.length : i;
    this.buckets[at] = this.buckets[at]! + 1;
    this.sum += ms;
  }

  get count(): number {
    return this.buckets.reduce((a, b) => a + b, 0);
  }
}
