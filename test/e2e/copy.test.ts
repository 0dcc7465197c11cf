import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { chunknbd } from '../helpers/chunks.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const IMAGE_BYTES = 256 << 20

test('an image of 256 MiB goes in, survives a restart and comes out equal', async (t) => {
  if (!requireTool(t, 'nbdcopy', 'qemu-img', 'nbdinfo')) return
  const directory = tempDirectory(t)
  const image = join(directory, 'image')
  const back = join(directory, 'back')
  const bytes = randomFillSync(Buffer.allocUnsafe(IMAGE_BYTES))
  writeFileSync(image, bytes)
  await chunknbd(t, ['create', 'd.chunkdisk', '--size', '256M', '--chunk-size', '4M'], directory)

  const first = await serve(t, ['d.chunkdisk'], { cwd: directory })
  await run(t, 'nbdcopy', ['--connections=4', image, first.uri])
  t.is(await first.stop(), 0)

  const second = await serve(t, ['d.chunkdisk'], { cwd: directory })
  const listen = ['--connections=4', '--requests=64', second.uri, back]
  await run(t, 'nbdcopy', listen)
  t.true(readFileSync(back).equals(bytes))
  await run(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, second.uri])
  t.is(await second.stop(), 0)
})

test('a sparse image stays sparse through qemu-img convert and nbdinfo --map', async (t) => {
  if (!requireTool(t, 'nbdinfo', 'qemu-img', 'qemu-io')) return
  const directory = tempDirectory(t)
  await chunknbd(t, ['create', 'd.chunkdisk', '--size', '64M', '--chunk-size', '1M'], directory)
  const server = await serve(t, ['d.chunkdisk'], { cwd: directory })
  await run(t, 'qemu-io', ['-f', 'raw', '-c', 'write -P 7 5M 64k', '-c', 'flush', server.uri])
  const { stdout } = await run(t, 'nbdinfo', ['--map', '--json', server.uri])
  const extents = JSON.parse(stdout) as { offset: number; length: number; type: number }[]
  t.deepEqual(
    extents.map(({ offset, length, type }) => [offset, length, type]),
    [
      [0, 5 << 20, 3],
      [5 << 20, 64 << 10, 0],
      [(5 << 20) + (64 << 10), (59 << 20) - (64 << 10), 3],
    ],
  )
  const copy = join(directory, 'copy.qcow2')
  await run(t, 'qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', server.uri, copy])
  t.true(readFileSync(copy).length < 2 << 20)
  await run(t, 'qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', copy, server.uri])
})
