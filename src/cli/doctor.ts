/** `netcon doctor`: checks what the package needs on this machine, and a running service. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadNative } from '../host/native.js';
import { loadPacketCore } from '../packetcore/load.js';
import { ApiClient } from './api-client.js';
import { packagePath } from './args.js';

export const DOCTOR_USAGE = `usage: netcon doctor [-D HOME]

Checks the built parts, and with -D the service of that home folder. Exit code 1 when something
is wrong.
`;

interface Finding {
  readonly what: string;
  readonly problem: string | undefined;
}

function artefact(name: string, target: string): Finding {
  const isThere = existsSync(packagePath(name));
  return { what: name, problem: isThere ? undefined : `missing; run ./build.sh ${target}` };
}

function addon(): Finding {
  const native = loadNative();
  const problem =
    typeof native === 'string'
      ? `${native}; UDP is slower without it: run ./build.sh native`
      : undefined;
  return { what: 'dist/native/netcon_io.node loads', problem };
}

function packetCore(): Finding {
  try {
    loadPacketCore();
    return { what: 'packet core starts', problem: undefined };
  } catch (e) {
    return { what: 'packet core starts', problem: (e as Error).message };
  }
}

async function service(home: string): Promise<Finding[]> {
  try {
    const api = ApiClient.ofHome(home);
    const status = await api.record('GET', '/status');
    const networks = await api.json('GET', '/network');
    return [
      {
        what: `service of ${home} answers, address ${String(status['address'])}`,
        problem: undefined,
      },
      {
        what: 'service is online',
        problem:
          status['online'] === true
            ? undefined
            : 'no root was heard in the last 30 s: is UDP blocked?',
      },
      {
        what: `networks joined: ${Array.isArray(networks) ? networks.length : 0}`,
        problem: undefined,
      },
    ];
  } catch (e) {
    const { message } = e as Error;
    const hint = message.includes('ECONNREFUSED') ? ': is it running?' : '';
    return [{ what: `service of ${home}`, problem: message + hint }];
  }
}

export async function doctorCommand(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      home: { type: 'string', short: 'D' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(DOCTOR_USAGE);
    return 0;
  }
  const { home } = values;
  const findings = [
    artefact('dist/wasm/packetcore.wasm', 'wasm'),
    artefact('dist/wasm/lwip.wasm', 'lwip'),
    artefact('dist/native/libztintercept.so', 'intercept'),
    addon(),
    packetCore(),
    ...(home === undefined ? [] : await service(resolve(home))),
  ];
  for (const f of findings)
    process.stdout.write(
      `${f.problem === undefined ? 'ok     ' : 'PROBLEM'} ${f.what}${f.problem === undefined ? '' : `: ${f.problem}`}\n`,
    );
  return findings.some((f) => f.problem !== undefined) ? 1 : 0;
}
