/** What an operation does, and the result of a piece that has to be tried again. */

export const Kind = { READ: 0, WRITE: 1, TRIM: 2, ZERO: 3, STATUS: 4, FLUSH: 5 } as const
export type Kind = (typeof Kind)[keyof typeof Kind]

/** Beside DONE, PENDING and errnos: a chunk changed its state, look again. */
export const RETRY = -2
