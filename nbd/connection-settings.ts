/** What a server gives to each of its connections. */
import type { TlsContext } from '../io/tls-context.ts'
import type { Admission } from './admission.ts'
import type { ClientLog } from './client-log.ts'
import type { Connection } from './connection.ts'
import type { AccessPolicy } from './access.ts'
import type { ExportTable } from './export.ts'
import type { Log } from './log.ts'
import type { TlsMode } from './negotiation.ts'
import type { RefusalLog } from './refusal-log.ts'
import type { Resources } from './resources.ts'

export interface TlsSettings {
  /** `on`: clients choose, and whoever sits between them and us may choose for them. */
  readonly mode: Exclude<TlsMode, 'off'>
  readonly context: TlsContext
}

export interface ConnectionSettings {
  readonly exports: ExportTable
  readonly policy: AccessPolicy
  readonly tls: TlsSettings | null
  readonly handshakeMs: number
  readonly resources: Resources
  readonly admission: Admission
  readonly refusals: RefusalLog
  readonly clients: ClientLog
  readonly log: Log
  /** The connection is over, and everything it held is given back. */
  readonly onOver: (connection: Connection) => void
}
