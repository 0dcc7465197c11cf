/** The options of `chunknbd serve`, what they can be, and its help. */
import { Command, Option } from 'commander'
import { CacheMode, TrimMode } from '../chunkstore/options.ts'
import type { PathEntry } from '../chunkstore/path-map.ts'
import { formatSize } from '../chunkstore/size.ts'
import { Engine, ENGINE_DEFAULT } from '../io/engine.ts'
import {
  blocksArgument,
  directoryArgument,
  listenArgument,
  type ListenUri,
  mapPathOption,
  modeArgument,
  PAGE_CACHE_BYTES,
  pageCacheArgument,
  uuidArgument,
} from './arguments.ts'
import { type LimitOptions, limitOptions } from './limits.ts'
import { LOG_LEVELS, type LogLevel } from './logger.ts'
import type { PrivilegeOptions } from './privileges.ts'
import { addTlsOptions, TLS_HELP, type TlsOptions } from './tls.ts'
import { addWebSocketOptions, WEBSOCKET_HELP, type WebSocketOptions } from './websocket.ts'

export interface ServeOptions extends PrivilegeOptions, TlsOptions, WebSocketOptions, LimitOptions {
  readonly listen?: readonly ListenUri[]
  readonly memory?: number
  readonly socketMode?: number
  readonly allowedRoot?: readonly string[]
  readonly readOnly?: boolean
  readonly movable?: boolean
  readonly lockFiles?: boolean
  readonly uuid?: string
  readonly mapPath?: readonly PathEntry[]
  readonly cache: CacheMode
  readonly trim: TrimMode
  readonly pageCache: number
  readonly engine: Engine
  readonly logLevel: LogLevel
}

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
${TLS_HELP}
${WEBSOCKET_HELP}

Lock files (.lock in every part, as chunkdisk's) tell machines that kernel locks do not reach: those
of a disk that is written go when it is closed, those of parents and read-only disks stay until you
remove them. Writers keep to those they find, with or without --lock-files.

Every option can be a variable of the environment (--page-cache: CHUNKNBD_PAGE_CACHE; several
values with spaces between) or a key in the configuration file (page-cache). Options count more
than the environment, that more than the file. "chunknbd config check FILE" checks it; SIGHUP
reads it again: exports come, go and change without disturbing the clients of others.

Started by root with --user it gives up root before it serves anybody. With --allowed-root no
descriptor, part, parent or chunk file that really is elsewhere is used (docs/configuration.md).

Examples:
  chunknbd serve disk.chunkdisk
  chunknbd serve a.chunkdisk b.chunkdisk --listen nbd://[::]:10809
  chunknbd serve disk.chunkdisk --listen 'nbd+unix:///?socket=/run/disk.sock'
  chunknbd serve disk.chunkdisk --listen nbd://0.0.0.0 --tls-certificates /etc/pki/chunknbd
  chunknbd serve --config /etc/chunknbd.toml
  chunknbd serve --memory 1G --listen nbd://127.0.0.1:0`

/** Without its action. */
export function serveCommandLine(): Command {
  const command = new Command('serve')
    .description('Serve disks over NBD.')
    .argument('[FILE...]', 'descriptors of the disks')
    .option('--config <FILE>', 'configuration file in TOML (docs/configuration.md)')
    .option(
      '--listen <URI>',
      'where to listen; repeat it for more; default: nbd://127.0.0.1:10809',
      listenArgument,
    )
    .addOption(mapPathOption())
    .option('--memory <SIZE>', 'also serve a disk in memory, named "memory"', blocksArgument)
    .option('--user <USER>', 'work as this user, if started by root')
    .option('--group <GROUP>', 'work as this group; default: the first one of the user')
    .option('--socket-mode <MODE>', 'of unix sockets, octal; default: 0700', modeArgument)
    .option(
      '--allowed-root <DIR>',
      'disks are below it only; repeat it for more',
      directoryArgument,
    )
    .option('--read-only', 'refuse writes; other readers may share the disks')
    .option('--movable', 'others may move chunk files between parts meanwhile (docs/format.md)')
    .option(
      '--lock-files',
      'lock files for machines that kernel locks do not reach (docs/format.md)',
    )
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
        .default(PAGE_CACHE_BYTES, formatSize(PAGE_CACHE_BYTES)),
    )
    .addOption(
      new Option(
        '--engine <E>',
        'how bytes move: what works everywhere, io_uring, or auto (io_uring if it can be had)',
      )
        .choices(Object.values(Engine))
        .default(ENGINE_DEFAULT),
    )
  addWebSocketOptions(addTlsOptions(command))
  for (const option of limitOptions()) command.addOption(option)
  return command
    .addOption(new Option('--log-level <L>', 'least level').choices(LOG_LEVELS).default('info'))
    .addHelpText('after', EXAMPLES)
}
