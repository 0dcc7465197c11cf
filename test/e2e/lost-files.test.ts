/**
 * Files and directories that go away or change their mode under the server: who needs them gets an
 * error and the log names them, everybody else goes on, and what was there never reads as zeros.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { CHUNK_BYTES, RealStage } from '../helpers/fault-stage.ts'
import { serve, type Served } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { findTool } from '../helpers/tools.ts'

const PAGE = 4096
const CHUNK = 65_536
const [EPERM, EIO] = [1, 5]
const failsWith = (error: number) => ({ message: new RegExp(`fails with ${error}$`) })
const filled = (length: number, value: number): Buffer => Buffer.alloc(length, value)

interface Scene {
  readonly server: Served
  readonly client: DiskClient
  readonly part: string
}

/** A served disk of 16 chunks full of ones, none of which is open. */
async function open(t: ExecutionContext, launcher: readonly string[] = []): Promise<Scene> {
  const directory = tempDirectory(t)
  const file = join(directory, 'd.chunkdisk')
  await makeDisk(file, { size: `${16 * CHUNK}`, chunkSize: `${CHUNK}` })
  const part = join(directory, 'd.chunks')
  for (let index = 0; index < 16; index++) {
    fs.writeFileSync(join(part, `chunk${index}`), filled(CHUNK, 1))
  }
  const listen = `nbd+unix:///?socket=${join(directory, 'socket')}`
  const server = await serve(t, [file, '--listen', listen], { launcher })
  const client = await DiskClient.connect(server.uri)
  return { server, client, part }
}

/** Two other chunks are read, written and made durable. */
async function restGoesOn(t: ExecutionContext, { client, server }: Scene): Promise<void> {
  sameBytes(t, await client.read(8 * CHUNK, CHUNK), filled(CHUNK, 1))
  await client.write(9 * CHUNK, filled(PAGE, 2))
  await client.flush()
  sameBytes(t, await client.read(9 * CHUNK, PAGE), filled(PAGE, 2))
  await client.disconnect()
  t.is(await server.stop(), 0)
}

test('a chunk file that is deleted or cut short is an I/O error, never zeros', async (t) => {
  const scene = await open(t)
  const { client, server, part } = scene
  fs.rmSync(join(part, 'chunk1'))
  fs.truncateSync(join(part, 'chunk2'), PAGE)
  for (const index of [1, 2]) {
    await t.throwsAsync(client.read(index * CHUNK, CHUNK), failsWith(EIO))
    await t.throwsAsync(client.write(index * CHUNK, filled(PAGE, 2)), failsWith(EIO))
    await t.throwsAsync(client.trim(index * CHUNK, CHUNK), failsWith(EIO))
    await server.logged(new RegExp(`"file":"[^"]*/chunk${index}".*cannot be opened|wrong size`))
  }
  // Cut while it is open.
  await client.read(3 * CHUNK, PAGE)
  fs.truncateSync(join(part, 'chunk3'), 2 * PAGE)
  await t.throwsAsync(client.read(3 * CHUNK, CHUNK), failsWith(EIO))
  await server.logged(/"file":"[^"]*\/chunk3".*shorter than its chunk/)
  sameBytes(t, await client.read(3 * CHUNK, PAGE), filled(PAGE, 1))
  await restGoesOn(t, scene)
})

test('a part directory that is renamed: nothing is written at its old path', async (t) => {
  const scene = await open(t)
  const { client, server, part } = scene
  await client.trim(5 * CHUNK, CHUNK)
  fs.renameSync(part, `${part}.away`)
  fs.mkdirSync(part)
  await t.throwsAsync(client.read(CHUNK, PAGE), failsWith(EIO))
  await t.throwsAsync(client.write(CHUNK, filled(PAGE, 2)), failsWith(EIO))
  t.deepEqual(fs.readdirSync(part), [])
  await server.logged(/"file":"[^"]*\/chunk1","errno":5,"code":"ESTALE"/)
  fs.rmdirSync(part)
  await t.throwsAsync(client.write(2 * CHUNK, filled(PAGE, 2)), failsWith(EIO))
  fs.renameSync(`${part}.away`, part)
  sameBytes(t, await client.read(CHUNK, PAGE), filled(PAGE, 1))
  await client.write(CHUNK, filled(PAGE, 2))
  await restGoesOn(t, scene)
})

test('files without permission are read if they may be, and never written', async (t) => {
  // As root the server would be allowed everything.
  const isRoot = process.getuid?.() === 0
  if (isRoot && findTool('setpriv') === null) {
    t.log('SKIPPED: no setpriv')
    return t.pass()
  }
  const scene = await open(t, isRoot ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [])
  const { client, server, part } = scene
  const [none, readable] = [join(part, 'chunk1'), join(part, 'chunk2')]
  fs.chmodSync(none, 0)
  fs.chmodSync(readable, 0o400)
  await t.throwsAsync(client.read(CHUNK, PAGE), failsWith(EIO))
  await t.throwsAsync(client.write(CHUNK, filled(PAGE, 2)), failsWith(EPERM))
  await t.throwsAsync(client.trim(CHUNK, CHUNK), failsWith(EPERM))
  await server.logged(/"file":"[^"]*\/chunk1".*cannot be opened/)
  sameBytes(t, await client.read(2 * CHUNK, CHUNK), filled(CHUNK, 1))
  await t.throwsAsync(client.write(2 * CHUNK, filled(PAGE, 2)), failsWith(EPERM))
  await t.throwsAsync(client.trim(2 * CHUNK, PAGE), failsWith(EPERM))
  await server.logged(/"file":"[^"]*\/chunk2".*cannot be opened for writing/)
  sameBytes(t, await client.read(2 * CHUNK, CHUNK), filled(CHUNK, 1))
  fs.chmodSync(none, 0o600)
  fs.chmodSync(readable, 0o600)
  await client.write(CHUNK, filled(PAGE, 3))
  await client.write(2 * CHUNK, filled(PAGE, 3))
  await restGoesOn(t, scene)
  return undefined
})

test('a file system that becomes read-only is read, and written again when it may', async (t) => {
  const stage = await RealStage.start(t, 'mount -t tmpfs -o size=20m none "$1"')
  if (stage === null) return t.pass()
  const before = await stage.connect()
  await before.write(0, filled(2 * CHUNK_BYTES, 1))
  await before.disconnect()
  t.is(await stage.server.stop(), 0)
  // No file is open for writing: only then it may be remounted.
  await stage.restart()
  await stage.mounted.run('mount -o remount,ro "$1"')
  const client = await stage.connect()
  sameBytes(t, await client.read(0, CHUNK_BYTES), filled(CHUNK_BYTES, 1))
  await t.throwsAsync(client.write(0, filled(PAGE, 2)), failsWith(EPERM))
  await t.throwsAsync(client.write(5 * CHUNK_BYTES, filled(PAGE, 2)), failsWith(EPERM))
  await t.throwsAsync(client.trim(CHUNK_BYTES, CHUNK_BYTES), failsWith(EPERM))
  sameBytes(t, await client.read(0, CHUNK_BYTES), filled(CHUNK_BYTES, 1))
  sameBytes(t, await client.read(5 * CHUNK_BYTES, PAGE), filled(PAGE, 0))
  t.regex(stage.log(), /"file":"[^"]*\/chunk0".*cannot be opened for writing/)
  t.regex(stage.log(), /"file":"[^"]*\/chunk5".*cannot be created/)
  await client.flush()
  await stage.mounted.run('mount -o remount,rw "$1"')
  await client.write(0, filled(PAGE, 2))
  await client.write(5 * CHUNK_BYTES, filled(PAGE, 2))
  await client.trim(CHUNK_BYTES, CHUNK_BYTES)
  await client.disconnect()
  await stage.end()
  return undefined
})

const EXT4 = `
  truncate -s 32M "$1.img"
  mkfs.ext4 -q -F -m 0 "$1.img"
  losetup -f --show "$1.img" >"$1.loop"
  mount -o errors=remount-ro "$(cat "$1.loop")" "$1"
  losetup -d "$(cat "$1.loop")"`

test('a part that is unmounted: nothing is written below its mount point', async (t) => {
  const stage = await RealStage.start(t, EXT4)
  if (stage === null) return t.pass()
  const client = await stage.connect()
  await client.write(0, filled(PAGE, 1))
  await stage.mounted.run('umount -l "$1" && mkdir -p "$1/part"')
  await t.throwsAsync(client.write(3 * CHUNK_BYTES, filled(PAGE, 2)), failsWith(EIO))
  t.deepEqual(fs.readdirSync(stage.part), [])
  t.regex(stage.log(), /chunk3".*part directory [^ ]*\/part is not the one that was opened/)
  // What is open is still there, and synced.
  await client.write(PAGE, filled(PAGE, 1))
  await client.flush()
  sameBytes(t, await client.read(0, 2 * PAGE), filled(2 * PAGE, 1))

  await stage.mounted.run('rmdir "$1/part" && mount "$(cat "$1.loop")" "$1"')
  await client.write(3 * CHUNK_BYTES, filled(PAGE, 2))
  await client.flush()
  await client.disconnect()
  await stage.end()
  return undefined
})

test('a file system that the kernel makes read-only after an error', async (t) => {
  const stage = await RealStage.start(t, EXT4)
  if (stage === null) return t.pass()
  const client = await stage.connect()
  await client.write(0, filled(CHUNK_BYTES, 1))
  await client.flush()
  await client.write(CHUNK_BYTES, filled(PAGE, 2))
  await stage.mounted.run('echo 1 >"/sys/fs/ext4/$(basename "$(cat "$1.loop")")/trigger_fs_error"')
  await t.throwsAsync(client.flush(), failsWith(EIO))
  await t.throwsAsync(client.write(0, filled(PAGE, 3)), failsWith(EIO))
  await t.throwsAsync(client.write(4 * CHUNK_BYTES, filled(PAGE, 3)), failsWith(EIO))
  t.regex(stage.log(), /sync failed: the disk refuses writes/)
  sameBytes(t, await client.read(0, CHUNK_BYTES), filled(CHUNK_BYTES, 1))
  await client.disconnect()
  t.is(await stage.server.stop(), 1)
  return undefined
})
