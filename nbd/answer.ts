/**
 * Replies to everything but a successful READ: success, errors, block status. With structured
 * replies an error is told in a chunk, with a text and, where it means something, the offset.
 */
import type { Agreement } from './negotiation.ts'
import { CommandFlag, HeaderSize } from './protocol.ts'
import type { ReplyQueue } from './reply-queue.ts'
import {
  blockStatusBytes,
  blockStatusChunk,
  errorChunk,
  errorChunkBytes,
  simpleReply,
} from './reply.ts'
import type { NbdRequest } from './request.ts'

export class Answer {
  readonly #replies: ReplyQueue
  readonly #agreement: Agreement

  constructor(replies: ReplyQueue, agreement: Agreement) {
    this.#replies = replies
    this.#agreement = agreement
  }

  success(request: NbdRequest): void {
    this.#simple(request, 0)
  }

  /**
   * @param error as on the wire
   * @param offset of the first byte that was not done, or -1
   */
  error(request: NbdRequest, error: number, offset: number): void {
    if (!this.#agreement.structuredReplies) return this.#simple(request, error)
    const bytes = errorChunkBytes(error)
    const slab = this.#replies.reserve(bytes)
    const start = this.#replies.position
    const end = errorChunk(slab.view, start, slab.bytes, request, error, offset)
    this.#replies.giveBack(slab, end, start + bytes)
    this.#replies.commit(slab, start, end)
  }

  /** One chunk for each selected context: there is one, base:allocation. */
  blockStatus(request: NbdRequest): void {
    const { list } = request
    if (list === null || list.count === 0) throw new Error('device: block status without extents')
    const isOne = (request.commandFlags & CommandFlag.REQ_ONE) !== 0
    const descriptors = isOne ? 1 : list.count
    const { contexts } = this.#agreement
    const bytes = contexts.length * blockStatusBytes(descriptors)
    const slab = this.#replies.reserve(bytes)
    const start = this.#replies.position
    let end = start
    for (let index = 0; index < contexts.length; index++) {
      const isLast = index === contexts.length - 1
      const { id } = contexts[index]
      end = blockStatusChunk(slab.view, end, request, id, list, descriptors, isLast)
    }
    this.#replies.commit(slab, start, end)
  }

  #simple(request: NbdRequest, error: number): void {
    const slab = this.#replies.reserve(HeaderSize.SIMPLE_REPLY)
    const start = this.#replies.position
    this.#replies.commit(slab, start, simpleReply(slab.view, start, request, error))
  }
}
