/** A client of a service's control API, for the demo and the friendly commands. */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { isRecord, type JsonRecord, type JsonValue, parseJson } from '../lib/json.js';
import { CommandError } from './args.js';

const TIMEOUT_MS = 5_000;

export class ApiClient {
  readonly #port: number;
  readonly #token: string;

  constructor(port: number, token: string) {
    this.#port = port;
    this.#token = token;
  }

  /** For the service whose home folder this is. @throws CommandError when its files are missing. */
  static ofHome(home: string): ApiClient {
    try {
      const port = Number.parseInt(readFileSync(join(home, 'zerotier-one.port'), 'utf8'), 10);
      return new ApiClient(port, readFileSync(join(home, 'authtoken.secret'), 'utf8').trim());
    } catch (e) {
      throw new CommandError(`${home} is not the home of a service: ${(e as Error).message}`);
    }
  }

  text(method: string, path: string, body?: JsonRecord): Promise<{ status: number; body: string }> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | number> = {
        'X-ZT1-Auth': this.#token,
        Connection: 'close',
      };
      if (payload !== undefined) headers['Content-Length'] = Buffer.byteLength(payload);
      const req = request(
        { host: '127.0.0.1', port: this.#port, method, path, headers, timeout: TIMEOUT_MS },
        (res) => {
          const chunks: Buffer[] = [];
          res.on('data', (c: Buffer) => chunks.push(c));
          res.on('end', () =>
            resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
          );
          res.on('error', reject);
        },
      );
      req.on('timeout', () => req.destroy(new Error('the service did not answer in time')));
      req.on('error', reject);
      req.end(payload);
    });
  }

  /** @throws CommandError on any status but 200. */
  async json(method: string, path: string, body?: JsonRecord): Promise<JsonValue> {
    const answer = await this.text(method, path, body);
    if (answer.status !== 200)
      throw new CommandError(`${method} ${path}: status ${answer.status} ${answer.body}`);
    return parseJson(answer.body);
  }

  async record(method: string, path: string, body?: JsonRecord): Promise<JsonRecord> {
    const v = await this.json(method, path, body);
    if (!isRecord(v)) throw new CommandError(`${method} ${path}: the answer is not an object`);
    return v;
  }
}
