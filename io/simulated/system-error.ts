/** Errors as Node's `fs` throws them. */
import os from 'node:os'

export type Code = keyof typeof os.constants.errno

export function systemError(code: Code, call: string, file: string): NodeJS.ErrnoException {
  const errno = -os.constants.errno[code]
  return Object.assign(new Error(`${code}: ${call} '${file}'`), {
    code,
    errno,
    syscall: call,
    path: file,
  })
}

/** @param errno positive */
export function codeOf(errno: number): Code {
  const found = Object.entries(os.constants.errno).find(([, value]) => value === errno)
  return (found?.[0] ?? 'EIO') as Code
}
