/** Turns words of the command line into values; what does not fit is a usage error (exit 2). */
import { constants } from 'node:buffer'
import path from 'node:path'
import { InvalidArgumentError, Option } from 'commander'
import { PAGES_MAX, PAGE_SIZE } from '../cache/limits.ts'
import { isWindowsPath, type PathEntry } from '../chunkstore/path-map.ts'
import { formatSize, parseSize } from '../chunkstore/size.ts'
import type { ListenAddress } from '../io/io.ts'
import { isWebSocketUrl, parseWebSocketUrl } from '../io/ws-url.ts'
import { type NbdUri, parseUri } from '../nbd/uri.ts'

/** What a page table can name, and Node allocates in one piece (4 GiB and more); whole GiB. */
const PAGE_CACHE_BYTES_MAX =
  Math.floor(Math.min(PAGES_MAX * PAGE_SIZE, constants.MAX_LENGTH - PAGE_SIZE) / 2 ** 30) * 2 ** 30

/** Of each disk, unless asked otherwise. */
export const PAGE_CACHE_BYTES = 64 << 20

/** Bytes, 0 included. */
export function sizeArgument(text: string): number {
  const size = parseSize(text)
  if (size === null) throw new InvalidArgumentError('It is not a size like 64M.')
  return size
}

/** Added to those given before. */
export function directoryArgument(text: string, before: readonly string[] = []): string[] {
  if (text === '') throw new InvalidArgumentError('Write the path of a directory.')
  return [...before, text]
}

/** Of a socket file. The leading zero tells it from a number of TOML, which is no octal one. */
export function modeArgument(text: string): number {
  if (/^0[0-7]{3}$/.test(text)) return parseInt(text, 8)
  throw new InvalidArgumentError('Write 4 octal digits, the first one 0: "0660".')
}

/** Of a disk or a chunk. */
export function blocksArgument(text: string): number {
  const size = sizeArgument(text)
  if (size > 0 && size % PAGE_SIZE === 0) return size
  throw new InvalidArgumentError('It must be a multiple of 4K above 0.')
}

export function pageCacheArgument(text: string): number {
  const size = sizeArgument(text)
  if (size <= PAGE_CACHE_BYTES_MAX) return size
  throw new InvalidArgumentError(`It can be at most ${formatSize(PAGE_CACHE_BYTES_MAX)}.`)
}

export interface PartArgument {
  readonly directory: string
  readonly chunksMax: number | null
}

/** `DIR` or `DIR:MAX_CHUNKS`, added to those given before. */
export function partArgument(text: string, before: readonly PartArgument[] = []): PartArgument[] {
  const match = /^(.+?)(?::(\d+))?$/s.exec(text)
  if (match === null) throw new InvalidArgumentError('Write DIR or DIR:MAX_CHUNKS.')
  const chunksMax = match[2] === undefined ? null : Number(match[2])
  if (chunksMax === 0) throw new InvalidArgumentError('A part must take at least 1 chunk.')
  return [...before, { directory: match[1], chunksMax }]
}

/** Where directories that descriptors name are found here; every command that reads one has it. */
export function mapPathOption(): Option {
  const what = 'where a directory that descriptors name is found here; repeat it for more'
  return new Option('--map-path <FROM=TO>', what).argParser(mapPathArgument)
}

function mapPathArgument(text: string, before: readonly PathEntry[] = []): PathEntry[] {
  const at = text.indexOf('=')
  const written = text.slice(0, Math.max(0, at)).replace(/(?<=.)[/\\]+$/, '')
  const isAbsolute = isWindowsPath(written) || written.startsWith('/')
  if (!isAbsolute || at + 1 === text.length) {
    throw new InvalidArgumentError("Write 'C:\\disks=/mnt/disks'.")
  }
  return [...before, { written, directory: path.resolve(text.slice(at + 1)) }]
}

/** Where to listen. */
export interface ListenUri {
  readonly address: ListenAddress
  readonly exportName: string
}

/** A URI to listen at, added to those given before. */
export function listenArgument(text: string, before: readonly ListenUri[] = []): ListenUri[] {
  const uri = isWebSocketUrl(text) ? webSocketArgument(text) : plainArgument(text)
  if (uri.exportName !== '') {
    throw new InvalidArgumentError(`Leave out "/${uri.exportName}": the disks name the exports.`)
  }
  return [...before, uri]
}

function plainArgument(text: string): ListenUri {
  const uri = uriArgument(text)
  if (uri.tls === null) return uri
  throw new InvalidArgumentError('Write nbd:// here; --tls says what is encrypted.')
}

function webSocketArgument(text: string): ListenUri {
  try {
    return parseWebSocketUrl(text)
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

function uriArgument(text: string): NbdUri {
  try {
    return parseUri(text)
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

/** In lower case, without braces. */
export function uuidArgument(text: string): string {
  const match = /^\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?$/i.exec(text)
  if (match !== null) return match[1].toLowerCase()
  throw new InvalidArgumentError('Write 8-4-4-4-12 hexadecimal digits.')
}

/** The path of a file, or the URI of a running server. */
export function fileOrUriArgument(text: string): string | NbdUri {
  if (isWebSocketUrl(text)) {
    throw new InvalidArgumentError('Ask through "chunknbd relay", at the URI that it prints.')
  }
  return /^nbds?(\+[a-z]+)?:/i.test(text) ? uriArgument(text) : text
}
