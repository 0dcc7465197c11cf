/** A device that refuses every change with EPERM and passes everything else on. */
import type { Device, Features, Request, Status } from './device.ts'
import type { ExtentList } from './extents.ts'

const EPERM = 1

export class ReadOnlyDevice implements Device {
  readonly alignment: number
  readonly features: Features
  readonly #lower: Device

  constructor(lower: Device) {
    this.#lower = lower
    this.alignment = lower.alignment
    const { extentKinds = 0 } = lower.features
    const refused = { readOnly: true, trim: false, trimZeroes: false, fastZero: false }
    this.features = { ...refused, extentKinds }
  }

  get size(): number {
    return this.#lower.size
  }

  read(request: Request): Status {
    return this.#lower.read(request)
  }

  write(request: Request): Status {
    return refuse(request)
  }

  flush(request: Request): Status {
    return this.#lower.flush(request)
  }

  trim(request: Request): Status {
    return refuse(request)
  }

  zero(request: Request): Status {
    return refuse(request)
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#lower.blockStatus(request, extents)
  }

  submit(): void {
    this.#lower.submit()
  }

  close(): Promise<void> {
    return this.#lower.close()
  }
}

function refuse(request: Request): Status {
  request.errorOffset = request.offset
  return EPERM
}
