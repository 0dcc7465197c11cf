/** A resize that fails, or is cut off, at any call: the disk has the old size or the new one. */
import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import { DiskError } from '../../chunkstore/disk-error.ts'
import { repairDisk } from '../../chunkstore/repair.ts'
import type { ResizeOptions } from '../../chunkstore/resize.ts'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const CHUNK = 8192
const PAGE = 4096
const EIO = 5
const SIZE = 4.5 * CHUNK
const LARGEST = 8 * CHUNK

interface Case {
  readonly name: string
  readonly options: Partial<ResizeOptions> & { readonly size: number }
  /** Pages with data. */
  readonly pages: readonly number[]
  readonly callsMin: number
}

const CASES: readonly Case[] = [
  { name: 'growing', options: { size: 7 * CHUNK }, pages: [0, 3, 8], callsMin: 10 },
  { name: 'shrinking', options: { size: 1.5 * CHUNK }, pages: [0, 2], callsMin: 15 },
  {
    name: 'cutting data off',
    options: { size: 1.5 * CHUNK, discardTail: true },
    pages: [0, 2, 3, 5, 7, 8],
    callsMin: 15,
  },
]

/** Grown, it would show garbage: behind the end, where nobody reads. */
function makeDisk(folder: DiskFolder, { pages }: Case): void {
  folder.make('a', { size: SIZE, chunkSize: CHUNK })
  for (let index = 0; index < 5; index++) {
    const data = Buffer.alloc(CHUNK)
    for (const page of pages) {
      if (Math.floor(page / 2) === index)
        data.fill(page + 1, (page % 2) * PAGE, PAGE + (page % 2) * PAGE)
    }
    if (index === 4) data.fill(99, CHUNK / 2)
    fs.writeFileSync(folder.path('a', `chunk${index}`), data)
  }
}

function imageOf({ pages }: Case, size: number, cut: number): Uint8Array {
  const image = new Uint8Array(size)
  for (const page of pages) image.fill(page + 1, page * PAGE, (page + 1) * PAGE)
  return image.fill(0, cut)
}

/** Opens it as anybody would, and grows it: it has one of both sizes, and all its data. */
async function isWhole(t: ExecutionContext, folder: DiskFolder, each: Case, what: string) {
  const { disk, client } = await folder.open('a')
  const { size } = disk
  t.true([SIZE, each.options.size].includes(size), `${what}: size ${size}`)
  await sameAsImage(client, imageOf(each, size, size))
  const growing = disk.resize({ size: LARGEST })
  const strangers = await growing.then(
    () => false,
    (error: Error) => error.message.includes('check --repair'),
  )
  await disk.close()
  if (strangers) {
    const { mends, findings } = await repairDisk(nodeFiles(), disk.file)
    t.deepEqual(findings, [], what)
    t.true(mends.length > 0 && each.options.discardTail === true, what)
  } else await growing
  const again = await folder.open('a')
  await again.disk.resize({ size: LARGEST })
  await sameAsImage(again.client, imageOf(each, LARGEST, size))
  await again.disk.close()
  return size
}

for (const each of CASES) {
  for (const lasting of [false, true]) {
    test(`${each.name}, ${lasting ? 'cut off' : 'failing'} at any call`, async (t) => {
      const sizes = new Set<number>()
      for (let n = 1; ; n++) {
        const folder = new DiskFolder(t)
        makeDisk(folder, each)
        const files = Object.assign(new TestFiles(nodeFiles()), { syncs: false })
        const { disk, client } = await folder.open('a', {}, files)
        let count = 0
        let hit = ''
        files.fault = (call) => {
          if (++count < n || (!lasting && hit !== '')) return 0
          if (hit === '') hit = call
          return EIO
        }
        const error = await disk.resize(each.options).then(
          () => null,
          (failure: Error) => failure,
        )
        if (!lasting) {
          files.fault = () => 0
          const isFinal = error instanceof DiskError && error.code === 'ESYNC'
          t.is(disk.size, error === null ? each.options.size : SIZE, hit)
          await sameAsImage(client, imageOf(each, disk.size, disk.size))
          const writing = client.write(0, new Uint8Array(PAGE).fill(1))
          if (isFinal) await t.throwsAsync(writing, { message: /errno 5/ }, hit)
          else await writing
        }
        await disk.close().catch(() => {})
        t.is(files.openNames.size, 0, hit)
        sizes.add(await isWhole(t, folder, each, hit))
        fs.rmSync(folder.directory, { recursive: true })
        if (hit !== '') continue
        t.true(n > each.callsMin, `${n} calls`)
        t.deepEqual([...sizes].sort(), [SIZE, each.options.size].sort())
        return
      }
    })
  }
}

test('where nobody knows whether the new descriptor is durable, the disk fails', async (t) => {
  for (const each of CASES) {
    const folder = new DiskFolder(t)
    makeDisk(folder, each)
    const files = new TestFiles(nodeFiles())
    const replace = files.replaceText.bind(files)
    files.replaceText = async (file, text) => {
      await replace(file, text)
      throw new Error('EIO: the directory cannot be synced')
    }
    const { disk, client, messages } = await folder.open('a', {}, files)
    const error = await t.throwsAsync(disk.resize(each.options), { code: 'ESYNC' })
    t.regex(error.message, /old or the new size survives a power loss: EIO: the directory/)
    t.is(messages.length, 1)
    t.regex(messages[0], /^replacing the descriptor failed half-way: the disk refuses writes/)
    // What it would have cut off is still there, and nothing is added to it.
    await sameAsImage(client, imageOf(each, SIZE, SIZE))
    await t.throwsAsync(client.write(0, new Uint8Array(PAGE)), { message: /errno 5 at 0/ })
    await t.throwsAsync(client.flush(), { message: /errno 5/ })
    await t.throwsAsync(disk.resize(each.options), {
      code: 'ESYNC',
      message: /open the disk again/,
    })
    await t.throwsAsync(disk.close(), { code: 'ESYNC' })
    t.is(await isWhole(t, folder, each, each.name), each.options.size)
  }
})
