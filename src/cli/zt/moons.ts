/** `listmoons`, `orbit`, `deorbit` [4 section 4.4]. */
import { jsonHex } from '../../lib/json.js';
import { type Context, EXIT_OK, printDone, printPretty, request, showJson } from './answers.js';

export function listMoons(c: Context): Promise<number> {
  return showJson(c, '/moon', printPretty);
}

/** Both arguments must have a value; without, nothing happens and nothing is said. */
export async function orbit(c: Context): Promise<number> {
  if (jsonHex(c.arg1, 0n) === 0n || jsonHex(c.arg2, 0n) === 0n) return EXIT_OK;
  const body = `{"seed":"${c.arg2}"}`;
  return printDone(c, 'orbit', await request(c, 'POST', `/moon/${c.arg1}`, body), false);
}

export async function deorbit(c: Context): Promise<number> {
  return printDone(c, 'deorbit', await request(c, 'DELETE', `/moon/${c.arg1}`), true);
}
