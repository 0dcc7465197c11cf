import test from 'ava'
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { createDisk } from '../../chunkstore/create.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, SimulatedMachine } from '../../io/simulated/machine.ts'
import { Random } from '../helpers/random.ts'
import { Driver } from '../io/simulated/driver.ts'

test('a disk that was created is there after a power loss, with every directory', async (t) => {
  const machine = new SimulatedMachine(new Random(1), { holes: true, atOnce: 0.5 })
  const files = new SimulatedFiles(machine)
  const directories = ['/ssd/far/away', '/disks/new/beside', '/disks/new/other/deep']
  const created = createDisk(files, {
    file: '/disks/new/a.chunkdisk',
    diskSize: 1 << 20,
    chunkSize: 1 << 16,
    parts: directories.map((directory) => ({ directory, chunksMax: null })),
    parent: null,
  })
  await new Driver(files, files).wait(created)
  t.deepEqual(files.openNames(), [])
  machine.kill()
  const after = machine.afterPowerLoss(new Random(1), NOTHING_KEPT)
  const again = new SimulatedFiles(after)
  const disk = await new Driver(again, again).wait(ChunkDisk.open(again, '/disks/new/a.chunkdisk'))
  t.is(disk.size, 1 << 20)
})
