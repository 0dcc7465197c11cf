/** What is wrong usage, and what the help says. */
import { constants } from 'node:buffer'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { pageCacheArgument } from '../../cli/arguments.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const COMMANDS = [
  'serve',
  'config',
  'create',
  'info',
  'map',
  'check',
  'resize',
  'scrub',
  'commit',
  'flatten',
  'relay',
] as const

const REPOSITORY = join(import.meta.dirname, '../..')

const UUID = '8b2e4c11-52a5-4a0c-9d0f-0123456789ab'

const isRefused = test.macro<[line: string, message: RegExp]>({
  exec: async (t, line, message) => {
    const args = line.split(' ').filter((word) => word !== '')
    const result = await runInProcess(tempDirectory(t), ...args)
    t.is(result.status, 2)
    t.is(result.stdout, '')
    t.regex(result.stderr, message)
    t.notRegex(result.stderr, / {4}at /, 'no stack')
    const known = COMMANDS.find((name) => name === args[0])
    if (known !== undefined) t.regex(result.stderr, new RegExp(`chunknbd ${known} --help`))
  },
  title: (_, line, message) => `"chunknbd ${line}" is wrong usage: ${message.source}`,
})

test.serial(isRefused, '', /Usage: chunknbd/)
test.serial(isRefused, 'bogus', /unknown command 'bogus'/)
test.serial(isRefused, '--bogus', /unknown option '--bogus'/)

test.serial(isRefused, 'config check', /missing required argument 'FILE'/)
test.serial(isRefused, 'config print a b', /too many arguments/)
test.serial(isRefused, 'config print a --bogus', /unknown option '--bogus'/)

for (const name of COMMANDS.filter((each) => each !== 'config')) {
  test.serial(isRefused, `${name} x --bogus`, /unknown option '--bogus'/)
}
test.serial(isRefused, 'create', /missing required argument 'FILE\.chunkdisk'/)
test.serial(isRefused, 'create a --size', /argument missing/)
test.serial(isRefused, 'create a', /--size.*--parent/)
test.serial(isRefused, 'create a b --size 1M', /too many arguments.*Expected 1 argument but got 2/)
test.serial(isRefused, 'create a --size 1X', /'--size <SIZE>' argument '1X'.*not a size like 64M/)
test.serial(isRefused, 'create a --size -1', /'-1'.*not a size like 64M/)
test.serial(isRefused, 'create a --size 5000', /'5000'.*multiple of 4K above 0/)
test.serial(isRefused, 'create a --size 0', /multiple of 4K above 0/)
test.serial(isRefused, 'create a --size 8388608T', /not a size/)
test.serial(isRefused, 'create a --size 1M --chunk-size 1000', /--chunk-size.*multiple of 4K/)
test.serial(isRefused, 'create a --size 1M --part p:0', /at least 1 chunk/)

test.serial(isRefused, 'info', /missing required argument 'FILE\|URI'/)
test.serial(isRefused, 'info nbds://localhost/x?tls-type=anon', /tls-type=anon .* not supported/)
test.serial(isRefused, 'info nbd://h --tls-psk k', /are for nbds:\/\/ and nbds\+unix:\/\//)
test.serial(isRefused, 'info d --tls-certificates c', /are for nbds:\/\//)
test.serial(isRefused, 'info nbds://h --tls-psk k --tls-certificates c', /not both/)
test.serial(isRefused, 'info nbd://localhost:99999/x', /port 99999 does not exist/)
test.serial(isRefused, 'info nbd+vsock://1/x', /unknown scheme "nbd\+vsock"/)
test.serial(isRefused, 'map', /missing required argument 'FILE'/)
test.serial(isRefused, 'check', /missing required argument 'FILE'/)
test.serial(isRefused, 'scrub', /missing required argument 'FILE'/)
test.serial(isRefused, 'scrub x --rate 100', /must be 0 or at least 4K/)
test.serial(isRefused, 'scrub x --rebuild --cached', /--rebuild goes without/)
test.serial(isRefused, 'create a --size 1M --checksums md5', /Allowed choices are none, crc32c/)
for (const option of ['dry-run', 'create-parts', 'prefer-full', 'remove-foreign-lock']) {
  test.serial(isRefused, `check x --${option}`, new RegExp(`--${option} goes with --repair`))
}

test.serial(isRefused, 'serve x --max-connections 0', /'0'.*whole number above 0/)
test.serial(isRefused, 'serve x --max-connections-per-address 1e3', /'1e3'.*whole number above 0/)
test.serial(isRefused, 'serve x --max-connections-per-export -1', /'-1'.*whole number above 0/)
test.serial(isRefused, 'serve x --handshake-timeout 0', /'0'.*above 0/)
test.serial(isRefused, 'serve x --handshake-timeout 1m', /'1m'.*a number of seconds/)
test.serial(isRefused, 'serve x --idle-timeout 2147484', /number of seconds, at most 2147483/)

test.serial(isRefused, 'resize', /missing required argument 'FILE'/)
test.serial(isRefused, 'resize x', /give the new size of the disk \(--size SIZE\)/)
test.serial(isRefused, 'resize x --size 5000', /multiple of 4K above 0/)
test.serial(isRefused, 'resize x --size 1M --part p:0', /at least 1 chunk/)

test.serial(
  isRefused,
  'serve',
  /name a disk \(FILE\.chunkdisk\), or give --memory SIZE or --config FILE/,
)
test.serial(isRefused, 'serve --memory 0', /--memory.*multiple of 4K above 0/)
test.serial(isRefused, 'serve --memory 5000', /--memory.*multiple of 4K above 0/)
test.serial(
  isRefused,
  'serve --memory 1M --cache off',
  /writeback, writethrough, none, directsync, unsafe/,
)
test.serial(isRefused, 'serve d --movable --read-only', /--movable.*leave out --read-only/)
test.serial(isRefused, 'serve d --trim all', /free, chunks, holes, ignore/)
test.serial(isRefused, 'serve d --uuid 1234', /'1234'.*8-4-4-4-12 hexadecimal digits/)
test.serial(isRefused, `serve a b --uuid ${UUID}`, /--uuid names one disk: give exactly one FILE/)
test.serial(isRefused, `serve --memory 1M --uuid ${UUID}`, /--uuid names one disk/)
test.serial(isRefused, 'serve --memory 1M --log-level loud', /trace, debug, info, warn/)
test.serial(isRefused, 'serve --memory 1M --page-cache x', /not a size/)
test.serial(isRefused, 'serve --memory 1M --page-cache 1024G', /page-cache.*at most \d+G/)
test.serial(isRefused, 'serve --memory 1M --listen nbds://[::1]', /Write nbd:\/\/ here; --tls/)
test.serial(isRefused, 'serve --memory 1M --tls yes', /off, on, require/)
test.serial(isRefused, 'serve --memory 1M --tls-psk k --tls-certificates c', /not both/)
test.serial(isRefused, 'serve --memory 1M --tls-psk k --tls-verify-peer', /who has a key is known/)
test.serial(isRefused, 'serve --memory 1M --listen nbd://h/name', /Leave out "\/name"/)
test.serial(isRefused, 'serve --memory 1M --listen 127.0.0.1:10809', /not an NBD URI; write nbd:/)
test.serial(isRefused, 'serve --memory 1M --listen nbd+unix:///x', /Leave out|add \?socket=PATH/)
test.serial(isRefused, 'serve --memory 1M --listen nbd:///', /host is missing/)

test.serial(isRefused, 'serve --memory 1M --listen ws://h/name', /Leave out "\/name"/)
test.serial(isRefused, 'serve --memory 1M --listen ws://', /not a URL; write ws:/)
test.serial(
  isRefused,
  'serve --memory 1M --listen ws://u:secret@h/',
  /credentials belong in a file/,
)
test.serial(isRefused, 'serve --memory 1M --ws-origin example.org', /https:\/\/HOST\[:PORT\]/)
test.serial(isRefused, 'serve --memory 1M --connect http://h/', /scheme must be ws or wss/)
test.serial(isRefused, 'serve --memory 1M --connect-insecure', /say how to --connect; say where/)
test.serial(
  isRefused,
  'serve --memory 1M --connect ws://a/ --connect ws://b/ --connect-headers f',
  /--connect-headers is for one host/,
)
test.serial(isRefused, 'relay ws://h/', /say where clients come: --listen/)
test.serial(isRefused, 'relay nbd://h/ --listen nbd://h', /scheme must be ws or wss/)
test.serial(isRefused, 'relay ws://h/#x --listen nbd://h', /The path names the export/)
test.serial(isRefused, 'relay ws://h/ --listen ws://h/', /unknown scheme "ws"/)
test.serial(isRefused, 'relay ws://h/ --listen nbds://h', /Write nbd:\/\/ here; wss:/)
test.serial(isRefused, 'relay ws://h/ --listen nbd://h/x', /Leave out "\/x": the URL names/)
test.serial(isRefused, 'info ws://h/x', /chunknbd relay/)
for (const option of ['--ws-token-file f', '--ws-origin https://h']) {
  test.serial(isRefused, `serve --memory 1M ${option}`, /--ws-.* --listen ws:\/\//)
  test.serial(isRefused, `serve --memory 1M --listen nbd://h ${option}`, /--ws-.* --listen ws:/)
}

test.serial('the largest page cache is one that can be had in one piece', async (t) => {
  const directory = tempDirectory(t)
  const { stderr } = await runInProcess(directory, 'serve', '--page-cache', '1024G', 'd')
  const largest = Number(/at most (\d+)G/.exec(stderr)?.[1]) * 2 ** 30
  t.true(largest >= 2 ** 30)
  t.is(pageCacheArgument(String(largest)), largest)
  t.true(largest < constants.MAX_LENGTH)
  t.throws(() => pageCacheArgument(String(largest + 1)), { message: /at most/ })
})

for (const name of COMMANDS) {
  test.serial(`"${name} --help" has examples and says what each option is for`, async (t) => {
    const { status, stdout, stderr } = await runInProcess(tempDirectory(t), name, '--help')
    t.is(status, 0)
    t.is(stderr, '')
    t.regex(stdout, new RegExp(`^Usage: chunknbd ${name} `))
    t.regex(stdout, new RegExp(`\nExamples:\n {2}chunknbd ${name} `))
    t.notRegex(stdout, /default: \[\]/)
    for (const line of stdout.match(/^ {2}-.*/gm) ?? []) t.regex(line, /^ {2}-.* {2,}\S|<\S+>$/)
  })
}

const PAGES = ['README.md', ...readdirSync(join(REPOSITORY, 'docs')).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith('.md'))
  .map((name) => readFileSync(join(REPOSITORY, name), 'utf8'))

for (const name of COMMANDS) {
  test.serial(`every option of ${name} is in the README or in docs`, async (t) => {
    const { stdout } = await runInProcess(tempDirectory(t), name, '--help')
    const options = [...stdout.matchAll(/^ {2}(?:-., )?(--[a-z-]+)/gm)].map(([, option]) => option)
    t.true(options.includes('--help'))
    const isDocumented = (option: string): boolean =>
      PAGES.some((page) => new RegExp(`${option}(?![a-z-])`).test(page))
    t.deepEqual(
      options.filter((option) => !isDocumented(option)),
      [],
    )
  })
}

test.serial('the help of the program lists the commands, sizes and exit statuses', async (t) => {
  const { status, stdout } = await runInProcess(tempDirectory(t), '--help')
  t.is(status, 0)
  for (const name of COMMANDS) t.regex(stdout, new RegExp(`\n {2}${name} `))
  t.regex(stdout, /Exit status: 0 ok, 1 failure, 2 wrong usage/)
})

test.serial('the version is that of the package', async (t) => {
  const { status, stdout } = await runInProcess(tempDirectory(t), '--version')
  t.is(status, 0)
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/)
})
