/**
 * What each user may hold of the service's own memory and descriptors, on whatever networks its
 * programs are: one object for all doors of a service.
 */

import { HelloLimits } from '../preload/hellos.js';
import { PendingLimits } from '../preload/pending.js';
import { Quota } from '../preload/quota.js';

/** Ours: sockets of one user on the host; each costs a descriptor of the service. */
export const HOST_SOCKETS_MAX = 1024;

export class UserLimits {
  readonly pending = new PendingLimits();
  readonly hellos = new HelloLimits();
  readonly hostSockets = new Quota(HOST_SOCKETS_MAX);
}
