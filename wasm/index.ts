/** The exports of the packet core, and nothing else. */
export { identityFill, identityMix } from './identity';
export { lz4Decode, lz4Encode } from './lz4';
export { maskHello, open, seal } from './packet';
export { poly1305Tag, salsa20Xor } from './primitives';
export {
  sivExpand,
  sivOpen,
  sivOpenFinish,
  sivOpenStart,
  sivSeal,
  sivSealFinish,
  sivSealStart,
} from './siv';
