/** Another process that tries to open the disk while it is served: it is refused. */
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import type { SimulatedMachine } from '../../io/simulated/machine.ts'
import { BrokenPromise } from './disk-model.ts'
import type { World } from './world.ts'

/** @throws BrokenPromise */
export async function intrude(
  world: World,
  machine: SimulatedMachine,
  file: string,
): Promise<void> {
  const files = new SimulatedFiles(machine)
  const before = world.processes
  world.processes = [...before, files]
  const opened = ChunkDisk.open(files, file)
  const code = await world.wait(
    opened.then(
      () => 'no error',
      (error: NodeJS.ErrnoException) => error.code,
    ),
    'another open',
  )
  world.processes = before
  if (code !== 'EINUSE') throw new BrokenPromise(`a second writer gets ${code}, not EINUSE`)
  if (files.openNames().length > 0) throw new BrokenPromise(`it leaves ${files.openNames()} open`)
}
