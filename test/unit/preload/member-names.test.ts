import test from 'ava';
import { memberAddresses } from '#src/preload/member-names.js';

const NWID = '8056c2e21c000001';
const ip = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
/* The addresses that ZeroTier gives member 89e92ceee5 of this network. */
const PRIVATE = ip('fd8056c2e21c000001999389e92ceee5');
const PLANE = ip('fc9c56c2e389e92ceee5000000000001');

test('a member has the addresses that the network assigns us alike', (t) => {
  const own6 = { ip: ip('fd8056c2e21c00000199930102030405'), prefixLen: 88 };
  const ownPlane = { ip: ip('fc9c56c2e30102030405000000000001'), prefixLen: 40 };
  const other = { ip: ip('fd000000000000000000000000000001'), prefixLen: 64 };
  t.deepEqual(memberAddresses('89e92ceee5.zt', NWID, [own6]), [PRIVATE]);
  t.deepEqual(memberAddresses(`89E92CEEE5.${NWID}.zt.`, NWID, [own6, ownPlane]), [PRIVATE, PLANE]);
  t.is(memberAddresses('89e92ceee5.zt', NWID, [other]), undefined);
  t.is(memberAddresses('89e92ceee5.1234567812345678.zt', NWID, [own6]), undefined);
  t.is(memberAddresses('89e92ceee5.example', NWID, [own6]), undefined);
});
