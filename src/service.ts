#!/usr/bin/env node
/**
 * The service program [4 section 3], which is also the two command lines when its first words or
 * its name say so [4 section 1]. Each of the three is loaded only when it is the one asked for.
 */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseServiceLine, SERVICE_USAGE, type ServiceLine } from './cli/service/args.js';

const VERSION = '1.14.1';

const path = basename(process.argv[1] ?? '');
const name = path === 'service.js' ? 'zerotier-sdk-service' : path;
const args = process.argv.slice(2);

/** What the program's name or the words ask for. */
function asked(): ServiceLine {
  if (/zerotier-idtool|ZEROTIER-IDTOOL/.test(path)) return { kind: 'idtool', args };
  if (/zerotier-cli|ZEROTIER-CLI/.test(path)) return { kind: 'cli', args };
  return parseServiceLine(args, process.env);
}

async function main(line: ServiceLine): Promise<void> {
  switch (line.kind) {
    case 'usage':
      process.stdout.write(SERVICE_USAGE);
      process.exitCode = line.exitCode;
      return;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return;
    case 'idtool': {
      const { idtoolMain } = await import('./cli/zt/idtool.js');
      process.exitCode = idtoolMain(line.args);
      return;
    }
    case 'cli': {
      const { cliMain } = await import('./cli/zt/main.js');
      process.exitCode = await cliMain(name, line.args, process.env);
      return;
    }
    case 'run': {
      if (line.daemon) {
        const { startInBackground } = await import('./cli/service/background.js');
        const words = args.filter((a) => a !== '-d');
        process.exit(await startInBackground(fileURLToPath(import.meta.url), words, line.home));
      }
      const { runService } = await import('./cli/service/run.js');
      await runService(line);
    }
  }
}

try {
  await main(asked());
} catch (e) {
  const text = e instanceof Error ? e.message : String(e);
  const isConf = (e as { code?: string }).code === 'ERR_LOCAL_CONF';
  process.stderr.write(isConf ? `ERROR: ${text}\n` : `${name}: ${text}\n`);
  process.exit(1);
}
