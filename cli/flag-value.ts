/** What a flag means that does not stand on the command line but in a file or the environment. */
import path from 'node:path'
import { InvalidArgumentError, type Option } from 'commander'
import { LISTS, PATHS } from './config-keys.ts'

/** A value that was given somewhere. */
export interface Given {
  /** As TOML has it, with absolute paths. */
  readonly raw: unknown
  /** What it means. */
  readonly value: unknown
}

/** Of `--page-cache`: `CHUNKNBD_PAGE_CACHE`. */
export function environmentName(flag: string): string {
  return `CHUNKNBD_${flag.slice(2).toUpperCase().replaceAll('-', '_')}`
}

/**
 * @param directory what paths are relative to
 * @throws InvalidArgumentError that says what is expected
 */
export function givenAs(option: Option, written: unknown, directory: string): Given {
  const raw = located(option, written, directory)
  return { raw, value: valueOf(option, raw) }
}

/** @returns a variable's text as TOML would have it */
export function tomlOf(option: Option, text: string): unknown {
  if (isList(option)) return text.split(/\s+/).filter((each) => each !== '')
  if (!option.isBoolean()) return text
  if (/^(1|true|yes|on)$/i.test(text)) return true
  return /^(0|false|no|off)$/i.test(text) ? false : text
}

function valueOf(option: Option, raw: unknown): unknown {
  if (option.isBoolean()) {
    if (typeof raw === 'boolean') return raw
    throw new InvalidArgumentError('Write true or false.')
  }
  if (!isList(option)) return parse(option, word(raw), undefined)
  if (!Array.isArray(raw)) throw new InvalidArgumentError('Write a list: ["…"].')
  return raw.reduce((before: unknown, each) => parse(option, word(each), before), undefined) ?? []
}

function located(option: Option, raw: unknown, directory: string): unknown {
  if (Array.isArray(raw)) return raw.map((each) => located(option, each, directory))
  if (typeof raw !== 'string') return raw
  if (option.long === '--map-path') {
    const at = raw.indexOf('=')
    const hasBoth = at > 0 && at + 1 < raw.length
    return hasBoth ? raw.slice(0, at + 1) + path.resolve(directory, raw.slice(at + 1)) : raw
  }
  return PATHS.includes(option.long ?? '') ? path.resolve(directory, raw) : raw
}

function isList(option: Option): boolean {
  return LISTS.includes(option.long ?? '')
}

function word(raw: unknown): string {
  if (typeof raw === 'string') return raw
  if (Number.isFinite(raw)) return String(raw)
  throw new InvalidArgumentError('Write a string in quotes, or a number.')
}

function parse(option: Option, text: string, before: unknown): unknown {
  const { parseArg } = option
  if (parseArg === undefined) return text
  return (parseArg as (text: string, before: unknown) => unknown)(text, before)
}
