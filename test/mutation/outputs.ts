/**
 * Which values of the case files and records are outputs that a check compares. A value that is
 * listed here and whose alteration goes unnoticed is a hole in the checks.
 */
import { type Fields, isFields, type Leaf, leavesAt, type Value } from './alter.js';

/** Paths into a case: names joined by dots, `*` = every item of an array. */
type Paths = readonly string[];

interface Spot {
  /** Cases that are worth altering; all when absent. */
  readonly when?: (c: Fields) => boolean;
  readonly paths: Paths;
}

const firm = (c: Fields): boolean => c['mayDiffer'] !== true;
const only = (...paths: string[]): Spot[] => [{ paths }];
const when = (test: (c: Fields) => boolean, ...paths: string[]): Spot => ({
  when: (c) => firm(c) && test(c),
  paths,
});
const always = (): boolean => true;

const salsa = only('output');
const signed = only('signedBytes', 'verify', 'fields');
const parse = only('result');

/** File -> array (or object) of cases -> outputs. */
export const OUTPUTS: Readonly<Record<string, Readonly<Record<string, readonly Spot[]>>>> = {
  'crypto-salsa2012': { cases: salsa },
  'crypto-salsa2020': { cases: salsa },
  'crypto-poly1305': { cases: only('tag') },
  'crypto-sha': { cases: only('sha512', 'sha384', 'hmacSha384') },
  'crypto-kbkdf': { cases: only('message', 'out', 'aes256Key') },
  'crypto-aes256-gmac': { cases: only('ciphertext', 'tag') },
  'crypto-aes-gmac-siv': {
    cases: [
      when((c) => c['valid'] === true, 'gmac', 'sivBlock', 'tag', 'ctrIv', 'ciphertext', 'valid'),
      when((c) => c['valid'] === false, 'valid'),
    ],
  },
  'crypto-agreement': {
    cases: [
      when((c) => c['lowOrder'] !== true, 'x25519', 'sha512', 'key48', 'key96', 'aesK0', 'aesK1'),
    ],
  },
  'crypto-hello-field': { cases: only('maskedPacket', 'armored') },
  'crypto-packet-armor': { cases: only('armored', 'wire') },
  'crypto-packet-tampered': { cases: only('accept') },
  'crypto-signature': {
    cases: [when(always, 'valid'), when((c) => c['private'] !== undefined, 'signature')],
  },
  'encoding-lz4': {
    cases: [
      when((c) => typeof c['reference'] === 'string', 'plain'),
      when((c) => c['valid'] === true, 'valid', 'plain'),
      when((c) => c['valid'] === false, 'valid'),
    ],
  },
  'identity-memory-hard-hash': {
    cases: only(
      'sha512',
      'genmemHead',
      'genmemTail',
      'genmemSha512',
      'digest',
      'finalTableSha512',
      'address',
      'hashcashOk',
      'reserved',
    ),
  },
  'identity-valid': {
    cases: only(
      'valid',
      'publicString',
      'secretString',
      'binaryPublic',
      'binarySecret',
      'publicKeyHash',
      'privateKeySha512',
    ),
  },
  'identity-invalid': {
    cases: [
      when(always, 'parses'),
      when(
        (c) => c['parses'] === true,
        'address',
        'publicKey',
        'hasPrivate',
        'locallyValid',
        'consumed',
      ),
    ],
  },
  'encoding-dictionary': {
    cases: [
      when((c) => c['kind'] === 'build', 'text', 'full'),
      when(
        (c) => c['kind'] !== 'build',
        'lookups.*.raw',
        'lookups.*.asUint',
        'lookups.*.asInt',
        'lookups.*.asBool',
      ),
    ],
  },
  'encoding-inetaddress': {
    cases: [
      when((c) => c['kind'] === 'roundtrip', 'text', 'hex'),
      when((c) => c['kind'] !== 'roundtrip', 'parses'),
      when((c) => c['kind'] !== 'roundtrip' && c['parses'] === true, 'consumed', 'text'),
    ],
  },
  'encoding-inetaddress-string': {
    cases: [
      when(always, 'ok'),
      when((c) => c['ok'] === true, 'canonical', 'port', 'scope', 'prefixHash', 'ip'),
    ],
  },
  'encoding-ipv6': {
    cases: only(
      'sixplane',
      'sixplaneText',
      'rfc4193',
      'rfc4193Text',
      'mac',
      'linkLocal',
      'linkLocalText',
    ),
  },
  'encoding-mac': { cases: only('mac', 'macBytes', 'firstOctet', 'addressBack') },
  'encoding-multicast-group': { cases: only('mac', 'adi', 'wire', 'isMulticast', 'isBroadcast') },
  'encoding-network-id': {
    cases: [
      when(always, 'controller', 'number', 'mac', 'adhoc'),
      when((c) => c['adhoc'] === 'ports', 'startPort', 'endPort', 'valid'),
      when((c) => c['adhoc'] !== undefined && c['valid'] !== false, 'assigned', 'name'),
      when((c) => c['firstOctet'] !== undefined, 'firstOctet', 'hub'),
    ],
  },
  'world-malformed': {
    cases: [
      when(always, 'parses'),
      when((c) => c['parses'] === true, 'consumed', 'type', 'rootCount'),
    ],
  },
  'world-planet-default': {
    cases: only(
      'type',
      'id',
      'timestamp',
      'updatesMustBeSignedBy',
      'signature',
      'roots',
      'signedData',
      'signatureValidWithOwnUpdateKey',
      'rootIdentitiesLocallyValid',
    ),
  },
  'world-signed': {
    cases: only(
      'type',
      'id',
      'timestamp',
      'updatesMustBeSignedBy',
      'signature',
      'roots',
      'signedData',
    ),
  },
  'world-update': { cases: only('accept') },
  'vl2-identities': { identities: only('address') },
  'vl2-addressing': {
    derivations: only('controller', 'firstOctet', 'mac', 'macToAddress', 'sixPlane', 'rfc4193'),
    resolutionGroups: only('mac', 'adi'),
    inetAddresses: only('text', 'bytes'),
  },
  'vl2-com': { certificates: signed, parse, agreement: only('agrees') },
  'vl2-capability': { capabilities: signed, parse },
  'vl2-tag': { tags: signed, parse },
  'vl2-coo': { certificates: signed, ownership: only('owns'), parse },
  'vl2-revocation': { revocations: signed },
  'vl2-rules': {
    sets: [when((c) => c['accepted'] === undefined, 'normalizedJson', 'bytes')],
    decode: [
      when(always, 'result'),
      when((c) => c['result'] === 'ok', 'consumed', 'rules', 'reencoded'),
      when((c) => c['result'] !== 'ok', 'decodedBeforeError'),
    ],
  },
  'vl2-rule-eval': { cases: only('result', 'tee', 'redirectTo', 'rules') },
  'vl2-netconf': {
    configs: [when(always, 'accepted'), when((c) => c['accepted'] === true, 'parsed')],
  },
  'vl2-metadata': {
    requests: only('networkId', 'metadataLength', 'metadata', 'haveRevision', 'haveTimestamp'),
    dictionaries: only('asRead'),
  },
  'vl2-ndp': { cases: only('replyToNic', 'forwarded') },
  'vl2-wire': {
    packets: only('packetId', 'hops', 'cipher', 'verb', 'compressed', 'payload'),
  },
  'vl2-controller': {
    cases: [
      when(isConfig, 'result.dictionary', 'result.parsed', 'result.networkId', 'memberAfter'),
      when(isWireError, 'result.error', 'result.destination', 'result.networkId'),
      when((c) => isWireError(c) && (c['memberAfter'] ?? null) !== null, 'memberAfter'),
    ],
  },
  'vl2-packets': { packets: only('verbName', 'fields') },
  'vl2-netconf-chunks': {
    sends: only(
      'dictionaryLength',
      'packets.*.verb',
      'packets.*.chunkBodyOffset',
      'packets.*.chunkLength',
      'packets.*.flags',
      'packets.*.updateId',
      'packets.*.totalLength',
      'packets.*.chunkIndex',
      'packets.*.signedFrom',
      'packets.*.signedLength',
      'packets.*.signatureType',
      'packets.*.signature',
    ),
    receives: only('steps.*.sends', 'steps.*.applied'),
  },
  'vl2-scenarios': { scenarios: only('steps.*.sends', 'steps.*.frames', 'steps.*.port') },
};

function resultOf(c: Fields): Fields {
  const result = c['result'];
  return isFields(result) ? result : {};
}

function isConfig(c: Fields): boolean {
  return resultOf(c)['type'] === 'config';
}

/** A refusal that is sent; refusals of internal refreshes are silent. */
function isWireError(c: Fields): boolean {
  const r = resultOf(c);
  return r['type'] === 'error' && r['requestPacketId'] !== '0000000000000000';
}

/** What ours keeps of single sign-on is less than what the reference keeps. */
const SSO_ONLY: ReadonlySet<string> = new Set([
  'issuerURL',
  'centralAuthURL',
  'ssoNonce',
  'ssoState',
  'ssoClientID',
  'ssoProvider',
  'authenticationURL',
  'authenticationExpiryTime',
]);

/** Values under an output that no check can compare. */
function isFree(holder: Fields | Value[], key: string | number): boolean {
  if (Array.isArray(holder)) return isFreeItem(holder[Number(key)]);
  if (SSO_ONLY.has(String(key))) return true;
  // Rule types without a JSON form of their own are known by their type byte alone.
  return /UNKNOWN|PRIORITY/.test(String(holder['type'])) && key !== 't';
}

/** Packets that ours sends at other times on purpose, and ports of self-made networks at the join. */
function isFreeItem(item: Value | undefined): boolean {
  if (!isFields(item)) return false;
  const isSend = item['to'] !== undefined && item['verb'] !== undefined;
  if (isSend) return item['verb'] === 2 || item['verb'] === 11;
  return item['op'] === 'UP' && String(item['networkId']).startsWith('ff');
}

/** All values that `path` names inside `holder`. */
function follow(holder: Fields | Value[], path: readonly string[], at: string): Leaf[] {
  const [key, ...rest] = path;
  if (key === undefined) return [];
  if (key === '*') {
    if (!Array.isArray(holder)) return [];
    return holder.flatMap((item, i) =>
      typeof item === 'object' && item !== null ? follow(item, rest, `${at}[${i}]`) : [],
    );
  }
  const here = `${at}.${key}`;
  if (rest.length === 0) return leavesAt(holder, key, here, isFree);
  const next = (holder as Fields)[key];
  return typeof next === 'object' && next !== null ? follow(next, rest, here) : [];
}

/** The outputs of one case, grouped by the path that lists them, so that big tables do not win. */
export function outputsOf(c: Fields, spots: readonly Spot[], at: string): Leaf[][] {
  return spots
    .filter((s) => s.when?.(c) ?? firm(c))
    .flatMap((s) => s.paths.map((p) => follow(c, p.split('.'), at)))
    .filter((leaves) => leaves.length > 0);
}

// ---- transcripts ----

/** Verb -> the fields of a packet that are compared. */
const PACKET_FIELDS: Readonly<Record<string, Paths>> = {
  HELLO: [
    'protocolVersion',
    'versionMajor',
    'versionMinor',
    'versionRevision',
    'timestamp',
    'identity',
    'sentTo',
    'planetWorldId',
    'planetWorldTimestamp',
    'maskedFrom',
    'moons',
  ],
  OK: [
    'inRePacketId',
    'inReVerb',
    'timestampEcho',
    'protocolVersion',
    'surface',
    'worldsLength',
    'identities',
    'totalKnown',
    'members',
  ],
  ERROR: ['inRePacketId', 'inReVerb', 'errorCode', 'networkId'],
  WHOIS: ['addresses'],
  RENDEZVOUS: ['flags', 'with', 'endpoint'],
  FRAME: ['networkId', 'etherType', 'frame'],
  EXT_FRAME: ['networkId', 'flags', 'destMac', 'sourceMac', 'etherType', 'frame'],
  ECHO: ['data'],
  MULTICAST_LIKE: ['groups'],
  NETWORK_CREDENTIALS: [
    'coms.*.raw',
    'capabilities.*.raw',
    'tags.*.raw',
    'revocations.*.raw',
    'certificatesOfOwnership.*.raw',
  ],
  NETWORK_CONFIG_REQUEST: ['networkId', 'dictionaryLength', 'haveRevision', 'haveTimestamp'],
  NETWORK_CONFIG: [
    'networkId',
    'chunkLength',
    'chunk',
    'flags',
    'updateId',
    'totalLength',
    'chunkIndex',
    'signature',
  ],
  MULTICAST_GATHER: ['networkId', 'mac', 'adi', 'gatherLimit'],
  MULTICAST_FRAME: [
    'networkId',
    'gatherLimit',
    'sourceMac',
    'destMac',
    'adi',
    'etherType',
    'frame',
  ],
  PUSH_DIRECT_PATHS: ['paths.*.flags', 'paths.*.endpoint'],
};

/** The compared values of one recorded packet. */
export function packetOutputs(packet: Fields, at: string): Leaf[][] {
  const decoded = packet['decoded'];
  if (!isFields(decoded) || !isFields(decoded['fields'])) return [];
  const paths = PACKET_FIELDS[String(decoded['verbName'])] ?? [];
  const nothing = (): boolean => false;
  const whole = ['plaintextPayload', 'verb'].map((k) =>
    leavesAt(decoded, k, `${at}.decoded.${k}`, nothing),
  );
  const fields = decoded['fields'];
  return [
    ...whole,
    ...paths.map((p) => follow(fields, p.split('.'), `${at}.decoded.fields`)),
  ].filter((leaves) => leaves.length > 0);
}
