/** Chooses the engine: the one that works everywhere, or io_uring where the machine allows it. */
import type { Io } from './io.ts'
import { createNodeIo } from './node.ts'
import { createUringIo } from './uring.ts'

export const Engine = { AUTO: 'auto', URING: 'uring', NODE: 'node' } as const
export type Engine = (typeof Engine)[keyof typeof Engine]

/** Measured: on hot data at least as fast for less CPU time, on cold data much faster. */
export const ENGINE_DEFAULT: Engine = Engine.AUTO

export interface ChosenIo {
  readonly io: Io
  /** Why this engine and not another one, in words. */
  readonly reason: string
}

/** @throws Error with code ENGINE if the wanted engine is impossible here */
export function createIo(wanted: Engine = ENGINE_DEFAULT): ChosenIo {
  if (wanted === Engine.NODE) return { io: createNodeIo(), reason: 'works everywhere' }
  const uring = createUringIo()
  if (typeof uring !== 'string') {
    return { io: uring, reason: wanted === Engine.AUTO ? 'io_uring works here' : 'as asked for' }
  }
  if (wanted === Engine.AUTO) return { io: createNodeIo(), reason: uring }
  const message = `engine uring: ${uring}; use --engine node, or auto`
  throw Object.assign(new Error(message), { code: 'ENGINE' })
}
