import test from 'ava'
import { DONE, RequestFlag } from '../../device/device.ts'
import type { Request } from '../../device/device.ts'
import { ExtentFlag, ExtentList } from '../../device/extents.ts'
import { MemoryDevice } from '../../device/memory.ts'

const PAGE = 64 * 1024

function requestFor(offset: number, length: number, flags = 0): Request {
  return {
    offset,
    length,
    flags,
    buffer: new Uint8Array(length),
    bufferOffset: 0,
    extents: null,
    errorOffset: -1,
    complete() {
      throw new Error('a memory device never completes late')
    },
  }
}

function write(device: MemoryDevice, offset: number, length: number, value: number): void {
  const request = requestFor(offset, length)
  request.buffer.fill(value)
  device.write(request)
}

function read(device: MemoryDevice, offset: number, length: number): Uint8Array {
  const request = requestFor(offset, length)
  request.buffer.fill(0xee)
  device.read(request)
  return request.buffer
}

test('a terabyte costs nothing until it is written', (t) => {
  const device = new MemoryDevice(2 ** 40)
  write(device, 2 ** 40 - 3, 3, 7)
  t.is(device.allocated, PAGE)
  t.deepEqual([...read(device, 2 ** 40 - 5, 5)], [0, 0, 7, 7, 7])
})

test('a write over a page border is read back whole', (t) => {
  const device = new MemoryDevice(4 * PAGE)
  write(device, PAGE - 10, PAGE + 20, 5)
  const seen = read(device, PAGE - 11, PAGE + 22)
  t.is(seen[0], 0)
  t.true(seen.subarray(1, PAGE + 21).every((byte) => byte === 5))
  t.is(seen[PAGE + 21], 0)
})

test('a trim gives whole pages back and zeroes the rest', (t) => {
  const device = new MemoryDevice(3 * PAGE)
  write(device, 0, 3 * PAGE, 9)
  t.is(device.trim(requestFor(PAGE - 1, PAGE + 2)), DONE)
  t.is(device.allocated, 2 * PAGE)
  t.deepEqual([...read(device, PAGE - 2, 3)], [9, 0, 0])
  t.deepEqual([...read(device, 2 * PAGE, 2)], [0, 9])
})

test('the last partial page is given back too', (t) => {
  const device = new MemoryDevice(PAGE + 100)
  write(device, 0, PAGE + 100, 9)
  device.trim(requestFor(PAGE, 100))
  t.is(device.allocated, PAGE)
})

test('a trim of the end of the last page leaves its beginning', (t) => {
  const device = new MemoryDevice(PAGE + 100)
  write(device, PAGE, 100, 9)
  device.trim(requestFor(PAGE + 1, 99))
  t.deepEqual([...read(device, PAGE, 3)], [9, 0, 0])
})

test('zero with NO_HOLE allocates', (t) => {
  const device = new MemoryDevice(4 * PAGE)
  device.zero(requestFor(0, 2 * PAGE, RequestFlag.NO_HOLE))
  t.is(device.allocated, 2 * PAGE)
  device.zero(requestFor(0, 2 * PAGE, RequestFlag.FAST_ZERO))
  t.is(device.allocated, 0)
})

test('a read with extents leaves holes unwritten', (t) => {
  const device = new MemoryDevice(4 * PAGE)
  write(device, PAGE, PAGE, 3)
  const request = requestFor(0, 3 * PAGE)
  request.buffer.fill(0xee)
  request.extents = new ExtentList(8)
  device.read(request)
  const { extents } = request
  t.deepEqual([extents.lengthAt(0), extents.lengthAt(1), extents.count], [PAGE, PAGE, 3])
  t.is(extents.flagsAt(0), ExtentFlag.HOLE | ExtentFlag.ZERO)
  t.is(extents.flagsAt(1), ExtentFlag.DATA)
  t.is(request.buffer[0], 0xee)
  t.is(request.buffer[PAGE], 3)
})

test('block status stops when the list is full', (t) => {
  const device = new MemoryDevice(8 * PAGE)
  for (let page = 0; page < 8; page += 2) write(device, page * PAGE, 1, 1)
  const extents = new ExtentList(3)
  device.blockStatus(requestFor(0, 8 * PAGE), extents)
  t.is(extents.total, 3 * PAGE)
})
