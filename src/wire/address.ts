/**
 * ZeroTier addresses, network ids, member MACs and the IPv6 addresses derived from them
 * [1 sections 4.1, 7.1, 7.2, 7.8]. Addresses are 40-bit numbers, network ids 64-bit bigints, MACs
 * 6 bytes. Pure functions, no state.
 */

export type NodeAddress = number;
export type NetworkId = bigint;

export const ADDRESS_LEN = 5;
const TWO_32 = 2 ** 32;

/** 10 lower-case hex digits. */
export function addressText(address: NodeAddress): string {
  return address.toString(16).padStart(10, '0');
}

/** 16 lower-case hex digits. */
export function networkIdText(nwid: NetworkId): string {
  return nwid.toString(16).padStart(16, '0');
}

/** Exactly 10 hex digits of either case, else undefined. */
export function parseAddress(text: string): NodeAddress | undefined {
  return /^[0-9a-fA-F]{10}$/.test(text) ? Number.parseInt(text, 16) : undefined;
}

/** Exactly 16 hex digits of either case, else undefined. */
export function parseNetworkId(text: string): NetworkId | undefined {
  return /^[0-9a-fA-F]{16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** 0 and everything that begins with ff can never be a node [1 section 4.1]. */
export function isReservedAddress(address: NodeAddress): boolean {
  return address === 0 || Math.floor(address / TWO_32) === 0xff;
}

/** The controller's address is the upper 40 bits of a network id [1 section 7.1]. */
export function controllerOf(nwid: NetworkId): NodeAddress {
  return Number(nwid >> 24n);
}

export function addressBytes(address: NodeAddress): Uint8Array {
  const out = new Uint8Array(5);
  writeAddress(out, 0, address);
  return out;
}

export function readAddress(bytes: Uint8Array, at: number): NodeAddress {
  return (
    bytes[at]! * TWO_32 +
    ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) +
    (bytes[at + 1]! >= 0x80 ? TWO_32 : 0)
  );
}

export function writeAddress(bytes: Uint8Array, at: number, address: NodeAddress): void {
  const low = address % TWO_32;
  bytes[at] = Math.floor(address / TWO_32);
  bytes[at + 1] = low >>> 24;
  bytes[at + 2] = low >>> 16;
  bytes[at + 3] = low >>> 8;
  bytes[at + 4] = low;
}

export function networkIdBytes(nwid: NetworkId): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, nwid);
  return out;
}

/** The first MAC byte that all members of a network share [1 section 7.2]. */
export function macPrefix(nwid: NetworkId): number {
  const m0 = (Number(nwid & 0xffn) & 0xfe) | 0x02;
  return m0 === 0x52 ? 0x32 : m0;
}

/** MAC of a member [1 section 7.2]. */
export function memberMac(address: NodeAddress, nwid: NetworkId): Uint8Array {
  const n = networkIdBytes(nwid);
  const a = addressBytes(address);
  const mac = new Uint8Array(6);
  mac[0] = macPrefix(nwid);
  for (let i = 0; i < 5; i++) mac[i + 1] = a[i]! ^ n[6 - i]!;
  return mac;
}

/** Address of the member that owns a MAC of this network's prefix [1 section 7.2]. */
export function memberOfMac(mac: Uint8Array, nwid: NetworkId): NodeAddress {
  const n = networkIdBytes(nwid);
  const a = new Uint8Array(5);
  for (let i = 0; i < 5; i++) a[i] = mac[i + 1]! ^ n[6 - i]!;
  return readAddress(a, 0);
}

export function macText(mac: Uint8Array): string {
  return Array.from(mac, (b) => b.toString(16).padStart(2, '0')).join(':');
}

/** `xx:xx:xx:xx:xx:xx`, dashes or nothing between the digits; else undefined. */
export function parseMac(text: string): Uint8Array | undefined {
  const digits = text.replace(/[:-]/g, '');
  if (!/^[0-9a-fA-F]{12}$/.test(digits)) return undefined;
  return Uint8Array.from({ length: 6 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** 6PLANE address, prefix length 40 [1 section 7.8]. */
export function sixPlaneAddress(nwid: NetworkId, address: NodeAddress): Uint8Array {
  const n = networkIdBytes(nwid);
  const out = new Uint8Array(16);
  out[0] = 0xfc;
  for (let i = 0; i < 4; i++) out[i + 1] = n[i]! ^ n[i + 4]!;
  writeAddress(out, 5, address);
  out[15] = 1;
  return out;
}

/** RFC 4193 address, prefix length 88 [1 section 7.8]. */
export function rfc4193Address(nwid: NetworkId, address: NodeAddress): Uint8Array {
  const out = new Uint8Array(16);
  out[0] = 0xfd;
  out.set(networkIdBytes(nwid), 1);
  out[9] = 0x99;
  out[10] = 0x93;
  writeAddress(out, 11, address);
  return out;
}

/** Link-local address of a MAC, prefix length 64 [1 section 7.8]. */
export function linkLocalAddress(mac: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  out[0] = 0xfe;
  out[1] = 0x80;
  out[8] = mac[0]! & 0xfd;
  out[9] = mac[1]!;
  out[10] = mac[2]!;
  out[11] = 0xff;
  out[12] = 0xfe;
  out.set(mac.subarray(3, 6), 13);
  return out;
}
