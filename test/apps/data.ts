/** Databases and caches. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type App, expect, output, PYTHON, Skip, serving } from './row.js';
import { type Member, type World, within } from './world.js';

function redisServer(world: World, on: Member, port: number, ...more: string[]) {
  const dir = world.place(`redis-${on.name}`);
  const args = ['--bind', '0.0.0.0', '--port', String(port), '--protected-mode', 'no'];
  return on.start('redis-server', [...args, '--save', '', '--dir', dir, ...more]);
}

async function redis(world: World): Promise<string> {
  const { a, b } = world;
  const ask = (on: Member, ip: string, ...words: string[]): Promise<string> =>
    output(on, 'redis-cli', ['-h', ip, '-p', '6379', ...words]);
  return serving(world, a, 6379, redisServer(world, a, 6379), async () => {
    const bench = ['-h', a.ip, '-p', '6379', '-P', '16', '-q', '-n', '100000', '-c', '50'];
    const report = await output(b, 'redis-benchmark', [...bench, '-t', 'set,get']);
    const get = /GET: ([\d.]+) requests/.exec(report)?.[1];
    expect(get !== undefined, report);
    const replica = redisServer(world, b, 6379, '--replicaof', a.ip, '6379');
    await serving(world, b, 6379, replica, async () => {
      await ask(b, a.ip, 'set', 'k', 'replicated');
      await within('the key at the replica', 20_000, async () =>
        (await ask(a, b.ip, 'get', 'k')) === 'replicated\n' ? true : undefined,
      );
    });
    const listener = b.start('redis-cli', ['-h', a.ip, 'subscribe', 'news']);
    await within('the subscription', 10_000, () =>
      listener.output().includes('subscribe') ? true : undefined,
    );
    await ask(b, a.ip, 'publish', 'news', 'published');
    await within('the message', 10_000, () =>
      listener.output().includes('published') ? true : undefined,
    );
    await listener.stop();
    return `redis-benchmark -P16: ${get} GET/s; replication from a to b; publish and subscribe`;
  });
}

const POSTGRES_BIN = '/usr/lib/postgresql';

async function postgres(world: World): Promise<string> {
  if (process.getuid?.() !== 0) throw new Skip('only root can become postgres');
  const versions = fs.existsSync(POSTGRES_BIN) ? fs.readdirSync(POSTGRES_BIN) : [];
  if (versions.length === 0) throw new Skip('no PostgreSQL (Debian package postgresql)');
  const bin = path.join(POSTGRES_BIN, versions.sort().at(-1)!, 'bin');
  // The service of a database's user: the doors of another user's service are closed to it.
  const db = await world.member('db', 3, { user: 'postgres' });
  const dir = world.place('postgres');
  const owner = fs.statSync(db.door);
  fs.chownSync(dir, owner.uid, owner.gid);
  const as = ['--reuid=postgres', '--regid=postgres', '--clear-groups'];
  const data = path.join(dir, 'data');
  const env = { HOME: dir, LC_ALL: 'C' };
  await output(world.a, 'setpriv', [...as, path.join(bin, 'initdb'), '-A', 'trust', '-D', data], {
    ...env,
    LD_PRELOAD: '',
  });
  fs.appendFileSync(path.join(data, 'pg_hba.conf'), 'host all all 10.91.1.0/24 trust\n');
  const options = ['-c', 'listen_addresses=*', '-k', dir];
  const server = db.start(
    'setpriv',
    [...as, path.join(bin, 'postgres'), '-D', data, ...options],
    env,
  );
  return serving(world, db, 5432, server, async () => {
    const to = ['-h', db.ip, '-U', 'postgres'];
    const text = await output(world.b, 'psql', [...to, '-Atc', 'select 6 * 7']);
    expect(text === '42\n', text);
    await output(world.b, 'pgbench', [...to, '-i', '-q', 'postgres'], env);
    const load = ['-c', '8', '-j', '2', '-T', '5', 'postgres'];
    const report = await output(world.b, 'pgbench', [...to, ...load], env);
    expect(/failed transactions: 0 /.test(report), report);
    const tps = /tps = ([\d.]+)/.exec(report)?.[1];
    return `psql; pgbench -c8 for 5 s: ${tps} transactions/s, none failed`;
  });
}

const MEMCACHED = `
import socket, sys
s = socket.create_connection((sys.argv[1], 11211))
f = s.makefile('rwb')
good = 0
for i in range(500):
    v = ('v%d' % i).encode() * 20
    f.write(b'set k%d 0 0 %d\\r\\n%s\\r\\n' % (i, len(v), v)); f.flush()
    assert f.readline() == b'STORED\\r\\n'
    f.write(b'get k%d\\r\\n' % i); f.flush()
    f.readline()
    good += f.readline() == v + b'\\r\\n'
    assert f.readline() == b'END\\r\\n'
print(good)
`;

async function memcached(world: World): Promise<string> {
  const server = world.a.start('memcached', [
    '-u',
    'nobody',
    '-l',
    '0.0.0.0',
    '-p',
    '11211',
    '-U',
    '0',
  ]);
  return serving(world, world.a, 11211, server, async () => {
    const told = await output(world.b, PYTHON, ['-c', MEMCACHED, world.a.ip]);
    expect(told.trim() === '500', told);
    return '500 values set and got over TCP; four threads, another user';
  });
}

export const DATA: readonly App[] = [
  {
    name: 'redis: benchmark, replication, publish and subscribe',
    needs: { 'redis-server': 'redis-server', 'redis-benchmark': 'redis-tools' },
    versions: [['redis-server', '--version']],
    core: true,
    run: redis,
  },
  {
    name: 'PostgreSQL and pgbench',
    needs: { psql: 'postgresql-client', pgbench: 'postgresql', setpriv: 'util-linux' },
    versions: [['psql', '--version']],
    run: postgres,
  },
  {
    name: 'memcached',
    needs: { memcached: 'memcached', [PYTHON]: 'python3' },
    versions: [['memcached', '--version']],
    run: memcached,
  },
];
