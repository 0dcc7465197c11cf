/** Sizes of the page cache, and the relations among them. */
import assert from 'node:assert/strict'

/** Bytes of a page: the unit of caching, locking and of every request to the lower device. */
export const PAGE_SIZE = 4096

/** Pages of an arena that only serves partial pages and keeps nothing (`--page-cache 0`). */
export const PAGES_WITHOUT_RETENTION = 64

/** A cache that was not used for one to two of these gives its memory back. */
export const IDLE_MS = 30_000

/** Slots are Int32 and a bucket index has to fit as well. 2^26 pages are 256 GiB. */
export const PAGES_MAX = 2 ** 26

/** An aligned read up to this size is looked up in the cache, a larger one never. */
export const CACHED_READ_BYTES_MAX = 64 * 1024

/** Pages of an aligned read up to this size are kept if they are asked for again. */
export const KEPT_READ_BYTES_MAX = 16 * 1024

/** Of so many aligned reads at least one must be found in the cache: what looking costs. */
export const READS_PER_HIT_MAX = 4

/** Aligned reads, for each page of the cache, after which it is judged whether looking pays. */
export const TRIAL_READS_PER_PAGE = 4

/** Trials' worth of reads for which nobody looks after a failed one: it doubles each time. */
export const REST_TRIALS_MAX = 16

/** Extents fetched at once for a block status that must be clipped. */
export const CLIPPED_EXTENTS_MAX = 128

assert((PAGE_SIZE & (PAGE_SIZE - 1)) === 0, 'pages are found by masking')
assert(CACHED_READ_BYTES_MAX % PAGE_SIZE === 0)
assert(KEPT_READ_BYTES_MAX / PAGE_SIZE <= 31, 'its pages are bits of an integer')
assert(PAGES_WITHOUT_RETENTION <= PAGES_MAX)
