/**
 * Numbers and names of the NBD protocol, as in its specification (proto.md). Nothing else.
 *
 * All integers on the wire are big-endian. The 64-bit magics are kept as two halves.
 * Bit 31 of an `OptionReply` and bit 15 of a `ReplyChunkType` say that it is an error.
 */

export const Magic = {
  /** "NBDMAGIC": first thing a server says. */
  INIT_HIGH: 0x4e42444d,
  INIT_LOW: 0x41474943,
  /** "IHAVEOPT": second thing a server says, and in front of every option. */
  OPTION_HIGH: 0x49484156,
  OPTION_LOW: 0x454f5054,
  OPTION_REPLY_HIGH: 0x0003e889,
  OPTION_REPLY_LOW: 0x045565a9,
  REQUEST: 0x25609513,
  SIMPLE_REPLY: 0x67446698,
  STRUCTURED_REPLY: 0x668e33ef,
  EXTENDED_REQUEST: 0x21e41c71,
  EXTENDED_REPLY: 0x6e8a278c,
} as const

/** Bytes on the wire in front of a variable part. */
export const HeaderSize = {
  /** Both magics and the handshake flags. */
  GREETING: 18,
  CLIENT_FLAGS: 4,
  /** Magic, option, length. */
  OPTION: 16,
  /** Magic, option, type, length. */
  OPTION_REPLY: 20,
  /** Answer to EXPORT_NAME: size and flags, then `EXPORT_NAME_PADDING` unless NO_ZEROES. */
  EXPORT_NAME_REPLY: 10,
  EXPORT_NAME_PADDING: 124,
  /** Magic, flags, type, cookie, offset, length. */
  REQUEST: 28,
  /** Magic, error, cookie. */
  SIMPLE_REPLY: 16,
  /** Magic, flags, type, cookie, length. */
  STRUCTURED_REPLY: 20,
  /** Offset in front of the data of an OFFSET_DATA chunk. */
  OFFSET_DATA: 8,
  /** Offset and 32-bit size: all of an OFFSET_HOLE chunk. */
  OFFSET_HOLE: 12,
  /** Context id in front of the descriptors of a BLOCK_STATUS chunk. */
  BLOCK_STATUS: 4,
  /** Length and status flags. */
  BLOCK_STATUS_DESCRIPTOR: 8,
  /** Magic, flags, type, cookie, offset, 64-bit length. */
  EXTENDED_REQUEST: 32,
  EXTENDED_REPLY: 32,
  /** Context id and number of descriptors in front of those of a BLOCK_STATUS_EXT chunk. */
  BLOCK_STATUS_EXT: 8,
  /** Length and status flags, 64 bits each. */
  BLOCK_STATUS_EXT_DESCRIPTOR: 16,
  /** 64-bit length in front of the context ids in the payload of a BLOCK_STATUS request. */
  BLOCK_STATUS_PAYLOAD: 8,
  CONTEXT_ID: 4,
  /** Error and length of the text that follows. */
  ERROR: 6,
  /** As ERROR, and the offset behind the text. */
  ERROR_OFFSET: 14,
} as const

/** NBD_FLAG_*, sent by the server in its greeting. */
export const HandshakeFlag = {
  FIXED_NEWSTYLE: 1 << 0,
  NO_ZEROES: 1 << 1,
} as const

/** NBD_FLAG_C_*, the client's answer. */
export const ClientFlag = {
  FIXED_NEWSTYLE: 1 << 0,
  NO_ZEROES: 1 << 1,
} as const

/** NBD_OPT_* */
export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  /** Withdrawn; never used by anyone. */
  PEEK_EXPORT: 4,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const

/** NBD_REP_* */
export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_POLICY: 0x80000002,
  ERR_INVALID: 0x80000003,
  ERR_PLATFORM: 0x80000004,
  ERR_TLS_REQD: 0x80000005,
  ERR_UNKNOWN: 0x80000006,
  ERR_SHUTDOWN: 0x80000007,
  ERR_BLOCK_SIZE_REQD: 0x80000008,
  ERR_TOO_BIG: 0x80000009,
  ERR_EXT_HEADER_REQD: 0x8000000a,
} as const

/** NBD_INFO_* */
export const InfoType = {
  EXPORT: 0,
  NAME: 1,
  DESCRIPTION: 2,
  BLOCK_SIZE: 3,
} as const

/** NBD_FLAG_*: what an export can do. */
export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const

/** NBD_CMD_* */
export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
  RESIZE: 8,
} as const

/** NBD_CMD_FLAG_* */
export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const

/** NBD_REPLY_FLAG_*: flags of a reply chunk. */
export const ReplyFlag = {
  /** Last chunk of the reply. */
  DONE: 1 << 0,
} as const

/** NBD_REPLY_TYPE_*: types of reply chunks. */
export const ReplyChunkType = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const

/** Error values in replies: the only ones a server may send (spec: "Error values"). */
export const NbdError = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const

/** Metadata contexts: the specification's, QEMU's, and our own (docs/protocol.md). */
export const ContextName = {
  ALLOCATION: 'base:allocation',
  DEPTH: 'qemu:allocation-depth',
  PART: 'x-chunknbd:part',
  CHUNK: 'x-chunknbd:chunk',
} as const

/** IANA's port for NBD. */
export const PORT_DEFAULT = 10809

/** Longest string on the wire, bytes of UTF-8 (spec: "String values"). */
export const STRING_BYTES_MAX = 4096
