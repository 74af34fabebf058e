/** The API's tokens [4 section 2]: 24 characters of a-z0-9 in files of mode 0600. */
import { randomInt } from 'node:crypto';
import type { Home } from './home.js';
import { errorText } from './log.js';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const TOKEN_LEN = 24;

function newToken(): string {
  return Array.from({ length: TOKEN_LEN }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

/** Surrounding white space and NULs do not count [4 section 2]. */
export function trimToken(text: string): string {
  return text.replace(/^[ \t\r\n\0]+|[ \t\r\n\0]+$/g, '');
}

/** Reads a token, or makes it. An empty file gets a new token: an empty one would let anybody in. */
export function readToken(home: Home, name: string): string {
  const token = trimToken(home.readText(name) ?? '');
  if (token !== '') return token;
  const fresh = newToken();
  try {
    home.writeSecretNow(name, fresh);
  } catch (e) {
    throw new Error(`fatal error: ${name} could not be written: ${errorText(e)}`);
  }
  return fresh;
}
