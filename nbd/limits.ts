/** Limits of the NBD frontend: of the handshake first, of the transmission phase after. */

/** Longest option data that is looked at; the handshake's receive buffer holds that much. */
export const OPTION_DATA_BYTES_MAX = 64 * 1024

/** The same while receive buffers have more than `RECEIVE_MEMORY_BYTES_MAX`: many do not finish. */
export const OPTION_DATA_BYTES_SCARCE = 8 * 1024

/** Longest option data that is skipped to answer with an error; the client is cut off above. */
export const OPTION_DISCARD_BYTES_MAX = 32 * 1024 * 1024

/** Options in one handshake; a client that goes on is cut off. */
export const OPTIONS_MAX = 64

/** Exports in an answer to LIST; ERR_TOO_BIG above. */
export const LIST_ENTRIES_MAX = 10_000

/** From the connection being accepted to the transmission phase. */
export const HANDSHAKE_MS_MAX = 10_000

/** Connections at once; a process that may have few descriptors allows fewer. */
export const CONNECTIONS_MAX = 16_384

/** Of these from one address: others still get in. */
export const CONNECTIONS_PER_ADDRESS_MAX = 12_288

/** In so long a refusal of one kind is logged once, with how many there were. */
export const REFUSALS_LOGGED_MS = 10_000

/** In so long so many lines of a kind are logged about the clients of one address. */
export const CLIENT_LINES_MAX = 100
export const CLIENT_LINES_MS = 10_000

/** Idle clients are looked for so many times in the time they are allowed. */
export const IDLE_LOOKS = 8

/** Our own client: waiting for a connection, then for each answer. */
export const CLIENT_WAIT_MS_MAX = 10_000

/** Our own client: replies to one option, and bytes in each. */
export const CLIENT_REPLIES_MAX = 20_000
export const CLIENT_REPLY_BYTES_MAX = 64 * 1024

/** Advertised as preferred block size: requests aligned to it are the fast ones. */
export const BLOCK_SIZE_PREFERRED = 4096

/** Advertised as maximum payload (spec: "Size constraints", at least 2^25 is expected). */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024

/** Longest payload of a WRITE that is consumed and refused; the client is cut off above. */
export const PAYLOAD_DISCARD_BYTES_MAX = 64 * 1024 * 1024

/** A READ or WRITE is handed to the device in slices of this size, others pass in between. */
export const DATA_SLICE_BYTES = 1024 * 1024

/** The same for TRIM and WRITE_ZEROES, which move no data. */
export const ZERO_SLICE_BYTES = 1024 * 1024 * 1024

/** What such a slice counts in a turn. */
export const ZERO_SLICE_COST_BYTES = 256 * 1024

/** A turn of a connection ends after so many new requests or bytes, and the next one's begins. */
export const TURN_REQUESTS_MAX = 256
export const TURN_BYTES_MAX = 4 * 1024 * 1024

/** Over any of these a connection is not read from until it is below again. */
export const REQUESTS_IN_FLIGHT_MAX = 1024
export const BYTES_IN_FLIGHT_MAX = 64 * 1024 * 1024
export const SEND_QUEUE_BYTES_MAX = 1024 * 1024

/**
 * Payload and reply memory of all connections. Over it only a connection that holds none may take
 * another request, so nobody is starved by those who hold what there is.
 */
export const MEMORY_BYTES_MAX = 256 * 1024 * 1024

/** With receive memory: above, long payloads that need new memory are refused with ENOMEM. */
export const MEMORY_BYTES_REFUSING = 512 * 1024 * 1024
export const PAYLOAD_BYTES_REFUSED = 64 * 1024

/**
 * When `MEMORY_BYTES_MAX` is reached, others pay for it: who holds at least so much, and stands
 * still over so many looks, is cut off.
 */
export const HOARD_BYTES_MIN = 64 * 1024
export const HOARD_LOOKS = 3
export const HOARD_LOOK_MS = 5000

/**
 * Receive memory: first a little, for many clients never say much; for whole batches when a client
 * has filled it.
 */
export const RECEIVE_BYTES_INITIAL = 256
export const RECEIVE_BYTES = 1024 * 1024

/** Receive memory of all; above, each connection that empties its own gets by with the second. */
export const RECEIVE_MEMORY_BYTES_MAX = 128 * 1024 * 1024
export const RECEIVE_BYTES_SCARCE = 32 * 1024

/** With less room than this behind what was received, the receive buffer is tidied up. */
export const RECEIVE_ROOM_BYTES_MIN = 64 * 1024

/** Replies are gathered in slabs of this size; data longer than the second gets its own slab. */
export const REPLY_SLAB_BYTES = 256 * 1024
export const REPLY_DATA_INLINE_BYTES_MAX = 64 * 1024

/** So much is sent in the middle of a turn: the client works on it while we go on. */
export const SEND_EARLY_BYTES = 64 * 1024

/** Unused slabs, requests and extent lists that are kept for the next use. */
export const SLABS_FREE_BYTES_MAX = 32 * 1024 * 1024
export const REQUESTS_FREE_MAX = 4096
export const EXTENT_LISTS_FREE_MAX = 256

/** Slabs that nobody needed for one to two of these are given back to the system. */
export const SLABS_IDLE_MS = 30_000

/** Zeros of at least this length are sent as a hole; less is sent as data. */
export const HOLE_BYTES_MIN = 4096

/** Extents asked from a device at once: more than one slice of a READ can have in 4 KiB blocks. */
export const EXTENTS_MAX = 512

/** The handshake goes on only while less than this of its output is unsent. */
export const HANDSHAKE_OUTPUT_BYTES_MAX = 64 * 1024

/** After our last byte the client has this long to close. */
export const LINGER_MS_MAX = 1000

/** After `stop`: for a handshake to end, and for a client to take its replies. */
export const STOP_HANDSHAKE_MS_MAX = 500
export const STOP_MS_MAX = 5000
