/** Holds every request back until the test says which one goes on, and with which outcome. */
import assert from 'node:assert/strict'
import { PENDING } from '../../device/device.ts'
import type { Device, Features, Request, Status } from '../../device/device.ts'
import type { ExtentList } from '../../device/extents.ts'
import type { Method } from './test-device.ts'

interface HeldRequest {
  /** `method offset length` */
  readonly name: string
  readonly request: Request
  run(): Status
}

export class HeldDevice implements Device {
  readonly size: number
  readonly alignment: number
  readonly features: Features
  submits = 0
  readonly #lower: Device
  readonly #held: HeldRequest[] = []

  constructor(lower: Device) {
    this.size = lower.size
    this.alignment = lower.alignment
    this.features = lower.features
    this.#lower = lower
  }

  /** Names of the requests that are held, oldest first. */
  get names(): string[] {
    return this.#held.map((held) => held.name)
  }

  /** Executes a request and completes it. */
  release(name: string): void {
    const held = this.#take(name)
    held.request.complete(held.run())
  }

  /** Executes all that are held, oldest first, and what comes because of it. */
  releaseAll(): void {
    while (this.#held.length > 0) this.release(this.#held[0].name)
  }

  /** Completes a request with an error, without executing it. */
  fail(name: string, errno: number, errorOffset: number): void {
    const { request } = this.#take(name)
    request.errorOffset = errorOffset
    request.complete(errno)
  }

  /** Executes a request now; it is still to be completed. */
  execute(name: string): void {
    const held = this.#held.find((one) => one.name === name)
    assert(held !== undefined, `${name} is not held`)
    const status = held.run()
    this.#held[this.#held.indexOf(held)] = { ...held, run: () => status }
  }

  read(request: Request): Status {
    return this.#hold('read', request, () => this.#lower.read(request))
  }

  write(request: Request): Status {
    return this.#hold('write', request, () => this.#lower.write(request))
  }

  flush(request: Request): Status {
    return this.#hold('flush', request, () => this.#lower.flush(request))
  }

  trim(request: Request): Status {
    return this.#hold('trim', request, () => this.#lower.trim(request))
  }

  zero(request: Request): Status {
    return this.#hold('zero', request, () => this.#lower.zero(request))
  }

  blockStatus(request: Request, extents: ExtentList): Status {
    return this.#hold('blockStatus', request, () => this.#lower.blockStatus(request, extents))
  }

  submit(): void {
    this.submits++
  }

  async close(): Promise<void> {
    assert.deepEqual(this.names, [], 'closed while requests are under way')
    await this.#lower.close()
  }

  #hold(method: Method, request: Request, run: () => Status): Status {
    this.#held.push({ name: `${method} ${request.offset} ${request.length}`, request, run })
    return PENDING
  }

  #take(name: string): HeldRequest {
    const index = this.#held.findIndex((held) => held.name === name)
    assert(index >= 0, `${name} is not held, but ${this.names.join(', ')}`)
    return this.#held.splice(index, 1)[0]
  }
}
