/** What the file system of a directory can do: everything is tried on a nameless file there. */
import fs from 'node:fs'
import { DIRECT_ALIGNMENT } from './direct-files.ts'
import type { DirectoryAbilities } from './io.ts'
import { errnoOf } from './node-threads.ts'
import { Fallocate, type SystemCalls } from './syscalls.ts'

const EISDIR = 21
const EINVAL = 22
const ENOSPC = 28
const EOPNOTSUPP = 95
const EDQUOT = 122
const { O_CREAT, O_DIRECT, O_DIRECTORY, O_RDWR } = fs.constants
/** The flag of its own, and the one it needs, whose value differs among processors. */
const O_TMPFILE = 0o20000000 | O_DIRECTORY
const PAGE = 4096

/**
 * @param calls null: this machine has none
 * @throws Node's system error if no file can be made in the directory
 */
export async function findAbilities(
  calls: SystemCalls | null,
  directory: string,
): Promise<DirectoryAbilities> {
  if (calls === null) {
    const directRefusal = 'the package koffi, which reaches system calls, does not load'
    return { punchHole: false, zeroRange: false, allocate: false, direct: false, directRefusal }
  }
  const fd = openNameless(directory, 0)
  try {
    fs.ftruncateSync(fd, 2 * PAGE)
    // That there is no space now does not mean that it cannot be done.
    const works = (mode: number): boolean =>
      [0, -ENOSPC].includes(calls.fallocate(fd, mode, 0, PAGE))
    const allocate = works(Fallocate.ALLOCATE)
    const zeroRange = works(Fallocate.ZERO_RANGE)
    const punchHole = works(Fallocate.PUNCH_HOLE)
    const directRefusal = tryDirect(calls, directory)
    return { allocate, zeroRange, punchHole, direct: directRefusal === '', directRefusal }
  } finally {
    fs.closeSync(fd)
  }
}

function openNameless(directory: string, flags: number): number {
  try {
    return fs.openSync(directory, O_TMPFILE | O_RDWR | flags, 0o600)
  } catch (error) {
    if (![EOPNOTSUPP, EINVAL, EISDIR].includes(errnoOf(error))) throw error
  }
  const path = `${directory}/.tmp-probe-${process.pid}`
  // Made without the flags: where one is refused, the file may be left behind.
  fs.closeSync(fs.openSync(path, O_RDWR | O_CREAT, 0o600))
  try {
    return fs.openSync(path, O_RDWR | flags)
  } finally {
    fs.unlinkSync(path)
  }
}

/** @returns why O_DIRECT cannot be used there, in words, or '' */
function tryDirect(calls: SystemCalls, directory: string): string {
  let fd: number
  try {
    fd = openNameless(directory, O_DIRECT)
  } catch (error) {
    return `its file system refuses to open files with O_DIRECT (${codeOf(error)})`
  }
  try {
    return tryBlocks(calls, fd)
  } finally {
    fs.closeSync(fd)
  }
}

/** One block, not the first: a position has to be a multiple of what is wanted, too. */
function tryBlocks(calls: SystemCalls, fd: number): string {
  const block = calls.memory(DIRECT_ALIGNMENT)
  try {
    fs.ftruncateSync(fd, 2 * DIRECT_ALIGNMENT)
    fs.readSync(fd, block, 0, DIRECT_ALIGNMENT, DIRECT_ALIGNMENT)
    fs.writeSync(fd, block, 0, DIRECT_ALIGNMENT, DIRECT_ALIGNMENT)
  } catch (error) {
    // As above: no space now says nothing.
    if ([ENOSPC, EDQUOT].includes(errnoOf(error))) return ''
    return `its file system takes no blocks of ${DIRECT_ALIGNMENT} bytes (${codeOf(error)})`
  }
  return ''
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
