/** Checkers of the `encoding-*` (but lz4) and `world-*` vector files. */
import assert from 'node:assert/strict';
import { createPrimitives } from '#src/crypto/native.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Reader } from '#src/lib/reader.js';
import { Writer } from '#src/lib/writer.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { adhocAddresses, adhocConfig, adhocForm, adhocName } from '#src/vl2/adhoc.js';
import {
  addressText,
  controllerOf,
  linkLocalAddress,
  macPrefix,
  macText,
  memberMac,
  memberOfMac,
  parseAddress,
  parseNetworkId,
  rfc4193Address,
  sixPlaneAddress,
} from '#src/wire/address.js';
import { Dictionary, DictionaryBuilder } from '#src/wire/dictionary.js';
import { emitIdentityText, validateIdentity } from '#src/wire/identity.js';
import {
  inetAddress,
  inetAddressText,
  ipScope,
  parseInetAddress,
  parseIp,
  prefixHash,
  readInetAddress,
  writeInetAddress,
} from '#src/wire/inetaddress.js';
import { isBroadcastMac, isMulticastMac, resolutionGroup } from '#src/wire/multicast-group.js';
import {
  defaultPlanet,
  emitWorld,
  parseWorld,
  replacesWorld,
  signWorld,
  verifyWorld,
  type World,
  worldSignedBytes,
} from '#src/wire/world.js';
import type { Case, Family } from './case.js';

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(toHex(actual), toHex(expected), what);
}

// ---- dictionary ----

function addEntry(d: DictionaryBuilder, e: Case): boolean {
  const key = e.text('key');
  switch (e.text('type')) {
    case 'bytes':
      return d.bytes(key, e.hex('value'));
    case 'uint':
    case 'int':
      return d.u64(key, BigInt(e.text('value')));
    case 'bool':
      return d.bool(key, e.bool('value'));
    case 'address':
      return d.u64(key, BigInt(`0x${e.text('value')}`));
    default:
      throw new TypeError(`unknown entry type ${e.text('type')}`);
  }
}

function dictionary(c: Case): void {
  c.note('name', 'why');
  if (c.text('kind') === 'build') {
    const d = new DictionaryBuilder(c.has('capacity') ? c.number('capacity') : 65_536);
    const full: number[] = [];
    for (const [i, e] of c.objects('entries').entries()) if (!addEntry(d, e)) full.push(i);
    same(d.build(), c.hex('text'), 'text');
    assert.deepEqual(full, c.has('full') ? c.list('full') : [], 'entries that did not fit');
    return;
  }
  const d = new Dictionary(c.hex('text'));
  if (c.has('capacity')) c.number('capacity');
  for (const l of c.objects('lookups')) {
    const key = l.text('key');
    const raw = l.raw('raw');
    assert.equal(d.bytes(key) === undefined ? null : toHex(d.bytes(key)!), raw, `raw ${key}`);
    assert.equal(d.u64(key).toString(), l.text('asUint'), `asUint ${key}`);
    assert.equal(d.s64(key).toString(), l.text('asInt'), `asInt ${key}`);
    assert.equal(d.bool(key), l.bool('asBool'), `asBool ${key}`);
  }
}

// ---- socket addresses ----

function inetaddress(c: Case): void {
  c.note('name', 'why');
  const mayDiffer = c.has('mayDiffer') && c.bool('mayDiffer');
  if (c.text('kind') === 'roundtrip') {
    const family = c.number('family');
    const a =
      family === 0 ? inetAddress(new Uint8Array(0), 0) : inetAddress(c.hex('ip'), c.number('port'));
    if (family === 0) c.note('ip', 'port');
    assert.equal(inetAddressText(a), c.text('text'));
    assert.equal(parseInetAddress(c.text('text'))?.family, family);
    const w = Writer.of(32);
    writeInetAddress(w, a);
    same(w.done(), c.hex('hex'), 'encoding');
    const back = readInetAddress(new Reader(w.done()));
    same(back.ip, a.ip, 'decoded ip');
    assert.equal(back.port, a.port);
    return;
  }
  const input = c.hex('input');
  const r = new Reader(input);
  const a = readInetAddress(r);
  const parses = c.bool('parses');
  const consumed = c.has('consumed') ? c.number('consumed') : 0;
  const text = c.has('text') ? c.text('text') : '';
  if (mayDiffer) return;
  assert.equal(!r.failed, parses, 'verdict');
  if (!parses) return;
  assert.equal(r.pos, consumed, 'consumed');
  assert.equal(inetAddressText(a), text, 'address');
}

function inetaddressString(c: Case): void {
  c.note('why');
  const text = c.text('text');
  const ok = c.bool('ok');
  const expected = {
    canonical: c.has('canonical') ? c.text('canonical') : '',
    port: c.has('port') ? c.number('port') : 0,
    scope: c.has('scope') ? c.number('scope') : 0,
    prefixHash: c.has('prefixHash') ? c.number('prefixHash') : 0,
    ip: c.has('ip') ? c.text('ip') : '',
  };
  if (c.has('mayDiffer') && c.bool('mayDiffer')) return;
  const a = parseInetAddress(text);
  assert.equal(a !== undefined, ok, 'verdict');
  if (a === undefined) return;
  assert.deepEqual(
    {
      canonical: inetAddressText(a),
      port: a.port,
      scope: ipScope(a.ip),
      prefixHash: prefixHash(a.ip),
      ip: toHex(a.ip),
    },
    expected,
  );
}

// ---- derivations ----

function ipv6(c: Case): void {
  const nwid = c.u64('networkId');
  const address = parseAddress(c.text('address'))!;
  const check = (ip: Uint8Array, bits: number, key: string): void => {
    same(ip, c.hex(key), key);
    assert.equal(inetAddressText(inetAddress(ip, bits)), c.text(`${key}Text`));
  };
  check(sixPlaneAddress(nwid, address), 40, 'sixplane');
  check(rfc4193Address(nwid, address), 88, 'rfc4193');
  const mac = memberMac(address, nwid);
  assert.equal(macText(mac), c.text('mac'));
  check(linkLocalAddress(mac), 64, 'linkLocal');
}

function mac(c: Case): void {
  c.note('name');
  const nwid = c.u64('networkId');
  const address = parseAddress(c.text('address'))!;
  const m = memberMac(address, nwid);
  assert.equal(macText(m), c.text('mac'));
  same(m, c.hex('macBytes'), 'macBytes');
  assert.equal(macPrefix(nwid), Number.parseInt(c.text('firstOctet'), 16));
  assert.equal(addressText(memberOfMac(m, nwid)), c.text('addressBack'));
}

function multicastGroup(c: Case): void {
  const g = resolutionGroup(parseIp(c.text('ip'))!);
  assert.equal(macText(g.mac), c.text('mac'));
  assert.equal(g.adi, c.number('adi'));
  same(Writer.of(10).put(g.mac).u32(g.adi).done(), c.hex('wire'), 'wire');
  assert.equal(isMulticastMac(g.mac), c.bool('isMulticast'));
  assert.equal(isBroadcastMac(g.mac), c.bool('isBroadcast'));
}

function networkId(c: Case): void {
  const nwid = parseNetworkId(c.text('networkId'))!;
  const address = parseAddress(c.text('address'))!;
  assert.equal(addressText(controllerOf(nwid)), c.text('controller'));
  assert.equal(Number(nwid & 0xff_ffffn), c.number('number'));
  assert.equal(macText(memberMac(address, nwid)), c.text('mac'));
  if (!c.has('adhoc')) return;
  const form = adhocForm(nwid);
  assert.equal(form?.kind ?? 'none', c.text('adhoc'));
  if (form === undefined) return;
  if (form.kind === 'ports') {
    assert.equal(form.start, c.number('startPort'));
    assert.equal(form.end, c.number('endPort'));
    assert.equal(form.valid, c.bool('valid'));
    assert.equal(adhocConfig(nwid, address, 1) !== undefined, form.valid);
    if (!form.valid) return;
  } else {
    assert.equal(form.firstOctet, c.number('firstOctet'));
    assert.equal(addressText(form.hub), c.text('hub'));
  }
  assert.deepEqual(adhocAddresses(form, nwid, address).map(inetAddressText), c.list('assigned'));
  assert.equal(adhocName(form), c.text('name'));
}

// ---- worlds ----

function checkFields(world: World, c: Case): void {
  assert.equal(world.type, c.number('type'));
  assert.equal(world.id, c.u64('id'));
  assert.equal(world.timestamp, c.u64('timestamp'));
  same(world.updateKey, c.hex('updatesMustBeSignedBy'), 'update key');
  same(world.signature, c.hex('signature'), 'signature');
  const roots = c.objects('roots');
  assert.equal(world.roots.length, roots.length);
  for (const [i, r] of roots.entries()) {
    assert.equal(emitIdentityText(world.roots[i]!.identity, false), r.text('identity'));
    assert.deepEqual(world.roots[i]!.endpoints.map(inetAddressText), r.list('endpoints'));
  }
  same(worldSignedBytes(world), c.hex('signedData'), 'signed data');
}

function worldDefault(c: Case): void {
  c.note('name', 'sha256');
  const binary = c.hex('binary');
  const built = defaultPlanet();
  same(emitWorld(built), binary, 'rebuilt from the table');
  const world = parseWorld(binary)!.world;
  checkFields(world, c);
  assert.equal(
    verifyWorld(primitives, world, world.updateKey),
    c.bool('signatureValidWithOwnUpdateKey'),
  );
  assert.deepEqual(
    world.roots.map((r) => validateIdentity(primitives, r.identity)),
    c.list('rootIdentitiesLocallyValid'),
  );
}

function worldSigned(c: Case): void {
  c.note('name');
  const binary = c.hex('binary');
  const parsed = parseWorld(binary)!;
  assert.equal(parsed.length, binary.length);
  checkFields(parsed.world, c);
  same(emitWorld(parsed.world), binary, 're-encoded');
  const signer = c.hex('signingPublic');
  assert.ok(verifyWorld(primitives, parsed.world, signer), 'signature');
  same(
    signWorld(primitives, parsed.world, c.hex('signingPrivate')).signature,
    parsed.world.signature,
    'signing again',
  );
  // Mechanical negatives: cut anywhere it must be refused, with any bit flipped it must not verify.
  for (let len = 0; len < binary.length; len += 7) {
    // The attached dictionary of a moon is skipped unread, so its absence is no error.
    if (parsed.world.type === 127 && len >= binary.length - 2) continue;
    assert.equal(parseWorld(binary.subarray(0, len)), undefined, `cut to ${len}`);
  }
  for (let at = 9; at < binary.length; at += 13) {
    const bad = binary.slice();
    bad[at] = bad[at]! ^ (1 << (at % 8));
    const w = parseWorld(bad)?.world;
    if (w !== undefined && toHex(emitWorld(w)) === toHex(bad)) {
      assert.ok(!verifyWorld(primitives, w, signer), `flipped byte ${at}`);
    }
  }
}

function worldMalformed(c: Case): void {
  c.note('name', 'why');
  const input = c.hex('input');
  const parsed = parseWorld(input);
  const parses = c.bool('parses');
  if (c.has('mayDiffer') && c.bool('mayDiffer')) {
    c.note('consumed', 'type', 'rootCount');
    return;
  }
  assert.equal(parsed !== undefined, parses, 'verdict');
  if (parsed === undefined) return;
  assert.equal(parsed.length, c.number('consumed'));
  assert.equal(parsed.world.type, c.number('type'));
  assert.equal(parsed.world.roots.length, c.number('rootCount'));
}

function worldUpdate(c: Case): void {
  c.note('name', 'why');
  const current = c.raw('current');
  const held = typeof current === 'string' ? parseWorld(fromHex(current))!.world : undefined;
  const candidate = parseWorld(c.hex('candidate'))!.world;
  assert.equal(replacesWorld(primitives, held, candidate), c.bool('accept'));
}

const family = (file: string, check: (c: Case) => void): Family => ({
  file,
  arrays: { cases: check },
});

export const encodingFamilies: readonly Family[] = [
  family('encoding-dictionary', dictionary),
  family('encoding-inetaddress', inetaddress),
  family('encoding-inetaddress-string', inetaddressString),
  family('encoding-ipv6', ipv6),
  family('encoding-mac', mac),
  family('encoding-multicast-group', multicastGroup),
  family('encoding-network-id', networkId),
  family('world-planet-default', worldDefault),
  family('world-signed', worldSigned),
  family('world-malformed', worldMalformed),
  family('world-update', worldUpdate),
];
