/** The service in the foreground: start, signals, end [4 section 3]. */
import { errorText, stderrLog } from '../../host/log.js';
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

/** Resolves when the service answers; it then runs until a signal. @throws what kept it. */
export async function runService(options: RunOptions): Promise<void> {
  for (const signal of IGNORED) process.on(signal, () => undefined);
  process.on('SIGALRM', () => process.exit(0));
  // A reader of our messages that went away is no reason to end.
  process.stderr.on('error', () => undefined);
  // A signal during the start waits for its end: zerotier-one.pid is there from early on.
  let wanted = (): void => undefined;
  let isWanted = false;
  for (const signal of ENDING)
    process.on(signal, () => {
      if (isWanted) return;
      isWanted = true;
      setTimeout(() => process.exit(1), FORCED_END_MS).unref();
      wanted();
    });
  const log = stderrLog(process.env['NETCON_LOG'] === 'info');
  const service = await Service.start({ ...options, log });
  let api: ControlApi;
  try {
    api = await startApi(service);
  } catch (e) {
    await service.stop();
    throw e;
  }
  wanted = (): void => {
    stop(service, api).then(
      () => process.exit(0),
      (e: unknown) => {
        process.stderr.write(`${errorText(e)}\n`);
        process.exit(1);
      },
    );
  };
  if (isWanted) wanted();
}

async function stop(service: Service, api: ControlApi): Promise<void> {
  await api.close();
  await service.stop();
}
