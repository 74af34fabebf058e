/** Address translators between members: who reaches whom directly, and what changes it. */
import { joinAll, Talks } from '../members.js';
import type { Scenario, Stage } from '../scenario.js';
import { createNetwork, NAT_KINDS, type NatKind, type SimNode, type World } from '../world.js';

type Place = NatKind | 'public';
const PLACES: readonly Place[] = ['public', ...NAT_KINDS];

interface Meeting {
  readonly world: World;
  readonly a: SimNode;
  readonly b: SimNode;
  readonly talks: Talks;
}

/** A root and two members in places of the given kinds, which talk to each other. */
function meet(stage: Stage, [pa, pb]: readonly [Place, Place], mappingMs?: number): Meeting {
  const homes = [pa, pb].flatMap((kind, i) =>
    kind === 'public'
      ? []
      : [{ kind, nodes: [i + 1], ...(mappingMs === undefined ? {} : { mappingMs }) }],
  );
  const link = { latencyMs: 20, loss: 0 };
  const world = stage.world({ nodes: 3, homes, link }).start();
  const nwid = createNetwork(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  joinAll(world, nwid, [a, b]);
  const talks = new Talks(world, nwid);
  talks.start(a, b);
  return { world, a, b, talks };
}

const bothDirect = ({ a, b }: Meeting): boolean => a.isDirectTo(b) && b.isDirectTo(a);

/** What hole punching by endpoints as a root sees them can open. */
function mayBeDirect(a: Place, b: Place): boolean {
  const strict = (p: Place): boolean => p === 'symmetric' || p === 'portRestricted';
  return !((a === 'symmetric' && strict(b)) || (b === 'symmetric' && strict(a)));
}

function pairOutcome(stage: Stage, a: Place, b: Place): string {
  const m = meet(stage, [a, b]);
  const from = m.world.now;
  const isDirect = m.world.run(60_000, () => bothDirect(m));
  const after = Math.round(m.world.now - from);
  m.world.run(1_000);
  const talk = m.talks.all[0]!;
  stage.check(talk.echoed > 0, `${a} and ${b} exchange frames`);
  stage.check(isDirect === mayBeDirect(a, b), `${a} and ${b}: direct ${isDirect}`);
  return isDirect ? `direct after ${after} ms` : 'relayed';
}

const pairs: Scenario = {
  id: 'nat-pairs',
  title:
    'two members behind every pair of NATs exchange frames at once, then directly where it can be',
  run(stage) {
    const out: Record<string, string> = {};
    for (const [i, a] of PLACES.entries())
      for (const b of PLACES.slice(i)) out[`${a}, ${b}`] = pairOutcome(stage, a, b);
    return out;
  },
};

const upgrade: Scenario = {
  id: 'nat-upgrade',
  title:
    'two members behind symmetric NATs fall back to the relay, then upgrade when one mapping opens',
  run(stage) {
    const m = meet(stage, ['symmetric', 'symmetric']);
    m.world.run(60_000);
    stage.check(!bothDirect(m), 'symmetric NATs do not let through');
    const talk = m.talks.all[0]!;
    talk.mark();
    const from = m.world.now;
    m.world.nats[0]!.become('fullCone');
    stage.check(
      m.world.run(120_000, () => bothDirect(m)),
      'direct once a mapping is open',
    );
    const after = Math.round(m.world.now - from);
    stage.check(talk.silenceMs < 10_000, `silent for ${talk.silenceMs} ms`);
    return { 'direct after (ms)': after, 'silence meanwhile (ms)': talk.silenceMs };
  },
};

const idle: Scenario = {
  id: 'nat-idle',
  title: 'a direct path through NATs that forget after 30 s survives ten idle minutes',
  run(stage) {
    const m = meet(stage, ['portRestricted', 'addressRestricted'], 30_000);
    stage.check(
      m.world.run(60_000, () => bothDirect(m)),
      'direct',
    );
    const talk = m.talks.all[0]!;
    // The reference keeps a path warm for 500 s after the last frame; so do we.
    talk.stop();
    m.world.run(400_000);
    stage.check(bothDirect(m), 'still direct');
    const [echoed, sent] = [talk.echoed, talk.sent];
    talk.resume();
    m.world.run(2_000);
    stage.check(talk.echoed - echoed >= talk.sent - sent - 1, 'no frame is lost');
    return { 'silence at the first frame (ms)': talk.silenceMs };
  },
};

const reboot: Scenario = {
  id: 'nat-reboot',
  title: 'a NAT that is restarted and forgets its mappings costs a few seconds',
  run(stage) {
    const out: Record<string, number> = {};
    for (const kind of NAT_KINDS) {
      const m = meet(stage, [kind, 'fullCone']);
      m.world.run(60_000, () => bothDirect(m));
      m.world.run(10_000);
      const talk = m.talks.all[0]!;
      talk.mark();
      m.world.nats[0]!.rebind();
      m.world.run(60_000);
      stage.check(talk.silenceMs < 10_000, `${kind}: silent for ${talk.silenceMs} ms`);
      out[`${kind}: silence (ms)`] = talk.silenceMs;
    }
    return out;
  },
};

const neighbours: Scenario = {
  id: 'nat-neighbours',
  title: 'two members in one home find each other inside it, without hairpin',
  run(stage) {
    const homes = [{ kind: 'portRestricted' as const, nodes: [1, 2] }];
    const world = stage.world({ nodes: 3, homes, link: { latencyMs: 20, loss: 0 } }).start();
    const nwid = createNetwork(world);
    const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
    joinAll(world, nwid, [a, b]);
    const talk = new Talks(world, nwid).start(a, b);
    const from = world.now;
    const inside = (): boolean =>
      a.node.vl1.peer(b.address)?.directPath(a.moment().mono)?.remote.ip[0] === 192;
    stage.check(world.run(60_000, inside), 'direct inside the home');
    stage.check(talk.echoed > 0, 'frames pass');
    return { 'direct after (ms)': Math.round(world.now - from) };
  },
};

export const NAT_SCENARIOS: readonly Scenario[] = [pairs, upgrade, idle, reboot, neighbours];
