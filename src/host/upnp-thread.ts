/**
 * Body of the worker thread that maps a port by UPnP; see port-mapping.ts. The library runs here
 * alone: whoever answers on the local network can neither hold nor fill the service.
 */
import { networkInterfaces } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { Client } from 'nat-upnp-rejetto';
import { requireOnLink } from './on-link.js';

export interface UpnpTask {
  readonly port: number;
  /** External ports to try, in order; the first that is free is taken. */
  readonly externalPorts: readonly number[];
  readonly description: string;
  /** Seconds; 0 removes the mapping of the first external port. */
  readonly lifetimeSec: number;
}

export type UpnpAnswer =
  | { readonly ip: string; readonly port: number }
  | { readonly error: string };

/** The gateway keeps mappings until they are removed, or not at all. */
const ONLY_PERMANENT = 725;
const SEARCH_MS = 3_000;

/** Without a host the library would name one that does not exist. */
const fromAnywhere = (port: number) => ({ host: '', port });

const codeOf = (e: unknown): number => Number((e as { errorCode?: unknown }).errorCode);

function textOf(e: unknown): string {
  if (e instanceof Error) return e.message;
  const { errorDescription } = e as { errorDescription?: unknown };
  return `UPnP error ${codeOf(e)} ${String(errorDescription ?? '')}`.trim();
}

const networks = Object.values(networkInterfaces()).flatMap((list) => list ?? []);

/**
 * The first gateway that answers, kept for the whole task: the library would search again for each
 * request. Where it says its description and its control are must be on this network.
 */
async function findGateway(client: Client): Promise<void> {
  const found = await client.getGateway();
  requireOnLink(found.gateway.description, networks);
  const getService = found.gateway.getService.bind(found.gateway);
  found.gateway.getService = async (types) => {
    const service = await getService(types);
    requireOnLink(service.controlURL, networks);
    return service;
  };
  client.getGateway = () => Promise.resolve(found);
}

async function add(client: Client, t: UpnpTask, external: number, ttl: number): Promise<void> {
  await client.createMapping({
    public: fromAnywhere(external),
    private: t.port,
    protocol: 'UDP',
    description: t.description,
    ttl,
  });
}

async function map(client: Client, t: UpnpTask): Promise<UpnpAnswer> {
  let last: unknown;
  for (const external of t.externalPorts) {
    try {
      await add(client, t, external, t.lifetimeSec).catch((e: unknown) => {
        if (codeOf(e) !== ONLY_PERMANENT) throw e;
        return add(client, t, external, 0);
      });
      return { ip: await client.getPublicIp(), port: external };
    } catch (e) {
      last = e;
      // A gateway that is not there will not be there for the next port either.
      if (Number.isNaN(codeOf(e))) break;
    }
  }
  return { error: textOf(last) };
}

async function run(t: UpnpTask): Promise<UpnpAnswer> {
  const client = new Client({ timeout: SEARCH_MS });
  try {
    await findGateway(client);
    if (t.lifetimeSec > 0) return await map(client, t);
    const [external = t.port] = t.externalPorts;
    await client.removeMapping({ public: fromAnywhere(external), protocol: 'UDP' });
    return { ip: '', port: external };
  } catch (e) {
    return { error: textOf(e) };
  }
}

const port = parentPort;
if (port === null) throw new Error('upnp-thread is a worker thread');
port.postMessage(await run(workerData as UpnpTask));
process.exit(0);
