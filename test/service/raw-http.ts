/** One connection to the control port: bytes out, answers in, exactly as they come. */
import { connect, type Socket } from 'node:net';
import type { HttpRequest } from './records.js';

const TIME_LIMIT_MS = 10_000;

export interface RawAnswer {
  readonly status: number;
  readonly statusLine: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  /** Interim answers (1xx) before it, as text. */
  readonly interim: string;
}

/** The bytes of a recorded request, headers in their order. */
export function requestBytes(r: HttpRequest): string {
  const head = [
    `${r.method} ${r.target} ${r.version ?? 'HTTP/1.1'}`,
    ...r.headers.map(([k, v]) => `${k}: ${v}`),
  ];
  return `${head.join('\r\n')}\r\n\r\n${r.body ?? ''}`;
}

export class Connection {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #isEnded = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    const ended = (): void => {
      this.#isEnded = true;
      this.#wake();
    };
    socket.on('end', ended);
    socket.on('error', ended);
  }

  static open(host: string, port: number): Promise<Connection> {
    const socket = connect({ host, port });
    return new Promise((resolve, reject) => {
      socket.once('connect', () => resolve(new Connection(socket)));
      socket.once('error', reject);
    });
  }

  send(text: string): void {
    this.#socket.write(Buffer.from(text, 'utf8'));
  }

  /** The next answer. @param hasBody false after HEAD. @throws when it does not come whole. */
  async answer(hasBody = true): Promise<RawAnswer> {
    let interim = '';
    for (;;) {
      await this.#until(() => this.#bytes.includes('\r\n\r\n'));
      const end = this.#bytes.indexOf('\r\n\r\n');
      const head = this.#bytes.subarray(0, end).toString('latin1');
      const [statusLine = '', ...lines] = head.split('\r\n');
      const status = Number(statusLine.split(' ')[1]);
      this.#bytes = this.#bytes.subarray(end + 4);
      if (status < 200) {
        interim += `${head}\r\n\r\n`;
        continue;
      }
      const headers = lines.map((l): [string, string] => {
        const colon = l.indexOf(':');
        return [l.slice(0, colon), l.slice(colon + 1).trim()];
      });
      const len = Number(headers.find(([k]) => k.toLowerCase() === 'content-length')?.[1] ?? 0);
      if (hasBody) await this.#until(() => this.#bytes.length >= len);
      const body = this.#bytes.subarray(0, hasBody ? len : 0).toString('utf8');
      this.#bytes = this.#bytes.subarray(hasBody ? len : 0);
      return { status, statusLine, headers, body, interim };
    }
  }

  /** Resolves when the server closed. @throws when it sends something first or stays. */
  async closed(): Promise<void> {
    await this.#until(() => this.#isEnded || this.#bytes.length > 0, true);
    if (this.#bytes.length > 0) throw new Error(`more came: ${this.#bytes.toString('latin1')}`);
  }

  end(): void {
    this.#socket.destroy();
  }

  #until(ready: () => boolean, mayEnd = false): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer in time')), TIME_LIMIT_MS);
      this.#wake = () => {
        if (ready()) {
          clearTimeout(timer);
          resolve();
        } else if (this.#isEnded && !mayEnd) {
          clearTimeout(timer);
          reject(new Error(`closed after ${JSON.stringify(this.#bytes.toString('latin1'))}`));
        }
      };
      this.#wake();
    });
  }
}

/** One request on a connection of its own. */
export async function askOnce(host: string, port: number, r: HttpRequest): Promise<RawAnswer> {
  const c = await Connection.open(host, port);
  try {
    c.send(requestBytes(r));
    return await c.answer(r.method !== 'HEAD');
  } finally {
    c.end();
  }
}
