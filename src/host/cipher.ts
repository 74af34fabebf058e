/**
 * Which cipher we ask peers for [0 decision 8]. `auto` measures both once and keeps the answer in
 * the home folder, so that it does not change with every start.
 */
import { performance } from 'node:perf_hooks';
import type { PacketCore, PeerKey, Suite } from '../crypto/api.js';
import type { Home } from './home.js';
import type { CipherSetting } from './local-conf.js';

const FILE = 'netcon.cipher';
const PACKET_LEN = 1_432;
const ROUNDS = 300;

function timeOf(core: PacketCore, key: PeerKey, suite: Suite): number {
  const packet = new Uint8Array(PACKET_LEN);
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const from = performance.now();
    for (let i = 0; i < ROUNDS / 5; i++) {
      packet[0] = i;
      core.seal(key, packet, suite);
      core.open(key, packet);
    }
    best = Math.min(best, performance.now() - from);
  }
  return best;
}

export function chooseCipher(
  home: Home,
  core: PacketCore,
  setting: CipherSetting,
): 'aes' | 'salsa' {
  if (setting !== 'auto') return setting;
  const kept = home.readText(FILE)?.trim();
  if (kept === 'aes' || kept === 'salsa') return kept;
  const key = core.makeKey(new Uint8Array(48).fill(7));
  const choice = timeOf(core, key, 3) <= timeOf(core, key, 1) ? 'aes' : 'salsa';
  home.writeNow(FILE, choice);
  return choice;
}
