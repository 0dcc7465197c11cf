/** Configuration files: what is refused and where, and what is in effect in the end. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { lineOf, nearest } from '../../cli/config-error.ts'
import { EXPORT_FLAGS, EXPORT_OWN_KEYS } from '../../cli/config-keys.ts'
import { FLAG_TABLES, LISTS, SERVER_OWN_KEYS } from '../../cli/config-keys.ts'
import { parseConfig } from '../../cli/config-file.ts'
import { combine, type DiskSettings, readSettings, type Settings } from '../../cli/settings.ts'
import { effectiveConfig } from '../../cli/effective-config.ts'
import { environmentName } from '../../cli/flag-value.ts'
import { serveCommandLine } from '../../cli/serve-options.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8')

const isRefused = test.macro<[text: string, ...problems: RegExp[]]>({
  exec: (t, text, ...problems) => {
    const error = t.throws(() => parseConfig(text, '/c.toml', serveCommandLine()), {
      code: 'ECONFIG',
    })
    const lines = (error?.message ?? '').split('\n')
    t.is(lines.length, problems.length, error?.message)
    for (const [index, problem] of problems.entries()) t.regex(lines[index], problem)
  },
  title: (_, text) => `refused: ${text.replaceAll('\n', ' | ')}`,
})

test(isRefused, '[server', /^\/c\.toml:1: not TOML \(column \d+\): /)
test(isRefused, '\n\na = ', /^\/c\.toml:3: not TOML/)
test(isRefused, 'a = nbd', /:1: not TOML \(column 5\): invalid value; write text in quotes$/)
test(isRefused, 'a = 1\na = 2', /^\/c\.toml:2: not TOML/)
test(isRefused, '[server]\n"__proto__" = 1', /not TOML/)
test(isRefused, '[servr]', /^\/c\.toml:1: servr: unknown table; the nearest is "server"$/)
test(isRefused, 'listen = 1', /^\/c\.toml:1: listen: unknown key; the nearest is "limits"$/)
test(isRefused, 'server = 1', /^\/c\.toml:1: server: This is a table: \[server\]\.$/)
test(isRefused, '[[exports]]', /^\/c\.toml:1: exports: This is a table/)
test(
  isRefused,
  '[defaults]\ncache = "unsafe"\n\n[server]\n cach = "none"\n log-level = "loud"',
  /^\/c\.toml:5: server\.cach: unknown key; the nearest is "/,
  /^\/c\.toml:6: server\.log-level: Allowed choices are trace, /,
)
test(isRefused, '[defaults]\npage-cash = 1', /:2: defaults\.page-cash: .* "page-cache"$/)
test(isRefused, '[limits]\nnobody-knows = 1', /^\/c\.toml:2: limits\.nobody-knows: unknown key/)
test(isRefused, '[defaults]\npage-cache = "x"', /:2: defaults\.page-cache: It is not a size/)
test(isRefused, '[defaults]\npage-cache = 1.5', /:2: .* It is not a size/)
test(isRefused, '[defaults]\nread-only = "true"', /:2: .* Write true or false\.$/)
test(isRefused, '[defaults]\ncache = 1979-05-27', /:2: .* Write a string in quotes/)
test(isRefused, '[server]\nlisten = "nbd://h"', /:2: server\.listen: Write a list/)
test(isRefused, '[server]\nlisten = [\n"nbd://h",\n"x"]', /:2: server\.listen: .*not an NBD URI/)
test(isRefused, '[server]\nmap-path = ["x"]', /:2: server\.map-path: Write /)
test(isRefused, '[server]\nsocket-mode = "660"', /:2: server\.socket-mode: Write 4 octal digits/)
// What TOML calls octal is a number like any other by then.
test(isRefused, '[server]\nsocket-mode = 0o660', /:2: server\.socket-mode: Write 4 octal digits/)
test(isRefused, '[server]\ndefault-export = 1', /:2: .* Write a string in quotes\.$/)
test(
  isRefused,
  '[server]\ndefault-export = "wbe"\n[exports.web]\nmemory = "1M"\n[exports.x]\nmemory = "1M"',
  /:2: server\.default-export: There is no export "wbe"; the nearest is "web"\.$/,
)
test(isRefused, '[exports.a]', /:1: exports\.a: Say what it is: file = /)
test(isRefused, '[exports.a]\nfile = ""', /:1: exports\.a: Say what it is/)
test(isRefused, '[exports.a]\nfile = "f"\nmemory = "1M"', /:1: exports\.a: .* not both\.$/)
test(isRefused, '[exports.a]\nfile = 1', /:2: exports\.a\.file: Write a string/)
test(isRefused, '[exports.a]\nmemory = "1"', /:2: exports\.a\.memory: .* multiple of 4K/)
test(isRefused, '[exports.a]\nmemory = "1M"\ncache = "none"', /:3: .*: This is for disks in files/)
test(isRefused, '[exports.""]\nmemory = "1M"', /:1: exports\."": A name has 1 to 4096 bytes/)
test(isRefused, '[exports."a\\u0000"]\nmemory = "1M"', /:1: .* A name has 1 to 4096 bytes/)
test(isRefused, 'exports.a.fil = "f"', /:1: exports\.a\.fil: .*"file"$/, /:1: exports\.a: Say/)
test(isRefused, 'exports = { a = { fiel = 1, memory = "1M" } }', /:1: exports\.a\.fiel: .*"file"$/)

const MEMORY = '[exports.a]\nmemory = "1M"\n'
test(isRefused, `${MEMORY}hidden = 1`, /:3: exports\.a\.hidden: Write true or false/)
test(isRefused, `${MEMORY}clients = "uid:0"`, /:3: exports\.a\.clients: Write a list/)
test(isRefused, `${MEMORY}clients = ["alice"]`, /:3: exports\.a\.clients: Write "x509:NAME"/)
test(isRefused, `${MEMORY}networks = [10]`, /:3: exports\.a\.networks: Write a list/)
test(isRefused, `${MEMORY}networks = ["10"]`, /:3: exports\.a\.networks: "10": write an address/)
test(isRefused, `${MEMORY}client = []`, /:3: exports\.a\.client: .* "clients"$/)

test('the line of a key is found wherever it stands, text that looks like one is none', (t) => {
  const text = [
    'top = """',
    '[b]',
    'key = 1"""',
    '[ a . "b c" ]  # [b]',
    "'key' = 1",
    'x.y = 2',
    '[b]',
    ' key= { in = 1 }',
    '[[list]]',
  ].join('\n')
  t.is(lineOf(text, ['top']), 1)
  t.is(lineOf(text, ['a', 'b c']), 4)
  t.is(lineOf(text, ['a', 'b c', 'key']), 5)
  t.is(lineOf(text, ['a', 'b c', 'x', 'y']), 6)
  t.is(lineOf(text, ['b']), 7)
  t.is(lineOf(text, ['b', 'key']), 8)
  t.is(lineOf(text, ['b', 'key', 'in']), 8)
  t.is(lineOf(text, ['list']), 9)
  t.is(lineOf(text, ['none']), null)
})

test('the nearest name takes the fewest changes', (t) => {
  t.is(nearest('pagecache', ['cache', 'page-cache', 'x']), 'page-cache')
  t.is(nearest('', ['cache', 'x']), 'x')
  t.is(nearest('cache', ['page-cache', 'cache']), 'cache')
})

const settingsOf = (
  text: string,
  environment: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Settings => {
  const command = serveCommandLine().action(() => {})
  command.exitOverride().parse(flags, { from: 'user' })
  const config = parseConfig(text, '/etc/c.toml', command)
  return combine(command.args, command, environment, config)
}

const diskOf = (settings: Settings, name: string): DiskSettings | number | undefined =>
  settings.exports.find((each) => each.name === name)?.disk

const TWO = `
[defaults]
cache = "writethrough"
trim = "chunks"
[exports.a]
file = "a.chunkdisk"
cache = "unsafe"
[exports.b]
file = "/disks/b.chunkdisk"
`

test('flags count more than the environment, that more than the file', (t) => {
  const cacheOf = (environment: Record<string, string>, flags: string[]): unknown[] => {
    const settings = settingsOf(TWO, environment, flags)
    return ['a', 'b'].map((name) => (diskOf(settings, name) as DiskSettings).cache)
  }
  t.deepEqual(cacheOf({}, []), ['unsafe', 'writethrough'])
  t.deepEqual(cacheOf({ CHUNKNBD_CACHE: '' }, []), ['unsafe', 'writethrough'])
  t.deepEqual(cacheOf({ CHUNKNBD_CACHE: 'none' }, []), ['none', 'none'])
  const flags = ['--cache', 'writeback']
  t.deepEqual(cacheOf({ CHUNKNBD_CACHE: 'none' }, flags), ['writeback', 'writeback'])
  const [a, b] = ['a', 'b'].map((name) => diskOf(settingsOf(TWO), name) as DiskSettings)
  t.like(a, { file: '/etc/a.chunkdisk', trim: 'chunks', pageCache: 64 << 20, movable: false })
  const locked = settingsOf(
    TWO.replace('[defaults]', '$&\nlock-files = true') + 'lock-files = false',
  )
  const locks = ['a', 'b'].map((name) => (diskOf(locked, name) as DiskSettings).lockFiles)
  t.deepEqual(locks, [true, false])
  t.like(b, { file: '/disks/b.chunkdisk', trim: 'chunks', uuid: null })
})

test('yes and no can be said in the environment too, and no is not yes', (t) => {
  const text = '[exports.a]\nmemory = "1M"\nread-only = true\n[exports.b]\nmemory = "1M"'
  const readOnly = (value: string): boolean[] =>
    settingsOf(text, { CHUNKNBD_READ_ONLY: value }).exports.map((each) => each.readOnly)
  t.deepEqual(readOnly(''), [true, false])
  t.deepEqual(readOnly('0'), [false, false])
  t.deepEqual(readOnly('no'), [false, false])
  t.deepEqual(readOnly('true'), [true, true])
  t.throws(() => readOnly('maybe'), { code: 'ECONFIG', message: /CHUNKNBD_READ_ONLY.*'maybe'/ })
})

test('lists in the environment are words', (t) => {
  const listen = 'nbd://127.0.0.1:1  nbd://127.0.0.1:2'
  const { options } = settingsOf('', { CHUNKNBD_LISTEN: listen })
  t.deepEqual(
    options.listen?.map(({ address }) => address.kind === 'tcp' && address.port),
    [1, 2],
  )
  const wrong = { CHUNKNBD_LISTEN: 'nbd://h x' }
  t.throws(() => settingsOf('', wrong), { message: /CHUNKNBD_LISTEN.*not an NBD URI/ })
})

test('the default export is the named one; without a name none of the file', (t) => {
  t.is(settingsOf(TWO).defaultExport, null)
  t.is(settingsOf(`server.default-export = "b"${TWO}`).defaultExport, 'b')
  t.is(settingsOf(TWO, {}, ['x/c.chunkdisk']).defaultExport, 'c')
  t.is(settingsOf(`server.default-export = "b"${TWO}`, {}, ['c.chunkdisk']).defaultExport, 'b')
})

test('exports of one name, and what does not go together, are refused by place', (t) => {
  const settings = (flags: string[]): unknown => settingsOf(TWO, {}, flags)
  t.throws(() => settings(['x/a.chunkdisk']), { message: /c\.toml: export "a": .* already named/ })
  t.throws(() => settings(['--movable', '--read-only']), {
    message: /export "a": movable .*\n.*export "b": movable/,
  })
  t.throws(() => settingsOf('[exports.memory]\nmemory = "1M"', {}, ['--memory', '1M']), {
    message: /already named "memory"/,
  })
})

test('rules that nobody could fulfil are refused', (t) => {
  const wrong = (rule: string, tls: string): unknown => settingsOf(`${tls}\n${MEMORY}${rule}`)
  const psk = 'tls.psk = "k"'
  const verified = 'tls.certificates = "d"\ntls.verify-peer = true'
  for (const [rule, tls, message] of [
    ['require-tls = true', '', /export "a": require-tls, but tls\.mode is "off"/],
    ['require-tls = true', `tls.mode = "off"\n${psk}`, /require-tls/],
    ['clients = ["psk:a"]', verified, /need tls\.psk/],
    ['clients = ["x509:CN=a"]', psk, /need tls\.verify-peer/],
    ['clients = ["uid:0", "x509:CN=a"]', 'tls.certificates = "d"', /need tls\.verify-peer/],
    ['', `tls.certificates = "d"\n${psk}`, /tls\.certificates or tls\.psk, not both/],
  ] as const) {
    t.throws(() => wrong(rule, tls), { code: 'ECONFIG', message }, rule)
  }
  t.notThrows(() => wrong('clients = ["psk:a", "uid:0"]\nrequire-tls = true', psk))
  t.notThrows(() => wrong('clients = ["x509:CN=a"]', verified))
})

test('a file that is not there, or far too long, is refused', async (t) => {
  const command = serveCommandLine().action(() => {})
  const file = join(tempDirectory(t), 'none.toml')
  const environment = { CHUNKNBD_CONFIG: file }
  await t.throwsAsync(readSettings([], command, environment), { message: /there is no such file/ })
  const text = '#'.repeat((1 << 20) + 1)
  t.throws(() => parseConfig(text, '/c.toml', command), { message: /more than 1 MiB/ })
})

test.serial('what is printed is in effect: printed again it is the same', async (t) => {
  t.like(effectiveConfig(settingsOf(TWO, { CHUNKNBD_PAGE_CACHE: '1M' })), {
    server: { engine: 'auto', 'log-level': 'info' },
    exports: { a: { file: '/etc/a.chunkdisk', cache: 'unsafe', 'page-cache': '1M' } },
  })
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'first.toml'), `server.default-export = "b"\n${TWO}`)
  const first = await runInProcess(directory, 'config', 'print', 'first.toml')
  t.deepEqual([first.status, first.stderr], [0, ''])
  t.deepEqual(settingsOf(first.stdout).exports[1], settingsOf(TWO).exports[1])
  writeFileSync(join(directory, 'second.toml'), first.stdout)
  const second = await runInProcess(directory, 'config', 'print', 'second.toml')
  t.is(second.stdout, first.stdout)
})

test.serial('config check tells all that is wrong, and of disks that are not there', async (t) => {
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'c.toml'), TWO.replace('/disks/b', 'b'))
  await runInProcess(directory, 'create', 'a.chunkdisk', '--size', '1M')
  const missing = await runInProcess(directory, 'config', 'check', 'c.toml')
  t.deepEqual([missing.status, missing.stdout], [1, ''])
  t.regex(missing.stderr, /^chunknbd: c\.toml: export "b": .*b\.chunkdisk: cannot be read/)
  await runInProcess(directory, 'create', 'b.chunkdisk', '--size', '1M')
  const right = await runInProcess(directory, 'config', 'check', 'c.toml')
  t.deepEqual([right.status, right.stdout, right.stderr], [0, 'c.toml is right: 2 exports\n', ''])
})

test('every key stands for a flag that is there, and has its line in the documentation', (t) => {
  const flags = new Set(serveCommandLine().options.map((option) => option.long))
  const tables = [...Object.values(FLAG_TABLES), EXPORT_FLAGS]
  for (const [key, flag] of tables.flatMap((each) => Object.entries(each))) {
    t.true(flags.has(flag), flag)
    t.regex(DOCUMENT, new RegExp(`\\| \`${key}\` +\\|.*\`${flag}\` *\\|`), key)
  }
  for (const flag of LISTS) t.true(flags.has(flag), flag)
  for (const key of [...SERVER_OWN_KEYS, ...EXPORT_OWN_KEYS]) {
    t.regex(DOCUMENT, new RegExp(`\\| \`${key}\` +\\|`), key)
  }
  t.is(environmentName('--page-cache'), 'CHUNKNBD_PAGE_CACHE')
})

test.serial('the example of the documentation is right, and means what it shows', async (t) => {
  const example = /```toml\n(.*?)```/s.exec(DOCUMENT)?.[1] ?? ''
  const directory = tempDirectory(t)
  for (const folder of ['srv/disks', 'media'])
    mkdirSync(join(directory, folder), { recursive: true })
  writeFileSync(join(directory, 'c.toml'), example.replaceAll('"/', `"${directory}/`))
  for (const file of ['srv/disks/web', 'media/debian']) {
    await runInProcess(directory, 'create', `${file}.chunkdisk`, '--size', '1M')
  }
  const { status, stdout, stderr } = await runInProcess(directory, 'config', 'check', 'c.toml')
  t.deepEqual([status, stdout, stderr], [0, 'c.toml is right: 4 exports\n', ''])
  const settings = settingsOf(example)
  t.is(settings.defaultExport, 'scratch')
  t.like(diskOf(settings, 'web'), { file: '/srv/disks/web.chunkdisk', pageCache: 256 << 20 })
  t.is(diskOf(settings, 'scratch'), 64 << 20)
  const { access } = settings.exports[3]
  t.true(access.hidden)
  t.deepEqual(access.clients?.[0], { kind: 'uid', id: 0 })
})
