/**
 * Makes an io_uring and maps its memory, or says why that cannot be. What is missing is found out
 * here, at the start: behind it every needed operation exists.
 */
import { getSystemErrorName } from 'node:util'
import {
  CQE_WORDS,
  Feature,
  OFFSET_SQES,
  Opcode,
  Params,
  PARAMS_WORDS,
  PROBE_FLAGS_OFFSET,
  PROBE_HEAD_BYTES,
  PROBE_OP_BYTES,
  PROBE_OPS,
  PROBE_SUPPORTED,
  Register,
  Setup,
  SQE_WORDS,
} from './uring-abi.ts'
import type { RingCalls } from './ring-calls.ts'

const SQ_ENTRIES = 1024
const CQ_ENTRIES = 8192

/** The first that the kernel takes; what is left out costs speed only. */
const SETUP_FLAGS: readonly number[] = [
  Setup.SUBMIT_ALL | Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN | Setup.TASKRUN_FLAG,
  Setup.SUBMIT_ALL | Setup.COOP_TASKRUN | Setup.TASKRUN_FLAG,
  Setup.SUBMIT_ALL,
  0,
]

const FEATURES_NEEDED: readonly (keyof typeof Feature)[] = [
  'SINGLE_MMAP',
  'NODROP',
  'SUBMIT_STABLE',
  'FAST_POLL',
]

const OPCODES_NEEDED: readonly (keyof typeof Opcode)[] = [
  'ACCEPT',
  'ASYNC_CANCEL',
  'FALLOCATE',
  'FSYNC',
  'READ',
  'RECV',
  'SEND',
  'SENDMSG',
  'WRITE',
]

const EINVAL = 22

/** Errors of io_uring_setup that need more than their name. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOSYS', 'this kernel, or the filter of this container, has no io_uring (ENOSYS)'],
  ['EPERM', 'io_uring is forbidden here: sysctl kernel.io_uring_disabled or a filter (EPERM)'],
  ['EACCES', 'io_uring is forbidden here (EACCES)'],
  ['ENOMEM', 'not enough locked memory for the rings: raise ulimit -l (ENOMEM)'],
])

/** A ring and its mapped memory. Positions are indices into `rings`. */
export interface RingMemory {
  readonly fd: number
  /** Readable when something is completed while nobody looks. */
  readonly eventFd: number
  readonly rings: Int32Array
  readonly entries: Int32Array
  readonly sqEntries: number
  readonly cqEntries: number
  readonly sqHead: number
  readonly sqTail: number
  readonly sqFlags: number
  readonly cqHead: number
  readonly cqTail: number
  readonly cqFlags: number
  readonly cqes: number
  /** The file size can be set through the ring. */
  readonly hasTruncate: boolean
}

/** @returns the ring, or in words why there is none */
export function setUpRing(calls: RingCalls): RingMemory | string {
  const params = new Int32Array(new ArrayBuffer(PARAMS_WORDS * 4))
  const fd = tryFlags(calls, params)
  if (fd < 0) {
    const name = getSystemErrorName(fd)
    return REASONS.get(name) ?? `io_uring cannot be set up (${name})`
  }
  const missing = findMissing(calls, fd, params[Params.FEATURES])
  const eventFd = missing === '' ? registerEvent(calls, fd) : -1
  if (eventFd >= 0) return mapRing(calls, fd, eventFd, params)
  calls.close(fd)
  return missing || `io_uring takes no eventfd (${getSystemErrorName(eventFd)})`
}

function tryFlags(calls: RingCalls, params: Int32Array): number {
  let fd = -EINVAL
  for (const flags of SETUP_FLAGS) {
    params.fill(0)
    params[Params.CQ_ENTRIES] = CQ_ENTRIES
    params[Params.FLAGS] = flags | Setup.CQSIZE | Setup.CLAMP
    fd = calls.setup(SQ_ENTRIES, params)
    if (fd !== -EINVAL) break
  }
  return fd
}

function findMissing(calls: RingCalls, fd: number, features: number): string {
  const feature = FEATURES_NEEDED.find((name) => (features & Feature[name]) === 0)
  if (feature !== undefined) return `this kernel's io_uring is too old: no ${feature}`
  const supported = probe(calls, fd)
  const opcode = OPCODES_NEEDED.find((name) => !supported(Opcode[name]))
  return opcode === undefined ? '' : `this kernel's io_uring is too old: no ${opcode}`
}

function probe(calls: RingCalls, fd: number): (opcode: number) => boolean {
  const bytes = new Uint8Array(new ArrayBuffer(PROBE_HEAD_BYTES + PROBE_OPS * PROBE_OP_BYTES))
  if (calls.register(fd, Register.PROBE, bytes, PROBE_OPS) < 0) return () => false
  return (opcode) => {
    const flags = bytes[PROBE_HEAD_BYTES + opcode * PROBE_OP_BYTES + PROBE_FLAGS_OFFSET]
    return (flags & PROBE_SUPPORTED) !== 0
  }
}

function registerEvent(calls: RingCalls, fd: number): number {
  const eventFd = calls.eventFd()
  if (eventFd < 0) return eventFd
  const argument = new Int32Array(new ArrayBuffer(4)).fill(eventFd)
  const result = calls.register(fd, Register.EVENTFD, argument, 1)
  if (result >= 0) return eventFd
  calls.close(eventFd)
  return result
}

function mapRing(calls: RingCalls, fd: number, eventFd: number, params: Int32Array): RingMemory {
  const sqEntries = params[Params.SQ_ENTRIES]
  const cqEntries = params[Params.CQ_ENTRIES]
  const array = params[Params.SQ_ARRAY] / 4
  const cqes = params[Params.CQ_CQES] / 4
  const words = Math.max(array + sqEntries, cqes + cqEntries * CQE_WORDS)
  const rings = new Int32Array(calls.map(fd, 0, words * 4))
  // Entry number n is always described by entry n: the array never changes again.
  for (let index = 0; index < sqEntries; index++) rings[array + index] = index
  return {
    fd,
    eventFd,
    rings,
    entries: new Int32Array(calls.map(fd, OFFSET_SQES, sqEntries * SQE_WORDS * 4)),
    sqEntries,
    cqEntries,
    sqHead: params[Params.SQ_HEAD] / 4,
    sqTail: params[Params.SQ_TAIL] / 4,
    sqFlags: params[Params.SQ_FLAGS] / 4,
    cqHead: params[Params.CQ_HEAD] / 4,
    cqTail: params[Params.CQ_TAIL] / 4,
    cqFlags: params[Params.CQ_FLAGS] / 4,
    cqes,
    hasTruncate: probe(calls, fd)(Opcode.FTRUNCATE),
  }
}
