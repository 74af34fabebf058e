/** The machine's default gateway over IPv4, from the kernel's routing table. */
import { readFileSync } from 'node:fs';

const ROUTES = '/proc/net/route';
/** RTF_UP and RTF_GATEWAY. */
const FLAGS = 0x3;

/** The gateway of the default route of least metric in the text of /proc/net/route. */
export function parseDefaultGateway(text: string): Uint8Array | undefined {
  let best: { metric: number; ip: Uint8Array } | undefined;
  for (const line of text.split('\n').slice(1)) {
    const [, dest, gateway = '', flags = '', , , metricText = '', mask] = line.split('\t');
    if (dest !== '00000000' || mask !== '00000000' || !/^[0-9A-F]{8}$/.test(gateway)) continue;
    if ((Number.parseInt(flags, 16) & FLAGS) !== FLAGS) continue;
    const metric = Number(metricText);
    if (best !== undefined && best.metric <= metric) continue;
    // The kernel prints the word as it lies in memory.
    const word = Uint32Array.of(Number.parseInt(gateway, 16));
    best = { metric, ip: new Uint8Array(word.buffer) };
  }
  return best?.ip;
}

export function defaultGateway(): Uint8Array | undefined {
  try {
    return parseDefaultGateway(readFileSync(ROUTES, 'utf8'));
  } catch {
    // No procfs: then nothing is mapped.
    return undefined;
  }
}
