/**
 * The node's folder in the reference's layout [4 section 2]. Every write is atomic: temporary file,
 * fsync, rename. Writes while the service runs are queued, the newest content of a file wins, and
 * `flush` waits until all of them, and the renames, are on the disk.
 */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errorText, type Log } from './log.js';

const SECRET_MODE = 0o600;

interface Pending {
  readonly data: Uint8Array | string | undefined;
  readonly mode: number | undefined;
}

export class Home {
  /** Absolute path. */
  readonly dir: string;
  readonly #log: Log;
  readonly #pending = new Map<string, Pending>();
  #writing: Promise<void> | undefined;

  constructor(dir: string, log: Log) {
    this.dir = resolve(dir);
    this.#log = log;
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Makes the folder and its parents. @throws with the path and reason. */
  create(): void {
    // Not with `recursive`: Node.js then never returns where mkdir itself says ENOENT, as below /proc.
    const missing = [];
    for (let d = this.dir; !existsSync(d); d = dirname(d)) missing.push(d);
    for (const d of missing.reverse()) mkdirSync(d, { mode: 0o755 });
    if (!statSync(this.dir).isDirectory()) throw new Error(`${this.dir} is not a folder`);
  }

  /** Content of a file, or undefined when it is missing. @throws when it can not be read. */
  read(name: string): Uint8Array | undefined {
    try {
      return new Uint8Array(readFileSync(this.path(name)));
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw e;
    }
  }

  readText(name: string): string | undefined {
    const bytes = this.read(name);
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  }

  /** Like `read` for one of many records: one that can not be read is said and left out. */
  readRecord(name: string): Uint8Array | undefined {
    try {
      return this.read(name);
    } catch (e) {
      this.#log('warning', `${name} can not be read: ${errorText(e)}; ignored`);
      return undefined;
    }
  }

  /** Names of the files (and links) in a folder; none when it is missing. */
  list(folder: string): string[] {
    try {
      return readdirSync(this.path(folder), { withFileTypes: true })
        .filter((e) => e.isFile() || e.isSymbolicLink())
        .map((e) => e.name)
        .sort();
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw e;
    }
  }

  folders(folder: string): string[] {
    try {
      return readdirSync(this.path(folder), { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => e.name)
        .sort();
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw e;
    }
  }

  /** Writes at once. @throws when the file can not be written. */
  writeNow(name: string, data: Uint8Array | string, mode?: number): void {
    const target = this.path(name);
    mkdirSync(dirname(target), { recursive: true });
    const temporary = `${target}.tmp`;
    const fd = openSync(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC,
      mode ?? 0o666,
    );
    try {
      // Writes all or throws; a short write must not replace good content.
      writeFileSync(fd, data);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (mode !== undefined) chmodSync(temporary, mode);
    renameSync(temporary, target);
  }

  writeSecretNow(name: string, text: string): void {
    this.writeNow(name, text, SECRET_MODE);
  }

  /** Sets 0600 on a secret that exists. */
  protect(name: string): void {
    try {
      chmodSync(this.path(name), SECRET_MODE);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log('warning', `${name}: ${errorText(e)}`);
    }
  }

  renameNow(from: string, to: string): void {
    renameSync(this.path(from), this.path(to));
  }

  removeNow(name: string): void {
    rmSync(this.path(name), { force: true });
  }

  /**
   * Queues the removal of a folder's files that were last written before `before`, in wall ms, and of
   * the oldest beyond `max`.
   */
  removeOlder(folder: string, before: number, max: number): void {
    const kept: { readonly file: string; readonly made: number }[] = [];
    for (const name of this.list(folder)) {
      const file = `${folder}/${name}`;
      const made = statSync(this.path(file), { throwIfNoEntry: false })?.mtimeMs;
      if (made === undefined) continue;
      if (made < before) this.remove(file);
      else kept.push({ file, made });
    }
    if (kept.length <= max) return;
    kept.sort((a, b) => b.made - a.made);
    for (const { file } of kept.slice(max)) this.remove(file);
  }

  /** Queues a write. */
  write(name: string, data: Uint8Array | string, mode?: number): void {
    this.#pending.delete(name);
    this.#pending.set(name, { data, mode });
    this.#start();
  }

  /** Queues a removal (of a folder too). */
  remove(name: string): void {
    this.#pending.delete(name);
    this.#pending.set(name, { data: undefined, mode: undefined });
    this.#start();
  }

  #start(): void {
    this.#writing ??= this.#run().finally(() => {
      this.#writing = undefined;
      // Something may have been queued after the last look, before this ran.
      if (this.#pending.size > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    const folders = new Set<string>();
    for (;;) {
      const next = this.#pending.entries().next().value;
      if (next === undefined) break;
      const [name, p] = next;
      this.#pending.delete(name);
      folders.add(dirname(this.path(name)));
      try {
        if (p.data === undefined) await rm(this.path(name), { force: true, recursive: true });
        else await this.#replace(this.path(name), p.data, p.mode);
      } catch (e) {
        this.#log('error', `${this.path(name)} was not written: ${errorText(e)}`);
      }
    }
    for (const folder of folders) await this.#syncFolder(folder);
  }

  /** A rename is durable only with its folder; one sync serves all files of a batch. */
  async #syncFolder(folder: string): Promise<void> {
    try {
      const handle = await open(folder, 'r');
      await handle.sync().finally(() => handle.close());
    } catch (e) {
      // Gone with all its files, as after a network was deleted.
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return;
      this.#log('error', `${folder} was not synced: ${errorText(e)}`);
    }
  }

  async #replace(
    target: string,
    data: Uint8Array | string,
    mode: number | undefined,
  ): Promise<void> {
    await mkdir(dirname(target), { recursive: true });
    const temporary = `${target}.tmp`;
    const file = await open(temporary, 'w', mode ?? 0o666);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    if (mode !== undefined) await chmod(temporary, mode);
    await rename(temporary, target);
  }

  /** Resolves when everything queued so far was written. */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }
}
