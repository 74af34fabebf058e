/**
 * A whole node behind the MAC: inputs are programs whose bytes choose senders, verbs, payloads, ways and
 * pauses; packets are sealed with the right keys. One target for each role.
 */

import { REASSEMBLY_SLOTS } from '#src/vl1/constants.js';
import { VERB } from '#src/wire/packet.js';
import { ByteDice } from '../../helpers/dice.js';
import { Luck } from '../../sim/luck.js';
import { Attack, type AttackOptions } from '../attack.js';
import { type Family, must, type Plant, type Target } from '../target.js';

/** Inputs of one node before it is made anew. */
const LIFE = 400;
/** Packets and frames of one input at most. */
const MAX_STEPS = 12;
const SEEDS = 60;
const PROGRAM_LEN = 400;

const VL1_FILES = [
  'vl1/vl1.js',
  'vl1/verbs.js',
  'vl1/hello.js',
  'vl1/relay.js',
  'vl1/contact.js',
  'vl1/fragments.js',
  'vl1/whois.js',
  'vl1/sender.js',
];
const VL2_FILES = [
  'vl2/vl2.js',
  'vl2/frames.js',
  'vl2/filter.js',
  'vl2/network.js',
  'vl2/membership.js',
  'vl2/multicast.js',
  'vl2/neighbor.js',
  'vl2/announcer.js',
  'vl2/config-assembly.js',
];

const MEMBER_VERBS: readonly number[] = [
  VERB.EXT_FRAME,
  VERB.MULTICAST_FRAME,
  VERB.MULTICAST_GATHER,
  VERB.MULTICAST_LIKE,
  VERB.NETWORK_CONFIG,
  VERB.OK,
  VERB.ERROR,
];

function bounds(a: Attack): void {
  const { state } = a.target.node.vl1;
  must(state.reassembly.size <= REASSEMBLY_SLOTS, 'too many fragments');
  must(state.peers.size <= 64, `${state.peers.size} peers of four`);
}

function nodeTarget(
  name: string,
  options: Omit<AttackOptions, 'seed' | 'dice'>,
  files: readonly string[],
  plant: Plant,
): Target {
  let attack: Attack | undefined;
  let age = 0;
  return {
    name,
    files,
    plant,
    maxLen: 2_000,
    seeds: () =>
      Array.from({ length: SEEDS }, (_, i) => new Luck(i, `program ${name}`).bytes(PROGRAM_LEN)),
    run(input) {
      const dice = new ByteDice(input);
      if (attack === undefined || age++ >= LIFE) {
        attack = new Attack({ ...options, seed: 1, dice });
        age = 0;
      }
      attack.d = dice;
      try {
        for (let i = 0; i < MAX_STEPS && !dice.isSpent; i++) attack.step();
        bounds(attack);
      } catch (e) {
        // A node that threw is not used again.
        attack = undefined;
        throw e;
      }
    },
  };
}

const TARGETS: readonly Target[] = [
  nodeTarget('node-leaf', { member: false, controller: false }, VL1_FILES, {
    file: 'vl1/verbs.js',
    find: '.put(m.payload.subarray(0, DEFAULT_PHYSICAL_MTU - PACKET_HEAD_LEN - 9));',
    replace: '.put(m.payload);',
  }),
  nodeTarget(
    'node-member',
    { controller: false, focus: MEMBER_VERBS },
    [...VL2_FILES, ...VL1_FILES],
    {
      file: 'vl2/config-assembly.js',
      find: 's.offset + chunk.data.length <= s.totalLen',
      replace: 'true',
    },
  ),
  nodeTarget('node-root', { isRoot: true, member: false, controller: false }, VL1_FILES, {
    file: 'vl1/relay.js',
    find: 'if (bytes.length > MAX_RELAYED_LEN)',
    replace: 'if (false)',
  }),
  nodeTarget(
    'node-controller',
    { member: false, focus: [VERB.NETWORK_CONFIG_REQUEST] },
    ['controller/controller.js', 'controller/assign.js', 'vl2/vl2.js'],
    {
      file: 'vl2/vl2.js',
      find: 'if (q === undefined)\n            return this.#malformed();',
      replace: '',
    },
  ),
];

export const FAMILY: Family = { targets: TARGETS };
