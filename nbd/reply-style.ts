/** How messages look in the transmission phase. The client chooses by an option, or does not. */
export const ReplyStyle = {
  /** A reply is a header, and the data of a READ. */
  SIMPLE: 0,
  /** A reply is one or more chunks (STRUCTURED_REPLY), or a header where there is no data. */
  STRUCTURED: 1,
  /** As STRUCTURED with 64-bit fields (EXTENDED_HEADERS), in requests as well; chunks only. */
  EXTENDED: 2,
} as const
export type ReplyStyle = (typeof ReplyStyle)[keyof typeof ReplyStyle]
