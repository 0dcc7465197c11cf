/**
 * The keys of a configuration file, as data. A key that stands for a flag of `serve` takes what the
 * flag takes; to add one, add its line. What has no flag is read in `config-file.ts`.
 */

type Keys = Readonly<Record<string, string>>

/** Of a disk: for all in `[defaults]`, for one in `[exports.NAME]`. */
const DISK_KEYS: Keys = {
  'read-only': '--read-only',
  cache: '--cache',
  trim: '--trim',
  'page-cache': '--page-cache',
  movable: '--movable',
  'lock-files': '--lock-files',
}

/** Tables of the file, with the flag behind each key. */
export const FLAG_TABLES: Readonly<Record<string, Keys>> = {
  server: {
    listen: '--listen',
    engine: '--engine',
    'log-level': '--log-level',
    'map-path': '--map-path',
    user: '--user',
    group: '--group',
    'socket-mode': '--socket-mode',
    'allowed-roots': '--allowed-root',
  },
  websocket: {
    origins: '--ws-origin',
    'token-file': '--ws-token-file',
    connect: '--connect',
    'connect-headers': '--connect-headers',
    'connect-certificates': '--connect-certificates',
    'connect-insecure': '--connect-insecure',
  },
  tls: {
    mode: '--tls',
    certificates: '--tls-certificates',
    psk: '--tls-psk',
    'verify-peer': '--tls-verify-peer',
  },
  limits: {
    'max-connections': '--max-connections',
    'max-connections-per-address': '--max-connections-per-address',
    'max-connections-per-export': '--max-connections-per-export',
    'handshake-timeout': '--handshake-timeout',
    'idle-timeout': '--idle-timeout',
  },
  defaults: DISK_KEYS,
}

/** Keys of `[exports.NAME]` that are flags, for this export only. */
export const EXPORT_FLAGS: Keys = { memory: '--memory', uuid: '--uuid', ...DISK_KEYS }

/** Those of them that a disk in memory has no use for. */
export const FILE_KEYS: readonly string[] = [
  'uuid',
  'cache',
  'trim',
  'page-cache',
  'movable',
  'lock-files',
]

/** Keys without a flag. */
export const SERVER_OWN_KEYS = ['default-export'] as const
export const ACCESS_KEYS = ['hidden', 'require-tls', 'clients', 'networks'] as const
export const EXPORT_OWN_KEYS = ['file', ...ACCESS_KEYS] as const

/** Flags that may be given more than once: lists in the file, words in the environment. */
export const LISTS: readonly string[] = [
  '--listen',
  '--map-path',
  '--allowed-root',
  '--ws-origin',
  '--connect',
]

/** Flags whose values are paths; in the file relative to its directory. */
export const PATHS: readonly string[] = [
  '--allowed-root',
  '--tls-certificates',
  '--tls-psk',
  '--ws-token-file',
  '--connect-headers',
  '--connect-certificates',
]

/** Flags of whose values only it is told that they are there. */
export const SECRETS: readonly string[] = []
