/**
 * The metadata contexts we have, and the two options that list and select them (spec: "Metadata
 * querying"). A query is the name of a context, or (only to list) a namespace and its colon;
 * anything else finds nothing, which is no error.
 */
import { ExtentKind } from '../device/extents.ts'
import type { Export } from './export.ts'
import type { Negotiation } from './negotiation.ts'
import { OptionError } from './option-reader.ts'
import type { OptionReader } from './option-reader.ts'
import { ContextName, Option, OptionReply } from './protocol.ts'
import { ReplyStyle } from './reply-style.ts'

export interface MetaContext {
  /** Chosen by us; not 0, which stands for "no id" in LIST_META_CONTEXT. */
  readonly id: number
  readonly name: string
  /** What its status is made of, bits of `ExtentKind`; a device must tell all of it. */
  readonly kinds: number
  /** The status has 64 bits: only for clients with extended headers. */
  readonly isWide: boolean
}

const { ALLOCATION, DEPTH, PART, CHUNK } = ExtentKind

const CONTEXTS: readonly MetaContext[] = [
  { id: 1, name: ContextName.ALLOCATION, kinds: ALLOCATION, isWide: false },
  { id: 2, name: ContextName.DEPTH, kinds: DEPTH, isWide: false },
  { id: 3, name: ContextName.PART, kinds: DEPTH | PART, isWide: false },
  { id: 4, name: ContextName.CHUNK, kinds: DEPTH | PART | CHUNK, isWide: true },
]

export function listMetaContext(negotiation: Negotiation, data: OptionReader): void {
  const { exportName, queries } = readQueries(data)
  const entry = negotiation.find(exportName)
  for (const { name } of contextsFor(entry, negotiation)) {
    const namespace = name.slice(0, name.indexOf(':') + 1)
    const wanted = queries.size === 0 || queries.has(name) || queries.has(namespace)
    if (wanted) negotiation.replies.metaContext(Option.LIST_META_CONTEXT, 0, name)
  }
  negotiation.replies.ack(Option.LIST_META_CONTEXT)
}

/** The old selection is gone already: the handshake drops it when the option begins. */
export function setMetaContext(negotiation: Negotiation, data: OptionReader): void {
  if (negotiation.replyStyle === ReplyStyle.SIMPLE)
    throw new OptionError(
      OptionReply.ERR_INVALID,
      'structured replies must be negotiated before metadata contexts',
    )
  const { exportName, queries } = readQueries(data)
  const entry = negotiation.find(exportName)
  const contexts = contextsFor(entry, negotiation).filter(({ name }) => queries.has(name))
  for (const { id, name } of contexts)
    negotiation.replies.metaContext(Option.SET_META_CONTEXT, id, name)
  negotiation.replies.ack(Option.SET_META_CONTEXT)
  negotiation.select(exportName, contexts)
}

/** Those which the client can select for this export. */
function contextsFor({ device }: Export, { replyStyle }: Negotiation): MetaContext[] {
  const told = ALLOCATION | (device.features.extentKinds ?? 0)
  return CONTEXTS.filter(({ kinds, isWide }) => {
    return (kinds & ~told) === 0 && (!isWide || replyStyle === ReplyStyle.EXTENDED)
  })
}

/** @param selected a bit for each of the contexts. @returns all that they are made of */
export function kindsOf(contexts: readonly MetaContext[], selected: number): number {
  let kinds = 0
  for (let index = 0; index < contexts.length; index++)
    if ((selected & (1 << index)) !== 0) kinds |= contexts[index].kinds
  return kinds
}

interface Queries {
  readonly exportName: string
  readonly queries: ReadonlySet<string>
}

/**
 * 32 bits  length of the export's name
 *          name
 * 32 bits  number of queries, each being
 *   32 bits  length of the query
 *            query
 */
function readQueries(data: OptionReader): Queries {
  const exportName = data.string(data.u32('length of the export name'), 'export name')
  const queries = new Set<string>()
  for (let left = data.u32('number of queries'); left > 0; left--)
    queries.add(data.string(data.u32('length of a query'), 'query'))
  data.end()
  return { exportName, queries }
}
