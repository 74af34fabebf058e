/**
 * Port mapping by PCP (RFC 6887) and its predecessor NAT-PMP (RFC 6886): one UDP port of ours at the
 * gateway. A gateway that knows only the older one says so, and is asked again in its words.
 *
 *   NAT-PMP  request   0 version 0   1 op   2 0(2)   4 internal   6 external   8 lifetime(4)
 *            answer    0 version 0   1 128+op   2 result   4 epoch(4)   8 ip(4), or as the request
 *   PCP MAP  request   0 version 2   1 op 1   4 lifetime(4)   8 client(16)   24 nonce(12)
 *                      36 protocol   40 internal   42 external   44 external address(16)
 *            answer    0 version 2   1 0x81   3 result   4 lifetime(4)   8 epoch(4)   24 as the request
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { type InetAddress, inetAddress, ipText } from '../wire/inetaddress.js';

const GATEWAY_PORT = 5351;
/** Requests are repeated after 250 ms, then twice as long each time [RFC 6886 3.1], five in all. */
const FIRST_WAIT_MS = 250;
const SENDS = 5;
const UDP_PROTOCOL = 17;
const PCP_LEN = 60;
const MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255);

export class GatewayError extends Error {
  readonly code = 'ERR_GATEWAY';
}

export interface Mapping {
  readonly external: InetAddress;
  readonly lifetimeSec: number;
}

export function pcpMapRequest(
  client: Uint8Array,
  nonce: Uint8Array,
  internal: number,
  external: number,
  lifetimeSec: number,
): Uint8Array {
  const b = Buffer.alloc(PCP_LEN);
  b.writeUInt8(2, 0);
  b.writeUInt8(1, 1);
  b.writeUInt32BE(lifetimeSec, 4);
  b.set(MAPPED_PREFIX, 8);
  b.set(client, 20);
  b.set(nonce, 24);
  b.writeUInt8(UDP_PROTOCOL, 36);
  b.writeUInt16BE(internal, 40);
  b.writeUInt16BE(external, 42);
  b.set(MAPPED_PREFIX, 44);
  return new Uint8Array(b);
}

/** 'old' = the gateway speaks NAT-PMP only. Undefined = not an answer to that request. */
export function parsePcpAnswer(
  answer: Uint8Array,
  request: Uint8Array,
): Mapping | 'old' | GatewayError | undefined {
  const b = Buffer.from(answer);
  if (b.length >= 4 && b[0] === 0 && b[1]! >= 128) return 'old';
  if (b.length < PCP_LEN || b[0] !== 2 || b[1] !== 0x81) return undefined;
  // Nonce, protocol and internal port.
  if (!b.subarray(24, 37).equals(Buffer.from(request.subarray(24, 37)))) return undefined;
  if (b.readUInt16BE(40) !== Buffer.from(request).readUInt16BE(40)) return undefined;
  if (b[3] !== 0) return new GatewayError(`PCP: result ${b[3]}`);
  if (!b.subarray(44, 56).equals(Buffer.from(MAPPED_PREFIX)))
    return new GatewayError('PCP: the external address is not IPv4');
  const external = inetAddress(new Uint8Array(b.subarray(56, 60)), b.readUInt16BE(42));
  return { external, lifetimeSec: b.readUInt32BE(4) };
}

const OP_ADDRESS = 0;
const OP_MAP_UDP = 1;

export function pmpMapRequest(internal: number, external: number, lifetimeSec: number): Uint8Array {
  const b = Buffer.alloc(12);
  b.writeUInt8(OP_MAP_UDP, 1);
  b.writeUInt16BE(internal, 4);
  b.writeUInt16BE(external, 6);
  b.writeUInt32BE(lifetimeSec, 8);
  return new Uint8Array(b);
}

/** The body of an answer to that operation; undefined when it is none. */
export function parsePmpAnswer(
  answer: Uint8Array,
  op: number,
): Uint8Array | GatewayError | undefined {
  const b = Buffer.from(answer);
  if (b.length < 4 || b[0] !== 0 || b[1] !== 128 + op) return undefined;
  const result = b.readUInt16BE(2);
  if (result !== 0) return new GatewayError(`NAT-PMP: result ${result}`);
  return b.length < (op === OP_ADDRESS ? 12 : 16) ? undefined : b.subarray(8);
}

/** A conversation with one gateway; only its answers are heard, since the socket is connected. */
class Conversation {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static open(gateway: Uint8Array): Promise<Conversation> {
    const socket = createSocket('udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', (e) => {
        socket.close();
        reject(e);
      });
      socket.connect(GATEWAY_PORT, ipText(gateway), () => {
        socket.removeAllListeners('error');
        resolve(new Conversation(socket));
      });
    });
  }

  get local(): Uint8Array {
    return Uint8Array.from(this.#socket.address().address.split('.'), Number);
  }

  /** Sends until `read` takes an answer. @throws GatewayError when none comes. */
  ask<T>(request: Uint8Array, read: (answer: Uint8Array) => T | GatewayError | undefined) {
    return new Promise<T>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      let sends = 0;
      const end = (): void => {
        clearTimeout(timer);
        this.#socket.removeAllListeners();
      };
      const fail = (e: Error): void => {
        end();
        reject(e);
      };
      const send = (): void => {
        if (sends === SENDS) {
          fail(new GatewayError('the gateway does not answer'));
          return;
        }
        this.#socket.send(request);
        timer = setTimeout(send, FIRST_WAIT_MS * 2 ** sends++);
      };
      this.#socket.on('error', fail);
      this.#socket.on('message', (answer) => {
        const result = read(answer);
        if (result === undefined) return;
        if (result instanceof GatewayError) {
          fail(result);
          return;
        }
        end();
        resolve(result);
      });
      send();
    });
  }

  close(): void {
    this.#socket.close();
  }
}

export interface MapRequest {
  readonly gateway: Uint8Array;
  readonly port: number;
  /** Asked for; the gateway may give another one. */
  readonly externalPort: number;
  /** 0 removes the mapping. */
  readonly lifetimeSec: number;
  /** 12 bytes that stay the same for one mapping's life. */
  readonly nonce: Uint8Array;
}

export const newNonce = (): Uint8Array => randomBytes(12);

/** @throws GatewayError and socket errors. */
export async function mapByPcp(r: MapRequest): Promise<Mapping> {
  const talk = await Conversation.open(r.gateway);
  try {
    const request = pcpMapRequest(talk.local, r.nonce, r.port, r.externalPort, r.lifetimeSec);
    const mapping = await talk.ask(request, (a) => parsePcpAnswer(a, request));
    return mapping === 'old' ? await mapByPmp(talk, r) : mapping;
  } finally {
    talk.close();
  }
}

async function mapByPmp(talk: Conversation, r: MapRequest): Promise<Mapping> {
  const address = await talk.ask(Uint8Array.of(0, OP_ADDRESS), (a) =>
    parsePmpAnswer(a, OP_ADDRESS),
  );
  const request = pmpMapRequest(r.port, r.externalPort, r.lifetimeSec);
  const body = Buffer.from(
    await talk.ask(request, (a) => {
      const answer = parsePmpAnswer(a, OP_MAP_UDP);
      const isOurs = answer instanceof Uint8Array && Buffer.from(answer).readUInt16BE(0) === r.port;
      return answer instanceof Uint8Array && !isOurs ? undefined : answer;
    }),
  );
  const external = inetAddress(new Uint8Array(address.subarray(0, 4)), body.readUInt16BE(2));
  return { external, lifetimeSec: body.readUInt32BE(4) };
}
