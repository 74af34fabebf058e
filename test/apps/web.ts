/** Web servers and their clients. */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { packageFile } from '../helpers/service.js';
import { run } from '../preload/run.js';
import { type App, expect, output, PYTHON, serving } from './row.js';
import type { Member, World } from './world.js';

const FILE_LEN = 5 << 20;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A folder with `index.html` and a large random file. */
function site(world: World, name: string): { readonly dir: string; readonly digest: string } {
  const dir = world.place(name);
  const www = path.join(dir, 'www');
  const bytes = randomBytes(FILE_LEN);
  fs.mkdirSync(www, { recursive: true, mode: 0o755 });
  fs.writeFileSync(path.join(www, 'index.html'), `virtual ${name}\n`);
  fs.writeFileSync(path.join(www, 'big.bin'), bytes);
  return { dir, digest: sha256(bytes) };
}

const at = (ip: string, port: number, rest = '/'): string =>
  ip.includes(':') ? `http://[${ip}]:${port}${rest}` : `http://${ip}:${port}${rest}`;

async function curl(on: Member, ...args: string[]): Promise<string> {
  return output(on, 'curl', ['-sS', '--fail', '--max-time', '30', ...args]);
}

/** Index, and the large file unharmed, by curl and by wget. */
async function fetchAll(
  world: World,
  from: Member,
  ip: string,
  port: number,
  name: string,
  digest: string,
): Promise<void> {
  const index = await curl(from, at(ip, port));
  expect(index === `virtual ${name}\n`, `index: ${index}`);
  const copy = path.join(world.place(name), 'copy.bin');
  await curl(from, '-o', copy, at(ip, port, '/big.bin'));
  expect(sha256(fs.readFileSync(copy)) === digest, 'curl: the copy differs');
  await output(from, 'wget', ['-q', '-T', '30', '-O', copy, at(ip, port, '/big.bin')]);
  expect(sha256(fs.readFileSync(copy)) === digest, 'wget: the copy differs');
}

const FETCHED = 'index and 5 MiB by curl and wget, SHA-256 equal';

/** A user namespace of one user has no other one to become. */
const USER =
  process.env['NETCON_APPS_INSIDE'] === '-n' ? 'user nobody nogroup;' : 'user root root;';

const NGINX = (dir: string): string => `
${USER}
daemon off;
worker_processes 4;
pid ${dir}/pid;
error_log ${dir}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  server { listen 80 backlog=1024; listen [::]:80 ipv6only=on; root ${dir}/www; }
}
`;

const PROXY = (dir: string, to: string): string => `
${USER}
daemon off;
pid ${dir}/pid;
error_log ${dir}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 256; }
http {
  access_log off; proxy_http_version 1.1; proxy_set_header Connection "";
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  upstream back { server ${to}:80; keepalive 8; }
  server { listen 8088; location / { proxy_pass http://back; } }
}
`;

/** nginx as a client: it connects without blocking, and keeps connections. */
async function proxied(world: World, digest: string): Promise<void> {
  const { a, b } = world;
  const dir = world.place('nginx-proxy');
  fs.writeFileSync(path.join(dir, 'nginx.conf'), PROXY(dir, a.ip));
  const args = ['-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'error.log')];
  const proxy = b.start('nginx', args);
  await serving(world, b, 8088, proxy, async () => {
    for (let i = 0; i < 20; i++)
      expect((await curl(a, at(b.ip, 8088))) === 'virtual nginx\n', 'the index by the proxy');
    const copy = path.join(dir, 'copy.bin');
    await curl(a, '-o', copy, at(b.ip, 8088, '/big.bin'));
    expect(sha256(fs.readFileSync(copy)) === digest, 'the copy by the proxy differs');
  });
}

/** Seconds that wrk presses; the suite of `npm test` has less time. */
const WRK_SECONDS = process.argv.includes('--core') ? 5 : 30;

async function nginx(world: World): Promise<string> {
  const { dir, digest } = site(world, 'nginx');
  const config = path.join(dir, 'nginx.conf');
  fs.writeFileSync(config, NGINX(dir));
  const server = world.a.start('nginx', ['-c', config, '-e', path.join(dir, 'error.log')]);
  return serving(world, world.a, 80, server, async () => {
    await fetchAll(world, world.b, world.a.ip, 80, 'nginx', digest);
    await fetchAll(world, world.b, world.a.ip6, 80, 'nginx', digest);
    const args = ['-t2', '-c256', `-d${WRK_SECONDS}s`, '--timeout', '20s', at(world.a.ip, 80)];
    const report = await output(world.b, 'wrk', args);
    expect(!/Socket errors|Non-2xx/.test(report), report);
    await proxied(world, digest);
    const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(report)?.[1];
    return `4 workers of another user at port 80; ${FETCHED}, IPv4 and IPv6; wrk -c256 for ${WRK_SECONDS} s: ${perSecond} requests/s, no error; nginx of the other member as its proxy`;
  });
}

const APACHE = (dir: string, model: string): string => `
ServerRoot ${dir}
PidFile ${dir}/pid
ServerName apache
Listen 8081
LoadModule mpm_${model}_module /usr/lib/apache2/modules/mod_mpm_${model}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
User nobody
Group nogroup
ErrorLog ${dir}/error.log
DocumentRoot ${dir}/www
<Directory ${dir}/www>
  Require all granted
</Directory>
`;

function apache(model: string): App {
  const name = `apache-${model}`;
  return {
    name: `Apache httpd, ${model}`,
    needs: { apache2: 'apache2', ab: 'apache2-utils', curl: 'curl', wget: 'wget' },
    versions: [
      ['apache2', '-v'],
      ['ab', '-V'],
    ],
    run: async (world) => {
      const { dir, digest } = site(world, name);
      const config = path.join(dir, 'apache.conf');
      fs.writeFileSync(config, APACHE(dir, model));
      const server = world.a.start('apache2', ['-f', config, '-DFOREGROUND'], {
        LD_LIBRARY_PATH: '',
      });
      return serving(world, world.a, 8081, server, async () => {
        await fetchAll(world, world.b, world.a.ip, 8081, name, digest);
        const url = at(world.a.ip, 8081);
        const report = await output(world.b, 'ab', ['-q', '-n', '1000', '-c', '20', url]);
        expect(/Failed requests:\s+0\n/.test(report), report);
        return `${FETCHED}; ab: 1000 connections, 20 at a time, none failed`;
      });
    },
  };
}

async function lighttpd(world: World): Promise<string> {
  const { dir, digest } = site(world, 'lighttpd');
  const config = path.join(dir, 'lighttpd.conf');
  fs.writeFileSync(
    config,
    `server.document-root = "${dir}/www"\nserver.port = 8082\nserver.bind = "0.0.0.0"\nindex-file.names = ( "index.html" )\n`,
  );
  const server = world.a.start('lighttpd', ['-D', '-f', config]);
  return serving(world, world.a, 8082, server, async () => {
    await fetchAll(world, world.b, world.a.ip, 8082, 'lighttpd', digest);
    return FETCHED;
  });
}

async function python(world: World): Promise<string> {
  const { dir, digest } = site(world, 'python');
  const args = ['-m', 'http.server', '8083'];
  const server = world.a.start(PYTHON, args, {}, path.join(dir, 'www'));
  return serving(world, world.a, 8083, server, async () => {
    await fetchAll(world, world.b, world.a.ip, 8083, 'python', digest);
    const script = `import hashlib,urllib.request
print(hashlib.sha256(urllib.request.urlopen('${at(world.a.ip, 8083, '/big.bin')}').read()).hexdigest())`;
    const told = await output(world.b, PYTHON, ['-c', script]);
    expect(told.trim() === digest, `urllib: ${told}`);
    return `${FETCHED}, and by urllib`;
  });
}

const ASYNCIO = `
import asyncio, hashlib, os, sys
async def serve(r, w):
    data = await r.read()
    w.write(hashlib.sha256(data).hexdigest().encode()); await w.drain(); w.close()
async def ask(ip, port, i):
    data = os.urandom(1000 * i)
    r, w = await asyncio.open_connection(ip, port)
    w.write(data); w.write_eof()
    answer = await r.read(); w.close()
    return answer.decode() == hashlib.sha256(data).hexdigest()
async def main():
    if sys.argv[1] == 'serve':
        server = await asyncio.start_server(serve, '0.0.0.0', 8084, backlog=512)
        await server.serve_forever()
    print(sum(await asyncio.gather(*[ask(sys.argv[2], 8084, i) for i in range(200)])))
asyncio.run(main())
`;

async function asyncio(world: World): Promise<string> {
  const server = world.a.start(PYTHON, ['-c', ASYNCIO, 'serve']);
  return serving(world, world.a, 8084, server, async () => {
    const told = await output(world.b, PYTHON, ['-c', ASYNCIO, 'ask', world.a.ip]);
    expect(told.trim() === '200', `${told} of 200`);
    return '200 connections at once, up to 199 kB each, half-closed by the client';
  });
}

const UNDICI = (url: string): string => `
const all = await Promise.all(Array.from({ length: 100 }, () => fetch('${url}')));
const texts = await Promise.all(all.map((r) => r.text()));
console.log(texts.filter((t) => t.startsWith('hello from')).length);
`;

async function node(world: World): Promise<string> {
  const server = world.a.start(process.execPath, [packageFile('examples/httpserver.js'), '8085']);
  return serving(world, world.a, 8085, server, async () => {
    const args = ['--input-type=module', '-e', UNDICI(at(world.a.ip, 8085))];
    const told = await output(world.b, process.execPath, args);
    expect(told.trim() === '100', `${told} of 100`);
    return '100 requests at once by fetch (undici)';
  });
}

async function stub(world: World): Promise<string> {
  const dir = world.place('httpstub');
  const program = path.join(dir, 'httpstub');
  const built = await run('gcc', ['-Wall', '-o', program, packageFile('examples/httpstub.c')]);
  expect(built.code === 0, built.stderr);
  const server = world.a.start(program, ['8086']);
  return serving(world, world.a, 8086, server, async () => {
    for (let i = 0; i < 20; i++) {
      const text = await curl(world.b, at(world.a.ip, 8086));
      expect(text === `hello ${world.b.ip}\n`, text);
    }
    return '20 requests by curl, each told its own address';
  });
}

const JAVA_SERVER = `
import com.sun.net.httpserver.*;
import java.net.*;
public class Web {
  public static void main(String[] a) throws Exception {
    if (a.length == 0) {
      HttpServer s = HttpServer.create(new InetSocketAddress(8087), 64);
      s.createContext("/", x -> {
        byte[] b = ("java " + x.getRemoteAddress().getAddress().getHostAddress()).getBytes();
        x.sendResponseHeaders(200, b.length);
        x.getResponseBody().write(b); x.close();
      });
      s.start();
      return;
    }
    var client = java.net.http.HttpClient.newHttpClient();
    int good = 0;
    for (int i = 0; i < 20; i++) {
      var r = client.send(java.net.http.HttpRequest.newBuilder(URI.create(a[0])).build(),
        java.net.http.HttpResponse.BodyHandlers.ofString());
      if (r.body().equals("java " + a[1])) good++;
    }
    System.out.println(good);
  }
}
`;

async function java(world: World): Promise<string> {
  const dir = world.place('java');
  fs.writeFileSync(path.join(dir, 'Web.java'), JAVA_SERVER);
  const built = await run('javac', ['--add-modules', 'jdk.httpserver', 'Web.java'], {}, dir);
  expect(built.code === 0, built.stderr);
  const java = ['-Xmx128m', '--add-modules', 'jdk.httpserver,java.net.http', '-cp', dir, 'Web'];
  const server = world.a.start('java', java);
  return serving(world, world.a, 8087, server, async () => {
    const told = await output(world.b, 'java', [...java, at(world.a.ip, 8087), world.b.ip]);
    expect(told.trim() === '20', told);
    return '20 requests of java.net.http (NIO) to com.sun.net.httpserver';
  });
}

const FETCHERS = { curl: 'curl', wget: 'wget' };

export const WEB: readonly App[] = [
  {
    name: 'httpstub.c',
    needs: { gcc: 'gcc', curl: 'curl' },
    versions: [['curl', '--version']],
    core: true,
    run: stub,
  },
  {
    name: 'nginx and wrk',
    needs: { nginx: 'nginx', wrk: 'wrk', ...FETCHERS },
    versions: [
      ['nginx', '-v'],
      ['wrk', '-v'],
    ],
    core: true,
    run: nginx,
  },
  ...['prefork', 'worker', 'event'].map(apache),
  {
    name: 'lighttpd',
    needs: { lighttpd: 'lighttpd', ...FETCHERS },
    versions: [['lighttpd', '-v']],
    run: lighttpd,
  },
  {
    name: 'python3 http.server and urllib',
    needs: { [PYTHON]: 'python3', ...FETCHERS },
    versions: [
      [PYTHON, '--version'],
      ['wget', '--version'],
    ],
    core: true,
    run: python,
  },
  {
    name: 'python3 asyncio',
    needs: { [PYTHON]: 'python3' },
    versions: [[PYTHON, '--version']],
    core: true,
    run: asyncio,
  },
  {
    name: 'node http and undici',
    needs: {},
    versions: [[process.execPath, '--version']],
    core: true,
    run: node,
  },
  {
    name: 'Java',
    needs: { java: 'default-jre-headless', javac: 'default-jdk-headless' },
    versions: [['java', '-version']],
    run: java,
  },
];
