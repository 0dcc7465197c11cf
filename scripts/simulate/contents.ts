/**
 * The bytes of writes say where they come from: cells of eight bytes hold the number of the write
 * and the place it went to. So a failure can be described, and no two writes are the same.
 */

const CELL = 8

/** More of a mixed sector is not described. */
const PIECES_SHOWN = 4

/** @returns what change `number` writes at `offset`; the same bytes for the same place */
export function contentsOf(number: number, offset: number, length: number): Uint8Array {
  const first = Math.floor(offset / CELL)
  const count = Math.ceil((offset + length) / CELL) - first
  const words = new Uint32Array(2 * count)
  for (let index = 0; index < count; index++) {
    words[2 * index] = number
    words[2 * index + 1] = first + index + 1
  }
  const start = offset - first * CELL
  return new Uint8Array(words.buffer, start, length)
}

/** Says in words what `bytes` read at `offset` are. @param nameOf words for a number */
export function describeContents(
  bytes: Uint8Array,
  offset: number,
  nameOf: (number: number) => string,
): string {
  const first = Math.ceil(offset / CELL) * CELL
  const pieces: { text: string; start: number }[] = []
  for (let at = first; at + CELL <= offset + bytes.length; at += CELL) {
    const text = describeCell(bytes.subarray(at - offset), at, nameOf)
    if (pieces.at(-1)?.text !== text) pieces.push({ text, start: at })
  }
  const [piece] = pieces
  if (pieces.length <= 1) return piece?.text ?? 'a few bytes'
  const shown = pieces.slice(0, PIECES_SHOWN).map(({ text, start }) => `${text} from ${start}`)
  return shown.join(', ') + (pieces.length > PIECES_SHOWN ? ', and so on' : '')
}

function describeCell(bytes: Uint8Array, at: number, nameOf: (number: number) => string): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, CELL)
  const [number, place] = [view.getUint32(0, true), view.getUint32(4, true)]
  if (number === 0 && place === 0) return 'zeros'
  const real = (place - 1) * CELL
  if (real === at) return nameOf(number)
  const isCell = place > 0 && real < 2 ** 32 && number < 2 ** 20
  return isCell ? `${nameOf(number)} of ${real - at} bytes further` : 'a mixture'
}
