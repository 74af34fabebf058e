/** Checkers of the `vl2-*` files about addresses, rules, configurations and captured packets. */
import assert from 'node:assert/strict';
import { normalizeRules } from '#src/controller/rules-json.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import { equalJson, type JsonValue } from '#src/lib/json.js';
import { Reader } from '#src/lib/reader.js';
import { Writer } from '#src/lib/writer.js';
import { evaluate, type FilterInput } from '#src/vl2/filter.js';
import { emulateNdp } from '#src/vl2/neighbor.js';
import {
  addressText,
  controllerOf,
  macPrefix,
  macText,
  memberMac,
  memberOfMac,
  networkIdText,
  parseAddress,
  parseMac,
  parseNetworkId,
  rfc4193Address,
  sixPlaneAddress,
} from '#src/wire/address.js';
import { type Ownership, ownedThing, type Tag } from '#src/wire/credentials.js';
import { type Identity, parseIdentityText } from '#src/wire/identity.js';
import {
  inetAddress,
  inetAddressText,
  ipInPrefix,
  parseInetAddress,
  parseIp,
  readInetAddress,
  writeInetAddress,
} from '#src/wire/inetaddress.js';
import { resolutionGroup } from '#src/wire/multicast-group.js';
import {
  emitMetadata,
  emitNetworkConfig,
  type NetworkConfig,
  parseMetadata,
  parseNetworkConfig,
} from '#src/wire/netconf.js';
import { FLAG_COMPRESSED } from '#src/wire/packet.js';
import { emitRules, type Rule, readRules } from '#src/wire/rules.js';
import { parseConfigRequest } from '#src/wire/vl2-messages.js';
import type { Case, Family, JsonObject } from './case.js';
import {
  capabilityFields,
  comFields,
  expectedCom,
  ownershipFields,
  parseThing,
  tagFields,
} from './families-vl2-credentials.js';
import { headers, hex64, same, sameRules, wholeNumber } from './vl2-common.js';
import { core, primitives } from './vl2-lab.js';

function rulesOf(bytes: Uint8Array, max = 1024): Rule[] {
  const r = new Reader(bytes);
  const rules = readRules(r, max);
  assert.ok(!r.failed, 'rules parse');
  return rules;
}

// ---- addressing ----

function derivation(c: Case): void {
  const nwid = c.u64('networkId');
  const address = parseAddress(c.text('address'))!;
  assert.equal(addressText(controllerOf(nwid)), c.text('controller'));
  assert.equal(macPrefix(nwid), c.number('firstOctet'));
  const mac = memberMac(address, nwid);
  assert.equal(macText(mac), c.text('mac'));
  assert.equal(addressText(memberOfMac(mac, nwid)), c.text('macToAddress'));
  assert.equal(
    inetAddressText(inetAddress(sixPlaneAddress(nwid, address), 40)),
    c.text('sixPlane'),
  );
  assert.equal(inetAddressText(inetAddress(rfc4193Address(nwid, address), 88)), c.text('rfc4193'));
}

function resolution(c: Case): void {
  const g = resolutionGroup(parseIp(c.text('ip'))!);
  assert.equal(macText(g.mac), c.text('mac'));
  assert.equal(g.adi, c.number('adi'));
}

function configAddress(c: Case): void {
  const bytes = c.hex('bytes');
  const a = readInetAddress(new Reader(bytes));
  assert.equal(inetAddressText(a), c.text('text'));
  const w = Writer.of(32);
  writeInetAddress(w, parseInetAddress(c.text('text'))!);
  same(w.done(), bytes, 'bytes');
}

// ---- rules ----

function ruleSet(c: Case): void {
  c.note('name', 'note');
  if (c.has('accepted')) {
    // The reference's parser forgets to accept INTEGER_RANGE; ours takes it [4 section 13, 9].
    assert.equal(c.bool('accepted'), false);
    return;
  }
  const json = c.list('controllerJson');
  const bytes = c.hex('bytes');
  const rules = rulesOf(bytes);
  same(emitRules(rules), bytes, 'written again');
  const normal = normalizeRules(json as unknown as JsonValue[]);
  const expected = (c.list('normalizedJson') as JsonObject[]).map(({ t: _t, ...rest }) => rest);
  assert.ok(
    equalJson(normal, expected as unknown as JsonValue),
    `${JSON.stringify(normal)} is not ${JSON.stringify(expected)}`,
  );
  sameRules(rules, c.list('normalizedJson') as unknown as JsonValue[]);
}

function ruleDecode(c: Case): void {
  c.note('name', 'note');
  const r = new Reader(c.hex('bytes'));
  const rules = readRules(r, c.number('maxRules'));
  if (c.text('result') !== 'ok') {
    assert.ok(r.failed, 'refused');
    assert.equal(rules.length, c.number('decodedBeforeError'));
    return;
  }
  assert.ok(!r.failed);
  assert.equal(r.pos, c.number('consumed'));
  sameRules(rules, c.list('rules') as unknown as JsonValue[]);
  same(emitRules(rules), c.hex('reencoded'), 're-encoded');
}

const VERDICTS: Readonly<Record<string, string>> = {
  noMatch: 'NO_MATCH',
  drop: 'DROP',
  accept: 'ACCEPT',
  superAccept: 'SUPER_ACCEPT',
  redirect: 'REDIRECT',
};

function tagMap(pairs: readonly (readonly [number, number])[]): Map<number, Tag> {
  const base = { nwid: 0n, timestamp: 0n, issuedTo: 0, signer: 0, signature: new Uint8Array(96) };
  return new Map(pairs.map(([id, value]) => [id, { ...base, id, value }]));
}

function owned(c: Case, key: string): Ownership[] {
  if (!c.has(key)) return [];
  const things = (c.list(key) as string[]).map((t) => {
    const { type, bytes } = parseThing(t);
    return ownedThing(type, bytes);
  });
  return [
    {
      nwid: 0n,
      timestamp: 0n,
      flags: 0n,
      id: 1,
      things,
      issuedTo: 0,
      signer: 0,
      signature: new Uint8Array(96),
    },
  ];
}

function ruleEval(c: Case, file: JsonObject): void {
  c.note('name', 'note', 'qosBucket');
  const rules = rulesOf(c.hex('ruleBytes'));
  sameRules(rules, c.list('rules') as unknown as JsonValue[]);
  const flags = c.has('networkFlags') ? c.u64('networkFlags') : 0n;
  const statics = c.has('staticIps')
    ? (c.list('staticIps') as string[]).map((s) => parseInetAddress(s)!)
    : [];
  const self = parseAddress(c.text('self'))!;
  const nwid = parseNetworkId(String(file['networkId']))!;
  const remote = c.raw('remoteTags') as [number, number][] | null;
  const remoteTags = tagMap(remote ?? []);
  const emulated = [
    { ip: sixPlaneAddress(nwid, self), bits: 40 },
    { ip: rfc4193Address(nwid, self), bits: 88 },
  ].filter((e) => statics.some((s) => toHex(s.ip) === toHex(e.ip)));
  const input: FilterInput = {
    inbound: c.bool('inbound'),
    self,
    source: parseAddress(c.text('ztSource'))!,
    destination: parseAddress(c.text('ztDest'))!,
    macSource: parseMac(c.text('macSource'))!,
    macDest: parseMac(c.text('macDest'))!,
    etherType: c.number('etherType'),
    vlanId: c.number('vlanId'),
    frame: c.hex('frame'),
    unknownMatches: (flags & 8n) !== 0n,
    localTags: tagMap(c.list('localTags') as [number, number][]),
    localOwnerships: owned(c, 'localOwned'),
    remoteOwnerships: owned(c, 'remoteOwned'),
    remoteTag: (id) => remoteTags.get(id),
    isEmulated: (ip) => (flags & 4n) !== 0n && emulated.some((e) => ipInPrefix(ip, e.ip, e.bits)),
    random: () => 0xffff_ffff,
  };
  const v = evaluate(rules, input);
  assert.equal(VERDICTS[v.verdict], c.text('result'));
  if (v.verdict === 'redirect') assert.equal(addressText(v.redirectTo), c.text('redirectTo'));
  const tee = c.has('tee') ? c.raw('tee') : undefined;
  const copy =
    v.copy === undefined
      ? undefined
      : { to: addressText(v.copy.target), length: v.copy.len, watch: v.copy.watch };
  assert.deepEqual(copy, tee);
}

// ---- configurations ----

function configFields(x: NetworkConfig): Record<string, unknown> {
  const optional = (a: { family: number }, text: string): string | null =>
    a.family === 0 ? null : text;
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    credentialTimeMaxDelta: wholeNumber(x.credentialTimeMaxDelta),
    revision: wholeNumber(x.revision),
    issuedTo: addressText(x.issuedTo),
    remoteTraceTarget: addressText(x.traceTarget),
    remoteTraceLevel: wholeNumber(x.traceLevel),
    flags: hex64(x.flags),
    mtu: x.mtu,
    multicastLimit: x.multicastLimit,
    type: x.type,
    name: x.name,
    com: x.com === undefined ? null : comFields(x.com),
    capabilities: x.capabilities.map(capabilityFields),
    tags: x.tags.map(tagFields),
    certificatesOfOwnership: x.ownerships.map(ownershipFields),
    specialists: x.specialists.map(hex64),
    routes: x.routes.map((r) => ({
      target: optional(r.target, inetAddressText(r.target)),
      via: optional(r.via, inetAddressText(r.via)),
      flags: r.flags,
      metric: r.metric,
    })),
    staticIps: x.addresses.map(inetAddressText),
    dnsDomain: x.dns.domain,
    dnsServers: x.dns.servers.map(inetAddressText),
    ssoVersion: wholeNumber(x.sso.version),
    ssoEnabled: x.sso.enabled,
  };
}

/** Fields of version 1; in version 0 the reference leaves what was there before. */
function ssoFlowFields(x: NetworkConfig): JsonObject {
  const flow = x.sso.flow;
  return {
    issuerURL: flow?.issuerUrl ?? '',
    centralAuthURL: flow?.centralUrl ?? '',
    ssoNonce: flow?.nonce ?? '',
    ssoState: flow?.state ?? '',
    ssoClientID: flow?.clientId ?? '',
    ssoProvider: flow?.provider ?? '',
  };
}

const SSO_FLOW = [
  'issuerURL',
  'centralAuthURL',
  'ssoNonce',
  'ssoState',
  'ssoClientID',
  'ssoProvider',
];

function config(c: Case): void {
  c.note('note');
  const name = c.text('name');
  const text = c.hex('dictionary');
  const parsed = parseNetworkConfig(text);
  const accepted = c.bool('accepted');
  assert.equal(parsed !== undefined, accepted, 'verdict');
  if (parsed === undefined) {
    c.note('parsed');
    return;
  }
  sameConfig(parsed, c.raw('parsed') as JsonObject);
  if (name.startsWith('sso-')) same(emitNetworkConfig(parsed), text, 'written again');
}

/** Compares every field of a configuration; written and read again it must be the same one. */
export function sameConfig(parsed: NetworkConfig, expected: JsonObject): void {
  const e = { ...expected };
  const { rules, dns, capabilities } = e;
  assert.equal(parsed.sso.authenticationUrl, e['authenticationURL'] ?? '');
  assert.equal(wholeNumber(parsed.sso.expiryTime), e['authenticationExpiryTime'] ?? 0);
  const flow = ssoFlowFields(parsed);
  for (const k of SSO_FLOW) assert.equal(flow[k], e[k] ?? '', k);
  for (const k of [
    ...SSO_FLOW,
    'authenticationURL',
    'authenticationExpiryTime',
    'rules',
    'dns',
    'capabilities',
  ])
    delete e[k];
  const { capabilities: ourCaps, dnsDomain, dnsServers, ...ours } = configFields(parsed);
  assert.deepEqual(
    ours,
    e['com'] === null ? e : { ...e, com: expectedCom(e['com'] as JsonObject) },
  );
  assert.deepEqual(
    ourCaps,
    (capabilities as JsonObject[]).map(({ rules: _r, ...rest }) => rest),
  );
  for (const [i, cap] of (capabilities as JsonObject[]).entries())
    if (cap['rules'] !== undefined) {
      sameRules(parsed.capabilities[i]!.rules, cap['rules'] as never);
    }
  if (Array.isArray(rules)) sameRules(parsed.rules, rules as never);
  else {
    const { count, bytes } = rules as { count: number; bytes: string };
    assert.equal(parsed.rules.length, count);
    same(emitRules(parsed.rules), fromHex(bytes), 'rules');
  }
  const d = dns as { domain: string; servers: (string | null)[] };
  assert.equal(dnsDomain, d.domain);
  assert.deepEqual(
    dnsServers,
    d.servers.filter((s) => s !== null),
  );
  assert.deepEqual(
    configFields(parseNetworkConfig(emitNetworkConfig(parsed))!),
    configFields(parsed),
  );
}

function configRequestCase(c: Case): void {
  c.note('name');
  const payload = c.hex('payload');
  const q = parseConfigRequest(payload)!;
  assert.equal(networkIdText(q.nwid), c.text('networkId'));
  assert.equal(q.metadata.length, c.number('metadataLength'));
  assert.equal(new TextDecoder().decode(q.metadata), c.text('metadata'));
  assert.equal(hex64(q.revision), c.text('haveRevision'));
  assert.equal(hex64(q.timestamp), c.text('haveTimestamp'));
  same(emitMetadata(12, 'linux/x86_64'), q.metadata, 'our own metadata');
}

function metadata(c: Case): void {
  c.note('name', 'note');
  const m = parseMetadata(c.hex('metadata'));
  assert.deepEqual(
    {
      v: m.configVersion,
      pv: m.protocol,
      majv: m.major,
      minv: m.minor,
      revv: m.revision,
      revr: m.rulesRevision,
      a: m.auth,
    },
    c.raw('asRead'),
  );
}

// ---- NDP emulation ----

function ndp(c: Case): void {
  c.note('name', 'note');
  const nwid = c.u64('networkId');
  const info = {
    macSource: parseMac(c.text('macSource'))!,
    macDest: parseMac(c.text('macDest'))!,
    etherType: 0x86dd,
    frame: c.hex('frameIn'),
  };
  const partial = {
    nwid,
    flags: c.u64('flags'),
    addresses: (c.list('staticIps') as string[]).map((s) => parseInetAddress(s)!),
  };
  const reply = emulateNdp(
    partial as unknown as NetworkConfig,
    parseAddress(c.text('self'))!,
    info,
  );
  const expected = c.raw('replyToNic') as JsonObject | null;
  assert.equal(reply !== undefined, expected !== null, 'verdict');
  const hasMulticast = c.number('multicastLimit') > 0;
  assert.equal(reply === undefined && hasMulticast, c.bool('forwarded'));
  if (reply === undefined || expected === null) return;
  assert.deepEqual(
    {
      macSource: macText(reply.macSource),
      macDest: macText(reply.macDest),
      etherType: reply.etherType,
      data: toHex(reply.frame),
    },
    expected,
  );
}

// ---- captured packets ----

function wire(c: Case, file: JsonObject): void {
  c.note('capture', 't', 'kind', 'udpDatagrams');
  const nodes = file['nodes'] as Record<string, JsonObject>;
  const id = (name: string): Identity => parseIdentityText(String(nodes[name]!['secret']))!;
  const [from, to] = [id(c.text('from')), id(c.text('to'))];
  const raw = c.hex('raw');
  assert.equal(toHex(raw.subarray(0, 8)), c.text('packetId'));
  assert.equal(raw[18]! & 7, c.number('hops'));
  assert.equal((raw[18]! >> 3) & 7, c.number('cipher'));
  const key = core.makeKey(primitives.agree(to.privateKey!, from.publicKey)!);
  assert.ok(core.open(key, raw), 'authenticates');
  assert.equal(raw[27]! & 0x1f, c.number('verb'));
  const compressed = (raw[27]! & FLAG_COMPRESSED) !== 0;
  assert.equal(compressed, c.bool('compressed'));
  let payload = raw.subarray(28);
  if (compressed) {
    const out = new Uint8Array(10_024);
    payload = out.subarray(0, core.decompress(payload, out));
  }
  same(payload, c.hex('payload'), 'payload');
}

export const vl2Families: readonly Family[] = [
  {
    file: 'vl2-addressing',
    arrays: { derivations: derivation, resolutionGroups: resolution, inetAddresses: configAddress },
  },
  { file: 'vl2-rules', arrays: { sets: ruleSet, decode: ruleDecode } },
  {
    file: 'vl2-rule-eval',
    arrays: { cases: ruleEval },
    headers: [...headers, 'timestamp', 'structuredCases'],
  },
  { file: 'vl2-netconf', arrays: { configs: config }, headers: [...headers, 'dictionaryCapacity'] },
  {
    file: 'vl2-metadata',
    arrays: { requests: configRequestCase, dictionaries: metadata },
    headers: ['networkId'],
  },
  { file: 'vl2-ndp', arrays: { cases: ndp }, headers: ['identities'] },
  { file: 'vl2-wire', arrays: { packets: wire }, headers: ['nodes'] },
];
