/** The files with what is shown to a WebSocket server, and asked of its clients. */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { readSecret } from '../../cli/websocket-target.ts'
import { WS_FILE_BYTES_MAX } from '../../io/ws-limits.ts'
import { tempDirectory } from '../helpers/temp.ts'

test('a file of secrets that is of no use is named, with the reason', async (t) => {
  const directory = tempDirectory(t)
  const large = join(directory, 'large')
  writeFileSync(large, Buffer.alloc(WS_FILE_BYTES_MAX + 1))
  const missing = join(directory, 'missing')
  await t.throwsAsync(readSecret(directory, null), {
    message: `${directory} is a directory, not a file`,
  })
  await t.throwsAsync(readSecret(large, null), { message: `${large}: more than 65536 bytes` })
  await t.throwsAsync(readSecret(missing, null), { message: /no such file .*missing'/ })
})

test('a file of secrets is read as it is', async (t) => {
  const file = join(tempDirectory(t), 'tokens')
  writeFileSync(file, '*:0123456789abcdef\n')
  chmodSync(file, 0o600)
  t.is(await readSecret(file, null), '*:0123456789abcdef\n')
})
