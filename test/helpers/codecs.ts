import { Reader } from '#src/lib/reader.js';
import { type Com, emitCom, readCom } from '#src/wire/com.js';
import {
  readCapability,
  readOwnership,
  readRevocation,
  readTag,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from '#src/wire/credentials.js';
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
  writeRendezvous,
} from '#src/wire/hello.js';
import { emitIdentity, IDENTITY_SECRET_LEN, parseIdentity } from '#src/wire/identity.js';
import { readInetAddress, writeInetAddress } from '#src/wire/inetaddress.js';
import {
  emitNetworkConfig,
  type NetworkConfig,
  parseConfigChunk,
  parseMetadata,
  parseNetworkConfig,
} from '#src/wire/netconf.js';
import { emitPeerRecord, parsePeerRecord } from '#src/wire/peer-record.js';
import { emitRules, readRules } from '#src/wire/rules.js';
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
import { emitWorld, parseWorld } from '#src/wire/world.js';
import { payload } from '../sim/attack.js';

/** Text of a parsed value, for comparison. */
export function dump(v: unknown): string {
  return JSON.stringify(v, (_k, x: unknown) => {
    if (typeof x === 'bigint') return `${x}n`;
    return x instanceof Uint8Array ? Buffer.from(x).toString('hex') : x;
  });
}

const withReader =
  <T>(read: (r: Reader) => T) =>
  (b: Uint8Array): T | undefined => {
    const r = new Reader(b);
    const v = read(r);
    return r.failed ? undefined : v;
  };

export interface Codec {
  readonly name: string;
  parse(b: Uint8Array): unknown;
  /** Bytes of a parsed value. */
  emit?(v: never): Uint8Array;
}

function codec<T>(
  name: string,
  parse: (b: Uint8Array) => T | undefined,
  emit?: (v: T) => Uint8Array,
): Codec {
  return { name, parse, ...(emit === undefined ? {} : { emit: emit as (v: never) => Uint8Array }) };
}

const big = (write: (w: Parameters<Parameters<typeof payload>[0]>[0]) => void): Uint8Array =>
  payload(write);

/** Single sign-on of a version that nobody knows is written as none. */
function knownSso(b: Uint8Array): NetworkConfig | undefined {
  const c = parseNetworkConfig(b);
  return c === undefined || c.sso.version <= 1n ? c : { ...c, sso: { ...c.sso, version: 0n } };
}

export const CODECS: readonly Codec[] = [
  codec(
    'HELLO',
    (b) => {
      const h = parseHello(b);
      return h === undefined ? undefined : { ...h, maskedFrom: undefined };
    },
    (h) => big((w) => void writeHello(w, h, [])),
  ),
  codec('HELLO tail', (b) => parseHelloTail(b, 0)),
  codec('OK(HELLO)', parseOkHello, (v) =>
    big((w) => writeOkHello(w, v, Uint8Array.from(v.worlds.flatMap((x) => [...emitWorld(x)])))),
  ),
  codec('WHOIS', parseWhois, (v) =>
    big((w) => {
      for (const a of v) w.u40(a);
    }),
  ),
  codec('OK(WHOIS)', parseIdentities),
  codec('RENDEZVOUS', parseRendezvous, (v) => big((w) => writeRendezvous(w, v))),
  codec('PUSH_DIRECT_PATHS', parsePushDirectPaths),
  codec(
    'world',
    (b) => parseWorld(b)?.world,
    (v) => emitWorld(v),
  ),
  codec('peer record', parsePeerRecord, emitPeerRecord),
  codec(
    'identity',
    (b) => parseIdentity(b, 0)?.identity,
    (v) => {
      const out = new Uint8Array(IDENTITY_SECRET_LEN);
      return out.subarray(0, emitIdentity(v, out, 0, v.privateKey !== undefined));
    },
  ),
  codec('address', withReader(readInetAddress), (v) => big((w) => writeInetAddress(w, v))),
  codec('FRAME', parseFrame, (v) => big((w) => writeFrame(w, v))),
  codec(
    'EXT_FRAME',
    (b) => {
      const f = parseExtFrame(b);
      return f?.body === undefined || f.com !== undefined ? undefined : f;
    },
    (v) => big((w) => writeExtFrame(w, v.nwid, v.flags, v.body!)),
  ),
  codec('EXT_FRAME with certificate', parseExtFrame),
  codec('MULTICAST_LIKE', parseLikes, (v) =>
    big((w) => {
      for (const x of v) writeLike(w, x.nwid, x.group);
    }),
  ),
  codec('MULTICAST_GATHER', parseGather, (v) => big((w) => writeGather(w, v))),
  codec(
    'OK(MULTICAST_GATHER)',
    (b) => parseGatherResult(b, false),
    (v) => big((w) => writeGatherResult(w, v, false)),
  ),
  codec('OK(MULTICAST_FRAME)', (b) => parseGatherResult(b, true)),
  codec('MULTICAST_FRAME', parseMulticastFrame, (v) => big((w) => writeMulticastFrame(w, v))),
  codec('NETWORK_CREDENTIALS', parseCredentials, (v) => big((w) => writeCredentials(w, v))),
  codec('NETWORK_CONFIG_REQUEST', parseConfigRequest, (v) => big((w) => writeConfigRequest(w, v))),
  codec('OK', parseOkHead),
  codec('ERROR', parseErrorHead),
  codec('NETWORK_CONFIG', parseConfigChunk),
  codec('configuration', knownSso, emitNetworkConfig),
  codec('metadata', parseMetadata),
  codec('COM', withReader(readCom), (v: Com) => emitCom(v)),
  codec('capability', withReader(readCapability), (v) => big((w) => writeCapability(w, v))),
  codec('tag', withReader(readTag), (v) => big((w) => writeTag(w, v))),
  codec('ownership', withReader(readOwnership), (v) => big((w) => writeOwnership(w, v))),
  codec('revocation', withReader(readRevocation), (v) => big((w) => writeRevocation(w, v))),
  codec(
    'rules',
    withReader((r) => readRules(r, 200)),
    emitRules,
  ),
];
