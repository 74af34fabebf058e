/**
 * Namespaces, cables, NATs and bad wires of the laboratory. Everything stands in namespaces whose
 * names begin with the laboratory's prefix; deleting those removes all of it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What lies between the nodes. */
export interface Conditions {
  /** Address family of the underlay; default 4. */
  readonly family?: 4 | 6;
  /** NAT of every node that is `inside`; both filter by the remote address and port. */
  readonly nat?: 'port-restricted' | 'symmetric';
  /** Every node's uplink loses this share of frames, 0..1. */
  readonly loss?: number;
  /** Every node's uplink delays the others by this much. */
  readonly delayMs?: number;
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Runs a program inside a namespace. @throws with its standard error. */
export function inside(ns: string, file: string, args: readonly string[], input?: string): void {
  execFileSync('ip', ['netns', 'exec', ns, file, ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    input: input ?? '',
  });
}

export function addNamespace(ns: string): void {
  ip('netns', 'add', ns);
  ip('-n', ns, 'link', 'set', 'lo', 'up');
}

export function removeNamespace(ns: string): void {
  try {
    ip('netns', 'del', ns);
  } catch {
    // Never made: setting up failed before it.
  }
}

/** One cable: `device` in `ns`, its other end `port` in `switchNs`, plugged into `bridge`. */
export function addCable(
  ns: string,
  device: string,
  switchNs: string,
  port: string,
  bridge: string,
): void {
  ip('link', 'add', device, 'netns', ns, 'type', 'veth', 'peer', 'name', port, 'netns', switchNs);
  ip('-n', switchNs, 'link', 'set', port, 'master', bridge, 'up');
  ip('-n', ns, 'link', 'set', device, 'up');
}

/** Gives a device its address of the family, and no address of the other one. */
export function addAddress(ns: string, device: string, address: string, family: 4 | 6): void {
  if (family === 4) {
    inside(ns, 'sysctl', ['-qw', `net.ipv6.conf.${device}.disable_ipv6=1`]);
    ip('-n', ns, 'addr', 'add', `${address}/24`, 'dev', device);
  } else ip('-n', ns, 'addr', 'add', `${address}/64`, 'dev', device, 'nodad');
}

/**
 * A NAT namespace: `in` towards the node with 192.168.<number>.1, `out` towards the switch. It
 * forwards from inside and what belongs to known connections, and drops all else silently.
 */
export function addNat(ns: string, nodeNs: string, number: number, isSymmetric: boolean): void {
  ip('link', 'add', 'in', 'netns', ns, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', nodeNs);
  for (const device of ['in', 'out'])
    inside(ns, 'sysctl', ['-qw', `net.ipv6.conf.${device}.disable_ipv6=1`]);
  inside(ns, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  ip('-n', ns, 'addr', 'add', `192.168.${number}.1/24`, 'dev', 'in');
  ip('-n', ns, 'link', 'set', 'in', 'up');
  addAddress(nodeNs, 'eth0', `192.168.${number}.2`, 4);
  ip('-n', nodeNs, 'link', 'set', 'eth0', 'up');
  ip('-n', nodeNs, 'route', 'add', '10.9.0.0/24', 'via', `192.168.${number}.1`);
  const random = isSymmetric ? ' random,fully-random' : '';
  inside(
    ns,
    '/usr/sbin/nft',
    ['-f', '-'],
    `table inet nat {
  chain outside { type nat hook postrouting priority 100; oifname "out" masquerade${random}; }
  chain through {
    type filter hook forward priority 0; policy drop;
    iifname "in" accept
    ct state established,related accept
  }
  chain self { type filter hook input priority 0; iifname "out" ct state new drop; }
}\n`,
  );
}

/** Drops everything that comes from these underlay addresses. */
export function dropFrom(ns: string, addresses: readonly string[]): void {
  const rules = addresses
    .map((a) => `${a.includes(':') ? 'ip6' : 'ip'} saddr ${a} drop`)
    .join('\n    ');
  inside(
    ns,
    '/usr/sbin/nft',
    ['-f', '-'],
    `table inet lab {
  chain from { type filter hook input priority 0;
    ${rules}
  }
}\n`,
  );
}

/** Takes back what `dropFrom` did. */
export function dropNothing(ns: string): void {
  inside(ns, '/usr/sbin/nft', ['delete', 'table', 'inet', 'lab']);
}

export const BRIDGE = 'br0';

/**
 * Plugs a node's switch port into a bridge of its own that reaches the switch over two tap devices
 * only, which `startWire` joins. Returns the names of the taps.
 */
export function addWire(switchNs: string, number: number): readonly [string, string] {
  const [up, down] = [`u${number}`, `d${number}`];
  for (const tap of [up, down]) {
    ip('-n', switchNs, 'tuntap', 'add', 'dev', tap, 'mode', 'tap');
    ip('-n', switchNs, 'link', 'set', tap, 'txqueuelen', '5000');
  }
  ip('-n', switchNs, 'link', 'add', `b${number}`, 'type', 'bridge');
  ip('-n', switchNs, 'link', 'set', `b${number}`, 'up');
  ip('-n', switchNs, 'link', 'set', up, 'master', `b${number}`, 'up');
  ip('-n', switchNs, 'link', 'set', down, 'master', BRIDGE, 'up');
  return [up, down];
}

const WIRE = new URL('../../../test/lab/wire.py', import.meta.url).pathname;

/** Starts the program that carries frames between the taps; resolves once it does. */
export async function startWire(
  switchNs: string,
  taps: readonly (readonly [string, string])[],
  conditions: Conditions,
): Promise<ChildProcess> {
  const child = spawn(
    'ip',
    [
      ...['netns', 'exec', switchNs, 'python3', WIRE],
      ...['--loss', String(conditions.loss ?? 0), '--delay', String(conditions.delayMs ?? 0)],
      ...taps.map((t) => t.join(':')),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((done, fail) => {
    child.stdout.once('data', () => done());
    child.once('exit', (code) => fail(new Error(`the wire ended with ${code}`)));
  });
  return child;
}

/** Writes a quiet local.conf: one port, nothing that leaves the laboratory. */
export function writeLocalConf(home: string, port: number, more: object, settings: object): void {
  const quiet = {
    primaryPort: port,
    allowSecondaryPort: false,
    portMappingEnabled: false,
    allowTcpFallbackRelay: false,
    softwareUpdate: 'disable',
  };
  writeFileSync(
    join(home, 'local.conf'),
    JSON.stringify({ ...more, settings: { ...quiet, ...settings } }),
  );
}
