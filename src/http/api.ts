/** The control API of one service: where it listens, its access rules, its metrics file. */
import { allowManagementFrom, netconSettings } from '../host/local-conf.js';
import { errorText } from '../host/log.js';
import type { Service } from '../host/service.js';
import { jsonText } from '../lib/json.js';
import { parseSourceNetworks } from './access.js';
import { MetricsFile } from './metrics.js';
import { Routes } from './routes.js';
import { HttpApi } from './transport.js';

/**
 * Loopback only, unless local.conf lets others manage the node or names an address
 * [4 section 14, a deviation]. `/metrics` for other hosts needs one of the two as well.
 */
function hosts(service: Service): string[] {
  const bind = jsonText(netconSettings(service.localConf)['apiBind'], '');
  if (bind !== '') return bind.split(',').map((h) => h.trim());
  if (allowManagementFrom(service.localConf).length > 0) return ['0.0.0.0', '::'];
  return ['127.0.0.1', '::1'];
}

/** A running API. */
export interface ControlApi {
  close(): Promise<void>;
}

/** @throws when an address is in use or none can be bound. */
export async function startApi(service: Service): Promise<ControlApi> {
  const routes = new Routes(service);
  const api = new HttpApi(
    {
      authToken: service.authToken,
      metricsToken: service.metricsToken,
      allowed: () => parseSourceNetworks(allowManagementFrom(service.localConf)),
    },
    (request) => routes.handle(request),
  );
  try {
    await api.listen(hosts(service), service.port);
  } catch (e) {
    throw new Error(
      `fatal error: cannot bind to local control interface port ${service.port}: ${errorText(e)}`,
    );
  }
  const metrics = new MetricsFile(service);
  const unfollow = followHosts(service, api);
  return {
    close: async () => {
      unfollow();
      await metrics.close();
      await api.close();
    },
  };
}

/** Listens elsewhere when local.conf says so; where that fails the old addresses come back. */
function followHosts(service: Service, api: HttpApi): () => void {
  let current = hosts(service);
  let moving = Promise.resolve();
  const move = async (): Promise<void> => {
    const wanted = hosts(service);
    if (wanted.join() === current.join()) return;
    try {
      await api.move(wanted, service.port);
      current = wanted;
    } catch (e) {
      service.log('error', `control port on ${wanted.join(', ')}: ${errorText(e)}`);
      await api.listen(current, service.port);
    }
  };
  service.onLocalConf = () => {
    moving = moving.then(move).catch((e: unknown) => {
      service.log('error', `the control port is closed: ${errorText(e)}`);
    });
  };
  return () => {
    service.onLocalConf = () => undefined;
  };
}
