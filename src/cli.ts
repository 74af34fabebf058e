#!/usr/bin/env node
/**
 * The drop-in command lines `zerotier-cli` and `zerotier-idtool` [4 section 1]. Which of the two is
 * decided by the last component of the program's path, or by `-i` as first word. The identity tool
 * (and with it the packet core) is loaded only when asked for: commands must start quickly.
 */
import { basename } from 'node:path';
import { cliMain } from './cli/zt/main.js';

const path = basename(process.argv[1] ?? '');
const args = process.argv.slice(2);

if (/zerotier-idtool|ZEROTIER-IDTOOL/.test(path)) await idtool(args);
else if (args[0] === '-i') await idtool(args.slice(1));
else process.exitCode = await cliMain(name(path), args, process.env);

/** The name in messages; the file itself has one that says nothing. */
function name(base: string): string {
  return base === 'cli.js' ? 'zerotier-cli' : base;
}

async function idtool(words: readonly string[]): Promise<void> {
  const { idtoolMain } = await import('./cli/zt/idtool.js');
  process.exitCode = idtoolMain(words);
}
