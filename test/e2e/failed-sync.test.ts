/**
 * A disk that loses what it took: after the first sync that fails nobody is ever told again that a
 * change was done, on whatever connection, until the disk is served anew.
 *
 * The real one is an image on a file system that is too small for it, as thin provisioning has it.
 */
import test, { type ExecutionContext } from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { tryChunknbd } from '../helpers/chunks.ts'
import type { DiskClient } from '../helpers/disk-client.ts'
import { CHUNK_BYTES, InjectedStage, RealStage, type Stage } from '../helpers/fault-stage.ts'
import { tempDirectory } from '../helpers/temp.ts'

const PAGE = 4096
const FUA = 1
const EIO = { message: /fails with 5$/ }
const THIN = `
  mkdir "$1.d"
  mount -t tmpfs -o size=6m none "$1.d"
  truncate -s 32M "$1.d/image"
  mkfs.ext4 -q -F -m 0 -O ^has_journal -E lazy_itable_init=1,nodiscard "$1.d/image"
  mount -o loop "$1.d/image" "$1"`

const filled = (length: number, value: number): Buffer => Buffer.alloc(length, value)

/** Every change and flush fails, reads do not. */
async function isRefused(t: ExecutionContext, client: DiskClient): Promise<void> {
  await t.throwsAsync(client.flush(), EIO)
  await t.throwsAsync(client.write(0, filled(PAGE, 9)), EIO)
  await t.throwsAsync(client.write(100, filled(5, 9), FUA), EIO)
  await t.throwsAsync(client.trim(0, CHUNK_BYTES), EIO)
  await t.throwsAsync(client.zero(CHUNK_BYTES, PAGE), EIO)
  await t.throwsAsync(client.flush(), EIO)
  sameBytes(t, await client.read(0, PAGE), filled(PAGE, 1))
}

/** @param breakDisk lets the next sync fail, and no later one if that can be had */
async function staysFailed(
  t: ExecutionContext,
  stage: Stage,
  breakDisk: (client: DiskClient) => Promise<void>,
): Promise<void> {
  const [one, two, three] = [await stage.connect(), await stage.connect(), await stage.connect()]
  await one.write(0, filled(PAGE, 1))
  await one.flush()
  await three.write(2 * CHUNK_BYTES, filled(PAGE, 3))
  await breakDisk(one)

  await t.throwsAsync(one.flush(), EIO)
  await isRefused(t, one)
  await isRefused(t, two)
  await one.disconnect()
  await isRefused(t, await stage.connect())
  t.regex(stage.log(), /"file":"[^"]*\/part\/chunk\d+".*sync failed: the disk refuses writes/)

  t.notRegex(stage.log(), /flush at disconnect failed/)
  await three.disconnect()
  t.regex(stage.log(), /flush at disconnect failed/)
  const info = await tryChunknbd(t, ['info', stage.uri], tempDirectory(t))
  t.regex(info.stdout, /FAILED: a sync failed, changes are refused/)
  await two.disconnect()
}

test('after a failed sync nobody is told of success, injected', async (t) => {
  const stage = await InjectedStage.start(t)
  await staysFailed(t, stage, async (client) => {
    await client.write(CHUNK_BYTES, filled(PAGE, 2))
    let count = 0
    stage.files.fault = (call) => (call === 'sync chunk1' && count++ === 0 ? 5 : 0)
  })
  await stage.end({ status: 1 })
})

for (const engine of ['node', 'auto']) {
  test(`after a failed sync nobody is told of success, engine ${engine}`, async (t) => {
    const stage = await RealStage.start(t, THIN, { engine })
    if (stage === null) return t.pass()
    await staysFailed(t, stage, async (client) => {
      for (let index = 1; index < 8; index++) {
        await client.write(index * CHUNK_BYTES, filled(CHUNK_BYTES, 2))
      }
    })
    await stage.end({ status: 1 })
    t.regex(stage.log(), /could not be synced/)
    // There is room again: served anew, it works.
    await stage.mounted.run('mount -o remount,size=40m "$1.d"')
    await stage.restart()
    const client = await stage.connect()
    await client.write(0, filled(PAGE, 4))
    await client.flush()
    sameBytes(t, await client.read(0, PAGE), filled(PAGE, 4))
    await client.disconnect()
    await stage.end()
    return undefined
  })
}

test('a disk that cannot read a part of it: that part is an I/O error', async (t) => {
  const stage = await RealStage.start(t, THIN)
  if (stage === null) return t.pass()
  const client = await stage.connect()
  for (let index = 0; index < 3; index++) {
    await client.write(index * CHUNK_BYTES, filled(CHUNK_BYTES, index + 1))
  }
  await client.disconnect()
  await stage.end()
  // Nothing of the chunks is in memory any more, and the end of the image is gone.
  await stage.mounted.run(`
    umount "$1"
    loop=$(losetup -f --show "$1.d/image")
    mount "$loop" "$1"
    python3 -c 'import os, sys
os.posix_fadvise(os.open(sys.argv[1], os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$loop"
    cut=$(filefrag -v -b512 "$1/part/chunk1" | awk '$1 == "0:" { print $4 * 512 }' | tail -1)
    truncate -s "$cut" "$1.d/image"
    losetup -d "$loop"`)
  await stage.restart()
  const reader = await stage.connect()
  let failed = 0
  for (let at = 0; at < 3 * CHUNK_BYTES; at += PAGE) {
    const bytes = await reader.read(at, PAGE).catch((error: Error) => {
      t.regex(error.message, EIO.message)
      failed++
      return null
    })
    if (bytes !== null) sameBytes(t, bytes, filled(PAGE, 1 + Math.floor(at / CHUNK_BYTES)))
  }
  t.true(failed > 0 && failed < (3 * CHUNK_BYTES) / PAGE, `${failed} pages failed`)
  const told = stage
    .log()
    .split('\n')
    .filter((line) => line.includes('cannot be read'))
  t.true(told.length > 0 && told.length < 10, `${told.length} lines`)
  t.regex(told[0], /"file":"[^"]*\/part\/chunk\d","errno":5/)
  await reader.disconnect()
  return undefined
})
