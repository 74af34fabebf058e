/** Payloads of every kind that VL2 knows, as `vl2-packets` describes them. */
import assert from 'node:assert/strict';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Reader } from '#src/lib/reader.js';
import { Writer } from '#src/lib/writer.js';
import { addressText, macText, networkIdText } from '#src/wire/address.js';
import { type Com, emitCom } from '#src/wire/com.js';
import { Dictionary } from '#src/wire/dictionary.js';
import type { MulticastGroup } from '#src/wire/multicast-group.js';
import { ERROR_CODE, MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import {
  EXT_FRAME_FLAG,
  LIKE_LEN,
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
import type { Case, JsonObject } from './case.js';
import {
  capabilityFields,
  comFields,
  expectedCom,
  ownershipFields,
  revocationFields,
  tagFields,
} from './families-vl2-credentials.js';
import { hex64, must, sameRules } from './vl2-common.js';

function written(write: (w: Writer) => void): string {
  const w = Writer.of(MAX_PACKET_LEN);
  write(w);
  return toHex(w.done());
}

interface Parsed {
  /** The fields that the case must state, in any order. */
  readonly fields: JsonObject;
  /** The payload written again from what was parsed; undefined where ours never writes the form. */
  readonly again: string | undefined;
}

const com = (x: Com | undefined): JsonObject =>
  x === undefined ? {} : { com: comFields(x) as JsonObject };

const group = (g: MulticastGroup): JsonObject => ({ mac: macText(g.mac), adi: g.adi });

function framePayload(p: Uint8Array): Parsed {
  const f = must(parseFrame(p));
  return {
    fields: { networkId: networkIdText(f.nwid), etherType: f.etherType, data: toHex(f.frame) },
    again: written((w) => writeFrame(w, f)),
  };
}

/** The information bits 02, 04 and 08 as a 3-bit number, lowest first. */
const subtype = (flags: number): number => (flags >> 1) & 7;

function extFramePayload(p: Uint8Array): Parsed {
  const f = must(parseExtFrame(p));
  const body = must(f.body);
  const hasCom = (f.flags & EXT_FRAME_FLAG.COM) !== 0;
  return {
    fields: {
      networkId: networkIdText(f.nwid),
      flags: f.flags,
      comAttached: hasCom,
      ackRequested: (f.flags & EXT_FRAME_FLAG.ACK) !== 0,
      subtypeBits: subtype(f.flags),
      ...com(f.com),
      ...(f.com === undefined ? {} : { comLength: emitCom(f.com).length }),
      macDest: macText(body.macDest),
      macSource: macText(body.macSource),
      etherType: body.etherType,
      data: toHex(body.frame),
    },
    // Nobody sends the inline certificate any more; ours has no form for it.
    again: hasCom ? undefined : written((w) => writeExtFrame(w, f.nwid, f.flags, body)),
  };
}

function likesPayload(p: Uint8Array): Parsed {
  const likes = parseLikes(p);
  return {
    fields: {
      groups: likes.map((l) => ({ networkId: networkIdText(l.nwid), ...group(l.group) })),
    },
    // A cut last tuple is nobody's.
    again:
      written((w) => {
        for (const l of likes) writeLike(w, l.nwid, l.group);
      }) + toHex(p.subarray(p.length - (p.length % LIKE_LEN))),
  };
}

function credentialsPayload(p: Uint8Array): Parsed {
  const c = must(parseCredentials(p));
  const whole = written((w) => writeCredentials(w, c));
  // The sender may leave out empty lists at the end; ours writes them.
  const omitted = whole.slice(2 * p.length);
  assert.match(omitted, /^(00)*$/, 'only empty lists are left out');
  return {
    fields: {
      coms: c.coms.map(comFields) as JsonObject[],
      capabilities: c.capabilities.map(capabilityFields) as JsonObject[],
      tags: c.tags.map(tagFields) as JsonObject[],
      revocations: c.revocations.map(revocationFields) as JsonObject[],
      certificatesOfOwnership: c.ownerships.map(ownershipFields) as JsonObject[],
    },
    again: whole.slice(0, whole.length - omitted.length),
  };
}

function requestPayload(p: Uint8Array): Parsed {
  const q = must(parseConfigRequest(p));
  return {
    fields: {
      networkId: networkIdText(q.nwid),
      metadata: new TextDecoder().decode(q.metadata),
      haveRevision: hex64(q.revision),
      haveTimestamp: hex64(q.timestamp),
    },
    again: written((w) => writeConfigRequest(w, q)),
  };
}

function gatherPayload(p: Uint8Array): Parsed {
  const g = must(parseGather(p));
  return {
    fields: {
      networkId: networkIdText(g.nwid),
      flags: g.com === undefined ? 0 : 1,
      ...group(g.group),
      gatherLimit: g.limit,
      ...com(g.com),
    },
    again: written((w) => writeGather(w, g)),
  };
}

function multicastPayload(p: Uint8Array): Parsed {
  const f = must(parseMulticastFrame(p));
  const again = written((w) => writeMulticastFrame(w, f));
  return {
    fields: {
      networkId: networkIdText(f.nwid),
      // The flags follow from what is there: they are read back from what ours writes.
      flags: fromHex(again)[8]!,
      ...com(f.com),
      ...(f.gatherLimit === 0 ? {} : { gatherLimit: f.gatherLimit }),
      ...(f.macSource === undefined ? {} : { macSource: macText(f.macSource) }),
      replicate: f.replicate,
      macDest: macText(f.group.mac),
      adi: f.group.adi,
      etherType: f.etherType,
      data: toHex(f.frame),
    },
    again,
  };
}

function resultPayload(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const withFlags = head.inReVerb === VERB.MULTICAST_FRAME;
  const v = must(parseGatherResult(head.body, withFlags));
  const flags = withFlags ? head.body[18]! : 2;
  const isOurs = flags === 2;
  return {
    fields: {
      networkId: networkIdText(v.nwid),
      ...group(v.group),
      ...(withFlags ? { flags } : {}),
      ...com(v.com),
      ...((flags & 2) === 0
        ? {}
        : {
            totalKnown: v.totalKnown,
            count: v.members.length,
            addresses: v.members.map(addressText),
          }),
    },
    again: isOurs
      ? written((w) => {
          w.u8(head.inReVerb).u64(head.inRePacketId);
          writeGatherResult(w, v, withFlags);
        })
      : undefined,
  };
}

/** OK(EXT_FRAME), and the OK of a NETWORK_CONFIG, which says ECHO. */
function acknowledgement(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const r = new Reader(head.body);
  const nwid = r.u64();
  const updateId = head.inReVerb === VERB.ECHO ? r.u64() : undefined;
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  return {
    fields: {
      networkId: networkIdText(nwid),
      ...(updateId === undefined ? {} : { configUpdateId: hex64(updateId) }),
    },
    again: written((w) => {
      w.u8(head.inReVerb).u64(head.inRePacketId).u64(nwid);
      if (updateId !== undefined) w.u64(updateId);
    }),
  };
}

function okPayload(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const isResult =
    head.inReVerb === VERB.MULTICAST_GATHER || head.inReVerb === VERB.MULTICAST_FRAME;
  const { fields, again } = isResult ? resultPayload(p) : acknowledgement(p);
  const of = { inReVerb: head.inReVerb, inRePacketId: hex64(head.inRePacketId) };
  return { fields: { ...of, ...fields }, again };
}

function errorPayload(p: Uint8Array): Parsed {
  const e = must(parseErrorHead(p));
  const r = new Reader(e.body);
  const nwid = r.u64();
  const fields: JsonObject = {
    inReVerb: e.inReVerb,
    inRePacketId: hex64(e.inRePacketId),
    errorCode: e.code,
    networkId: networkIdText(nwid),
  };
  const rest = e.body.subarray(8);
  if (e.code === ERROR_CODE.UNWANTED_MULTICAST)
    Object.assign(fields, group({ mac: r.copy(6), adi: r.u32() }));
  if (e.code === ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED) {
    const data = r.take(r.u16());
    Object.assign(fields, {
      dataLength: data.length,
      data: new TextDecoder().decode(data),
    });
    assert.notEqual(new Dictionary(data).text('aU'), undefined, 'the login URL is read');
  }
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  const again = written((w) => w.u8(e.inReVerb).u64(e.inRePacketId).u8(e.code).u64(nwid).put(rest));
  return { fields, again };
}

const PAYLOADS: Readonly<Record<number, { name: string; parse: (p: Uint8Array) => Parsed }>> = {
  [VERB.ERROR]: { name: 'ERROR', parse: errorPayload },
  [VERB.OK]: { name: 'OK', parse: okPayload },
  [VERB.FRAME]: { name: 'FRAME', parse: framePayload },
  [VERB.EXT_FRAME]: { name: 'EXT_FRAME', parse: extFramePayload },
  [VERB.MULTICAST_LIKE]: { name: 'MULTICAST_LIKE', parse: likesPayload },
  [VERB.NETWORK_CREDENTIALS]: { name: 'NETWORK_CREDENTIALS', parse: credentialsPayload },
  [VERB.NETWORK_CONFIG_REQUEST]: { name: 'NETWORK_CONFIG_REQUEST', parse: requestPayload },
  [VERB.MULTICAST_GATHER]: { name: 'MULTICAST_GATHER', parse: gatherPayload },
  [VERB.MULTICAST_FRAME]: { name: 'MULTICAST_FRAME', parse: multicastPayload },
};

/** Certificates as the codec gives them: an unsigned one has no signature in the record. */
function comparable(fields: JsonObject): JsonObject {
  const out = { ...fields };
  if (out['com'] !== undefined) out['com'] = expectedCom(out['com'] as JsonObject) as JsonObject;
  if (Array.isArray(out['coms']))
    out['coms'] = (out['coms'] as JsonObject[]).map(expectedCom) as JsonObject[];
  if (Array.isArray(out['capabilities']))
    out['capabilities'] = (out['capabilities'] as JsonObject[]).map(({ rules: _, ...c }) => c);
  return out;
}

/** A payload of `vl2-packets`: its fields, and written again. */
export function packet(c: Case): void {
  c.note('name', 'note');
  const bytes = c.hex('payload');
  const codec = must(PAYLOADS[c.number('verb')], 'the verb is known');
  assert.equal(codec.name, c.text('verbName'));
  const { fields, again } = codec.parse(bytes);
  const expected = c.raw('fields') as JsonObject;
  assert.deepEqual(fields, comparable(expected));
  if (Array.isArray(expected['capabilities'])) {
    const read = must(parseCredentials(bytes)).capabilities;
    for (const [i, x] of (expected['capabilities'] as JsonObject[]).entries())
      sameRules(read[i]!.rules, x['rules'] as never);
  }
  if (again === undefined) return;
  assert.equal(again, toHex(bytes), 'written again');
}
