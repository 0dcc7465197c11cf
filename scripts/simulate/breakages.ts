/**
 * Ways to break the server, one at a time, to see that the simulation notices. Each puts something
 * between the server and its files, or between its front and its disk.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Device, Request, Status } from '../../device/device.ts'
import { DONE } from '../../device/device.ts'
import { FileOperation, type Files } from '../../io/io.ts'

export interface Breakage {
  readonly what: string
  readonly files?: (files: Files) => Files
  readonly device?: (device: Device) => Device
}

const FUA = 1
const { O_RDONLY } = fs.constants
const O_ACCMODE = 3

/** Descriptors by the name they were opened with last, as the breakages want to know it. */
class Names {
  readonly #names = new Map<number, string>()

  add(fd: number, file: string): number {
    this.#names.set(fd, path.basename(file))
    return fd
  }

  isTemporary(fd: number): boolean {
    return this.#names.get(fd)?.startsWith('.tmp-') === true
  }

  renamed(from: string, to: string): void {
    for (const [fd, name] of this.#names) {
      if (name === path.basename(from)) this.#names.set(fd, path.basename(to))
    }
  }
}

/** As `files`, but for some methods. */
function override(files: Files, methods: Partial<Files>): Files {
  return new Proxy(files, {
    get(target, name) {
      const own = Reflect.get(methods, name) as unknown
      const value = own ?? (Reflect.get(target, name) as unknown)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Says that it is done, and does nothing. */
function nothing(operation: FileOperation): boolean {
  operation.result = 0
  return true
}

function withNames(files: Files, methods: (names: Names) => Partial<Files>): Files {
  const names = new Names()
  const rename = async (from: string, to: string): Promise<void> => {
    await files.rename(from, to)
    names.renamed(from, to)
  }
  const open = async (file: string, flags: number): Promise<number> =>
    names.add(await files.open(file, flags), file)
  return override(files, { open, rename, ...methods(names) })
}

/** Copy-up under the chunk's own name from the start. */
function withoutRename(files: Files): Files {
  const real = (file: string): string =>
    path.join(path.dirname(file), path.basename(file).replace(/^\.tmp-(chunk\d+)$/, '$1'))
  return override(files, {
    open: (file, flags) => files.open(real(file), flags),
    rename: async () => {},
    remove: (file) => files.remove(real(file)),
  })
}

/** Descriptors opened for reading are synced only for what an earlier process wrote. */
function withoutSyncsOfReaders(files: Files): Files {
  const readers = new Set<number>()
  return override(files, {
    open: async (file, flags) => {
      const fd = await files.open(file, flags)
      if ((flags & O_ACCMODE) === O_RDONLY) readers.add(fd)
      else readers.delete(fd)
      return fd
    },
    sync: (operation) => (readers.has(operation.fd) ? nothing(operation) : files.sync(operation)),
  })
}

/** An operation of its own, with the same fields; nobody hears of its end. */
class Background extends FileOperation {
  constructor({ fd, buffer, bufferOffset, length, position }: FileOperation) {
    super()
    const copy = buffer.slice(bufferOffset, bufferOffset + length)
    Object.assign(this, { fd, buffer: copy, length, position })
  }

  override complete(): void {}
}

function inBackground(files: Files, method: 'sync' | 'write'): Files {
  return override(files, {
    [method](operation: FileOperation): boolean {
      files[method](new Background(operation))
      operation.result = operation.length
      return true
    },
  })
}

/** Failures of syncs are not told. */
function syncsThatNeverFail(files: Files): Files {
  return override(files, {
    sync(operation) {
      const copy = Object.assign(Object.create(operation) as FileOperation, {
        complete: () => {
          operation.result = 0
          operation.complete()
        },
      })
      if (!files.sync(copy)) return false
      return nothing(operation)
    },
  })
}

function withoutFlag(device: Device, flag: number): Device {
  return wrap(device, (method, request) => {
    request.flags &= ~flag
    return device[method](request)
  })
}

type Method = 'write' | 'zero' | 'trim' | 'flush'

function wrap(device: Device, call: (method: Method, request: Request) => Status): Device {
  const methods = {
    write: (request: Request) => call('write', request),
    zero: (request: Request) => call('zero', request),
    trim: (request: Request) => call('trim', request),
    flush: (request: Request) => call('flush', request),
  }
  return new Proxy(device, {
    get(target, name) {
      const own = Reflect.get(methods, name) as unknown
      if (own !== undefined) return own
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** The flush that the front asks for by itself when a connection has ended. */
function isOwnFlush(request: Request): boolean {
  return 'silent' in request && request.silent === true
}

export const BREAKAGES: Readonly<Record<string, Breakage>> = {
  'no-directory-sync': {
    what: 'names of new chunk files are never synced',
    files: (files) => override(files, { syncDirectory: nothing }),
  },
  'no-data-sync': {
    what: 'a flush syncs no chunk file',
    files: (files) =>
      withNames(files, (names) => ({
        sync: (operation) =>
          names.isTemporary(operation.fd) ? files.sync(operation) : nothing(operation),
      })),
  },
  'no-copy-sync': {
    what: 'a copied chunk is renamed before its data is synced',
    files: (files) =>
      withNames(files, (names) => ({
        sync: (operation) =>
          names.isTemporary(operation.fd) ? nothing(operation) : files.sync(operation),
      })),
  },
  'no-rename': {
    what: 'a chunk is copied under its own name, not a temporary one',
    files: withoutRename,
  },
  'no-truncate-to-empty': {
    what: 'a chunk that was trimmed as a whole keeps its data',
    files: (files) =>
      override(files, {
        truncate: (operation) =>
          operation.length === 0 ? nothing(operation) : files.truncate(operation),
      }),
  },
  'no-removal': {
    what: 'what a crash left of a copy is not removed',
    files: (files) => override(files, { remove: async () => {} }),
  },
  'early-sync': {
    what: 'a sync is answered before it is done',
    files: (files) => inBackground(files, 'sync'),
  },
  'early-write': {
    what: 'a write is answered before the kernel has it',
    files: (files) => inBackground(files, 'write'),
  },
  'silent-sync': {
    what: 'a sync that failed is taken for one that succeeded',
    files: syncsThatNeverFail,
  },
  'no-lock': {
    what: 'two processes may write',
    files: (files) => override(files, { lock: async () => true }),
  },
  'no-inherited-sync': {
    what: 'a flush does not cover what an earlier process wrote',
    files: withoutSyncsOfReaders,
  },
  'no-fua': {
    what: 'FUA is ignored',
    device: (device) => withoutFlag(device, FUA),
  },
  'no-flush': {
    what: 'flushes are answered and not carried out',
    device: (device) =>
      wrap(device, (method, request) => (method === 'flush' ? DONE : device[method](request))),
  },
  'no-flush-at-leave': {
    what: 'nothing is flushed when a client leaves',
    device: (device) =>
      wrap(device, (method, request) =>
        method === 'flush' && isOwnFlush(request) ? DONE : device[method](request),
      ),
  },
}
