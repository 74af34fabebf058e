/**
 * Static files of `HOME/app` at `/app/` [4 section 7.9], for single-page interfaces: without a token
 * (access is decided before), read-only, and only below that folder. On when local.conf said
 * `enableWebServer` at the start.
 */
import { mkdirSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { extname, join, resolve, sep } from 'node:path';
import { type ApiRequest, type ApiResponse, NOT_FOUND } from './answer.js';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.gif': 'image/gif',
  '.htm': 'text/html',
  '.html': 'text/html',
  '.ico': 'image/x-icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain',
  '.wasm': 'application/wasm',
  '.webp': 'image/webp',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
};

/** Files are read whole; a longer one is not served. */
const MAX_FILE_LEN = 64 * 1024 * 1024;

/** A page by its bare name: no dot, no slash at the end. */
const BARE = /^\/app(?:\/[A-Za-z0-9_|-]+)+$/;

export class AppFiles {
  readonly #root: string;

  /** Makes the folder when it is missing. @throws when that fails. */
  constructor(folder: string) {
    this.#root = resolve(folder);
    mkdirSync(this.#root, { recursive: true });
  }

  async handle(r: ApiRequest): Promise<ApiResponse> {
    const isOurs = r.method === 'GET' && r.path.startsWith('/app/') && r.path !== '/app/';
    if (!isOurs || r.path.includes('\0')) return NOT_FOUND;
    const name = r.path.slice('/app/'.length);
    if (BARE.test(r.path))
      return (await this.#file(`${name}.html`)) ?? { status: 301, location: `${r.path}/` };
    if (!name.endsWith('/')) return (await this.#file(name)) ?? NOT_FOUND;
    // A view of a single-page interface: its page decides what to show.
    const top = name.split('/').find((part) => part !== '') ?? '';
    return (
      (await this.#file(`${name}index.html`)) ??
      (await this.#file(`${top}/index.html`)) ?? { status: 500 }
    );
  }

  /** A file below the folder; undefined when there is none. */
  async #file(name: string): Promise<ApiResponse | undefined> {
    const path = join(this.#root, name);
    if (!path.startsWith(this.#root + sep)) return undefined;
    try {
      // Opening a FIFO would wait for its writer.
      const found = await stat(path);
      if (!found.isFile() || found.size > MAX_FILE_LEN) return undefined;
      const body = await readFile(path);
      const type = TYPES[extname(path).toLowerCase()] ?? 'application/octet-stream';
      return { status: 200, body, type, isFile: true };
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code ?? '';
      if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG'].includes(code)) return undefined;
      throw e;
    }
  }
}
