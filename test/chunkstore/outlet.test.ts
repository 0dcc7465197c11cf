/** What a chunk disk gives away straight from its files, and what it does not. */
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { DONE, PENDING } from '../../device/device.ts'
import type { FileOutlet } from '../../device/device.ts'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import { DiskFolder, nodeFiles, systemCalls } from '../helpers/chunk-disk.ts'
import { Random, seedFor } from '../helpers/random.ts'
import fs from 'node:fs'

const CHUNK = 1024 * 1024
const LENGTH = 256 * 1024
const withCalls = systemCalls === null ? test.skip : test

/** Notes what it is offered, and where it lies. */
class Notes implements FileOutlet {
  readonly notes: { readonly file: string; readonly position: number; readonly length: number }[] =
    []
  readonly #answer: boolean

  constructor(answer = true) {
    this.#answer = answer
  }

  take(fd: number, position: number, length: number): boolean {
    const file = fs.readlinkSync(`/proc/self/fd/${fd}`).split('/').at(-1) ?? ''
    this.notes.push({ file, position, length })
    return this.#answer
  }
}

async function open(t: ExecutionContext) {
  const folder = new DiskFolder(t)
  folder.make('a', { size: 4 * CHUNK, chunkSize: CHUNK })
  const { disk, client } = await folder.open('a', {}, nodeFiles())
  const data = new Random(seedFor(t)).bytes(2 * CHUNK)
  await client.write(0, data)
  const read = (offset: number, outlet: FileOutlet, length = LENGTH) => {
    const buffer = new Uint8Array(length)
    const extents = new ExtentList(16)
    const request = {
      offset,
      length,
      flags: 0,
      buffer,
      bufferOffset: 0,
      extents,
      errorOffset: 0,
      outlet,
    }
    return new Promise<{ buffer: Uint8Array; extents: ExtentList }>((resolve, reject) => {
      const end = (status: number): void => {
        if (status === DONE) resolve({ buffer, extents })
        else reject(new Error(`errno ${status}`))
      }
      const status = disk.read({ ...request, complete: end })
      disk.submit()
      if (status !== PENDING) end(status)
    })
  }
  const isCached = systemCalls?.isCached.bind(systemCalls)
  const hasCachestat = (): boolean => {
    const fd = fs.openSync(folder.path('a', 'chunk0'), 'r')
    fs.readSync(fd, new Uint8Array(LENGTH))
    const answer = isCached?.(fd, 0, LENGTH) === true
    fs.closeSync(fd)
    return answer
  }
  return { folder, client, read, data, hasCachestat }
}

withCalls('a read inside a chunk is given away, with its place in the file', async (t) => {
  const { read, hasCachestat } = await open(t)
  const outlet = new Notes()
  let { buffer, extents } = await read(CHUNK + 8192, outlet)
  // A kernel may take pages back at any time; a read that was not given away brings them in.
  for (let tries = 20; tries > 0 && outlet.notes.length === 0 && hasCachestat(); tries--) {
    ;({ buffer, extents } = await read(CHUNK + 8192, outlet))
  }
  if (!hasCachestat()) {
    t.log('no cachestat here: nothing is given away')
    t.is(outlet.notes.length, 0)
    return
  }
  t.deepEqual(outlet.notes, [{ file: 'chunk1', position: 8192, length: LENGTH }])
  t.true(
    buffer.every((byte) => byte === 0),
    'nothing was read',
  )
  t.is(extents.count, 1)
  t.is(extents.flagsAt(0), ExtentFlag.DATA)
})

withCalls('what is not taken is read', async (t) => {
  const { read, data } = await open(t)
  const { buffer } = await read(8192, new Notes(false))
  t.true(Buffer.from(data.subarray(8192, 8192 + LENGTH)).equals(buffer))
})

withCalls(
  'a read of two chunks, of a hole, or of nothing there is, is not given away',
  async (t) => {
    const { read, data, client } = await open(t)
    const outlet = new Notes()
    const { buffer } = await read(CHUNK - 4096, outlet)
    t.true(Buffer.from(data.subarray(CHUNK - 4096, CHUNK - 4096 + LENGTH)).equals(buffer))
    await read(3 * CHUNK, outlet)
    await client.trim(CHUNK + 8192, 128 * 1024)
    await read(CHUNK + 4096, outlet)
    t.deepEqual(outlet.notes, [])
  },
)
