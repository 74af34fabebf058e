/** docs/applications.json: the last result of each application; docs/applications.md made of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

export interface Result {
  readonly name: string;
  readonly ok: boolean;
  readonly versions: string;
  readonly detail: string;
  readonly seconds: number;
}

interface Stored extends Result {
  readonly date: string;
  readonly commit: string;
}

const cell = (text: string): string =>
  text.replaceAll('|', '\\|').replaceAll('\n', ' ').slice(0, 300);

function page(rows: readonly Stored[]): string {
  const lines = rows.map(
    (r) =>
      `| ${cell(r.name)} | ${r.ok ? 'passed' : 'FAILED'} | ${cell(r.detail)} | ${cell(r.versions)} | ${r.seconds.toFixed(1)} | ${r.date}, ${r.commit} |`,
  );
  return `# Applications

Written by \`node build/test/apps/main.js --out docs/applications.json\`; do not edit.

Each application is a server on one member of a virtual network and its real client on another, both
unmodified under the preload; the members are services of one machine that speak ZeroTier over loopback.
Programs are those of Debian packages (python3 is /usr/bin/python3); node is the one that runs the services. Figures are of a shared machine and compare nothing.

| application | result | what was done | versions | seconds | run |
| --- | --- | --- | --- | ---: | --- |
${lines.join('\n')}
`;
}

export function writeReport(file: string, results: readonly Result[]): void {
  const earlier = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Stored[]) : [];
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const date = new Date().toISOString().slice(0, 10);
  const rows = new Map(earlier.map((r) => [r.name, r]));
  for (const r of results) rows.set(r.name, { ...r, date, commit });
  const all = [...rows.values()];
  writeFileSync(file, `${JSON.stringify(all, null, 1)}\n`);
  writeFileSync(file.replace(/\.json$/, '.md'), page(all));
}
