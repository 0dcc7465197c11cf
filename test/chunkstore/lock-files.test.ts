/** Lock files of parts: what is made, what stays, and whose is kept to. */
import fs from 'node:fs'
import os from 'node:os'
import test from 'ava'
import type { DiskOptions } from '../../chunkstore/options.ts'
import { DiskFolder, nodeFiles } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'
import {
  ELSEWHERE,
  filesOf,
  locked,
  lockIn,
  makeChain,
  MAKE,
  READ,
  refused,
} from './locked-chain.ts'

test('its own parts have a lock file until it is closed, a parent has one for good', async (t) => {
  const folder = makeChain(t)
  const { disk } = await folder.open('child', MAKE)
  for (const [part, access] of Object.entries({ b: 'read', c: 'write', d: 'write' })) {
    t.like(lockIn(folder, part), { access, program: 'chunknbd', host: os.hostname() })
    t.throws(() => fs.openSync(folder.path(part, '.lock'), 'wx'), { code: 'EEXIST' })
  }
  t.is(lockIn(folder, 'c')?.process, process.pid)
  await disk.close()
  t.deepEqual(folder.list('c'), [])
  t.deepEqual(folder.list('d'), [])
  t.deepEqual(locked(folder), ['b'])
})

test('a lock file does not show the number of the machine', async (t) => {
  const folder = makeChain(t)
  await folder.open('child', MAKE)
  const id = fs.existsSync('/etc/machine-id') ? fs.readFileSync('/etc/machine-id', 'utf8') : ''
  const { machine, boot } = lockIn(folder, 'c') ?? {}
  if (id.trim() === '') t.is(machine, '')
  else t.regex(String(machine), /^[\da-f]{32}$/)
  t.not(machine, id.trim() || 'none')
  t.is(boot, fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
})

test('without the option none is made', async (t) => {
  const folder = makeChain(t)
  for (const readOnly of [false, true]) {
    const { disk } = await folder.open('child', { readOnly })
    t.deepEqual(locked(folder), [])
    await disk.close()
  }
})

test('what is only read has a lock file for good, made once and shared', async (t) => {
  const folder = makeChain(t)
  const first = await folder.open('child', READ)
  const before = folder.fingerprint('c')
  const second = await folder.open('child', READ)
  await first.disk.close()
  await second.disk.close()
  t.deepEqual(folder.fingerprint('c'), before)
  t.deepEqual(locked(folder), ['b', 'c', 'd'])
  t.like(lockIn(folder, 'c'), { access: 'read' })
})

test('a base is not written until its lock file is removed', async (t) => {
  const folder = makeChain(t)
  const child = await folder.open('child', MAKE)
  await child.disk.close()
  const message = /\/b\/\.lock exists: .* served the disk for reading.*remove the file when/
  await refused(t, folder.open('base'), message)
  await refused(t, folder.open('base', MAKE), message)
  const reader = await folder.open('base', { readOnly: true })
  await reader.disk.close()
  fs.rmSync(folder.path('b', '.lock'))
  const { disk } = await folder.open('base')
  await disk.close()
})

test('a lock file of chunkdisk stays as it is, and keeps a writer out', async (t) => {
  const folder = makeChain(t)
  fs.writeFileSync(folder.path('b', '.lock'), '')
  const before = folder.fingerprint('b')
  const { disk } = await folder.open('child', MAKE)
  await disk.close()
  await refused(t, folder.open('base', MAKE), /\/b\/\.lock exists: chunkdisk uses this directory/)
  t.deepEqual(folder.fingerprint('b'), before)
})

for (const [title, identity] of [
  ['another machine', ELSEWHERE],
  ['a copy of the machine', { host: 'nas', boot: ELSEWHERE.boot }],
  ['another start of a machine without a number', { machine: '', boot: ELSEWHERE.boot }],
] as const) {
  test(`a lock file of a writer is kept to, also by readers: ${title}`, async (t) => {
    const folder = makeChain(t)
    const { disk } = await folder.open('child', MAKE, filesOf({ machine: '0'.repeat(32) }))
    const text = fs.readFileSync(folder.path('c', '.lock'))
    await disk.close()
    fs.writeFileSync(folder.path('c', '.lock'), text)
    const files = filesOf({ machine: '0'.repeat(32), ...identity })
    const message = new RegExp(
      `/c/\\.lock exists: ${os.hostname()} is writing to the disk .process`,
    )
    for (const options of [{}, MAKE, { readOnly: true }, READ] as Partial<DiskOptions>[]) {
      await refused(t, folder.open('child', options, files), message)
      t.deepEqual(fs.readFileSync(folder.path('c', '.lock')), text)
      t.deepEqual(folder.list('d'), [])
    }
  })
}

test('a parent that another machine writes to is not read', async (t) => {
  const folder = makeChain(t)
  const { disk } = await folder.open('base', MAKE)
  const opening = folder.open('child', MAKE, filesOf(ELSEWHERE))
  // Here the kernel's lock says so first; a machine which that does not reach has the file only.
  await refused(t, opening, /base\.chunkdisk cannot be opened for reading/)
  const text = fs.readFileSync(folder.path('b', '.lock'))
  await disk.close()
  fs.writeFileSync(folder.path('b', '.lock'), text)
  await refused(
    t,
    folder.open('child', {}, filesOf(ELSEWHERE)),
    /\/b\/\.lock exists: .* is writing/,
  )
  t.deepEqual(locked(folder), ['b'])
})

test('a file that Windows holds for itself keeps everybody out', async (t) => {
  const folder = makeChain(t)
  fs.writeFileSync(folder.path('c', '.lock'), '')
  const EBUSY = 16
  const files = new TestFiles(nodeFiles())
  files.fault = (call) => (call === 'readText .lock' ? EBUSY : 0)
  for (const options of [MAKE, { readOnly: true }]) {
    await refused(
      t,
      folder.open('child', options, files),
      /\.lock exists: another machine is writing/,
    )
  }
})

test('what is no file of ours is somebody else’s', async (t) => {
  const folder = makeChain(t)
  const file = folder.path('c', '.lock')
  const { disk } = await folder.open('child', MAKE)
  const ours = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>
  await disk.close()
  const lists = [[], null, 7, 'chunknbd', {}, { ...ours, program: 'other' }, { ...ours, boot: 7 }]
  const texts = lists.map((value) => JSON.stringify(value))
  for (const text of [
    ...texts,
    '{',
    '\0',
    'x'.repeat(5000),
    JSON.stringify({ ...ours, access: '' }),
  ]) {
    fs.writeFileSync(file, text)
    await refused(
      t,
      folder.open('child', MAKE),
      /\/c\/\.lock exists: chunkdisk uses this directory/,
    )
    t.is(fs.readFileSync(file, 'utf8'), text)
  }
  fs.rmSync(file)
  fs.mkdirSync(file)
  await refused(t, folder.open('child'), /\/c\/\.lock exists/)
})

test('a part that a resize adds has a lock file, too', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { c: 16 } })
  const { disk } = await folder.open('a', MAKE)
  const part = { directory: folder.path('d'), isRelative: true, chunksMax: 16 }
  await disk.resize({ size: 2 ** 21, parts: [part] })
  t.deepEqual(locked(folder), ['c', 'd'])
  t.like(lockIn(folder, 'd'), { access: 'write' })
  await disk.close()
  t.deepEqual(locked(folder), [])
})

test('a part that a resize cannot add has none', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { c: 16 } })
  fs.mkdirSync(folder.path('d'))
  fs.writeFileSync(folder.path('d', 'chunk0'), '')
  const { disk } = await folder.open('a', MAKE)
  const part = { directory: folder.path('d'), isRelative: true, chunksMax: 16 }
  const message = /belongs to some other disk/
  await t.throwsAsync(disk.resize({ size: 2 ** 21, parts: [part] }), { message })
  t.deepEqual(locked(folder), ['c'])
})
