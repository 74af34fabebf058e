/** Packets counted by verb and error code, in and out [4 section 10, zt_packet]. */
import { VERB_MASK } from '../wire/packet.js';

const CODES = 256;

export class Traffic {
  /** By verb. */
  readonly rx = new Float64Array(VERB_MASK + 1);
  readonly tx = new Float64Array(VERB_MASK + 1);
  /** By error code. */
  readonly rxErrors = new Float64Array(CODES);
  readonly txErrors = new Float64Array(CODES);
}
