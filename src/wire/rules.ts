/** Binary form of flow rules [3 section 8.1]. What they mean is vl2/filter's business. */
import type { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';

export const RULE_NOT = 0x80;
export const RULE_OR = 0x40;
export const RULE_TYPE_MASK = 0x3f;
export const MAX_RULES = 1024;

export const RULE = {
  ACTION_DROP: 0,
  ACTION_ACCEPT: 1,
  ACTION_TEE: 2,
  ACTION_WATCH: 3,
  ACTION_REDIRECT: 4,
  ACTION_BREAK: 5,
  ACTION_PRIORITY: 6,
  MATCH_SOURCE_ZEROTIER_ADDRESS: 24,
  MATCH_DEST_ZEROTIER_ADDRESS: 25,
  MATCH_VLAN_ID: 26,
  MATCH_VLAN_PCP: 27,
  MATCH_VLAN_DEI: 28,
  MATCH_MAC_SOURCE: 29,
  MATCH_MAC_DEST: 30,
  MATCH_IPV4_SOURCE: 31,
  MATCH_IPV4_DEST: 32,
  MATCH_IPV6_SOURCE: 33,
  MATCH_IPV6_DEST: 34,
  MATCH_IP_TOS: 35,
  MATCH_IP_PROTOCOL: 36,
  MATCH_ETHERTYPE: 37,
  MATCH_ICMP: 38,
  MATCH_IP_SOURCE_PORT_RANGE: 39,
  MATCH_IP_DEST_PORT_RANGE: 40,
  MATCH_CHARACTERISTICS: 41,
  MATCH_FRAME_SIZE_RANGE: 42,
  MATCH_RANDOM: 43,
  MATCH_TAGS_DIFFERENCE: 44,
  MATCH_TAGS_BITWISE_AND: 45,
  MATCH_TAGS_BITWISE_OR: 46,
  MATCH_TAGS_BITWISE_XOR: 47,
  MATCH_TAGS_EQUAL: 48,
  MATCH_TAG_SENDER: 49,
  MATCH_TAG_RECEIVER: 50,
  MATCH_INTEGER_RANGE: 51,
} as const;

/** Body length of each known type [3 section 8.1]. */
const BODY_LEN: ReadonlyMap<number, number> = new Map([
  [RULE.ACTION_DROP, 0],
  [RULE.ACTION_ACCEPT, 0],
  [RULE.ACTION_TEE, 14],
  [RULE.ACTION_WATCH, 14],
  [RULE.ACTION_REDIRECT, 14],
  [RULE.ACTION_BREAK, 0],
  [RULE.ACTION_PRIORITY, 0],
  [RULE.MATCH_SOURCE_ZEROTIER_ADDRESS, 5],
  [RULE.MATCH_DEST_ZEROTIER_ADDRESS, 5],
  [RULE.MATCH_VLAN_ID, 2],
  [RULE.MATCH_VLAN_PCP, 1],
  [RULE.MATCH_VLAN_DEI, 1],
  [RULE.MATCH_MAC_SOURCE, 6],
  [RULE.MATCH_MAC_DEST, 6],
  [RULE.MATCH_IPV4_SOURCE, 5],
  [RULE.MATCH_IPV4_DEST, 5],
  [RULE.MATCH_IPV6_SOURCE, 17],
  [RULE.MATCH_IPV6_DEST, 17],
  [RULE.MATCH_IP_TOS, 3],
  [RULE.MATCH_IP_PROTOCOL, 1],
  [RULE.MATCH_ETHERTYPE, 2],
  [RULE.MATCH_ICMP, 3],
  [RULE.MATCH_IP_SOURCE_PORT_RANGE, 4],
  [RULE.MATCH_IP_DEST_PORT_RANGE, 4],
  [RULE.MATCH_CHARACTERISTICS, 8],
  [RULE.MATCH_FRAME_SIZE_RANGE, 4],
  [RULE.MATCH_RANDOM, 4],
  [RULE.MATCH_TAGS_DIFFERENCE, 8],
  [RULE.MATCH_TAGS_BITWISE_AND, 8],
  [RULE.MATCH_TAGS_BITWISE_OR, 8],
  [RULE.MATCH_TAGS_BITWISE_XOR, 8],
  [RULE.MATCH_TAGS_EQUAL, 8],
  [RULE.MATCH_TAG_SENDER, 8],
  [RULE.MATCH_TAG_RECEIVER, 8],
  [RULE.MATCH_INTEGER_RANGE, 19],
]);

export interface Rule {
  /** NOT and OR bits and the type, as on the wire. */
  readonly t: number;
  /** Fields of the type, exactly as long as the type says; empty for unknown types. */
  readonly body: Uint8Array;
}

/**
 * Reads rules until the end of the reader or `max`. Fields are read at the cursor, then the cursor
 * moves by the length byte; too few bytes fail the reader.
 */
export function readRules(r: Reader, max: number): Rule[] {
  const out: Rule[] = [];
  while (out.length < max && r.remaining > 0 && !r.failed) {
    const t = r.u8();
    const len = r.u8();
    const start = r.pos;
    const body = r.copy(BODY_LEN.get(t & RULE_TYPE_MASK) ?? 0);
    if (r.failed) break;
    // A length beyond the end just ends the list, as in the reference.
    r.pos = start + len;
    out.push({
      t,
      body: (t & RULE_TYPE_MASK) === RULE.MATCH_INTEGER_RANGE ? narrowRange(body) : body,
    });
  }
  return out;
}

/** INTEGER_RANGE keeps the distance of its ends as 32 bits [3 section 8.1]. */
function narrowRange(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const start = view.getBigUint64(0);
  const delta = (view.getBigUint64(8) - start) & 0xffff_ffffn;
  view.setBigUint64(8, BigInt.asUintN(64, start + delta));
  return body;
}

export function writeRules(w: Writer, rules: readonly Rule[]): void {
  for (const rule of rules) w.u8(rule.t).u8(rule.body.length).put(rule.body);
}

export function rulesLen(rules: readonly Rule[]): number {
  return rules.reduce((n, r) => n + 2 + r.body.length, 0);
}

export function emitRules(rules: readonly Rule[]): Uint8Array {
  const w = Writer.of(rulesLen(rules));
  writeRules(w, rules);
  return w.bytes;
}

/** The one-rule set that lets everything pass. */
export const ACCEPT_ALL: readonly Rule[] = [{ t: RULE.ACTION_ACCEPT, body: new Uint8Array(0) }];
