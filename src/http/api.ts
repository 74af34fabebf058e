/** Starts the control API of a service on its port. */
import { allowManagementFrom, netconSettings } from '../host/local-conf.js';
import type { Service } from '../host/service.js';
import { jsonText } from '../lib/json.js';
import { parseSourceNetworks } from './access.js';
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

/** @throws when no address can be bound. */
export async function startApi(service: Service): Promise<HttpApi> {
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
      `fatal error: cannot bind to local control interface port ${service.port}: ${(e as Error).message}`,
    );
  }
  return api;
}
