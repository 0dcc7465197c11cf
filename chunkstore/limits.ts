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

/** Pages whose sums and write-intent mark go together: as many as fit into a page with a seal. */
export const CHECKSUM_REGION_PAGES = 1008

/** Regions of a disk whose sums are kept in memory, 4 KiB each; more only while all are in use. */
export const CHECKSUM_REGIONS_MAX = 16_384

/** Neighbours whose sums are read from the file together. */
export const CHECKSUM_LOAD_REGIONS = 16

/** A mark is set for up to so many regions at once, while writes go to ever new ones. */
export const MARKS_AHEAD_MAX = 16

/** How often regions at rest are looked for. */
export const SETTLE_MS = 1000

/** A region is at rest when nobody has written to it for so many of these times. */
export const SETTLE_IDLE = 3

/** If its data was not flushed by then, it is after so many. */
export const SETTLE_SYNC_IDLE = 30

/** Bytes a second that a scrub reads of a disk that is being served, unless asked otherwise. */
export const SCRUB_SERVED_RATE = 64 << 20

/** A scrub that does not keep up with its rate makes up for so long, no more. */
export const SCRUB_BURST_MS = 100

/** A page is damaged if it is found so this many times, with such pauses between. */
export const SCRUB_CONFIRMATIONS = 3
export const SCRUB_CONFIRM_MS = 20

/** What is being written is looked at again so often, with such pauses between. */
export const SCRUB_RETURNS_MAX = 4
export const SCRUB_RETURN_MS = 1500

/** Passes over a disk whose checksums are made anew: what is not done then cannot be. */
export const REBUILD_PASSES_MAX = 40

/** Chunks and crashed regions settled in one of these times, while there are requests. */
export const SETTLE_BUSY_MAX = 16
