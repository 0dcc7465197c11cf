/**
 * Reads a configuration file: every key is known and has a value it can have, or all that is wrong
 * is told at once. What the values do together with flags and environment is in `settings.ts`.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command, Option } from 'commander'
import { parse, TomlError } from 'smol-toml'
import { isString } from '../nbd/strings.ts'
import type { AccessRules } from './access-rules.ts'
import { readAccess } from './config-access.ts'
import { ConfigError, lineOf, nearest } from './config-error.ts'
import {
  ACCESS_KEYS,
  EXPORT_FLAGS,
  EXPORT_OWN_KEYS,
  FILE_KEYS,
  FLAG_TABLES,
  SERVER_OWN_KEYS,
} from './config-keys.ts'
import { type Given, givenAs } from './flag-value.ts'

/** Longer ones are not read: it is some other file. */
const CONFIG_BYTES_MAX = 1 << 20

/** By the attribute of the option (`pageCache`). */
export type GivenFlags = ReadonlyMap<string, Given>

export interface ConfiguredExport {
  readonly name: string
  /** Absolute path of the descriptor; null: a disk in memory. */
  readonly file: string | null
  readonly flags: GivenFlags
  readonly access: AccessRules
  /** The keys behind it, as written. */
  readonly accessWritten: Readonly<Record<string, unknown>>
}

export interface ConfigFile {
  /** Absolute path. */
  readonly file: string
  readonly flags: GivenFlags
  /** Name of an export; null: none is named. */
  readonly defaultExport: string | null
  readonly exports: readonly ConfiguredExport[]
}

/**
 * @param command whose flags the keys stand for
 * @throws ConfigError
 */
export async function readConfig(file: string, command: Command): Promise<ConfigFile> {
  const absolute = path.resolve(file)
  const text = await readFile(absolute, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = REASONS.get(error.code) ?? error.message
    throw new ConfigError([`${file}: cannot be read: ${why}`])
  })
  return parseConfig(text, absolute, command)
}

const REASONS: ReadonlyMap<string | undefined, string> = new Map([
  ['ENOENT', 'there is no such file'],
  ['EISDIR', 'it is a directory'],
])

/** @throws ConfigError */
export function parseConfig(text: string, file: string, command: Command): ConfigFile {
  if (text.length > CONFIG_BYTES_MAX) throw new ConfigError([`${file}: more than 1 MiB`])
  const reader = new Reader(text, file, command)
  const config = reader.read(toml(text, file))
  const problems = reader.problems.toSorted((a, b) => a.line - b.line)
  if (problems.length > 0) throw new ConfigError(problems.map((each) => each.text))
  return config
}

type Table = Readonly<Record<string, unknown>>

function toml(text: string, file: string): Table {
  try {
    return parse(text, { unsafeKeyBehaviour: 'throw' })
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [what] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    const fix = what === 'invalid value' ? '; write text in quotes' : ''
    const place = `${file}:${error.line}: not TOML (column ${error.column})`
    throw new ConfigError([`${place}: ${what}${fix}`])
  }
}

class Reader {
  readonly problems: { readonly line: number; readonly text: string }[] = []
  readonly #text: string
  readonly #file: string
  readonly #options: ReadonlyMap<string, Option>

  constructor(text: string, file: string, command: Command) {
    this.#text = text
    this.#file = file
    this.#options = new Map(command.options.map((option) => [option.long ?? '', option]))
  }

  read(document: Table): ConfigFile {
    this.#checkNames(document, [], [...Object.keys(FLAG_TABLES), 'exports'])
    const flags = new Map<string, Given>()
    for (const [table, keys] of Object.entries(FLAG_TABLES)) {
      const own = table === 'server' ? SERVER_OWN_KEYS : []
      const values = this.#table(document, [table], [...Object.keys(keys), ...own])
      this.#readFlags(values, [table], keys, flags)
    }
    const exports = this.#readExports(this.#table(document, ['exports'], null))
    const defaultExport = this.#readDefault(document, exports)
    return { file: this.#file, flags, defaultExport, exports }
  }

  #readExports(table: Table): ConfiguredExport[] {
    const known = [...Object.keys(EXPORT_FLAGS), ...EXPORT_OWN_KEYS]
    return Object.keys(table).map((name) => {
      const place = ['exports', name]
      if (name === '' || !isString(name)) {
        this.#report(place, 'A name has 1 to 4096 bytes of UTF-8 and no NUL.')
      }
      const values = this.#table(table, place, known)
      const flags = new Map<string, Given>()
      this.#readFlags(values, place, EXPORT_FLAGS, flags)
      const file = this.#string(values, [...place, 'file'])
      this.#checkKind(values, place)
      const absolute = file === null ? null : path.resolve(path.dirname(this.#file), file)
      const access = readAccess(values, (key, what) => this.#report([...place, key], what))
      const written = Object.entries(values).filter(([key]) =>
        ACCESS_KEYS.some((each) => each === key),
      )
      return { name, file: absolute, flags, access, accessWritten: Object.fromEntries(written) }
    })
  }

  #checkKind(values: Table, place: readonly string[]): void {
    const isMemory = 'memory' in values
    if (isMemory && 'file' in values) this.#report(place, 'Give it a file or memory, not both.')
    if (!isMemory && (values.file ?? '') === '') {
      this.#report(place, 'Say what it is: file = "FILE.chunkdisk", or memory = SIZE.')
    }
    for (const key of isMemory ? FILE_KEYS : []) {
      if (key in values) this.#report([...place, key], 'This is for disks in files.')
    }
  }

  #readDefault(document: Table, exports: readonly ConfiguredExport[]): string | null {
    const { server } = document
    const place = ['server', 'default-export']
    const name = isTable(server) ? this.#string(server, place) : null
    const names = exports.map((each) => each.name)
    if (name === null || names.includes(name)) return name
    const hint = names.length === 0 ? '' : `; the nearest is "${nearest(name, names)}"`
    this.#report(place, `There is no export "${name}"${hint}.`)
    return null
  }

  /** @returns the values that belong to flags, by attribute */
  #readFlags(
    values: Table,
    place: readonly string[],
    keys: Readonly<Record<string, string>>,
    into: Map<string, Given>,
  ): void {
    for (const [key, flag] of Object.entries(keys)) {
      if (!(key in values)) continue
      const option = this.#options.get(flag)
      if (option === undefined) throw new Error(`no flag ${flag} for ${[...place, key].join('.')}`)
      try {
        const given = givenAs(option, values[key], path.dirname(this.#file))
        into.set(option.attributeName(), given)
      } catch (error) {
        this.#report([...place, key], (error as Error).message)
      }
    }
  }

  /** @returns null if it is not there, or no string, which is reported */
  #string(values: Table, place: readonly string[]): string | null {
    const raw = values[place.at(-1) ?? '']
    if (raw === undefined || typeof raw === 'string') return raw ?? null
    this.#report(place, 'Write a string in quotes.')
    return null
  }

  /** @param known null: any name. @returns empty if it is not there */
  #table(parent: Table, place: readonly string[], known: readonly string[] | null): Table {
    const table = parent[place.at(-1) ?? ''] ?? {}
    if (!isTable(table)) {
      this.#report(place, `This is a table: [${place.join('.')}].`)
      return {}
    }
    if (known !== null) this.#checkNames(table, place, known)
    return table
  }

  #checkNames(table: Table, place: readonly string[], known: readonly string[]): void {
    for (const name of Object.keys(table)) {
      if (known.includes(name)) continue
      const what = place.length === 0 && isTable(table[name]) ? 'table' : 'key'
      const hint = known.length === 0 ? '' : `; the nearest is "${nearest(name, known)}"`
      this.#report([...place, name], `unknown ${what}${hint}`)
    }
  }

  #report(place: readonly string[], what: string): void {
    const line = lineOf(this.#text, place)
    const where = line === null ? this.#file : `${this.#file}:${line}`
    const text = `${where}: ${place.map(quoted).join('.')}: ${what}`
    this.problems.push({ line: line ?? 0, text })
  }
}

function isTable(value: unknown): value is Table {
  const { toString } = Object.prototype
  return toString.call(value) === '[object Object]'
}

/** As TOML writes a key. */
function quoted(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name)
}
