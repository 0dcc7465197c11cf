/**
 * `sockaddr` of Linux for TCP and unix sockets: built for binding, read for logs. No name is looked
 * up here. Pictures: ip(7), ipv6(7), unix(7).
 */
import { networkInterfaces } from 'node:os'

export const Domain = { UNIX: 1, INET: 2, INET6: 10 } as const

/** Room for any of them (`sockaddr_storage`). */
export const SOCKET_ADDRESS_BYTES_MAX = 128

const INET_BYTES = 16
const INET6_BYTES = 28

/** @param address an IPv4 or IPv6 address as text, the latter perhaps with `%zone` */
export function inetAddress(address: string, port: number): Uint8Array {
  const isVersion6 = address.includes(':')
  const bytes = new Uint8Array(new ArrayBuffer(isVersion6 ? INET6_BYTES : INET_BYTES))
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isVersion6 ? Domain.INET6 : Domain.INET, true)
  view.setUint16(2, port)
  if (!isVersion6) {
    bytes.set(address.split('.').map(Number), 4)
    return bytes
  }
  const [text, zone = ''] = address.split('%')
  for (const [index, group] of groupsOf(text).entries()) view.setUint16(8 + 2 * index, group)
  view.setUint32(24, scopeOf(zone), true)
  return bytes
}

/** The eight groups of an IPv6 address. */
function groupsOf(text: string): number[] {
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a, b, c, d] = parts.map(Number)
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  })
  const [head, tail] = plain.split('::')
  const before = parseGroups(head)
  const after = parseGroups(tail)
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}

function parseGroups(text: string | undefined): number[] {
  if (text === undefined || text === '') return []
  return text.split(':').map((group) => parseInt(group, 16))
}

function scopeOf(zone: string): number {
  if (zone === '' || /^\d+$/.test(zone)) return Number(zone)
  return networkInterfaces()[zone]?.find((each) => each.scopeid)?.scopeid ?? 0
}

/** @param path of fewer than 108 bytes */
export function unixAddress(path: string): Uint8Array {
  const text = Buffer.from(path)
  const bytes = new Uint8Array(new ArrayBuffer(2 + text.length + 1))
  bytes[0] = Domain.UNIX
  bytes.set(text, 2)
  return bytes
}

export interface InetAddress {
  readonly host: string
  readonly port: number
}

/** @returns null if it is not an IP address */
export function readInetAddress(bytes: Uint8Array): InetAddress | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const domain = view.getUint16(0, true)
  const port = view.getUint16(2)
  if (domain === Domain.INET) return { host: bytes.subarray(4, 8).join('.'), port }
  if (domain !== Domain.INET6) return null
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(8 + 2 * index))
  const isMapped = groups.slice(0, 6).join() === '0,0,0,0,0,65535'
  if (isMapped) return { host: `::ffff:${bytes.subarray(20, 24).join('.')}`, port }
  const text = groups.map((group) => group.toString(16)).join(':')
  return { host: new URL(`http://[${text}]`).hostname.slice(1, -1), port }
}

/** @returns the zero-terminated path of a unix socket's address, '' if it has none */
export function readUnixPath(bytes: Uint8Array): string {
  const end = bytes.indexOf(0, 2)
  return Buffer.from(bytes.subarray(2, end < 0 ? bytes.length : end)).toString()
}
