import fs from 'node:fs'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { DiskFolder, nodeFiles, sameAsImage } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'

const EIO = 5
const SIZE = 131_072

async function makeChain(t: ExecutionContext): Promise<DiskFolder> {
  const folder = new DiskFolder(t)
  folder.make('base', { size: SIZE, parts: { p: 1, q: 1 } })
  folder.make('child', { size: SIZE, parts: { r: 2 }, parent: 'base' })
  const { client, disk } = await folder.open('base')
  await client.write(0, new Uint8Array(SIZE).fill(7))
  await disk.close()
  fs.writeFileSync(folder.path('r', '.tmp-chunk0'), '')
  return folder
}

function failNth(files: TestFiles, n: number): { hit: string } {
  const state = { hit: '' }
  let count = 0
  files.fault = (call) => {
    if (++count !== n) return 0
    state.hit = call
    return EIO
  }
  return state
}

for (const readOnly of [false, true]) {
  test(`any call may fail while opening a ${readOnly ? 'reader' : 'writer'}`, async (t) => {
    const folder = await makeChain(t)
    for (let n = 1; ; n++) {
      const files = new TestFiles(nodeFiles())
      const state = failNth(files, n)
      const opening = folder.open('child', { readOnly }, files)
      const failed = await opening.then(
        () => false,
        (error: Error) => error.message.includes(state.hit.split(' ')[1]),
      )
      if (state.hit === '') {
        t.true(n > 15)
        await (await opening).disk.close()
        return
      }
      t.true(failed, `${state.hit} failed and nobody was told`)
      t.is(files.openNames.size, 0, state.hit)
      t.deepEqual(folder.openDescriptors(), [], state.hit)
    }
  })
}

test('any call may fail while closing, and everything is closed all the same', async (t) => {
  for (let n = 1; ; n++) {
    const folder = await makeChain(t)
    const files = new TestFiles(nodeFiles())
    files.syncs = false
    const { client, disk } = await folder.open('child', {}, files)
    await client.write(0, new Uint8Array(SIZE).fill(9))
    const state = failNth(files, n)
    const closed = await disk.close().then(
      () => 'closed',
      (error: { code: string }) => error.code,
    )
    t.is(closed, state.hit.startsWith('sync') ? 'ESYNC' : 'closed', state.hit)
    t.is(files.openNames.size, 0, state.hit)
    t.deepEqual(folder.openDescriptors(), [], state.hit)
    const again = await folder.open('child')
    await sameAsImage(again.client, new Uint8Array(SIZE).fill(9))
    await again.disk.close()
    if (state.hit !== '') continue
    t.true(n > 5)
    return
  }
})
