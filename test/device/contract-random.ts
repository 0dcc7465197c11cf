/** Cases of the device contract: random requests, one by one and many at once, against a model. */
import assert from 'node:assert/strict'
import { DONE, RequestFlag } from '../../device/device.ts'
import type { Device } from '../../device/device.ts'
import type { ContractCase } from '../device-contract.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { TestRequest } from '../helpers/test-device.ts'
import type { Method } from '../helpers/test-device.ts'

const METHODS: readonly Method[] = ['read', 'read', 'write', 'write', 'trim', 'zero', 'flush']
const FLAGS = [0, 0, RequestFlag.FUA, RequestFlag.NO_HOLE, RequestFlag.FUA | RequestFlag.NO_HOLE]
const STEPS = 1500

/** Starts random requests, and applies the mutations to `image`. */
class RandomClient {
  readonly image: Uint8Array
  readonly request = new TestRequest()
  readonly #device: Device
  readonly #random: Random
  #expected: Uint8Array | null = null

  constructor(device: Device, image: Uint8Array, random: Random) {
    this.#device = device
    this.image = image
    this.#random = random
    this.request.finished = () => this.#check()
  }

  /** @param isFree whether a range may be used now */
  start(isFree: (offset: number, length: number) => boolean): void {
    const { size, alignment: unit } = this.#device
    const method = this.#random.pick(METHODS)
    const unitsMax = Math.floor(Math.min(200_000, size) / unit)
    const length = this.#random.logarithmic(1, unitsMax) * unit
    const offset = this.#random.between(0, (size - length) / unit) * unit
    if (!isFree(offset, length)) return
    this.#expected = method === 'read' ? this.image.slice(offset, offset + length) : null
    const data = method === 'write' ? this.#random.bytes(length) : new Uint8Array(0)
    if (method === 'write') this.image.set(data, offset)
    if (method === 'trim' || method === 'zero') this.image.fill(0, offset, offset + length)
    const flags = method === 'zero' ? this.#random.pick(FLAGS) : 0
    this.request.start(this.#device, method, offset, length, { data, flags })
  }

  #check(): void {
    const { request } = this
    assert.equal(request.status, DONE, `${request.method} ${request.offset} ${request.length}`)
    if (this.#expected === null) return
    const same = Buffer.compare(request.content, this.#expected) === 0
    assert(same, `wrong bytes in a read of ${request.length} at ${request.offset}`)
  }
}

export const randomCases: readonly ContractCase[] = [
  {
    title: 'random requests, one by one, agree with a model',
    async run(t, subject) {
      const image = new Uint8Array(subject.device.size)
      const client = new RandomClient(subject.device, image, new Random(seedFor(t)))
      for (let step = 0; step < STEPS; step++) {
        client.start(() => true)
        subject.device.submit()
        await subject.until(() => client.request.idle)
      }
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
  {
    title: 'random requests, many at once in separate places, agree with a model',
    async run(t, subject) {
      const image = new Uint8Array(subject.device.size)
      const random = new Random(seedFor(t))
      const clients = Array.from({ length: 16 }, () => {
        return new RandomClient(subject.device, image, random)
      })
      const isFree = (offset: number, length: number): boolean =>
        clients.every(({ request }) => {
          const overlaps =
            request.offset < offset + length && offset < request.offset + request.length
          return request.idle || request.method === 'flush' || !overlaps
        })
      for (let step = 0; step < STEPS; step++) {
        const idle = clients.filter(({ request }) => request.idle)
        for (const client of idle) if (random.chance(0.7)) client.start(isFree)
        subject.device.submit()
        await subject.until(() => clients.some(({ request }) => request.idle))
      }
      await subject.until(() => clients.every(({ request }) => request.idle))
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
]
