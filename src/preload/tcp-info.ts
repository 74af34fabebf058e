/**
 * struct tcp_info of Linux, as getsockopt(TCP_INFO) gives it [5 section 8].
 *
 * Fields that the stack does not know are zero: what belongs to algorithms it has not (pacing, RACK,
 * delivery rate, ECN) and the counts of segments.
 */
import type { TcpInfo } from '../stack/stack.js';
import { State, type StateNumber } from './protocol.js';

/** Length of the struct that is answered. */
const TCP_INFO_LEN = 232;

/** Offsets in bytes. */
const STATE = 0;
const RETRANSMITS = 2;
const OPTIONS = 5;
const WSCALE = 6;
const RTO = 8;
const SND_MSS = 16;
const RCV_MSS = 20;
const UNACKED = 24;
const PMTU = 60;
const RTT = 68;
const RTTVAR = 72;
const SND_SSTHRESH = 76;
const SND_CWND = 80;
const ADVMSS = 84;
const RCV_SPACE = 96;
const BYTES_ACKED = 120;
const BYTES_RECEIVED = 128;
const NOTSENT_BYTES = 144;

/** Bits of OPTIONS. */
const TIMESTAMPS = 1;
const SACK = 2;
const SCALED = 4;

/** What Linux says of a socket that was never connected: 1 s, 536 bytes, ten segments. */
const FRESH_RTO_US = 1_000_000;
const FRESH_MSS = 536;
const FRESH_WINDOW = 10;
const NO_THRESHOLD = 0x7fffffff;

/** What the answer is made of. */
export interface TcpInfoSource {
  readonly mtu: number;
  /** Linux's number of the state. */
  readonly tcpState: number;
  readonly info: TcpInfo | undefined;
}

function putFresh(v: DataView): void {
  v.setUint32(RTO, FRESH_RTO_US, true);
  v.setUint32(SND_MSS, FRESH_MSS, true);
  v.setUint32(SND_CWND, FRESH_WINDOW, true);
  v.setUint32(SND_SSTHRESH, NO_THRESHOLD, true);
}

function putNegotiated(v: DataView, info: TcpInfo): void {
  const scaled = info.sendScale !== undefined;
  v.setUint8(
    OPTIONS,
    (info.timestamps ? TIMESTAMPS : 0) | (info.sack ? SACK : 0) | (scaled ? SCALED : 0),
  );
  v.setUint8(WSCALE, (info.sendScale ?? 0) | ((info.receiveScale ?? 0) << 4));
}

/** Bytes as whole segments, at least one. */
const segments = (bytes: number, mss: number): number => Math.max(1, Math.floor(bytes / mss));

function putConnection(v: DataView, info: TcpInfo, mtu: number): void {
  const mss = Math.max(1, info.sendMss);
  v.setUint8(RETRANSMITS, info.retransmits);
  putNegotiated(v, info);
  v.setUint32(RTO, info.rtoMs * 1_000, true);
  v.setUint32(SND_MSS, info.sendMss, true);
  v.setUint32(RCV_MSS, info.sendMss, true);
  v.setUint32(ADVMSS, info.sendMss, true);
  v.setUint32(UNACKED, Math.ceil(info.unacked / mss), true);
  v.setUint32(PMTU, mtu, true);
  v.setUint32(RTT, info.rttUs, true);
  v.setUint32(RTTVAR, info.rttVarUs, true);
  v.setUint32(SND_SSTHRESH, thresholdOf(info, mss), true);
  v.setUint32(SND_CWND, segments(info.congestionWindow, mss), true);
  v.setUint32(RCV_SPACE, info.receiveWindow, true);
  v.setBigUint64(BYTES_ACKED, BigInt(info.bytesAcked), true);
  v.setBigUint64(BYTES_RECEIVED, BigInt(info.bytesReceived), true);
  v.setUint32(NOTSENT_BYTES, info.unsent, true);
}

/** The stack begins with a threshold that no window reaches: Linux's word for that. */
function thresholdOf(info: TcpInfo, mss: number): number {
  return info.slowStartThreshold >= 2 ** 20 ? NO_THRESHOLD : segments(info.slowStartThreshold, mss);
}

/** @returns 232 bytes. */
export function emitTcpInfo(source: TcpInfoSource): Uint8Array {
  const out = new Uint8Array(TCP_INFO_LEN);
  const v = new DataView(out.buffer);
  v.setUint8(STATE, source.tcpState);
  if (source.info === undefined) putFresh(v);
  else putConnection(v, source.info, source.mtu);
  return out;
}

/** Linux: enum of struct tcp_info's state. */
const TcpState = {
  established: 1,
  synSent: 2,
  finWait2: 5,
  close: 7,
  closeWait: 8,
  lastAck: 9,
  listen: 10,
} as const;

/** State number of a socket; of a connection, which ends it has seen. */
export function tcpStateOf(state: StateNumber, isReceived: boolean, isSent: boolean): number {
  if (state === State.listening) return TcpState.listen;
  if (state === State.connecting) return TcpState.synSent;
  if (state !== State.established) return TcpState.close;
  if (isReceived) return isSent ? TcpState.lastAck : TcpState.closeWait;
  return isSent ? TcpState.finWait2 : TcpState.established;
}
