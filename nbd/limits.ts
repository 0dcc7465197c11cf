/** Limits of the NBD frontend. Those of the handshake come first, of the transmission phase after. */

/** Longest option data that is looked at; the handshake's receive buffer holds that much. */
export const OPTION_DATA_BYTES_MAX = 64 * 1024

/** Longest option data that is skipped to answer with an error; the client is cut off above. */
export const OPTION_DISCARD_BYTES_MAX = 32 * 1024 * 1024

/** Options in one handshake; a client that goes on is cut off. */
export const OPTIONS_MAX = 64

/** Exports in an answer to LIST; ERR_TOO_BIG above. */
export const LIST_ENTRIES_MAX = 10_000

/** From the connection being accepted to the transmission phase. */
export const HANDSHAKE_MS_MAX = 10_000

/** Advertised as preferred block size: requests aligned to it are the fast ones. */
export const BLOCK_SIZE_PREFERRED = 4096

/** Advertised as maximum payload (spec: "Size constraints", at least 2^25 is expected). */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024
