/** The controller's routes [4 section 8.1]. */

import type { Service } from '../host/service.js';
import {
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonInt,
  parseJson,
  shrink,
} from '../lib/json.js';
import { addressText, networkIdText, parseAddress, parseNetworkId } from '../wire/address.js';
import { type ApiRequest, type ApiResponse, json, NOT_FOUND } from './answer.js';

/** A body that must be JSON; what is not an object counts as an object without fields. */
function bodyRecord(body: string): JsonRecord {
  const v = parseJson(body);
  return isRecord(v) ? v : {};
}

export function handleController(s: Service, r: ApiRequest): ApiResponse {
  const parts = r.path.split('/').slice(1);
  if (parts[0] === 'unstable') return unstable(s, r, parts.slice(2));
  if (parts[0] !== 'controller') return NOT_FOUND;
  if (parts.length === 1) return r.method === 'GET' ? summary() : NOT_FOUND;
  if (parts[1] !== 'network') return NOT_FOUND;
  if (parts.length === 2) return networks(s, r);
  if (parts.length === 3) return network(s, r, parts[2]!);
  if (parts[3] !== 'member') return NOT_FOUND;
  if (parts.length === 4) return members(s, r, parts[2]!);
  return parts.length === 5 ? member(s, r, parts[2]!, parts[4]!) : NOT_FOUND;
}

function summary(): ApiResponse {
  const body = `{\n\t"controller": true,\n\t"apiVersion": 4,\n\t"clock": ${Date.now()},\n\t"databaseReady": true\n}\n`;
  return { status: 200, body, type: 'application/json' };
}

function networks(s: Service, r: ApiRequest): ApiResponse {
  if (r.method === 'GET') return json(s.controller.networkIds().map(networkIdText));
  return r.method === 'POST' ? create(s, r) : NOT_FOUND;
}

/** A network with a random id. */
function create(s: Service, r: ApiRequest): ApiResponse {
  const request = bodyRecord(r.body);
  const nwid = s.controller.newNetworkId();
  return json(
    s.loop.run((node, at) => node.run(at, () => s.controller.postNetwork(at, nwid, request))),
  );
}

function network(s: Service, r: ApiRequest, id: string): ApiResponse {
  if (r.method === 'POST' && id.endsWith('______') && id.length === 16) {
    return id.slice(0, 10) === addressText(s.identity.address) ? create(s, r) : { status: 400 };
  }
  const nwid = parseNetworkId(id);
  if (nwid === undefined) return NOT_FOUND;
  switch (r.method) {
    case 'GET':
      return found(s.controller.networkRecord(nwid));
    case 'POST': {
      // A network of id 0 does not exist [4 section 13, 11].
      if (nwid === 0n) return NOT_FOUND;
      const request = bodyRecord(r.body);
      return json(
        s.loop.run((node, at) => node.run(at, () => s.controller.postNetwork(at, nwid, request))),
      );
    }
    case 'DELETE':
      return found(
        s.loop.run((node, at) => node.run(at, () => s.controller.deleteNetwork(at, nwid))),
      );
    default:
      return NOT_FOUND;
  }
}

function found(record: JsonRecord | undefined): ApiResponse {
  return record === undefined ? NOT_FOUND : json(record);
}

function members(s: Service, r: ApiRequest, id: string): ApiResponse {
  const nwid = parseNetworkId(id);
  const list = nwid === undefined ? undefined : s.controller.memberRecords(nwid);
  if (list === undefined || r.method !== 'GET') return NOT_FOUND;
  return json(
    Object.fromEntries(
      list.map((m) => [String(m['id']), shrink(jsonInt(m['revision'], 0n)) as JsonValue]),
    ),
  );
}

function member(s: Service, r: ApiRequest, id: string, who: string): ApiResponse {
  const nwid = parseNetworkId(id);
  const address = parseAddress(who);
  if (nwid === undefined || address === undefined) return NOT_FOUND;
  switch (r.method) {
    case 'GET':
      return found(
        s.controller.networkRecord(nwid) === undefined
          ? undefined
          : s.controller.memberRecord(nwid, address),
      );
    case 'POST': {
      if (s.controller.networkRecord(nwid) === undefined) return NOT_FOUND;
      const request = bodyRecord(r.body);
      const texts = { nwid: id, address: who };
      return found(
        s.loop.run((node, at) =>
          node.run(at, () => s.controller.postMember(at, nwid, address, texts, request)),
        ),
      );
    }
    case 'DELETE':
      return found(
        s.loop.run((node, at) => node.run(at, () => s.controller.deleteMember(at, nwid, address))),
      );
    default:
      return NOT_FOUND;
  }
}

function unstable(s: Service, r: ApiRequest, parts: string[]): ApiResponse {
  if (r.method !== 'GET' || parts[0] !== 'network') return NOT_FOUND;
  if (parts.length === 1) {
    const data = s.controller.networkIds().map((nwid): JsonRecord => {
      const list = s.controller.memberRecords(nwid) ?? [];
      const authorized = list.filter((m) => jsonBool(m['authorized'], false)).length;
      return {
        ...s.controller.networkRecord(nwid),
        meta: { totalMemberCount: list.length, authorizedMemberCount: authorized },
      };
    });
    return json({ data, meta: { networkCount: data.length } });
  }
  const nwid = parseNetworkId(parts[1]!);
  const list =
    nwid === undefined || parts[2] !== 'member' || parts.length !== 3
      ? undefined
      : s.controller.memberRecords(nwid);
  if (list === undefined) return NOT_FOUND;
  const authorized = list.filter((m) => jsonBool(m['authorized'], false)).length;
  return json({ data: list, meta: { totalCount: list.length, authorizedCount: authorized } });
}
