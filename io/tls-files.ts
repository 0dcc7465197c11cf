/**
 * Keys and certificates in files, by the names and formats of nbdkit, QEMU and libnbd: a directory
 * of PEM files, or a file of pre-shared keys as psktool(1) writes it. What is wrong with a file is
 * said by its name, and nothing of what is in it.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { splitPem, type TlsCertificates, type TlsKeys } from './tls-context.ts'

const FILE_BYTES_MAX = 1 << 20

/** Shorter ones can be guessed by who has recorded a handshake (RFC 9257). */
const KEY_BYTES_MIN = 16
const KEY_BYTES_MAX = 256
const KEY_NAME_BYTES_MAX = 128

export class TlsFileError extends Error {
  readonly code = 'TLS_FILE'
}

export interface Loaded<T> {
  readonly credentials: T
  /** What should be changed, but need not. */
  readonly warnings: readonly string[]
}

/** What a server needs: `server-cert.pem`, `server-key.pem`, `ca-cert.pem`, `ca-crl.pem`. */
export async function loadServerCertificates(
  directory: string,
  verifyPeer: boolean,
): Promise<Loaded<TlsCertificates>> {
  const { certificate, key, authority, warnings } = await loadSide(directory, 'server')
  if (certificate === null || key === null) {
    throw new TlsFileError(`${join(directory, 'server-cert.pem')} is missing: TLS needs it`)
  }
  if (verifyPeer && authority === null) {
    const needed = 'is missing: clients are verified with it'
    throw new TlsFileError(`${join(directory, 'ca-cert.pem')} ${needed}`)
  }
  const revoked = verifyPeer ? await readOptional(join(directory, 'ca-crl.pem')) : null
  if (revoked !== null) checkRevoked(revoked.text, revoked.path)
  const crl = revoked?.text ?? null
  const credentials = { certificate, key, authority, revoked: crl, verifyPeer }
  return { credentials: { kind: 'certificates', ...credentials }, warnings }
}

export interface ClientCertificates {
  /** PEM: who must have signed the server's certificate. Null: whoever the system trusts. */
  readonly authority: string | null
  /** PEM, with its key, or both null: the client shows none. */
  readonly certificate: string | null
  readonly key: string | null
}

/** What a client may have: `ca-cert.pem`, `client-cert.pem`, `client-key.pem`. */
export async function loadClientCertificates(directory: string): Promise<ClientCertificates> {
  const loaded = await loadSide(directory, 'client')
  if (loaded.authority !== null || loaded.certificate !== null) return loaded
  const missing = 'neither ca-cert.pem nor client-cert.pem is there'
  throw new TlsFileError(`${directory}: ${missing}`)
}

/** A file with a line `NAME:KEY` for each user, the key in hexadecimal. */
export async function loadKeys(file: string): Promise<Loaded<TlsKeys>> {
  const { text, warnings } = await readSecret(file)
  const keys = new Map<string, Uint8Array>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '') continue
    const [name, key] = parseKey(line, `${file}, line ${index + 1}`)
    if (keys.has(name)) throw new TlsFileError(`${file}: "${name}" is there twice`)
    keys.set(name, key)
  }
  if (keys.size === 0) throw new TlsFileError(`${file}: no key; make one with psktool(1)`)
  return { credentials: { kind: 'keys', keys }, warnings }
}

/** @param place for messages; the line itself is secret */
function parseKey(line: string, place: string): [string, Uint8Array] {
  const match = /^([^:#][^:]*):((?:[0-9a-f]{2})+)$/i.exec(line)
  if (match === null) throw new TlsFileError(`${place}: write NAME:KEY, the key in hexadecimal`)
  const [, name, digits] = match
  if (Buffer.byteLength(name) > KEY_NAME_BYTES_MAX) {
    throw new TlsFileError(`${place}: a name of more than ${KEY_NAME_BYTES_MAX} bytes`)
  }
  const key = Buffer.from(digits, 'hex')
  if (key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX) return [name, key]
  const sizes = `it must have ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX}`
  throw new TlsFileError(`${place}: a key of ${key.length} bytes; ${sizes}`)
}

async function loadSide(directory: string, side: 'server' | 'client') {
  const [certificatePath, keyPath] = ['cert', 'key'].map((each) =>
    join(directory, `${side}-${each}.pem`),
  )
  const authority = await readOptional(join(directory, 'ca-cert.pem'))
  if (authority !== null) parseCertificate(authority.text, authority.path)
  const found = await readOptional(certificatePath)
  const trusted = authority?.text ?? null
  if (found === null) return { authority: trusted, certificate: null, key: null, warnings: [] }
  const certificate = parseCertificate(found.text, certificatePath)
  const { text: key, warnings } = await readSecret(keyPath)
  if (!certificate.checkPrivateKey(parseKeyFile(key, keyPath))) {
    throw new TlsFileError(`${keyPath} does not belong to ${certificatePath}`)
  }
  checkUse(directory, { cert: found.text, key, ca: trusted ?? [] })
  const validity = validityWarning(certificate, certificatePath)
  return {
    authority: trusted,
    certificate: found.text,
    key,
    warnings: validity === null ? warnings : [...warnings, validity],
  }
}

function parseCertificate(text: string, path: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch (error) {
    throw new TlsFileError(`${path} is no certificate in PEM format`, { cause: error })
  }
}

/** Both ways to write one: PKCS #8, and OpenSSL's old way. */
const ENCRYPTED_KEY = /^(?:-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED)/m

function parseKeyFile(text: string, path: string): KeyObject {
  try {
    return createPrivateKey(text)
  } catch {
    const problem = ENCRYPTED_KEY.test(text)
      ? 'is encrypted; write one without a passphrase with "openssl pkey"'
      : 'is no private key in PEM format'
    // Without the cause: it might show what is in the file.
    throw new TlsFileError(`${path} ${problem}`)
  }
}

function checkRevoked(text: string, path: string): void {
  try {
    createSecureContext({ crl: splitPem(text) })
  } catch (error) {
    throw new TlsFileError(`${path} is no revocation list in PEM format`, { cause: error })
  }
}

/** What else OpenSSL may have against them: a key that is too small, for instance. */
function checkUse(directory: string, options: SecureContextOptions): void {
  try {
    createSecureContext(options)
  } catch (error) {
    const { reason, message } = error as Error & { readonly reason?: string }
    const problem = `OpenSSL refuses these certificates: ${reason ?? message}`
    throw new TlsFileError(`${directory}: ${problem}`, { cause: error })
  }
}

function validityWarning({ validFrom, validTo }: X509Certificate, path: string): string | null {
  const now = Date.now()
  if (Date.parse(validTo) < now) return `${path}: not valid since ${validTo}, it will be refused`
  if (Date.parse(validFrom) > now) return `${path}: not valid before ${validFrom}`
  return null
}

interface TextFile {
  readonly path: string
  readonly text: string
}

/** @returns null: there is no such file */
async function readOptional(path: string): Promise<TextFile | null> {
  try {
    return { path, text: (await read(path)).text }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function readSecret(path: string): Promise<TextFile & { readonly warnings: string[] }> {
  const { text, mode } = await read(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new TlsFileError(`${path} is missing: TLS needs it`)
  })
  const others = mode & 0o077
  if (others === 0) return { path, text, warnings: [] }
  const warning = `${path} can be used by others than its owner: chmod 600 ${path}`
  return { path, text, warnings: [warning] }
}

async function read(path: string): Promise<{ readonly text: string; readonly mode: number }> {
  const file = await open(path)
  try {
    const status = await file.stat()
    const { size, mode } = status
    if (status.isDirectory()) throw new TlsFileError(`${path} is a directory, not a file`)
    if (size > FILE_BYTES_MAX) throw new TlsFileError(`${path} is too large: ${size} bytes`)
    return { text: await file.readFile('utf8'), mode }
  } finally {
    await file.close()
  }
}
