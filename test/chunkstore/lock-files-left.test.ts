/** Lock files: what fails, what a crash leaves, and who removes it. */
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import test from 'ava'
import { commitDisk } from '../../chunkstore/commit.ts'
import { flattenDisk } from '../../chunkstore/flatten.ts'
import { nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'
import {
  ELSEWHERE,
  filesOf,
  killed,
  locked,
  lockIn,
  makeChain,
  MAKE,
  READ,
  refused,
} from './locked-chain.ts'

const EROFS = 30
const EACCES = 13
const EIO = 5

for (const [title, identity] of [
  ['the same machine, not started anew', {}],
  ['the same machine, started anew', { boot: ELSEWHERE.boot }],
  ['the same kernel, in a container of another name', { host: 'pod', machine: '' }],
] as const) {
  test(`a lock file left behind is taken over: ${title}`, async (t) => {
    const folder = makeChain(t)
    const files = filesOf({ machine: '0'.repeat(32) })
    const { disk } = await folder.open('child', MAKE, files)
    const text = fs.readFileSync(folder.path('c', '.lock'))
    await disk.close()
    for (const options of [MAKE, {}]) {
      fs.writeFileSync(folder.path('c', '.lock'), text)
      const later = filesOf({ machine: '0'.repeat(32), ...identity })
      const opened = await folder.open('child', options, later)
      t.deepEqual(opened.messages, ['lock file of a server that was killed: taken over'])
      t.is(fs.existsSync(folder.path('c', '.lock')), options === MAKE)
      t.notDeepEqual(lockIn(folder, 'c'), JSON.parse(text.toString()))
      await opened.disk.close()
      t.deepEqual(folder.list('c'), [])
    }
  })
}

test('a reader turns a lock file left behind into one that stays, if it makes any', async (t) => {
  const folder = makeChain(t)
  await killed(folder, 'child')
  const before = folder.fingerprint('c')
  const plain = await folder.open('child', { readOnly: true })
  await plain.disk.close()
  t.deepEqual(folder.fingerprint('c'), before)
  const { disk, messages } = await folder.open('child', READ)
  await disk.close()
  t.is(messages.length, 2)
  t.like(lockIn(folder, 'c'), { access: 'read' })
  t.deepEqual(folder.list('c').length, 1, 'nothing temporary stays')
})

test('an open that fails leaves no lock file in its own parts', async (t) => {
  const folder = makeChain(t)
  for (const part of ['c', 'd']) fs.writeFileSync(folder.path(part, 'chunk3'), '')
  await t.throwsAsync(folder.open('child', MAKE), { message: /chunk 3 exists twice/ })
  t.deepEqual(locked(folder), ['b'])
  fs.rmSync(folder.path('base.chunkdisk'))
  await t.throwsAsync(folder.open('child', MAKE), { message: /there is no such file/ })
  t.deepEqual(locked(folder), ['b'])
  t.deepEqual(folder.openDescriptors(), [])
})

test('any call may fail while opening with lock files, and none of its own stays', async (t) => {
  for (const left of [false, true]) {
    for (let n = 1, hit = 'first'; hit !== ''; n++) {
      const folder = makeChain(t)
      if (left) await killed(folder, 'child')
      const files = new TestFiles(nodeFiles())
      let count = 0
      hit = ''
      files.fault = (call) => {
        if (++count !== n) return 0
        hit = call
        return EIO
      }
      const opened = await folder.open('child', MAKE, files).catch((error: Error) => error)
      files.fault = () => 0
      if (hit !== '') t.true(opened instanceof Error, hit)
      if (opened instanceof Error)
        t.true(opened.message.includes(hit.split(' ')[1]), opened.message)
      else await opened.disk.close()
      const stays = ['c', 'd'].filter((part) => lockIn(folder, part)?.access === 'write')
      if (!left) t.deepEqual(stays, [], hit)
      t.deepEqual(folder.openDescriptors(), [], hit)
      const again = await folder.open('child', MAKE)
      await again.disk.close()
      t.deepEqual([...folder.list('c'), ...folder.list('d')], [], hit)
    }
  }
})

test('where one cannot be made that is said, and what can be done', async (t) => {
  for (const [part, options, fix] of [
    ['c', MAKE, /\/c\/\.lock cannot be made: .*; make the directory writable, or leave out/],
    ['b', MAKE, /\/b\/\.lock cannot be made: .*writable, put an empty file there, or leave out/],
    ['c', READ, /\/c\/\.lock cannot be made: .*put an empty file there.* --lock-files$/],
  ] as const) {
    const folder = makeChain(t)
    const files = new TestFiles(nodeFiles())
    const before = { c: 0, b: options === READ ? 0 : 2 }[part]
    let made = 0
    files.fault = (call) => (call === 'createText .lock' && made++ === before ? EACCES : 0)
    await t.throwsAsync(folder.open('child', options, files), { code: 'EPART', message: fix })
    fs.writeFileSync(folder.path('b', '.lock'), '')
    if (part === 'b') await (await folder.open('child', options)).disk.close()
  }
})

test('read-only media need no lock file', async (t) => {
  const folder = makeChain(t)
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'createText .lock' ? EROFS : 0)
  const { disk, messages } = await folder.open('child', READ, files)
  t.is(messages.length, 3)
  for (const each of messages) t.regex(each, /^read-only file system: no lock file/)
  await disk.close()
  const message = /\/c\/\.lock cannot be made: EROFS/
  await t.throwsAsync(folder.open('child', MAKE, files), { code: 'EPART', message })
})

test('at the end only the file that was made here is removed', async (t) => {
  const folder = makeChain(t)
  const { disk, messages } = await folder.open('child', MAKE)
  fs.writeFileSync(folder.path('c', '.lock'), '')
  fs.rmSync(folder.path('d', '.lock'))
  await disk.close()
  t.deepEqual(locked(folder), ['b', 'c'])
  t.deepEqual(messages, ['the lock file is not the one that was made here: it stays'])
})

test('a lock file that cannot be removed at the end is told, and taken over later', async (t) => {
  const folder = makeChain(t)
  const files = new TestFiles(nodeFiles())
  const { disk, messages } = await folder.open('child', MAKE, files)
  files.fault = (call) => (call === 'remove .lock' ? EIO : 0)
  await disk.close()
  t.deepEqual(messages, Array(2).fill('the lock file could not be removed'))
  t.deepEqual(folder.openDescriptors(), [])
  const again = await folder.open('child', MAKE)
  await again.disk.close()
  t.deepEqual(locked(folder), ['b'])
})

test('commit and flatten keep to lock files, and remove those left behind', async (t) => {
  const folder = makeChain(t)
  await killed(folder, 'child')
  const file = folder.path('child.chunkdisk')
  await refused(t, commitDisk(nodeFiles(), file), /\/b\/\.lock exists: .* for reading/)
  t.deepEqual(locked(folder), ['b'])
  await killed(folder, 'child')
  await refused(t, flattenDisk(filesOf(ELSEWHERE), file), /\/c\/\.lock exists: .* is writing/)
  await flattenDisk(nodeFiles(), file)
  t.deepEqual(locked(folder), ['b'])
})

test('temporary files of lock files are removed by the next writer', async (t) => {
  const folder = makeChain(t)
  fs.writeFileSync(folder.path('c', '.tmp-.lock-4711-00c0ffee'), '')
  // Of one that was to replace a stale one.
  const replacing = `.tmp-.lock-${randomUUID()}`
  fs.writeFileSync(folder.path('c', replacing), '')
  fs.writeFileSync(folder.path('c', `.tmp-${replacing}-4711-00c0ffee`), '')
  const { disk } = await folder.open('child')
  await disk.close()
  t.deepEqual(folder.list('c'), [])
})
