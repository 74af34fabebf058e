/** Output of the drop-in command lines: plain synchronous writes, and the text of `-h`. */
import { writeSync } from 'node:fs';

/** How long to wait before asking a full non-blocking pipe again, in ms. */
const FULL_PIPE_MS = 5;

/** Writes all of `text`; a reader that went away ends the program like SIGPIPE would. */
function write(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (code === 'EPIPE') process.exit(1);
      if (code !== 'EAGAIN') throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_MS);
    }
  }
}

export const out = (text: string): void => write(1, text);
export const err = (text: string): void => write(2, text);

export const CLI_USAGE = `zerotier-cli of netcon, for ZeroTier One 1.14.1
usage: zerotier-cli [switches] command [arguments]

  -D<path>   home folder of the service (default: $ZEROTIER_HOME or /var/lib/zerotier-one)
  -p<port>   its control port             -T<token>  its authentication token
  -j         print JSON                   -v         version          -h  this help

  info                               address, version and state of the node
  listnetworks                       networks joined, their devices and addresses
  join NETWORK, leave NETWORK        16 hex digits
  set NETWORK NAME=VALUE             allowManaged, allowGlobal, allowDefault, allowDNS: 1 or 0
  get NETWORK NAME                   a field of listnetworks -j, or ip, ip4, ip6, ip6plane, ip6prefix
  listpeers, peers                   peers, their paths and latencies
  listmoons                          moons in use
  orbit MOON SEED, deorbit MOON      join a moon through one of its roots, leave it
  bond list                          bonded peers (also: listbonds)
  bond PEER show, bond PEER rotate   a bond; use its next link
  bond setmtu MTU INTERFACE IP       MTU of a bonded link
  dump                               write zerotier_dump.txt for a problem report
  /path                              GET that path of the control interface
`;
