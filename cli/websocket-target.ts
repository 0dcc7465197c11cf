/** How a WebSocket server is reached from the command line: what is shown to it, from files. */
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import type { WebSocketTarget } from '../io/ws-dialer.ts'
import { WS_FILE_BYTES_MAX } from '../io/ws-limits.ts'
import type { Logger } from './logger.ts'

export interface TargetOptions {
  /** File of HTTP headers. */
  readonly headers?: string | undefined
  /** Directory of PEM files. */
  readonly certificates?: string | undefined
  /** Do not verify who the server is. */
  readonly insecure?: boolean | undefined
}

/**
 * @param log warned of files that others may read, if it is given
 * @throws Error naming the file that is of no use
 */
export async function targetOf(
  url: string,
  { headers, certificates, insecure = false }: TargetOptions,
  log: Logger | null,
): Promise<WebSocketTarget> {
  const lines = headers === undefined ? '' : await readSecret(headers, log)
  return {
    url,
    headers: parseHeaders(lines, headers ?? ''),
    verify: !insecure,
    ...(await certificatesIn(certificates ?? null)),
  }
}

/** `ca-cert.pem`, and `client-cert.pem` with `client-key.pem`, each if it is there. */
async function certificatesIn(
  directory: string | null,
): Promise<Pick<WebSocketTarget, 'authority' | 'certificate'>> {
  if (directory === null) return { authority: null, certificate: null }
  const read = async (name: string): Promise<string | null> => {
    const file = path.join(directory, name)
    return existsSync(file) ? readFile(file, 'utf8') : null
  }
  const authority = await read('ca-cert.pem')
  const certificate = await read('client-cert.pem')
  const key = await read('client-key.pem')
  if (authority === null && certificate === null) {
    throw fileError(`${directory}: neither ca-cert.pem nor client-cert.pem is there`)
  }
  if ((certificate === null) !== (key === null)) {
    throw fileError(`${directory}: client-cert.pem and client-key.pem go together`)
  }
  const own = certificate === null || key === null ? null : { certificate, key }
  return { authority, certificate: own }
}

/** @returns by name, in the order of the lines */
export function parseHeaders(text: string, file: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const match = /^([\w!#$%&'*+.^`|~-]+): *([\x20-\x7e]+)$/.exec(trimmed)
    if (match === null) throw fileError(`${file}, line ${index + 1}: write NAME: VALUE`)
    headers.set(match[1], match[2])
  }
  return headers
}

/** A file that only its owner should be able to read. @throws Error that names it */
export async function readSecret(file: string, log: Logger | null): Promise<string> {
  const status = await stat(file)
  const { size, mode } = status
  if (status.isDirectory()) throw fileError(`${file} is a directory, not a file`)
  if (size > WS_FILE_BYTES_MAX) throw fileError(`${file}: more than ${WS_FILE_BYTES_MAX} bytes`)
  if ((mode & 0o077) !== 0) log?.warn({ file }, 'others may read this file: chmod 600')
  return readFile(file, 'utf8')
}

function fileError(message: string): Error {
  return Object.assign(new Error(message), { code: 'WS_FILE' })
}
