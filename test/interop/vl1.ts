/**
 * What of VL1 only a real node can confirm: `ZEROTIER_ONE=... node build/test/interop/vl1.js`. A real
 * root and controller, one real member and one of ours, in namespaces.
 */
import assert from 'node:assert/strict';
import { Tally } from '../helpers/tally.js';
import { trafficBetween } from '../lab/capture.js';
import { type JsonObject, Lab, type LabNode, missing, realNode, until } from '../lab/lab.js';

const tally = new Tally('interop vl1');
const PINGS = 10;
const TRUSTED_ID = 101;
/** Packets of a trusted path: neither sealed nor authenticated. */
const SUITE_TRUSTED = 2;

interface Members {
  readonly lab: Lab;
  readonly real: LabNode;
  readonly ours: LabNode;
  readonly oursIp: string;
}

async function withMembers(
  settings: JsonObject,
  physical: (nodes: readonly LabNode[]) => JsonObject,
  run: (m: Members) => Promise<void>,
): Promise<void> {
  const lab = new Lab();
  try {
    await lab.up([
      { name: 'root', kind: 'real' },
      { name: 'real', kind: 'real' },
      { name: 'ours', kind: 'ours' },
    ]);
    const [root, real, ours] = lab.nodes as [LabNode, LabNode, LabNode];
    root.start(settings);
    for (const n of [real, ours]) n.start(settings, { physical: physical([real, ours]) });
    for (const n of lab.nodes)
      await until(`${n.name} online`, 60_000, async () => (await n.isOnline()) || undefined);
    const nwid = await lab.createNetwork(root, 0xa1, { private: false });
    for (const n of [real, ours]) await n.api('POST', `/network/${nwid}`, {});
    await real.ipv4(nwid, 60_000);
    await run({ lab, real, ours, oursIp: await ours.ipv4(nwid, 60_000) });
  } finally {
    await lab.down();
  }
}

const ping = async (m: Members): Promise<void> => {
  const out = await m.real.run(['ping', '-c', String(PINGS), '-i', '0.3', m.oursIp]);
  assert.match(out.toString(), new RegExp(`${PINGS} received`));
};

async function paths(from: LabNode, to: LabNode): Promise<JsonObject[]> {
  return ((await from.api('GET', `/peer/${to.address}`)) as JsonObject)['paths'] as JsonObject[];
}

async function ports(): Promise<void> {
  await withMembers(
    { allowSecondaryPort: true, portMappingEnabled: true },
    () => ({}),
    async (m) => {
      await ping(m);
      for (const [from, to] of [
        [m.real, m.ours],
        [m.ours, m.real],
        [m.ours, m.lab.nodes[0]!],
        [m.lab.nodes[0]!, m.ours],
      ] as const)
        await until(`three paths of ${from.name}`, 30_000, async () =>
          (await paths(from, to)).length === 3 ? true : undefined,
        );
    },
  );
}

async function trustedPath(): Promise<void> {
  // The members alone: towards their root the reference could not use WHOIS.
  const physical = (nodes: readonly LabNode[]): JsonObject =>
    Object.fromEntries(nodes.map((n) => [`${n.ip}/32`, { trustedPathId: TRUSTED_ID }]));
  await withMembers({}, physical, async (m) => {
    for (const [from, to] of [
      [m.real, m.ours],
      [m.ours, m.real],
    ] as const)
      await until(`a trusted path of ${from.name}`, 40_000, async () => {
        await ping(m);
        const [path] = await paths(from, to);
        return path?.['trustedPathId'] === TRUSTED_ID ? true : undefined;
      });
    const capture = await m.lab.capture();
    await ping(m);
    const { suites } = trafficBetween(await capture.stop(), m.real, m.ours);
    for (const s of suites) assert.ok((s[SUITE_TRUSTED] ?? 0) >= PINGS, JSON.stringify(suites));
  });
}

const CHECKS: readonly (readonly [string, () => Promise<void>])[] = [
  ['with three ports each, real and ours have a path per socket', ports],
  ['a trusted path carries packets in clear both ways', trustedPath],
];

const why =
  missing(true) ??
  (realNode() === undefined ? 'set ZEROTIER_ONE to a ZeroTier One 1.14.1' : undefined);
for (const [title, run] of CHECKS) {
  if (why === undefined) await tally.check(title, run);
  else tally.skip(title, why);
}
tally.finish();
