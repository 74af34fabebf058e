/** Networks without a controller, which configure themselves from their id [1 section 9, 3 section 11.5]. */
import {
  addressBytes,
  type NetworkId,
  type NodeAddress,
  networkIdText,
  sixPlaneAddress,
} from '../wire/address.js';
import { type InetAddress, inetAddress } from '../wire/inetaddress.js';
import { DEFAULT_MTU, NETWORK_FLAG, NETWORK_PUBLIC, type NetworkConfig } from '../wire/netconf.js';
import { ACCEPT_ALL, RULE, RULE_NOT, RULE_OR, type Rule } from '../wire/rules.js';
import { NO_SSO } from '../wire/sso.js';

export type AdhocForm =
  | {
      readonly kind: 'ports';
      readonly start: number;
      readonly end: number;
      readonly valid: boolean;
    }
  | { readonly kind: 'v4'; readonly firstOctet: number; readonly hub: NodeAddress };

const CREDENTIAL_MAX_DELTA = 7_200_000n;
const V4_MULTICAST_LIMIT = 1024;

/** Whether the id's controller can not exist; such ids never send requests. */
export function isAdhoc(nwid: NetworkId): boolean {
  return nwid >> 56n === 0xffn;
}

export function adhocForm(nwid: NetworkId): AdhocForm | undefined {
  if (!isAdhoc(nwid)) return undefined;
  if ((nwid & 0xff_ffffn) === 0n) {
    const start = Number((nwid >> 40n) & 0xffffn);
    const end = Number((nwid >> 24n) & 0xffffn);
    return { kind: 'ports', start, end, valid: end >= start };
  }
  if ((nwid & 0xffn) === 1n) {
    return {
      kind: 'v4',
      firstOctet: Number((nwid >> 48n) & 0xffn),
      hub: Number((nwid >> 8n) & 0xff_ffff_ffffn),
    };
  }
  return undefined;
}

const u16 = (v: number): number[] => [v >> 8, v & 0xff];
const rule = (t: number, ...body: number[]): Rule => ({ t, body: Uint8Array.from(body) });
const tcpFlag = (bit: number): number[] => [0, 0, 0, 0, 0, 0, 0, bit];
const TCP_SYN = 0x02;
const TCP_ACK = 0x10;

function portRules(start: number, end: number): Rule[] {
  return [
    rule(RULE.MATCH_ETHERTYPE | RULE_NOT, 0x86, 0xdd),
    rule(RULE.ACTION_DROP),
    rule(RULE.MATCH_IP_PROTOCOL, 0x3a),
    rule(RULE.ACTION_ACCEPT),
    rule(RULE.MATCH_IP_PROTOCOL, 0x11),
    rule(RULE.MATCH_IP_PROTOCOL | RULE_OR, 0x06),
    rule(RULE.MATCH_IP_DEST_PORT_RANGE, ...u16(start), ...u16(end)),
    rule(RULE.ACTION_ACCEPT),
    rule(RULE.MATCH_CHARACTERISTICS | RULE_NOT, ...tcpFlag(TCP_SYN)),
    rule(RULE.ACTION_ACCEPT),
    rule(RULE.MATCH_CHARACTERISTICS, ...tcpFlag(TCP_SYN)),
    rule(RULE.MATCH_CHARACTERISTICS, ...tcpFlag(TCP_ACK)),
    rule(RULE.ACTION_ACCEPT),
    rule(RULE.ACTION_DROP),
  ];
}

/** The addresses that a node gives itself. */
export function adhocAddresses(form: AdhocForm, nwid: NetworkId, self: NodeAddress): InetAddress[] {
  const out = [inetAddress(sixPlaneAddress(nwid, self), 40)];
  if (form.kind === 'v4') {
    out.push(inetAddress(Uint8Array.of(form.firstOctet, ...addressBytes(self).subarray(2)), 8));
  }
  return out;
}

export function adhocName(form: AdhocForm): string {
  if (form.kind === 'v4') return `adhoc-${form.firstOctet}.0.0.0`;
  const hex = (v: number): string => v.toString(16).padStart(4, '0');
  return `adhoc-${hex(form.start)}-${hex(form.end)}`;
}

/** The configuration, or undefined when the id names no valid one. `wall` is ms since 1970. */
export function adhocConfig(
  nwid: NetworkId,
  self: NodeAddress,
  wall: number,
): NetworkConfig | undefined {
  const form = adhocForm(nwid);
  if (form === undefined || (form.kind === 'ports' && !form.valid)) return undefined;
  return {
    nwid,
    timestamp: BigInt(wall),
    credentialTimeMaxDelta: CREDENTIAL_MAX_DELTA,
    revision: 1n,
    issuedTo: self,
    traceTarget: 0,
    traceLevel: 0n,
    flags: NETWORK_FLAG.NDP_EMULATION,
    multicastLimit: form.kind === 'v4' ? V4_MULTICAST_LIMIT : 0,
    type: NETWORK_PUBLIC,
    name: adhocName(form),
    mtu: DEFAULT_MTU,
    com: undefined,
    capabilities: [],
    tags: [],
    ownerships: [],
    specialists: form.kind === 'v4' && form.hub !== 0 ? [BigInt(form.hub)] : [],
    routes: [],
    addresses: adhocAddresses(form, nwid, self),
    rules: form.kind === 'v4' ? ACCEPT_ALL : portRules(form.start, form.end),
    dns: { domain: '', servers: [] },
    sso: NO_SSO,
  };
}

export { networkIdText };
