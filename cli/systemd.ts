/** Listening sockets handed over by systemd: sd_listen_fds(3), without libsystemd. */
import { readFileSync, readlinkSync } from 'node:fs'

/** The first descriptor, fixed by the protocol. */
const LISTEN_FDS_START = 3

/** @returns the descriptors meant for this process, none if there are none */
export function inheritedSockets(environment: NodeJS.ProcessEnv): number[] {
  const { LISTEN_PID, LISTEN_FDS } = environment
  if (LISTEN_PID === undefined || Number(LISTEN_PID) !== process.pid) return []
  const count = Number(LISTEN_FDS)
  if (!Number.isInteger(count) || count <= 0) return []
  // Not for the programs we start.
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name]
  return Array.from({ length: count }, (_, index) => LISTEN_FDS_START + index)
}

/** Path (perhaps with spaces) behind the inode in a line of /proc/net/unix. */
const BOUND_SOCKET = /^\w+: (?:\w+ ){5} *(\d+) (.+)$/gm

/** @returns the path a listening unix socket is bound to, or null if it cannot be found out */
export function unixSocketPath(fd: number): string | null {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]
    const lines = readFileSync('/proc/self/net/unix', 'utf8').matchAll(BOUND_SOCKET)
    const path = [...lines].find((line) => line[1] === inode)?.[2]
    // An abstract name is shown with "@" for its NUL; NBD's URIs have no way to write it.
    return path === undefined || path.startsWith('@') ? null : path
  } catch {
    return null
  }
}
