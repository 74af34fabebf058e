/** Multicast groups: MAC and 32-bit ADI [1 section 7.3]. */
export interface MulticastGroup {
  readonly mac: Uint8Array;
  readonly adi: number;
}

export const BROADCAST_MAC = Uint8Array.of(255, 255, 255, 255, 255, 255);
export const BROADCAST_GROUP: MulticastGroup = { mac: BROADCAST_MAC, adi: 0 };

export function isMulticastMac(mac: Uint8Array): boolean {
  return (mac[0]! & 1) !== 0;
}

export function isBroadcastMac(mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (mac[i] !== 0xff) return false;
  return true;
}

/** The group in which the owner of `ip` listens for ARP or neighbour solicitations. */
export function resolutionGroup(ip: Uint8Array): MulticastGroup {
  if (ip.length === 4) {
    return { mac: BROADCAST_MAC, adi: new DataView(ip.buffer, ip.byteOffset).getUint32(0) };
  }
  return { mac: Uint8Array.of(0x33, 0x33, 0xff, ip[13]!, ip[14]!, ip[15]!), adi: 0 };
}

/** Map key; sorts by MAC, then ADI. */
export function groupKey(g: MulticastGroup): string {
  let s = '';
  for (const b of g.mac) s += String.fromCharCode(b);
  return s + String.fromCharCode(g.adi >>> 16, g.adi & 0xffff);
}

/** Order by MAC, then ADI [1 section 7.3]. */
export function compareGroups(a: MulticastGroup, b: MulticastGroup): number {
  for (let i = 0; i < 6; i++) {
    const d = a.mac[i]! - b.mac[i]!;
    if (d !== 0) return d;
  }
  return a.adi - b.adi;
}
