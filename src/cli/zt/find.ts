/** Where the service is: its port and token [4 section 4.2]. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { leadingNumber, type Switches } from './args.js';

const DEFAULT_HOME = '/var/lib/zerotier-one';
const DEFAULT_HOST = '127.0.0.1';
const USER_TOKEN_FILE = '.zeroTierOneAuthToken';

export interface ServiceAddress {
  readonly home: string;
  /** Undefined when `-H` is not a literal address. */
  readonly host: string | undefined;
  readonly port: number;
  readonly token: string;
}

/** The message says what is missing. */
export class NotFoundError extends Error {
  readonly code = 'ERR_SERVICE_NOT_FOUND';
}

/** Content of a file; empty when it is missing or not readable. */
function content(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** White space around a token does not count: files made by `echo` work (the reference's do not). */
function tokenIn(path: string): string {
  return content(path).replace(/^[ \t\r\n\0]+|[ \t\r\n\0]+$/g, '');
}

/** @throws NotFoundError; port first, as the reference looks. */
export function findService(s: Switches, env: NodeJS.ProcessEnv): ServiceAddress {
  const home = s.home ?? (env['ZEROTIER_HOME'] || DEFAULT_HOME);
  const port = s.port ?? leadingNumber(content(join(home, 'zerotier-one.port')));
  if (port < 1 || port > 65_535)
    throw new NotFoundError(`missing port and zerotier-one.port not found in ${home}`);
  let token = s.token ?? tokenIn(join(home, 'authtoken.secret'));
  const user = env['HOME'] ?? '';
  if (token === '' && user !== '') token = tokenIn(join(user, USER_TOKEN_FILE));
  if (token === '')
    throw new NotFoundError(
      `authtoken.secret not found or readable in ${home} (try again as root)`,
    );
  const host = s.host ?? DEFAULT_HOST;
  return { home, host: isIP(host) === 0 ? undefined : host, port, token };
}
