import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, symlinkSync, utimesSync } from 'node:fs'
import { basename, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { tempDirectory } from '../helpers/temp.ts'
import { requireTool, run } from '../helpers/tools.ts'

const REPOSITORY = join(import.meta.dirname, '../..')
const NOT_COPIED = ['.git', 'node_modules', 'dist', 'demo', 'test']

/** The repository as it is before the first build, with its packages installed. */
function cloneRepository(t: ExecutionContext): string {
  const clone = tempDirectory(t)
  const filter = (path: string): boolean => !NOT_COPIED.includes(basename(path))
  cpSync(REPOSITORY, clone, { recursive: true, filter })
  symlinkSync(join(REPOSITORY, 'node_modules'), join(clone, 'node_modules'))
  // Older than the installation, or start.sh would install again, into the repository.
  utimesSync(join(clone, 'package-lock.json'), 0, 0)
  return clone
}

interface Started {
  /** What it printed before it served. */
  readonly help: string
  stop(): Promise<unknown[]>
}

async function start(t: ExecutionContext, clone: string, args: string[]): Promise<Started> {
  const child = spawn('sh', ['scripts/start.sh', ...args], {
    cwd: clone,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  let help = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (help += text))
  const printed = new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (/^nbd/m.test(text)) resolve()
    })
  })
  const tooEarly = ended.then((end) => Promise.reject(new Error(`ended: ${end}\n${help}`)))
  await Promise.race([printed, tooEarly])
  return { help, stop: () => (child.kill('SIGTERM'), ended) }
}

test('npm start builds, makes a disk, says how to mount it, serves it until SIGTERM', async (t) => {
  if (!requireTool(t, 'nbdinfo')) return
  const clone = cloneRepository(t)
  const socket = join(clone, 'nbd.sock')
  const args = ['--listen', `nbd+unix:///?socket=${socket}`]
  const first = await start(t, clone, args)
  t.regex(first.help, /Building/)
  t.regex(first.help, /nbd-client 127\.0\.0\.1 10809 .dev.nbd0/)
  t.true(existsSync(join(clone, 'demo/demo.chunkdisk')))
  const { stdout } = await run(t, 'nbdinfo', ['--size', `nbd+unix:///demo?socket=${socket}`])
  t.is(stdout, `${2 ** 30}\n`)
  // The shell has become the server: a signal for the one is a signal for the other.
  t.deepEqual(await first.stop(), [0, null])

  const second = await start(t, clone, args)
  t.notRegex(second.help, /Building/)
  t.deepEqual(await second.stop(), [0, null])
})
