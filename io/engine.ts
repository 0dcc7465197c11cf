/** Chooses the engine: io_uring where the machine allows it, else the one that works everywhere. */
import type { Io } from './io.ts'
import { createNodeIo } from './node.ts'
import { createUringIo, type UringOptions } from './uring.ts'

export const Engine = { AUTO: 'auto', URING: 'uring', NODE: 'node' } as const
export type Engine = (typeof Engine)[keyof typeof Engine]

export interface ChosenIo {
  readonly io: Io
  /** Why this engine and not another one, in words. */
  readonly reason: string
}

/** @throws Error with code ENGINE if the wanted engine is impossible here */
export function createIo(wanted: Engine = Engine.AUTO, options: UringOptions = {}): ChosenIo {
  if (wanted === Engine.NODE) return { io: createNodeIo(), reason: 'as asked for' }
  const uring = createUringIo(options)
  if (typeof uring !== 'string') {
    return { io: uring, reason: wanted === Engine.AUTO ? 'io_uring works here' : 'as asked for' }
  }
  if (wanted === Engine.AUTO) return { io: createNodeIo(), reason: uring }
  const message = `engine uring: ${uring}; use --engine node, or auto`
  throw Object.assign(new Error(message), { code: 'ENGINE' })
}
