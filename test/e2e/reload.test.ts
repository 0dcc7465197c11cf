/** SIGHUP: the configuration of a running server changes; who has nothing to do with it goes on. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'

const MIB = 1 << 20
const MEMORY = `[exports.memory]\nmemory = "1M"\n`

interface Stage {
  readonly directory: string
  readonly server: Served
  /** URI of an export. */
  uri(name: string): string
  /** Writes the configuration, tells the server, waits. @returns what it logs */
  change(exports: string, expected?: RegExp): Promise<string>
  names(): Promise<unknown[]>
}

async function stage(t: ExecutionContext, disks: readonly string[], text: string): Promise<Stage> {
  const directory = tempDirectory(t)
  for (const name of disks) {
    await makeDisk(join(directory, `${name}.chunkdisk`), { size: '16M', chunkSize: '1M' })
  }
  const file = join(directory, 'c.toml')
  const socket = join(directory, 's')
  const head = `server.listen = ["nbd+unix:///?socket=${socket}"]\n`
  writeFileSync(file, head + text)
  const server = await serve(t, ['--config', file], { launcher: ['env', '--'] })
  const uri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`
  return {
    directory,
    server,
    uri,
    async change(exports, expected = /"reloaded"/) {
      writeFileSync(file, head + exports)
      const before = server.log().length
      process.kill(server.pid, 'SIGHUP')
      await server.logged(new RegExp(`^[^]{${before}}[^]*${expected.source}`))
      return server.log().slice(before)
    },
    async names() {
      const { stdout } = await run(t, 'nbdinfo', ['--list', '--json', uri('')])
      const { exports } = JSON.parse(stdout) as { exports: Record<string, unknown>[] }
      return exports.map((each) => each['export-name'])
    },
  }
}

const disk = (name: string, more = ''): string =>
  `[exports.${name}]\nfile = "${name}.chunkdisk"\n${more}\n`

test('exports come, go and change while fio and nbdcopy work on others', async (t) => {
  if (!requireTool(t, 'fio', 'nbdcopy', 'nbdinfo')) return
  const kept = disk('kept') + '[exports.copied]\nmemory = "64M"\n'
  const all = await stage(t, ['kept', 'a', 'b'], kept)
  const job = ['--name=job', '--ioengine=nbd', `--uri=${all.uri('kept')}`, '--rw=randwrite']
  const how = [
    '--bs=4k',
    '--size=16M',
    '--io_size=64M',
    '--iodepth=16',
    '--verify=crc32c',
    '--verify_state_save=0',
  ]
  const work = { isOver: false }
  const fio = run(t, 'fio', [...job, ...how]).finally(() => (work.isOver = true))
  const image = join(all.directory, 'image')
  const bytes = Buffer.alloc(64 * MIB, 'chunk by chunk ')
  writeFileSync(image, bytes)
  const copy = run(t, 'nbdcopy', ['--connections=2', image, all.uri('copied')])
  const steps = [
    [kept + disk('a'), ['kept', 'copied', 'a']],
    [disk('b') + disk('a') + kept, ['b', 'a', 'kept', 'copied']],
    [kept + disk('b', 'hidden = true'), ['kept', 'copied']],
    [kept + disk('b', 'read-only = true') + MEMORY, ['kept', 'copied', 'b', 'memory']],
    [kept, ['kept', 'copied']],
  ] as const
  let rounds = 0
  do {
    for (const [text, names] of steps) {
      await all.change(text)
      t.deepEqual(await all.names(), [...names])
    }
    rounds++
  } while (!work.isOver)
  t.log(`${rounds} rounds of ${steps.length} changes`)
  await Promise.all([fio, copy])
  const back = join(all.directory, 'back')
  await run(t, 'nbdcopy', [all.uri('copied'), back])
  t.true(readFileSync(back).equals(bytes))
  t.is(await all.server.stop(), 0)
})

test('an export that is removed: its clients are closed, what was answered is there', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const all = await stage(t, ['a', 'b'], disk('a') + disk('b'))
  const [a, b] = [await DiskClient.connect(all.uri('a')), await DiskClient.connect(all.uri('b'))]
  const data = Buffer.alloc(MIB, 7)
  await a.write(3 * MIB, data)
  await b.write(0, data)
  const log = await all.change(disk('b'))
  t.regex(log, /"added":\[\],"removed":\["a"\],"reopened":\[\],"access":\[\]/)
  await t.throwsAsync(a.read(0, 4096))
  t.is((await attempt(t, 'nbdinfo', [all.uri('a')])).status, 1)
  t.deepEqual(Buffer.from(await b.read(0, MIB)), data)
  // Its files are free for another server.
  const other = await serve(t, ['a.chunkdisk'], { cwd: all.directory })
  const again = await DiskClient.connect(other.uri)
  t.deepEqual(Buffer.from(await again.read(3 * MIB, MIB)), data)
  t.is(await other.stop(), 0)
  // And renamed, in one step.
  await all.change(`[exports.c]\nfile = "b.chunkdisk"\nread-only = true\n`)
  await t.throwsAsync(b.read(0, 4096))
  const c = await DiskClient.connect(all.uri('c'))
  t.deepEqual(Buffer.from(await c.read(0, MIB)), data)
  t.is(await all.server.stop(), 0)
})

test('rules of access count for newcomers; who is there stays', async (t) => {
  const all = await stage(t, [], MEMORY)
  const first = await DiskClient.connect(all.uri('memory'))
  await first.write(0, Buffer.alloc(4096, 1))
  const log = await all.change(`${MEMORY}clients = []\n`)
  t.regex(log, /"removed":\[\],"reopened":\[\],"access":\["memory"\]/)
  await t.throwsAsync(DiskClient.connect(all.uri('memory')))
  t.is((await first.read(0, 4096))[0], 1)
  await all.change(`${MEMORY}networks = ["unix"]\n`)
  const second = await DiskClient.connect(all.uri('memory'))
  t.is((await second.read(0, 4096))[0], 1, 'the same memory')
  t.is(await all.server.stop(), 0)
})

test('a new configuration of no use changes nothing and is told', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const all = await stage(t, ['a', 'b'], disk('a') + MEMORY)
  const client = await DiskClient.connect(all.uri('a'))
  const refused = /"not reloaded: what was there stays in use"/
  for (const [text, reason] of [
    ['[exports.a', /c\.toml:2: not TOML/],
    ['[exports.a]\nfil = "a"', /exports\.a\.fil: unknown key; the nearest is \\"file\\"/],
    [disk('b') + disk('none'), /none\.chunkdisk: cannot be read: there is no such file/],
    [`${MEMORY}uuid = "x"`, /uuid/],
  ] as const) {
    t.regex(await all.change(text, refused), reason)
    t.deepEqual(await all.names(), ['a', 'memory'])
    t.is((await client.read(0, 4096)).length, 4096)
  }
  // Nothing of what was opened in vain is locked.
  const log = await all.change(disk('a') + disk('b'))
  t.regex(log, /"added":\["b"\],"removed":\["memory"\]/)
  t.is(await all.server.stop(), 0)
})

test('one that cannot be opened again comes back as it was', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const all = await stage(t, ['a', 'b'], disk('a') + disk('b'))
  const wrong = `[exports.a]\nfile = "b.chunkdisk"\n${disk('b')}`
  t.regex(await all.change(wrong), /"export":"a","reason":.*"this export cannot be opened"/)
  t.deepEqual(await all.names(), ['a', 'b'])
  const a = await DiskClient.connect(all.uri('a'))
  await a.write(0, Buffer.alloc(4096, 9))
  t.is(await all.server.stop(), 0)
})

test('keys that a restart changes are named, the log level changes at once', async (t) => {
  const all = await stage(t, [], MEMORY)
  const more = 'server.log-level = "debug"\nserver.engine = "node"\nlimits.idle-timeout = 100\n'
  const log = await all.change(more + MEMORY)
  const keys = [...log.matchAll(/"key":"([^"]+)","msg":"this is changed by a restart only"/g)]
  t.deepEqual(
    keys.map((match) => match[1]),
    ['server.engine', 'limits.idle-timeout'],
  )
  const client = await DiskClient.connect(all.uri('memory'))
  client.raw.destroy()
  await all.server.logged(/"msg":"connection closed"/)
  t.is(await all.server.stop(), 0)
})
