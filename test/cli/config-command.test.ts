/** `config check` and `config print`: what beginners see. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

test.serial('config check warns of variables that are nearly those of an option', async (t) => {
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'c.toml'), '[exports.a]\nmemory = "1M"\n')
  const wrong = ['CHUNKNBD_CACH', 'CHUNKNBD_PORT_80_TCP', 'CHUNKNBD_NO_FFI']
  t.teardown(() => wrong.forEach((name) => delete process.env[name]))
  for (const name of wrong) process.env[name] = '0'
  const { status, stderr } = await runInProcess(directory, 'config', 'check', 'c.toml')
  const name = 'variable CHUNKNBD_CACH of the environment'
  t.is(stderr, `chunknbd: ${name} counts for nothing; is it CHUNKNBD_CACHE?\n`)
  t.is(status, 0)
})

test.serial(
  'config print: the times of the defaults are numbers, as one writes them',
  async (t) => {
    const directory = tempDirectory(t)
    writeFileSync(join(directory, 'c.toml'), '[exports.a]\nmemory = "1M"\n')
    const { stdout } = await runInProcess(directory, 'config', 'print', 'c.toml')
    t.regex(stdout, /^handshake-timeout = 10\nidle-timeout = 0$/m)
    const { stderr } = await runInProcess(directory, 'config', 'print', '.')
    t.regex(stderr, /\.: cannot be read: it is a directory/)
  },
)
