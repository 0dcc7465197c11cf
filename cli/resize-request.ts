/** The request to resize a disk, as it goes over the control socket. */
import path from 'node:path'
import type { PartRequest } from '../chunkstore/resize-parts.ts'
import type { ResizeOptions } from '../chunkstore/resize.ts'

export interface ResizeRequest extends ResizeOptions {
  readonly command: 'resize'
}

/** @throws Error ECONTROL if it is anything else: it may come from another version */
export function parseResizeRequest(value: unknown): ResizeOptions {
  if (isRecord(value) && value.command === 'resize') {
    const { size, discardTail, parts } = value
    const isWhole = typeof size === 'number' && Number.isSafeInteger(size) && size > 0
    if (
      isWhole &&
      typeof discardTail === 'boolean' &&
      Array.isArray(parts) &&
      parts.every(isPart)
    ) {
      return { size, discardTail, parts }
    }
  }
  const message = 'the server does not understand this request; is it of the same version?'
  throw Object.assign(new Error(message), { code: 'ECONTROL' })
}

function isPart(value: unknown): value is PartRequest {
  if (!isRecord(value)) return false
  const { directory, isRelative, chunksMax } = value
  if (typeof directory !== 'string' || !path.isAbsolute(directory)) return false
  if (typeof isRelative !== 'boolean') return false
  return chunksMax === null || (Number.isSafeInteger(chunksMax) && Number(chunksMax) > 0)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
