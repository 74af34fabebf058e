/**
 * The identity and the planet of a home folder [4 section 2]: read, checked, made where there is none.
 */
import type { Primitives } from '../crypto/api.js';
import {
  emitIdentityText,
  type Identity,
  parseIdentityText,
  validateIdentity,
} from '../wire/identity.js';
import {
  defaultPlanet,
  emitWorld,
  parseWorld,
  replacesWorld,
  WORLD_PLANET,
  type World,
} from '../wire/world.js';
import type { Home } from './home.js';
import type { IdentityWorker } from './identity-worker.js';
import type { Log } from './log.js';

export class ServiceStartError extends Error {
  readonly code = 'ERR_SERVICE_START';
}

export async function loadIdentity(
  home: Home,
  p: Primitives,
  worker: IdentityWorker,
): Promise<Identity> {
  const text = home.readText('identity.secret')?.trim();
  if (text !== undefined && text !== '') {
    const id = parseIdentityText(text);
    if (id?.privateKey === undefined || !validateIdentity(p, id)) {
      throw new ServiceStartError(
        `fatal error: invalid identity loaded from disk. Please remove identity.public and identity.secret from ${home.dir} and try again`,
      );
    }
    const publicText = emitIdentityText(id, false);
    if (home.readText('identity.public') !== publicText)
      home.writeNow('identity.public', publicText);
    return id;
  }
  worker.ref();
  const id = await worker.generate();
  home.writeSecretNow('identity.secret', emitIdentityText(id, true));
  home.writeNow('identity.public', emitIdentityText(id, false));
  return id;
}

/** The home's planet, then the built-in one by the replacement rule [1 section 8.4]. */
export function loadPlanet(home: Home, p: Primitives, log: Log): World {
  const bytes = home.read('planet');
  const stored = bytes === undefined ? undefined : parseWorld(bytes)?.world;
  const builtIn = defaultPlanet();
  if (bytes !== undefined && stored?.type !== WORLD_PLANET) {
    home.renameNow('planet', 'planet.unusable');
    log(
      'error',
      `${home.path('planet')} is not a planet file: kept as planet.unusable, the built-in planet takes its place`,
    );
  }
  const held = stored?.type === WORLD_PLANET ? stored : undefined;
  if (held !== undefined && !replacesWorld(p, held, builtIn)) return held;
  home.writeNow('planet', emitWorld(builtIn));
  return builtIn;
}
