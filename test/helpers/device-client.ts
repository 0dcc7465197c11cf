/** Drives a `Device` with promises: one call, one request, checked against the contract. */
import { type Device, DONE, PENDING, type Request, type Status } from '../../device/device.ts'
import { ExtentList } from '../../device/extents.ts'

const EXTENTS = 4096

export class DeviceError extends Error {
  readonly errno: number
  readonly offset: number

  constructor(errno: number, offset: number) {
    super(`device fails with errno ${errno} at ${offset}`)
    this.errno = errno
    this.offset = offset
  }
}

export interface Extent {
  readonly length: number
  readonly flags: number
}

export class DeviceClient {
  readonly device: Device

  constructor(device: Device) {
    this.device = device
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(length).fill(0xee)
    await this.#run('read', offset, length, 0, buffer)
    return buffer
  }

  /** Reads with extents asked for. The bytes of zero extents are filled in here. */
  async readExtents(offset: number, length: number): Promise<[Uint8Array, Extent[]]> {
    const buffer = new Uint8Array(length).fill(0xee)
    const extents = new ExtentList(EXTENTS)
    await this.#run('read', offset, length, 0, buffer, extents)
    const list = listed(extents)
    let at = 0
    for (const extent of list) {
      if ((extent.flags & 2) !== 0) buffer.fill(0, at, at + extent.length)
      at += extent.length
    }
    if (at !== length) throw new Error(`extents cover ${at} of ${length} bytes`)
    return [buffer, list]
  }

  write(offset: number, data: Uint8Array, flags = 0): Promise<void> {
    return this.#run('write', offset, data.length, flags, data)
  }

  trim(offset: number, length: number, flags = 0): Promise<void> {
    return this.#run('trim', offset, length, flags)
  }

  zero(offset: number, length: number, flags = 0): Promise<void> {
    return this.#run('zero', offset, length, flags)
  }

  flush(): Promise<void> {
    return this.#run('flush', 0, 0, 0)
  }

  /** All extents of a range, asking as often as it takes. */
  async blockStatus(offset: number, length: number): Promise<Extent[]> {
    const all: Extent[] = []
    for (let at = offset; at < offset + length;) {
      const extents = new ExtentList(EXTENTS)
      await this.#run('blockStatus', at, offset + length - at, 0, undefined, extents)
      if (extents.count === 0) throw new Error('block status without an extent')
      all.push(...listed(extents))
      at += extents.total
    }
    return all
  }

  #run(
    method: 'read' | 'write' | 'trim' | 'zero' | 'flush' | 'blockStatus',
    offset: number,
    length: number,
    flags: number,
    buffer: Uint8Array = new Uint8Array(0),
    extents: ExtentList | null = null,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (status: Status): void => {
        if (status === DONE) resolve()
        else reject(new DeviceError(status, request.errorOffset))
      }
      let returned = false
      const complete = (status: Status): void => {
        if (!returned) throw new Error(`${method} completed before it returned`)
        finish(status)
      }
      const request: Request = {
        offset,
        length,
        flags,
        buffer,
        bufferOffset: 0,
        extents: method === 'read' ? extents : null,
        errorOffset: -1,
        complete,
      }
      const list = extents ?? new ExtentList(1)
      const status =
        method === 'blockStatus'
          ? this.device.blockStatus(request, list)
          : this.device[method](request)
      returned = true
      this.device.submit()
      if (status !== PENDING) finish(status)
    })
  }
}

function listed(extents: ExtentList): Extent[] {
  const list: Extent[] = []
  for (let index = 0; index < extents.count; index++) {
    list.push({ length: extents.lengthAt(index), flags: extents.flagsAt(index) })
  }
  return list
}
