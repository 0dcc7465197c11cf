/** One disk offered to clients, and the table of them. Knows nothing of connections. */
import type { Device } from '../device/device.ts'

export interface Export {
  /** UTF-8, at most 4096 bytes, no NUL (spec: "Values", string sizes). */
  readonly name: string
  /** Free text for people, sent as NBD_INFO_DESCRIPTION and in NBD_OPT_LIST. */
  readonly description: string
  readonly device: Device
}

export interface ExportTable {
  /** @param name the client's name; '' is the default export. @returns null: no such export */
  find(name: string): Export | null
  /** All exports in the order they are listed. */
  list(): readonly Export[]
}
