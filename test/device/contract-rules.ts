/** Cases of the device contract: batches, completion, and using a request again. */
import assert from 'node:assert/strict'
import { DONE } from '../../device/device.ts'
import type { ContractCase } from '../device-contract.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { Random } from '../helpers/random.ts'
import { TestRequest } from '../helpers/test-device.ts'
import { fill } from './contract-data.ts'

const CHAIN_LENGTH = 3000

export const rulesCases: readonly ContractCase[] = [
  {
    title: 'its size is a multiple of its alignment',
    async run(t, { device }) {
      t.true(Number.isSafeInteger(device.size) && device.size >= 256 * 1024)
      t.true(Number.isSafeInteger(Math.log2(device.alignment)))
      t.is(device.size % device.alignment, 0)
    },
  },
  {
    title: 'a batch of requests ends with one submit',
    async run(t, subject) {
      const { device } = subject
      const image = await fill(subject)
      const length = Math.max(device.alignment, 1000)
      const requests = Array.from({ length: 24 }, () => new TestRequest())
      for (const [index, request] of requests.entries()) {
        if (index % 3 === 0) {
          const data = new Random(index).bytes(length)
          image.set(data, index * length)
          request.start(device, 'write', index * length, length, { data })
        } else if (index % 3 === 1) {
          image.fill(0, index * length, (index + 1) * length)
          request.start(device, 'zero', index * length, length)
        } else {
          request.start(device, 'read', index * length, length)
        }
      }
      device.submit()
      await subject.until(() => requests.every((request) => request.idle))
      t.true(requests.every((request) => request.status === DONE))
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
  {
    title: 'a request can be started again from its own completion, any number of times',
    async run(t, subject) {
      const { device } = subject
      const length = Math.max(device.alignment, 10)
      const data = new Random(8).bytes(length)
      const request = new TestRequest()
      let started = 0
      let starting = false
      const startMore = (): void => {
        // What finishes at once must not recurse here.
        if (starting) return
        starting = true
        while (request.idle && started < CHAIN_LENGTH) {
          assert.equal(request.status, DONE)
          const offset = (started % 50) * length
          started++
          if (started % 2 === 0) request.start(device, 'read', offset, length)
          else request.start(device, 'write', offset, length, { data })
          device.submit()
        }
        starting = false
      }
      request.finished = startMore
      startMore()
      await subject.until(() => request.idle && started === CHAIN_LENGTH)
      t.is(request.status, DONE)
    },
  },
  {
    title: 'many requests for one place are all answered',
    async run(t, subject) {
      const { device } = subject
      const unit = device.alignment
      const image = await fill(subject)
      const data = new Random(9).bytes(unit)
      const requests = Array.from({ length: 200 }, () => new TestRequest())
      for (const [index, request] of requests.entries()) {
        const offset = index * unit
        if (index % 4 === 0) request.start(device, 'write', offset, unit, { data })
        else request.start(device, 'read', 0, unit * 3)
        if (index % 4 === 0) image.set(data, offset)
        if (index % 50 === 49) device.submit()
      }
      await subject.until(() => requests.every((request) => request.idle))
      t.true(requests.every((request) => request.status === DONE))
      sameBytes(t, await subject.read(0, image.length), image)
    },
  },
]
