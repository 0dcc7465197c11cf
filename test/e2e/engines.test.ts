/** Both engines behind the real server, asked for by name, with real clients. */
import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { chunknbd } from '../helpers/chunks.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const uring = createUringIo()
const ENGINES = typeof uring === 'string' ? ['node'] : ['node', 'uring']
const TCP = ['--listen', 'nbd://127.0.0.1:0']

async function serveEngine(t: ExecutionContext, engine: string, args: readonly string[]) {
  const cwd = tempDirectory(t)
  await chunknbd(t, ['create', 'd.chunkdisk', '--size', '64M', '--chunk-size', '1M'], cwd)
  const server = await serve(t, ['d.chunkdisk', '--engine', engine, ...args], { cwd })
  return { cwd, server }
}

for (const engine of ENGINES) {
  for (const [network, listen] of [['unix', []] as const, ['tcp', TCP] as const]) {
    test(`${engine}, ${network}: nbdcopy in and out, byte for byte`, async (t) => {
      if (!requireTool(t, 'nbdcopy', 'nbdinfo')) return
      const { cwd, server } = await serveEngine(t, engine, listen)
      const image = join(cwd, 'image')
      const bytes = randomFillSync(Buffer.allocUnsafe(64 << 20))
      writeFileSync(image, bytes)
      await run(t, 'nbdcopy', ['--connections=4', '--requests=32', image, server.uri])
      await run(t, 'nbdinfo', ['--json', server.uri])
      await run(t, 'nbdcopy', ['--connections=2', server.uri, join(cwd, 'back')])
      t.true(readFileSync(join(cwd, 'back')).equals(bytes))
      t.is(await server.stop(), 0)
      t.regex(server.log(), new RegExp(`"engine":"${engine}","reason":"[a-z ]+"`))
    })
  }

  test(`${engine}: what fio wrote it reads back, with trims in between`, async (t) => {
    if (!requireTool(t, 'fio', 'qemu-io')) return
    const { cwd, server } = await serveEngine(t, engine, [])
    const job = ['--name=job', '--ioengine=nbd', `--uri=${server.uri}`, '--size=16M']
    const load = ['--rw=randwrite', '--bsrange=512-128k', '--iodepth=32', '--verify=crc32c']
    await run(t, 'fio', [...job, ...load, '--verify_fatal=1', '--fsync=64'], { cwd })
    const pattern = ['write -P 9 20M 1M', 'discard 20M 512k', 'read -P 9 21495808 64k', 'flush']
    const commands = pattern.flatMap((command) => ['-c', command])
    const { stdout } = await run(t, 'qemu-io', ['-f', 'raw', ...commands, server.uri])
    t.notRegex(stdout, /failed/)
    t.is(await server.stop(), 0)
  })
}
