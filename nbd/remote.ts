/** The address of a client, as `Stream.remote` has it. */

/** 64 bits: whoever has an IPv6 address has as many as there are in such a network. */
const NETWORK_GROUPS = 4
const GROUPS = 8
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** @returns whose connection it is: an IPv4 address, an IPv6 network; '' if there is no address */
export function hostOf(remote: string): string {
  const v6 = /^\[([0-9a-f:.]+)[^\]]*\]:\d+$/i.exec(remote)?.[1]
  if (v6 === undefined) return /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(remote)?.[1] ?? ''
  return MAPPED.exec(v6)?.[1] ?? networkOf(v6)
}

function networkOf(address: string): string {
  const [head, tail] = address.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = Math.max(0, GROUPS - before.length - after.length)
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after]
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}
