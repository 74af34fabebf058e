/**
 * What a request may do with the virtual socket of its token, stream or datagram.
 *
 * Results are 0 or more, or a negative Linux errno number, as they stand in replies.
 */
import type { Endpoint } from '../stack/stack.js';
import type { OptionAnswer } from './options.js';
import type { StateNumber, Token, ZtAddress } from './protocol.js';

/** Answers a WAITCONN: 0 or a negative errno number. */
export type ConnectWaiter = (result: number) => void;

export interface Names {
  readonly state: StateNumber;
  readonly local: Endpoint | undefined;
  readonly peer: Endpoint | undefined;
  /** The host's network carries the connection. */
  readonly isOnHost?: boolean;
}

export interface RequestTarget {
  readonly token: Token;
  readonly names: Names;
  /** The user that owns it, undefined when unknown [5 section 14]. */
  readonly owner: number | undefined;
  /** What the program sent before the request that follows has been taken. */
  settle?(): void;
  bind(address: ZtAddress, flags: number): number;
  listen(backlog: number): number;
  connect(address: ZtAddress): number;
  padded(count: number): void;
  /** @returns withdraws the waiter. */
  waitConnect(count: number, waiter: ConnectWaiter): () => void;
  disconnect(): number;
  shutdown(how: number): number;
  /** Takes over options and binding of a finished socket. */
  inherit(old: RequestTarget): number;
  /** Positive errno number or 0; cleared unless `peek`. */
  takePendingError(peek: boolean): number;
  /** What a read at the end of the stream reports: as above, cleared; 0 = an orderly end. */
  takeReadError(): number;
  setOption(level: number, name: number, value: Uint8Array): number;
  getOption(level: number, name: number): OptionAnswer;
  /** The view forgets the socket, or closes: everything it holds is given back. */
  streamReset(): void;
}
