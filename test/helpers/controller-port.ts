/** A controller without a node below it: what it sends and stores is kept, time stands still. */
import { Controller } from '#src/controller/controller.js';
import type { Moment } from '#src/lib/time.js';
import { Writer } from '#src/lib/writer.js';
import type { Vl1Port } from '#src/vl2/port.js';
import { addressText, type NetworkId, type NodeAddress, networkIdText } from '#src/wire/address.js';
import type { Identity } from '#src/wire/identity.js';
import { MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import { parseCredentials, parseErrorHead } from '#src/wire/vl2-messages.js';
import { poolIdentity, primitives } from '../sim/world.js';

export interface SentPacket {
  readonly at: number;
  readonly dest: NodeAddress;
  readonly verb: number;
  readonly payload: Uint8Array;
}

const METADATA = new TextEncoder().encode('v=7\nrevr=1');
const WALL = 1_700_000_000_000;

/** An identity that nobody validates: an address and a key made of a number. */
export function cheapIdentity(n: number): Identity {
  const publicKey = new Uint8Array(64);
  new DataView(publicKey.buffer).setUint32(0, n);
  return { address: 0x10_0000_0000 + n, publicKey, privateKey: undefined };
}

export class LoneController {
  readonly controller = new Controller();
  readonly self = poolIdentity(0);
  readonly nwid: NetworkId = (BigInt(poolIdentity(0).address) << 24n) | 0xa1n;
  readonly sent: SentPacket[] = [];
  readonly files = new Map<string, string>();
  mono = 1_000_000;
  #random = 1;

  constructor() {
    let open = { dest: 0, verb: 0 };
    const w = Writer.of(MAX_PACKET_LEN);
    const port: Vl1Port = {
      self: this.self,
      primitives,
      entropy: { fill: (b) => void b.fill(this.#random++) },
      jitter: { next: () => 0.5 },
      protocol: 12,
      isRoot: () => false,
      begin: (dest, verb) => {
        open = { dest, verb };
        w.pos = 0;
        return w;
      },
      send: () => void this.sent.push({ at: this.mono, ...open, payload: w.done().slice() }),
      reply: () => void this.sent.push({ at: this.mono, ...open, payload: w.done().slice() }),
      identityOf: () => undefined,
      requestIdentity: () => undefined,
      upstreams: () => [],
      bestUpstream: () => undefined,
      directLatency: () => undefined,
    };
    this.controller.attach(port, {
      store: (path, json) => {
        if (json !== undefined) this.files.set(path, json);
        else
          for (const name of this.files.keys())
            if (name === path || name.startsWith(`${path}/`)) this.files.delete(name);
      },
      applyLocal: () => undefined,
      failLocal: () => undefined,
    });
  }

  at(): Moment {
    return { mono: this.mono, wall: WALL + this.mono };
  }

  /** Packets sent since the last call. */
  take(): SentPacket[] {
    return this.sent.splice(0);
  }

  network(settings: Parameters<Controller['postNetwork']>[2] = {}): void {
    this.controller.postNetwork(this.at(), this.nwid, settings);
  }

  member(who: Identity, settings: Parameters<Controller['postMember']>[4]): void {
    const texts = { nwid: networkIdText(this.nwid), address: addressText(who.address) };
    this.controller.postMember(this.at(), this.nwid, who.address, texts, settings);
  }

  /** A request from the wire. */
  ask(who: Identity, nwid = this.nwid): void {
    const message = {
      peer: { address: who.address, identity: who },
      path: undefined,
      hops: 0,
      verb: VERB.NETWORK_CONFIG_REQUEST,
      packetId: 7n,
      payload: METADATA,
    };
    this.controller.handleRequest(this.at(), message, nwid, METADATA);
  }

  /** Lets time pass; what is due runs when it is due. */
  pass(ms: number): void {
    const end = this.mono + ms;
    for (;;) {
      const due = Math.max(this.mono, this.controller.deadline());
      if (due > end) break;
      this.mono = due;
      this.controller.handleTimeout(this.at());
    }
    this.mono = end;
  }
}

/** Targets of the revocations in a packet. */
export function revoked(p: SentPacket): NodeAddress[] {
  if (p.verb !== VERB.NETWORK_CREDENTIALS) return [];
  return (parseCredentials(p.payload)?.revocations ?? []).map((r) => r.target);
}

/** The code of an ERROR, or 0. */
export function errorOf(p: SentPacket | undefined): number {
  return p?.verb === VERB.ERROR ? (parseErrorHead(p.payload)?.code ?? 0) : 0;
}
