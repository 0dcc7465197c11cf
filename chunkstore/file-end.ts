/**
 * Holes look the same inside a chunk file and behind its end. Where zeros are told of without
 * reading them, this tells whether somebody has cut the file short.
 */
import { Seek } from '../io/io.ts'
import type { Operation } from './operation.ts'

const ENXIO = 6

/** @returns whether the operation's file ends before `end`; false if its file system cannot tell */
export function endsBefore(operation: Operation, end: number): boolean {
  const { position } = operation
  operation.position = end - 1
  operation.store.files.seek(operation, Seek.HOLE)
  operation.position = position
  return operation.result === -ENXIO
}
