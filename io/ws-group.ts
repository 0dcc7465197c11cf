/**
 * The WebSockets of one listener, or of one that dials: what they share is the memory for messages
 * that are not complete, the clock for pings, and the reason to close.
 */
import { WS_INCOMPLETE_BYTES_FAIR, WS_INCOMPLETE_BYTES_MAX, WS_PING_MS } from './ws-limits.ts'

interface Member {
  checkAlive(): void
}

export class WebSocketGroup {
  /** Of messages whose end has not come yet. */
  incompleteBytes = 0
  /** Whoever is closed from now on is told that the server leaves. */
  isGoingAway = false
  readonly #members = new Set<Member>()
  readonly #clock: NodeJS.Timeout
  readonly #onClock = (): void => {
    for (const member of this.#members) member.checkAlive()
  }

  readonly #incompleteBytesMax: number

  /**
   * @param pingMs see `WS_PING_MS`
   * @param incompleteBytesMax see `WS_INCOMPLETE_BYTES_MAX`
   */
  constructor(pingMs = WS_PING_MS, incompleteBytesMax = WS_INCOMPLETE_BYTES_MAX) {
    this.#incompleteBytesMax = incompleteBytesMax
    // What came while the loop stood still is received first.
    this.#clock = setInterval(() => setImmediate(this.#onClock), pingMs)
    this.#clock.unref()
  }

  /** @param bytes of one that would like to keep on collecting */
  asksTooMuch(bytes: number): boolean {
    return this.incompleteBytes > this.#incompleteBytesMax && bytes > WS_INCOMPLETE_BYTES_FAIR
  }

  add(member: Member): void {
    this.#members.add(member)
  }

  remove(member: Member): void {
    this.#members.delete(member)
    if (this.isGoingAway && this.#members.size === 0) clearInterval(this.#clock)
  }

  leave(): void {
    this.isGoingAway = true
    if (this.#members.size === 0) clearInterval(this.#clock)
  }
}
