/** What the servers are asked to do. A table: the order is that of the measurement and the page. */

const PAGE = 4096
const BLOCK = 256 << 10

export interface Workload {
  /** What --only matches, and the key in the baseline. */
  readonly name: string
  readonly title: string
  /** `load` is our own generator (load.c); the others are clients that people use. */
  readonly client: 'load' | 'fio' | 'nbdcopy'
  readonly operationBytes: number
  /** The rest are writes. */
  readonly readPercent: number
  readonly isSequential: boolean
  /** Of each connection; nbdcopy chooses both itself. */
  readonly depth: number
  readonly connections: number
  /** Past every cache, by O_DIRECT: compared with fio on the bare file instead of a server. */
  readonly isCold: boolean
}

export const WORKLOADS: readonly Workload[] = [
  small('read-4k-qd1', '4K random read, depth 1', { readPercent: 100, depth: 1 }),
  small('read-4k-qd32', '4K random read, depth 32', { readPercent: 100 }),
  small('read-4k-qd32x4', '4K random read, depth 32 × 4', { readPercent: 100, connections: 4 }),
  small('write-4k-qd1', '4K random write, depth 1', { readPercent: 0, depth: 1 }),
  small('write-4k-qd32', '4K random write, depth 32', { readPercent: 0 }),
  small('write-4k-qd32x4', '4K random write, depth 32 × 4', { readPercent: 0, connections: 4 }),
  small('mixed-4k-qd32', '4K random 70 % read, depth 32', { readPercent: 70 }),
  large('read-256k-qd8', '256K sequential read, depth 8', { readPercent: 100 }),
  large('write-256k-qd8', '256K sequential write, depth 8', { readPercent: 0 }),
  small('fio-read-4k-qd32', 'fio: 4K random read, depth 32', { client: 'fio', readPercent: 100 }),
  small('fio-write-4k-qd32', 'fio: 4K random write, depth 32', { client: 'fio', readPercent: 0 }),
  large('nbdcopy-out', 'nbdcopy: from the server', { client: 'nbdcopy', readPercent: 100 }),
  large('nbdcopy-in', 'nbdcopy: to the server, flushed', { client: 'nbdcopy', readPercent: 0 }),
  small('cold-read-4k-qd32', 'O_DIRECT: 4K random read, depth 32', {
    readPercent: 100,
    isCold: true,
  }),
]

/** @param patterns parts of names or titles, in any case; none selects all */
export function selectWorkloads(patterns: readonly string[]): readonly Workload[] {
  if (patterns.length === 0) return WORKLOADS
  const wanted = patterns.map((pattern) => pattern.toLowerCase())
  return WORKLOADS.filter(({ name, title }) =>
    wanted.some((part) => name.includes(part) || title.toLowerCase().includes(part)),
  )
}

/** Whether blocks are changed: then whoever is visited next must not pay for writing them back. */
export function writes(workload: Workload): boolean {
  return workload.readPercent < 100
}

type Difference = Partial<Workload> & Pick<Workload, 'readPercent'>

function small(name: string, title: string, difference: Difference): Workload {
  const common = { client: 'load', isSequential: false, connections: 1, isCold: false } as const
  return { name, title, ...common, operationBytes: PAGE, depth: 32, ...difference }
}

function large(name: string, title: string, difference: Difference): Workload {
  const common = { client: 'load', isSequential: true, connections: 1, isCold: false } as const
  return { name, title, ...common, operationBytes: BLOCK, depth: 8, ...difference }
}
