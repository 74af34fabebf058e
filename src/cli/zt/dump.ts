/** `dump`: writes `zerotier_dump.txt` into the working directory [4 sections 2, 4.4]. */
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type Context, EXIT_FAILED, EXIT_OK, printUnreachable, request } from './answers.js';
import { err, out } from './print.js';

const FILE = 'zerotier_dump.txt';
const VERSION = '1.14.1';

export async function dump(c: Context): Promise<number> {
  const bodies: string[] = [];
  for (const path of ['/status', '/network', '/peer']) {
    const answer = await request(c, 'GET', path);
    if (answer.status !== 200) return printUnreachable(answer.body);
    bodies.push(answer.body);
  }
  const file = join(process.cwd(), FILE);
  try {
    // Kept as the reference does it: an older, longer dump is overwritten from its start.
    const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o664);
    writeSync(fd, dumpText(bodies, c.service.home));
    closeSync(fd);
  } catch (e) {
    err(`${file} can not be written: ${(e as Error).message}\n`);
    return EXIT_FAILED;
  }
  out(`Writing dump to: ${file}\n`);
  return EXIT_OK;
}

function dumpText(bodies: readonly string[], home: string): string {
  const section = (title: string, text: string): string =>
    `${title}\n${'-'.repeat(title.length)}\n${text}\n\n`;
  const [status = '', networks = '', peers = ''] = bodies;
  return [
    `platform: Linux\nzerotier version: ${VERSION}\n\n`,
    section('status', status),
    section('networks', networks),
    section('peers', peers),
    section('local.conf', localConf(home)),
    'Network Interfaces\n------------------\n\n',
    interfaces(),
  ].join('');
}

function localConf(home: string): string {
  try {
    return readFileSync(join(home, 'local.conf'), 'utf8');
  } catch {
    return 'None Present';
  }
}

/** All interfaces with an address, without loopback. */
function interfaces(): string {
  return Object.entries(networkInterfaces())
    .map(([name, list]) => ({ name, list: (list ?? []).filter((a) => !a.internal) }))
    .filter(({ list }) => list.length > 0)
    .map(({ name, list }, i) => {
      const addresses = list.map((a) => `${a.address}\n`).join('');
      return `Interface ${i}\n-----------\nName: ${name}\nMTU: ${mtu(name)}\nMAC: ${list[0]!.mac}\nAddresses: \n${addresses}`;
    })
    .join('');
}

function mtu(name: string): string {
  try {
    return readFileSync(`/sys/class/net/${name}/mtu`, 'utf8').trim();
  } catch {
    return '0';
  }
}
