/** A damaged disk under a real server: what real clients are told, and what `scrub` finds. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { chunknbd, makeDisk, tryChunknbd } from '../helpers/chunks.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'

const CHUNK = 4 << 20
const SIZE = 4 * CHUNK
/** Of the page that is damaged: in the chunk, and on the disk. */
const PLACE = 4096 * 300
const OFFSET = CHUNK + PLACE

function damage(file: string): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, Buffer.from('damage'), 0, 6, PLACE + 777)
  closeSync(fd)
}

test('a damaged page is EIO for nbdcopy and qemu-io, and found by scrub', async (t) => {
  if (!requireTool(t, 'nbdcopy', 'qemu-io')) return
  const directory = tempDirectory(t)
  const descriptor = join(directory, 'd.chunkdisk')
  const image = join(directory, 'image')
  const data = randomBytes(SIZE)
  data.fill(0, 2 * CHUNK, 2 * CHUNK + (CHUNK >> 1))
  writeFileSync(image, data)
  await makeDisk(descriptor, { size: `${SIZE}`, chunkSize: `${CHUNK}`, checksums: 'crc32c' })
  const first = await serve(t, [descriptor])
  await run(t, 'nbdcopy', ['--flush', image, first.uri])
  const clean = await chunknbd(t, ['scrub', descriptor], directory)
  t.regex(clean.stdout, /: ok, \d+M verified\n/)
  // Not a good end: what was flushed is verified all the same.
  await first.kill()
  damage(join(directory, 'd.chunks', 'chunk1'))
  const found = await tryChunknbd(t, ['scrub', descriptor], directory)
  t.is(found.status, 1)
  t.regex(found.stdout, new RegExp(`chunk1: 4096 bytes at ${PLACE} \\(at ${OFFSET} of `))

  const server = await serve(t, [descriptor])
  const copy = join(directory, 'copy')
  const copied = await attempt(t, 'nbdcopy', [server.uri, copy])
  t.not(copied.status, 0)
  t.regex(copied.stderr, /Input\/output error/)
  await server.logged(new RegExp(`the page at ${OFFSET} of the disk does not match its checksum`))
  const io = (...commands: string[]) =>
    attempt(t, 'qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), server.uri])
  const read = await io(`read ${OFFSET + 512} 512`)
  t.regex(read.stdout + read.stderr, /read failed: Input\/output error/)
  const around = await io(`read ${OFFSET - 8192} 8192`, `read ${OFFSET + 4096} 8192`)
  t.notRegex(around.stdout + around.stderr, /failed/)
  // Part of a page would have to be read first; a whole one mends it.
  const part = await io(`write -P 1 ${OFFSET + 512} 512`)
  t.regex(part.stdout + part.stderr, /Input\/output error/)
  await server.logged(/does not match/)
  const served = await tryChunknbd(t, ['scrub', descriptor, '--rate', '100M'], directory)
  t.is(served.status, 1, served.stdout)
  const mended = await io(`write -P 1 ${OFFSET} 4096`, `read -P 1 ${OFFSET} 4096`)
  t.notRegex(mended.stdout + mended.stderr, /failed|error/)
  await run(t, 'nbdcopy', [server.uri, copy])
  data.fill(1, OFFSET, OFFSET + 4096)
  t.true(readFileSync(copy).equals(data))
  t.is(await server.stop(), 0)
  const after = await chunknbd(t, ['scrub', descriptor], directory)
  t.regex(after.stdout, /: ok, \d+M verified\n$/)
})
