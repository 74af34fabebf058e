/** All scenarios, in the order of docs/scale.md. */
import type { Scenario } from '../scenario.js';
import { NAT_SCENARIOS } from './nats.js';
import { NETWORK_SCENARIOS } from './networks.js';
import { RECOVERY_SCENARIOS } from './recovery.js';

export const SCENARIOS: readonly Scenario[] = [
  ...NETWORK_SCENARIOS,
  ...NAT_SCENARIOS,
  ...RECOVERY_SCENARIOS,
];
