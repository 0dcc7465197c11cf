/**
 * The transmission flags of an export: each is a promise that the transmission phase keeps.
 * All connections of an export share one device without a cache of their own, so one flush covers
 * them all and CAN_MULTI_CONN is always true.
 */
import type { Device } from '../device/device.ts'
import { TransmissionFlag } from './protocol.ts'
import { ReplyStyle } from './reply-style.ts'

/** @param hasContexts metadata contexts are selected: a request may choose among them */
export function transmissionFlags(
  device: Device,
  replyStyle: ReplyStyle,
  hasContexts: boolean,
): number {
  const { readOnly, trim, fastZero } = device.features
  let flags =
    TransmissionFlag.HAS_FLAGS |
    TransmissionFlag.SEND_FLUSH |
    TransmissionFlag.SEND_FUA |
    TransmissionFlag.CAN_MULTI_CONN |
    TransmissionFlag.SEND_CACHE
  if (replyStyle !== ReplyStyle.SIMPLE) flags |= TransmissionFlag.SEND_DF
  const isExtended = replyStyle === ReplyStyle.EXTENDED
  if (isExtended && hasContexts) flags |= TransmissionFlag.BLOCK_STATUS_PAYLOAD
  if (readOnly) return flags | TransmissionFlag.READ_ONLY
  flags |= TransmissionFlag.SEND_WRITE_ZEROES
  if (trim) flags |= TransmissionFlag.SEND_TRIM
  if (fastZero) flags |= TransmissionFlag.SEND_FAST_ZERO
  return flags
}
