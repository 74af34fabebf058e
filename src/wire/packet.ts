/**
 * Packet and fragment heads, verbs and error codes [2 sections 1-4, 10].
 *
 *   packet    0 id(8)  8 dest(5)  13 source(5)  18 flags  19 mac(8)  27 verb  28 payload
 *   fragment  0 id(8)  8 dest(5)  13 0xff  14 total<<4|number  15 hops  16 data
 *   flags     0x80 legacy encrypted, 0x40 fragmented, 0x38 suite, 0x07 hops
 */
export const PACKET_HEAD_LEN = 28;
export const FRAGMENT_HEAD_LEN = 16;
export const MAX_PACKET_LEN = 10024;
export const MAX_PAYLOAD_LEN = MAX_PACKET_LEN - PACKET_HEAD_LEN;
export const DEFAULT_PHYSICAL_MTU = 1432;
/** Bounds of a configured physical MTU [2 section 20]. */
export const MIN_PHYSICAL_MTU = 1400;
export const MAX_PHYSICAL_MTU = 10324;
export const MAX_FRAGMENTS = 7;
export const MAX_HOPS = 3;

export const OFF_DEST = 8;
export const OFF_SOURCE = 13;
export const OFF_FLAGS = 18;
export const OFF_MAC = 19;
export const OFF_VERB = 27;
export const OFF_FRAGMENT_COUNT = 14;
export const OFF_FRAGMENT_HOPS = 15;
export const FRAGMENT_INDICATOR = 0xff;

export const FLAG_FRAGMENTED = 0x40;
export const FLAG_COMPRESSED = 0x80;
export const HOPS_MASK = 0x07;
export const VERB_MASK = 0x1f;

export const PROTOCOL_VERSION_AES = 12;
export const PROTOCOL_VERSION_SALSA = 11;
export const PROTOCOL_VERSION_MIN = 4;
export const SOFTWARE_VERSION = { major: 1, minor: 14, revision: 1 } as const;

export const VERB = {
  NOP: 0x00,
  HELLO: 0x01,
  ERROR: 0x02,
  OK: 0x03,
  WHOIS: 0x04,
  RENDEZVOUS: 0x05,
  FRAME: 0x06,
  EXT_FRAME: 0x07,
  ECHO: 0x08,
  MULTICAST_LIKE: 0x09,
  NETWORK_CREDENTIALS: 0x0a,
  NETWORK_CONFIG_REQUEST: 0x0b,
  NETWORK_CONFIG: 0x0c,
  MULTICAST_GATHER: 0x0d,
  MULTICAST_FRAME: 0x0e,
  PUSH_DIRECT_PATHS: 0x10,
  ACK: 0x12,
  QOS_MEASUREMENT: 0x13,
  USER_MESSAGE: 0x14,
  REMOTE_TRACE: 0x15,
  PATH_NEGOTIATION_REQUEST: 0x16,
} as const;

export const ERROR_CODE = {
  OBJ_NOT_FOUND: 0x03,
  IDENTITY_COLLISION: 0x04,
  UNSUPPORTED_OPERATION: 0x05,
  NEED_MEMBERSHIP_CERTIFICATE: 0x06,
  NETWORK_ACCESS_DENIED: 0x07,
  UNWANTED_MULTICAST: 0x08,
  NETWORK_AUTHENTICATION_REQUIRED: 0x09,
} as const;

/** Suites of byte 18 that are none of the packet core's [2 section 3]. */
export const SUITE_TRUSTED_PATH = 2;
export const LAST_SUITE = 3;
const SUITE_SHIFT = 3;

export function suiteOf(packet: Uint8Array): number {
  return (packet[OFF_FLAGS]! >> SUITE_SHIFT) & 7;
}

/** Marks a clear packet as one of a trusted path: the id takes the MAC's place [2 section 20]. */
export function writeTrustedPathId(packet: Uint8Array, id: bigint): void {
  packet[OFF_FLAGS] = (packet[OFF_FLAGS]! & FLAG_FRAGMENTED) | (SUITE_TRUSTED_PATH << SUITE_SHIFT);
  new DataView(packet.buffer, packet.byteOffset + OFF_MAC, 8).setBigUint64(0, id);
}

export function trustedPathIdOf(packet: Uint8Array): bigint {
  return new DataView(packet.buffer, packet.byteOffset + OFF_MAC, 8).getBigUint64(0);
}

/** Packet id as on the wire, for replies and expected-reply tables. */
export function packetId(packet: Uint8Array): bigint {
  return new DataView(packet.buffer, packet.byteOffset, 8).getBigUint64(0);
}

export interface FragmentPlan {
  /** Bytes of the packet in the first datagram. */
  readonly first: number;
  /** Further pieces, 0 for a packet that fits. */
  readonly pieces: number;
}

/** How a packet of `len` bytes is cut for a path MTU [2 section 4.1]. */
export function fragmentPlan(len: number, mtu: number): FragmentPlan {
  if (len <= mtu) return { first: len, pieces: 0 };
  return { first: mtu, pieces: Math.ceil((len - mtu) / (mtu - FRAGMENT_HEAD_LEN)) };
}

/** Writes the head of piece `number` (1..) of `total` for the sealed `packet`. */
export function writeFragmentHead(
  out: Uint8Array,
  packet: Uint8Array,
  number: number,
  total: number,
): void {
  out.set(packet.subarray(0, OFF_SOURCE));
  out[13] = FRAGMENT_INDICATOR;
  out[OFF_FRAGMENT_COUNT] = (total << 4) | number;
  out[OFF_FRAGMENT_HOPS] = 0;
}
