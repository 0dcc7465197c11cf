/** `create --checksums`, `info`, `check` and `scrub` as a user meets them. */
import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { runInProcess } from './in-process.ts'
import { tempDirectory } from '../helpers/temp.ts'

test.serial('a disk with checksums: create, info, check, scrub', async (t) => {
  const directory = tempDirectory(t)
  const run = (...args: string[]) => runInProcess(directory, ...args)
  const made = await run('create', 'a.chunkdisk', '--size', '1M', '--checksums', 'crc32c')
  t.is(made.status, 0, made.stderr)
  const text = fs.readFileSync(join(directory, 'a.chunkdisk'), 'utf8')
  t.regex(text, /\nchecksums crc32c\n$/)
  t.true(fs.existsSync(join(directory, 'a.chunks', 'checksums')))
  t.regex((await run('info', 'a.chunkdisk')).stdout, /checksums +crc32c, verified at each read/)
  t.is((await run('check', 'a.chunkdisk')).stdout, 'a.chunkdisk: ok\n')
  const clean = await run('scrub', 'a.chunkdisk')
  t.deepEqual([clean.status, clean.stdout], [0, 'a.chunkdisk: ok, 0 verified\n'])

  await run('create', 'b.chunkdisk', '--parent', 'a.chunkdisk')
  t.regex(fs.readFileSync(join(directory, 'b.chunkdisk'), 'utf8'), /\nchecksums crc32c\n$/)
  await run('create', 'c.chunkdisk', '--parent', 'a.chunkdisk', '--checksums', 'none')
  t.notRegex(fs.readFileSync(join(directory, 'c.chunkdisk'), 'utf8'), /checksums/)
  const info = JSON.parse((await run('info', 'c.chunkdisk', '--json')).stdout) as object
  t.like(info, { layers: [{ checksums: 'none' }, { checksums: 'crc32c' }] })
  t.regex((await run('scrub', 'c.chunkdisk')).stdout, /without checksums: .*c\.chunkdisk\n$/)
})

test.serial('scrub tells of damage, and exits with 1; --rebuild believes the data', async (t) => {
  const directory = tempDirectory(t)
  const run = (...args: string[]) => runInProcess(directory, ...args)
  await run('create', 'a.chunkdisk', '--size', '1M', '--checksums', 'crc32c')
  // Data that nobody has written by way of the disk.
  fs.writeFileSync(join(directory, 'a.chunks', 'chunk0'), Buffer.alloc(1 << 20).fill(7, 8192, 9000))
  const found = await run('scrub', 'a.chunkdisk', '--rate', '0')
  t.is(found.status, 1)
  const [line, sum] = found.stdout.trimEnd().split('\n')
  t.regex(line, /chunks\/chunk0: 4096 bytes at 8192 \(at 8192 of .*a\.chunkdisk\): .*not match/)
  t.is(sum, 'a.chunkdisk: 4K damaged, 1M verified')
  const json = JSON.parse(
    (await run('scrub', 'a.chunkdisk', '--json', '--cached')).stdout,
  ) as object
  t.like(json, { ok: false, isServed: false, findings: [{ position: 8192, length: 4096 }] })
  const rebuilt = await run('scrub', 'a.chunkdisk', '--rebuild')
  t.deepEqual([rebuilt.status, rebuilt.stdout], [0, 'a.chunkdisk: ok, all checksums are new\n'])
  const after = await run('scrub', 'a.chunkdisk')
  t.deepEqual([after.status, after.stdout], [0, 'a.chunkdisk: ok, 1M verified\n'])
})

test.serial('what has no checksums, or cannot have any, says so', async (t) => {
  const directory = tempDirectory(t)
  const run = (...args: string[]) => runInProcess(directory, ...args)
  await run('create', 'a.chunkdisk', '--size', '1M')
  const none = await run('scrub', 'a.chunkdisk')
  t.is(none.status, 1)
  t.regex(none.stderr, /a\.chunkdisk has no checksums: .*create --checksums crc32c/)
  const add = await run('scrub', 'a.chunkdisk', '--rebuild')
  t.regex(add.stderr, /add the line "checksums crc32c" at its end/)
  const flags = ['--size', '1M', '--compatible', '--checksums', 'crc32c']
  const both = await run('create', 'b.chunkdisk', ...flags)
  t.is(both.status, 1)
  t.regex(both.stderr, /leave out --compatible or --checksums/)
  await run('create', 'c.chunkdisk', '--size', '1M', '--checksums', 'crc32c')
  const child = await run('create', 'd.chunkdisk', '--parent', 'c.chunkdisk', '--compatible')
  t.regex(child.stderr, /c\.chunkdisk has checksums, which chunkdisk cannot read/)
  t.deepEqual(
    fs.readdirSync(directory).filter((name) => /^[bd]/.test(name)),
    [],
  )
})
