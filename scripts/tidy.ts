/**
 * npm run tidy: the rules of this repository that neither the compiler, the linter nor the
 * formatter knows. Prints `file:line: message` for each breach; exit status 1 if there is one.
 * Length of functions, `any` and the like are rules of the linter (.oxlintrc.json).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, posix, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

/** A folder's files may import their own folder and these. Folders not listed import anything. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  device: [],
  io: [],
  cache: ['device'],
  nbd: ['device', 'io'],
  chunkstore: ['device', 'io'],
}

/** Who may import a package: a file, or a folder with `/` at its end. No other package is used. */
const PACKAGES: Readonly<Record<string, string>> = {
  ava: 'test/',
  commander: 'cli/',
  koffi: 'io/',
  pino: 'cli/logger.ts',
  'pino-pretty': 'cli/logger.ts',
  'smol-toml': 'cli/',
  ws: 'io/',
}

const CODE = ['.ts', '.js', '.sh']
const TEXT = [...CODE, '.md', '.json', '.txt', '.yml', '.toml', '']
const SKIPPED = ['.git', 'node_modules', 'dist', 'demo']

const LINES_MAX = 300
const LINE_CHARACTERS_MAX = 100

// Written so that no pattern finds itself.
const FORBIDDEN: readonly { readonly pattern: RegExp; readonly message: string }[] = [
  { pattern: /\b(?:TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/, message: 'a debt: pay it, or open an issue' },
  { pattern: /[/](?:wor[k]|roo[t])[/]/, message: 'a path of one machine' },
  { pattern: /\.\.[/]share[d]\b/, message: 'a path outside of the repository' },
]

export interface Finding {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly message: string
}

/** All breaches in the tree below `root`, in the order of the files. */
export function tidy(root: string): Finding[] {
  return listFiles(root).flatMap((path) => {
    const file = relative(root, path).replaceAll('\\', '/')
    return tidyFile(file, readFileSync(path, 'utf8'))
  })
}

/** @param file path from the root of the repository, with `/` */
export function tidyFile(file: string, text: string): Finding[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (file === 'package-lock.json') return checkLockFile(file, lines)
  const findings = checkWords(file, lines)
  if (CODE.includes(extname(file))) findings.push(...checkLengths(file, lines))
  if (extname(file) === '.ts') findings.push(...checkImports(file, text))
  return findings
}

function listFiles(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true })
  return entries
    .filter((entry) => !SKIPPED.includes(entry.name))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) return listFiles(path)
      return entry.isFile() && TEXT.includes(extname(entry.name)) ? [path] : []
    })
}

/** A lock file that names a registry would send every clone to it. */
function checkLockFile(file: string, lines: readonly string[]): Finding[] {
  return eachLine(lines, (line) => (line.includes('"resolved"') ? 'names a registry' : null), file)
}

function checkWords(file: string, lines: readonly string[]): Finding[] {
  return FORBIDDEN.flatMap(({ pattern, message }) =>
    eachLine(lines, (line) => (pattern.test(line) ? message : null), file),
  )
}

function checkLengths(file: string, lines: readonly string[]): Finding[] {
  const findings = eachLine(
    lines,
    (line) =>
      line.length > LINE_CHARACTERS_MAX
        ? `${line.length} characters, at most ${LINE_CHARACTERS_MAX}`
        : null,
    file,
  )
  if (lines.length > LINES_MAX) {
    findings.push({ file, line: 1, message: `${lines.length} lines, at most ${LINES_MAX}` })
  }
  return findings
}

function eachLine(
  lines: readonly string[],
  check: (line: string) => string | null,
  file: string,
): Finding[] {
  return lines.flatMap((text, index) => {
    const message = check(text)
    return message === null ? [] : [{ file, line: index + 1, message }]
  })
}

/** A statement stands at the start of its line (the formatter sees to it); text in strings not. */
const STATEMENT = /^(?:import|export)\b(?:[^'";]*?\bfrom)?\s*(['"])(.+?)\1/gm
const CALL = /\b(?:import|require)\(\s*(['"])(.+?)\1/g

function checkImports(file: string, text: string): Finding[] {
  return [...text.matchAll(STATEMENT), ...text.matchAll(CALL)].flatMap((match) => {
    const message = checkImport(file, match[2])
    const line = text.slice(0, match.index).split('\n').length
    return message === null ? [] : [{ file, line, message }]
  })
}

/** @returns what is wrong, or null */
function checkImport(file: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) return null
  if (!specifier.startsWith('.')) return checkPackage(file, specifier)
  if (!specifier.endsWith('.ts')) return `'${specifier}' must end in .ts`
  const source = file.split('/')[0]
  const target = posix.join(posix.dirname(file), specifier).split('/')[0]
  const allowed = FOLDERS[source]
  if (allowed === undefined || target === source || allowed.includes(target)) return null
  return `${source} may not import ${target} (only ${['itself', ...allowed].join(', ')})`
}

function checkPackage(file: string, specifier: string): string | null {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  const place = PACKAGES[name]
  if (place === undefined) return `package '${name}' is not in the table of scripts/tidy.ts`
  const allowed = place.endsWith('/') ? file.startsWith(place) : file === place
  return allowed ? null : `package '${name}' may only be imported in ${place}`
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const findings = tidy(process.cwd())
  for (const { file, line, message } of findings) console.log(`${file}:${line}: ${message}`)
  process.exitCode = findings.length > 0 ? 1 : 0
}
