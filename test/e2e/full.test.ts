/** A file system that is full: who needs space is told so, nobody else notices, nothing is lost. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { fingerprint } from '../helpers/chunks.ts'
import type { DiskClient } from '../helpers/disk-client.ts'
import {
  CHUNK_BYTES,
  DISK_BYTES,
  describeDisk,
  InjectedStage,
  RealStage,
  type Stage,
} from '../helpers/fault-stage.ts'
import { tempDirectory } from '../helpers/temp.ts'

const PAGE = 4096
const NO_HOLE = 2
const ENOSPC = /fails with 28$/

const TMPFS = 'mount -t tmpfs -o size=6m none "$1"'
const EXT4 = `
  truncate -s 8M "$1.img"
  mkfs.ext4 -q -F -m 0 -O ^has_journal "$1.img"
  mount -o loop "$1.img" "$1"`
const URING = typeof createUringIo() === 'string' ? 'node' : 'uring'
const FILE_SYSTEMS = [
  ['tmpfs', TMPFS, 'node'],
  ['ext4', EXT4, URING],
] as const

type Body = (t: ExecutionContext, stage: Stage) => Promise<void>

/** On real file systems, and with the fault injected. @param hasParent one full of nines */
function onFullDisk(title: string, body: Body, hasParent = false): void {
  const parentOf = (t: ExecutionContext): string | undefined =>
    hasParent ? makeParent(tempDirectory(t)) : undefined
  test(`${title}, injected`, async (t) => {
    await body(t, await InjectedStage.start(t, { parent: parentOf(t) }))
  })
  for (const [name, script, engine] of FILE_SYSTEMS) {
    test(`${title}, ${name}, engine ${engine}`, async (t) => {
      const stage = await RealStage.start(t, script, { parent: parentOf(t), engine })
      if (stage === null) t.pass()
      else await body(t, stage)
    })
  }
}

/** @returns its descriptor */
function makeParent(directory: string): string {
  const part = join(directory, 'base')
  mkdirSync(part)
  for (let index = 0; index < DISK_BYTES / CHUNK_BYTES; index++) {
    writeFileSync(join(part, `chunk${index}`), filled(CHUNK_BYTES, 9))
  }
  return describeDisk(directory, part)
}

const filled = (length: number, value: number): Buffer => Buffer.alloc(length, value)

/** The fault names the file, and is not logged for each request. */
function isLogged(t: ExecutionContext, stage: Stage, name: string): void {
  const lines = stage.log().split('\n')
  const about = lines.filter((line) => line.includes(`"${join(stage.partName, name)}"`))
  t.true(about.length >= 1 && about.length <= 4, `${about.length} lines about ${name}`)
}

onFullDisk('a full file system', async (t, stage) => {
  const client = await stage.connect()
  const other = await stage.connect()
  await client.write(0, filled(CHUNK_BYTES, 1))
  await client.write(CHUNK_BYTES, filled(PAGE, 2))
  await client.flush()
  stage.fill()

  for (let count = 0; count < 50; count++) {
    await t.throwsAsync(client.write(CHUNK_BYTES + PAGE, filled(8 * PAGE, 3)), { message: ENOSPC })
  }
  await t.throwsAsync(client.write(5 * CHUNK_BYTES, filled(CHUNK_BYTES / 2, 4)), {
    message: ENOSPC,
  })
  await t.throwsAsync(client.zero(6 * CHUNK_BYTES, CHUNK_BYTES, NO_HOLE), { message: ENOSPC })
  isLogged(t, stage, 'chunk1')

  // What is there is read and written as before, by everybody.
  sameBytes(t, await other.read(0, CHUNK_BYTES), filled(CHUNK_BYTES, 1))
  sameBytes(t, await other.read(CHUNK_BYTES, PAGE), filled(PAGE, 2))
  await other.write(PAGE, filled(PAGE, 5))
  await other.flush()
  sameBytes(t, await client.read(PAGE, PAGE), filled(PAGE, 5))
  await readsOldOrNew(t, other, CHUNK_BYTES + PAGE, 8 * PAGE, 3)
  await readsOldOrNew(t, other, 5 * CHUNK_BYTES, CHUNK_BYTES / 2, 4)

  stage.free()
  await client.write(CHUNK_BYTES + PAGE, filled(8 * PAGE, 6))
  await client.write(5 * CHUNK_BYTES, filled(PAGE, 7))
  await client.zero(6 * CHUNK_BYTES, CHUNK_BYTES, NO_HOLE)
  await client.flush()
  sameBytes(t, await other.read(CHUNK_BYTES + PAGE, 8 * PAGE), filled(8 * PAGE, 6))
  await Promise.all([client.disconnect(), other.disconnect()])
  await stage.end()
})

/** Zeros up to some place, from there on or before it the bytes of a write that failed. */
async function readsOldOrNew(
  t: ExecutionContext,
  client: DiskClient,
  offset: number,
  length: number,
  value: number,
): Promise<void> {
  const bytes = await client.read(offset, length)
  const done = bytes.indexOf(0)
  const written = done < 0 ? length : done
  const expected = filled(length, 0)
  sameBytes(t, bytes, expected.fill(value, 0, written))
  t.is(written % PAGE, 0)
}

onFullDisk('a trim makes room on a full file system', async (t, stage) => {
  const client = await stage.connect()
  await client.write(0, filled(CHUNK_BYTES, 1))
  await client.write(CHUNK_BYTES, filled(PAGE, 2))
  await client.flush()
  stage.fill()
  await t.throwsAsync(client.write(2 * CHUNK_BYTES, filled(CHUNK_BYTES / 2, 3)), {
    message: ENOSPC,
  })
  await client.trim(0, CHUNK_BYTES)
  if (stage instanceof InjectedStage) stage.free()
  await client.write(2 * CHUNK_BYTES, filled(CHUNK_BYTES / 2, 4))
  await client.flush()
  sameBytes(t, await client.read(0, CHUNK_BYTES), filled(CHUNK_BYTES, 0))
  await client.disconnect()
  await stage.end()
})

onFullDisk(
  'a copy of a parent that does not fit',
  async (t, stage) => {
    const parent = join(dirname(stage.parent ?? ''), 'base')
    const before = fingerprint(parent)
    const client = await stage.connect()
    await client.write(0, filled(PAGE, 1))
    await client.flush()
    const first = filled(CHUNK_BYTES, 9).fill(1, 0, PAGE)
    const third = filled(CHUNK_BYTES, 9)
    for (const leave of [0, CHUNK_BYTES / 2]) {
      stage.fill(leave)
      await t.throwsAsync(client.write(3 * CHUNK_BYTES, filled(PAGE, 2)), { message: ENOSPC })
      await t.throwsAsync(client.trim(4 * CHUNK_BYTES, PAGE), { message: ENOSPC })
      t.deepEqual(readdirSync(stage.part), ['chunk0'], 'no half-made file stays')
      sameBytes(t, await client.read(3 * CHUNK_BYTES, CHUNK_BYTES), third)
      sameBytes(t, await client.read(0, CHUNK_BYTES), first)
      await client.write(PAGE, filled(PAGE, 1))
      first.fill(1, 0, 2 * PAGE)
      stage.free()
    }
    isLogged(t, stage, 'chunk3')
    await client.write(3 * CHUNK_BYTES, filled(PAGE, 2))
    await client.flush()
    sameBytes(t, await client.read(3 * CHUNK_BYTES, CHUNK_BYTES), third.fill(2, 0, PAGE))
    await client.disconnect()
    await stage.end()
    t.is(fingerprint(parent), before)
  },
  true,
)
