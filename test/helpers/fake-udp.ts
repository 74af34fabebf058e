/**
 * Datagrams of the in-process stack: one host whose sockets reach each other on its own addresses,
 * over loopback, broadcast and joined groups. Refusals come back as they would by ICMP.
 */
import type {
  DatagramOptions,
  EchoSink,
  Endpoint,
  IpBytes,
  StackErrno,
  UdpHandle,
  UdpSink,
} from '#src/stack/stack.js';

interface Socket {
  readonly local: Endpoint;
  readonly sink: UdpSink;
  readonly reuse: boolean;
}

export interface FakeUdpHost {
  isLocal(ip: IpBytes): boolean;
  sourceFor(to: IpBytes): IpBytes | undefined;
  /** Runs `event` at the next drain. */
  later(event: () => void): void;
}

const isGroup = (ip: IpBytes) => (ip.length === 4 ? (ip[0]! & 0xf0) === 0xe0 : ip[0] === 0xff);

export class FakeUdp {
  readonly #host: FakeUdpHost;
  readonly #sockets = new Map<UdpHandle, Socket>();
  readonly #echo = new Map<string, EchoSink>();
  readonly groups = new Map<string, number>();
  /** Datagrams that left the host, as they would on the wire. */
  readonly sent: { to: Endpoint; payload: Uint8Array; options: DatagramOptions }[] = [];
  #next = 1;

  constructor(host: FakeUdpHost) {
    this.#host = host;
  }

  get open(): number {
    return this.#sockets.size + this.#echo.size + this.groups.size;
  }

  socket(local: Endpoint, sink: UdpSink, reuse: boolean): UdpHandle | StackErrno {
    for (const s of this.#sockets.values())
      if (s.local.port === local.port && !(s.reuse && reuse)) return 'EADDRINUSE';
    const handle = this.#next++ as UdpHandle;
    this.#sockets.set(handle, { local, sink, reuse });
    return handle;
  }

  close(handle: UdpHandle): void {
    if (!this.#sockets.delete(handle)) throw new Error(`UDP handle ${handle} is dead`);
  }

  local(handle: UdpHandle): Endpoint | undefined {
    return this.#sockets.get(handle)?.local;
  }

  send(
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options: DatagramOptions,
  ): StackErrno | undefined {
    const sender = this.#sockets.get(handle);
    if (sender === undefined) throw new Error(`UDP handle ${handle} is dead`);
    const ip = options.source ?? this.#host.sourceFor(to.ip);
    if (ip === undefined) return 'ENETUNREACH';
    const from = { ip, port: sender.local.port };
    const copy = payload.slice();
    const many = isGroup(to.ip) || to.ip[3] === 255;
    if (many || !this.#host.isLocal(to.ip)) this.sent.push({ to, payload: copy, options });
    if (many && options.loop === true) this.arrive(from, to, copy, options);
    else if (!many && this.#host.isLocal(to.ip)) this.arrive(from, to, copy, options);
    return undefined;
  }

  /** A datagram for this host; a refusal goes to a local sender. */
  arrive(from: Endpoint, to: Endpoint, payload: Uint8Array, options: DatagramOptions = {}): void {
    this.#host.later(() => {
      if (isGroup(to.ip) && !this.groups.has(to.ip.join('.'))) return;
      let taken = false;
      for (const { local, sink } of [...this.#sockets.values()]) {
        if (local.port !== to.port || sink.isWanted?.(from, to.ip) === false) continue;
        taken = true;
        sink.onDatagram(payload, from, to.ip, options.ttl ?? 64, options.tos ?? 0);
      }
      if (!taken && !isGroup(to.ip) && to.ip[3] !== 255) this.refuse(from.port, to, 'ECONNREFUSED');
    });
  }

  /** An ICMP error about what the sockets of `port` sent to `to`. */
  refuse(port: number, to: Endpoint, errno: StackErrno): void {
    for (const { local, sink } of [...this.#sockets.values()]) {
      if (local.port === port) sink.onUnreachable?.(to, errno);
    }
  }

  openEcho(family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined {
    const key = `${family}/${id}`;
    if (this.#echo.has(key)) return 'EADDRINUSE';
    this.#echo.set(key, sink);
    return undefined;
  }

  closeEcho(family: 4 | 6, id: number): void {
    if (!this.#echo.delete(`${family}/${id}`)) throw new Error(`echo ${id} is not open`);
  }

  /** Every own address answers; the reply goes to the owner of the identifier. */
  sendEcho(to: IpBytes, message: Uint8Array): StackErrno | undefined {
    if (!this.#host.isLocal(to)) return undefined;
    const reply = message.slice();
    reply[0] = to.length === 4 ? 0 : 129;
    const id = (reply[4]! << 8) | reply[5]!;
    this.#host.later(() => {
      this.#echo.get(`${to.length === 4 ? 4 : 6}/${id}`)?.onReply(reply, to, to, 64, 0);
    });
    return undefined;
  }

  join(group: IpBytes): boolean {
    const key = group.join('.');
    this.groups.set(key, (this.groups.get(key) ?? 0) + 1);
    return true;
  }

  leave(group: IpBytes): void {
    const key = group.join('.');
    const count = this.groups.get(key);
    if (count === undefined) throw new Error(`group ${key} is not joined`);
    if (count === 1) this.groups.delete(key);
    else this.groups.set(key, count - 1);
  }
}
