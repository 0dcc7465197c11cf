/**
 * Receiving into one lent buffer, on a socket that exists. Node has this only for sockets it
 * connects (`onread`); for those of a TLS server every record would get a buffer of its own, and
 * collecting those costs more than decrypting. What Node uses inside is undocumented.
 */
import type { Socket } from 'node:net'

interface Handle {
  useUserBuffer(buffer: Uint8Array): void
}

const HANDLE = '_handle'

/** Own properties of every socket, by the descriptions of their symbols. */
const BUFFER = 'kBuffer'
const CALLBACK = 'kBufferCb'
const GENERATOR = 'kBufferGen'

/**
 * Instead of 'data' events. Pausing works, but what is decrypted already still comes.
 * @param buffer is written over when the callback has returned
 * @param received told how many bytes are there
 * @returns false: this version of Node is another inside; nothing has changed
 */
export function receiveInto(
  socket: Socket,
  buffer: Uint8Array,
  received: (bytes: number) => void,
): boolean {
  const inside = socket as unknown as Record<symbol, unknown> & { readonly [HANDLE]?: Handle }
  const symbols = Object.getOwnPropertySymbols(socket)
  const [kBuffer, kCallback, kGenerator] = [BUFFER, CALLBACK, GENERATOR].map((description) =>
    symbols.find((symbol) => symbol.description === description && inside[symbol] === null),
  )
  const handle = inside[HANDLE]
  if (kBuffer === undefined || kCallback === undefined || kGenerator === undefined) return false
  if (typeof handle?.useUserBuffer !== 'function') return false
  handle.useUserBuffer(buffer)
  inside[kBuffer] = buffer
  inside[kCallback] = (bytes: number): boolean => {
    received(bytes)
    return true
  }
  return true
}
