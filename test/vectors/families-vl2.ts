/** Checkers of the `vl2-*` files about credentials, rules, configurations and captured packets. */
import assert from 'node:assert/strict';
import { normalizeRules, ruleToJson } from '#src/controller/rules-json.js';
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
import {
  type Com,
  comAgrees,
  comIssuedTo,
  comNetwork,
  comSignedBytes,
  comTimestamp,
  emitCom,
  readCom,
} from '#src/wire/com.js';
import {
  type Capability,
  capabilityIssuedTo,
  capabilitySignedBytes,
  type Ownership,
  ownedThing,
  ownershipSignedBytes,
  owns,
  type Revocation,
  readCapability,
  readOwnership,
  readRevocation,
  readTag,
  revocationSignedBytes,
  type Tag,
  THING,
  tagSignedBytes,
  verifyCapability,
  verifySigned,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from '#src/wire/credentials.js';
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
import { core, primitives, secretIdentities } from './vl2-lab.js';

const hex64 = (v: bigint): string => v.toString(16).padStart(16, '0');
const wholeNumber = (v: bigint): number => Number(v);

function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(toHex(actual), toHex(expected), what);
}

/** Named identities of a file. */
function identities(file: JsonObject): Map<string, Identity> {
  const out = new Map<string, Identity>();
  for (const [name, v] of Object.entries(file['identities'] as Record<string, JsonObject>)) {
    out.set(name, parseIdentityText(String(v['secret'] ?? v['public']))!);
  }
  return out;
}

const controllerOfFile = (file: JsonObject): Identity => identities(file).get('controller')!;

function identityOf(file: JsonObject, address: number): Identity | undefined {
  return [...identities(file).values()].find((i) => i.address === address);
}

/** Signatures are deterministic: a good one is what ours makes with the signer's secret. */
function signedAgain(signer: number, bytes: Uint8Array, signature: Uint8Array): void {
  const identity = [...secretIdentities().values()].find((i) => i.address === signer);
  assert.ok(identity !== undefined, 'the signer is of this set');
  same(primitives.sign(identity.privateKey!, bytes), signature, 'signed again');
}

/** Parsers never trap and never accept a cut certificate as it was. */
function cutAnywhere<T>(bytes: Uint8Array, read: (r: Reader) => T): void {
  for (let len = 0; len < bytes.length; len += 5) {
    const r = new Reader(bytes.subarray(0, len));
    read(r);
    assert.ok(r.failed || r.pos <= len, `cut to ${len}`);
  }
}

// ---- rules as the vectors write them ----

/** A rule in the controller's JSON names plus `t`, as ours render it. */
function vectorRule(rule: Rule): JsonValue {
  const json = ruleToJson(rule);
  return json === undefined ? { t: rule.t } : { ...json, t: rule.t };
}

/** Compares rules, leaving out what has no form of its own in ours (unknown types, priorities). */
export function sameRules(actual: readonly Rule[], expected: JsonValue[]): void {
  assert.equal(actual.length, expected.length, 'number of rules');
  for (const [i, rule] of actual.entries()) {
    const e = expected[i] as Record<string, JsonValue>;
    assert.equal(rule.t, e['t'], `type byte of rule ${i}`);
    const json = ruleToJson(rule);
    if (json === undefined) continue;
    assert.ok(
      equalJson(vectorRule(rule), e),
      `rule ${i}: ${JSON.stringify(vectorRule(rule))} is not ${JSON.stringify(e)}`,
    );
  }
}

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

// ---- certificates of membership ----

export function comFields(com: Com): unknown {
  return {
    qualifiers: com.qualifiers.map((q) => ({
      id: wholeNumber(q.id),
      value: hex64(q.value),
      maxDelta: hex64(q.maxDelta),
    })),
    networkId: networkIdText(comNetwork(com)),
    timestamp: wholeNumber(comTimestamp(com)),
    issuedTo: addressText(comIssuedTo(com)),
    signedBy: addressText(com.signer),
    signature: toHex(com.signature),
  };
}

/** A certificate as the vectors describe it; `signature` null or absent = unsigned. */
export function expectedCom(v: JsonObject): unknown {
  return { ...v, signedBy: v['signedBy'] ?? '0000000000', signature: v['signature'] ?? '' };
}

function certificate(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const bytes = c.hex('serialized');
  const r = new Reader(bytes);
  const com = readCom(r);
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  assert.deepEqual(comFields(com), expectedCom(c.raw('fields') as JsonObject));
  same(emitCom(com), bytes, 'written again');
  same(comSignedBytes(com), c.hex('signedBytes'), 'signed bytes');
  const controller = controllerOfFile(file);
  const ok =
    com.signer === controller.address &&
    primitives.verify(controller.publicKey, comSignedBytes(com), com.signature);
  assert.equal(ok, c.bool('verify'));
  if (ok) signedAgain(com.signer, comSignedBytes(com), com.signature);
  cutAnywhere(bytes, readCom);
}

function comParse(c: Case): void {
  c.note('name', 'note');
  const r = new Reader(c.hex('bytes'));
  readCom(r);
  const isOk = c.text('result') === 'ok';
  assert.equal(!r.failed, isOk);
  if (c.has('consumed')) assert.equal(r.pos, c.number('consumed'));
}

function agreement(c: Case, file: JsonObject): void {
  c.note('note');
  const find = (name: string): Com => {
    const entry = (file['certificates'] as JsonObject[]).find((x) => x['name'] === name)!;
    return readCom(new Reader(fromHex(String(entry['serialized']))));
  };
  const [mine, theirs] = [find(c.text('mine')), find(c.text('theirs'))];
  const who = identities(file).get(c.text('theirIdentity'))!;
  assert.equal(comAgrees(primitives, mine, theirs, who), c.bool('agrees'));
}

// ---- capabilities, tags, ownership, revocations ----

export function capabilityFields(x: Capability): Record<string, unknown> {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    id: x.id,
    ruleCount: x.rules.length,
    maxCustodyChainLength: x.maxCustody,
    custody: x.custody.map((e) => ({
      to: addressText(e.to),
      from: addressText(e.from),
      signature: toHex(e.signature),
    })),
    issuedTo: addressText(capabilityIssuedTo(x)),
  };
}

function written(write: (w: Writer) => void): Uint8Array {
  const w = Writer.of(20_000);
  write(w);
  return w.done();
}

function capability(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const bytes = c.hex('serialized');
  const r = new Reader(bytes);
  const x = readCapability(r);
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  const { rules, ...rest } = c.raw('fields') as JsonObject;
  assert.deepEqual(capabilityFields(x), rest);
  sameRules(x.rules, rules as JsonValue[] as never);
  same(
    written((w) => writeCapability(w, x)),
    bytes,
    'written again',
  );
  same(capabilitySignedBytes(x), c.hex('signedBytes'), 'signed bytes');
  const ok = verifyCapability(primitives, controllerOfFile(file).address, x, (a) =>
    identityOf(file, a),
  );
  assert.equal(ok, c.bool('verify'));
  if (ok === true)
    for (const e of x.custody) signedAgain(e.from, capabilitySignedBytes(x), e.signature);
  cutAnywhere(bytes, readCapability);
}

function parseCase<T>(read: (r: Reader) => T): (c: Case) => void {
  return (c) => {
    c.note('name', 'note');
    const r = new Reader(c.hex('bytes'));
    read(r);
    assert.equal(!r.failed, c.text('result') === 'ok', 'verdict');
    if (c.has('consumed')) assert.equal(r.pos, c.number('consumed'));
  };
}

export function tagFields(x: Tag): unknown {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    id: x.id,
    value: x.value,
    issuedTo: addressText(x.issuedTo),
    signedBy: addressText(x.signer),
    signature: toHex(x.signature),
  };
}

function signedCase<T extends { signer: number; signature: Uint8Array }>(
  read: (r: Reader) => T,
  write: (w: Writer, x: T) => void,
  signedBytes: (x: T) => Uint8Array,
  fields: (x: T) => unknown,
): (c: Case, file: JsonObject) => void {
  return (c, file) => {
    c.note('name', 'note');
    const bytes = c.hex('serialized');
    const r = new Reader(bytes);
    const x = read(r);
    assert.ok(!r.failed && r.remaining === 0, 'parses whole');
    assert.deepEqual(fields(x), c.raw('fields'));
    same(
      written((w) => write(w, x)),
      bytes,
      'written again',
    );
    same(signedBytes(x), c.hex('signedBytes'), 'signed bytes');
    const controller = controllerOfFile(file);
    const ok = verifySigned(primitives, controller, x.signer, signedBytes(x), x.signature);
    assert.equal(ok, c.bool('verify'));
    if (ok) signedAgain(x.signer, signedBytes(x), x.signature);
    cutAnywhere(bytes, read);
  };
}

export function ownershipFields(x: Ownership): unknown {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    flags: hex64(x.flags),
    id: x.id,
    things: x.things.map((t) => ({
      type: t.type,
      value: toHex(t.value),
      text: thingText(t.type, t.value),
    })),
    issuedTo: addressText(x.issuedTo),
    signedBy: addressText(x.signer),
    signature: toHex(x.signature),
  };
}

function thingText(type: number, value: Uint8Array): string {
  if (type === THING.MAC) return macText(value.subarray(0, 6));
  return inetAddressText(inetAddress(value.subarray(0, type === THING.IPV4 ? 4 : 16), 0)).replace(
    /\/0$/,
    '',
  );
}

function parseThing(text: string): { type: number; bytes: Uint8Array } {
  const mac = parseMac(text.replace(/^mac /, ''));
  if (mac !== undefined && /^(?:mac )?(?:..:){5}..$/.test(text))
    return { type: THING.MAC, bytes: mac };
  const bytes = parseIp(text)!;
  return { type: bytes.length === 4 ? THING.IPV4 : THING.IPV6, bytes };
}

function ownershipTest(c: Case, file: JsonObject): void {
  const entry = (file['certificates'] as JsonObject[]).find(
    (x) => x['name'] === c.text('certificate'),
  )!;
  const x = readOwnership(new Reader(fromHex(String(entry['serialized']))));
  const { type, bytes } = parseThing(c.text('thing'));
  assert.equal(owns(x, type, bytes), c.bool('owns'));
}

export function revocationFields(x: Revocation): unknown {
  return {
    id: x.id,
    networkId: networkIdText(x.nwid),
    credentialId: x.credentialId,
    threshold: wholeNumber(x.threshold),
    flags: hex64(x.flags),
    target: addressText(x.target),
    signedBy: addressText(x.signer),
    type: x.type,
    signature: toHex(x.signature),
  };
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

const headers = ['networkId', 'identities'];

export const vl2Families: readonly Family[] = [
  {
    file: 'vl2-addressing',
    arrays: { derivations: derivation, resolutionGroups: resolution, inetAddresses: configAddress },
  },
  {
    file: 'vl2-com',
    arrays: { certificates: certificate, parse: comParse, agreement },
    headers: [...headers, 'identityHashes'],
  },
  {
    file: 'vl2-capability',
    arrays: { capabilities: capability, parse: parseCase(readCapability) },
    headers,
  },
  {
    file: 'vl2-tag',
    arrays: {
      tags: signedCase(readTag, writeTag, tagSignedBytes, tagFields),
      parse: parseCase(readTag),
    },
    headers,
  },
  {
    file: 'vl2-coo',
    arrays: {
      certificates: signedCase(
        readOwnership,
        writeOwnership,
        ownershipSignedBytes,
        ownershipFields,
      ),
      ownership: ownershipTest,
      parse: parseCase(readOwnership),
    },
    headers,
  },
  {
    file: 'vl2-revocation',
    arrays: {
      revocations: signedCase(
        readRevocation,
        writeRevocation,
        revocationSignedBytes,
        revocationFields,
      ),
    },
    headers,
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
