/** The service in the foreground: start, signals, end [4 section 3]. */
import { errorText, type Log, stderrLog } from '../../host/log.js';
import { Service } from '../../host/service.js';
import { type ControlApi, startApi } from '../../http/api.js';

/** An end that takes longer is forced, in ms. */
const FORCED_END_MS = 5_000;

const ENDING = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;
/** SIGUSR1 is on the list so that Node does not open its debugger. */
const IGNORED = ['SIGHUP', 'SIGPIPE', 'SIGIO', 'SIGUSR1', 'SIGUSR2'] as const;

export interface RunOptions {
  readonly home: string;
  readonly port: number | undefined;
}

/** One start of the service, with its API. */
class Running {
  readonly service: Service;
  readonly #api: ControlApi;

  private constructor(service: Service, api: ControlApi) {
    this.service = service;
    this.#api = api;
  }

  /** @throws what kept it. */
  static async begin(options: RunOptions, log: Log): Promise<Running> {
    const service = await Service.start({ ...options, log });
    try {
      return new Running(service, await startApi(service));
    } catch (e) {
      await service.stop();
      throw e;
    }
  }

  async end(): Promise<void> {
    await this.#api.close();
    await this.service.stop();
  }
}

function fail(e: unknown): void {
  process.stderr.write(`${errorText(e)}\n`);
  process.exit(1);
}

/** Resolves when the service answers; it then runs until a signal. @throws what kept it. */
export async function runService(options: RunOptions): Promise<void> {
  for (const signal of IGNORED) process.on(signal, () => undefined);
  process.on('SIGALRM', () => process.exit(0));
  // A reader of our messages that went away is no reason to end.
  process.stderr.on('error', () => undefined);
  // A signal during the start waits for its end: zerotier-one.pid is there from early on.
  let running: Running | undefined;
  let isWanted = false;
  const end = (): void => {
    running?.end().then(() => process.exit(0), fail);
    running = undefined;
  };
  for (const signal of ENDING)
    process.on(signal, () => {
      if (isWanted) return;
      isWanted = true;
      setTimeout(() => process.exit(1), FORCED_END_MS).unref();
      end();
    });
  const log = stderrLog(process.env['NETCON_LOG'] === 'info');
  const begin = async (): Promise<void> => {
    const started = await Running.begin(options, log);
    running = started;
    // With the identity set aside, the next start makes a new one.
    started.service.onIdentityLost = () => {
      if (running !== started) return;
      running = undefined;
      started.end().then(begin).catch(fail);
    };
    if (isWanted) end();
  };
  await begin();
}
