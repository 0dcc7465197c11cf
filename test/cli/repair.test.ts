/** check --repair: what it prints, its exit statuses, and its place beside a running server. */
import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeDisk, tryChunknbd } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const CHUNK = 65_536

/** With an orphan, a temporary file, and two files of chunk 1 that only a person can judge. */
async function damagedDisk(t: ExecutionContext): Promise<string> {
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '640K', chunkSize: '64K' })
  const put = (name: string, data: Uint8Array): void => {
    writeFileSync(join(directory, 'd.chunks', name), data)
  }
  put('chunk1', Buffer.alloc(CHUNK, 1))
  put('CHUNK1', Buffer.alloc(0))
  utimesSync(join(directory, 'd.chunks/chunk1'), 1000, 1000)
  put('chunk10', Buffer.alloc(CHUNK, 2))
  put('.tmp-chunk3', Buffer.alloc(5))
  return directory
}

test.serial('check --repair tells what it did and what is left, exit status 1', async (t) => {
  const directory = await damagedDisk(t)
  const { status, stdout, stderr } = await runInProcess(
    directory,
    'check',
    'd.chunkdisk',
    '--repair',
  )
  t.deepEqual([status, stderr], [1, ''])
  const part = join(directory, 'd.chunks')
  const lines = stdout.split('\n')
  t.deepEqual(lines.slice(0, 3), [
    `${part}/.tmp-chunk3: stale-temporary: mended: removed: ` +
      'a crash left it while a chunk was being made',
    `${part}/chunk10: orphan: mended: moved to ${part}/.chunknbd-aside/chunk10: ` +
      'the disk has only 10 chunks',
    `${part}/chunk1: duplicate-chunk: the same chunk is at ${part}/CHUNK1`,
  ])
  t.regex(
    lines[3],
    /^ {2}it is empty and not older than .*chunk1, so it may be a later trim; --pre/,
  )
  t.deepEqual(lines.slice(4), ['d.chunkdisk: not ok, 2 mended, 1 need you', ''])

  const full = ['check', 'd.chunkdisk', '--repair', '--prefer-full']
  const second = await runInProcess(directory, ...full)
  t.deepEqual([second.status, second.stderr], [0, ''])
  t.regex(second.stdout, /CHUNK1: duplicate-chunk: mended: .*\nd\.chunkdisk: ok, 1 mended\n$/)
  t.deepEqual(readdirSync(part).sort(), ['.chunknbd-aside', 'chunk1'])
  const third = await runInProcess(directory, ...full)
  t.deepEqual([third.status, third.stdout], [0, 'd.chunkdisk: ok, 0 mended\n'])
})

test.serial('check --repair --dry-run only says what it would do, exit status 1', async (t) => {
  const directory = await damagedDisk(t)
  const before = readdirSync(join(directory, 'd.chunks'))
  const args = ['check', 'd.chunkdisk', '--repair', '--dry-run', '--prefer-full']
  const { status, stdout } = await runInProcess(directory, ...args)
  t.is(status, 1)
  t.regex(
    stdout,
    /CHUNK1: duplicate-chunk: planned: would be moved to .*aside\/CHUNK1: it is empty/,
  )
  t.regex(stdout, /\.tmp-chunk3: stale-temporary: planned: would be removed: a crash left it/)
  t.regex(stdout, /\nd\.chunkdisk: not ok, 3 can be mended\n$/)
  t.deepEqual(readdirSync(join(directory, 'd.chunks')), before)
})

test.serial('check --repair --json: the same for programs', async (t) => {
  const directory = await damagedDisk(t)
  const args = ['check', 'd.chunkdisk', '--repair', '--json']
  const { status, stdout } = await runInProcess(directory, ...args)
  t.is(status, 1)
  const report = JSON.parse(stdout) as Record<string, Record<string, string>[]>
  t.like(report, { file: 'd.chunkdisk', ok: false, dryRun: false })
  t.deepEqual(
    report.mends.map(({ rule, outcome }) => [rule, outcome]),
    [
      ['stale-temporary', 'mended'],
      ['orphan', 'mended'],
    ],
  )
  t.is(report.findings.length, 1)
  t.deepEqual(Object.keys(report.findings[0]).sort(), ['advice', 'disk', 'file', 'message', 'rule'])
  const rest = await runInProcess(directory, ...args, '--prefer-full')
  t.like(JSON.parse(rest.stdout), { ok: true, findings: [] })
  t.is(rest.status, 0)
})

test.serial('a step that fails is told of, exit status 1', async (t) => {
  const directory = await damagedDisk(t)
  mkdirSync(join(directory, 'd.chunks/.tmp-chunk4'))
  const args = ['check', 'd.chunkdisk', '--repair', '--prefer-full']
  const { status, stdout } = await runInProcess(directory, ...args)
  t.is(status, 1)
  t.regex(stdout, /\.tmp-chunk4: stale-temporary: failed: cannot remove it: E(ISDIR|PERM)/)
  t.regex(stdout, /\nd\.chunkdisk: not ok, 3 mended, 1 failed, 1 need you\n$/)
})

test.serial('a disk that is served is not repaired; one whose server was killed is', async (t) => {
  const directory = await damagedDisk(t)
  const part = join(directory, 'd.chunks')
  const repair = ['check', 'd.chunkdisk', '--repair', '--prefer-full']
  t.is((await tryChunknbd(t, repair, directory)).status, 0)
  writeFileSync(join(part, 'chunk11'), 'x')
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  for (const more of [[], ['--dry-run']]) {
    const { status, stdout, stderr } = await tryChunknbd(t, [...repair, ...more], directory)
    t.deepEqual([status, stdout], [1, ''])
    t.regex(stderr, /d\.chunkdisk cannot be opened for writing: it is in use by process \d+ /)
  }
  t.true(existsSync(join(part, 'chunk11')))
  await server.kill()
  t.is((await tryChunknbd(t, repair, directory)).status, 0)
  const again = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const client = await DiskClient.connect(again.uri)
  t.deepEqual([...(await client.read(CHUNK, 3))], [1, 1, 1])
  await client.disconnect()
  t.is(await again.stop(), 0)
})
