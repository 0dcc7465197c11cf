/**
 * chunknbd as a library: compose a stack and serve it, or use a part of it alone.
 * See docs/embedding.md for examples.
 */
export { CachedDevice } from './cache/cached-device.ts'
export { checkDisk, type Finding, Rule } from './chunkstore/check.ts'
export { commitDisk, type CommitOptions, type CommitResult } from './chunkstore/commit.ts'
export { createDisk, type CreateOptions } from './chunkstore/create.ts'
export { ChunkDisk } from './chunkstore/disk.ts'
export { DiskError } from './chunkstore/disk-error.ts'
export { flattenDisk, type FlattenResult } from './chunkstore/flatten.ts'
export { mapDisk, type MapExtent, MapKind } from './chunkstore/map.ts'
export { CacheMode, ChecksumKind, type DiskOptions, TrimMode } from './chunkstore/options.ts'
export { type Mend, MendOutcome, repairDisk, type RepairReport } from './chunkstore/repair.ts'
export type { RepairOptions } from './chunkstore/repair-plan.ts'
export type { ResizeOptions, ResizeResult } from './chunkstore/resize.ts'
export type { PartRequest } from './chunkstore/resize-parts.ts'
export { type PathEntry, PathMap } from './chunkstore/path-map.ts'
export {
  scrubDisk,
  type ScrubFinding,
  type ScrubOptions,
  type ScrubReport,
} from './chunkstore/scrub.ts'
export { surveyDisk, type Survey } from './chunkstore/survey.ts'
export {
  type Device,
  DONE,
  type Features,
  PENDING,
  type Request,
  RequestFlag,
  type Status,
} from './device/device.ts'
export { ExtentFlag, ExtentKind, ExtentList } from './device/extents.ts'
export { MemoryDevice } from './device/memory.ts'
export { ReadOnlyDevice } from './device/read-only-device.ts'
export type { Files, Io, ListenAddress } from './io/io.ts'
export { alignedMemory } from './io/memory.ts'
export { createIo, Engine } from './io/engine.ts'
export { createNodeIo } from './io/node.ts'
export { TlsContext, type TlsCredentials } from './io/tls-context.ts'
export { loadKeys, loadServerCertificates } from './io/tls-files.ts'
export type { AccessPolicy } from './nbd/access.ts'
export { type WebSocketSettings, withWebSockets } from './io/ws-io.ts'
export { WebSocketTokens } from './io/ws-tokens.ts'
export { NbdClient } from './nbd/client.ts'
export type { Export, ExportTable } from './nbd/export.ts'
export type { Peer, PeerTls } from './nbd/peer.ts'
export { Server } from './nbd/server.ts'
export type { ServerLimits } from './nbd/server-limits.ts'
export { formatUri, type NbdUri, parseUri } from './nbd/uri.ts'
