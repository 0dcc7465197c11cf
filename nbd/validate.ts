/**
 * Every reason to refuse a request, in one place and before it has any effect (spec: "Request
 * types" and "Command flags"). What passes is inside the export, allowed, and of bearable size.
 */
import { PAYLOAD_BYTES_MAX } from './limits.ts'
import type { Agreement } from './negotiation.ts'
import { Command, CommandFlag, HeaderSize, NbdError, TransmissionFlag } from './protocol.ts'
import type { NbdRequest } from './request.ts'

/** The flags a command may carry by itself; those that were not offered come off below. */
const FLAGS_ALLOWED: readonly number[] = table([
  [Command.READ, CommandFlag.FUA | CommandFlag.DF],
  [Command.WRITE, CommandFlag.FUA],
  [Command.FLUSH, CommandFlag.FUA],
  [Command.TRIM, CommandFlag.FUA],
  [Command.CACHE, CommandFlag.FUA],
  [Command.WRITE_ZEROES, CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO],
  [Command.BLOCK_STATUS, CommandFlag.FUA | CommandFlag.REQ_ONE],
])

/** A payload is announced by a flag where headers are extended. */
const FLAGS_ALLOWED_EXTENDED: readonly number[] = table([
  ...FLAGS_ALLOWED.entries(),
  [Command.WRITE, CommandFlag.FUA | CommandFlag.PAYLOAD_LEN],
  [Command.BLOCK_STATUS, CommandFlag.FUA | CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN],
])

/** @returns an errno, or 0: go ahead */
export function validate(request: NbdRequest, agreement: Agreement): number {
  const { command, commandFlags } = request
  const offered = agreement.transmissionFlags
  const flags = (request.isExtended ? FLAGS_ALLOWED_EXTENDED : FLAGS_ALLOWED)[command]
  if (flags === undefined || (commandFlags & ~flags) !== 0) return NbdError.EINVAL
  switch (command) {
    case Command.READ:
      if ((commandFlags & CommandFlag.DF) !== 0 && (offered & TransmissionFlag.SEND_DF) === 0)
        return NbdError.EINVAL
      return validateData(request, agreement, NbdError.EINVAL)
    case Command.WRITE:
      if (isReadOnly(offered)) return NbdError.EPERM
      return validateData(request, agreement, NbdError.ENOSPC)
    case Command.FLUSH:
      // Offset and length are reserved, nothing depends on them.
      return 0
    case Command.TRIM:
      if (isReadOnly(offered)) return NbdError.EPERM
      if ((offered & TransmissionFlag.SEND_TRIM) === 0) return NbdError.EINVAL
      return validateRange(request, agreement, NbdError.EINVAL)
    case Command.WRITE_ZEROES:
      if (isReadOnly(offered)) return NbdError.EPERM
      if ((commandFlags & CommandFlag.FAST_ZERO) !== 0 && !isFastZeroOffered(offered))
        return NbdError.EINVAL
      return validateRange(request, agreement, NbdError.ENOSPC)
    case Command.BLOCK_STATUS:
      if (agreement.contexts.length === 0) return NbdError.EINVAL
      if ((commandFlags & CommandFlag.PAYLOAD_LEN) !== 0) return validateIdCount(request, agreement)
      return validateStatusRange(request, agreement)
    default:
      return validateRange(request, agreement, NbdError.EINVAL)
  }
}

/**
 * A BLOCK_STATUS whose payload has arrived: takes its range and contexts from there.
 * @returns an errno, or 0: go ahead
 */
export function validateStatusPayload(
  request: NbdRequest,
  agreement: Agreement,
  view: DataView,
  at: number,
): number {
  request.wireLength = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4)
  request.contexts = 0
  const end = at + request.payloadBytes
  for (let id = at + HeaderSize.BLOCK_STATUS_PAYLOAD; id < end; id += HeaderSize.CONTEXT_ID) {
    const index = indexOfContext(agreement, view.getUint32(id))
    if (index < 0 || (request.contexts & (1 << index)) !== 0) return NbdError.EINVAL
    request.contexts |= 1 << index
  }
  return validateStatusRange(request, agreement)
}

/** More ids than contexts: one is unknown, or is there twice. */
function validateIdCount(request: NbdRequest, { contexts }: Agreement): number {
  const idBytes = request.payloadBytes - HeaderSize.BLOCK_STATUS_PAYLOAD
  const count = idBytes / HeaderSize.CONTEXT_ID
  return Number.isInteger(count) && count >= 1 && count <= contexts.length ? 0 : NbdError.EINVAL
}

function indexOfContext({ contexts }: Agreement, id: number): number {
  for (let index = 0; index < contexts.length; index++) if (contexts[index].id === id) return index
  return -1
}

function validateStatusRange(request: NbdRequest, agreement: Agreement): number {
  if (request.wireLength === 0) return NbdError.EINVAL
  return validateRange(request, agreement, NbdError.EINVAL)
}

function validateData(request: NbdRequest, agreement: Agreement, outside: number): number {
  if (request.wireLength > PAYLOAD_BYTES_MAX) return NbdError.EINVAL
  return validateRange(request, agreement, outside)
}

function validateRange(request: NbdRequest, agreement: Agreement, outside: number): number {
  const { wireOffset, wireLength } = request
  const { alignment, size: sizeNow } = agreement.export.device
  const size = Math.min(agreement.size, sizeNow)
  if (wireOffset > size || wireLength > size - wireOffset) return outside
  const aligned = alignment === 1 || (wireOffset % alignment === 0 && wireLength % alignment === 0)
  return aligned ? 0 : NbdError.EINVAL
}

function isReadOnly(offered: number): boolean {
  return (offered & TransmissionFlag.READ_ONLY) !== 0
}

function isFastZeroOffered(offered: number): boolean {
  return (offered & TransmissionFlag.SEND_FAST_ZERO) !== 0
}

/** Commands that are not named have no entry. */
function table(rows: readonly (readonly [number, number])[]): number[] {
  const flags: number[] = []
  for (const [command, allowed] of rows) flags[command] = allowed
  return flags
}
