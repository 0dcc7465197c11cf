/** SIGHUP with a configuration file: its exports, and the log level, count from then on. */
import { FLAG_TABLES } from './config-keys.ts'
import type { Changes } from './export-changes.ts'
import type { Logger } from './logger.ts'
import { serveCommandLine } from './serve-options.ts'
import type { Settings } from './settings.ts'
import type { Reload } from './signals.ts'

/** Flags that count from then on, beside those about disks. */
const CHANGEABLE = ['--log-level', '--map-path']

/**
 * @param read the settings anew
 * @param change makes the exports those of the settings
 */
export function configReload(
  first: Settings,
  read: () => Promise<Settings>,
  change: (next: Settings) => Promise<Changes>,
  log: Logger,
): Reload {
  const run = async (): Promise<void> => {
    const next = await read()
    const changes = await change(next)
    log.level = next.options.logLevel
    for (const key of fixedKeys(first, next)) {
      log.warn({ key }, 'this is changed by a restart only')
    }
    const added = namesOf([...changes.early, ...changes.late])
    const reopened = changes.reopened.map((each) => each.after.name)
    const removed = namesOf(changes.removed)
    log.info({ added, removed, reopened, access: changes.access }, 'exports changed')
  }
  return { what: `configuration from ${first.config}`, run }
}

function namesOf(some: readonly { readonly name: string }[]): string[] {
  return some.map((each) => each.name)
}

/** Keys whose values differ from those the server began with. */
function fixedKeys(before: Settings, after: Settings): string[] {
  const attributes = new Map(
    serveCommandLine().options.map((option) => [option.long, option.attributeName()]),
  )
  const keys: string[] = []
  for (const [table, flags] of Object.entries(FLAG_TABLES)) {
    for (const [key, flag] of Object.entries(flags)) {
      if (table === 'defaults' || CHANGEABLE.includes(flag)) continue
      const attribute = attributes.get(flag) ?? ''
      const [old, now] = [before, after].map((each) => each.sources.get(attribute)?.raw)
      if (JSON.stringify(old) !== JSON.stringify(now)) keys.push(`${table}.${key}`)
    }
  }
  return keys
}
