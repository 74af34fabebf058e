/** All scenarios, in the order of docs/scale.md. */
import type { Scenario } from '../scenario.js';
import { NAT_SCENARIOS } from './nats.js';

export const SCENARIOS: readonly Scenario[] = [...NAT_SCENARIOS];
