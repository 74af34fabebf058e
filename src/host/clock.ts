/** The process's clocks, read once per wake-up. */
import { performance } from 'node:perf_hooks';
import type { Moment } from '../lib/time.js';

export function readClock(): Moment {
  return { mono: performance.now(), wall: Date.now() };
}
