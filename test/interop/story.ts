/** A scenario of the group `events`: a laboratory, what happens in it, and its rows. */
import { Lab, type LabNode, type NodeSpec, until } from '../lab/lab.js';
import { check, type Finding, scenarioFailed } from './rows.js';

const GROUP = 'events';

export type Run = (what: string, run: () => Promise<Finding>) => Promise<void>;

/** Builds a laboratory, runs a story in it, and takes it down. */
export function story(
  name: string,
  nodes: readonly NodeSpec[],
  tell: (lab: Lab, row: Run) => Promise<void>,
): readonly [string, () => Promise<void>] {
  return [
    name,
    async () => {
      const lab = new Lab();
      try {
        await lab.up(nodes);
        await tell(lab, (what, run) => check(GROUP, name, what, run));
      } catch (e) {
        scenarioFailed(GROUP, name, lab, e);
      } finally {
        await lab.down();
      }
    },
  ];
}

export async function online(...nodes: LabNode[]): Promise<void> {
  for (const n of nodes)
    await until(`${n.name} online`, 30_000, async () => ((await n.isOnline()) ? true : undefined));
}

export async function startAll(lab: Lab): Promise<void> {
  lab.nodes[0]!.start();
  await online(lab.nodes[0]!);
  for (const n of lab.nodes.slice(1)) n.start();
  await online(...lab.nodes);
}
