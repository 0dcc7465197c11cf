/** The properties of the Dockerfile that can be seen without a Docker daemon. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'

interface Instruction {
  readonly name: string
  readonly value: string
}

const read = (file: string): string =>
  readFileSync(join(import.meta.dirname, '../..', file), 'utf8')

const lines = read('Dockerfile')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
const instructions: Instruction[] = lines.map((line) => {
  const [name, ...words] = line.trim().split(/\s+/)
  return { name, value: words.join(' ') }
})
const runtimeStart = instructions.findLastIndex(({ name }) => name === 'FROM')
const build = instructions.slice(0, runtimeStart)
const runtime = instructions.slice(runtimeStart)

/** The only instruction of that name in the image that is run. */
function only(name: string): string {
  const found = runtime.filter((instruction) => instruction.name === name)
  if (found.length !== 1) throw new Error(`${found.length} times ${name}`)
  return found[0].value
}

const copied = build
  .filter(({ name }) => name === 'COPY')
  .flatMap(({ value }) => value.split(' ').slice(0, -1))

test('everything the build reads is copied into it', (t) => {
  const { include } = JSON.parse(read('tsconfig.build.json')) as { include: string[] }
  const needed = [...include, 'package.json', 'package-lock.json', 'tsconfig.json']
  t.deepEqual(copied.toSorted(), [...needed, 'tsconfig.build.json'].toSorted())
})

test('the context holds what is copied and nothing else', (t) => {
  const [all, ...exceptions] = read('.dockerignore').trim().split('\n').slice(1)
  t.is(all, '*')
  t.deepEqual(exceptions.toSorted(), copied.map((name) => `!${name}`).toSorted())
})

test('both stages are a slim image of one Node, so what is native fits', (t) => {
  const images = instructions.filter(({ name }) => name === 'FROM').map(({ value }) => value)
  t.deepEqual(images, ['node:24-slim AS build', 'node:24-slim'])
})

test('what runs has neither sources nor tools of development', (t) => {
  t.true(build.some(({ value }) => value.includes('npm prune --omit=dev')))
  t.deepEqual(
    runtime.filter(({ name }) => name === 'COPY').map(({ value }) => value),
    ['package.json', 'node_modules', 'dist'].map(
      (name) => `--from=build /app/${name} /app/${name}`,
    ),
  )
})

test('it does not run as root, and its user can write to the volume', (t) => {
  t.is(only('USER'), 'node')
  t.is(only('VOLUME'), '/disks')
  const order = runtime.map(({ name }) => name)
  t.is(only('RUN'), 'mkdir /disks && chown node:node /disks')
  t.true(order.indexOf('RUN') < order.indexOf('USER'))
  t.true(order.indexOf('RUN') < order.indexOf('VOLUME'))
})

test('a signal reaches the server: no shell in between', (t) => {
  t.is(only('STOPSIGNAL'), 'SIGTERM')
  t.deepEqual(JSON.parse(only('ENTRYPOINT')), ['node', '/app/dist/cli/main.js'])
})

test('it serves a disk of the volume to the published port', (t) => {
  t.is(only('EXPOSE'), '10809')
  t.deepEqual(JSON.parse(only('CMD')), [
    'serve',
    '/disks/disk.chunkdisk',
    '--listen',
    'nbd://0.0.0.0:10809',
  ])
})

test('it is healthy while the server answers as a server of NBD', (t) => {
  const [options, command] = only('HEALTHCHECK').split(' CMD ')
  t.regex(options, /--timeout=/)
  const address = 'nbd://127.0.0.1:10809/'
  const expected = ['node', '/app/dist/cli/main.js', 'info', address, '--json']
  t.deepEqual(JSON.parse(command), expected)
})
