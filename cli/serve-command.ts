/** `chunknbd serve`: offers disks over NBD until it is told to stop. */
import type { Command } from 'commander'
import { OPEN_FILES_MAX } from '../chunkstore/limits.ts'
import { CACHE_TRAITS } from '../chunkstore/options.ts'
import { descriptorLimit } from '../io/descriptors.ts'
import { confined } from '../io/confined-files.ts'
import type { Io } from '../io/io.ts'
import { giveBackLargeBlocks } from '../io/heap.ts'
import { createIo, Engine } from '../io/engine.ts'
import type { Export } from '../nbd/export.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import { Server } from '../nbd/server.ts'
import type { Changes } from './export-changes.ts'
import { Exports } from './exports.ts'
import { serverLimits } from './limits.ts'
import { createLogger, type Logger } from './logger.ts'
import { listenAll } from './listen.ts'
import { misspeltVariables } from './misspelt.ts'
import { becomeForGood, doAs, workerOf } from './privileges.ts'
import { printLine } from './output.ts'
import { openFilesPerDisk } from './open-files-limit.ts'
import { configReload } from './reload.ts'
import { serveCommandLine, type ServeOptions } from './serve-options.ts'
import { type ExportSettings, readSettings, type Settings } from './settings.ts'
import { HangUps, ignoreDebuggerSignal, stopSignal } from './signals.ts'
import { checkTlsOptions, openTls } from './tls.ts'
import { version } from './version.ts'
import { checkWebSocketOptions, openWebSockets } from './websocket.ts'

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
  const hangUps = new HangUps(log)
  for (const sentence of misspeltVariables(command, process.env)) log.warn(sentence)
  const { io, reason } = createIo(options.engine)
  warnOfEngine(io, reason, settings, log)
  const tls = await openTls(options, log)
  ignoreDebuggerSignal()
  const stop = stopSignal(log)
  const worker = workerOf(options)
  const openFilesMax = openFilesMaxOf(wanted.length, log)
  const exports = new Exports(within(io, options.allowedRoot))
  if (worker !== null) io.threadsOnly?.(true)
  try {
    await doAs(worker, () => exports.open(settings, { openFilesMax, log }))
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
      hangUps.begin(all)
      server.hold()
      const lines = await listenAll(server, exports, mode, options, worker, log)
      if (worker !== null) becomeForGood(worker)
      io.threadsOnly?.(false)
      server.release()
      for (const line of lines) printLine(line)
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

function within(io: Io, roots: readonly string[] | undefined): Io {
  return roots === undefined ? io : { ...io, files: confined(io.files, roots) }
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
