/** One reading of both clocks, taken once per wake-up at the edge (host/clock, or the simulator). */
export interface Moment {
  /** Monotonic milliseconds; never mixed with wall time. Every timer uses this. */
  readonly mono: number;
  /** Milliseconds since 1970; only for fields that the protocol defines in wall time. */
  readonly wall: number;
}

/** A deadline that never comes. */
export const NEVER = Number.POSITIVE_INFINITY;
