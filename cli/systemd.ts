/** Listening sockets handed over by systemd: sd_listen_fds(3), without libsystemd. */

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
