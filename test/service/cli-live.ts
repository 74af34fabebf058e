/**
 * Group cli-network: our zerotier-cli against our service through the states of a network. States
 * that commands outside the set made are read off the record: which networks are joined, whether the
 * controller has authorised the member.
 */
import assert from 'node:assert/strict';
import { isRecord, type JsonRecord, parseJson } from '#src/lib/json.js';
import { compareJson, tryParse } from './compare.js';
import { eventually, Lab, type LabNode, RECORDED_ROOT } from './lab.js';
import { makeRecordedNetwork } from './live.js';
import { Mapping } from './mapping.js';
import type { Programs } from './programs.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

const NETWORK_ID = /[0-9a-f]{16}/g;

export async function cliNetwork(programs: Programs): Promise<Group> {
  const group = new Group('cli-network');
  const lab = await Lab.start(['root', 'm1']);
  try {
    const replay = new CliReplay(lab, lab.node('m1'), programs);
    await makeRecordedNetwork(lab, replay.mapping, loadRecords('http-network'));
    for (const r of loadRecords(group.name)) await group.check(r.id, () => replay.run(r));
  } finally {
    await lab.stop();
  }
  return group;
}

class CliReplay {
  readonly mapping: Mapping;
  readonly #lab: Lab;
  readonly #member: LabNode;
  readonly #programs: Programs;
  #lastSeq = 0;

  constructor(lab: Lab, member: LabNode, programs: Programs) {
    this.#lab = lab;
    this.#member = member;
    this.#programs = programs;
    this.mapping = new Mapping()
      .add(RECORDED_ROOT, lab.node('root').address)
      .add('HOME', member.service.home);
  }

  async run(r: ServiceRecord): Promise<void> {
    const isGap = r.seq !== this.#lastSeq + 1;
    this.#lastSeq = r.seq;
    const text = `${r.argv!.join(' ')} ${r.stdout}`;
    for (const [nwid] of text.matchAll(NETWORK_ID)) {
      if (nwid.startsWith(RECORDED_ROOT)) this.mapping.addMembership(nwid, this.#member.address);
    }
    if (isGap || r.state !== undefined) await this.#bridge(r);
    const argv = r.argv!.map((a) => this.mapping.translate(a));
    const once = async (): Promise<void> => this.#compare(await this.#programs.run(argv), r);
    const isReading = r.argv!.some((a) => /^(?:listnetworks|get|\/.*)$/.test(a));
    await (isReading ? eventually(once) : once());
  }

  #compare(
    actual: { stdout: string; stderr: string; code: number | null },
    r: ServiceRecord,
  ): void {
    const expected = this.mapping.translate(r.stdout ?? '');
    const value = tryParse(expected);
    if (value !== undefined && typeof value === 'object' && value !== null)
      compareJson(parseJson(actual.stdout), value);
    else assert.equal(this.#settled(actual.stdout, r), this.#settled(expected, r));
    assert.equal(actual.stderr, r.stderr);
    assert.equal(actual.code, r.exitCode, 'exit code');
  }

  /** The device is a path of ours, the revision depends on requests outside the set. */
  #settled(text: string, r: ServiceRecord): string {
    if (r.argv!.includes('netconfRevision')) return text.replace(/^\d+$/m, 'REVISION');
    // The lines come in the order of ids, and those are others in our lab.
    return text
      .replace(/ zt[a-z0-9]{8} /g, ' DEVICE ')
      .replace(/ \S+\/nc_[0-9a-f]{16} /g, ' DEVICE ')
      .split('\n')
      .sort()
      .join('\n');
  }

  // ---- states ----

  async #bridge(r: ServiceRecord): Promise<void> {
    const words = r.argv!.filter((a) => !a.startsWith('-')).slice(1);
    const stdout = r.stdout ?? '';
    if (words[0] === 'listnetworks' || r.state === 'no network joined') {
      const wanted = stdout.startsWith('[')
        ? []
        : [...stdout.matchAll(NETWORK_ID)].map(([id]) => id);
      await this.#joinExactly(wanted.map((id) => this.mapping.translate(id)));
    } else if (['get', 'set'].includes(words[0]!) || words[0]!.startsWith('/network')) {
      const id = /[0-9a-f]{16}/.exec(`${words.join(' ')} ${stdout}`)?.[0];
      if (id !== undefined) await this.#join(this.mapping.translate(id));
      if (id !== undefined && words[0] === 'set') await this.#adoptSettings(words[2]!, stdout);
    } else if (words[0] === 'leave' && stdout.includes('true')) {
      await this.#join(this.mapping.translate(words[1]!));
    }
    if (r.state === 'OK' || /\bOK (?:PRIVATE|PUBLIC)|"status":"OK"/.test(stdout))
      await this.#authorise();
  }

  /** Settings other than the one set here are as commands outside the set left them. */
  async #adoptSettings(assignment: string, stdout: string): Promise<void> {
    const shown = tryParse(this.mapping.translate(stdout));
    if (!isRecord(shown)) return;
    const own = assignment.split('=')[0]!;
    const others = ['allowManaged', 'allowGlobal', 'allowDefault', 'allowDNS'].filter(
      (k) => k !== own,
    );
    const settings = Object.fromEntries(others.map((k) => [k, shown[k]]));
    const path = `/network/${String(shown['nwid'])}`;
    await this.#lab.json(this.#member.name, 'POST', path, settings);
  }

  /** The member may enter every network of our controller. */
  async #authorise(): Promise<void> {
    for (const id of (await this.#lab.json('root', 'GET', '/controller/network')) as string[])
      await this.#lab.json(
        'root',
        'POST',
        `/controller/network/${id}/member/${this.#member.address}`,
        { authorized: true },
      );
  }

  async #joinExactly(wanted: readonly string[]): Promise<void> {
    const held = (await this.#lab.json(this.#member.name, 'GET', '/network')) as JsonRecord[];
    for (const id of held.filter(isRecord).map((n) => String(n['nwid'])))
      if (!wanted.includes(id)) await this.#lab.json(this.#member.name, 'DELETE', `/network/${id}`);
    for (const id of wanted) await this.#join(id);
  }

  async #join(nwid: string): Promise<void> {
    const path = `/network/${nwid}`;
    const held = await this.#member.service.request('GET', path);
    if (held.status !== 200) await this.#lab.json(this.#member.name, 'POST', path, {});
  }
}
