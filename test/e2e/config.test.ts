/** A server with a configuration file, as real clients see it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { makeDisk } from '../helpers/chunks.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'

test('serve --config: its exports and listeners; flags and variables count more', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const directory = tempDirectory(t)
  await makeDisk(join(directory, 'd.chunkdisk'), { size: '8M', chunkSize: '1M' })
  const file = join(directory, 'c.toml')
  const socket = join(directory, 'nbd.sock')
  const text = `
    server.listen = ["nbd+unix:///?socket=${socket}"]
    server.default-export = "small"
    [exports.disk]
    file = "d.chunkdisk"
    [exports.small]
    memory = "1M"
    read-only = true`
  writeFileSync(file, text)
  const server = await serve(t, ['--listen', 'nbd://127.0.0.1:0', '--config', file], {
    uriCount: 2,
    env: { CHUNKNBD_TRIM: 'ignore', CHUNKNBD_LISTEN: 'nbd://nowhere.invalid' },
  })
  t.regex(server.uris[0], /^nbd:\/\/127\.0\.0\.1:\d+\/disk$/)
  const { stdout } = await run(t, 'nbdinfo', ['--list', '--json', server.uri])
  const { exports } = JSON.parse(stdout) as { exports: Record<string, unknown>[] }
  t.deepEqual(
    exports.map((each) => [each['export-name'], each['export-size'], each['is_read_only']]),
    [
      ['disk', 8 << 20, false],
      ['small', 1 << 20, true],
    ],
  )
  const size = await run(t, 'nbdinfo', ['--size', server.uri.replace(/disk$/, '')])
  t.is(size.stdout.trim(), String(1 << 20))
  t.regex(server.log(), /"trim":"ignore"/)
  t.is(await server.stop(), 0)
  writeFileSync(file, text.replace('memory', 'memroy'))
  await t.throwsAsync(serve(t, ['--config', file]), {
    message: /exit status 1[^]*c\.toml:7: exports\.small\.memroy: unknown key; .* "memory"/,
  })
  // Without its listener: the file's.
  writeFileSync(file, text)
  const own = await serve(t, ['--config', file, '--memory', '2M'], {
    launcher: ['env', '--'],
    uriCount: 3,
  })
  t.deepEqual(own.uris.map((uri) => new URL(uri).pathname).toSorted(), [
    '/disk',
    '/memory',
    '/small',
  ])
  t.is((await attempt(t, 'nbdinfo', [`nbd+unix:///none?socket=${socket}`])).status, 1)
  t.is(await own.stop(), 0)
})
