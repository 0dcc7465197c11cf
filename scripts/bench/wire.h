/* What the load generator and the floor share: numbers of the NBD protocol, integers in network
 * byte order, and the way to give up. Names are those of the specification (proto.md). */
#ifndef WIRE_H
#define WIRE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NBD_MAGIC 0x4e42444d41474943u /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054u /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x3e889045565a9u
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u

enum { NBD_FLAG_FIXED_NEWSTYLE = 1 << 0, NBD_FLAG_NO_ZEROES = 1 << 1 }; /* handshake */
enum { NBD_OPT_ABORT = 2, NBD_OPT_INFO = 6, NBD_OPT_GO = 7 };
enum { NBD_REP_ACK = 1, NBD_REP_INFO = 3 };
#define NBD_REP_FLAG_ERROR 0x80000000u
#define NBD_REP_ERR_UNSUP (NBD_REP_FLAG_ERROR + 1)
enum { NBD_INFO_EXPORT = 0 };
enum { /* transmission */
  NBD_FLAG_HAS_FLAGS = 1 << 0,
  NBD_FLAG_READ_ONLY = 1 << 1,
  NBD_FLAG_SEND_FLUSH = 1 << 2,
  NBD_FLAG_CAN_MULTI_CONN = 1 << 8
};
enum { NBD_CMD_READ = 0, NBD_CMD_WRITE = 1, NBD_CMD_DISC = 2, NBD_CMD_FLUSH = 3 };
#define NBD_EIO 5u
#define NBD_EINVAL 22u

enum {
  GREETING_SIZE = 18,            /* magic, option magic, handshake flags */
  OPTION_HEADER_SIZE = 16,       /* magic, option, length */
  OPTION_REPLY_HEADER_SIZE = 20, /* magic, option, type, length */
  INFO_EXPORT_SIZE = 12,         /* type, size, transmission flags */
  REQUEST_HEADER_SIZE = 28,      /* magic, flags, type, cookie, offset, length */
  REPLY_HEADER_SIZE = 16         /* magic, error, cookie */
};

static inline void put16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value) {
  put16(at, (uint16_t)(value >> 16));
  put16(at + 2, (uint16_t)value);
}

static inline void put64(uint8_t *at, uint64_t value) {
  put32(at, (uint32_t)(value >> 32));
  put32(at + 4, (uint32_t)value);
}

static inline uint16_t get16(const uint8_t *at) {
  return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at) {
  return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static inline uint64_t get64(const uint8_t *at) {
  return (uint64_t)get32(at) << 32 | get32(at + 4);
}

/* A broken run measures nothing: the program says why, and ends. */
static inline _Noreturn void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static inline void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (memory == NULL) fail("no memory for %zu bytes", size);
  return memory;
}

#endif
