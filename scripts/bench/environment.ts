/** What the figures were measured on, without what would name the machine. */
import { readFileSync } from 'node:fs'
import os from 'node:os'

export interface Environment {
  readonly date: string
  readonly processor: string
  readonly cores: number
  readonly isVirtual: boolean
  readonly memoryBytes: number
  readonly kernel: string
  readonly fileSystem: string
  readonly node: string
}

/** @param directory where the disks of the run lie */
export function describeEnvironment(directory: string): Environment {
  const [processor] = os.cpus()
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: processor?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    isVirtual: /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')),
    memoryBytes: os.totalmem(),
    // Only the numbers: what follows them may tell whose machine it is.
    kernel: /^\d+(?:\.\d+)*/.exec(os.release())?.[0] ?? 'unknown',
    fileSystem: fileSystemOf(directory, readFileSync('/proc/self/mounts', 'utf8')),
    node: process.versions.node,
  }
}

/** @param mounts as in proc(5); of two mounts at one place, the later one covers the earlier */
export function fileSystemOf(directory: string, mounts: string): string {
  let found = { place: '', type: 'unknown' }
  for (const line of mounts.split('\n')) {
    const [, place = '', type = 'unknown'] = line.split(' ')
    const isAbove = place === '/' || directory === place || directory.startsWith(`${place}/`)
    if (place !== '' && isAbove && place.length >= found.place.length) found = { place, type }
  }
  return found.type
}
