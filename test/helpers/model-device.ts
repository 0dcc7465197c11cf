/**
 * A device whose behaviour is plain to see: one array of bytes, one array of which units are
 * allocated, one array of what would survive a power loss. It throws at any request that breaks
 * the contract, and can keep a list of the requests it got.
 */
import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { DONE, RequestFlag } from '../../device/device.ts'
import type { Device, Features, Request, Status } from '../../device/device.ts'
import { ExtentFlag } from '../../device/extents.ts'
import type { ExtentList } from '../../device/extents.ts'

const { EPERM, ENOTSUP } = constants.errno

export interface ModelCall {
  readonly method: string
  readonly offset: number
  readonly length: number
  readonly flags: number
}

export class ModelDevice implements Device {
  readonly size: number
  readonly alignment: number
  readonly features: Features
  readonly image: Uint8Array
  readonly durable: Uint8Array
  readonly calls: ModelCall[] = []
  recording = false
  submits = 0
  closed = false
  /** One byte for each 4096 bytes (or for each unit, where that is larger). */
  readonly #allocated: Uint8Array
  readonly #granule: number

  constructor(size: number, alignment = 1, features: Partial<Features> = {}) {
    this.size = size
    this.alignment = alignment
    this.features = { readOnly: false, trim: true, trimZeroes: true, fastZero: true, ...features }
    this.image = new Uint8Array(size)
    this.durable = new Uint8Array(size)
    this.#granule = Math.max(4096, alignment)
    this.#allocated = new Uint8Array(Math.ceil(size / this.#granule))
  }

  get allocatedBytes(): number {
    return this.#allocated.reduce((sum, bit) => sum + bit, 0) * this.#granule
  }

  /** The requests since the last call, as `method offset length`, with flags if there are any. */
  takeCalls(): string[] {
    const lines = this.calls.map(
      ({ method, offset, length, flags }) =>
        `${method} ${offset} ${length}${flags === 0 ? '' : ` flags ${flags}`}`,
    )
    this.calls.length = 0
    return lines
  }

  read(request: Request): Status {
    const { offset, length, buffer, bufferOffset, extents } = this.#check('read', request)
    if (extents === null) {
      buffer.set(this.image.subarray(offset, offset + length), bufferOffset)
      return DONE
    }
    this.#eachPiece(offset, length, (start, bytes, flags) => {
      extents.append(bytes, flags)
      if (flags !== ExtentFlag.DATA) return
      buffer.set(this.image.subarray(start, start + bytes), bufferOffset + start - offset)
    })
    return DONE
  }

  write(request: Request): Status {
    const { offset, length, buffer, bufferOffset } = this.#check('write', request)
    if (this.features.readOnly) return refuse(request, EPERM)
    this.image.set(buffer.subarray(bufferOffset, bufferOffset + length), offset)
    this.#setAllocated(offset, length)
    this.#harden(request)
    return DONE
  }

  flush(request: Request): Status {
    if (this.recording) this.#record('flush', request)
    this.durable.set(this.image)
    return DONE
  }

  trim(request: Request): Status {
    this.#check('trim', request)
    if (this.features.readOnly) return refuse(request, EPERM)
    this.#clear(request)
    return DONE
  }

  zero(request: Request): Status {
    this.#check('zero', request)
    const { offset, length, flags } = request
    if (this.features.readOnly) return refuse(request, EPERM)
    const fast = (flags & RequestFlag.FAST_ZERO) !== 0
    if (fast && !this.features.fastZero) return refuse(request, ENOTSUP)
    this.#clear(request)
    if ((flags & RequestFlag.NO_HOLE) !== 0) this.#setAllocated(offset, length)
    return DONE
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    const { offset, length } = this.#check('blockStatus', request)
    let full = false
    this.#eachPiece(offset, length, (_start, bytes, flags) => {
      full ||= !extents.append(bytes, flags)
    })
    return DONE
  }

  submit(): void {
    this.submits++
  }

  async close(): Promise<void> {
    assert(!this.closed)
    this.closed = true
  }

  #check(method: string, request: Request): Request {
    const { offset, length, buffer, bufferOffset } = request
    assert(!this.closed, 'used after close')
    assert(Number.isSafeInteger(offset) && Number.isSafeInteger(length))
    assert(offset >= 0 && length >= 1 && offset + length <= this.size, 'outside of the device')
    assert(offset % this.alignment === 0 && length % this.alignment === 0, 'not aligned')
    if (method === 'read' || method === 'write') {
      assert(bufferOffset >= 0 && bufferOffset + length <= buffer.length, 'outside of the buffer')
    }
    if (this.recording) this.#record(method, request)
    return request
  }

  #record(method: string, { offset, length, flags }: Request): void {
    this.calls.push({ method, offset, length, flags })
  }

  #clear(request: Request): void {
    const { offset, length } = request
    this.image.fill(0, offset, offset + length)
    const first = Math.ceil(offset / this.#granule)
    const end = Math.floor((offset + length) / this.#granule)
    if (first < end) this.#allocated.fill(0, first, end)
    this.#harden(request)
  }

  #setAllocated(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / this.#granule)
    this.#allocated.fill(1, Math.floor(offset / this.#granule), end)
  }

  #harden({ offset, length, flags }: Request): void {
    if ((flags & RequestFlag.FUA) === 0) return
    this.durable.set(this.image.subarray(offset, offset + length), offset)
  }

  #eachPiece(
    offset: number,
    length: number,
    visit: (start: number, bytes: number, flags: number) => void,
  ): void {
    for (let start = offset; start < offset + length;) {
      const granule = Math.floor(start / this.#granule)
      const end = Math.min(offset + length, (granule + 1) * this.#granule)
      const data = this.#allocated[granule] === 1
      visit(start, end - start, data ? ExtentFlag.DATA : ExtentFlag.HOLE | ExtentFlag.ZERO)
      start = end
    }
  }
}

function refuse(request: Request, errno: number): Status {
  request.errorOffset = request.offset
  return errno
}
