/** Every limit of the chunk store, with its reason. */

/** Page: the smallest unit of the store; disk and chunk sizes are multiples of it. */
export const PAGE_SIZE = 4096

/** A descriptor is a few lines; one larger than this is some other file. */
export const DESCRIPTOR_BYTES_MAX = 1 << 20

/** Ours has some 300. */
export const LOCK_FILE_BYTES_MAX = 4096

/** Between finding no lock file and making one another may be made, and be gone again. */
export const LOCK_FILE_TRIES = 5

/** Offsets stay exact as numbers. */
export const DISK_BYTES_MAX = Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % PAGE_SIZE)

/** A chain this deep is taken for a mistake; every level costs a lookup per chunk. */
export const CHAIN_DEPTH_MAX = 256

/** Chunk files kept open per disk; more only while every one of them is in use. */
export const OPEN_FILES_MAX = 1000

/** Waits for a file to be closed where the system has no descriptor left, and how often. */
export const DESCRIPTOR_WAIT_MS = 50
export const DESCRIPTOR_WAITS_MAX = 40

/** Copies of parents' chunks that run at once: each takes two descriptors and a step of memory. */
export const COPIES_MAX = 16

/** The same fault of the same file is not logged again within this time. */
export const FAULT_LOG_MS = 10_000

/** Faults that are remembered for that. */
export const FAULT_LOG_FILES_MAX = 1000

/** An open file that nobody used for one to two of these is closed. */
export const IDLE_CLOSE_MS = 30_000

/** Copy-up and zero-writing go in steps of this many bytes. */
export const STEP_BYTES = 1 << 20

/** Such steps one request writes before others get a turn. */
export const ZERO_STEPS_PER_TURN = 4

/** Syncs of one flush that run at once. */
export const FLUSH_PARALLEL = 8

/** Unmapped ranges remembered per chunk; further ones are only punched. */
export const UNMAPPED_RANGES_MAX = 256

/** Data and hole searches of one block status call; it then stops with what it has. */
export const SEEKS_PER_CALL_MAX = 128

/** Chunks one block status call looks at. */
export const CHUNKS_PER_CALL_MAX = 65536

/** A structured read at least this long looks for holes inside chunk files. */
export const HOLE_SEARCH_BYTES_MIN = 32768

/** A trim or zero over more chunks than this walks the chunks that exist instead. */
export const WIDE_CHUNKS_MIN = 1024

/** File status calls that run at once while a part is scanned. */
export const SCAN_PARALLEL = 64

/** Of a new disk, unless asked for otherwise. */
export const CHUNK_SIZE_DEFAULT = 64 << 20

/** Between looks at a chunk file that another program is moving; longer every time. */
export const MOVE_WAIT_MS_MIN = 1
export const MOVE_WAIT_MS_MAX = 100

/** A file that is locked for longer is not being moved: its program hangs. */
export const MOVE_LOCKED_MS_MAX = 60_000

/** The same for a file that is in two parts, or in none: that is but a moment of a move. */
export const MOVE_SEEN_MS_MAX = 2000

/** With movable chunks the parts are counted again before a new chunk, if it is so long ago. */
export const MOVE_RECOUNT_MS = 1000
