import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { ReadOnlyDevice } from '../../device/read-only-device.ts'
import { DeviceClient, DeviceError } from '../helpers/device-client.ts'

const EPERM = 1

test('changes are refused and leave the data as it was; reads and flushes work', async (t) => {
  const memory = new MemoryDevice(1 << 20)
  await new DeviceClient(memory).write(5, Uint8Array.of(1, 2, 3))
  const client = new DeviceClient(new ReadOnlyDevice(memory))
  for (const change of [
    () => client.write(5, new Uint8Array(3)),
    () => client.trim(5, 3),
    () => client.zero(5, 3),
  ]) {
    const error = await t.throwsAsync(change, { instanceOf: DeviceError })
    t.is(error?.errno, EPERM)
    t.is(error?.offset, 5)
  }
  t.deepEqual([...(await client.read(4, 5))], [0, 1, 2, 3, 0])
  await client.flush()
  t.is((await client.blockStatus(0, 1 << 20)).at(-1)?.flags, 3)
})
