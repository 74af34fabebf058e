/**
 * A text file that others write, as it is now: looked at before every use, read again when it is
 * another file or has changed. Never waits for anything but the disk, and reads a bounded length.
 */
import * as fs from 'node:fs';

/** Ours: 100,000 lines of a hosts file take some 3 MiB; they are read in one go. */
const LENGTH_MAX = 4 * 1024 * 1024;
const CHUNK_LEN = 64 * 1024;
/**
 * Ours: a file may change once more without another time of change, within what a file system counts
 * in (FAT: 2 s). What was read so soon after a change is read again.
 */
const SETTLED_MS = 2_000;

export interface TextFileOptions {
  /** Told why the file cannot be read, once for each reason; that there is none is no reason. */
  readonly failed?: (reason: string) => void;
  readonly lengthMax?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export class TextFile {
  readonly #path: string;
  readonly #failed: (reason: string) => void;
  readonly #lengthMax: number;
  readonly #now: () => number;
  /** What was read, and of which state of the file; '' = of one that may have changed. */
  #text = '';
  #state = '';
  #reason = '';
  #reads = 0;

  constructor(path: string, options: TextFileOptions = {}) {
    this.#path = path;
    this.#failed = options.failed ?? (() => undefined);
    this.#lengthMax = options.lengthMax ?? LENGTH_MAX;
    this.#now = options.now ?? Date.now;
  }

  /** How often the file was read. */
  get reads(): number {
    return this.#reads;
  }

  /** Empty when there is no such file, or it cannot be read. */
  text(): string {
    try {
      const stat = fs.statSync(this.#path, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) this.#forget('');
      else if (this.#state === '' || this.#state !== stateOf(stat)) this.#read();
    } catch (e) {
      this.#forget((e as Error).message);
    }
    return this.#text;
  }

  #forget(reason: string): void {
    this.#text = '';
    this.#state = '';
    this.#tell(reason);
  }

  #tell(reason: string): void {
    if (reason !== '' && reason !== this.#reason) this.#failed(reason);
    this.#reason = reason;
  }

  /** Opens without waiting: a pipe of this name has no writer. */
  #read(): void {
    const fd = fs.openSync(this.#path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      const stat = fs.fstatSync(fd, { bigint: true });
      if (!stat.isFile()) throw new Error('not a regular file');
      this.#reads++;
      const bytes = readAtMost(fd, this.#lengthMax + 1);
      const isCut = bytes.length > this.#lengthMax;
      this.#text = isCut ? wholeLines(bytes.subarray(0, this.#lengthMax)) : bytes.toString();
      this.#state = this.#isSettled(stat) ? stateOf(stat) : '';
      this.#tell(isCut ? `only the first ${this.#lengthMax} bytes are read` : '');
    } finally {
      fs.closeSync(fd);
    }
  }

  #isSettled({ mtimeMs, ctimeMs }: fs.BigIntStats): boolean {
    const changedAt = Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs);
    return Math.abs(this.#now() - changedAt) > SETTLED_MS;
  }
}

function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: fs.BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

function readAtMost(fd: number, most: number): Buffer {
  const parts: Buffer[] = [];
  for (let length = 0; length < most; ) {
    const part = Buffer.allocUnsafe(Math.min(CHUNK_LEN, most - length));
    const count = fs.readSync(fd, part);
    if (count === 0) break;
    parts.push(part.subarray(0, count));
    length += count;
  }
  return Buffer.concat(parts);
}

function wholeLines(bytes: Buffer): string {
  return bytes.toString('utf8', 0, bytes.lastIndexOf('\n') + 1);
}
