/** A TCP relay for the tests: `node relay.js IP PORT`; one UDP socket per connection. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { datagramFrame, FrameReader, greetingFrame } from '#src/host/tcp-relay.js';
import { inetAddress, ipText, parseIp, remoteAddress } from '#src/wire/inetaddress.js';

const [host, port] = process.argv.slice(2);

createServer((client) => {
  const udp = createSocket('udp4');
  const reader = new FrameReader();
  client.write(greetingFrame());
  udp.bind(0, host);
  udp.on('message', (bytes, from) => {
    const ip = parseIp(from.address);
    if (ip !== undefined)
      client.write(datagramFrame(remoteAddress(inetAddress(ip, from.port)), bytes));
  });
  client.on('data', (chunk) => {
    for (const d of reader.push(chunk)) udp.send(d.bytes, d.from.port, ipText(d.from.ip));
  });
  client.on('error', () => client.destroy());
  client.on('close', () => udp.close());
}).listen(Number(port), host);
