/** Rules between their JSON names and the binary form [3 section 12.6, 4 section 8.4]. */
import {
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonHex,
  jsonInt,
  shrink,
} from '../lib/json.js';
import { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import { addressText, macText } from '../wire/address.js';
import { ipText } from '../wire/inetaddress.js';
import { RULE, RULE_NOT, RULE_OR, RULE_TYPE_MASK, type Rule } from '../wire/rules.js';
import { lenientMac, lenientNodeAddress, lenientPrefix } from './lenient.js';

/** A value of the wrong kind where the reference answers 500. */
export class RuleTypeError extends Error {
  readonly code = 'ERR_RULE_TYPE';
}

interface RuleForm {
  readonly name: string;
  readonly type: number;
  write(w: Writer, j: JsonRecord): void;
  read(r: Reader): JsonRecord;
}

const U40 = 0xff_ffff_ffffn;
const num = (v: JsonValue | undefined, bits: number, fallback = 0n): number =>
  Number(BigInt.asUintN(bits, jsonInt(v, fallback)));

function empty(name: string, type: number): RuleForm {
  return { name, type, write: () => undefined, read: () => ({}) };
}

function copyAction(name: string, type: number, withLen: boolean): RuleForm {
  return {
    name,
    type,
    write: (w, j) =>
      void w
        .u64(BigInt(lenientNodeAddress(j['address'])))
        .u32(num(j['flags'], 32))
        .u16(withLen ? num(j['length'], 16) : 0),
    read: (r) => {
      const address = addressText(Number(r.u64() & U40));
      const flags = r.u32();
      const length = r.u16();
      return withLen ? { address, flags, length } : { address, flags };
    },
  };
}

function ztAddress(name: string, type: number): RuleForm {
  return {
    name,
    type,
    write: (w, j) => void w.u40(lenientNodeAddress(j['zt'])),
    read: (r) => ({ zt: addressText(r.u40()) }),
  };
}

/** One integer field of 8, 16 or 32 bits. */
function scalar(name: string, type: number, key: string, bits: 8 | 16 | 32): RuleForm {
  return {
    name,
    type,
    write: (w, j) => void putBits(w, num(j[key], bits), bits),
    read: (r) => ({ [key]: takeBits(r, bits) }),
  };
}

function putBits(w: Writer, v: number, bits: 8 | 16 | 32): Writer {
  return bits === 8 ? w.u8(v) : bits === 16 ? w.u16(v) : w.u32(v);
}

function takeBits(r: Reader, bits: 8 | 16 | 32): number {
  return bits === 8 ? r.u8() : bits === 16 ? r.u16() : r.u32();
}

function mac(name: string, type: number): RuleForm {
  return {
    name,
    type,
    write: (w, j) => void w.put(lenientMac(j['mac'])),
    read: (r) => ({ mac: macText(r.take(6)) }),
  };
}

function ip(name: string, type: number, len: 4 | 16): RuleForm {
  return {
    name,
    type,
    write: (w, j) => {
      const prefix = lenientPrefix(j['ip'], len);
      w.put(prefix.ip).u8(prefix.bits);
    },
    read: (r) => {
      const bytes = r.take(len);
      return { ip: `${ipText(bytes)}/${r.u8()}` };
    },
  };
}

function range16(name: string, type: number): RuleForm {
  return {
    name,
    type,
    write: (w, j) => {
      const start = num(j['start'], 16);
      w.u16(start).u16(num(j['end'], 16, BigInt(start)));
    },
    read: (r) => ({ start: r.u16(), end: r.u16() }),
  };
}

function tagMatch(name: string, type: number): RuleForm {
  return {
    name,
    type,
    write: (w, j) => void w.u32(num(j['id'], 32)).u32(num(j['value'], 32)),
    read: (r) => ({ id: r.u32(), value: r.u32() }),
  };
}

const hex64 = (v: bigint): string => v.toString(16).padStart(16, '0');

const FORMS: readonly RuleForm[] = [
  empty('ACTION_DROP', RULE.ACTION_DROP),
  empty('ACTION_ACCEPT', RULE.ACTION_ACCEPT),
  copyAction('ACTION_TEE', RULE.ACTION_TEE, true),
  copyAction('ACTION_WATCH', RULE.ACTION_WATCH, true),
  copyAction('ACTION_REDIRECT', RULE.ACTION_REDIRECT, false),
  empty('ACTION_BREAK', RULE.ACTION_BREAK),
  ztAddress('MATCH_SOURCE_ZEROTIER_ADDRESS', RULE.MATCH_SOURCE_ZEROTIER_ADDRESS),
  ztAddress('MATCH_DEST_ZEROTIER_ADDRESS', RULE.MATCH_DEST_ZEROTIER_ADDRESS),
  scalar('MATCH_VLAN_ID', RULE.MATCH_VLAN_ID, 'vlanId', 16),
  scalar('MATCH_VLAN_PCP', RULE.MATCH_VLAN_PCP, 'vlanPcp', 8),
  scalar('MATCH_VLAN_DEI', RULE.MATCH_VLAN_DEI, 'vlanDei', 8),
  mac('MATCH_MAC_SOURCE', RULE.MATCH_MAC_SOURCE),
  mac('MATCH_MAC_DEST', RULE.MATCH_MAC_DEST),
  ip('MATCH_IPV4_SOURCE', RULE.MATCH_IPV4_SOURCE, 4),
  ip('MATCH_IPV4_DEST', RULE.MATCH_IPV4_DEST, 4),
  ip('MATCH_IPV6_SOURCE', RULE.MATCH_IPV6_SOURCE, 16),
  ip('MATCH_IPV6_DEST', RULE.MATCH_IPV6_DEST, 16),
  {
    name: 'MATCH_IP_TOS',
    type: RULE.MATCH_IP_TOS,
    write: (w, j) => void w.u8(num(j['mask'], 8)).u8(num(j['start'], 8)).u8(num(j['end'], 8)),
    read: (r) => ({ mask: r.u8(), start: r.u8(), end: r.u8() }),
  },
  scalar('MATCH_IP_PROTOCOL', RULE.MATCH_IP_PROTOCOL, 'ipProtocol', 8),
  scalar('MATCH_ETHERTYPE', RULE.MATCH_ETHERTYPE, 'etherType', 16),
  {
    name: 'MATCH_ICMP',
    type: RULE.MATCH_ICMP,
    write: (w, j) => {
      const hasCode = j['icmpCode'] !== undefined && j['icmpCode'] !== null;
      w.u8(num(j['icmpType'], 8))
        .u8(hasCode ? num(j['icmpCode'], 8) : 0)
        .u8(hasCode ? 1 : 0);
    },
    read: (r) => {
      const icmpType = r.u8();
      const code = r.u8();
      return { icmpType, icmpCode: (r.u8() & 1) !== 0 ? code : null };
    },
  },
  range16('MATCH_IP_SOURCE_PORT_RANGE', RULE.MATCH_IP_SOURCE_PORT_RANGE),
  range16('MATCH_IP_DEST_PORT_RANGE', RULE.MATCH_IP_DEST_PORT_RANGE),
  {
    name: 'MATCH_CHARACTERISTICS',
    type: RULE.MATCH_CHARACTERISTICS,
    write: (w, j) => {
      const mask = j['mask'];
      const ok =
        mask === undefined ||
        typeof mask === 'string' ||
        typeof mask === 'number' ||
        typeof mask === 'bigint';
      if (!ok)
        throw new RuleTypeError('mask of MATCH_CHARACTERISTICS must be a number or hex text');
      w.u64(jsonHex(mask, 0n));
    },
    read: (r) => ({ mask: hex64(r.u64()) }),
  },
  range16('MATCH_FRAME_SIZE_RANGE', RULE.MATCH_FRAME_SIZE_RANGE),
  scalar('MATCH_RANDOM', RULE.MATCH_RANDOM, 'probability', 32),
  tagMatch('MATCH_TAGS_DIFFERENCE', RULE.MATCH_TAGS_DIFFERENCE),
  tagMatch('MATCH_TAGS_BITWISE_AND', RULE.MATCH_TAGS_BITWISE_AND),
  tagMatch('MATCH_TAGS_BITWISE_OR', RULE.MATCH_TAGS_BITWISE_OR),
  tagMatch('MATCH_TAGS_BITWISE_XOR', RULE.MATCH_TAGS_BITWISE_XOR),
  tagMatch('MATCH_TAGS_EQUAL', RULE.MATCH_TAGS_EQUAL),
  tagMatch('MATCH_TAG_SENDER', RULE.MATCH_TAG_SENDER),
  tagMatch('MATCH_TAG_RECEIVER', RULE.MATCH_TAG_RECEIVER),
  {
    name: 'INTEGER_RANGE',
    type: RULE.MATCH_INTEGER_RANGE,
    write: (w, j) => {
      const bits = Math.max(1, Math.min(64, num(j['bits'], 8)));
      w.u64(jsonHex(j['start'], 0n)).u64(jsonHex(j['end'], 0n)).u16(num(j['idx'], 16));
      w.u8((bits - 1) | (jsonBool(j['little'], false) ? 0x80 : 0));
    },
    read: (r) => {
      const start = r.u64();
      const end = r.u64();
      const idx = r.u16();
      const format = r.u8();
      return {
        start: hex64(start),
        end: hex64(end),
        idx,
        little: (format & 0x80) !== 0,
        bits: (format & 63) + 1,
      };
    },
  },
];

const BY_NAME = new Map(FORMS.map((f) => [f.name, f]));
const BY_TYPE = new Map(FORMS.map((f) => [f.type, f]));

/** One JSON rule; undefined when its type is unknown. @throws RuleTypeError. */
export function ruleFromJson(j: JsonValue): Rule | undefined {
  if (!isRecord(j) || typeof j['type'] !== 'string') return undefined;
  const form = BY_NAME.get(j['type']);
  if (form === undefined) return undefined;
  const w = Writer.of(32);
  form.write(w, j);
  let t = form.type;
  if (form.type > 15) {
    if (jsonBool(j['not'], false)) t |= RULE_NOT;
    if (jsonBool(j['or'], false)) t |= RULE_OR;
  }
  return { t, body: w.done().slice() };
}

/** Undefined for types without a JSON form. */
export function ruleToJson(rule: Rule): JsonRecord | undefined {
  const form = BY_TYPE.get(rule.t & RULE_TYPE_MASK);
  if (form === undefined) return undefined;
  const fields = form.read(new Reader(rule.body));
  const out: JsonRecord = { type: form.name, ...fields };
  // An accepting or dropping action of a default record carries not/or; a rendered one does not.
  if (form.type > 15) {
    out['not'] = (rule.t & RULE_NOT) !== 0;
    out['or'] = (rule.t & RULE_OR) !== 0;
  }
  return out;
}

/** The array of a record as rules; entries that do not parse are left out. */
export function rulesFromJson(v: JsonValue | undefined, max: number): Rule[] {
  if (!Array.isArray(v)) return [];
  const out: Rule[] = [];
  for (const j of v) {
    const rule = ruleFromJson(j);
    if (rule !== undefined && out.length < max) out.push(rule);
  }
  return out;
}

/** Re-renders an array as the API stores it. */
export function normalizeRules(v: JsonValue[]): JsonValue[] {
  return rulesFromJson(v, Number.POSITIVE_INFINITY)
    .map(ruleToJson)
    .filter((j): j is JsonRecord => j !== undefined);
}

export { shrink };
