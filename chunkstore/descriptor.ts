/**
 * The `.chunkdisk` file: text, one value a line.
 *
 *   base.chunkdisk        parent, only if the first line is not a size
 *   1073741824            size of the disk
 *   67108864              size of a chunk
 *   16 disk.chunks        part: most chunks, one space, directory (may contain spaces)
 *   checksums crc32c      what the parts hold besides; who does not know of it takes it for a
 *                         part, a wrong one, and leaves the disk alone
 *
 * The format is that of chunkdisk 1.6. Beyond it we accept `#` comment lines, empty lines, sizes
 * with binary suffixes, and paths relative to the descriptor.
 */
import path from 'node:path'
import { DiskError } from './disk-error.ts'
import { Geometry } from './geometry.ts'
import { DISK_BYTES_MAX, PAGE_SIZE } from './limits.ts'
import { ChecksumKind } from './options.ts'
import { isWindowsPath, PathMap } from './path-map.ts'
import { formatSize, parseSize } from './size.ts'

/** A first line like this is the disk's size, perhaps a wrong one; any other is the parent. */
const LIKE_A_SIZE = /^\s*\d+\s*([KMGTP](i?B)?)?\s*$/i

const CHECKSUMS_LINE = /^checksums /

export interface PartLine {
  /** Most chunk files the directory may hold. */
  readonly chunksMax: number
  /** As written in the descriptor. */
  readonly written: string
  /** Absolute. */
  readonly directory: string
}

export interface Descriptor {
  /** Absolute path of the descriptor itself. */
  readonly file: string
  readonly geometry: Geometry
  readonly parts: readonly PartLine[]
  /** Absolute path of the parent's descriptor, or null. */
  readonly parent: string | null
  readonly parentWritten: string | null
  readonly checksums: ChecksumKind
}

/**
 * @param text contents of the descriptor
 * @param file absolute path of the descriptor, for messages and relative paths
 * @param paths where directories of another machine are found here
 * @throws DiskError EDESCRIPTOR
 */
export function parseDescriptor(text: string, file: string, paths = PathMap.NONE): Descriptor {
  const lines = significantLines(text)
  let next = 0
  const parentLine = findParent(lines)
  const hasParent = parentLine !== null
  if (hasParent) next = 1
  const diskSize = sizeAt(lines[next], 'the disk size', file, hasParent)
  const chunkSize = sizeAt(lines[next + 1], 'the chunk size', file, false)
  const places = { disk: placeOf(lines[next]), chunk: placeOf(lines[next + 1]) }
  const geometry = checkedGeometry(diskSize, chunkSize, file, places)
  const parent = hasParent ? locate(parentLine.text, parentLine, file, paths) : null
  const rest = lines.slice(next + 2)
  const checksums = parseChecksums(rest.filter(isFeature), file)
  const parts = rest.filter((line) => !isFeature(line)).map((line) => parsePart(line, file, paths))
  checkQuota(parts, geometry, file)
  return {
    file,
    geometry,
    parts,
    parent,
    parentWritten: hasParent ? parentLine.text : null,
    checksums,
  }
}

export interface Line {
  readonly text: string
  /** From 1. */
  readonly number: number
}

/** Among the lines of the parts: it says what they hold besides. */
export function isFeature({ text }: Line): boolean {
  return CHECKSUMS_LINE.test(text)
}

/** @returns the line that names the parent, or null */
export function findParent([first]: readonly Line[]): Line | null {
  return first !== undefined && !LIKE_A_SIZE.test(first.text) ? first : null
}

/** @returns the lines that are neither empty nor comments */
export function significantLines(text: string): Line[] {
  const lines: Line[] = []
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.replace(/\r$/, '')
    if (line.trim() !== '' && !line.startsWith('#')) lines.push({ text: line, number: index + 1 })
  }
  return lines
}

function sizeAt(line: Line | undefined, what: string, file: string, afterParent: boolean): number {
  if (line === undefined) throw broken(file, `${what} is missing`)
  const size = parseSize(line.text)
  if (size !== null) return size
  const hint = afterParent ? ' (the first line is no size, so it was taken for the parent)' : ''
  const shown = JSON.stringify(line.text)
  throw broken(file, `line ${line.number}: ${what} is ${shown}, not a size like 64M${hint}`)
}

function placeOf(line: Line): string {
  return `line ${line.number}: `
}

/**
 * @param places where the sizes were found, put before the message
 * @throws DiskError EDESCRIPTOR which names the size and the rule
 */
export function checkedGeometry(
  diskSize: number,
  chunkSize: number,
  file: string,
  places = { disk: '', chunk: '' },
): Geometry {
  const check = (size: number, what: string): void => {
    if (size > 0 && size % PAGE_SIZE === 0 && size <= DISK_BYTES_MAX) return
    throw broken(file, `${what} is ${size} bytes; it must be a multiple of ${PAGE_SIZE} above 0`)
  }
  check(diskSize, `${places.disk}the disk size`)
  check(chunkSize, `${places.chunk}the chunk size`)
  if (chunkSize > diskSize) {
    const sizes = `${formatSize(chunkSize)} is larger than the disk (${formatSize(diskSize)})`
    throw broken(file, `${places.chunk}the chunk size ${sizes}; choose a smaller one`)
  }
  return new Geometry(diskSize, chunkSize)
}

function locate(written: string, line: Line, file: string, paths: PathMap): string {
  const mapped = paths.locate(written)
  if (mapped !== null) return mapped
  if (!isWindowsPath(written)) return path.resolve(path.dirname(file), written)
  const fix = `say where it is: --map-path '${path.win32.dirname(written)}=DIRECTORY'`
  throw broken(file, `line ${line.number}: "${written}" is a path of Windows; ${fix}`)
}

function parsePart(line: Line, file: string, paths: PathMap): PartLine {
  const match = /^(\d+) (.+)$/.exec(line.text)
  if (match === null) {
    const shown = JSON.stringify(line.text)
    throw broken(file, `line ${line.number}: ${shown} is not a part ("MAX_CHUNKS DIRECTORY")`)
  }
  // A part of 0 takes no new chunk; a huge number means "as many as there are".
  const chunksMax = Math.min(Number(match[1]), Number.MAX_SAFE_INTEGER)
  const written = match[2].replace(/(?<=.)[/\\]$/, '')
  return { chunksMax, written, directory: locate(written, line, file, paths) }
}

function parseChecksums(lines: readonly Line[], file: string): ChecksumKind {
  const [line, second] = lines
  if (line === undefined) return ChecksumKind.NONE
  if (second !== undefined) throw broken(file, `line ${second.number}: checksums are named twice`)
  const written = line.text.replace(CHECKSUMS_LINE, '').trim()
  if (written === ChecksumKind.CRC32C) return ChecksumKind.CRC32C
  const known = `this version of chunknbd knows "${ChecksumKind.CRC32C}"`
  throw broken(file, `line ${line.number}: unknown checksums "${written}"; ${known}`)
}

function checkQuota(parts: readonly PartLine[], geometry: Geometry, file: string): void {
  if (parts.length === 0) throw broken(file, 'it names no part (a line "MAX_CHUNKS DIRECTORY")')
  const room = parts.reduce((sum, part) => sum + part.chunksMax, 0)
  if (room >= geometry.chunkCount) return
  const need = `the disk has ${geometry.chunkCount} chunks, its parts hold ${room}`
  throw broken(file, `${need}; raise a part's number or add a part`)
}

function broken(file: string, what: string): DiskError {
  return new DiskError('EDESCRIPTOR', `${file}: ${what}`)
}

/** @returns the text of a descriptor without the line that names the parent, all else unchanged */
export function withoutParent(text: string): string {
  const parent = findParent(significantLines(text))
  const lines = text.split(/(?<=\n)/)
  if (parent !== null) lines.splice(parent.number - 1, 1)
  return lines.join('')
}

/** The text of a descriptor; sizes in bytes so that chunkdisk can read it. */
export function formatDescriptor(
  parent: string | null,
  geometry: Geometry,
  parts: readonly { readonly chunksMax: number; readonly written: string }[],
  checksums: ChecksumKind = ChecksumKind.NONE,
): string {
  const lines = parent === null ? [] : [parent]
  lines.push(String(geometry.diskSize), String(geometry.chunkSize))
  for (const part of parts) lines.push(`${part.chunksMax} ${part.written}`)
  if (checksums !== ChecksumKind.NONE) lines.push(`checksums ${checksums}`)
  return lines.join('\n') + '\n'
}
