/**
 * Reading `controller.d` at the start [4 section 8.6]: names of the right length count, and the id
 * inside a record, not its file's name. What is no record is said in the log and left alone; `.tmp`
 * files of a write that was cut short have other lengths and are never read.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Controller } from '../controller/controller.js';
import type { Home } from './home.js';
import type { Log } from './log.js';

/** Lengths of `<nwid>.json` and `<addr>.json`. */
const NETWORK_FILE_LEN = 21;
const MEMBER_FILE_LEN = 15;
const NETWORKS = 'controller.d/network';

function makeFolders(home: Home): void {
  const top = home.path('controller.d');
  mkdirSync(top, { recursive: true });
  chmodSync(top, 0o700);
  for (const name of ['network', 'trace']) mkdirSync(join(top, name), { recursive: true });
}

/** Makes the folders where they are missing and takes all records in. */
export function loadController(home: Home, controller: Controller, log: Log): void {
  makeFolders(home);
  const decoder = new TextDecoder();
  const load = (kind: 'network' | 'member', file: string): void => {
    const text = decoder.decode(home.readRecord(file) ?? new Uint8Array(0));
    if (!controller.load(kind, text)) log('warning', `${file} is not a ${kind} record; ignored`);
  };
  for (const name of home.list(NETWORKS))
    if (name.length === NETWORK_FILE_LEN) load('network', `${NETWORKS}/${name}`);
  for (const nwid of home.folders(NETWORKS)) {
    for (const name of home.list(`${NETWORKS}/${nwid}/member`))
      if (name.length === MEMBER_FILE_LEN) load('member', `${NETWORKS}/${nwid}/member/${name}`);
  }
}
