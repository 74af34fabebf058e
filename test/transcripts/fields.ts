/** Payload fields of a record against our codecs, in both directions (recipe 3). */
import assert from 'node:assert/strict';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Writer } from '#src/lib/writer.js';
import { addressText, macText, networkIdText, parseAddress, parseMac } from '#src/wire/address.js';
import { type Com, comSignedBytes, emitCom } from '#src/wire/com.js';
import {
  capabilitySignedBytes,
  ownershipSignedBytes,
  revocationSignedBytes,
  tagSignedBytes,
  verifyCapability,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from '#src/wire/credentials.js';
import { Dictionary } from '#src/wire/dictionary.js';
import {
  parseHello,
  parseHelloTail,
  parseIdentities,
  parseOkHello,
  parsePushDirectPaths,
  parseRendezvous,
  parseWhois,
  writeHello,
  writeOkHello,
  writePushDirectPaths,
  writeRendezvous,
} from '#src/wire/hello.js';
import {
  emitIdentity,
  emitIdentityText,
  type Identity,
  parseIdentityText,
} from '#src/wire/identity.js';
import { inetAddressText, parseInetAddress } from '#src/wire/inetaddress.js';
import { emitNetworkConfig, parseConfigChunk, parseNetworkConfig } from '#src/wire/netconf.js';
import { MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import {
  parseConfigRequest,
  parseCredentials,
  parseErrorHead,
  parseExtFrame,
  parseFrame,
  parseGather,
  parseGatherResult,
  parseLikes,
  parseMulticastFrame,
  parseOkHead,
  writeConfigRequest,
  writeCredentials,
  writeExtFrame,
  writeFrame,
  writeGather,
  writeGatherResult,
  writeLike,
  writeMulticastFrame,
} from '#src/wire/vl2-messages.js';
import { emitWorld } from '#src/wire/world.js';
import { type Fields, primitives, type Transcript } from './record.js';

const hex64 = (v: bigint): string => v.toString(16).padStart(16, '0');
const hex32 = (v: number): string => v.toString(16).padStart(8, '0');
const u64 = (text: string): bigint => BigInt(`0x${text}`);

/** Runs `write` and compares with the recorded payload. */
function rebuilt(payload: Uint8Array, write: (w: Writer) => void): void {
  const w = Writer.of(MAX_PACKET_LEN);
  write(w);
  assert.equal(toHex(w.done()), toHex(payload), 'built from the fields');
}

function must<T>(v: T | undefined): T {
  assert.notEqual(v, undefined, 'parses');
  return v as T;
}

function identityOf(t: Transcript, address: number): Identity {
  const node = t.nodes.find((n) => n.identity.address === address);
  assert.ok(node !== undefined, `identity of ${addressText(address)}`);
  return node.identity;
}

/** The signature must be good, and bad with one bit of the signed bytes changed (recipe 6). */
function signature(signer: Identity, bytes: Uint8Array, sig: Uint8Array): void {
  assert.ok(primitives.verify(signer.publicKey, bytes, sig), 'signature');
  const bad = Uint8Array.from(bytes);
  bad[bad.length >> 1] = bad[bad.length >> 1]! ^ 1;
  assert.ok(!primitives.verify(signer.publicKey, bad, sig), 'signature of changed bytes');
}

function com(t: Transcript, c: Com, f: Fields): void {
  assert.deepEqual(
    c.qualifiers.map((q) => ({
      id: hex64(q.id),
      value: hex64(q.value),
      maxDelta: hex64(q.maxDelta),
    })),
    (f['qualifiers'] as Fields[]).map((q) => ({
      id: hex64(BigInt(q['id'])),
      value: hex64(big(q['value'])),
      maxDelta: hex64(big(q['maxDelta'])),
    })),
  );
  if (f['raw'] !== undefined) assert.equal(toHex(emitCom(c)), f['raw']);
  signature(identityOf(t, c.signer), comSignedBytes(c), c.signature);
}

/** A 64-bit value of the record: hex text or a number. */
function big(v: string | number): bigint {
  return typeof v === 'number' ? BigInt(v) : u64(v);
}

// ---- VL1 ----

function hello(payload: Uint8Array, f: Fields): void {
  const h = must(parseHello(payload));
  const moons = must(parseHelloTail(payload, h.maskedFrom));
  assert.deepEqual(
    {
      protocolVersion: h.version.protocol,
      versionMajor: h.version.major,
      versionMinor: h.version.minor,
      versionRevision: h.version.revision,
      timestamp: Number(h.timestamp),
      identity: emitIdentityText(h.identity, false),
      sentTo: inetAddressText(h.sentTo),
      planetWorldId: hex64(h.planetId),
      planetWorldTimestamp: Number(h.planetTimestamp),
      maskedFrom: h.maskedFrom,
      moons: moons.map((m) => ({ type: m.type, id: hex64(m.id), timestamp: Number(m.timestamp) })),
    },
    { ...f },
  );
  rebuilt(payload, (w) => void writeHello(w, h, moons));
}

function okHello(
  body: Uint8Array,
  payload: Uint8Array,
  head: (w: Writer) => void,
  f: Fields,
): void {
  const ok = must(parseOkHello(body));
  assert.equal(Number(ok.timestamp), f['timestampEcho']);
  assert.equal(ok.version.protocol, f['protocolVersion']);
  assert.equal(ok.version.major, f['versionMajor']);
  assert.equal(ok.version.minor, f['versionMinor']);
  assert.equal(ok.version.revision, f['versionRevision']);
  assert.equal(inetAddressText(ok.surface), f['surface']);
  assert.deepEqual(
    ok.worlds.map((w) => ({
      type: w.type,
      id: hex64(w.id),
      timestamp: Number(w.timestamp),
      updatesMustBeSignedBy: toHex(w.updateKey),
      signature: toHex(w.signature),
      roots: w.roots.map((r) => ({
        identity: emitIdentityText(r.identity, false),
        endpoints: r.endpoints.map(inetAddressText),
      })),
    })),
    f['worlds'],
  );
  const worlds = ok.worlds.map(emitWorld);
  assert.equal(
    worlds.reduce((n, w) => n + w.length, 0),
    f['worldsLength'],
  );
  rebuilt(payload, (w) => {
    head(w);
    writeOkHello(w, ok, Uint8Array.from(worlds.flatMap((x) => [...x])));
  });
}

// ---- VL2 ----

function frame(payload: Uint8Array, f: Fields): void {
  const v = must(parseFrame(payload));
  assert.equal(networkIdText(v.nwid), f['networkId']);
  assert.equal(v.etherType, f['etherType']);
  assert.equal(toHex(v.frame), f['frame']);
  rebuilt(payload, (w) =>
    writeFrame(w, {
      nwid: u64(f['networkId']),
      etherType: f['etherType'],
      frame: fromHex(f['frame']),
    }),
  );
}

function extFrame(payload: Uint8Array, f: Fields): void {
  const v = must(parseExtFrame(payload));
  const body = must(v.body);
  assert.equal(networkIdText(v.nwid), f['networkId']);
  assert.equal(v.flags, f['flags']);
  assert.equal(macText(body.macDest), f['destMac']);
  assert.equal(macText(body.macSource), f['sourceMac']);
  assert.equal(body.etherType, f['etherType']);
  assert.equal(toHex(body.frame), f['frame']);
  rebuilt(payload, (w) => writeExtFrame(w, v.nwid, v.flags, body));
}

function likes(payload: Uint8Array, f: Fields): void {
  const list = parseLikes(payload);
  assert.deepEqual(
    list.map((l) => ({
      networkId: networkIdText(l.nwid),
      mac: macText(l.group.mac),
      adi: hex32(l.group.adi),
    })),
    f['groups'],
  );
  rebuilt(payload, (w) => {
    for (const g of f['groups'] as Fields[])
      writeLike(w, u64(g['networkId']), {
        mac: parseMac(g['mac'])!,
        adi: Number.parseInt(g['adi'], 16),
      });
  });
}

function gather(t: Transcript, payload: Uint8Array, f: Fields): void {
  const g = must(parseGather(payload));
  assert.equal(networkIdText(g.nwid), f['networkId']);
  assert.equal(macText(g.group.mac), f['mac']);
  assert.equal(hex32(g.group.adi), f['adi']);
  assert.equal(g.limit, f['gatherLimit']);
  assert.equal(g.com !== undefined, f['com'] !== undefined && f['com'] !== null);
  if (g.com !== undefined) com(t, g.com, f['com']);
  rebuilt(payload, (w) => writeGather(w, g));
}

function multicastFrame(payload: Uint8Array, f: Fields): void {
  const m = must(parseMulticastFrame(payload));
  assert.equal(networkIdText(m.nwid), f['networkId']);
  assert.equal(m.gatherLimit, f['gatherLimit'] ?? 0);
  assert.equal(m.macSource === undefined ? undefined : macText(m.macSource), f['sourceMac']);
  assert.equal(macText(m.group.mac), f['destMac']);
  assert.equal(hex32(m.group.adi), f['adi']);
  assert.equal(m.etherType, f['etherType']);
  assert.equal(toHex(m.frame), f['frame']);
  rebuilt(payload, (w) => writeMulticastFrame(w, m));
}

function credentials(t: Transcript, payload: Uint8Array, f: Fields): void {
  const c = must(parseCredentials(payload));
  assert.deepEqual(
    [
      c.coms.length,
      c.capabilities.length,
      c.tags.length,
      c.revocations.length,
      c.ownerships.length,
    ],
    ['coms', 'capabilities', 'tags', 'revocations', 'certificatesOfOwnership'].map(
      (k) => (f[k] as unknown[]).length,
    ),
  );
  for (const [i, x] of c.coms.entries()) com(t, x, f['coms'][i]);
  const raw = (write: (w: Writer) => void, expected: string): void => {
    const w = Writer.of(MAX_PACKET_LEN);
    write(w);
    assert.equal(toHex(w.done()), expected);
  };
  for (const [i, x] of c.capabilities.entries()) {
    raw((w) => writeCapability(w, x), f['capabilities'][i]['raw']);
    assert.equal(
      verifyCapability(primitives, x.custody[0]!.from, x, (a) => identityOf(t, a)),
      true,
    );
    signature(identityOf(t, x.custody[0]!.from), capabilitySignedBytes(x), x.custody[0]!.signature);
  }
  const head = (x: { nwid: bigint; timestamp: bigint; id: number }): Fields => ({
    networkId: networkIdText(x.nwid),
    timestamp: Number(x.timestamp),
    id: x.id,
  });
  const includes = (actual: Fields, expected: Fields): void => {
    for (const [k, v] of Object.entries(actual)) assert.deepEqual(v, expected[k], k);
  };
  for (const [i, x] of c.capabilities.entries()) includes(head(x), f['capabilities'][i]);
  for (const [i, x] of c.tags.entries()) {
    includes(
      {
        ...head(x),
        value: x.value,
        issuedTo: addressText(x.issuedTo),
        signedBy: addressText(x.signer),
      },
      f['tags'][i],
    );
    raw((w) => writeTag(w, x), f['tags'][i]['raw']);
    signature(identityOf(t, x.signer), tagSignedBytes(x), x.signature);
  }
  for (const [i, x] of c.revocations.entries()) {
    raw((w) => writeRevocation(w, x), f['revocations'][i]['raw']);
    signature(identityOf(t, x.signer), revocationSignedBytes(x), x.signature);
  }
  for (const [i, x] of c.ownerships.entries()) {
    includes(
      { ...head(x), issuedTo: addressText(x.issuedTo), signedBy: addressText(x.signer) },
      f['certificatesOfOwnership'][i],
    );
    raw((w) => writeOwnership(w, x), f['certificatesOfOwnership'][i]['raw']);
    signature(identityOf(t, x.signer), ownershipSignedBytes(x), x.signature);
  }
  rebuilt(payload, (w) => writeCredentials(w, c));
}

function configRequest(payload: Uint8Array, f: Fields): void {
  const q = must(parseConfigRequest(payload));
  assert.equal(networkIdText(q.nwid), f['networkId']);
  assert.equal(q.metadata.length, f['dictionaryLength']);
  const d = new Dictionary(q.metadata);
  for (const [key, value] of Object.entries(f['dictionary'] as Record<string, string>)) {
    assert.equal(d.text(key), value, `metadata ${key}`);
  }
  assert.equal(Number(q.revision), f['haveRevision']);
  assert.equal(Number(q.timestamp), f['haveTimestamp']);
  rebuilt(payload, (w) => writeConfigRequest(w, q));
}

function configChunk(t: Transcript, body: Uint8Array, f: Fields): void {
  const c = must(parseConfigChunk(body));
  const s = must(c.signed);
  assert.equal(networkIdText(c.nwid), f['networkId']);
  assert.equal(c.data.length, f['chunkLength']);
  assert.equal(toHex(c.data), f['chunk']);
  assert.equal(s.flags, f['flags']);
  assert.equal(hex64(s.updateId), f['updateId']);
  assert.equal(s.totalLen, f['totalLength']);
  assert.equal(s.offset, f['chunkIndex']);
  assert.equal(toHex(s.signature), f['signature']);
  assert.equal(f['signatureValid'], true);
  signature(identityOf(t, Number(c.nwid >> 24n)), s.signedBytes, s.signature);
  if (f['assembled'] !== undefined) assembled(f['assembled']);
}

/** The whole configuration that a chunk completed. */
export function assembled(f: Fields): void {
  const text = fromHex(f['dictionaryText']);
  const config = must(parseNetworkConfig(text));
  const e = f['config'] as Fields;
  assert.deepEqual(configFields(config), {
    networkId: e['networkId'],
    timestamp: e['timestamp'],
    credentialTimeMaxDelta: e['credentialTimeMaxDelta'],
    revision: e['revision'],
    issuedTo: e['issuedTo'],
    flags: big(e['flags']),
    mtu: e['mtu'],
    multicastLimit: e['multicastLimit'],
    type: e['type'],
    name: e['name'],
    staticIps: e['staticIps'],
    routes: (e['routes'] as Fields[]).map((r) => ({
      target: r['target'],
      via: r['via'] ?? '',
      flags: r['flags'],
      metric: r['metric'],
    })),
    specialists: (e['specialists'] as (string | number)[]).map((x) => hex64(big(x))),
    rules: (e['rules'] as Fields[]).map((r) => ({
      type: r['type'],
      not: r['not'],
      or: r['or'],
      value: r['value'],
    })),
    capabilities: (e['capabilities'] as Fields[]).map((c) => c['id']),
    tags: (e['tags'] as Fields[]).map((x) => [x['id'], x['value']]),
    ownerships: (e['certificatesOfOwnership'] as Fields[]).length,
    hasCom: e['com'] !== null && e['com'] !== undefined,
    dns: { domain: e['dns']?.['domain'] ?? '', servers: e['dns']?.['servers'] ?? [] },
  });
  assert.equal(toHex(emitNetworkConfig(config)), toHex(text), 'written again');
}

export function configFields(config: NonNullable<ReturnType<typeof parseNetworkConfig>>): Fields {
  return {
    networkId: networkIdText(config.nwid),
    timestamp: Number(config.timestamp),
    credentialTimeMaxDelta: Number(config.credentialTimeMaxDelta),
    revision: Number(config.revision),
    issuedTo: addressText(config.issuedTo),
    flags: config.flags,
    mtu: config.mtu,
    multicastLimit: config.multicastLimit,
    type: config.type,
    name: config.name,
    staticIps: config.addresses.map(inetAddressText),
    routes: config.routes.map((r) => ({
      target: inetAddressText(r.target),
      via: inetAddressText(r.via),
      flags: r.flags,
      metric: r.metric,
    })),
    specialists: config.specialists.map(hex64),
    rules: config.rules.map((r) => ({
      type: r.t & 0x3f,
      not: (r.t & 0x80) !== 0,
      or: (r.t & 0x40) !== 0,
      value: toHex(r.body),
    })),
    capabilities: config.capabilities.map((c) => c.id),
    tags: config.tags.map((x) => [x.id, x.value]),
    ownerships: config.ownerships.length,
    hasCom: config.com !== undefined,
    dns: { domain: config.dns.domain, servers: config.dns.servers.map((s) => inetAddressText(s)) },
  };
}

/** What follows the head of an OK, by the verb it answers. */
const OK_BODIES: Readonly<Record<number, (c: Check, body: Uint8Array, inReVerb: number) => void>> =
  {
    [VERB.HELLO]: (c, body) => okHello(body, c.payload, (w) => okHead(w, c.f), c.f),
    [VERB.WHOIS]: (c, body) => {
      const identities = parseIdentities(body).map((i) => emitIdentityText(i, false));
      assert.deepEqual(identities, c.f['identities']);
      rebuilt(c.payload, (w) => {
        okHead(w, c.f);
        for (const text of c.f['identities'] as string[]) {
          w.pos += emitIdentity(parseIdentityText(text)!, w.bytes, w.pos);
        }
      });
    },
    [VERB.NETWORK_CONFIG_REQUEST]: (c, body) => configChunk(c.t, body, c.f),
    [VERB.MULTICAST_GATHER]: gatherResult,
    [VERB.MULTICAST_FRAME]: gatherResult,
    [VERB.EXT_FRAME]: (c, body) => assert.equal(toHex(body), c.f['networkId']),
    [VERB.ECHO]: (c, body) =>
      assert.equal(toHex(body), c.f['data'] ?? c.f['networkId'] + c.f['updateId']),
  };

interface Check {
  readonly t: Transcript;
  readonly payload: Uint8Array;
  readonly f: Fields;
}

function okHead(w: Writer, f: Fields): void {
  w.u8(f['inReVerb']).u64(u64(f['inRePacketId']));
}

function gatherResult(c: Check, body: Uint8Array, inReVerb: number): void {
  const withFlags = inReVerb === VERB.MULTICAST_FRAME;
  const g = must(parseGatherResult(body, withFlags));
  assert.equal(networkIdText(g.nwid), c.f['networkId']);
  assert.equal(macText(g.group.mac), c.f['mac']);
  assert.equal(hex32(g.group.adi), c.f['adi']);
  assert.equal(g.totalKnown, c.f['totalKnown']);
  assert.deepEqual(g.members.map(addressText), c.f['members']);
  rebuilt(c.payload, (w) => {
    okHead(w, c.f);
    writeGatherResult(w, g, withFlags);
  });
}

function ok(c: Check): void {
  const v = must(parseOkHead(c.payload));
  assert.equal(v.inReVerb, c.f['inReVerb']);
  assert.equal(hex64(v.inRePacketId), c.f['inRePacketId']);
  const body = OK_BODIES[v.inReVerb];
  if (body === undefined) throw new Error(`OK of verb ${v.inReVerb}`);
  body(c, v.body, v.inReVerb);
}

function error(c: Check): void {
  const e = must(parseErrorHead(c.payload));
  assert.equal(e.inReVerb, c.f['inReVerb']);
  assert.equal(hex64(e.inRePacketId), c.f['inRePacketId']);
  assert.equal(e.code, c.f['errorCode']);
  if (c.f['networkId'] !== undefined) assert.equal(toHex(e.body.subarray(0, 8)), c.f['networkId']);
}

function whois(c: Check): void {
  assert.deepEqual(parseWhois(c.payload).map(addressText), c.f['addresses']);
  rebuilt(c.payload, (w) => {
    for (const a of c.f['addresses'] as string[]) w.u40(parseAddress(a)!);
  });
}

function rendezvous(c: Check): void {
  const r = must(parseRendezvous(c.payload));
  assert.equal(r.flags, c.f['flags']);
  assert.equal(addressText(r.peer), c.f['with']);
  assert.equal(inetAddressText(r.endpoint), c.f['endpoint']);
  rebuilt(c.payload, (w) => writeRendezvous(w, r));
}

function pushDirectPaths(c: Check): void {
  const paths = must(parsePushDirectPaths(c.payload));
  const expected = c.f['paths'] as Fields[];
  assert.deepEqual(
    paths.map((p) => ({ flags: p.flags, endpoint: inetAddressText(p.endpoint) })),
    expected.map((p) => ({ flags: p['flags'], endpoint: p['endpoint'] })),
  );
  rebuilt(c.payload, (w) => {
    writePushDirectPaths(
      w,
      expected.map((p) => parseInetAddress(p['endpoint'])!),
    );
  });
}

const VERBS: Readonly<Record<number, (c: Check) => void>> = {
  [VERB.HELLO]: (c) => hello(c.payload, c.f),
  [VERB.OK]: ok,
  [VERB.ERROR]: error,
  [VERB.WHOIS]: whois,
  [VERB.RENDEZVOUS]: rendezvous,
  [VERB.FRAME]: (c) => frame(c.payload, c.f),
  [VERB.EXT_FRAME]: (c) => extFrame(c.payload, c.f),
  [VERB.ECHO]: (c) => assert.equal(toHex(c.payload), c.f['data']),
  [VERB.MULTICAST_LIKE]: (c) => likes(c.payload, c.f),
  [VERB.NETWORK_CREDENTIALS]: (c) => credentials(c.t, c.payload, c.f),
  [VERB.NETWORK_CONFIG_REQUEST]: (c) => configRequest(c.payload, c.f),
  [VERB.NETWORK_CONFIG]: (c) => configChunk(c.t, c.payload, c.f),
  [VERB.MULTICAST_GATHER]: (c) => gather(c.t, c.payload, c.f),
  [VERB.MULTICAST_FRAME]: (c) => multicastFrame(c.payload, c.f),
  [VERB.PUSH_DIRECT_PATHS]: pushDirectPaths,
};

/** Parses a payload, compares every field of the record, and builds it again from them. */
export function checkFields(t: Transcript, verb: number, payload: Uint8Array, f: Fields): void {
  const check = VERBS[verb];
  if (check === undefined) throw new Error(`no codec for verb ${verb}`);
  check({ t, payload, f });
}
