/**
 * Datagrams to multicast groups; an ordinary program that knows nothing of networks.
 *   groups.js listen GROUP PORT INTERFACE     joins, prints `ready`, then each text that arrives
 *   groups.js send GROUP PORT INTERFACE TEXT  sends TEXT five times a second until it is ended
 * INTERFACE is an own address (IPv4) or an interface name (IPv6).
 */
import { createSocket } from 'node:dgram';

const EVERY_MS = 200;
const [mode = '', group = '', port = '', via = '', text = ''] = process.argv.slice(2);
const is6 = group.includes(':');
const at = is6 ? `::%${via}` : via;
const socket = createSocket({ type: is6 ? 'udp6' : 'udp4', reuseAddr: true });

socket.on('error', (e) => {
  console.error(e.message);
  process.exit(1);
});
if (mode === 'listen') {
  socket.on('message', (m, from) => console.log(`${m.toString()} from ${from.address}`));
  socket.bind(Number(port), () => {
    socket.addMembership(group, at);
    console.log('ready');
  });
} else {
  socket.bind(0, () => {
    socket.setMulticastInterface(at);
    socket.setMulticastLoopback(false);
    setInterval(() => {
      socket.send(text, Number(port), group, (e) => {
        if (e !== null) console.error(e.message);
      });
    }, EVERY_MS);
  });
}
