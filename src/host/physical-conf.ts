/**
 * The parts of local.conf about physical networks [4 section 9]: `physical`, `virtual`, and the
 * settings that say where to bind. Malformed entries are left out and named, never fatal.
 */
import { isRecord, type JsonRecord, type JsonValue, jsonBool, jsonInt } from '../lib/json.js';
import type { IpPrefix, PeerSettings, PhysicalNet, PhysicalSettings } from '../vl1/physical.js';
import { type NodeAddress, parseAddress } from '../wire/address.js';
import { type InetAddress, maskIp, parseInetAddress, parseIp } from '../wire/inetaddress.js';
import { settingsOf } from './local-conf.js';

/** Where to bind, and what else of the settings concerns the sockets. */
export interface UnderlaySettings {
  /** Set by hand; undefined = random. */
  readonly secondaryPort: number | undefined;
  readonly tertiaryPort: number | undefined;
  readonly allowSecondaryPort: boolean;
  readonly portMapping: boolean;
  /** Bind these instead of the addresses of the interfaces; empty = not set. */
  readonly bind: readonly Uint8Array[];
  readonly interfacePrefixBlacklist: readonly string[];
  readonly blacklist: readonly IpPrefix[];
  readonly allowTcpRelay: boolean;
  /** No UDP at all. */
  readonly forceTcpRelay: boolean;
  /** Undefined = the built-in one. */
  readonly tcpRelay: InetAddress | undefined;
}

export interface PhysicalConf extends PhysicalSettings {
  /** What was wrong, one line each. */
  readonly complaints: readonly string[];
}

/** `net/bits`; without bits one address, as for `allowManagementFrom` [4 section 13, 2]. */
export function parsePrefix(text: string): IpPrefix | undefined {
  const a = parseInetAddress(text);
  if (a === undefined || a.family === 0) return undefined;
  const width = a.ip.length * 8;
  const bits = text.includes('/') ? Math.min(a.port, width) : width;
  return { ip: maskIp(a.ip, bits), bits };
}

const texts = (v: JsonValue | undefined): string[] =>
  Array.isArray(v) ? v.filter((x): x is string => typeof x === 'string') : [];

/** INT fields are unsigned 64-bit; a negative MTU arrives as a huge one and counts as 0. */
function mtuOf(v: JsonValue | undefined): number {
  const n = jsonInt(v, 0n);
  return n > 0x7fff_ffffn ? 0 : Number(n);
}

export function physicalConf(conf: JsonRecord): PhysicalConf {
  const complaints: string[] = [];
  const nets: PhysicalNet[] = [];
  const blacklist: IpPrefix[] = [];
  const physical = isRecord(conf['physical']) ? conf['physical'] : {};
  for (const [text, entry] of Object.entries(physical)) {
    const prefix = parsePrefix(text);
    if (prefix === undefined || !isRecord(entry)) {
      complaints.push(`physical "${text}" is not a network with settings`);
      continue;
    }
    nets.push({
      ...prefix,
      mtu: mtuOf(entry['mtu']),
      trustedPathId: jsonInt(entry['trustedPathId'], 0n),
    });
    if (jsonBool(entry['blacklist'], false) && prefix.bits > 0) blacklist.push(prefix);
  }
  return {
    nets,
    blacklist,
    peers: peerSettings(conf, complaints),
    lowBandwidth: jsonBool(settingsOf(conf)['lowBandwidthMode'], false),
    complaints,
  };
}

function peerSettings(conf: JsonRecord, complaints: string[]): Map<NodeAddress, PeerSettings> {
  const out = new Map<NodeAddress, PeerSettings>();
  const virtual = isRecord(conf['virtual']) ? conf['virtual'] : {};
  for (const [text, entry] of Object.entries(virtual)) {
    const address = parseAddress(text);
    if (address === undefined || !isRecord(entry)) {
      complaints.push(`virtual "${text}" is not an address with settings`);
      continue;
    }
    const hints: InetAddress[] = [];
    for (const t of texts(entry['try'])) {
      const a = parseInetAddress(t);
      if (a === undefined || a.family === 0 || a.port === 0)
        complaints.push(`virtual "${text}": "${t}" is not ip/port`);
      else hints.push(a);
    }
    const blacklist = texts(entry['blacklist'])
      .map(parsePrefix)
      .filter((p) => p !== undefined && p.bits > 0) as IpPrefix[];
    out.set(address, { hints, blacklist });
  }
  return out;
}

/** A port of the settings, low 16 bits; undefined when it is missing or 0. */
function portOf(v: JsonValue | undefined): number | undefined {
  const port = v === undefined ? 0 : Number(jsonInt(v, 0n) & 0xffffn);
  return port === 0 ? undefined : port;
}

/** `ip/port` of an IPv4 address. */
function relayOf(v: JsonValue | undefined): InetAddress | undefined {
  const a = typeof v === 'string' ? parseInetAddress(v) : undefined;
  return a?.family === 4 && a.port !== 0 ? a : undefined;
}

export function underlaySettings(conf: JsonRecord): UnderlaySettings {
  const s = settingsOf(conf);
  return {
    secondaryPort: portOf(s['secondaryPort']),
    tertiaryPort: portOf(s['tertiaryPort']),
    allowSecondaryPort: jsonBool(s['allowSecondaryPort'], true),
    portMapping: jsonBool(s['portMappingEnabled'], true),
    bind: texts(s['bind'])
      .map(parseIp)
      .filter((ip) => ip !== undefined) as Uint8Array[],
    interfacePrefixBlacklist: texts(s['interfacePrefixBlacklist']).filter((p) => p !== ''),
    blacklist: physicalConf(conf).blacklist,
    allowTcpRelay: jsonBool(s['allowTcpFallbackRelay'], true),
    forceTcpRelay: jsonBool(s['forceTcpRelay'], false),
    tcpRelay: relayOf(s['tcpFallbackRelay']),
  };
}
