/**
 * Drives a device and holds it to the contract: completed once, never before the method returned,
 * nothing touched outside of the buffer's range, a place told for every failure. Breaches throw.
 */
import assert from 'node:assert/strict'
import { DONE, PENDING } from '../../device/device.ts'
import type { Device, Request, Status } from '../../device/device.ts'
import { ExtentList } from '../../device/extents.ts'

export type Method = 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'blockStatus'

const GUARD_BYTES = 48
const GUARD = 0x5c
/** What a read's range holds before: a hole must leave it there. */
export const UNWRITTEN = 0xee

export interface RequestOptions {
  readonly flags?: number
  /** What is written; taken as it is, and checked to be unchanged afterwards. */
  readonly data?: Uint8Array
  /** For a read or a blockStatus. */
  readonly extents?: ExtentList
}

/** Reusable; its buffer has guard bytes on both sides. */
export class TestRequest implements Request {
  offset = 0
  length = 0
  flags = 0
  buffer: Uint8Array = new Uint8Array(0)
  bufferOffset = GUARD_BYTES
  extents: ExtentList | null = null
  errorOffset = -1

  status: Status = DONE
  method: Method = 'flush'
  /** Called when it is finished, be it at once or late. */
  finished: (request: TestRequest) => void = () => {}
  #state: 'idle' | 'starting' | 'pending' = 'idle'
  #data: Uint8Array | null = null

  /** The bytes of the range. */
  get content(): Uint8Array {
    return this.buffer.subarray(this.bufferOffset, this.bufferOffset + this.length)
  }

  get idle(): boolean {
    return this.#state === 'idle'
  }

  start(
    device: Device,
    method: Method,
    offset: number,
    length: number,
    { flags = 0, data, extents }: RequestOptions = {},
  ): Status {
    assert(this.idle)
    this.method = method
    this.offset = offset
    this.length = length
    this.flags = flags
    this.errorOffset = -1
    this.extents = method === 'read' ? (extents ?? null) : null
    this.#data = data ?? null
    this.#prepareBuffer()
    this.#state = 'starting'
    const list = extents ?? new ExtentList(1)
    const status = method === 'blockStatus' ? device.blockStatus(this, list) : device[method](this)
    if (status === PENDING) this.#state = 'pending'
    else this.#finish(status)
    return status
  }

  complete(status: Status): void {
    assert.notEqual(this.#state, 'starting', 'completed before the method returned')
    assert.equal(this.#state, 'pending', 'completed twice, or after DONE')
    assert.notEqual(status, PENDING, 'completed with PENDING')
    this.#finish(status)
  }

  #prepareBuffer(): void {
    if (this.method !== 'read' && this.method !== 'write') return
    // Not always the same place: a device must not rely on the alignment of memory.
    this.bufferOffset = GUARD_BYTES + (this.offset % 7)
    const size = this.length + 3 * GUARD_BYTES
    if (this.buffer.length < size) this.buffer = new Uint8Array(size)
    this.#eachGuard((guard) => guard.fill(GUARD))
    if (this.method === 'read') this.content.fill(UNWRITTEN)
    else if (this.#data !== null) this.content.set(this.#data)
  }

  #eachGuard(visit: (guard: Uint8Array) => void): void {
    const end = this.bufferOffset + this.length
    visit(this.buffer.subarray(this.bufferOffset - GUARD_BYTES, this.bufferOffset))
    visit(this.buffer.subarray(end, end + GUARD_BYTES))
  }

  #finish(status: Status): void {
    this.#state = 'idle'
    this.status = status
    if (status !== DONE) {
      assert(Number.isInteger(status) && status > 0, `not an errno: ${status}`)
      const end = this.offset + this.length
      const inside = this.errorOffset >= this.offset && this.errorOffset < end
      assert(
        inside || this.method === 'flush',
        `error at ${this.errorOffset}, not inside the range`,
      )
    }
    if (this.method === 'read' || this.method === 'write') this.#checkBuffer()
    this.finished(this)
  }

  #checkBuffer(): void {
    const expected = Buffer.alloc(GUARD_BYTES, GUARD)
    this.#eachGuard((guard) => {
      assert.equal(expected.compare(guard), 0, `${this.method} touched bytes outside of its range`)
    })
    if (this.method !== 'write' || this.#data === null) return
    assert.equal(Buffer.compare(this.content, this.#data), 0, 'a write changed its buffer')
  }
}

/** A device, and how to make its late completions happen. */
export interface Subject {
  readonly device: Device
  /** Lets some late completion happen; false if it knows of none. Without it, turns are waited. */
  readonly run?: () => boolean
}

export class TestDevice {
  readonly device: Device
  readonly #run: () => boolean

  constructor({ device, run = () => false }: Subject) {
    this.device = device
    this.#run = run
  }

  /** Starts one request, ends the batch, and waits until it is finished. */
  async perform(
    method: Method,
    offset: number,
    length: number,
    options: RequestOptions = {},
  ): Promise<TestRequest> {
    const request = new TestRequest()
    request.start(this.device, method, offset, length, options)
    this.device.submit()
    await this.until(() => request.idle)
    return request
  }

  /** Lets late completions happen until `condition` holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (!this.#run()) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const request = await this.perform('read', offset, length)
    assert.equal(request.status, DONE, `read ${offset} ${length}`)
    return request.content
  }

  async write(offset: number, data: Uint8Array, flags = 0): Promise<void> {
    const request = await this.perform('write', offset, data.length, { data, flags })
    assert.equal(request.status, DONE, `write ${offset} ${data.length}`)
  }

  async trim(offset: number, length: number, flags = 0): Promise<void> {
    const request = await this.perform('trim', offset, length, { flags })
    assert.equal(request.status, DONE, `trim ${offset} ${length}`)
  }

  async zero(offset: number, length: number, flags = 0): Promise<void> {
    const request = await this.perform('zero', offset, length, { flags })
    assert.equal(request.status, DONE, `zero ${offset} ${length}`)
  }

  async flush(): Promise<void> {
    assert.equal((await this.perform('flush', 0, 0)).status, DONE, 'flush')
  }
}
