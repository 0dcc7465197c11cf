/**
 * Completion-based I/O: what every engine offers, and all that the rest of the program knows of
 * the operating system. Imports types only; the engines are `node.ts` and `uring.ts`.
 *
 * Data path: a pooled `FileOperation` is filled in and started. The start method returns true when
 * the operation is finished already (`result` holds the outcome, `complete` is not called), false
 * when it goes on; `complete` is then called once, never before the start method returned.
 * Control path: async functions which throw Node's system errors (`code`, `path`).
 */
import type { TlsContext } from './tls-context.ts'
import type { TlsIdentity } from './tls-identity.ts'

/** One operation on an open file. Reusable as soon as it is finished. */
export abstract class FileOperation {
  fd = -1
  /** Lent to the engine until the operation is finished. */
  buffer: Uint8Array = EMPTY
  bufferOffset = 0
  /** Bytes; for `truncate` the new size of the file. */
  length = 0
  /** Bytes from the start of the file. */
  position = 0
  /** `read`: what the kernel has in memory is wanted before the start method returns. */
  atOnce = false
  /** `read`: what the kernel has in memory may be given to it instead of into `buffer`. */
  outlet: FileOutlet | null = null
  /** Bytes transferred (short only at the end of the file), a position (`seek`), or -errno. */
  result = 0
  /** Private to the engine, kept from one use to the next. */
  engineState: unknown = null

  /** Called once if the start method returned false. */
  abstract complete(): void
}

/** Takes bytes of a file as they lie there. @returns false: it did not, and nothing has happened */
export interface FileOutlet {
  take(fd: number, position: number, length: number): boolean
}

const EMPTY = new Uint8Array(0)

export const Seek = { DATA: 3, HOLE: 4 } as const
export type SeekKind = (typeof Seek)[keyof typeof Seek]

/** What this machine can do; shown by `info` and at start, never silently changed. */
export interface IoFeatures {
  /** Partial holes, `zeroRange`, `seek`: the needed system calls can be reached. */
  readonly systemCalls: boolean
  /** Why not, when `systemCalls` is false. */
  readonly reason: string
}

export interface FileStatus {
  readonly size: number
  /** Bytes of storage in use. */
  readonly allocated: number
  /** Names the file has; 0: it was deleted and is still open. */
  readonly links: number
  readonly isFile: boolean
  readonly isDirectory: boolean
  /** Device and inode number: equal for two paths of the same file. */
  readonly identity: string
  readonly mtimeMs: number
}

export const LockKind = { SHARED: 1, EXCLUSIVE: 2 } as const
export type LockKind = (typeof LockKind)[keyof typeof LockKind]

/** Tells machines and their starts apart; what is unknown is ''. */
export interface MachineIdentity {
  /** Name, for messages. */
  readonly host: string
  /** The same after the machine was started anew. */
  readonly machine: string
  /** Of the kernel that runs: its locks reach all processes that see the same. */
  readonly boot: string
}

/** What the file system of a directory can do, tried out on a nameless temporary file. */
export interface DirectoryAbilities {
  readonly punchHole: boolean
  readonly zeroRange: boolean
  readonly allocate: boolean
  /** Files can be opened, read and written with O_DIRECT, in blocks of 4096 bytes. */
  readonly direct: boolean
  /** Why not, in words; '' if `direct`. */
  readonly directRefusal: string
}

/**
 * Files: the data path first, then the control path.
 *
 * On a descriptor opened with O_DIRECT, positions and lengths of reads and writes are multiples of
 * 4096. The memory may lie anywhere; that of `memory` is used without a copy.
 */
export interface Files {
  read(operation: FileOperation): boolean
  write(operation: FileOperation): boolean
  /** Makes data and what is needed to find it durable (fdatasync). */
  sync(operation: FileOperation): boolean
  /** Makes the names in an open directory durable (fsync: fdatasync may leave names out). */
  syncDirectory(operation: FileOperation): boolean
  /** Deallocates `length` bytes from `position`, size unchanged; they read as zeros. */
  punchHole(operation: FileOperation): boolean
  /** Zeros that stay allocated, without writing them. EOPNOTSUPP where that is impossible. */
  zeroRange(operation: FileOperation): boolean
  /** Allocates without changing contents or size. */
  allocate(operation: FileOperation): boolean
  truncate(operation: FileOperation): boolean
  /** `result` = next data or hole at or after `position`; -ENXIO when there is no data left. */
  seek(operation: FileOperation, kind: SeekKind): boolean
  /** Bytes of storage in use as `result`. */
  allocated(operation: FileOperation): boolean
  /** Ends a batch: starts what an engine held back. */
  submit(): void

  /**
   * @returns `bytes` zeros, where O_DIRECT wants them
   * @throws RangeError if there is no memory for them
   */
  memory(bytes: number): Uint8Array

  /** @param flags `fs.constants.O_*` */
  open(path: string, flags: number, mode?: number): Promise<number>
  close(fd: number): Promise<void>
  status(path: string): Promise<FileStatus>
  statusOf(fd: number): Promise<FileStatus>
  list(directory: string): Promise<string[]>
  makeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** @throws EFBIG if the file is larger */
  readText(path: string, bytesMax: number): Promise<string>
  /** A new file, complete and durable or not there; EEXIST if the name is taken. */
  createText(path: string, text: string, mode?: number): Promise<void>
  /** New contents for a file, durable; at every moment, also across a crash, the old or the new. */
  replaceText(path: string, text: string): Promise<void>
  /** Kernel lock on an open file, gone with the process. @returns false: somebody else holds it */
  lock(fd: number, kind: LockKind): Promise<boolean>
  /** Process that holds a lock on the open file, in words for a message, or ''. */
  lockHolder(fd: number): Promise<string>
  machineIdentity(): Promise<MachineIdentity>
  abilities(directory: string): Promise<DirectoryAbilities>
}

/** Sockets to listen at. `fd`: one that listens already, inherited from the parent process. */
export type SocketAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** `mode` of the socket file; default: for its owner only. */
  | { readonly kind: 'unix'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'fd'; readonly fd: number }

/** Where connections come from. Engines know sockets; `ws-io.ts` adds the rest. */
export type ListenAddress =
  | SocketAddress
  /** Clients speak in WebSockets, over TLS if `secure`. */
  | { readonly kind: 'ws'; readonly secure: boolean; readonly at: SocketAddress }
  /** We connect to a WebSocket server, again and again, and serve it. */
  | { readonly kind: 'dial'; readonly url: string; readonly exportName: string }

/** The far side of a `Stream`; called by the engine, never from inside a call to the stream. */
export interface StreamHandler {
  /** Where the next bytes go: at least 1 byte, lent until `received` or the next call. */
  receiveBuffer(): Uint8Array
  /** `bytes` bytes arrived at the start of the last receive buffer. */
  received(bytes: number): void
  /** What `send` could not send at once has left; its memory is free, `send` may be called. */
  sent(): void
  /** The peer sends no more; sending to it still works. */
  ended(): void
  /** The connection is gone; nothing is called after this. Memory given to `send` is free. */
  closed(reason: Error | null): void
}

/** Of the process at the other end of a unix socket, when it connected. */
export interface Credentials {
  readonly uid: number
  /** Only the first group it is in. */
  readonly gid: number
}

/** What the way in has settled before the first byte: the request of a WebSocket does. */
export interface StreamEntry {
  /** The export that stands for the empty name on this connection; '': the usual one. */
  readonly defaultExport: string
  /** Names of the exports that exist for the peer; null: all. */
  readonly exports: ReadonlySet<string> | null
  /** Who the peer is, as TLS below has proven it; null: there is none. */
  readonly identity: TlsIdentity | null
}

/** A connected byte stream: TCP, unix socket, TLS on either, WebSocket. */
export interface Stream {
  /** Address of the peer, for logs. */
  readonly remote: string
  /** Missing: nothing is settled yet. If it is there, `secure` is impossible. */
  readonly entry?: StreamEntry
  /** Asks the kernel, before `start`. Null: nothing is known; so it is where this is left out. */
  credentials?(): Credentials | null
  /** Sets the handler and begins to receive. Call it once. */
  start(handler: StreamHandler): void
  /**
   * Sends the pieces in order; only one `send` at a time.
   * @returns true: all has left, `sent` is not called; false: they are lent until `sent`
   */
  send(pieces: readonly Uint8Array[]): boolean
  /**
   * As `send`; the last piece gets its bytes from a file, without a copy as far as the socket takes
   * them now, else read into its memory at once. The file's bytes should be in the kernel's memory:
   * the disk is waited for. If they cannot be had the connection fails. Streams that cannot do this
   * leave it out.
   */
  readonly sendFile?:
    ((pieces: readonly Uint8Array[], fd: number, position: number) => boolean) | undefined
  /** Stops calling `received` (what the kernel holds stays there) until `resume`. */
  pause(): void
  resume(): void
  /** Ends our direction after what was sent, then waits for the peer to close. */
  finish(): void
  /** Closes at once. `closed` follows. */
  destroy(): void
  /**
   * Gives the connection away to a stream that speaks TLS on it, as the server; start that one.
   * This one tells its handler nothing any more, and none of its methods may be called. What was
   * sent must have left. Call it from inside `received`, or paused since then: all that arrives
   * later is TLS, and nothing of it has been received in plain.
   * @param secured called once before anything is received, if the handshake succeeds; if it
   *   fails, or the peer is not who it should be, the new stream is closed with the reason
   */
  secure(context: TlsContext, secured: (identity: TlsIdentity) => void): Stream
}

export interface Listener {
  /** The real address: the port is known even if 0 was asked for. */
  readonly address: ListenAddress
  /** Stops accepting; resolves when nothing listens any more. Accepted streams live on. */
  close(): Promise<void>
}

export interface Io {
  readonly name: string
  readonly features: IoFeatures
  readonly files: Files
  /**
   * @param accept is given each connection, which it starts or destroys
   * @param refused is told of those that were closed, or have to wait, because the last file
   *   descriptors are kept for other uses; `remote` as in `Stream`, or '' if it is not known
   */
  listen(
    address: ListenAddress,
    accept: (stream: Stream) => void,
    refused?: (remote: string) => void,
  ): Promise<Listener>
  /**
   * Calls back once, when the engine has told the completions at hand and before it waits for
   * others. An engine without such a point leaves it out: `setImmediate` serves.
   */
  readonly soon?: (callback: () => void) => void
  /**
   * Gives memory that holds nothing of worth back to the system until it is used again. What is in
   * it is then undefined. An engine that cannot leaves this out.
   */
  readonly giveBack?: (memory: Uint8Array) => void
  /**
   * While it is on, file operations go to Node's threads only: the kernel's threads keep the user
   * of the time when they began, also when the process has become another. For an engine that
   * has some.
   */
  readonly threadsOnly?: (on: boolean) => void
}
