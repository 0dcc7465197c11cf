/** Reads the keys of `[exports.NAME]` that say who may have it. */
import { type AccessRules, Networks, parseClient } from './access-rules.ts'

type Values = Readonly<Record<string, unknown>>
type Report = (key: string, what: string) => void

/** @param report is told of each value that cannot be */
export function readAccess(values: Values, report: Report): AccessRules {
  return {
    hidden: flag(values, 'hidden', report),
    requireTls: flag(values, 'require-tls', report),
    clients: list(values, 'clients', report, (texts) => texts.map(parseClient)),
    networks: list(values, 'networks', report, (texts) => new Networks(texts)),
  }
}

function flag(values: Values, key: string, report: Report): boolean {
  const value = values[key] ?? false
  if (typeof value === 'boolean') return value
  report(key, 'Write true or false.')
  return true
}

/** @returns null: the key is not there. An empty list is one that fits nobody. */
function list<T>(
  values: Values,
  key: string,
  report: Report,
  read: (texts: readonly string[]) => T,
): T | null {
  const value = values[key]
  if (value === undefined) return null
  try {
    if (isTexts(value)) return read(value)
    report(key, 'Write a list: ["…"].')
  } catch (error) {
    report(key, (error as Error).message)
  }
  return null
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}
