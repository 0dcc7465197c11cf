/**
 * Numbers of the io_uring interface (linux/io_uring.h), with the kernel's names. Words of an entry
 * are 32 bits wide and little-endian, as on every machine where Linux and Node meet io_uring.
 */

export const Opcode = {
  FSYNC: 3,
  SENDMSG: 9,
  ACCEPT: 13,
  ASYNC_CANCEL: 14,
  FALLOCATE: 17,
  READ: 22,
  WRITE: 23,
  SEND: 26,
  RECV: 27,
  /** Linux 6.9. */
  FTRUNCATE: 55,
} as const

export const Setup = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  SUBMIT_ALL: 1 << 7,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const

export const Feature = {
  SINGLE_MMAP: 1 << 0,
  NODROP: 1 << 1,
  SUBMIT_STABLE: 1 << 2,
  FAST_POLL: 1 << 5,
} as const

export const Enter = { GETEVENTS: 1 << 0 } as const

export const Register = { EVENTFD: 4, PROBE: 8 } as const

/** Set by the kernel: there is work to do in io_uring_enter before its completions show. */
export const SQ_TASKRUN = 1 << 2

/** Set by the kernel: completions wait for room; io_uring_enter puts them into the ring. */
export const SQ_CQ_OVERFLOW = 1 << 1

/** Set by us: completions need not be signalled now. */
export const CQ_EVENTFD_DISABLED = 1 << 0

/** In the `ioprio` of RECV: there is nothing to receive yet, wait before trying. */
export const RECVSEND_POLL_FIRST = 1

export const FSYNC_DATASYNC = 1

/** `io_uring_params`, in 32-bit words. */
export const PARAMS_WORDS = 30
export const Params = {
  SQ_ENTRIES: 0,
  CQ_ENTRIES: 1,
  FLAGS: 2,
  FEATURES: 5,
  SQ_HEAD: 10,
  SQ_TAIL: 11,
  SQ_FLAGS: 14,
  SQ_ARRAY: 16,
  CQ_HEAD: 20,
  CQ_TAIL: 21,
  CQ_CQES: 25,
  CQ_FLAGS: 26,
} as const

/** Where to map the submission entries; the rings are at 0. */
export const OFFSET_SQES = 0x10000000
export const SQE_WORDS = 16
export const CQE_WORDS = 4

/** `io_uring_probe`: a head, then 8 bytes for each opcode. */
export const PROBE_HEAD_BYTES = 16
export const PROBE_OP_BYTES = 8
export const PROBE_OPS = 256
/** Byte and bit that say that the opcode is supported. */
export const PROBE_FLAGS_OFFSET = 2
export const PROBE_SUPPORTED = 1
