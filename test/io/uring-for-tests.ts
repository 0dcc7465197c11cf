import test from 'ava'
import type { Io } from '../../io/io.ts'
import { createUringIo } from '../../io/uring.ts'

/** @returns the engine, or null: this machine has no io_uring, and one test says so */
export function uringForTests(): Io | null {
  const io = createUringIo()
  if (typeof io !== 'string') return io
  test('without io_uring, the reason is told', (t) => {
    t.log(`SKIPPED: ${io}`)
    t.not(io, '')
  })
  return null
}
