/** What a node asks of its host; see 6-style 4.2 for the contract of inputs and outputs. */
import type { NetworkId, NodeAddress } from '../wire/address.js';
import type { RemoteAddress } from '../wire/inetaddress.js';
import type { World } from '../wire/world.js';

/** Bytes in outputs are valid until the next input to the same node. */
export type NodeOutput =
  | {
      readonly kind: 'transmit';
      readonly socket: number;
      readonly to: RemoteAddress;
      readonly bytes: Uint8Array;
      readonly ttl: number | undefined;
    }
  | {
      readonly kind: 'frame';
      readonly nwid: NetworkId;
      readonly src: Uint8Array;
      readonly dst: Uint8Array;
      readonly etherType: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'validate'; readonly id: number; readonly identity: Uint8Array }
  | { readonly kind: 'storeWorld'; readonly world: World }
  | { readonly kind: 'storePeer'; readonly address: NodeAddress; readonly record: Uint8Array }
  | { readonly kind: 'storeConfig'; readonly nwid: NetworkId; readonly text: Uint8Array }
  | { readonly kind: 'storeController'; readonly path: string; readonly json: string | undefined }
  | { readonly kind: 'networkChanged'; readonly nwid: NetworkId }
  | { readonly kind: 'identityCollision' };
