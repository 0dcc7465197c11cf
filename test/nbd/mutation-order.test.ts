import test from 'ava'
import type { Status } from '../../device/device.ts'
import { MutationOrder } from '../../nbd/mutation-order.ts'
import { NbdRequest } from '../../nbd/request.ts'
import type { RequestOwner } from '../../nbd/request.ts'
import { Random, seedFor } from '../helpers/random.ts'
import { ManualDevice } from '../helpers/manual-device.ts'
import { Command, MemorySession } from '../helpers/memory-session.ts'

const SIZE = 1 << 20

test('an overlapping write waits for the earlier one, others do not', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.write(0, Buffer.alloc(10, 1))
  client.write(5, Buffer.alloc(10, 2))
  client.write(20, Buffer.alloc(10, 3))
  await session.settle()
  t.deepEqual(device.waiting, ['write 0+10', 'write 20+10'])
  device.complete('write 0+10')
  await session.settle()
  t.deepEqual(device.waiting, ['write 20+10', 'write 5+10'])
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

test('the order holds over connections, whatever the command', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const first = await session.connect(SIZE)
  const second = await session.connect(SIZE)
  first.write(100, Buffer.alloc(100, 1))
  await session.settle()
  second.send({ command: Command.TRIM, offset: 0, length: 101 })
  await session.settle()
  first.send({ command: Command.WRITE_ZEROES, offset: 50, length: 10 })
  await session.settle()
  t.deepEqual(device.waiting, ['write 100+100'])
  device.complete('write 100+100')
  await session.settle()
  t.deepEqual(device.waiting, ['trim 0+101'])
  device.complete('trim 0+101')
  await session.settle()
  t.deepEqual(device.waiting, ['zero 50+10'])
  device.completeAll()
  await session.until(() => first.outstanding + second.outstanding === 0)
})

test('a write waits for all earlier ones it overlaps', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.write(0, Buffer.alloc(10, 1))
  client.write(10, Buffer.alloc(10, 2))
  client.write(5, Buffer.alloc(10, 3))
  await session.settle()
  device.complete('write 10+10')
  await session.settle()
  t.deepEqual(device.waiting, ['write 0+10'])
  device.complete('write 0+10', 5)
  await session.settle()
  t.deepEqual(device.waiting, ['write 5+10'])
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

test('reads and flushes wait for nobody', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const client = await session.connect(SIZE)
  client.write(0, Buffer.alloc(10, 1))
  client.read(0, 10)
  client.send({ command: Command.FLUSH })
  client.send({ command: Command.BLOCK_STATUS, offset: 0, length: 10 })
  await session.settle()
  t.is(device.waiting.length, 4)
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

test('a write that has not begun is dropped when its connection is lost', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const first = await session.connect(SIZE)
  const second = await session.connect(SIZE)
  first.write(0, Buffer.alloc(10, 1))
  await session.settle()
  second.write(5, Buffer.alloc(10, 2))
  await session.settle()
  first.write(10, Buffer.alloc(10, 3))
  await session.settle()
  second.stream.break()
  device.complete('write 0+10')
  await session.settle()
  t.deepEqual(device.waiting, ['write 10+10'])
  device.completeAll()
  await session.until(() => first.outstanding === 0)
  t.false(device.history.includes('write 5+10'))
})

test('a write that has begun precedes a later one, even if its connection is lost', async (t) => {
  const device = new ManualDevice(SIZE)
  const session = await MemorySession.start(device)
  const first = await session.connect(SIZE)
  const second = await session.connect(SIZE)
  first.write(0, Buffer.alloc(10, 1))
  await session.settle()
  first.stream.break()
  second.write(5, Buffer.alloc(10, 2))
  await session.settle()
  t.deepEqual(device.waiting, ['write 0+10'])
  device.complete('write 0+10')
  await session.settle()
  t.true(device.waiting.includes('write 5+10'))
  device.completeAll()
  await session.until(() => second.outstanding === 0)
})

test('a request in slices keeps its whole range to the end', async (t) => {
  const device = new ManualDevice(2 ** 33)
  const session = await MemorySession.start(device)
  const client = await session.connect(2 ** 33)
  client.send({ command: Command.TRIM, offset: 0, length: 2 ** 31 })
  client.write(2 ** 31 - 1, Buffer.alloc(1))
  await session.settle()
  t.deepEqual(device.waiting, ['trim 0+1073741824'])
  device.complete('trim 0+1073741824')
  await session.settle()
  t.deepEqual(device.waiting, ['trim 1073741824+1073741824'])
  device.completeAll()
  await session.settle()
  t.deepEqual(device.waiting, ['write 2147483647+1'])
  device.completeAll()
  await session.until(() => client.outstanding === 0)
})

/** Starts what the order allows, and remembers in which order. */
class Owner implements RequestOwner {
  readonly order = new MutationOrder()
  readonly running: NbdRequest[] = []
  readonly waiting: NbdRequest[] = []
  readonly begun: NbdRequest[] = []

  submit(request: NbdRequest): void {
    request.owner = this
    if (this.order.mustWait(request)) {
      this.waiting.push(request)
      return
    }
    this.order.add(request)
    this.begun.push(request)
    this.running.push(request)
  }

  unblocked(request: NbdRequest): void {
    this.waiting.splice(this.waiting.indexOf(request), 1)
    this.begun.push(request)
    this.running.push(request)
  }

  completed(_request: NbdRequest, _status: Status): void {}
}

function overlap(a: NbdRequest, b: NbdRequest): boolean {
  return a.wireOffset < b.wireOffset + b.wireLength && b.wireOffset < a.wireOffset + a.wireLength
}

test('random mutations: overlapping ones never run together and begin in order', (t) => {
  const random = new Random(seedFor(t))
  const owner = new Owner()
  const submitted: NbdRequest[] = []
  for (let step = 0; step < 5000; step++) {
    if (random.chance(0.5) && owner.running.length + owner.waiting.length < 40) {
      const request = new NbdRequest()
      request.wireOffset = random.between(0, 200)
      request.wireLength = random.between(1, 20)
      submitted.push(request)
      owner.submit(request)
    } else if (owner.waiting.length > 0 && random.chance(0.2)) {
      const [dropped] = owner.waiting.splice(random.between(0, owner.waiting.length - 1), 1)
      submitted.splice(submitted.indexOf(dropped), 1)
      owner.order.remove(dropped)
    } else if (owner.running.length > 0) {
      const [done] = owner.running.splice(random.between(0, owner.running.length - 1), 1)
      owner.order.remove(done)
    }
    for (const a of owner.running)
      for (const b of owner.running) if (a !== b && overlap(a, b)) t.fail('two run together')
  }
  while (owner.running.length > 0) owner.order.remove(owner.running.pop() ?? new NbdRequest())
  t.is(owner.waiting.length, 0)
  t.true(owner.order.isEmpty)
  const position = new Map(owner.begun.map((request, index) => [request, index]))
  for (let later = 0; later < submitted.length; later++) {
    for (let earlier = Math.max(0, later - 200); earlier < later; earlier++) {
      const [a, b] = [submitted[earlier], submitted[later]]
      if (overlap(a, b) && (position.get(a) ?? 0) > (position.get(b) ?? 0)) t.fail('out of order')
    }
  }
})
