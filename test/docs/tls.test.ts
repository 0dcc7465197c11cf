/** docs/tls.md says what works: its commands make files that the server and real clients use. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { serveCommand } from '../../cli/serve-command.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run } from '../helpers/tools.ts'
import { DOCS } from './test-links.ts'

const PAGE = readFileSync(join(DOCS, 'tls.md'), 'utf8')
const TCP = ['--memory', '1M', '--listen', 'nbd://127.0.0.1:0']

/** The commands below a heading. */
function commands(heading: string): string[] {
  const start = PAGE.indexOf(`\n## ${heading}\n`)
  if (start < 0) throw new Error(`no section "${heading}"`)
  const section = PAGE.slice(start + 1).split('\n## ')[0]
  return [...section.matchAll(/```sh\n([^]*?)```/g)].map(([, text]) => text)
}

test.serial('the certificates of the page: verified on both sides, then revoked', async (t) => {
  if (!requireTool(t, 'certtool', 'nbdinfo')) return
  const cwd = tempDirectory(t)
  const [authority, server, client, revoke] = commands('Make certificates')
  await run(t, 'sh', ['-e', '-c', `${authority}${server}${client}`], { cwd })
  t.is(statSync(join(cwd, 'server/server-key.pem')).mode & 0o077, 0)
  const served = await serve(t, [...TCP, '--tls-certificates', 'server', '--tls-verify-peer'], {
    cwd,
  })
  t.notRegex(served.log(), /"level":40.*(?:PEM|pem)/)
  for (const host of ['localhost', '127.0.0.1']) {
    const uri = `${served.uri.replace('127.0.0.1', host)}?tls-certificates=client`
    t.is((await run(t, 'nbdinfo', ['--size', uri], { cwd })).stdout, `${1 << 20}\n`)
  }
  t.regex(served.log(), /"peer":"CN=alice"/)
  await run(t, 'sh', ['-e', '-c', revoke], { cwd })
  process.kill(served.pid, 'SIGHUP')
  await served.logged(/"reloaded"/)
  const again = await attempt(t, 'nbdinfo', [`${served.uri}?tls-certificates=client`], { cwd })
  t.is(again.status, 1)
  await served.logged(/is refused: CERT_REVOKED/)
})

test.serial('the keys of the page', async (t) => {
  if (!requireTool(t, 'psktool', 'nbdinfo')) return
  const cwd = tempDirectory(t)
  const [keys] = commands('Make keys')
  await run(t, 'sh', ['-e', '-c', keys], { cwd })
  const served = await serve(t, [...TCP, '--tls-psk', 'keys.psk'], { cwd })
  for (const user of ['alice', 'bob']) {
    const uri = `${served.uri.replace('//', `//${user}@`)}?tls-psk-file=keys.psk`
    t.is((await run(t, 'nbdinfo', ['--size', uri], { cwd })).stdout, `${1 << 20}\n`)
  }
  t.notRegex(served.log(), /"level":40.*psk/)
})

test('every option of TLS is on the page', (t) => {
  const names = serveCommand().options.map(({ long }) => long ?? '')
  const about = names.filter((name) => name.startsWith('--tls'))
  t.true(about.length >= 4)
  for (const name of about) t.regex(PAGE, new RegExp(`\\| \`${name}[ \`]`))
})
