/** Limits of WebSockets, on top of those of NBD inside them (`nbd/limits.ts`). */

/** From the connection being accepted to the upgrade: TLS, request and all. */
export const WS_HANDSHAKE_MS_MAX = 10_000

/** Connections that have not come so far yet; with more, the one that waits longest is dropped. */
export const WS_PENDING_MAX = 1024

/** Of a request, or of the answer where we are the client. */
export const WS_HEADER_BYTES_MAX = 16 * 1024

/** Subprotocols of a request that are looked at. */
export const WS_SUBPROTOCOLS_MAX = 16

/** Payload of one message: the largest WRITE, its header, and some more. */
export const WS_MESSAGE_BYTES_MAX = 33 * 1024 * 1024

/** Frames of one message, and pieces in which the network brings it. */
export const WS_FRAGMENTS_MAX = 16 * 1024
export const WS_CHUNKS_MAX = 64 * 1024

/** What such a piece costs besides its bytes. */
export const WS_CHUNK_COST_BYTES = 256

/**
 * Of messages that are not complete, all connections together; above, one that holds more than the
 * second is closed.
 */
export const WS_INCOMPLETE_BYTES_MAX = 256 * 1024 * 1024
export const WS_INCOMPLETE_BYTES_FAIR = 1024 * 1024

/** Payload of a frame that we send; bmcweb takes no message above 131088 bytes. */
export const WS_FRAME_BYTES = 128 * 1024

/** Framed in one go; the rest when this has left. */
export const WS_SLICE_BYTES = 512 * 1024

/** A peer is asked for a sign of life this often; without any until the next time it is gone. */
export const WS_PING_MS = 30_000

/** For the peer's close frame after ours. */
export const WS_CLOSE_MS_MAX = 2000

/** Dialling again: the first wait, doubled after each failure up to the last. */
export const WS_RETRY_MS_MIN = 1000
export const WS_RETRY_MS_MAX = 60_000

/** A connection that lasted this long was a success: the waits begin anew. */
export const WS_STABLE_MS = 10_000

/** A file of tokens, or of the headers for dialling. */
export const WS_FILE_BYTES_MAX = 64 * 1024

/** Fewer could be guessed. */
export const WS_TOKEN_CHARACTERS_MIN = 16
