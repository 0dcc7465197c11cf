/**
 * A certificate authority for tests, made by openssl(1): certificates that are right, and those
 * that are wrong in one way each.
 *
 *   const authority = new Authority(tempDirectory(t))
 *   const server = authority.folder('server', { names: 'DNS:localhost' })  // --tls-certificates
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Side = 'server' | 'client'

export interface Wishes {
  /** Common name. */
  readonly name?: string
  /** Alternative names as openssl writes them: `DNS:localhost,IP:127.0.0.1`. */
  readonly names?: string
  /** It was valid for a day in 2020. */
  readonly expired?: boolean
  /** For what it may be used; default: what the side needs. */
  readonly usage?: 'serverAuth' | 'clientAuth'
}

const CONFIGURATION = `
[ca]
default_ca = test
[test]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca-cert.pem
private_key = ca-key.pem
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
policy = policy
[policy]
organizationName = optional
commonName = optional
`

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

export class Authority {
  readonly directory: string
  #count = 0

  /** @param directory is there; the authority's files go to a directory of its own in it */
  constructor(directory: string, name = 'authority') {
    this.directory = join(directory, name)
    mkdirSync(this.directory)
    writeFileSync(join(this.directory, 'ca.conf'), CONFIGURATION)
    writeFileSync(join(this.directory, 'index.txt'), '')
    writeFileSync(join(this.directory, 'serial'), '1000\n')
    const usage = ['keyUsage=critical,keyCertSign,cRLSign', 'basicConstraints=critical,CA:true']
    const extensions = usage.flatMap((each) => ['-addext', each])
    const files = ['-keyout', 'ca-key.pem', '-out', 'ca-cert.pem']
    this.#openssl('req', '-x509', ...KEY, ...files, '-subj', `/O=Test/CN=${name}`, ...extensions)
  }

  /**
   * A directory as `--tls-certificates` wants it: ca-cert.pem, and `SIDE-cert.pem` with its key.
   * @returns its path
   */
  folder(side: Side, wishes: Wishes = {}): string {
    const folder = join(this.directory, `${side}${++this.#count}`)
    mkdirSync(folder)
    this.issue(folder, side, wishes)
    copyFileSync(join(this.directory, 'ca-cert.pem'), join(folder, 'ca-cert.pem'))
    return folder
  }

  /** Writes `SIDE-cert.pem` and `SIDE-key.pem`, also over older ones. */
  issue(folder: string, side: Side, wishes: Wishes = {}): void {
    const { name = side, names, expired = false, usage = `${side}Auth` } = wishes
    const [certificate, key] = ['cert', 'key'].map((each) => join(folder, `${side}-${each}.pem`))
    const extensions = [`extendedKeyUsage=${usage}`]
    if (names !== undefined) extensions.push(`subjectAltName=${names}`)
    writeFileSync(join(this.directory, 'extensions'), extensions.join('\n'))
    const subject = ['-subj', `/O=Test/CN=${name}`]
    this.#openssl('req', '-new', ...KEY, ...subject, '-keyout', key, '-out', 'request.pem')
    const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z']
    const request = ['-in', 'request.pem', '-out', certificate, '-extfile', 'extensions']
    this.#sign('-batch', '-notext', ...request, ...(expired ? dates : []))
  }

  /** Writes the list of revoked certificates, with those of `folders` in it, into `to`. */
  revoke(to: string, ...folders: readonly string[]): void {
    for (const folder of folders) this.#sign('-revoke', join(folder, 'client-cert.pem'))
    this.#sign('-gencrl', '-out', join(to, 'ca-crl.pem'))
  }

  #sign(...args: readonly string[]): void {
    this.#openssl('ca', '-config', 'ca.conf', ...args)
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
