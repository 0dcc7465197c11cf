/** The options of `serve` about WebSockets, and what is behind them. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Io, ListenAddress } from '../io/io.ts'
import { withWebSockets } from '../io/ws-io.ts'
import { WebSocketTokens } from '../io/ws-tokens.ts'
import { parseDialUrl } from '../io/ws-url.ts'
import { type AccessPolicy, VisibleExports } from '../nbd/access.ts'
import type { TlsSettings } from '../nbd/connection-settings.ts'
import type { ExportTable } from '../nbd/export.ts'
import { TlsMode } from '../nbd/negotiation.ts'
import { peerTls } from '../nbd/peer.ts'
import { RefusalLog } from '../nbd/refusal-log.ts'
import type { ListenUri } from './arguments.ts'
import type { Logger } from './logger.ts'
import type { Reload } from './signals.ts'
import { readSecret, targetOf } from './websocket-target.ts'

type DialAddress = ListenAddress & { readonly kind: 'dial' }

export interface WebSocketOptions {
  readonly wsOrigin?: readonly string[]
  readonly wsTokenFile?: string
  readonly connect?: readonly DialAddress[]
  readonly connectHeaders?: string
  readonly connectCertificates?: string
  readonly connectInsecure?: boolean
}

export const WEBSOCKET_HELP = `
WebSockets (docs/websocket.md has more):
  Clients speak NBD in binary frames at ws://HOST:PORT/, or wss:// with the options of TLS; a path
  names their default export. The file of tokens has lines "EXPORT:TOKEN" or "*:TOKEN"; clients
  show one as "Authorization: Bearer TOKEN" or as a subprotocol. SIGHUP reads it again.
  To --connect is to dial out, again and again, and to serve whoever is there, as the virtual
  media of OpenBMC wants it: wss://HOST/PATH#EXPORT. The file of headers has lines "NAME: VALUE".`

export function addWebSocketOptions(command: Command): Command {
  return command
    .option('--ws-origin <ORIGIN>', 'let web pages of it connect; repeat it for more', origin)
    .option('--ws-token-file <FILE>', 'clients of WebSockets need one of the tokens in it')
    .option('--connect <URL>', 'dial a WebSocket server and serve it; repeat it for more', dial)
    .option('--connect-headers <FILE>', 'credentials for it: lines of HTTP headers')
    .option('--connect-certificates <DIR>', 'ca-cert.pem to verify it with, client-cert.pem for it')
    .option('--connect-insecure', 'do not verify who it is')
}

/** As browsers write it: lower case, no slash at the end. */
function origin(text: string, before: readonly string[] = []): string[] {
  const known = text === '*' || text === 'null' || /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/i.test(text)
  if (!known) throw new InvalidArgumentError('Write https://HOST[:PORT], or * for all.')
  return [...before, text.toLowerCase()]
}

function dial(text: string, before: readonly DialAddress[] = []): DialAddress[] {
  try {
    return [...before, parseDialUrl(text)]
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

/**
 * Credentials go to one host, and to nobody else. Who gives tokens where no WebSocket is listened
 * for would think that clients need them.
 */
export function checkWebSocketOptions(
  options: WebSocketOptions & { readonly listen?: readonly ListenUri[] },
  command: Command,
): void {
  const { listen = [], wsOrigin, wsTokenFile } = options
  const isListening = listen.some(({ address }) => address.kind === 'ws')
  if (!isListening && (wsOrigin !== undefined || wsTokenFile !== undefined)) {
    const what = '--ws-origin and --ws-token-file are for clients of WebSockets'
    command.error(`error: ${what}: give --listen ws://HOST:PORT/ as well`)
  }
  const { connect = [], connectHeaders, connectCertificates, connectInsecure } = options
  const given = [connectHeaders, connectCertificates, connectInsecure]
  if (connect.length === 0 && given.some((each) => each !== undefined)) {
    command.error('error: --connect-... say how to --connect; say where, too')
  }
  const hosts = new Set(connect.map(({ url }) => new URL(url).origin))
  if (hosts.size > 1 && connectHeaders !== undefined) {
    command.error('error: --connect-headers is for one host: run a server for each')
  }
}

export interface OpenWebSockets {
  /** The engine's, and WebSockets. */
  readonly listen: Io['listen']
  readonly reloads: readonly Reload[]
}

/** @throws Error naming the file that is of no use */
export async function openWebSockets(
  io: Io,
  options: WebSocketOptions & {
    readonly listen?: readonly ListenUri[]
    readonly handshakeTimeout: number
  },
  exports: ExportTable & AccessPolicy,
  tls: TlsSettings | null,
  log: Logger,
): Promise<OpenWebSockets> {
  for (const { address } of options.listen ?? []) checkTls(address, tls)
  const refusals = new RefusalLog(log)
  const file = options.wsTokenFile
  const readTokens = async (): Promise<WebSocketTokens | null> =>
    file === undefined ? null : WebSocketTokens.parse(await readSecret(file, log), file)
  let tokens = await readTokens()
  const proof = {
    headers: options.connectHeaders,
    certificates: options.connectCertificates,
    insecure: options.connectInsecure,
  }
  // To learn at once of files that are of no use.
  for (const { url } of options.connect ?? []) await targetOf(url, proof, log)
  const listen = withWebSockets((...all) => io.listen(...all), {
    listen: {
      tls: tls?.context ?? null,
      handshakeMs: options.handshakeTimeout,
      origins: options.wsOrigin ?? [],
      tokens: () => tokens,
      hasExport: (name, { remote, identity }) => {
        const peer = { address: remote, tls: identity === null ? null : peerTls(identity) }
        return new VisibleExports(exports, peer, exports).find(name) !== null
      },
      refused: (remote, reason) => refusals.tell({ reason }, remote, 'WebSocket refused'),
    },
    dial: {
      target: (url) => targetOf(url, proof, null),
      reports: {
        connected: (url, remote) => log.info({ url, remote }, 'connected: the server is its own'),
        failed: (url, reason, waitMs) => log.warn({ url, reason, waitMs }, 'not connected'),
      },
    },
  })
  const run = async (): Promise<void> => void (tokens = await readTokens())
  return { listen, reloads: file === undefined ? [] : [{ what: `tokens from ${file}`, run }] }
}

/** wss needs certificates, and where TLS is a must nothing is in plain. */
function checkTls(address: ListenAddress, tls: TlsSettings | null): void {
  if (address.kind !== 'ws') return
  if (address.secure && tls === null) {
    throw urlError('wss:// needs certificates: give --tls-certificates DIR')
  }
  if (!address.secure && tls?.mode === TlsMode.REQUIRE) {
    throw urlError('ws:// is not encrypted: write wss://, or give --tls on to allow both')
  }
}

function urlError(message: string): Error {
  return Object.assign(new Error(message), { code: 'WS_TLS' })
}
