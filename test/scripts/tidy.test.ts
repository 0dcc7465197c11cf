import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { tidy, tidyFile } from '../../scripts/tidy.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt } from '../helpers/tools.ts'

const REPOSITORY = join(import.meta.dirname, '../..')

/** The only finding in a file, as `line: message`, or what else there was. */
const finds = test.macro((t, file: string, text: string, expected: string) => {
  const found = tidyFile(file, text).map(({ line, message }) => `${line}: ${message}`)
  t.deepEqual(found, [expected])
})

const passes = test.macro((t, file: string, text: string) => {
  t.deepEqual(tidyFile(file, text), [])
})

const value = (specifier: string): string => `// first line\nimport { a } from '${specifier}'\n`
const type = (specifier: string): string => `import type {\n  A,\n} from '${specifier}'\n`

test(
  'nbd may not import the chunk store',
  finds,
  'nbd/a.ts',
  value('../chunkstore/a.ts'),
  '2: nbd may not import chunkstore (only itself, device, io)',
)
test(
  'a type is an import like any other',
  finds,
  'device/a.ts',
  type('../io/io.ts'),
  '1: device may not import io (only itself)',
)
test(
  'a re-export is an import',
  finds,
  'cache/a.ts',
  "export { a } from '../io/io.ts'\n",
  '1: cache may not import io (only itself, device)',
)
test(
  'an import for its effect is an import',
  finds,
  'chunkstore/deep/a.ts',
  "import '../../nbd/a.ts'\n",
  '1: chunkstore may not import nbd (only itself, device, io)',
)
test(
  'a dynamic import is an import',
  finds,
  'io/a.ts',
  "\nconst a = await import('../cli/main.ts')\n",
  '2: io may not import cli (only itself)',
)
test(
  'the FFI is imported by io only',
  finds,
  'chunkstore/a.ts',
  value('koffi'),
  "2: package 'koffi' may only be imported in io/",
)
test(
  'the logger is imported in one file only',
  finds,
  'cli/serve.ts',
  value('pino'),
  "2: package 'pino' may only be imported in cli/logger.ts",
)
test(
  'a package has to be in the table',
  finds,
  'cli/serve.ts',
  value('@scope/name/sub.js'),
  "2: package '@scope/name' is not in the table of scripts/tidy.ts",
)
test(
  'a relative import ends in .ts',
  finds,
  'cli/serve.ts',
  value('./options.js'),
  "2: './options.js' must end in .ts",
)
test(
  'allowed imports pass',
  passes,
  'nbd/a.ts',
  value('../device/device.ts') + value('../io/io.ts'),
)
test('Node is allowed everywhere', passes, 'device/a.ts', value('node:os'))
test('the command line imports everything', passes, 'cli/a.ts', value('../nbd/server.ts'))
test('an import inside a string is none', passes, 'io/a.ts', `a("import a from '../nbd/a.ts'")\n`)

test('a line of 100 characters passes', passes, 'nbd/a.ts', `${'x'.repeat(100)}\n`)
test(
  'a line of 101 characters is found',
  finds,
  'nbd/a.ts',
  `\n${'x'.repeat(101)}\n`,
  '2: 101 characters, at most 100',
)
test('long lines are the way of documents', passes, 'docs/a.md', `${'x'.repeat(101)}\n`)
test('a file of 300 lines passes', passes, 'scripts/a.sh', 'x\n'.repeat(300))
test(
  'a file of 301 lines is found',
  finds,
  'scripts/a.sh',
  'x\n'.repeat(301),
  '1: 301 lines, at most 300',
)
for (const word of ['TO\u0044O', 'FIX\u004dE']) {
  test(
    `${word} is found`,
    finds,
    'docs/a.md',
    `${word}: x\n`,
    '1: a debt: pay it, or open an issue',
  )
}
test(
  'a path of one machine is found',
  finds,
  'README.md',
  'cd /wor\u006b/x\n',
  '1: a path of one machine',
)
test(
  'a path outside of the repository is found',
  finds,
  'README.md',
  'see ../share\u0064/x\n',
  '1: a path outside of the repository',
)
test(
  'a lock file that names a registry is found',
  finds,
  'package-lock.json',
  '{\n  "resolved": "https://registry.example/a.tgz"\n}\n',
  '2: names a registry',
)

test('a tree is walked without what is installed or built', (t) => {
  const root = tempDirectory(t)
  for (const folder of ['nbd', 'node_modules', 'dist']) {
    mkdirSync(join(root, folder))
    writeFileSync(join(root, folder, 'a.ts'), value('../cli/main.ts'))
  }
  t.deepEqual(
    tidy(root).map(({ file }) => file),
    ['nbd/a.ts'],
  )
})

const lints = test.macro(async (t, text: string, rule: string) => {
  const file = join(tempDirectory(t), 'seeded.ts')
  writeFileSync(file, text)
  const oxlint = join(REPOSITORY, 'node_modules/oxlint/bin/oxlint')
  const config = ['--config', join(REPOSITORY, '.oxlintrc.json')]
  const result = await attempt(t, process.execPath, [oxlint, ...config, '--deny-warnings', file])
  t.is(result.status, 1)
  t.true(result.stdout.includes(`(${rule})`), result.stdout)
})

const body = '  console.log(1)\n'.repeat(69)
test('the linter finds `any`', lints, 'export const a: any = 1\n', 'no-explicit-any')
test('the linter finds a long file', lints, '\n'.repeat(301), 'max-lines')
test(
  'the linter finds a function of 71 lines',
  lints,
  `export function long() {\n${body}}\n`,
  'max-lines-per-function',
)
