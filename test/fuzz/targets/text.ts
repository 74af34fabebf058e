/** Readers of text: dictionaries, identities and addresses, JSON, local.conf, rules and records. */
import { isIP } from 'node:net';
import { RecordTypeError } from '#src/controller/records.js';
import { normalizeRules, RuleTypeError } from '#src/controller/rules-json.js';
import {
  allowManagementFrom,
  cipherSetting,
  LocalConfError,
  parseLocalConf,
  primaryPort,
} from '#src/host/local-conf.js';
import { emitJson, isRecord, JsonSyntaxError, parseJson } from '#src/lib/json.js';
import { parseIpv4, parseIpv6 } from '#src/preload/ip-text.js';
import { networkIdText, parseMac } from '#src/wire/address.js';
import { Dictionary, DictionaryBuilder } from '#src/wire/dictionary.js';
import { emitIdentityText, parseIdentityText } from '#src/wire/identity.js';
import { inetAddressText, ipText, parseInetAddress, parseIp } from '#src/wire/inetaddress.js';
import { emitNetworkConfig } from '#src/wire/netconf.js';
import { LuckyDice } from '../../helpers/dice.js';
import { randomJson, randomRecord } from '../../helpers/json.js';
import { Target as Attacked, networkOf } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/identities.js';
import { type Family, must, type Target } from '../target.js';

const bytesOf = (s: string): Uint8Array => new TextEncoder().encode(s);
const textOf = (b: Uint8Array): string => new TextDecoder().decode(b);
const tokens = (...texts: string[]): Uint8Array[] => texts.map(bytesOf);

const dictionary: Target = {
  name: 'dictionary',
  files: ['wire/dictionary.js'],
  plant: {
    file: 'wire/dictionary.js',
    find: 'if (need > this.#maxLen)\n            return false;',
    replace: '',
  },
  maxLen: 4_000,
  tokens: tokens('\nk0=', '\\0', '\\e', '=', 'ffffffffffffffff'),
  seeds() {
    const attacked = new Attacked(1);
    const controller = poolIdentity(2);
    const config = attacked.config(controller, networkOf(controller));
    return [emitNetworkConfig(config), bytesOf('k0=1\nk1=\\0\\e\\n\\r\\\\')];
  },
  run(input) {
    // The first byte is the capacity of a builder, the rest is a text and its value.
    const read = new Dictionary(input);
    for (const k of ['k0', 'R', 'C', 'none']) {
      read.text(k);
      read.bool(k);
      must(read.u64(k) >= 0n && read.u64(k) < 2n ** 64n, 'u64 out of range');
      must(read.s64(k) >= -(2n ** 63n) && read.s64(k) < 2n ** 63n, 's64 out of range');
    }
    const capacity = (input[0] ?? 0) * 8;
    const b = new DictionaryBuilder(capacity);
    const first = b.bytes('k', input.subarray(1));
    const second = b.u64('n', BigInt(input.length));
    const text = b.build();
    must(text.length < Math.max(1, capacity), 'a text beyond its capacity');
    const back = new Dictionary(text);
    if (first) must(Buffer.compare(back.bytes('k')!, input.subarray(1)) === 0, 'value changed');
    if (second) must(back.u64('n') === BigInt(input.length), 'number changed');
  },
};

/** Whether the platform takes the text as an address; zones are not of our grammar. */
const isAddress = (s: string): boolean => isIP(s) !== 0 && !s.includes('%');

const address: Target = {
  name: 'address-text',
  files: ['wire/inetaddress.js', 'preload/ip-text.js'],
  plant: { file: 'wire/inetaddress.js', find: '|| Number(p) > 255', replace: '' },
  maxLen: 80,
  tokens: tokens('::', '255.', '.0', 'ffff:', '/24', ':1'),
  seeds: () =>
    tokens(
      '10.1.2.3/24',
      '255.255.255.255',
      '::1',
      '::ffff:1.2.3.4',
      'fd00::1/64',
      '1:2:3:4:5:6:7:8/65535',
      '2001:db8::/-1',
    ),
  run(input) {
    const text = textOf(input);
    const ip = parseIp(text);
    must((ip !== undefined) === isAddress(text), `the platform reads "${text}" otherwise`);
    if (ip !== undefined) must(Buffer.compare(parseIp(ipText(ip))!, ip) === 0, 'ip not stable');
    // The names of programs are read by a room that may not import the wire's reader.
    const named = parseIpv4(text) ?? parseIpv6(text);
    must((named !== undefined) === isAddress(text), `names read "${text}" otherwise`);
    parseMac(text);
    const a = parseInetAddress(text);
    if (a === undefined) return;
    const again = parseInetAddress(inetAddressText(a))!;
    must(again.port === a.port && Buffer.compare(again.ip, a.ip) === 0, 'address not stable');
  },
};

const identity: Target = {
  name: 'identity-text',
  files: ['wire/identity.js'],
  plant: {
    file: 'wire/identity.js',
    find: "if (type !== '0')\n        return undefined;",
    replace: '',
  },
  maxLen: 400,
  tokens: tokens(':0:', ':', 'ff'),
  seeds: () => [0, 1].map((i) => bytesOf(emitIdentityText(poolIdentity(i), i === 1))),
  run(input) {
    const text = textOf(input);
    const id = parseIdentityText(text);
    if (id === undefined) return;
    const fields = text.split(':').filter((f) => f !== '');
    must(fields[1] === '0', 'a type that is not 0');
    const again = emitIdentityText(id, id.privateKey !== undefined);
    must(emitIdentityText(parseIdentityText(again)!, id.privateKey !== undefined) === again, again);
  },
};

/** What the platform's parser says, where both have one grammar. */
function platformTakes(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** How deep arrays and objects lie in each other: one pass over a text that the platform takes. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') quoted = !quoted;
    else if (quoted) i += c === '\\' ? 1 : 0;
    else if (c === '[' || c === '{') deepest = Math.max(deepest, ++depth);
    else if (c === ']' || c === '}') depth--;
  }
  return deepest;
}

/** Ours refuses what it says it refuses: deep nesting, numbers beyond doubles or long ones, half pairs. */
const mayDiffer = (text: string): boolean =>
  nesting(text) > 128 || /[0-9]{300}|[eE][+]?[0-9]{3}|\\u[dD][89a-fA-F]/.test(text);

const json: Target = {
  name: 'json',
  files: ['lib/json.js'],
  plant: {
    file: 'lib/json.js',
    find: "if (this.#i < this.#s.length)\n            this.#fail('text after the value');",
    replace: '',
  },
  maxLen: 4_000,
  tokens: tokens('{"a":', '[', ']', '}', '"\\u0000"', '\\ud800', '1e999', '-0', 'null', ',', '\\'),
  seeds() {
    const d = new LuckyDice(1, 'json seeds');
    const deep = '['.repeat(200);
    return [
      ...Array.from({ length: 60 }, () => bytesOf(emitJson(randomJson(d, 4)))),
      bytesOf(deep),
      bytesOf(`${'{"a":'.repeat(120)}1${'}'.repeat(120)}`),
    ];
  },
  run(input) {
    const text = textOf(input);
    let took = true;
    try {
      const once = emitJson(parseJson(text));
      must(emitJson(parseJson(once)) === once, 'what was written reads otherwise');
      const kept = emitJson(parseJson(text, 'keep'));
      must(emitJson(parseJson(kept, 'keep')) === kept, 'floats are not stable');
    } catch (e) {
      if (!(e instanceof JsonSyntaxError)) throw e;
      took = false;
    }
    const platform = platformTakes(text);
    must(took ? platform : !platform || mayDiffer(text), 'the platform decides otherwise');
  },
};

const localConf: Target = {
  name: 'local-conf',
  files: ['host/local-conf.js'],
  plant: { file: 'host/local-conf.js', find: 'if (!isRecord(v))', replace: 'if (false)' },
  maxLen: 2_000,
  tokens: tokens('"settings":{', '"netcon":{', '"cipher":', '"primaryPort":', 'null', '[]'),
  seeds: () =>
    tokens(
      '{"settings":{"primaryPort":9993,"netcon":{"cipher":"aes"},"allowManagementFrom":["10.0.0.0/8"]}}',
      '{}',
      'null',
      '[1]',
      ' ',
      '{"settings":null}',
    ),
  run(input) {
    try {
      const conf = parseLocalConf(textOf(input));
      must(['auto', 'aes', 'salsa'].includes(cipherSetting(conf)), 'an unknown cipher');
      const port = primaryPort(conf);
      must(port === undefined || (port >= 0 && port <= 65_535), 'a port out of range');
      must(
        allowManagementFrom(conf).every((x) => typeof x === 'string'),
        'not texts',
      );
    } catch (e) {
      if (!(e instanceof LocalConfError)) throw e;
    }
  },
};

const ruleJson: Target = {
  name: 'rules-json',
  files: ['controller/rules-json.js'],
  plant: {
    file: 'controller/rules-json.js',
    find: "if (!isRecord(j) || typeof j['type'] !== 'string')",
    replace: "if (typeof j['type'] !== 'string')",
  },
  maxLen: 2_000,
  tokens: tokens('"type":"MATCH_ICMP"', '"INTEGER_RANGE"', '"mask":', '"start":', 'null,', '"-1"'),
  seeds() {
    const d = new LuckyDice(2, 'rules seeds');
    const one = (): Uint8Array => bytesOf(emitJson([randomRecord(d, 2), randomRecord(d, 2)]));
    return [...Array.from({ length: 40 }, one), bytesOf('[null]'), bytesOf('[{"type":"x"}]')];
  },
  run(input) {
    let list: ReturnType<typeof parseJson>;
    try {
      list = parseJson(textOf(input));
    } catch {
      // Not JSON: the target `json` looks at that.
      return;
    }
    if (!Array.isArray(list)) return;
    try {
      const once = normalizeRules(list);
      must(emitJson(normalizeRules(once)) === emitJson(once), 'rules are not stable');
    } catch (e) {
      if (!(e instanceof RuleTypeError)) throw e;
    }
  },
};

const EVERY = 500;
let posted: Attacked | undefined;
let posts = 0;

/** A controller that is made anew now and then. */
function controllerOf(): Attacked {
  if (posted === undefined || ++posts % EVERY === 0) {
    posted = new Attacked(3);
    const nwid = networkOf(posted.self);
    const target = posted;
    target.input((at) =>
      target.node.run(at, () => target.controller.postNetwork(at, nwid, { private: false })),
    );
  }
  return posted;
}

const records: Target = {
  name: 'records',
  files: ['controller/records.js', 'controller/controller.js', 'controller/assign.js'],
  plant: {
    file: 'controller/records.js',
    find: "throw new RecordTypeError('ipAssignments must be an array of texts');",
    replace: '',
  },
  maxLen: 2_000,
  tokens: tokens('"ipAssignments":[', '"routes":[', '"v4AssignMode":{"zt":true}', 'null', '[1]'),
  seeds() {
    const d = new LuckyDice(3, 'record seeds');
    return [
      ...Array.from({ length: 60 }, () => bytesOf(emitJson(randomRecord(d, 4)))),
      bytesOf('{"ipAssignments":[1]}'),
      bytesOf('{"ipAssignments":["10.1.1.1"],"authorized":true}'),
    ];
  },
  run(input) {
    let request: ReturnType<typeof parseJson>;
    try {
      request = parseJson(textOf(input));
    } catch {
      return;
    }
    if (!isRecord(request)) return;
    const body = request;
    const attacked = controllerOf();
    const { controller } = attacked;
    const nwid = networkOf(attacked.self);
    const id = networkIdText(nwid);
    const who = poolIdentity(3).address;
    const texts = { nwid: id, address: who.toString(16).padStart(10, '0') };
    for (const post of [
      (at: ReturnType<Attacked['moment']>) => controller.postNetwork(at, nwid, body),
      (at: ReturnType<Attacked['moment']>) => controller.postMember(at, nwid, who, texts, body),
    ]) {
      try {
        attacked.input((at) => attacked.node.run(at, () => post(at)));
      } catch (e) {
        if (!(e instanceof RecordTypeError || e instanceof RuleTypeError)) throw e;
      }
    }
    const record = controller.memberRecord(nwid, who);
    const own = record?.['ipAssignments'];
    must(
      own === undefined || (Array.isArray(own) && own.every((x) => typeof x === 'string')),
      'ipAssignments that are not texts',
    );
    must(controller.load('network', emitJson(controller.networkRecord(nwid)!)), 'does not load');
  },
};

export const FAMILY: Family = {
  targets: [dictionary, address, identity, json, localConf, ruleJson, records],
};
