/** `chunknbd relay`: lets NBD clients that know sockets only reach a server behind WebSockets. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { createIo } from '../io/engine.ts'
import type { ListenAddress, Stream } from '../io/io.ts'
import { relay } from '../io/relay.ts'
import { connectWebSocket } from '../io/ws-dialer.ts'
import { WebSocketGroup } from '../io/ws-group.ts'
import { parseDialUrl } from '../io/ws-url.ts'
import { type Endpoint, formatUri, parseUri } from '../nbd/uri.ts'
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from './logger.ts'
import { printLine } from './output.ts'
import { type TargetOptions, targetOf } from './websocket-target.ts'

interface RelayOptions extends TargetOptions {
  readonly listen?: readonly Endpoint[]
  readonly logLevel: LogLevel
}

const EXAMPLES = `
Each connection to the socket becomes a WebSocket of its own. When ready, the URI to use is printed.
The file of headers has lines "NAME: VALUE", for instance "Authorization: Bearer TOKEN".

Examples:
  chunknbd relay ws://127.0.0.1:10810/disk --listen 'nbd+unix:///?socket=/tmp/disk.sock'
  nbdcopy 'nbd+unix:///?socket=/tmp/disk.sock' disk.img`

export function relayCommand(): Command {
  return new Command('relay')
    .description('Pass NBD clients on to a server behind WebSockets.')
    .argument('<URL>', 'ws:// or wss:// of the server', dial)
    .option('--listen <URI>', 'where clients come; repeat it for more', listen)
    .option('--headers <FILE>', 'credentials: lines of HTTP headers')
    .option('--certificates <DIR>', 'ca-cert.pem to verify the server with, client-cert.pem for it')
    .option('--insecure', 'do not verify who the server is')
    .addOption(new Option('--log-level <L>', 'least level').choices(LOG_LEVELS).default('info'))
    .addHelpText('after', EXAMPLES)
    .action(run)
}

type DialAddress = ListenAddress & { readonly kind: 'dial' }

async function run({ url }: DialAddress, options: RelayOptions, command: Command): Promise<void> {
  const { listen: addresses = [] } = options
  if (addresses.length === 0) command.error('error: say where clients come: --listen URI')
  const log = await createLogger(options.logLevel)
  // To learn at once of files that are of no use.
  await targetOf(url, options, log)
  const passing = new Passing(url, options, log)
  const { io } = createIo()
  const listeners = []
  for (const address of addresses) {
    const listener = await io.listen(address, (stream) => void passing.pass(stream))
    listeners.push(listener)
    if (listener.address.kind === 'tcp' || listener.address.kind === 'unix') {
      printLine(formatUri(listener.address, ''))
    }
  }
  await new Promise((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve))
  const closed = listeners.map((listener) => listener.close())
  passing.stop()
  await Promise.all(closed)
}

/** The connections that are passed on. */
class Passing {
  readonly #url: string
  readonly #options: TargetOptions
  readonly #log: Logger
  readonly #group = new WebSocketGroup()
  readonly #streams = new Set<Stream>()
  readonly #stopping = new AbortController()

  constructor(url: string, options: TargetOptions, log: Logger) {
    this.#url = url
    this.#options = options
    this.#log = log
  }

  /** @param local accepted, not started */
  async pass(local: Stream): Promise<void> {
    const { remote } = local
    this.#streams.add(local)
    try {
      const target = await targetOf(this.#url, this.#options, null)
      const far = await connectWebSocket(target, '', this.#group, this.#stopping.signal)
      this.#streams.add(far)
      this.#log.debug({ remote, server: far.remote }, 'passing on')
      relay(local, far, () => {
        this.#streams.delete(local)
        this.#streams.delete(far)
        this.#log.debug({ remote }, 'client left')
      })
    } catch (error) {
      const reason = (error as Error).message
      this.#log.warn({ remote, url: this.#url, reason }, 'the server cannot be reached')
      this.#streams.delete(local)
      local.destroy()
    }
  }

  stop(): void {
    this.#group.leave()
    this.#stopping.abort()
    for (const stream of this.#streams) stream.destroy()
  }
}

function dial(text: string): DialAddress {
  const address = orInvalid(() => parseDialUrl(text))
  if (address.exportName === '') return address
  throw new InvalidArgumentError('The path names the export, there is no "#" here.')
}

/** What would be ignored is refused: nobody counts on it. */
function listen(text: string, before: readonly Endpoint[] = []): Endpoint[] {
  const { address, exportName, tls } = orInvalid(() => parseUri(text))
  if (tls !== null) {
    throw new InvalidArgumentError('Write nbd:// here; wss:// encrypts the way to the server.')
  }
  if (exportName === '') return [...before, address]
  throw new InvalidArgumentError(`Leave out "/${exportName}": the URL names the export.`)
}

function orInvalid<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}
