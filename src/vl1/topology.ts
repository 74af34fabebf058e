/**
 * Worlds held, and the upstreams they make [2 section 14, 1 section 8]. Decides which offered world
 * is taken; contacting upstreams is the keeper's business.
 */
import type { Primitives } from '../crypto/api.js';
import type { NodeAddress } from '../wire/address.js';
import { equalIdentities, type Identity } from '../wire/identity.js';
import { type InetAddress, ipScope, SCOPE_LOOPBACK, sameIp } from '../wire/inetaddress.js';
import { replacesWorld, WORLD_MOON, WORLD_PLANET, type World } from '../wire/world.js';

export type Role = 'PLANET' | 'MOON' | 'LEAF';

export interface Upstream {
  readonly identity: Identity;
  readonly role: 'PLANET' | 'MOON';
  readonly endpoints: readonly InetAddress[];
}

export class Topology {
  readonly #p: Primitives;
  readonly #self: Identity;
  #planet: World;
  readonly #moons = new Map<bigint, World>();
  /** Moons we look for: id -> seed address. */
  readonly #wanted = new Map<bigint, NodeAddress>();
  #upstreams = new Map<NodeAddress, Upstream>();
  #amUpstream = false;
  #allowsLoopback = false;
  #isOnlyLoopback = false;

  constructor(p: Primitives, self: Identity, planet: World) {
    this.#p = p;
    this.#self = self;
    this.#planet = planet;
    this.#rebuild();
  }

  get planet(): World {
    return this.#planet;
  }

  get moons(): readonly World[] {
    return [...this.#moons.values()];
  }

  get wanted(): ReadonlyMap<bigint, NodeAddress> {
    return this.#wanted;
  }

  /** Whether our own identity is a root of the planet or of a held moon. */
  get amUpstream(): boolean {
    return this.#amUpstream;
  }

  /** Whether a world lists loopback endpoints, so that 127/8 and ::1 may be paths [0 decision 7]. */
  get allowsLoopback(): boolean {
    return this.#allowsLoopback;
  }

  /** Whether all endpoints that the worlds list are on loopback, and there are some. */
  get isOnlyLoopback(): boolean {
    return this.#isOnlyLoopback;
  }

  get upstreams(): ReadonlyMap<NodeAddress, Upstream> {
    return this.#upstreams;
  }

  isUpstream(address: NodeAddress): boolean {
    return this.#upstreams.has(address);
  }

  isSeed(address: NodeAddress): boolean {
    for (const seed of this.#wanted.values()) if (seed === address) return true;
    return false;
  }

  role(address: NodeAddress): Role {
    return this.#upstreams.get(address)?.role ?? 'LEAF';
  }

  /** Whether an upstream may be at this IP: one of its stable endpoints, or none are listed. */
  mayBeAt(address: NodeAddress, at: InetAddress): boolean {
    const up = this.#upstreams.get(address);
    if (up === undefined || up.endpoints.length === 0) return true;
    return up.endpoints.some((e) => sameIp(e, at));
  }

  /** Whether an upstream can only be at the stable endpoints that worlds list. */
  isPinned(address: NodeAddress): boolean {
    return (this.#upstreams.get(address)?.endpoints.length ?? 0) > 0;
  }

  /** Offers a world received from an upstream or seed. @returns whether it was taken. */
  offer(world: World): boolean {
    if (world.type === WORLD_PLANET) {
      if (!replacesWorld(this.#p, this.#planet, world)) return false;
      this.#planet = world;
    } else if (world.type === WORLD_MOON) {
      if (!this.#mayTakeMoon(world)) return false;
      this.#moons.set(world.id, world);
      this.#wanted.delete(world.id);
    } else return false;
    this.#rebuild();
    return true;
  }

  #mayTakeMoon(moon: World): boolean {
    const held = this.#moons.get(moon.id);
    if (held !== undefined) return replacesWorld(this.#p, held, moon);
    const seed = this.#wanted.get(moon.id);
    return seed !== undefined && moon.roots.some((r) => r.identity.address === seed);
  }

  /** Takes a moon from our own storage, unchecked [1 section 8.5]. */
  addStoredMoon(moon: World): void {
    this.#moons.set(moon.id, moon);
    this.#wanted.delete(moon.id);
    this.#rebuild();
  }

  want(id: bigint, seed: NodeAddress): void {
    if (!this.#moons.has(id)) this.#wanted.set(id, seed);
  }

  /** @returns whether anything was forgotten. */
  forgetMoon(id: bigint): boolean {
    const had = this.#moons.delete(id);
    const wanted = this.#wanted.delete(id);
    if (had) this.#rebuild();
    return had || wanted;
  }

  #rebuild(): void {
    const ups = new Map<NodeAddress, Upstream>();
    this.#amUpstream = false;
    for (const world of [this.#planet, ...this.#moons.values()]) {
      const role = world.type === WORLD_PLANET ? 'PLANET' : 'MOON';
      for (const root of world.roots) {
        if (equalIdentities(root.identity, this.#self)) {
          this.#amUpstream = true;
          continue;
        }
        if (root.identity.address === this.#self.address) continue;
        const known = ups.get(root.identity.address);
        const endpoints = [
          ...(known?.endpoints ?? []),
          ...root.endpoints.filter((e) => e.family !== 0),
        ];
        ups.set(root.identity.address, {
          identity: known?.identity ?? root.identity,
          role: known?.role === 'PLANET' ? 'PLANET' : role,
          endpoints,
        });
      }
    }
    this.#upstreams = new Map([...ups].sort(([a], [b]) => a - b));
    const scopes = [this.#planet, ...this.#moons.values()].flatMap((w) =>
      w.roots.flatMap((r) => r.endpoints.filter((e) => e.family !== 0).map((e) => ipScope(e.ip))),
    );
    this.#allowsLoopback = scopes.includes(SCOPE_LOOPBACK);
    this.#isOnlyLoopback = this.#allowsLoopback && scopes.every((s) => s === SCOPE_LOOPBACK);
  }
}
