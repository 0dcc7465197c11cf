/** `serve --lock-files`: other systems see what is in use, and nothing of it stays by mistake. */
import fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve, type Served } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const OPTION = '--lock-files'

/** `child.chunkdisk` on `base.chunkdisk`, each with a part beside it. */
async function makeChain(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  const base = join(directory, 'base.chunkdisk')
  await makeDisk(base, { size: '1M', chunkSize: '64K' })
  await makeDisk(join(directory, 'child.chunkdisk'), { parent: base })
  return directory
}

/** What the lock files in the parts of base and child say, or null. */
function locks(directory: string): (string | null)[] {
  return ['base', 'child'].map((name) => {
    const file = join(directory, `${name}.chunks`, '.lock')
    if (!fs.existsSync(file)) return null
    return (JSON.parse(fs.readFileSync(file, 'utf8')) as { access: string }).access
  })
}

async function writes({ uri }: Served): Promise<void> {
  const client = await DiskClient.connect(uri)
  await client.write(0, new Uint8Array(4096).fill(1))
  await client.disconnect()
}

test('--lock-files: gone after SIGTERM, but for the base, which cannot be written', async (t) => {
  const directory = await makeChain(t)
  const start = (...args: string[]): Promise<Served> => serve(t, args, { cwd: directory })
  const server = await start('child.chunkdisk', OPTION)
  await writes(server)
  t.deepEqual(locks(directory), ['read', 'write'])
  t.is(await server.stop(), 0)
  t.deepEqual(locks(directory), ['read', null])
  t.deepEqual(fs.readdirSync(join(directory, 'child.chunks')), ['chunk0'])
  const message = new RegExp(`base\\.chunks/\\.lock exists: ${os.hostname()} served the disk for`)
  for (const more of [[], [OPTION]]) {
    await t.throwsAsync(start('base.chunkdisk', ...more), { message })
  }
  const reader = await start('base.chunkdisk', '--read-only')
  t.is(await reader.stop(), 0)
  fs.rmSync(join(directory, 'base.chunks', '.lock'))
  const writer = await start('base.chunkdisk', OPTION)
  t.deepEqual(locks(directory), ['write', null])
  t.is(await writer.stop(), 0)
  t.deepEqual(locks(directory), [null, null])
})

test('--lock-files: a server that cannot listen leaves none', async (t) => {
  const directory = await makeChain(t)
  const listen = ['--listen', 'nbd+unix:///?socket=/nonexistent/socket']
  await t.throwsAsync(serve(t, ['child.chunkdisk', OPTION, ...listen], { cwd: directory }))
  t.deepEqual(locks(directory), ['read', null])
  t.deepEqual(fs.readdirSync(join(directory, 'child.chunks')), [])
})

test('--lock-files: kill -9 leaves one, which this machine takes over, no other', async (t) => {
  const directory = await makeChain(t)
  const lock = join(directory, 'child.chunks', '.lock')
  const first = await serve(t, ['child.chunkdisk', OPTION], { cwd: directory })
  await writes(first)
  await first.kill()
  const left = fs.readFileSync(lock, 'utf8')
  t.like(JSON.parse(left), { access: 'write', process: first.pid, host: os.hostname() })
  const second = await serve(t, ['child.chunkdisk', OPTION], { cwd: directory })
  await second.logged(/lock file of a server that was killed: taken over/)
  t.true(second.log().includes(lock))
  t.like(JSON.parse(fs.readFileSync(lock, 'utf8')), { process: second.pid })
  t.is(await second.stop(), 0)
  t.deepEqual(locks(directory), ['read', null])
  const elsewhere = { ...(JSON.parse(left) as object), host: 'nas', machine: 'x', boot: 'y' }
  fs.writeFileSync(lock, JSON.stringify(elsewhere))
  const message = new RegExp(
    `\\.lock exists: nas is writing to the disk \\(process ${first.pid}\\)`,
  )
  for (const more of [[OPTION], ['--read-only']]) {
    await t.throwsAsync(serve(t, ['child.chunkdisk', ...more], { cwd: directory }), { message })
  }
})
