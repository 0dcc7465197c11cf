/**
 * A device that keeps its data in memory: pages of 64 KiB which exist only where something other
 * than a trim has been. It is the reference other devices are compared with, and `--memory`.
 *
 * Everything completes before the method returns. Nothing survives `close`.
 * Invariant: a page that is absent reads as zeros and is reported as a hole.
 */
import { constants } from 'node:os'
import { DONE, RequestFlag } from './device.ts'
import type { Device, Features, Request, Status } from './device.ts'
import { ExtentFlag, ExtentKind } from './extents.ts'
import type { ExtentList } from './extents.ts'

const PAGE_BYTES = 64 * 1024
/** One block status call looks at so many pages: 4 GiB. */
const PAGES_PER_CALL_MAX = 65536
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO

export class MemoryDevice implements Device {
  readonly size: number
  readonly alignment: number = 1
  readonly features: Features = {
    readOnly: false,
    trim: true,
    trimZeroes: true,
    fastZero: true,
    extentKinds: ExtentKind.DEPTH,
  }
  readonly #pages = new Map<number, Uint8Array>()

  constructor(size: number) {
    this.size = size
  }

  /** Bytes of memory the data takes. */
  get allocated(): number {
    return this.#pages.size * PAGE_BYTES
  }

  read(request: Request): Status {
    const { buffer, extents } = request
    const end = request.offset + request.length
    let target = request.bufferOffset
    for (let at = request.offset; at < end;) {
      const pageOffset = at % PAGE_BYTES
      const bytes = Math.min(PAGE_BYTES - pageOffset, end - at)
      const page = this.#pages.get((at - pageOffset) / PAGE_BYTES)
      if (page !== undefined) {
        copy(page, pageOffset, buffer, target, bytes)
        extents?.append(bytes, ExtentFlag.DATA)
      } else if (extents === null) {
        buffer.fill(0, target, target + bytes)
      } else if (!extents.append(bytes, HOLE)) {
        return DONE
      }
      at += bytes
      target += bytes
    }
    return DONE
  }

  write(request: Request): Status {
    const end = request.offset + request.length
    let source = request.bufferOffset
    for (let at = request.offset; at < end;) {
      const pageOffset = at % PAGE_BYTES
      const bytes = Math.min(PAGE_BYTES - pageOffset, end - at)
      const page = this.#allocate((at - pageOffset) / PAGE_BYTES)
      if (page === null) return noMemory(request, at)
      copy(request.buffer, source, page, pageOffset, bytes)
      at += bytes
      source += bytes
    }
    return DONE
  }

  flush(): Status {
    return DONE
  }

  trim(request: Request): Status {
    return this.#clear(request, false)
  }

  zero(request: Request): Status {
    return this.#clear(request, (request.flags & RequestFlag.NO_HOLE) !== 0)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    const end = request.offset + Math.min(request.length, PAGES_PER_CALL_MAX * PAGE_BYTES)
    for (let at = request.offset; at < end;) {
      const pageOffset = at % PAGE_BYTES
      const bytes = Math.min(PAGE_BYTES - pageOffset, end - at)
      const present = this.#pages.has((at - pageOffset) / PAGE_BYTES)
      const flags = present ? ExtentFlag.DATA : HOLE
      if (!extents.appendPlaced(bytes, flags, present ? 1 : 0, 0, 0)) break
      at += bytes
    }
    return DONE
  }

  submit(): void {
    // Nothing is ever held back.
  }

  async close(): Promise<void> {
    this.#pages.clear()
  }

  #clear(request: Request, allocate: boolean): Status {
    const end = request.offset + request.length
    for (let at = request.offset; at < end;) {
      const pageOffset = at % PAGE_BYTES
      const bytes = Math.min(PAGE_BYTES - pageOffset, end - at)
      const index = (at - pageOffset) / PAGE_BYTES
      if (allocate) {
        const page = this.#allocate(index)
        if (page === null) return noMemory(request, at)
        page.fill(0, pageOffset, pageOffset + bytes)
      } else if (bytes === PAGE_BYTES || at + bytes === this.size) {
        // The last page may be partial: what lies behind the end of the device does not count.
        if (pageOffset === 0) this.#pages.delete(index)
        else this.#pages.get(index)?.fill(0, pageOffset)
      } else {
        this.#pages.get(index)?.fill(0, pageOffset, pageOffset + bytes)
      }
      at += bytes
    }
    return DONE
  }

  /** @returns null: the machine has no memory left for the page */
  #allocate(index: number): Uint8Array | null {
    const present = this.#pages.get(index)
    if (present !== undefined) return present
    try {
      const page = new Uint8Array(PAGE_BYTES)
      this.#pages.set(index, page)
      return page
    } catch {
      return null
    }
  }
}

function noMemory(request: Request, offset: number): Status {
  request.errorOffset = offset
  return constants.errno.ENOSPC
}

/** One short-lived view is the price of the fastest copy there is. */
function copy(source: Uint8Array, from: number, target: Uint8Array, to: number, bytes: number) {
  target.set(source.subarray(from, from + bytes), to)
}
