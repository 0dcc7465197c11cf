/** Descriptors and memory run out: who needs one waits or hears of it, nobody else notices. */
import fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serve, type Served } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const PAGE = 4096
const CHUNK = 65_536
const CHUNKS = 128
const MIB = 1 << 20
const ENOMEM = 12
const ENGINES = typeof createUringIo() === 'string' ? ['node'] : ['node', 'uring']
const filled = (length: number, value: number): Buffer => Buffer.alloc(length, value)

/** A child of a disk that is full of ones. */
async function serveChild(
  t: ExecutionContext,
  engine: string,
  launcher: readonly string[] = [],
): Promise<Served> {
  const directory = tempDirectory(t)
  const [base, child] = [join(directory, 'base.chunkdisk'), join(directory, 'child.chunkdisk')]
  await makeDisk(base, { size: `${CHUNKS * CHUNK}`, chunkSize: `${CHUNK}` })
  await makeDisk(child, { parent: base })
  for (let index = 0; index < CHUNKS; index++) {
    fs.writeFileSync(join(directory, 'base.chunks', `chunk${index}`), filled(CHUNK, 1))
  }
  const listen = `nbd+unix:///?socket=${join(directory, 'socket')}`
  return serve(t, [child, '--engine', engine, '--listen', listen], { launcher })
}

/** Changes a limit of the running server. */
function limit(t: ExecutionContext, { pid }: Served, what: string) {
  return run(t, 'prlimit', ['--pid', `${pid}`, what])
}

/**
 * From here on no further file can be opened. Gaps between the numbers of the open ones are filled
 * with connections before: a limit never lies below numbers in use, but where a test lowers it.
 */
async function takeAll(t: ExecutionContext, server: Served): Promise<void> {
  await limit(t, server, '--nofile=1000:')
  for (;;) {
    const taken = fs.readdirSync(`/proc/${server.pid}/fd`).map(Number)
    let free = 0
    while (taken.includes(free)) free++
    if (free > Math.max(...taken)) return void (await limit(t, server, `--nofile=${free}:`))
    const filler = await RawClient.connect({ path: socketOf(server) })
    t.teardown(() => filler.destroy())
    await filler.greet()
  }
}

const socketOf = ({ uri }: Served): string => /socket=(.*)$/.exec(uri)?.[1] ?? ''

for (const engine of ENGINES) {
  test(`few descriptors are enough for many chunks and copies, engine ${engine}`, async (t) => {
    if (!requireTool(t, 'prlimit')) return
    const server = await serveChild(t, engine, ['prlimit', '--nofile=100:100'])
    const clients = await Promise.all([1, 2, 3].map(() => DiskClient.connect(server.uri)))
    const image = filled(CHUNKS * CHUNK, 1)
    const writes = Array.from({ length: CHUNKS }, (_, index) => {
      image.fill(2, index * CHUNK, index * CHUNK + PAGE)
      return clients[index % 3].write(index * CHUNK, filled(PAGE, 2))
    })
    await Promise.all(writes)
    sameBytes(t, await clients[0].read(0, image.length), image)
    await clients[1].flush()
    t.regex(server.log(), /"limit":100,"openChunkFilesPerDisk":50,.*the limit of open files is low/)
    await Promise.all(clients.map((client) => client.disconnect()))
    t.is(await server.stop(), 0)
  })

  test(`no descriptor left: those who are connected go on, engine ${engine}`, async (t) => {
    if (!requireTool(t, 'prlimit')) return
    const server = await serveChild(t, engine)
    const client = await DiskClient.connect(server.uri)
    await client.write(0, filled(4 * CHUNK, 2))
    await takeAll(t, server)
    // Some files are closed for those that are needed now.
    for (let index = 0; index < 16; index++) {
      sameBytes(t, await client.read(index * CHUNK, PAGE), filled(PAGE, index < 4 ? 2 : 1))
    }
    t.regex(server.log(), /too many open files: closing some/)
    await takeAll(t, server)

    const refused = await RawClient.connect({ path: socketOf(server) })
    const greeting = refused.greet().then(
      () => 'greeted',
      () => 'closed',
    )
    const [before, start] = [processorTicks(server), performance.now()]
    for (let count = 0; count < 20; count++) {
      await client.write(CHUNK, filled(PAGE, 3))
      await setTimeout(50)
    }
    // Of a hundred in a second: whoever spins takes all it can get.
    const share = (processorTicks(server) - before) / ((performance.now() - start) / 10)
    t.log(`${Math.round(100 * share)} % of a processor`)
    t.true(share < 0.6)
    await client.flush()

    await limit(t, server, '--nofile=1000:')
    t.is(await greeting, engine === 'node' ? 'closed' : 'greeted')
    refused.destroy()
    const other = await DiskClient.connect(server.uri)
    sameBytes(t, await other.read(CHUNK, PAGE), filled(PAGE, 3))
    await Promise.all([client.disconnect(), other.disconnect()])
    t.is(await server.stop(), 0)
  })
}

/** Processor time so far, in hundredths of a second. */
function processorTicks({ pid }: Served): number {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return Number(fields[11]) + Number(fields[12])
}

test('large requests for which there is no memory are refused, the rest is served', async (t) => {
  if (!requireTool(t, 'prlimit')) return
  const file = join(tempDirectory(t), 'd.chunkdisk')
  await makeDisk(file, { size: '64M', chunkSize: '64M' })
  const server = await serve(t, [file])
  const length = 32 * MIB
  const clients: RawClient[] = []
  for (let count = 0; count < 6; count++) {
    const client = await connect(server)
    // What any answer needs is there from now on.
    await client.request({ command: 1, offset: 0, length: PAGE }, filled(PAGE, 5))
    clients.push(client)
  }
  const status = fs.readFileSync(`/proc/${server.pid}/status`, 'utf8')
  const data = Number(/VmData:\s+(\d+) kB/.exec(status)?.[1]) * 1024
  await limit(t, server, `--data=${data + 60 * MIB}:`)
  const both = clients.flatMap((client) => [
    client.request({ command: 0, offset: 0, length }),
    client.request({ command: 1, offset: 0, length }, filled(length, 5)),
  ])
  const errors = (await Promise.all(both)).map((answer) => answer.error)
  t.true(errors.includes(ENOMEM), `${errors}`)
  t.true(
    errors.every((error) => error === 0 || error === ENOMEM),
    `${errors}`,
  )
  for (const client of clients) {
    const { data: bytes } = await client.request({ command: 0, offset: 0, length: PAGE })
    sameBytes(t, bytes, filled(PAGE, 5))
  }
  await limit(t, server, '--data=unlimited:')
  const { error } = await clients[0].request({ command: 0, offset: 0, length })
  t.is(error, 0)
  for (const client of clients) await client.disconnect()
  t.is(await server.stop(), 0)
})

/** Simple replies: a READ is answered in one piece. */
async function connect({ uri }: Served): Promise<RawClient> {
  const client = await RawClient.connect({ path: /socket=(.*)$/.exec(uri)?.[1] ?? '' })
  await client.handshake({ style: 'simple' })
  return client
}
