/** `chunknbd serve`: offers disks over NBD until it is told to stop. */
import type { Command } from 'commander'
import { OPEN_FILES_MAX } from '../chunkstore/limits.ts'
import { CACHE_TRAITS } from '../chunkstore/options.ts'
import { descriptorLimit } from '../io/descriptors.ts'
import type { Io, ListenAddress } from '../io/io.ts'
import { giveBackLargeBlocks } from '../io/heap.ts'
import { createIo, Engine } from '../io/engine.ts'
import type { Export } from '../nbd/export.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import { formatWebSocketUrl } from '../io/ws-url.ts'
import { Server } from '../nbd/server.ts'
import { formatUri } from '../nbd/uri.ts'
import { TLS_DEFAULTS } from '../nbd/uri-tls.ts'
import type { Changes } from './export-changes.ts'
import { Exports } from './exports.ts'
import { serverLimits } from './limits.ts'
import { createLogger, type Logger } from './logger.ts'
import { printLine } from './output.ts'
import { openFilesPerDisk } from './open-files-limit.ts'
import { configReload } from './reload.ts'
import { serveCommandLine, type ServeOptions } from './serve-options.ts'
import { type ExportSettings, readSettings, type Settings } from './settings.ts'
import { ignoreDebuggerSignal, onHangUp, stopSignal } from './signals.ts'
import { inheritedSockets, unixSocketPath } from './systemd.ts'
import { checkTlsOptions, openTls } from './tls.ts'
import { version } from './version.ts'
import { checkWebSocketOptions, openWebSockets } from './websocket.ts'

const DEFAULT_ADDRESS: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 10809 }

export function serveCommand(): Command {
  return serveCommandLine().action(serve)
}

async function serve(
  files: readonly string[],
  given: ServeOptions,
  command: Command,
): Promise<void> {
  checkUsage(files, given, command)
  const settings = await readSettings(files, command, process.env)
  const { options, config, exports: wanted } = settings
  if (wanted.length === 0 && config === null) {
    command.error('error: name a disk (FILE.chunkdisk), or give --memory SIZE or --config FILE')
  }
  checkWebSocketOptions(options, command)
  giveBackLargeBlocks()
  const log = await createLogger(options.logLevel)
  const { io, reason } = createIo(options.engine)
  warnOfEngine(io, reason, settings, log)
  const tls = await openTls(options, log)
  ignoreDebuggerSignal()
  const stop = stopSignal(log)
  const openFilesMax = openFilesMaxOf(wanted.length, log)
  const exports = new Exports(io)
  try {
    await exports.open(settings, { openFilesMax, log })
    const limits = serverLimits(options, descriptorLimit(), openFilesMax * wanted.length, log)
    const { listen, reloads } = await openWebSockets(io, options, exports, tls, log)
    const what = { io: { ...io, listen }, exports, policy: exports, limits, log }
    const server = new Server({ ...what, ...(tls !== null && { tls }) })
    try {
      const mode = tls?.mode ?? TlsMode.OFF
      const all = tls === null ? [...reloads] : [tls.reload, ...reloads]
      if (config !== null) {
        const read = (): Promise<Settings> => readSettings(files, command, process.env)
        const detach = (entry: Export): Promise<void> => server.detach(entry)
        const change = (next: Settings): Promise<Changes> =>
          exports.change(next, { openFilesMax, log }, detach)
        all.push(configReload(settings, read, change, log))
      }
      onHangUp(all, log)
      for (const line of await listenAll(server, exports, mode, options, log)) printLine(line)
      logStart(io, reason, exports, options, log)
      await stop
    } finally {
      await server.stop()
    }
  } finally {
    await exports.close()
  }
  log.info('stopped: everything is flushed')
}

function isDirect({ disk }: ExportSettings): boolean {
  return typeof disk !== 'number' && CACHE_TRAITS[disk.cache].direct
}

/** What the flags alone say. */
function checkUsage(files: readonly string[], options: ServeOptions, command: Command): void {
  if (files.length !== 1 && options.uuid !== undefined) {
    command.error('error: --uuid names one disk: give exactly one FILE with it')
  }
  if (options.movable === true && options.readOnly === true) {
    command.error('error: --movable is for disks that are written: leave out --read-only')
  }
  checkTlsOptions(options, command)
}

function warnOfEngine(io: Io, reason: string, settings: Settings, log: Logger): void {
  if (io.name === Engine.URING) return
  if (settings.options.engine === Engine.AUTO) {
    log.warn({ reason }, 'engine node: io_uring cannot be used')
  }
  if (!settings.exports.some(isDirect)) return
  const threads = process.env.UV_THREADPOOL_SIZE ?? 'the default, 4'
  const hint = 'so many reads and writes run at once; set UV_THREADPOOL_SIZE for more'
  log.warn({ threads }, `engine node with O_DIRECT: ${hint}`)
}

function openFilesMaxOf(disks: number, log: Logger): number {
  const limit = descriptorLimit()
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
  mode: TlsMode,
  options: ServeOptions,
  log: Logger,
): Promise<string[]> {
  const inherited = inheritedSockets(process.env)
  const wanted: ListenAddress[] = inherited.map((fd) => ({ kind: 'fd', fd }))
  for (const uri of options.listen ?? []) wanted.push(uri.address)
  wanted.push(...(options.connect ?? []))
  if (wanted.length === 0) wanted.push(DEFAULT_ADDRESS)
  const lines: string[] = []
  for (const each of wanted) {
    const address = withPath(await server.listen(each))
    if (address.kind === 'fd') log.warn({ fd: address.fd }, 'no URI names this inherited socket')
    else lines.push(...urisAt(address, exports, mode))
  }
  return lines
}

type Named = Exclude<ListenAddress, { readonly kind: 'fd' }>

/** Both kinds where clients may choose, the safe one first. No URI leads to where we dial. */
function urisAt(address: Named, exports: Exports, mode: TlsMode): string[] {
  const lines: string[] = []
  if (address.kind === 'dial') return lines
  for (const { name, access } of exports.settings()) {
    const isPlain = mode !== TlsMode.REQUIRE && !access.requireTls
    if (address.kind === 'ws') {
      if (address.secure || isPlain) lines.push(formatWebSocketUrl(address, name))
      continue
    }
    if (mode !== TlsMode.OFF) lines.push(formatUri(address, name, TLS_DEFAULTS))
    if (isPlain) lines.push(formatUri(address, name))
  }
  return lines
}

/** Node does not know where an inherited unix socket is bound. */
function withPath(address: ListenAddress): ListenAddress {
  const path = address.kind === 'fd' ? unixSocketPath(address.fd) : null
  return path === null ? address : { kind: 'unix', path }
}

function logStart(
  io: Io,
  reason: string,
  exports: Exports,
  { cache, trim, readOnly = false, movable = false, lockFiles = false, pageCache }: ServeOptions,
  log: Logger,
): void {
  const names = exports.list().map((each) => each.name)
  const settings = { cache, trim, readOnly, movable, lockFiles, pageCache }
  log.info({ version, engine: io.name, reason, exports: names, ...settings }, 'serving')
  if (io.features.systemCalls) return
  const lost = 'no holes inside chunk files, no sparse maps, reads always go to a thread'
  log.warn({ reason: io.features.reason }, `system calls cannot be reached: ${lost}`)
}
