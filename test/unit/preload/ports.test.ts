import test from 'ava';
import {
  EPHEMERAL_FIRST,
  EPHEMERAL_LAST,
  type PortHolder,
  PortTable,
  TIME_WAIT_MS,
} from '#src/preload/ports.js';

const ANY4 = new Uint8Array(4);
const ANY6 = new Uint8Array(16);
const OWN = Uint8Array.of(10, 147, 17, 1);

function holder(ip: Uint8Array, more: Partial<PortHolder> = {}): PortHolder {
  return {
    port: 80,
    ip,
    v6Only: false,
    reuseAddr: false,
    reusePort: false,
    listening: false,
    ...more,
  };
}

function conflict(a: PortHolder, b: PortHolder): boolean {
  const table = new PortTable(() => 0);
  table.add(a);
  return table.conflicts(b);
}

test('equal addresses and wildcards overlap, different addresses do not', (t) => {
  t.true(conflict(holder(OWN), holder(OWN)));
  t.true(conflict(holder(ANY4), holder(OWN)));
  t.true(conflict(holder(OWN), holder(ANY4)));
  t.false(conflict(holder(OWN), holder(Uint8Array.of(10, 147, 17, 2))));
});

test('a dual-stack wildcard overlaps IPv4, one with V6ONLY does not', (t) => {
  t.true(conflict(holder(ANY6), holder(OWN)));
  t.true(conflict(holder(OWN), holder(ANY6)));
  t.false(conflict(holder(ANY6, { v6Only: true }), holder(ANY4)));
});

test('SO_REUSEADDR on both sides shares a port unless one listens', (t) => {
  const a = holder(OWN, { reuseAddr: true });
  t.false(conflict(a, holder(OWN, { reuseAddr: true })));
  t.true(conflict(a, holder(OWN)));
  t.true(conflict({ ...a, listening: true }, holder(OWN, { reuseAddr: true })));
});

test('SO_REUSEPORT on both sides shares a port even with a listener', (t) => {
  const a = holder(OWN, { reusePort: true, listening: true });
  t.false(conflict(a, holder(OWN, { reusePort: true })));
  t.true(conflict(a, holder(OWN)));
});

test('ephemeral ports are free ones of the range, and run out', (t) => {
  let start = 5;
  const table = new PortTable(() => start++);
  const seen = new Set<number>();
  for (let i = EPHEMERAL_FIRST; i <= EPHEMERAL_LAST; i++) {
    const port = table.ephemeral();
    t.true(port !== undefined && port >= EPHEMERAL_FIRST && port <= EPHEMERAL_LAST);
    seen.add(port!);
    table.add(holder(ANY4, { port: port! }));
  }
  t.is(seen.size, EPHEMERAL_LAST - EPHEMERAL_FIRST + 1);
  t.is(table.ephemeral(), undefined);
});

test('a port is free again after its last holder is removed', (t) => {
  const table = new PortTable(() => 0);
  const a = holder(OWN);
  table.add(a);
  table.remove(a);
  t.false(table.conflicts(holder(OWN)));
  t.is(table.size, 0);
});

test('a port in TIME_WAIT is kept from those who name it and do not share it, for ten seconds', (t) => {
  const table = new PortTable(() => 0);
  const ip = Uint8Array.of(10, 0, 0, 1);
  const of = (port: number, reuseAddr: boolean): PortHolder => ({
    ...{ port, ip, v6Only: false, reuseAddr, reusePort: false, listening: true },
  });
  table.ended(of(80, false), 1_000);
  table.ended(of(81, true), 2_000);
  const shared = { ...of(81, true), listening: false };
  t.true(table.conflictsWithEnded(of(80, false), 1_000));
  t.true(table.conflictsWithEnded({ ...of(80, true), listening: false }, 1_000));
  t.false(table.conflictsWithEnded(shared, 2_000));
  t.true(table.conflictsWithEnded({ ...shared, reuseAddr: false }, 2_000));
  t.false(
    table.conflictsWithEnded(
      { ...shared, reuseAddr: false, ip: Uint8Array.of(10, 0, 0, 2) },
      2_000,
    ),
  );
  t.false(table.conflicts(of(80, false)), 'nobody holds it');
  t.false(table.conflictsWithEnded(of(80, false), 1_000 + TIME_WAIT_MS));
  t.true(table.conflictsWithEnded({ ...shared, reuseAddr: false }, 1_999 + TIME_WAIT_MS));
  for (let i = 0; i < 5_000; i++) table.ended(of(1_000 + i, false), 20_000);
  t.false(table.conflictsWithEnded(of(1_000, false), 20_000), 'the oldest is forgotten first');
  t.true(table.conflictsWithEnded(of(5_999, false), 20_000));
});
