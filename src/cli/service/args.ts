/** Command line of the service [4 section 3]: one-word switches, at most one folder. */

export const SERVICE_USAGE = `netcon service: ZeroTier networks for programs, without root and without a network device
usage: zerotier-sdk-service [switches] [home folder]

  -d            run in the background; returns when the service answers
  -p<port>      UDP and control port (default 9993, 0 = random)
  -U            accepted for compatibility (root is never needed)
  -i, -q        as first word: be zerotier-idtool, zerotier-cli
  -v            version
  -h            this help

The home folder is the argument, else the environment variable ZEROTIER_HOME, else
/var/lib/zerotier-one. Networks are joined with zerotier-cli -D<home> join <network id>.
`;

const DEFAULT_HOME = '/var/lib/zerotier-one';
const MAX_PORT = 65_535;

export type ServiceLine =
  | { readonly kind: 'usage'; readonly exitCode: 0 | 1 }
  | { readonly kind: 'version' }
  | { readonly kind: 'idtool' | 'cli'; readonly args: readonly string[] }
  | {
      readonly kind: 'run';
      readonly daemon: boolean;
      /** 0 = random, undefined = not given. */
      readonly port: number | undefined;
      readonly home: string;
    };

export function parseServiceLine(args: readonly string[], env: NodeJS.ProcessEnv): ServiceLine {
  let daemon = false;
  let port: number | undefined;
  const folders: string[] = [];
  for (const [i, word] of args.entries()) {
    const value = word.slice(2);
    if (!word.startsWith('-')) folders.push(word);
    else if (word === '-d') daemon = true;
    else if (word === '-U') continue;
    else if (word === '-i' && i === 0) return { kind: 'idtool', args: args.slice(1) };
    else if (word === '-q') return { kind: 'cli', args: args.filter((_, k) => k !== i) };
    else if (word.startsWith('-v')) return { kind: 'version' };
    else if (word.startsWith('-p')) {
      port = Number(/^[0-9]*/.exec(value)![0]);
      if (port > MAX_PORT) return { kind: 'usage', exitCode: 1 };
    } else return { kind: 'usage', exitCode: 0 };
  }
  if (folders.length > 1) return { kind: 'usage', exitCode: 0 };
  const home = folders[0] ?? (env['ZEROTIER_HOME'] || DEFAULT_HOME);
  return { kind: 'run', daemon, port, home };
}
