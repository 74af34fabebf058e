/**
 * The matrix: {root theirs or ours} x {controller theirs or ours} x {what lies between} x {what is
 * done}. Our node and a real one are members; a third and a fourth node are root and controller.
 */

import { type Kind, Lab, until } from '../lab/lab.js';
import type { Conditions } from '../lab/net.js';
import { Pair } from './pair.js';
import { check, scenarioFailed } from './rows.js';

const GROUP = 'matrix';

export interface World {
  readonly name: string;
  readonly root: Kind;
  readonly controller: Kind;
}

export interface Condition extends Conditions {
  readonly name: string;
  /** The members drop each other's datagrams. */
  readonly isApart?: boolean;
  readonly path: 'direct' | 'relayed';
}

const named = (kind: Kind): string => (kind === 'real' ? 'their' : 'our');

export const WORLDS: readonly World[] = (['real', 'ours'] as const).flatMap((root) =>
  (['real', 'ours'] as const).map((controller) => ({
    name: `${named(root)} root, ${named(controller)} controller`,
    root,
    controller,
  })),
);

export const CONDITIONS: readonly Condition[] = [
  { name: 'direct', path: 'direct' },
  { name: 'via relay only', path: 'relayed', isApart: true },
  { name: 'port-restricted NATs', path: 'direct', nat: 'port-restricted' },
  { name: 'symmetric NATs', path: 'relayed', nat: 'symmetric' },
  { name: '5 % loss + 50 ms', path: 'direct', loss: 0.05, delayMs: 50 },
  { name: 'IPv6 underlay', path: 'direct', family: 6 },
];

/** Sets up one cell of the table and runs all that is done in it. */
export async function matrixScenario(world: World, condition: Condition): Promise<void> {
  const name = `${world.name}, ${condition.name}`;
  const lab = new Lab();
  try {
    await lab.up(
      [
        { name: 'root', kind: world.root },
        { name: 'ctl', kind: world.controller },
        { name: 'peer', kind: 'real', inside: true },
        { name: 'us', kind: 'ours', inside: true },
      ],
      condition,
    );
    const [root, controller, peer, us] = ['root', 'ctl', 'peer', 'us'].map((n) => lab.node(n));
    if (condition.isApart === true) {
      us!.refuse([peer!]);
      peer!.refuse([us!]);
    }
    root!.start();
    await until('root online', 20_000, async () => ((await root!.isOnline()) ? true : undefined));
    for (const n of [controller!, peer!, us!]) n.start();
    for (const n of [controller!, peer!, us!])
      await until(`${n.name} online`, 40_000, async () =>
        (await n.isOnline()) ? true : undefined,
      );
    const pair = await Pair.join(lab, controller!, us!, peer!, {
      isLossy: (condition.loss ?? 0) > 0,
      path: condition.path,
    });
    const row = (what: string, run: () => ReturnType<Pair['pings']>): Promise<void> =>
      check(GROUP, name, what, run);
    await row('ping both ways, IPv4 and three kinds of IPv6 addresses', () => pair.pings());
    await row('multicast: ARP and neighbour discovery after a flush', () => pair.multicast());
    await row('multicast: UDP to groups, IPv4 and IPv6, both ways', () => pair.groups());
    await row('TCP over IPv4', () => pair.tcp(4));
    await row('TCP over IPv6', () => pair.tcp(6));
    await row('rules, tags and capabilities', () => pair.rules());
    await row('private network: denied, authorised, revoked, authorised', () => pair.revoked());
    await row('configuration pushed while traffic flows', () => pair.pushed());
    await pair.end();
  } catch (e) {
    scenarioFailed(GROUP, name, lab, e);
  } finally {
    await lab.down();
  }
}
