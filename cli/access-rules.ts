/** Who may have an export, as the configuration file says it. */
import { BlockList, isIP } from 'node:net'
import type { Peer } from '../nbd/peer.ts'
import { findGroup, findUser } from './accounts.ts'

/** One kind of proof, and what it must say. */
type Client =
  | { readonly kind: 'x509' | 'psk'; readonly name: string }
  | { readonly kind: 'uid' | 'gid'; readonly id: number }

export interface AccessRules {
  /** LIST does not name it. */
  readonly hidden: boolean
  readonly requireTls: boolean
  /** Any of them will do; null: whoever it is. */
  readonly clients: readonly Client[] | null
  /** Null: from anywhere. */
  readonly networks: Networks | null
}

export const OPEN: AccessRules = { hidden: false, requireTls: false, clients: null, networks: null }

/** @returns in words why the peer is refused, or null */
export function refusalOf(rules: AccessRules, peer: Peer): string | null {
  if (rules.requireTls && peer.tls === null) return 'it is for encrypted connections only'
  if (rules.networks?.has(peer.address) === false) return 'it is not for this network'
  if (rules.clients?.some((each) => isClient(each, peer)) === false) {
    return `it is not for this client (${describe(peer)})`
  }
  return null
}

function isClient(client: Client, peer: Peer): boolean {
  switch (client.kind) {
    case 'x509':
    case 'psk':
      return peer.tls?.kind === client.kind && peer.tls.names.includes(client.name)
    case 'uid':
      return peer.uid === client.id
    case 'gid':
      return peer.gid === client.id
  }
}

function describe({ tls, uid, gid }: Peer): string {
  const words = []
  if (tls !== null) words.push(tls.name === null ? 'without a name' : `${tls.kind}:${tls.name}`)
  if (uid !== undefined) words.push(`uid:${uid} gid:${gid}`)
  return words.length === 0 ? 'nothing is known of it' : words.join(' ')
}

/** What a name of a certificate begins with (nbd/peer.ts). */
const CERTIFICATE_NAME = /^[A-Za-z][A-Za-z0-9 .]*[=:]./

/** @throws Error that says what to write */
export function parseClient(text: string): Client {
  const [, kind, name] = /^(x509|psk|uid|gid):(.+)$/s.exec(text) ?? []
  switch (kind) {
    case 'psk':
      return { kind, name }
    case 'x509':
      if (CERTIFICATE_NAME.test(name)) return { kind, name }
      throw new Error('Say which name of the certificate: "x509:CN=alice", "x509:DNS:a.example".')
    case 'uid':
    case 'gid': {
      const id = kind === 'uid' ? findUser(name)?.uid : findGroup(name)
      if (typeof id === 'number') return { kind, id }
      throw new Error(`There is no ${kind === 'uid' ? 'user' : 'group'} "${name}".`)
    }
    default:
      throw new Error('Write "x509:NAME", "psk:NAME", "uid:USER" or "gid:GROUP".')
  }
}

/** The word that stands for unix sockets in a list of networks. */
const UNIX = 'unix'
const PREFIX_MAX = { 4: 32, 6: 128 } as const

export class Networks {
  /** One would take addresses of IPv4 for some of IPv6. */
  readonly #lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  #hasUnix = false
  /** As written. */
  readonly texts: readonly string[]

  /** @throws Error that says what to write */
  constructor(texts: readonly string[]) {
    this.texts = texts
    for (const text of texts) {
      if (text === UNIX) this.#hasUnix = true
      else this.#add(text)
    }
  }

  /** @param remote as in `Peer.address` */
  has(remote: string): boolean {
    if (/^unix(:|$)/.test(remote)) return this.#hasUnix
    const address = addressOf(remote)
    if (address === null) return false
    const family = familyOf(address)
    return this.#lists[family].check(address, family)
  }

  #add(text: string): void {
    const [address, prefix, ...rest] = text.split('/')
    const version = isIP(address)
    const wrong = `"${text}": write an address, a network like "10.0.0.0/8", or "unix".`
    if ((version !== 4 && version !== 6) || address.includes('%') || rest.length > 0) {
      throw new Error(wrong)
    }
    const bits = prefix === undefined ? PREFIX_MAX[version] : Number(prefix)
    if (!/^\d{1,3}$/.test(prefix ?? '0') || bits > PREFIX_MAX[version]) throw new Error(wrong)
    const family = familyOf(address)
    this.#lists[family].addSubnet(address, bits, family)
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}

/** @returns the IP address, that of IPv4 also where it came to an IPv6 socket; null: none */
function addressOf(remote: string): string | null {
  const match = /^(?:\[([0-9a-f:.]+)(?:%[^\]]*)?\]|([\d.]+)):\d+$/i.exec(remote)
  const address = match?.[1] ?? match?.[2] ?? ''
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  const found = mapped ?? address
  return isIP(found) === 0 ? null : found
}
