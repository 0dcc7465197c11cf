/* Latencies counted in buckets: each power of two is cut into 64, so a percentile is exact to
 * 1.6 % whatever its magnitude, in 30 KB. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { BUCKETS_PER_OCTAVE = 64, BUCKET_COUNT = 60 * BUCKETS_PER_OCTAVE };

struct histogram {
  uint64_t buckets[BUCKET_COUNT];
  uint64_t total;
};

/* The first octave is exact: bucket n holds n. Of the others, the leading 7 bits are kept. */
static inline void record(struct histogram *histogram, uint64_t value) {
  unsigned shift = 0;
  while (value >> shift >= 2 * BUCKETS_PER_OCTAVE) shift++;
  histogram->buckets[shift * BUCKETS_PER_OCTAVE + (value >> shift)]++;
  histogram->total++;
}

/* The lower end of the bucket that a fraction (0 to 1) of all values lies in or below; 0 if there
 * is none. */
static inline double percentile(const struct histogram *histogram, double fraction) {
  uint64_t seen = 0;
  for (unsigned bucket = 0; bucket < BUCKET_COUNT; bucket++) {
    seen += histogram->buckets[bucket];
    if (seen == 0 || (double)seen < fraction * (double)histogram->total) continue;
    if (bucket < 2 * BUCKETS_PER_OCTAVE) return bucket;
    unsigned shift = bucket / BUCKETS_PER_OCTAVE - 1;
    return (double)(bucket - shift * BUCKETS_PER_OCTAVE) * (double)(1ull << shift);
  }
  return 0;
}

#endif
