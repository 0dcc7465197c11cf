import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { DiskFolder, nodeFiles, plainFiles, systemCalls } from '../helpers/chunk-disk.ts'
import { TestFiles } from '../helpers/test-files.ts'
import { findTool, requireTool } from '../helpers/tools.ts'

const HOLDER = fileURLToPath(new URL('disk-holder.ts', import.meta.url))
const READ_ONLY = { readOnly: true }
const IN_USE = { code: 'EINUSE' }

const hasFlock = findTool('flock') !== null

/** With and without the FFI, on either side. */
const engines = [
  { name: 'the FFI', makeFiles: nodeFiles, environment: {}, works: systemCalls !== null },
  {
    name: 'flock(1)',
    makeFiles: plainFiles,
    environment: { CHUNKNBD_NO_FFI: '1' },
    works: hasFlock,
  },
]

test('flock(1) is there for the locks without the FFI', (t) => {
  if (requireTool(t, 'flock')) t.pass()
})

interface Holder {
  readonly child: ChildProcess
  /** What it printed: `open`, or an error. */
  readonly said: string
}

async function hold(
  t: ExecutionContext,
  folder: DiskFolder,
  name: string,
  mode: 'read' | 'write',
  environment: Record<string, string>,
): Promise<Holder> {
  const file = folder.path(`${name}.chunkdisk`)
  const child = spawn(process.execPath, ['--import=tsx', HOLDER, file, mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, said: said.toString().trim() }
}

for (const { name, makeFiles, environment, works } of engines) {
  const check = works ? test : test.skip

  check(`a second writer is refused and told who is the first: ${name}`, async (t) => {
    const folder = new DiskFolder(t)
    folder.make('a')
    const { child, said } = await hold(t, folder, 'a', 'write', environment)
    t.is(said, 'open')
    for (const options of [{}, READ_ONLY]) {
      const error = await t.throwsAsync(folder.open('a', options, makeFiles()), IN_USE)
      const words = [folder.path('a.chunkdisk'), `process ${child.pid} (`, 'disk-holder.ts']
      for (const word of words) t.true(error.message.includes(word), error.message)
    }
    t.deepEqual(folder.openDescriptors(), [])
    child.kill('SIGKILL')
    await once(child, 'exit')
    const { disk } = await folder.open('a', {}, makeFiles())
    await disk.close()
  })

  check(`readers share a disk and keep a writer out: ${name}`, async (t) => {
    const folder = new DiskFolder(t)
    folder.make('a')
    const { child, said } = await hold(t, folder, 'a', 'read', environment)
    t.is(said, 'open')
    const reader = await folder.open('a', READ_ONLY, makeFiles())
    const error = await t.throwsAsync(folder.open('a', {}, makeFiles()), IN_USE)
    t.true(error.message.includes(`process ${child.pid} (`), error.message)
    child.stdin?.end()
    await once(child, 'exit')
    const own = await t.throwsAsync(folder.open('a', {}, makeFiles()), IN_USE)
    t.regex(own.message, /in use by this process/)
    await reader.disk.close()
    const writer = await folder.open('a', {}, makeFiles())
    await writer.disk.close()
  })

  check(`a parent is shared by its children and not written meanwhile: ${name}`, async (t) => {
    const folder = new DiskFolder(t)
    folder.make('base')
    folder.make('one', { parent: 'base' })
    folder.make('two', { parent: 'base' })
    const { child, said } = await hold(t, folder, 'one', 'write', environment)
    t.is(said, 'open')
    const two = await folder.open('two', {}, makeFiles())
    const reader = await folder.open('base', READ_ONLY, makeFiles())
    const error = await t.throwsAsync(folder.open('base', {}, makeFiles()), IN_USE)
    t.true(error.message.includes(`process ${child.pid} (`), error.message)
    await two.disk.close()
    await reader.disk.close()
    child.stdin?.end()
    await once(child, 'exit')
    const base = await folder.open('base', {}, makeFiles())
    const parent = await t.throwsAsync(folder.open('two', {}, makeFiles()), IN_USE)
    t.regex(parent.message, /base\.chunkdisk cannot be opened for reading: .* this process/)
    await base.disk.close()
  })
}

test('two disks that share a part exclude one another', async (t) => {
  const folder = new DiskFolder(t)
  folder.make('a', { parts: { own: 8, shared: 8 } })
  folder.make('b', { parts: { other: 8, shared: 8 } })
  await folder.open('a')
  const error = await t.throwsAsync(folder.open('b'), IN_USE)
  t.true(error.message.startsWith(folder.path('shared')))
})

for (const [what, change] of [
  ['replaced', (file: string, text: string) => replaceFile(file, text)],
  ['edited', (file: string, text: string) => fs.writeFileSync(file, text)],
] as const) {
  test(`a descriptor ${what} between being read and being locked is refused`, async (t) => {
    const folder = new DiskFolder(t)
    const file = folder.make('a')
    const files = new TestFiles(nodeFiles())
    for (const options of [{}, READ_ONLY]) {
      const held = files.hold(/^lock a$/)
      const opening = folder.open('a', options, files)
      await held.reached
      change(file, fs.readFileSync(file, 'utf8').replace('65536', '131072'))
      held.release()
      const error = await t.throwsAsync(opening, IN_USE)
      t.is(error.message, `${file} was changed by somebody else just now; try again`)
      t.deepEqual(folder.openDescriptors(), [])
      folder.make('a')
    }
    const { disk } = await folder.open('a')
    await disk.close()
  })
}

function replaceFile(file: string, text: string): void {
  fs.writeFileSync(`${file}.new`, text)
  fs.renameSync(`${file}.new`, file)
}
