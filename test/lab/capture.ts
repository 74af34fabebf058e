/**
 * What was on the switch: datagrams of a tcpdump file, read as heads and fragments of the protocol
 * (document 2, sections 3 and 4), without keys. Tells who spoke to whom, in which cipher suite, and
 * whether directly or by a relay.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';

export interface Datagram {
  /** Underlay addresses, text. */
  readonly from: string;
  readonly to: string;
  /** Bytes of the UDP payload. */
  readonly length: number;
  /** Ten digits; a fragment names no source. */
  readonly source: string | undefined;
  readonly destination: string;
  readonly hops: number;
  /** 0, 1, 2 or 3; a fragment names none. */
  readonly suite: number | undefined;
}

const GLOBAL_HEAD = 24;
const RECORD_HEAD = 16;
const ETHERNET_HEAD = 14;
const UDP_HEAD = 8;
const PACKET_HEAD = 28;
const FRAGMENT_HEAD = 16;
const FRAGMENT_MARK = 0xff;
/** Ethernet, IPv6, UDP and packet head. */
const SNAP = 160;
const SETTLE_MS = 300;

interface Udp {
  readonly from: string;
  readonly to: string;
  readonly at: number;
  readonly length: number;
}

const groups = (b: Buffer): string =>
  Array.from({ length: 8 }, (_, i) => b.readUInt16BE(2 * i).toString(16)).join(':');

function udp4(f: Buffer): Udp | undefined {
  const at = ETHERNET_HEAD + (f[ETHERNET_HEAD]! & 15) * 4 + UDP_HEAD;
  if (f[23] !== 17 || f.length < at) return undefined;
  return {
    from: f.subarray(26, 30).join('.'),
    to: f.subarray(30, 34).join('.'),
    at,
    length: f.readUInt16BE(at - 4) - UDP_HEAD,
  };
}

function udp6(f: Buffer): Udp | undefined {
  const at = ETHERNET_HEAD + 40 + UDP_HEAD;
  if (f[20] !== 17 || f.length < at) return undefined;
  return {
    from: groups(f.subarray(22, 38)),
    to: groups(f.subarray(38, 54)),
    at,
    length: f.readUInt16BE(at - 4) - UDP_HEAD,
  };
}

function datagram(f: Buffer): Datagram | undefined {
  const type = f.readUInt16BE(12);
  const u = type === 0x0800 ? udp4(f) : type === 0x86dd ? udp6(f) : undefined;
  if (u === undefined || u.length < FRAGMENT_HEAD) return undefined;
  const p = f.subarray(u.at);
  if (p.length < FRAGMENT_HEAD) return undefined;
  const destination = p.subarray(8, 13).toString('hex');
  const shared = { from: u.from, to: u.to, length: u.length, destination };
  if (p[13] === FRAGMENT_MARK)
    return { ...shared, source: undefined, hops: p[15]!, suite: undefined };
  if (p.length < PACKET_HEAD) return undefined;
  return {
    ...shared,
    source: p.subarray(13, 18).toString('hex'),
    hops: p[18]! & 7,
    suite: (p[18]! >> 3) & 7,
  };
}

/** All datagrams of the protocol in a pcap file, from byte `start` on. */
export function readCapture(pcap: Buffer, start = GLOBAL_HEAD): Datagram[] {
  const out: Datagram[] = [];
  for (let at = start; at + RECORD_HEAD <= pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8);
    const frame = pcap.subarray(at + RECORD_HEAD, at + RECORD_HEAD + length);
    at += RECORD_HEAD + length;
    const d = frame.length > ETHERNET_HEAD + 20 ? datagram(frame) : undefined;
    if (d !== undefined) out.push(d);
  }
  return out;
}

/** Traffic between two nodes, both ways. */
export interface Traffic {
  /** UDP payload bytes of packets and fragments from one to the other, as they left the sender. */
  readonly bytes: number;
  /** Heads that went straight, and heads that left for a relay. */
  readonly direct: number;
  readonly relayed: number;
  /** Cipher suite to heads, of each direction. */
  readonly suites: readonly [Record<number, number>, Record<number, number>];
}

export interface Party {
  /** Ten digits. */
  readonly address: string;
  /** Address on the switch, as `ip` prints it or any other text form of IPv6. */
  readonly ip: string;
}

function canonical(text: string): string {
  if (!text.includes(':')) return text;
  const [left = '', right = ''] = text.split('::');
  const [a, b] = [left.split(':'), right.split(':')].map((g) => g.filter((x) => x !== ''));
  const zeros = Array.from({ length: 8 - a!.length - b!.length }, () => '0');
  return [...a!, ...zeros, ...b!].join(':');
}

/** Counts what `a` and `b` sent each other, once per packet: relayed copies have hops above 0. */
export function trafficBetween(all: readonly Datagram[], a: Party, b: Party): Traffic {
  const [ipA, ipB] = [canonical(a.ip), canonical(b.ip)];
  let [bytes, direct, relayed] = [0, 0, 0];
  const suites: [Record<number, number>, Record<number, number>] = [{}, {}];
  for (const d of all) {
    if (d.hops !== 0) continue;
    const isFromA = d.from === ipA && d.destination === b.address;
    const isFromB = d.from === ipB && d.destination === a.address;
    if (!isFromA && !isFromB) continue;
    bytes += d.length;
    if (d.suite === undefined) continue;
    if (d.suite !== 0) {
      if (d.to === (isFromA ? ipB : ipA)) direct++;
      else relayed++;
    }
    const count = suites[isFromA ? 0 : 1];
    count[d.suite] = (count[d.suite] ?? 0) + 1;
  }
  return { bytes, direct, relayed, suites };
}

/** A running tcpdump on the switch. */
export class Capture {
  readonly #file: string;
  readonly #child: ChildProcess;

  private constructor(file: string, child: ChildProcess) {
    this.#file = file;
    this.#child = child;
  }

  /** Records the switch's UDP of `port` into a file; resolves once it does. */
  static async start(switchNs: string, bridge: string, port: number, file: string) {
    const child = spawn(
      'ip',
      [
        ...[
          'netns',
          'exec',
          switchNs,
          'tcpdump',
          '-i',
          bridge,
          '-U',
          '--immediate-mode',
          '-B',
          '16384',
        ],
        ...['-s', String(SNAP), '-w', file, `udp and (port ${port} or portrange 1024-65535)`],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await new Promise<void>((done, fail) => {
      child.stderr.once('data', () => done());
      child.once('error', fail);
    });
    return new Capture(file, child);
  }

  get child(): ChildProcess {
    return this.#child;
  }

  /** Where the file ends now, for `since`. */
  async mark(): Promise<number> {
    await this.#settle();
    return Math.max(GLOBAL_HEAD, statSync(this.#file).size);
  }

  /** What was recorded after a mark. */
  async since(mark: number): Promise<Datagram[]> {
    await this.#settle();
    return readCapture(readFileSync(this.#file), mark);
  }

  /** Ends the recording and returns all of it. */
  async stop(): Promise<Datagram[]> {
    await this.#settle();
    const gone = new Promise<void>((r) => this.#child.once('exit', () => r()));
    this.#child.kill('SIGTERM');
    await gone;
    return readCapture(readFileSync(this.#file));
  }

  /** Lets tcpdump write what it has; frames of the last milliseconds may be missing. */
  async #settle(): Promise<void> {
    await new Promise((r) => setTimeout(r, SETTLE_MS));
  }
}
