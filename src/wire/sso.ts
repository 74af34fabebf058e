/**
 * Single sign-on in configurations and in ERROR(NETWORK_AUTHENTICATION_REQUIRED) [3 sections 2.9, 4].
 * Fields only: nobody here signs on. Version 0 names a login page, version 1 an OpenID provider.
 */
import type { Dictionary, DictionaryBuilder } from './dictionary.js';

/** Longest values in bytes, as the reference's buffers hold them without terminator. */
const MAX_URL_LEN = 2047;
const MAX_CLIENT_ID_LEN = 255;
const MAX_PROVIDER_LEN = 63;
/** A configuration holds longer ones than an ERROR. */
const CONFIG_LIMITS = { nonce: 127, state: 255 } as const;
const ERROR_LIMITS = { nonce: 63, state: 127 } as const;
const DEFAULT_PROVIDER = 'default';

/** Version 1. */
export interface SsoFlow {
  readonly issuerUrl: string;
  readonly centralUrl: string;
  readonly nonce: string;
  readonly state: string;
  readonly clientId: string;
  readonly provider: string;
}

export interface ConfigSso {
  readonly enabled: boolean;
  readonly version: bigint;
  /** Version 0: the login page. */
  readonly authenticationUrl: string;
  /** Version 0: ms since 1970. */
  readonly expiryTime: bigint;
  readonly flow?: SsoFlow | undefined;
}

export const NO_SSO: ConfigSso = {
  enabled: false,
  version: 0n,
  authenticationUrl: '',
  expiryTime: 0n,
};

/** Where its user has to go; empty when it does not say. */
export function ssoUrl(s: ConfigSso): string {
  return s.flow?.issuerUrl ?? s.authenticationUrl;
}

const NO_FLOW: SsoFlow = {
  issuerUrl: '',
  centralUrl: '',
  nonce: '',
  state: '',
  clientId: '',
  provider: '',
};

export function readConfigSso(d: Dictionary): ConfigSso {
  const head = { ...NO_SSO, enabled: d.bool('ssoe'), version: d.u64('ssov') };
  if (!head.enabled) return head;
  if (head.version === 0n)
    return {
      ...head,
      authenticationUrl: d.textUpTo('aurl', MAX_URL_LEN),
      expiryTime: d.u64('aexpt'),
    };
  if (head.version !== 1n) return head;
  const flow = {
    issuerUrl: d.textUpTo('iurl', MAX_URL_LEN),
    centralUrl: d.textUpTo('ssoce', MAX_URL_LEN),
    nonce: d.textUpTo('sson', CONFIG_LIMITS.nonce),
    state: d.textUpTo('ssos', CONFIG_LIMITS.state),
    clientId: d.textUpTo('ssocid', MAX_CLIENT_ID_LEN),
    provider: d.textUpTo('ssop', MAX_PROVIDER_LEN) || DEFAULT_PROVIDER,
  };
  return { ...head, flow };
}

/** Nothing at all for versions that are not known. */
export function writeConfigSso(d: DictionaryBuilder, s: ConfigSso): void {
  if (s.version > 1n) return;
  d.u64('ssov', s.version);
  d.bool('ssoe', s.enabled);
  if (s.version === 0n) {
    if (!s.enabled) return;
    if (s.authenticationUrl !== '') d.text('aurl', s.authenticationUrl);
    d.u64('aexpt', s.expiryTime);
    return;
  }
  const flow = s.flow ?? NO_FLOW;
  d.text('iurl', flow.issuerUrl);
  d.text('ssoce', flow.centralUrl);
  d.text('sson', flow.nonce);
  d.text('ssos', flow.state);
  d.text('ssocid', flow.clientId);
  d.text('ssop', flow.provider);
}

/** What ERROR 9 says; undefined when it changes nothing. */
export function readSsoRequired(d: Dictionary): ConfigSso | undefined {
  const version = d.u64('aV');
  if (version === 0n) {
    const authenticationUrl = d.textUpTo('aU', MAX_URL_LEN);
    return authenticationUrl === '' ? undefined : { ...NO_SSO, enabled: true, authenticationUrl };
  }
  if (version !== 1n) return undefined;
  const flow = {
    issuerUrl: d.textUpTo('iU', MAX_URL_LEN),
    centralUrl: d.textUpTo('aCU', MAX_URL_LEN),
    nonce: d.textUpTo('aN', ERROR_LIMITS.nonce),
    state: d.textUpTo('aS', ERROR_LIMITS.state),
    clientId: d.textUpTo('aCID', MAX_CLIENT_ID_LEN),
    provider: d.textUpTo('aSSOp', MAX_PROVIDER_LEN) || DEFAULT_PROVIDER,
  };
  return { ...NO_SSO, enabled: true, version, flow };
}
