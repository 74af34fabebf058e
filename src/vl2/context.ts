/** State shared by the files of this room; one per node. */
import { Counters } from '../lib/counters.js';
import type { Moment } from '../lib/time.js';
import type { NetworkId, NodeAddress } from '../wire/address.js';
import type { NetworkConfig } from '../wire/netconf.js';
import { MulticastTable } from './multicast.js';
import type { Network } from './network.js';
import type { Vl1Port, Vl2Message } from './port.js';

export type Vl2Counter =
  | 'malformed'
  | 'notJoined'
  | 'notMember'
  | 'ruleDropIn'
  | 'ruleDropOut'
  | 'badSource'
  | 'badDestination'
  | 'multicastDisabled'
  | 'noConfig'
  | 'frameIn'
  | 'frameTooLong'
  | 'frameOut'
  | 'credentialsGated'
  | 'credentialGatesFull'
  | 'credentialRejected'
  | 'credentialsDropped'
  | 'configRejected'
  | 'configForOther'
  | 'configStale'
  | 'configNotPassed'
  | 'configApplied'
  | 'requestGated'
  | 'likeRefused'
  | 'gatherRefused'
  | 'listenerRefused'
  | 'groupRefused'
  | 'memberDropped'
  | 'replicated';

/** What the room asks of the host. */
export interface Vl2Out {
  /** An Ethernet frame for the network's stack; views are valid until the next input. */
  frame(
    nwid: NetworkId,
    src: Uint8Array,
    dst: Uint8Array,
    etherType: number,
    payload: Uint8Array,
  ): void;
  /** The configuration text to keep; empty for a network without one. */
  storeConfig(nwid: NetworkId, text: Uint8Array): void;
  /** Configuration or status changed. */
  networkChanged(nwid: NetworkId): void;
}

/** The controller that may live in this node, as VL2 sees it. */
export interface ControllerPort {
  handleRequest(at: Moment, message: Vl2Message, nwid: NetworkId, metadata: Uint8Array): void;
  /** Whether the controller sent this peer a configuration of the network in the last 180 s. */
  served(at: Moment, nwid: NetworkId, address: NodeAddress): boolean;
  /** A member has a configuration that was pushed to it [3 section 5.2]. */
  handleAcknowledgement(nwid: NetworkId, from: NodeAddress, updateId: bigint): void;
  /** Our own membership of a network of our own. */
  requestLocal(at: Moment, nwid: NetworkId): void;
}

export class Vl2Context {
  readonly port: Vl1Port;
  readonly out: Vl2Out;
  readonly networks = new Map<NetworkId, Network>();
  readonly counters = new Counters<Vl2Counter>();
  readonly multicast = new MulticastTable(() => this.counters.add('listenerRefused'));
  controller: ControllerPort | undefined;
  at: Moment = { mono: 0, wall: 0 };
  /** The `o` entry of requests, e.g. `linux/x86_64`. */
  readonly platform: string;

  constructor(port: Vl1Port, out: Vl2Out, platform: string) {
    this.port = port;
    this.out = out;
    this.platform = platform;
  }

  get now(): number {
    return this.at.mono;
  }
}

export type { NetworkConfig };
