/** `chunknbd serve`: offers disks over NBD until it is told to stop. */
import { Command, Option } from 'commander'
import { OPEN_FILES_MAX } from '../chunkstore/limits.ts'
import { CACHE_TRAITS, CacheMode, TrimMode } from '../chunkstore/options.ts'
import { type PathEntry, PathMap } from '../chunkstore/path-map.ts'
import type { Io, ListenAddress } from '../io/io.ts'
import { giveBackLargeBlocks } from '../io/heap.ts'
import { createIo, Engine, ENGINE_DEFAULT } from '../io/engine.ts'
import { Server } from '../nbd/server.ts'
import { formatUri, type NbdUri } from '../nbd/uri.ts'
import {
  blocksArgument,
  listenArgument,
  mapPathOption,
  pageCacheArgument,
  uuidArgument,
} from './arguments.ts'
import { Exports, type StackOptions } from './exports.ts'
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from './logger.ts'
import { printLine } from './output.ts'
import { openFilesLimit, openFilesPerDisk } from './open-files-limit.ts'
import { inheritedSockets, unixSocketPath } from './systemd.ts'
import { version } from './version.ts'

interface Options {
  readonly listen?: readonly NbdUri[]
  readonly memory?: number
  readonly readOnly?: boolean
  readonly uuid?: string
  readonly mapPath?: readonly PathEntry[]
  readonly cache: CacheMode
  readonly trim: TrimMode
  readonly pageCache: number
  readonly engine: Engine
  readonly logLevel: LogLevel
}

const DEFAULT_ADDRESS: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 10809 }
const PAGE_CACHE_BYTES = 64 << 20

/** One Ctrl+C under `npm start` arrives twice: from the terminal, and forwarded by npm. */
const SAME_KEY_MS = 100

const EXAMPLES = `
The export is named after the file, without its extension; the first one is also the default
export (the empty name). When ready, the URI of each export is printed on stdout, one a line.
A socket handed over by systemd (LISTEN_FDS) is used instead of the default address.
SIGTERM and SIGINT finish what was accepted, flush and exit; a second signal exits at once.

Cache modes (what survives a power loss):
  writeback      what a flush or FUA answered after it (the default, as on a real disk)
  writethrough   every answered write
  none           as writeback, but past the kernel's page cache (O_DIRECT)
  directsync     as writethrough, but past the kernel's page cache (O_DIRECT)
  unsafe         nothing is promised; flushes are answered at once

Trims (clients may send them in every mode; zeros that clients write are always zeros):
  free           whole chunks become empty files, parts of chunks holes
  chunks         whole chunks only; data trimmed in part stays, until together it is a chunk
  holes          holes only: chunk files keep their size
  ignore         nothing

Examples:
  chunknbd serve disk.chunkdisk
  chunknbd serve a.chunkdisk b.chunkdisk --listen nbd://[::]:10809
  chunknbd serve disk.chunkdisk --listen 'nbd+unix:///?socket=/run/disk.sock'
  chunknbd serve --memory 1G --listen nbd://127.0.0.1:0`

export function serveCommand(): Command {
  return new Command('serve')
    .description('Serve disks over NBD.')
    .argument('[FILE...]', 'descriptors of the disks')
    .option('--listen <URI>', 'where to listen; may be given more than once', listenArgument)
    .addOption(mapPathOption())
    .option('--memory <SIZE>', 'also serve a disk in memory, named "memory"', blocksArgument)
    .option('--read-only', 'refuse writes; other readers may share the disks')
    .option(
      '--uuid <UUID>',
      'serial number of the only FILE, told in its description',
      uuidArgument,
    )
    .addOption(
      new Option('--cache <MODE>', 'when a write is durable')
        .choices(Object.values(CacheMode))
        .default(CacheMode.WRITEBACK),
    )
    .addOption(
      new Option('--trim <HOW>', 'what a trim gives back')
        .choices(Object.values(TrimMode))
        .default(TrimMode.FREE),
    )
    .addOption(
      new Option('--page-cache <SIZE>', 'memory for pages of each disk; 0 keeps none')
        .argParser(pageCacheArgument)
        .default(PAGE_CACHE_BYTES, '64M'),
    )
    .addOption(
      new Option(
        '--engine <E>',
        'how bytes move: what works everywhere, io_uring, or auto (io_uring if it can be had)',
      )
        .choices(Object.values(Engine))
        .default(ENGINE_DEFAULT),
    )
    .addOption(new Option('--log-level <L>', 'least level').choices(LOG_LEVELS).default('info'))
    .addHelpText('after', EXAMPLES)
    .action(serve)
}

async function serve(files: readonly string[], options: Options, command: Command): Promise<void> {
  if (files.length === 0 && options.memory === undefined) {
    command.error('error: name a disk (FILE.chunkdisk), or give --memory SIZE')
  }
  if (files.length !== 1 && options.uuid !== undefined) {
    command.error('error: --uuid names one disk: give exactly one FILE with it')
  }
  giveBackLargeBlocks()
  const log = await createLogger(options.logLevel)
  const { io, reason } = createIo(options.engine)
  warnOfEngine(io, reason, options, log)
  const stop = stopSignal(log)
  const exports = new Exports(io)
  try {
    await openAll(exports, files, options, log)
    const server = new Server({ io, exports, log })
    try {
      for (const line of await listenAll(server, exports, options, log)) printLine(line)
      logStart(io, reason, exports, log)
      await stop
    } finally {
      await server.stop()
    }
  } finally {
    await exports.close()
  }
  log.info('stopped: everything is flushed')
}

function warnOfEngine(io: Io, reason: string, options: Options, log: Logger): void {
  if (io.name === Engine.URING) return
  if (options.engine === Engine.AUTO) {
    log.warn({ reason }, 'engine node: io_uring cannot be used')
  }
  if (!CACHE_TRAITS[options.cache].direct) return
  const threads = process.env.UV_THREADPOOL_SIZE ?? 'the default, 4'
  const hint = 'so many reads and writes run at once; set UV_THREADPOOL_SIZE for more'
  log.warn({ threads }, `engine node with O_DIRECT: ${hint}`)
}

async function openAll(
  exports: Exports,
  files: readonly string[],
  options: Options,
  log: Logger,
): Promise<void> {
  const stack: StackOptions = {
    readOnly: options.readOnly === true,
    cacheMode: options.cache,
    trim: options.trim,
    uuid: options.uuid ?? null,
    paths: new PathMap(options.mapPath ?? []),
    pageCacheBytes: options.pageCache,
    openFilesMax: openFilesMax(files.length, log),
    log,
  }
  for (const file of files) await exports.openDisk(file, stack)
  if (options.memory !== undefined) exports.addMemory(options.memory, stack.readOnly)
}

function openFilesMax(disks: number, log: Logger): number {
  const limit = openFilesLimit()
  const perDisk = openFilesPerDisk(limit, disks)
  if (perDisk < OPEN_FILES_MAX) {
    const fields = { limit, openChunkFilesPerDisk: perDisk }
    log.warn(fields, 'the limit of open files is low: fewer chunk files are kept open (ulimit -n)')
  }
  return perDisk
}

/** @returns the URI of each export at each address */
async function listenAll(
  server: Server,
  exports: Exports,
  options: Options,
  log: Logger,
): Promise<string[]> {
  const inherited = inheritedSockets(process.env)
  const wanted: ListenAddress[] = inherited.map((fd) => ({ kind: 'fd', fd }))
  for (const uri of options.listen ?? []) wanted.push(uri.address)
  if (wanted.length === 0) wanted.push(DEFAULT_ADDRESS)
  const lines: string[] = []
  for (const each of wanted) {
    const address = withPath(await server.listen(each))
    if (address.kind === 'fd') log.warn({ fd: address.fd }, 'no URI names this inherited socket')
    else for (const { name } of exports.list()) lines.push(formatUri(address, name))
  }
  return lines
}

/** Node does not know where an inherited unix socket is bound. */
function withPath(address: ListenAddress): ListenAddress {
  const path = address.kind === 'fd' ? unixSocketPath(address.fd) : null
  return path === null ? address : { kind: 'unix', path }
}

function logStart(io: Io, reason: string, exports: Exports, log: Logger): void {
  const names = exports.list().map((each) => each.name)
  log.info({ version, engine: io.name, reason, exports: names }, 'serving')
  if (io.features.systemCalls) return
  const lost = 'no holes inside chunk files, no sparse maps, reads always go to a thread'
  log.warn({ reason: io.features.reason }, `system calls cannot be reached: ${lost}`)
}

/** @returns a promise that the first SIGTERM or SIGINT fulfils; a second one ends the process */
function stopSignal(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    let first: { readonly signal: NodeJS.Signals; readonly time: number } | null = null
    const onSignal = (signal: NodeJS.Signals, number: number): void => {
      if (first !== null) {
        const isEcho = signal === 'SIGINT' && signal === first.signal
        if (isEcho && performance.now() - first.time < SAME_KEY_MS) return
        process.exit(128 + number)
      }
      first = { signal, time: performance.now() }
      log.info({ signal }, 'stopping')
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}
