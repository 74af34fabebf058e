/** A controller that demands single sign-on [3 sections 2.9, 4, 11.1]. */
import test from 'ava';
import { DictionaryBuilder } from '#src/wire/dictionary.js';
import { emitNetworkConfig, parseNetworkConfig } from '#src/wire/netconf.js';
import { ERROR_CODE, VERB } from '#src/wire/packet.js';
import { ssoUrl } from '#src/wire/sso.js';
import { networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const controller = poolIdentity(2);
const nwid = networkOf(controller);

function asked(): Target {
  const target = new Target(1);
  target.meet(controller);
  target.input((at) => target.node.join(at, nwid));
  return target;
}

const net = (target: Target) => target.node.vl2.network(nwid)!;

/** ERROR 9 with a dictionary; `length` = what its length field says. */
function demand(target: Target, entries: Readonly<Record<string, string>>, length?: number): void {
  const d = new DictionaryBuilder(8_000);
  for (const [k, v] of Object.entries(entries)) d.text(k, v);
  const text = d.build();
  const body = payload((w) => {
    w.u8(VERB.NETWORK_CONFIG_REQUEST).u64(1n).u8(ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED);
    w.u64(nwid)
      .u16(length ?? text.length)
      .put(text);
  });
  target.send(controller, VERB.ERROR, body);
}

const version = (n: number): string => n.toString(16).padStart(16, '0');

test('version 0 gives the login page, and a new page is announced', (t) => {
  const target = asked();
  demand(target, { aV: version(0), aU: 'https://login.example/a?b=c' });
  t.is(net(target).status, 'AUTHENTICATION_REQUIRED');
  t.is(net(target).authenticationUrl, 'https://login.example/a?b=c');
  demand(target, { aV: version(0), aU: 'https://login.example/second' });
  t.is(net(target).authenticationUrl, 'https://login.example/second');
});

test('version 1 gives the issuer and keeps the rest, with defaults', (t) => {
  const target = asked();
  demand(target, {
    aV: version(1),
    iU: 'https://issuer.example',
    aCU: 'https://central.example',
    aN: 'n'.repeat(64),
    aS: 's'.repeat(128),
    aCID: 'client',
  });
  t.is(net(target).status, 'AUTHENTICATION_REQUIRED');
  t.is(net(target).authenticationUrl, 'https://issuer.example');
  const flow = net(target).ssoRequired?.flow;
  t.deepEqual([flow?.nonce.length, flow?.state.length], [63, 127], 'one byte more is cut off');
  t.deepEqual([flow?.clientId, flow?.provider], ['client', 'default']);
});

test('what says nothing changes nothing; what is cut short asks without a page', (t) => {
  const target = asked();
  demand(target, { aV: version(0), aU: '' });
  demand(target, { aV: version(2), aU: 'https://x' });
  demand(target, { aV: version(0), aU: 'https://x' }, 5_000);
  t.is(net(target).status, 'REQUESTING_CONFIGURATION');
  const short = payload((w) => {
    w.u8(VERB.NETWORK_CONFIG_REQUEST).u64(1n).u8(ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED);
    w.u64(nwid).u16(0);
  });
  target.send(poolIdentity(3), VERB.ERROR, short);
  target.send(controller, VERB.ERROR, short);
  t.is(net(target).status, 'AUTHENTICATION_REQUIRED');
  t.is(net(target).authenticationUrl, '');
});

test('pages of both versions survive a restart with the stored configuration', (t) => {
  for (const v of [0n, 1n]) {
    const target = asked();
    const flow = {
      issuerUrl: 'https://issuer.example',
      centralUrl: 'https://central.example',
      nonce: 'n',
      state: 's',
      clientId: 'c',
      provider: 'p',
    };
    const sso = {
      enabled: true,
      version: v,
      authenticationUrl: v === 0n ? 'https://login.example' : '',
      expiryTime: v === 0n ? 99n : 0n,
      flow: v === 1n ? flow : undefined,
    };
    const text = emitNetworkConfig({ ...target.config(controller, nwid), sso });
    let stored: Uint8Array | undefined;
    for (const o of target.input(() => target.node.vl2.applyConfig(net(target), text)))
      if (o.kind === 'storeConfig') stored = o.text.slice();
    const later = new Target(1);
    later.input((at) => later.node.join(at, nwid, stored));
    t.is(net(later).status, 'OK');
    t.is(net(later).authenticationUrl, v === 0n ? 'https://login.example' : flow.issuerUrl);
    t.deepEqual(parseNetworkConfig(stored!)?.sso.flow, sso.flow);
    t.is(ssoUrl(parseNetworkConfig(stored!)!.sso), net(later).authenticationUrl);
  }
});

test('the next configuration ends the demand', (t) => {
  const target = asked();
  demand(target, { aV: version(0), aU: 'https://login.example' });
  target.configure(controller, nwid);
  t.is(net(target).status, 'OK');
  t.is(net(target).authenticationUrl, '');
});
