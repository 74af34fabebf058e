/**
 * A process of its own that changes controller records and writes them as the service does, until it
 * is killed: `controller-writer.js HOME`. Sends the revision of each record that was flushed.
 */
import { Home } from '#src/host/home.js';
import { addressText } from '#src/wire/address.js';
import { cheapIdentity, LoneController } from './controller-port.js';

const MEMBERS = 20;
const home = new Home(process.argv[2]!, (level, line) => process.send?.({ level, line }));
const c = new LoneController();
const members = Array.from({ length: MEMBERS }, (_, i) => cheapIdentity(i + 1));
for (let round = 1; ; round++) {
  c.network({ name: `round ${round}` });
  for (const m of members) c.member(m, { name: `${round} `.repeat(500) });
  for (const [path, json] of c.files) home.write(`controller.d/${path}`, json, 0o600);
  c.files.clear();
  await home.flush();
  await new Promise((sent) =>
    process.send?.({ round, last: addressText(members[0]!.address) }, sent),
  );
}
