/** What VL2 needs of the layer below it. Declared here so that VL2 does not import VL1. */
import type { Entropy, Jitter, Primitives } from '../crypto/api.js';
import type { Writer } from '../lib/writer.js';
import type { NodeAddress } from '../wire/address.js';
import type { Identity } from '../wire/identity.js';

/** An authenticated other node. */
export interface Vl2Peer {
  readonly address: NodeAddress;
  readonly identity: Identity;
}

/** A message from a peer; `path` is opaque and only handed back to `reply`. */
export interface Vl2Message {
  readonly peer: Vl2Peer;
  readonly path: unknown;
  readonly hops: number;
  readonly verb: number;
  readonly packetId: bigint;
  /** Borrowed until the next input. */
  readonly payload: Uint8Array;
}

/** 'trusted' = the sender passed the membership gate; 'ignored' = must not refresh anything. */
export type Vl2Disposition = 'done' | 'trusted' | 'defer' | 'ignored';

export interface Vl1Port {
  readonly self: Identity;
  readonly primitives: Primitives;
  readonly entropy: Entropy;
  readonly jitter: Jitter;
  readonly protocol: number;
  /** Whether our own identity is a root of a world in use. */
  isRoot(): boolean;
  /** Starts a message; one at a time, finished by `send` or `reply`. */
  begin(dest: NodeAddress, verb: number): Writer;
  send(dest: NodeAddress, compress: boolean): void;
  reply(message: Vl2Message): void;
  /** Identity of a known peer or of ourselves. */
  identityOf(address: NodeAddress): Identity | undefined;
  requestIdentity(address: NodeAddress): void;
  upstreams(): NodeAddress[];
  /** Latency in ms of a node heard within 500 s on a direct path of known latency, else undefined. */
  directLatency(address: NodeAddress): number | undefined;
  bestUpstream(): NodeAddress | undefined;
}
