/**
 * Who may have which export. The one place where that is asked: whatever an option says of exports,
 * it has found them here. An export that the client may not have is the same as one that does not
 * exist.
 */
import type { Export, ExportTable } from './export.ts'
import type { Peer } from './peer.ts'

export interface AccessPolicy {
  /** @returns why the peer may not have the export, in words for the log; null: it may */
  refusal(entry: Export, peer: Peer): string | null
  /** Whether LIST names it to those who may have it. */
  isListed(entry: Export): boolean
}

/** Everybody may have every export. */
export const EVERYTHING: AccessPolicy = { refusal: () => null, isListed: () => true }

/** The exports as they are for one client. */
export class VisibleExports {
  readonly #exports: ExportTable
  readonly #peer: Peer
  readonly #policy: AccessPolicy
  readonly #onRefused: (entry: Export, reason: string) => void

  constructor(
    exports: ExportTable,
    peer: Peer,
    policy: AccessPolicy = EVERYTHING,
    onRefused: (entry: Export, reason: string) => void = () => {},
  ) {
    this.#exports = exports
    this.#peer = peer
    this.#policy = policy
    this.#onRefused = onRefused
  }

  /** @param name '' is the default export. @returns null: there is none for this client */
  find(name: string): Export | null {
    const entry = this.#exports.find(name)
    if (entry === null) return null
    const reason = this.#policy.refusal(entry, this.#peer)
    if (reason === null) return entry
    this.#onRefused(entry, reason)
    return null
  }

  list(): readonly Export[] {
    return this.#exports
      .list()
      .filter((each) => this.#policy.isListed(each) && !this.#refuses(each))
  }

  #refuses(entry: Export): boolean {
    return this.#policy.refusal(entry, this.#peer) !== null
  }
}
