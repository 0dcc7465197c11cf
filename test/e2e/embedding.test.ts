/** The examples of the README and of docs/embedding.md compile, run and serve as they stand. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { run } from '../helpers/tools.ts'

const REPOSITORY = join(import.meta.dirname, '../..')
const LIBRARY = join(REPOSITORY, 'index.ts')

/** The first TypeScript block of a page. */
function firstBlock(page: string): string {
  const text = readFileSync(join(REPOSITORY, page), 'utf8')
  const code = /```ts\n(.*?)```/s.exec(text)?.[1]
  if (code === undefined) throw new Error(`${page} has no example`)
  return code
}

/** The same with changes; the package's name stands for this working tree. */
function example(page: string, changes: Readonly<Record<string, string>>): string {
  let code = firstBlock(page)
  for (const [before, after] of Object.entries({ "'chunknbd'": `'${LIBRARY}'`, ...changes })) {
    if (!code.includes(before)) throw new Error(`${page} has no ${before} any more`)
    code = code.replace(before, after)
  }
  return code
}

async function compiles(t: ExecutionContext, directory: string, code: string): Promise<void> {
  writeFileSync(join(directory, 'example.ts'), code)
  const config = {
    extends: join(REPOSITORY, 'tsconfig.json'),
    compilerOptions: { typeRoots: [join(REPOSITORY, 'node_modules/@types')] },
    include: ['example.ts'],
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc')
  await run(t, process.execPath, [compiler, '-p', directory])
}

/** Runs the example until it listens. @returns its end, after a SIGTERM */
async function start(
  t: ExecutionContext,
  directory: string,
  errors: 'inherit' | 'ignore' = 'inherit',
): Promise<() => Promise<unknown[]>> {
  const loader = import.meta.resolve('tsx')
  const program = spawn(process.execPath, ['--import', loader, 'example.ts'], {
    cwd: directory,
    stdio: ['ignore', 'ignore', errors],
  })
  t.teardown(() => program.kill('SIGKILL'))
  const ended = once(program, 'exit')
  while (!existsSync(join(directory, 's'))) {
    const wait = new Promise((resolve) => setTimeout(resolve, 20))
    if ((await Promise.race([wait, ended])) !== undefined) throw new Error('the example ended')
  }
  return () => {
    program.kill('SIGTERM')
    return ended
  }
}

test('docs/embedding.md: a device of your own', async (t) => {
  const directory = tempDirectory(t)
  await compiles(t, directory, example('docs/embedding.md', { '/tmp/pattern.sock': 's' }))
  const stop = await start(t, directory)
  const client = await DiskClient.connect(`nbd+unix:///pattern?socket=${directory}/s`)
  const expected = [Buffer.alloc(96, 2), Buffer.alloc(4096, 3), Buffer.alloc(808, 4)]
  const seen = await client.read(3 * 4096 - 96, 5000)
  t.true(Buffer.concat(expected).equals(seen))
  await t.throwsAsync(client.write(0, Buffer.from('x')), { message: /fails with 1$/ })
  await client.disconnect()
  t.deepEqual(await stop(), [0, null])
})

test('README.md: a disk served from a program of your own', async (t) => {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'disk.chunkdisk'), { size: '1M' })
  const tcp = "{ kind: 'tcp', host: '127.0.0.1', port: 10809 }"
  const code = example('README.md', { [tcp]: "{ kind: 'unix', path: 's' }" })
  await compiles(t, directory, code)
  const stop = await start(t, directory)
  const client = await DiskClient.connect(`nbd+unix:///disk?socket=${directory}/s`)
  await client.write(1000, Buffer.from('hello'))
  t.is(Buffer.from(await client.read(1000, 5)).toString(), 'hello')
  await client.disconnect()
  await stop()
})

test('both compile in a strict project with the package and the types of Node only', async (t) => {
  const directory = tempDirectory(t)
  const modules = join(directory, 'node_modules')
  const installed = join(modules, 'chunknbd')
  const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc')
  const build = ['-p', join(REPOSITORY, 'tsconfig.build.json'), '--emitDeclarationOnly']
  await run(t, process.execPath, [compiler, ...build, '--outDir', join(installed, 'dist')])
  copyFileSync(join(REPOSITORY, 'package.json'), join(installed, 'package.json'))
  mkdirSync(join(modules, '@types'))
  symlinkSync(join(REPOSITORY, 'node_modules/@types/node'), join(modules, '@types/node'))
  const options = { strict: true, noEmit: true, skipLibCheck: false, types: ['node'] }
  const compilerOptions = { ...options, target: 'es2022', module: 'nodenext' }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(directory, 'readme.ts'), firstBlock('README.md'))
  writeFileSync(join(directory, 'embedding.ts'), firstBlock('docs/embedding.md'))
  await run(t, process.execPath, [compiler, '-p', directory])
  t.pass()
})

const BROKEN = `
import assert from 'node:assert/strict'
const { createNodeIo, MemoryDevice, Server } = await import(${JSON.stringify(LIBRARY)})

class Broken extends MemoryDevice {
  override read(): number {
    assert.fail('this cannot be')
  }
}

const broken = { name: '', description: '', device: new Broken(1 << 20) }
const exports = { find: () => broken, list: () => [broken] }
await new Server({ io: createNodeIo(), exports }).listen({ kind: 'unix', path: 's' })
`

test('a broken invariant ends the program, rather than go on', async (t) => {
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'example.ts'), BROKEN)
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  const program = await start(t, directory, 'ignore')
  const client = await DiskClient.connect(`nbd+unix:///?socket=${join(directory, 's')}`)
  await client.write(0, new Uint8Array(4096))
  await t.throwsAsync(client.read(0, 4096), { message: /closed/ })
  t.deepEqual(await program(), [1, null])
})

test('the library can be imported by its URL, and names what the pages name', async (t) => {
  const library = (await import(pathToFileURL(LIBRARY).href)) as Record<string, unknown>
  const pages = ['README.md', 'docs/embedding.md'].map((page) =>
    readFileSync(join(REPOSITORY, page), 'utf8'),
  )
  for (const name of ['createDisk', 'surveyDisk', 'mapDisk', 'checkDisk', 'CachedDevice']) {
    t.is(typeof library[name], 'function', name)
    t.true(pages.some((text) => text.includes(name)))
  }
})
