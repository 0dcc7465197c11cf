/**
 * What a server is to do, from all that says so: flags count more than the environment
 * (`CHUNKNBD_*`), that more than the configuration file, that more than the defaults. A flag, or a
 * variable, about disks counts for all of them, whatever the file says of each.
 */
import path from 'node:path'
import type { Command, Option } from 'commander'
import type { PathEntry } from '../chunkstore/path-map.ts'
import type { CacheMode, TrimMode } from '../chunkstore/options.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import { type AccessRules, OPEN } from './access-rules.ts'
import { ConfigError } from './config-error.ts'
import { type ConfigFile, type ConfiguredExport, readConfig } from './config-file.ts'
import { environmentName, type Given, givenAs, tomlOf } from './flag-value.ts'
import type { ServeOptions } from './serve-options.ts'
import { tlsModeOf } from './tls.ts'

export interface DiskSettings {
  /** Absolute path of the descriptor. */
  readonly file: string
  readonly cache: CacheMode
  readonly trim: TrimMode
  /** Bytes. */
  readonly pageCache: number
  readonly movable: boolean
  readonly lockFiles: boolean
  /** Null: none. */
  readonly uuid: string | null
  readonly mapPath: readonly PathEntry[]
}

export interface ExportSettings {
  readonly name: string
  readonly readOnly: boolean
  readonly access: AccessRules
  /** Bytes of a disk in memory, or a disk in files. */
  readonly disk: number | DiskSettings
}

export interface Settings {
  readonly options: ServeOptions
  readonly exports: readonly ExportSettings[]
  /** What a client gets that names none; null: nothing. */
  readonly defaultExport: string | null
  /** Path of the configuration file, or null. */
  readonly config: string | null
  /** What the file says of exports. */
  readonly configured: readonly ConfiguredExport[]
  /** Where each flag has its value from, by attribute. */
  readonly sources: ReadonlyMap<string, Source>
}

export interface Source {
  readonly kind: 'flag' | 'environment' | 'file' | 'default'
  /** For showing it. */
  readonly raw: unknown
}

/**
 * @param files descriptors that stand on the command line
 * @param command parsed
 * @throws ConfigError
 */
export async function readSettings(
  files: readonly string[],
  command: Command,
  environment: NodeJS.ProcessEnv,
): Promise<Settings> {
  const file = configFile(command, environment)
  const config = file === null ? null : await readConfig(file, command)
  return combine(files, command, environment, config)
}

export function configFile(command: Command, environment: NodeJS.ProcessEnv): string | null {
  const given = command.getOptionValue('config') as string | undefined
  const file = given ?? environment[environmentName('--config')] ?? ''
  return file === '' ? null : file
}

export function combine(
  files: readonly string[],
  command: Command,
  environment: NodeJS.ProcessEnv,
  config: ConfigFile | null,
): Settings {
  const values: Record<string, unknown> = {}
  const sources = new Map<string, Source>()
  for (const option of command.options) {
    const attribute = option.attributeName()
    const { value, ...source } = find(option, command, environment, config)
    if (value !== undefined) values[attribute] = value
    sources.set(attribute, source)
  }
  // Each value has come through the parser of its option.
  const options = values as unknown as ServeOptions
  const configured = config?.exports ?? []
  const exports = [
    ...files.map((file) => ofFile(exportName(file), file, options)),
    ...memoryExport(options, sources),
    ...configured.map((each) => ofConfig(each, options, sources)),
  ]
  check(exports, files, config)
  checkTls(options, exports, config)
  const first = config === null || files.length > 0 ? exports[0]?.name : undefined
  const defaultExport = config?.defaultExport ?? first ?? null
  return { options, exports, defaultExport, config: config?.file ?? null, configured, sources }
}

function find(
  option: Option,
  command: Command,
  environment: NodeJS.ProcessEnv,
  config: ConfigFile | null,
): Source & { readonly value: unknown } {
  const attribute = option.attributeName()
  const value = command.getOptionValue(attribute) as unknown
  if (command.getOptionValueSource(attribute) === 'cli') return { kind: 'flag', raw: value, value }
  const name = environmentName(option.long ?? '')
  const text = environment[name] ?? ''
  if (text !== '') return { kind: 'environment', ...variable(option, name, text) }
  const given = config?.flags.get(attribute)
  if (given !== undefined) return { kind: 'file', ...given }
  return { kind: 'default', raw: rawDefault(option) ?? value, value }
}

/** As a configuration file would have it, where that is not the value itself. */
function rawDefault(option: Option): unknown {
  if (option.isBoolean()) return false
  const text = option.defaultValueDescription
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text
}

function variable(option: Option, name: string, text: string): Given {
  try {
    return givenAs(option, tomlOf(option, text), process.cwd())
  } catch (error) {
    const problem = (error as Error).message
    throw new ConfigError([`variable ${name} of the environment is '${text}'. ${problem}`])
  }
}

function exportName(file: string): string {
  return path.basename(file, path.extname(file))
}

function ofFile(name: string, file: string, options: ServeOptions): ExportSettings {
  const { cache, trim, pageCache, movable = false, lockFiles = false } = options
  const { uuid = null, mapPath = [] } = options
  const how = { cache, trim, pageCache, movable, lockFiles, uuid, mapPath }
  const disk = { file: path.resolve(file), ...how }
  return { name, readOnly: options.readOnly === true, access: OPEN, disk }
}

/** `--memory`: beside whatever the file has. */
function memoryExport(
  { memory, readOnly = false }: ServeOptions,
  sources: ReadonlyMap<string, Source>,
): ExportSettings[] {
  const isGiven = memory !== undefined && sources.get('memory')?.kind !== 'file'
  return isGiven ? [{ name: 'memory', readOnly, access: OPEN, disk: memory }] : []
}

function ofConfig(
  { name, file, flags, access }: ConfiguredExport,
  options: ServeOptions,
  sources: ReadonlyMap<string, Source>,
): ExportSettings {
  // `--uuid` is for the one disk on the command line.
  const { uuid: _uuid, ...shared } = options
  const own = [...flags].filter(
    ([attribute]) => attribute === 'uuid' || !overrides(sources.get(attribute)),
  )
  const merged: ServeOptions = { ...shared, ...Object.fromEntries(own.map(valueOf)) }
  if (file !== null) return { ...ofFile(name, file, merged), access }
  const size = flags.get('memory')?.value as number
  return { name, readOnly: merged.readOnly === true, access, disk: size }
}

function valueOf([attribute, { value }]: readonly [string, Given]): [string, unknown] {
  return [attribute, value]
}

function overrides(source: Source | undefined): boolean {
  return source?.kind === 'flag' || source?.kind === 'environment'
}

/** What only goes wrong together. @throws ConfigError */
function check(
  exports: readonly ExportSettings[],
  files: readonly string[],
  config: ConfigFile | null,
): void {
  const problems: string[] = []
  const names = new Set<string>()
  for (const [index, { name, readOnly, disk }] of exports.entries()) {
    const isConfigured = index >= exports.length - (config?.exports.length ?? 0)
    const place = isConfigured ? `${config?.file}: export "${name}"` : (files[index] ?? '--memory')
    if (names.has(name)) {
      problems.push(`${place}: an export is already named "${name}"; rename one of them`)
    }
    names.add(name)
    if (typeof disk !== 'number' && disk.movable && readOnly) {
      problems.push(`${place}: movable is for disks that are written: leave out read-only`)
    }
  }
  if (problems.length > 0) throw new ConfigError(problems)
}

/** Rules that nobody can fulfil are not what was meant. */
function checkTls(
  options: ServeOptions,
  exports: readonly ExportSettings[],
  config: ConfigFile | null,
): void {
  const { tlsCertificates, tlsPsk, tlsVerifyPeer = false } = options
  const file = config?.file ?? 'TLS'
  const problems: string[] = []
  if (tlsCertificates !== undefined && tlsPsk !== undefined) {
    const all = 'an option or a variable counts as well'
    problems.push(`${file}: tls.certificates or tls.psk, not both; ${all}`)
  }
  const isOff = tlsModeOf(options) === TlsMode.OFF
  for (const { name, access } of exports) {
    const kinds = new Set(access.clients?.map((each) => each.kind))
    const place = `${file}: export "${name}"`
    if (isOff && access.requireTls) problems.push(`${place}: require-tls, but tls.mode is "off"`)
    if (kinds.has('psk') && (isOff || tlsPsk === undefined)) {
      problems.push(`${place}: clients "psk:…" need tls.psk`)
    }
    if (kinds.has('x509') && (isOff || !tlsVerifyPeer)) {
      problems.push(`${place}: clients "x509:…" need tls.verify-peer = true`)
    }
  }
  if (problems.length > 0) throw new ConfigError(problems)
}
