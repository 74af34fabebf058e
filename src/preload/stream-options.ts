/** What the options of a TCP socket depend on, and what TCP_INFO and SIOCOUTQ tell [5 section 8]. */
import type { TcpInfo } from '../stack/stack.js';
import { interfaceNamed } from './networks.js';
import type { OptionContext } from './options.js';
import { State, type StateNumber } from './protocol.js';
import type { SocketHost } from './socket-host.js';
import { tcpStateOf } from './tcp-info.js';

export interface StreamFacts {
  readonly state: StateNumber;
  /** The peer sends no more. */
  readonly isReceived: boolean;
  /** The program sends no more. */
  readonly isSent: boolean;
  /** Of the stack; undefined without a connection. */
  readonly info: TcpInfo | undefined;
  /** Bytes of the program that wait for the stack. */
  readonly queuedLen: number;
}

export function streamContext(host: SocketHost, facts: StreamFacts): OptionContext {
  const { state, info } = facts;
  return {
    isFresh: state === State.fresh,
    isConnected: state === State.established,
    interfaceNamed: (name) => interfaceNamed(host, name),
    mtu: host.mtu(),
    tcpState: tcpStateOf(state, facts.isReceived, facts.isSent),
    info,
    unsentLen: (info?.unacked ?? 0) + (info?.unsent ?? 0) + facts.queuedLen,
  };
}
