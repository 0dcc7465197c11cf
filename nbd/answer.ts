/**
 * Replies to everything but a successful READ: success, errors, block status. Where replies are
 * chunks an error is told in one, with a text and, where it means something, the offset.
 */
import type { Agreement } from './negotiation.ts'
import { CommandFlag, HeaderSize } from './protocol.ts'
import type { ReplyQueue } from './reply-queue.ts'
import {
  chunkHeaderBytes,
  errorChunk,
  errorChunkBytes,
  noneChunk,
  simpleReply,
  statusChunk,
  statusChunkBytes,
} from './reply.ts'
import { ReplyStyle } from './reply-style.ts'
import type { NbdRequest } from './request.ts'

export class Answer {
  readonly #replies: ReplyQueue
  readonly #agreement: Agreement

  constructor(replies: ReplyQueue, agreement: Agreement) {
    this.#replies = replies
    this.#agreement = agreement
  }

  success(request: NbdRequest): void {
    if (!request.isExtended) return this.#simple(request, 0)
    const slab = this.#replies.reserve(chunkHeaderBytes(true))
    const start = this.#replies.position
    this.#replies.commit(slab, start, noneChunk(slab.view, start, request))
  }

  /**
   * @param error as on the wire
   * @param offset of the first byte that was not done, or -1
   */
  error(request: NbdRequest, error: number, offset: number): void {
    if (this.#agreement.replyStyle === ReplyStyle.SIMPLE) return this.#simple(request, error)
    const bytes = errorChunkBytes(request.isExtended, error)
    const slab = this.#replies.reserve(bytes)
    const start = this.#replies.position
    const end = errorChunk(slab.view, start, slab.bytes, request, error, offset)
    this.#replies.giveBack(slab, end, start + bytes)
    this.#replies.commit(slab, start, end)
  }

  /** One chunk for each context: those that were selected, or of them those asked for. */
  blockStatus(request: NbdRequest): void {
    const { list } = request
    if (list === null || list.count === 0) throw new Error('device: block status without extents')
    const isOne = (request.commandFlags & CommandFlag.REQ_ONE) !== 0
    const descriptorsMax = isOne ? 1 : list.count
    const { contexts } = this.#agreement
    const bytes = statusChunkBytes(request.isExtended, descriptorsMax)
    let left = request.contexts & ((1 << contexts.length) - 1)
    for (let index = 0; left !== 0; index++) {
      if ((left & (1 << index)) === 0) continue
      left &= ~(1 << index)
      const slab = this.#replies.reserve(bytes)
      const start = this.#replies.position
      const context = contexts[index]
      const isLast = left === 0
      const end = statusChunk(slab.view, start, request, context, list, descriptorsMax, isLast)
      this.#replies.giveBack(slab, end, start + bytes)
      this.#replies.commit(slab, start, end)
    }
  }

  #simple(request: NbdRequest, error: number): void {
    const slab = this.#replies.reserve(HeaderSize.SIMPLE_REPLY)
    const start = this.#replies.position
    this.#replies.commit(slab, start, simpleReply(slab.view, start, request, error))
  }
}
