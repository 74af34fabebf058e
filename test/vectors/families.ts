/** The list of all vector families; each room's checkers live in a file of their own. */
import type { Family } from './case.js';
import { controllerFamilies } from './families-controller.js';
import { cryptoFamilies } from './families-crypto.js';
import { encodingFamilies } from './families-encoding.js';
import { vl2Families } from './families-vl2.js';
import { vl2CredentialFamilies } from './families-vl2-credentials.js';
import { vl2NodeFamilies } from './families-vl2-node.js';

export const families: readonly Family[] = [
  ...cryptoFamilies,
  ...encodingFamilies,
  ...vl2Families,
  ...vl2CredentialFamilies,
  ...vl2NodeFamilies,
  ...controllerFamilies,
];
