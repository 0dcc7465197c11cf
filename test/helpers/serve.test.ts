import test from 'ava'
import { serve } from './serve.ts'
import { requireTool, run } from './tools.ts'

test('a server that is ready can be asked, and ends with status 0', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const server = await serve(t, ['--memory', '1M'])
  const { stdout } = await run(t, 'nbdinfo', ['--size', server.uri])
  t.is(stdout, '1048576\n')
  t.is(await server.stop(), 0)
})

test('every address has been printed when the server is ready', async (t) => {
  const address = ['--listen', 'nbd://127.0.0.1:0']
  const server = await serve(t, ['--memory', '1M', ...address, ...address], { uriCount: 2 })
  t.is(server.uris.length, 2)
  t.not(server.uris[0], server.uris[1])
})

test('a killed server has not ended in peace', async (t) => {
  const server = await serve(t, ['--memory', '1M'])
  await server.kill()
  t.is(await server.stop(), 'SIGKILL')
})

test('a server that cannot start is an error that says why', async (t) => {
  await t.throwsAsync(serve(t, ['/nonexistent/disk.chunkdisk']), {
    message: /exit status 1.*before it was ready.*nonexistent/s,
  })
})
