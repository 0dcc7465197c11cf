/**
 * What a process has used, from /proc: CPU time with all its threads and children (nbd-server
 * forks one for each client), and the peak of its memory. Figures are differences of two looks,
 * so start-up does not count.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** USER_HZ: what the kernel counts in towards programs, whatever it ticks at (proc(5)). */
const TICKS_PER_SECOND = 100

/** Tells the kernel to start the peak anew from what is resident now (proc(5), clear_refs). */
const RESET_PEAK = '5'

const WATCH_MS = 50

/** Seconds, in steps of a hundredth. */
export function cpuSeconds(pid: number): number {
  const [root, ...descendants] = processTree(pid)
  const { own, reaped } = parseStat(readProc(root, 'stat'))
  let ticks = own + reaped
  for (const each of descendants) ticks += parseStat(readProc(each, 'stat')).own
  return ticks / TICKS_PER_SECOND
}

export function memoryPeakBytes(pid: number): number {
  return processTree(pid).reduce((sum, each) => sum + parsePeak(readProc(each, 'status')), 0)
}

/**
 * Looks again and again, for clients whose end takes a child of the server with it.
 * @returns a function that ends it and gives the largest sum that was seen
 */
export function watchMemoryPeak(pid: number): () => number {
  let largest = 0
  const look = (): void => {
    largest = Math.max(largest, memoryPeakBytes(pid))
  }
  const timer = setInterval(look, WATCH_MS)
  return () => {
    clearInterval(timer)
    look()
    return largest
  }
}

/** Without the right to do it, the peak stays that since the start. */
export function resetMemoryPeak(pid: number): void {
  for (const each of processTree(pid)) {
    try {
      writeFileSync(`/proc/${each}/clear_refs`, RESET_PEAK)
    } catch {
      return
    }
  }
}

/** @returns clock ticks of the process itself, and of children it has waited for */
export function parseStat(text: string): { own: number; reaped: number } {
  // The name may hold spaces and parentheses; the state, field 3, comes after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): number => Number(fields[number - 3] ?? 0)
  return { own: field(14) + field(15), reaped: field(16) + field(17) }
}

/** @returns bytes; 0 for a process that has ended and is not waited for yet */
export function parsePeak(text: string): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(text)
  return match === null ? 0 : Number(match[1]) * 1024
}

function processTree(pid: number): number[] {
  return [pid, ...children(pid).flatMap(processTree)]
}

function children(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readProc(pid, `task/${thread}/children`).split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}

/** @returns '' if the process or thread has ended */
function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}
