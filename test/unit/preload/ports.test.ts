import test from 'ava';
import { EPHEMERAL_FIRST, EPHEMERAL_LAST, type PortHolder, PortTable } from '#src/preload/ports.js';

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
