/**
 * What the protocol rooms need of cryptography, as interfaces. No code lives here.
 *
 * Two implementations exist: `crypto/reference` (short, slow, obvious; the oracle of the tests) and
 * `packetcore` (WebAssembly for the bulk work) with `crypto/native` (node:crypto for X25519,
 * Ed25519, SHA-2, AES). Byte strings are `Uint8Array`; nothing here keeps a reference to a caller's
 * buffer after the call unless its documentation says so.
 */

/** Key material shared with one peer. Made once per peer by `PacketCore.makeKey`, opaque to callers. */
export interface PeerKey {
  /** The 48-byte agreed key [1 section 3.2]; the first 32 bytes are the Salsa20 key. */
  readonly agreed: Uint8Array;
}

/** Asymmetric and hash primitives [1 sections 2-4]. */
export interface Primitives {
  sha512(...parts: Uint8Array[]): Uint8Array;
  sha384(...parts: Uint8Array[]): Uint8Array;
  /**
   * X25519 agreement and expansion to the 48-byte peer key [1 section 3.2].
   * @returns undefined when the public key is of low order: the peer must be refused.
   */
  agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined;
  /** 96-byte signature [1 section 3.3] with a 64-byte private key (X25519 scalar, Ed25519 seed). */
  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array;
  /** Whether `signature` (any length) is a valid 96-byte signature of `message`; never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** 64-byte public key (X25519, Ed25519) of a 64-byte private key [1 section 3.1]. */
  publicFromPrivate(privateKey: Uint8Array): Uint8Array;
  /** Memory-hard hash of a 64-byte public key, 64 bytes; some 30-100 ms of CPU [1 section 4.4]. */
  memoryHardHash(publicKey: Uint8Array): Uint8Array;
}

/** Cipher suites [1 section 5]. */
export type Suite = 0 | 1 | 3;

/**
 * Bulk work on packets [1 sections 5, 6]. One instance serves any number of nodes: it keeps no
 * state per peer. `packet` is always a whole packet (28..10024 bytes), header included.
 */
export interface PacketCore {
  /** Derives the keys of one peer from the 48-byte agreed key. */
  makeKey(agreed: Uint8Array): PeerKey;
  /**
   * Protects `packet` in place. Sets the suite bits, the "encrypted" flag and clears the hops; the
   * fragmented flag (0x40 of byte 18) must already be right. Suite 3 replaces the packet id.
   */
  seal(key: PeerKey, packet: Uint8Array, suite: Suite): void;
  /**
   * Verifies and decrypts `packet` in place by the suite in its header (0, 1 or 3).
   * @returns false on a wrong MAC, another suite or a length below 28; `packet` is then unchanged.
   */
  open(key: PeerKey, packet: Uint8Array): boolean;
  /**
   * XORs `packet[start..]` with the HELLO mask [1 section 5.6]; its own inverse.
   * Reads the packet id from `packet[0..8)`.
   */
  maskHello(key: PeerKey, packet: Uint8Array, start: number): void;
  /**
   * LZ4 block encoder [1 section 6].
   * @returns bytes written to `out`, or 0 when the result would not be shorter than `input`.
   */
  compress(input: Uint8Array, out: Uint8Array): number;
  /**
   * LZ4 block decoder with hard bounds: at most min(out.length, 9996) bytes.
   * @returns bytes written to `out`: 0 for an empty input alone (legal, the payload is empty), a
   * negative number for a malformed block and for one that yields nothing.
   */
  decompress(input: Uint8Array, out: Uint8Array): number;
}

/** Secret or unpredictable-on-the-wire randomness. */
export interface Entropy {
  fill(bytes: Uint8Array): void;
}

/** Randomness for spreading and sampling only; never for anything secret. Returns 0 <= x < 1. */
export interface Jitter {
  next(): number;
}
