/** The service's log: lines on standard error, each with its level. Never secrets or payloads. */
export type LogLevel = 'error' | 'warning' | 'info';

export type Log = (level: LogLevel, text: string) => void;

/** Writes `<program>: <text>` lines; `info` only when asked for. */
export function stderrLog(verbose: boolean): Log {
  return (level, text) => {
    if (level === 'info' && !verbose) return;
    process.stderr.write(`${level === 'info' ? '' : `${level}: `}${text}\n`);
  };
}

export function errorText(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
