/**
 * Many clients on one device at once, against a model. Mutations in flight never overlap (that is
 * the frontend's duty); reads overlap freely and must see, word by word, a value the page had at
 * some time between the read's start and its end. A page is filled with one stamp. What a failed
 * mutation covered, from the place it failed at, is old or new until it is written again. So is
 * what was trimmed on a device that need not zero it.
 */
import assert from 'node:assert/strict'
import { RequestFlag } from '../../device/device.ts'
import { DeviceError } from '../helpers/device-client.ts'
import type { DeviceClient } from '../helpers/device-client.ts'
import type { Random } from '../helpers/random.ts'

const PAGE = 4096

interface Reading {
  readonly first: number
  /** For each page the stamps that may be seen. */
  readonly allowed: Set<number>[]
}

interface Mutation {
  readonly first: number
  readonly count: number
  stampOf(page: number): number
}

export interface LoadOptions {
  readonly clients: number
  readonly steps: number
  /** Most pages of one request. */
  readonly pagesMax: number
  /** Errnos a request may fail with. */
  readonly errnos?: readonly number[]
  /** A trimmed page may go on holding what it held. */
  readonly trimKeeps?: boolean
}

export class RandomLoad {
  /** One stamp for each page; 0 is zeros. */
  readonly stamps: Uint32Array
  readonly #random: Random
  readonly #page: number
  readonly #readings = new Set<Reading>()
  readonly #mutations = new Set<Mutation>()
  /** Pages that may also hold one of these, since a mutation failed. */
  readonly #unsure = new Map<number, Set<number>>()
  #trimKeeps = false
  #lastStamp = 0
  #failures = 0

  /** @param page bytes: what requests are multiples of, and has one stamp */
  constructor(size: number, random: Random, page = PAGE) {
    this.stamps = new Uint32Array(size / page)
    this.#random = random
    this.#page = page
  }

  get image(): Uint8Array {
    const words = new Uint32Array(this.stamps.length * (this.#page / 4))
    for (const [page, stamp] of this.stamps.entries()) {
      words.fill(stamp, page * (this.#page / 4), (page + 1) * (this.#page / 4))
    }
    return new Uint8Array(words.buffer)
  }

  /**
   * What was behind `size` is gone; requests under way there fail.
   * @param wasZeros it was cut off because it held nothing but zeros
   */
  cut(size: number, wasZeros: boolean): void {
    for (let page = size / PAGE; page < this.stamps.length; page++) {
      const isZero = this.stamps[page] === 0 || this.#unsure.get(page)?.has(0) === true
      assert(isZero || !wasZeros, `page ${page} is cut off with ${this.stamps[page]}`)
      this.stamps[page] = 0
      this.#unsure.delete(page)
    }
  }

  /** @returns how many requests failed */
  async run(client: DeviceClient, options: LoadOptions): Promise<number> {
    const { clients, steps, pagesMax, errnos = [] } = options
    this.#trimKeeps = options.trimKeeps ?? false
    const before = this.#failures
    let left = steps
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        try {
          await this.#step(client, pagesMax)
        } catch (error) {
          if (!(error instanceof DeviceError) || !errnos.includes(error.errno)) throw error
          this.#failures++
        }
      }
    }
    await Promise.all(Array.from({ length: clients }, work))
    return this.#failures - before
  }

  /** Writes the pages that are one thing or the other. */
  async settle(client: DeviceClient): Promise<void> {
    for (const page of this.#unsure.keys()) await this.#write(client, page, 1, 0)
  }

  async #step(client: DeviceClient, pagesMax: number): Promise<void> {
    const random = this.#random
    const pages = this.stamps.length
    const count = Math.min(pages, random.logarithmic(1, pagesMax))
    const first = random.between(0, pages - count)
    const dice = random.next()
    if (dice < 0.02) return client.flush()
    if (dice < 0.4) return this.#look(client, first, count)
    if (this.#isBusy(first, count)) return
    const flags = random.chance(0.03) ? RequestFlag.FUA : 0
    if (dice < 0.65) return this.#write(client, first, count, flags)
    const zeros: Mutation = { first, count, stampOf: () => 0 }
    if (dice < 0.85) {
      const end = this.#trimKeeps ? first : first + count
      return this.#mutate(
        zeros,
        () => client.trim(first * this.#page, count * this.#page, flags),
        end,
      )
    }
    await this.#mutate(zeros, () => {
      const noHole = random.chance(0.3) ? RequestFlag.NO_HOLE : 0
      return client.zero(first * this.#page, count * this.#page, flags | noHole)
    })
  }

  #isBusy(first: number, count: number): boolean {
    for (const other of this.#mutations) {
      if (first < other.first + other.count && other.first < first + count) return true
    }
    return false
  }

  async #write(client: DeviceClient, first: number, count: number, flags: number): Promise<void> {
    const stamp = this.#lastStamp + 1
    this.#lastStamp += count
    const words = new Uint32Array(count * (this.#page / 4))
    for (let page = 0; page < count; page++) {
      words.fill(stamp + page, page * (this.#page / 4), (page + 1) * (this.#page / 4))
    }
    const data = new Uint8Array(words.buffer)
    const mutation = { first, count, stampOf: (page: number) => stamp + page - first }
    await this.#mutate(mutation, () => client.write(first * this.#page, data, flags))
  }

  /** @param end page behind the last one that is certain afterwards */
  async #mutate(
    mutation: Mutation,
    start: () => Promise<void>,
    end = mutation.first + mutation.count,
  ): Promise<void> {
    this.#mutations.add(mutation)
    for (const reading of this.#readings) allow(reading, mutation)
    try {
      await start()
      this.#done(mutation, end)
    } catch (error) {
      if (error instanceof DeviceError) this.#done(mutation, error.offset / this.#page)
      throw error
    } finally {
      this.#mutations.delete(mutation)
    }
  }

  #done({ first, count, stampOf }: Mutation, end: number): void {
    for (let page = first; page < first + count; page++) {
      if (page < end) {
        this.stamps[page] = stampOf(page)
        this.#unsure.delete(page)
      } else {
        const others = this.#unsure.get(page) ?? new Set()
        this.#unsure.set(page, others.add(stampOf(page)))
      }
    }
  }

  async #look(client: DeviceClient, first: number, count: number): Promise<void> {
    const allowed = Array.from(
      this.stamps.subarray(first, first + count),
      (stamp, index) => new Set([stamp, ...(this.#unsure.get(first + index) ?? [])]),
    )
    const reading = { first, allowed }
    for (const mutation of this.#mutations) allow(reading, mutation)
    this.#readings.add(reading)
    const kind = this.#random.between(0, 2)
    try {
      if (kind === 0)
        check(reading, this.#page, await client.read(first * this.#page, count * this.#page))
      else if (kind === 1)
        check(
          reading,
          this.#page,
          (await client.readExtents(first * this.#page, count * this.#page))[0],
        )
      else await checkStatus(reading, this.#page, client)
    } finally {
      this.#readings.delete(reading)
    }
  }
}

function allow(reading: Reading, { first, count, stampOf }: Mutation): void {
  const from = Math.max(first, reading.first)
  const to = Math.min(first + count, reading.first + reading.allowed.length)
  for (let page = from; page < to; page++) reading.allowed[page - reading.first].add(stampOf(page))
}

function check({ first, allowed }: Reading, pageBytes: number, bytes: Uint8Array): void {
  const pageWords = pageBytes / 4
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  for (const [page, stamps] of allowed.entries()) {
    const [only] = stamps.size === 1 ? stamps : [-1]
    for (let at = page * pageWords; at < (page + 1) * pageWords; at++) {
      if (words[at] === only || stamps.has(words[at])) continue
      assert.fail(`page ${first + page} holds ${words[at]}, not one of ${[...stamps]}`)
    }
  }
}

async function checkStatus(
  { first, allowed }: Reading,
  pageBytes: number,
  client: DeviceClient,
): Promise<void> {
  let page = 0
  const bytes = allowed.length * pageBytes
  for (const { length, flags } of await client.blockStatus(first * pageBytes, bytes)) {
    const end = page + length / pageBytes
    assert(Number.isInteger(end), `an extent of ${length} bytes`)
    for (; page < end; page++) {
      const isRight = (flags & 2) === 0 || allowed[page].has(0)
      assert(isRight, `page ${first + page} is no zeros but one of ${[...allowed[page]]}`)
    }
  }
}
