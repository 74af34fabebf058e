/** Choice and test of the primary port [4 section 3]: free for UDP and TCP, of either family. */

import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

export const DEFAULT_PORT = 9993;
const RANDOM_FIRST = 20_000;
const RANDOM_LAST = 65_499;
const TRIES = 256;

export class PortBusyError extends Error {
  readonly code = 'ERR_PORT_BUSY';
}

function canBindTcp(port: number, host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function canBindUdp(port: number, address: string): Promise<boolean> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only: true });
  return new Promise((resolve) => {
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

/** A port that nobody uses for UDP now. @throws PortBusyError. */
export async function randomUdpPort(): Promise<number> {
  for (let i = 0; i < TRIES; i++) {
    const port = randomInt(RANDOM_FIRST, RANDOM_LAST + 1);
    // A machine without IPv6 can bind one family only.
    const [v4, v6] = [await canBindUdp(port, '0.0.0.0'), await canBindUdp(port, '::')];
    if (v4 || v6) return port;
  }
  throw new PortBusyError('no free UDP port was found');
}

async function isFree(port: number): Promise<boolean> {
  for (const host of ['0.0.0.0', '::']) {
    if ((await canBindUdp(port, host)) && (await canBindTcp(port, host))) return true;
  }
  return false;
}

/** @param wanted 0 = random. @throws PortBusyError. */
export async function choosePort(wanted: number): Promise<number> {
  if (wanted !== 0) {
    if (await isFree(wanted)) return wanted;
    throw new PortBusyError(`fatal error: cannot bind to local control interface port ${wanted}`);
  }
  for (let i = 0; i < TRIES; i++) {
    const port = randomInt(RANDOM_FIRST, RANDOM_LAST + 1);
    if (await isFree(port)) return port;
  }
  throw new PortBusyError('fatal error: no free port was found');
}
