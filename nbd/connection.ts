/**
 * One client from its first byte to its last: handshake, transmission, and the way out.
 *
 *   HANDSHAKE ──▶ TRANSMISSION ──▶ (drained) ──▶ LINGERING ──▶ closed
 *     ▲ │ └── abort, deadline, violation, end ────────▲
 *     │ ▼ STARTTLS
 *   SECURING ── refused, deadline, end ──▶ closed
 *
 * The stream may close at any time; the connection is over when it has closed and nothing of it is
 * with a device any more.
 */
import type { Device } from '../device/device.ts'
import type { Stream, StreamHandler } from '../io/io.ts'
import type { TlsIdentity } from '../io/tls-identity.ts'
import { type Guest, Refusal } from './admission.ts'
import type { ConnectionSettings } from './connection-settings.ts'
import { startOf } from './connection-start.ts'
import { Handshake } from './handshake.ts'
import { HANDSHAKE_OUTPUT_BYTES_MAX, LINGER_MS_MAX, STOP_HANDSHAKE_MS_MAX } from './limits.ts'
import type { Agreement, Outcome } from './negotiation.ts'
import { type Peer, peerTls } from './peer.ts'
import { ReceiveBuffer } from './receive-buffer.ts'
import { ReplyQueue } from './reply-queue.ts'
import { End, Transmission } from './transmission.ts'

const State = {
  HANDSHAKE: 0,
  /** Between two handshakes: the last of our plain bytes leaves, then TLS has its own. */
  SECURING: 1,
  TRANSMISSION: 2,
  /** We are through and wait for the client to close. What it still says is thrown away. */
  LINGERING: 3,
} as const

type State = (typeof State)[keyof typeof State]

export class Connection implements StreamHandler, Guest {
  #stream: Stream
  readonly #settings: ConnectionSettings
  #handshake: Handshake
  readonly #receive: ReceiveBuffer
  readonly #replies: ReplyQueue
  #state: State = State.HANDSHAKE
  #transmission: Transmission | null = null
  /** The handshake waits for its output to be sent. */
  #isPaused = false
  /** No request of it is with a device. */
  #isDrained = true
  #isClosed = false
  /** The log says that it came, and will say that it left. */
  #isTold = false
  /** Version of TLS, or null. */
  #protocol: string | null
  #deadline: NodeJS.Timeout | undefined

  constructor(stream: Stream, settings: ConnectionSettings) {
    this.#stream = stream
    this.#settings = settings
    const { resources, admission } = settings
    const { slabs, memory } = resources
    this.#handshake = new Handshake(startOf(stream, settings))
    this.#protocol = stream.entry?.identity?.protocol ?? null
    this.#receive = new ReceiveBuffer(slabs, memory)
    this.#replies = new ReplyQueue(slabs, memory)
    this.#closeAfter(settings.handshakeMs, () => admission.report(Refusal.HANDSHAKE, this.remote))
    stream.start(this)
    this.#say(this.#handshake.greeting())
  }

  get remote(): string {
    return this.#stream.remote
  }

  /** Who the client is, as far as is known now. */
  get peer(): Peer {
    return this.#handshake.peer
  }

  /** Of the export it is attached to; null: of none yet. */
  get device(): Device | null {
    return this.#transmission?.device ?? null
  }

  /** Finishes what was received, then closes; a handshake is told to end. */
  stop(): void {
    if (this.#state === State.TRANSMISSION) this.#transmission?.finish()
    if (this.#state !== State.HANDSHAKE && this.#state !== State.SECURING) return
    this.#handshake.shutDown()
    this.#closeAfter(STOP_HANDSHAKE_MS_MAX, () => this.#debug('closing', 'the server stops'))
  }

  /** As `Transmission.countQuiet`. */
  countQuiet(): number {
    return this.#transmission?.countQuiet() ?? 0
  }

  /** As `Transmission.countStuck`. */
  countStuck(): number {
    return this.#transmission?.countStuck() ?? 0
  }

  /** In good order, if the client takes its replies. */
  cutOff(): void {
    if (this.#replies.bytes > 0) this.destroy()
    else this.#transmission?.finish()
  }

  /** Closes at once. */
  destroy(): void {
    this.#stream.destroy()
  }

  receiveBuffer(): Uint8Array {
    if (this.#transmission !== null) return this.#transmission.room()
    if (this.#state === State.LINGERING) this.#receive.start = this.#receive.end
    return this.#receive.room(1)
  }

  received(bytes: number): void {
    if (this.#transmission !== null) return this.#transmission.received(bytes)
    this.#receive.received(bytes)
    this.#continueHandshake()
  }

  sent(): void {
    if (this.#transmission !== null) return this.#transmission.sent()
    this.#replies.sent()
    this.#replies.send(this.#stream)
    if (this.#state === State.SECURING) this.#secure()
    else if (this.#state === State.LINGERING) this.#finish()
    else this.#continueHandshake()
  }

  ended(): void {
    if (this.#state === State.TRANSMISSION) this.#transmission?.finish()
    else if (this.#state === State.SECURING) this.destroy()
    else this.#linger()
  }

  closed(reason: Error | null): void {
    clearTimeout(this.#deadline)
    if (this.#state === State.SECURING) this.#insecure(reason)
    else this.#debug('connection closed', reason?.message)
    this.#isClosed = true
    this.#receive.release()
    if (this.#transmission === null) this.#replies.discard()
    else this.#transmission.lose()
    this.#checkOver()
  }

  #continueHandshake(): void {
    while (this.#state === State.HANDSHAKE) {
      if (this.#replies.bytes > HANDSHAKE_OUTPUT_BYTES_MAX) return this.#pause()
      const { slab, start, end } = this.#receive
      const consumed = this.#handshake.consume(slab.bytes, start, end)
      this.#receive.start += consumed
      if (this.#handshake.hasOutput) this.#say(this.#handshake.takeOutput())
      if (this.#handshake.outcome !== null) return this.#endHandshake(this.#handshake.outcome)
      if (consumed === 0) break
    }
    this.#resume()
  }

  #endHandshake(outcome: Outcome): void {
    if (outcome.kind === 'tls') return this.#beginTls()
    this.#resume()
    if (outcome.kind === 'transmission') this.#beginTransmission(outcome.agreement)
    else if (outcome.kind === 'aborted') this.#linger()
    else this.#violated(outcome.reason)
  }

  /** Whatever lies behind STARTTLS did not come by TLS: it is not the client's, and not used. */
  #beginTls(): void {
    if (this.#receive.unparsed > 0) return this.#violated('plain bytes behind STARTTLS')
    this.#state = State.SECURING
    this.#pause()
    this.#secure()
  }

  /** When the last plain byte has left. */
  #secure(): void {
    const { tls } = this.#settings
    if (tls === null || this.#replies.bytes > 0) return
    this.#isPaused = false
    this.#stream = this.#stream.secure(tls.context, (identity) => this.#secured(identity))
    this.#stream.start(this)
  }

  #secured(identity: TlsIdentity): void {
    const { protocol, cipher } = identity
    const tls = peerTls(identity)
    this.#protocol = protocol
    this.#state = State.HANDSHAKE
    this.#handshake = this.#handshake.inTls(tls)
    const { remote } = this.#stream
    this.#settings.log.debug({ remote, protocol, cipher, peer: tls.name }, 'TLS begins')
  }

  #insecure(reason: Error | null): void {
    const { remote } = this.#stream
    const fields = { reason: reason?.message }
    this.#settings.clients.tell(remote, fields, 'no TLS: the handshake failed')
  }

  #beginTransmission(agreement: Agreement): void {
    clearTimeout(this.#deadline)
    this.#state = State.TRANSMISSION
    this.#settings.admission.attach(this, agreement.export)
    this.#isDrained = false
    const { resources, clients, log } = this.#settings
    this.#transmission = new Transmission(
      agreement,
      { stream: this.#stream, receive: this.#receive, replies: this.#replies },
      resources,
      log,
      () => this.#drained(),
    )
    const { remote } = this.#stream
    const name = agreement.export.name
    const { tls: proven } = this.peer
    const tls = proven === null ? {} : { tls: this.#protocol, peer: proven.name }
    this.#isTold = clients.tell(remote, { export: name, ...tls }, 'client attached')
    // What came together with the last option.
    this.#transmission.received(0)
  }

  #drained(): void {
    this.#isDrained = true
    if (this.#transmission === null) return
    const { flushStatus, end, violation } = this.#transmission
    const { remote } = this.#stream
    if (flushStatus !== 0)
      this.#settings.log.warn({ remote, errno: flushStatus }, 'flush at disconnect failed')
    if (this.#isTold) this.#settings.log.info({ remote }, 'client left')
    if (end === End.VIOLATION) this.#violated(violation ?? '')
    else if (end === End.ORDERLY) this.#linger()
    else this.#checkOver()
  }

  /** Our part is done: ends our direction and waits a little for the client to do the same. */
  #linger(): void {
    if (this.#state === State.LINGERING || this.#isClosed) return
    this.#state = State.LINGERING
    this.#resume()
    this.#finish()
  }

  /** When the last reply has left; until then the deadline of the handshake holds. */
  #finish(): void {
    if (this.#replies.bytes > 0) return
    this.#closeAfter(LINGER_MS_MAX, () => this.#debug('closing', 'the client does not close'))
    this.#stream.finish()
  }

  #violated(reason: string): void {
    this.#debug('protocol violation', reason)
    this.#stream.destroy()
  }

  #say(bytes: Uint8Array): void {
    const slab = this.#replies.reserve(bytes.length)
    const { position } = this.#replies
    slab.bytes.set(bytes, position)
    this.#replies.commit(slab, position, position + bytes.length)
    this.#replies.send(this.#stream)
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#stream.pause()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#stream.resume()
  }

  #closeAfter(milliseconds: number, tell: () => void): void {
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => {
      tell()
      this.#stream.destroy()
    }, milliseconds)
  }

  #checkOver(): void {
    if (this.#isClosed && this.#isDrained) this.#settings.onOver(this)
  }

  #debug(message: string, reason: string | undefined): void {
    this.#settings.log.debug({ remote: this.#stream.remote, reason }, message)
  }
}
