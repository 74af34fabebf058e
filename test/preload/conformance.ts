/**
 * The differential test: a probe on the kernel's sockets and under the preload, compared line by
 * line.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS, OWN_ADDRESS6 } from './harness.js';
import { expect, run, Skip, which } from './run.js';

export interface Probe {
  /** Its source is probes/<name>.c. */
  readonly name: string;
  /** Helpers linked to it. */
  readonly with: readonly string[];
  readonly datagrams: boolean;
  /** At least so many cases must have run on the kernel. */
  readonly cases: number;
  /** Quick cases for the comparison without ZT_NC_NETWORK. */
  readonly inert: readonly string[];
}

export const PROBES: readonly Probe[] = [
  {
    name: 'tcp',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 18,
    inert: ['T1', 'T3', 'T6', 'T15', 'T18'],
  },
  {
    name: 'tcp_wait',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 12,
    inert: ['T29', 'T33'],
  },
  {
    name: 'tcp_load',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 8,
    inert: ['T38', 'T39'],
  },
  {
    name: 'tcp_beyond',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 19,
    inert: ['X-options'],
  },
  {
    name: 'tcp_names',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 5,
    inert: ['P-open', 'P-never'],
  },
  {
    name: 'tcp_ends',
    with: ['probe.c', 'ends_util.c'],
    datagrams: false,
    cases: 20,
    inert: ['E-half4', 'E-half6'],
  },
  {
    name: 'tcp_ends_write',
    with: ['probe.c', 'ends_util.c'],
    datagrams: false,
    cases: 10,
    inert: ['E-ended4', 'E-dead6'],
  },
  {
    name: 'tcp_buffers',
    with: ['probe.c', 'ends_util.c'],
    datagrams: false,
    cases: 8,
    inert: ['E-inherit4', 'E-inherit6'],
  },
  {
    name: 'tcp_more',
    with: ['probe.c'],
    datagrams: false,
    cases: 5,
    inert: ['X-ipv6', 'X-limits'],
  },
  {
    name: 'details',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: true,
    cases: 10,
    inert: ['K-socket', 'K-options'],
  },
  {
    name: 'effects',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 15,
    inert: ['F-oneshot', 'F-maxseg'],
  },
  {
    name: 'kept',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 9,
    inert: ['K-kept', 'K-tos', 'K-peer'],
  },
  {
    name: 'pointers',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: true,
    cases: 23,
    inert: ['B-addresses', 'B-read'],
  },
  {
    name: 'limits',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 18,
    inert: ['L-splice', 'L-list', 'L-control'],
  },
  {
    name: 'process',
    with: ['probe.c', 'tcp_util.c'],
    datagrams: false,
    cases: 6,
    inert: ['P-spawn', 'P-closefrom'],
  },
  {
    name: 'names',
    with: ['probe.c', 'names_util.c'],
    datagrams: false,
    cases: 9,
    inert: ['N-numeric', 'N-hosts', 'N-gethostby', 'N-interfaces'],
  },
  {
    name: 'lookups',
    with: ['probe.c', 'names_util.c'],
    datagrams: false,
    cases: 3,
    // Not N-async: once, on a busy machine, libc's own getaddrinfo_a died of SIGSEGV there.
    inert: ['N-dns', 'N-messages'],
  },
  {
    name: 'udp',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 34,
    inert: ['U1', 'U3', 'U4', 'U5', 'U7', 'U11'],
  },
  {
    name: 'udp_more',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 49,
    inert: ['D-names', 'D-mmsg', 'D-mmsg-6', 'D-syscall'],
  },
  {
    name: 'udp6',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 6,
    inert: ['V-basic', 'V-mapped', 'V-plain'],
  },
  {
    name: 'udp_control',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 11,
    inert: ['C-receive4', 'C-receive6', 'C-truncated', 'C-send4', 'C-option-lengths'],
  },
  {
    name: 'udp_group',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 6,
    inert: ['G-join', 'G-join6', 'G-generic'],
  },
  {
    name: 'udp_source',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 6,
    inert: ['G-wanted', 'G-sources', 'G-sources6'],
  },
  {
    name: 'udp_send',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 6,
    inert: ['S-more', 'S-cork', 'S-segment', 'S-cut', 'S-joined', 'S-nowhere'],
  },
  {
    name: 'echo',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 5,
    inert: ['E-four', 'E-six', 'E-errors'],
  },
  {
    name: 'others',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 10,
    inert: ['O-names', 'O-duplicates', 'O-prctl'],
  },
  {
    name: 'outside',
    with: ['probe.c', 'udp_util.c'],
    datagrams: true,
    cases: 6,
    inert: ['W-raw', 'W-urgent', 'W-bare'],
  },
  {
    name: 'matrix',
    with: ['probe.c'],
    datagrams: true,
    cases: 29,
    inert: ['M-valid', 'M-valid-6', 'M-null', 'M-not-ours'],
  },
];

/** Cases of other probes that ask a server of datagrams, or reserve a port for them. */
export const DATAGRAM_CASES: ReadonlySet<string> = new Set([
  'N-dns',
  'N-messages',
  'N-async',
  'N-reserved',
  'F-low-port',
  'F-low-port-6',
  'L-full',
  'L-list',
  'L-list-6',
  'L-past',
  'L-errors',
  'L-errors-6',
  'L-control',
  'L-control-6',
]);

/** Names of the probe names.c: the file of the virtual network, and /etc/hosts of the kernel. */
export const HOSTS = `127.0.0.1 localhost foo.localhost four.localhost
::1 localhost foo.localhost
10.147.17.77 server.probe.test alias.probe.test
fd00:17::77 server.probe.test
10.147.17.78 four.probe.test
`;

/**
 * The kernel's network with the same addresses: one of each family that answers itself, one that
 * never answers. Who may open echo sockets is a setting of the namespace.
 */
const KERNEL_SETUP = `
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add ${OWN_ADDRESS}/24 dev v0
ip -6 addr add ${OWN_ADDRESS6}/64 dev v0 nodad
ip link set v0 up
ip link set v1 up
ip neigh add 10.147.17.99 lladdr 02:00:00:00:00:99 dev v0
echo 0 0 > /proc/sys/net/ipv4/ping_group_range
`;

/** The symbols that the library wraps. */
export function hookNames(root: string): string[] {
  const text = fs.readFileSync(path.join(root, 'intercept/hooks.list'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/ .*/, ''));
}

/** Changes with every hook, and with every case that a probe gains or loses. */
export function probeFingerprint(root: string): string {
  const hash = createHash('sha256').update(hookNames(root).join());
  for (const { name } of PROBES) {
    const source = fs.readFileSync(path.join(root, `test/preload/probes/${name}.c`), 'utf8');
    for (const [row] of source.matchAll(/(?:\{|FOUR_SIX(?:_MAPPED)?\()"[A-Z][\w-]*", \w+[})]/g)) {
      hash.update(row);
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** Compiles a probe into `folder`. */
export async function buildProbe(
  root: string,
  probe: Probe,
  folder: string,
  more: readonly string[] = [],
  libraries: readonly string[] = [],
): Promise<string> {
  const gcc = await which('gcc');
  if (gcc === undefined) throw new Skip('gcc is not installed');
  const sources = [`${probe.name}.c`, ...probe.with].map((name) =>
    path.join(root, 'test/preload/probes', name),
  );
  const program = path.join(folder, probe.name);
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-pthread', ...more];
  const done = await run(gcc, [...flags, '-o', program, ...sources, ...libraries]);
  expect(done.code === 0, done.stderr);
  return program;
}

/** Runs a probe on the kernel's sockets in a namespace of its own. */
export async function onKernel(
  probe: string,
  env: NodeJS.ProcessEnv,
  cases: readonly string[] = [],
): Promise<string> {
  if ((await which('ip')) === undefined) throw new Skip('ip (iproute2) is not installed');
  const hosts = `${probe}.hosts`;
  fs.writeFileSync(hosts, HOSTS);
  const resolver = `${probe}.resolv`;
  fs.writeFileSync(resolver, 'nameserver 127.0.0.1\n');
  const mounts = `mount --bind ${hosts} /etc/hosts
if [ -e /etc/resolv.conf ]; then mount --bind ${resolver} /etc/resolv.conf; fi`;
  const script = `${KERNEL_SETUP}\n${mounts}\nexec "$@"`;
  const args = ['-nm', '--', '/bin/sh', '-c', script, 'sh', probe, ...cases];
  const done = await run('unshare', args, env);
  if (done.code !== 0 && done.stdout === '') {
    throw new Skip(`no sockets of the kernel: ${done.stderr.trim()}`);
  }
  return done.stdout;
}

/** Lines of a probe's output by case, in order. */
export function byCase(output: string): Map<string, string[]> {
  const cases = new Map<string, string[]>();
  for (const line of output.split('\n')) {
    if (line === '') continue;
    const name = line.slice(0, line.indexOf(' '));
    const lines = cases.get(name);
    if (lines === undefined) cases.set(name, [line]);
    else lines.push(line);
  }
  return cases;
}

export type KnownDifferences = ReadonlyMap<string, string>;

/** Reads the table of known-differences.md: kernel line -> preload line. */
export function readKnownDifferences(file: string): KnownDifferences {
  const known = new Map<string, string>();
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    const cells = /^\| `([^`]+)` *\| `([^`]+)` *\|/.exec(line);
    if (cells !== null) known.set(cells[1]!, cells[2]!);
  }
  return known;
}

/** Cases that a page excuses in the run that it is about, and why. */
export function readExcusedCases(file: string): ReadonlyMap<string, string> {
  const rows = fs.readFileSync(file, 'utf8').matchAll(/^\| `([^`]+)` \| ([^|]+) \|$/gm);
  return new Map([...rows].map((m) => [m[1]!, m[2]!]));
}

/** Cases that measure what only the addon can set. */
export const ADDON_CASES: ReadonlySet<string> = new Set(['E-small4', 'E-small6']);

/** Why a case could not run on this machine, as its first such line says; undefined if it ran. */
export function skippedBecause(lines: readonly string[]): string | undefined {
  for (const line of lines) {
    const reason = /^\S+ skipped: (.+)$/.exec(line)?.[1];
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/**
 * What is known of a line of the kernel. The case NAME-6 or NAME-mapped is NAME over IPv6 or with
 * IPv4 addresses in AF_INET6 sockets: what differs there differs here too.
 */
function knownFor(line: string, known: KnownDifferences): [string, string | undefined] {
  const own = known.get(line);
  const suffix = /^\S+?(-6|-mapped) /.exec(line)?.[1];
  if (own !== undefined || suffix === undefined) return [line, own];
  const four = line.replace(suffix, '');
  return [four, known.get(four)?.replace(' ', `${suffix} `)];
}

/**
 * Differences of one case that are not known; empty when there are none.
 * @param met gets the kernel's line of each known difference that was there.
 */
export function compareCase(
  kernel: readonly string[],
  preload: readonly string[],
  known: KnownDifferences,
  met: Set<string> = new Set(),
): string[] {
  const wrong: string[] = [];
  for (let i = 0; i < Math.max(kernel.length, preload.length); i++) {
    const k = kernel[i] ?? '(nothing)';
    const p = preload[i] ?? '(nothing)';
    if (k === p) continue;
    const [line, wanted] = knownFor(k, known);
    met.add(line);
    if (wanted !== p) wrong.push(`kernel "${k}", preload "${p}"`);
  }
  return wrong;
}
