/** Settings as a configuration file that would have said all of it. */
import { EXPORT_FLAGS, FLAG_TABLES, SECRETS } from './config-keys.ts'
import type { ConfiguredExport } from './config-file.ts'
import type { Settings, Source } from './settings.ts'
import { serveCommandLine } from './serve-options.ts'

type Table = Record<string, unknown>

/** A TOML document. Secrets are left out, only that they are there is told. */
export function effectiveConfig({ sources, defaultExport, configured }: Settings): Table {
  const document: Table = {}
  for (const [table, keys] of Object.entries(FLAG_TABLES)) {
    const values = valuesOf(keys, (attribute) => sources.get(attribute))
    if (Object.keys(values).length > 0) document[table] = values
  }
  if (defaultExport !== null) {
    document.server = { ...(document.server as Table), 'default-export': defaultExport }
  }
  const exports = configured.map((each): [string, Table] => [each.name, exportOf(each, sources)])
  if (exports.length > 0) document.exports = Object.fromEntries(exports)
  return document
}

function exportOf(each: ConfiguredExport, sources: Settings['sources']): Table {
  const source = each.file === null ? {} : { file: each.file }
  const flags = valuesOf(EXPORT_FLAGS, (attribute) => {
    const own = each.flags.get(attribute)
    const general = sources.get(attribute)
    if (attribute === 'memory' || attribute === 'uuid') return own
    if (each.file === null && attribute !== 'readOnly') return undefined
    return general?.kind === 'environment' ? general : (own ?? general)
  })
  return { ...source, ...flags, ...each.accessWritten }
}

function valuesOf(
  keys: Readonly<Record<string, string>>,
  find: (attribute: string) => Pick<Source, 'raw'> | undefined,
): Table {
  const options = new Map(serveCommandLine().options.map((each) => [each.long, each]))
  const values: Table = {}
  for (const [key, flag] of Object.entries(keys)) {
    const raw = find(options.get(flag)?.attributeName() ?? '')?.raw
    if (raw !== undefined) values[key] = SECRETS.includes(flag) ? '(secret)' : raw
  }
  return values
}
