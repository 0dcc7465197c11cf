/** Results of a run that never was, for the tests of what is made from them. */
import type { Results, Row, Visit } from '../../scripts/bench/results.ts'

/** @param speeds operations a second, one a round */
export function visits(...speeds: readonly (number | null)[]): (Visit | null)[] {
  return speeds.map((speed) =>
    speed === null
      ? null
      : {
          operationsPerSecond: speed,
          cpuPerOperation: 1e6 / speed,
          memoryPeakBytes: 64 << 20,
          latency: { p50: 10, p99: 20, p999: 30 },
        },
  )
}

export function row(difference: Partial<Row> = {}): Row {
  return {
    name: 'read',
    title: 'Random read',
    operationBytes: 4096,
    reference: 'nbdkit',
    visits: { nbdkit: visits(1000, 1000, 1000), chunknbd: visits(2000, 2500, 3000) },
    ...difference,
  }
}

export function results(rows: readonly Row[], difference: Partial<Results> = {}): Results {
  return {
    form: 'full',
    rounds: 3,
    seconds: 1,
    diskBytes: 1 << 30,
    environment: {
      date: '2026-01-02',
      processor: 'Abacus',
      cores: 2,
      isVirtual: true,
      memoryBytes: 24 * 2 ** 30,
      kernel: '6.1',
      fileSystem: 'ext4',
      node: '20.19.0',
    },
    servers: [
      { name: 'file', title: 'fio on a bare file', version: '', isOurs: false },
      { name: 'nbdkit', title: 'nbdkit file', version: '1.32.5', isOurs: false },
      { name: 'chunknbd', title: 'chunknbd', version: '0.1.0', isOurs: true },
    ],
    rows,
    skipped: [],
    failures: [],
    ...difference,
  }
}
