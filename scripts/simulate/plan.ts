/**
 * What happens to the simulated server, decided before it happens: an action each step, from its
 * own seed, so that leaving some out does not change the others.
 */
import { CallKind, type Fault } from '../../io/simulated/faults.ts'
import { Random } from '../../test/helpers/random.ts'
import type { MergeRun } from './merger.ts'
import type { Setting } from './setting.ts'

export type Verb = 'read' | 'write' | 'trim' | 'zero' | 'status'

export type Action =
  | {
      readonly kind: 'request'
      /** Connections are numbered; one that is gone is made anew. */
      readonly client: number
      readonly verb: Verb
      readonly offset: number
      readonly length: number
      /** NBD command flags. */
      readonly flags: number
    }
  | { readonly kind: 'flush'; readonly client: number }
  | { readonly kind: 'leave'; readonly client: number; readonly how: 'say' | 'end' | 'break' }
  | { readonly kind: 'fault'; readonly fault: Fault }
  /** Everything is answered before the next step. */
  | { readonly kind: 'calm' }
  /** Time passes, and idle files are closed. */
  | { readonly kind: 'idle' }
  /** Another process tries to open the disk. */
  | { readonly kind: 'intrude' }
  | { readonly kind: 'stop' }
  /** After a stop: the disk is merged with its parents, then the process ends or the power. */
  | { readonly kind: 'merge'; readonly run: MergeRun; readonly losesPower: boolean }
  | { readonly kind: 'kill' }
  | { readonly kind: 'powerLoss' }

export const CLIENTS = 3

/** About what a merge of a disk takes. */
const MERGE_TURNS_MAX = 250

const FUA = 1
const NO_HOLE = 2
const FAST_ZERO = 16
const PAGE = 4096
const { EIO, ENOSPC, EMFILE, EINTR } = { EIO: 5, ENOSPC: 28, EMFILE: 24, EINTR: 4 }

/** How often each kind of action comes, out of the sum. */
const WEIGHTS: readonly (readonly [Action['kind'], number])[] = [
  ['request', 100],
  ['flush', 12],
  ['leave', 4],
  ['fault', 60],
  ['calm', 10],
  ['idle', 8],
  ['intrude', 1],
  ['stop', 2],
  ['kill', 3],
  ['powerLoss', 6],
  ['merge', 4],
]

/** A number for a seed of its own. */
export function mix(seed: number, index: number, salt = 0): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35)
  hash = Math.imul(hash ^ (hash >>> 15) ^ Math.imul(salt, 0x27d4eb2f), 0x2c1b3c6d)
  return (hash ^ (hash >>> 12)) | 0
}

export function planOf(seed: number, steps: number, setting: Setting): Action[] {
  return Array.from({ length: steps }, (_, index) =>
    actionOf(new Random(mix(seed, index, 1)), setting),
  )
}

function actionOf(random: Random, setting: Setting): Action {
  const weights = WEIGHTS.filter(([kind]) => {
    if (kind === 'fault') return setting.hasFaults
    return kind !== 'merge' || setting.layers.length > 1
  })
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0)
  let dice = random.between(0, total - 1)
  const kind = weights.find(([, weight]) => (dice -= weight) < 0)?.[0] ?? 'request'
  const client = random.between(0, CLIENTS - 1)
  switch (kind) {
    case 'request':
      return requestOf(random, client, setting)
    case 'flush':
      return { kind, client }
    case 'leave':
      return { kind, client, how: random.pick(['say', 'end', 'break'] as const) }
    case 'fault':
      return { kind, fault: faultOf(random) }
    case 'merge':
      return { kind, run: mergeOf(random, setting), losesPower: random.chance(0.6) }
    default:
      return { kind }
  }
}

/** `flatten` is rarer, for it leaves nothing to merge. */
function mergeOf(random: Random, { hasFaults }: Setting): MergeRun {
  return {
    merge: random.chance(0.75) ? 'commit' : 'flatten',
    turns: random.chance(0.4) ? Infinity : random.between(1, MERGE_TURNS_MAX),
    fault: hasFaults && random.chance(0.5) ? faultOf(random) : null,
  }
}

function requestOf(random: Random, client: number, setting: Setting): Action {
  const verb = random.pick<Verb>([
    'write',
    'write',
    'write',
    'trim',
    'zero',
    'read',
    'read',
    'status',
  ])
  const [offset, length] = rangeOf(random, verb, setting)
  let flags = random.chance(0.12) ? FUA : 0
  if (verb === 'zero' && random.chance(0.3)) flags |= NO_HOLE
  // Only where it is offered.
  if (verb === 'zero' && random.chance(0.2) && setting.traits.holes) flags |= FAST_ZERO
  if (verb === 'read' || verb === 'status') flags = 0
  return { kind: 'request', client, verb, offset, length, flags }
}

/** Whole chunks, whole pages, or any bytes; most of it in few places, so that much collides. */
function rangeOf(random: Random, verb: Verb, { chunkSize, diskSize }: Setting): [number, number] {
  const wide = verb === 'trim' || verb === 'zero' ? 0.35 : 0.1
  if (random.chance(wide)) {
    const first = random.between(0, Math.ceil(diskSize / chunkSize) - 1) * chunkSize
    const length = random.between(1, 2) * chunkSize
    return [first, Math.min(length, diskSize - first)]
  }
  const isCrowded = random.chance(0.5)
  const place = random.between(0, (isCrowded ? Math.min(2 * chunkSize, diskSize) : diskSize) - 1)
  if (random.chance(0.6)) {
    const offset = place - (place % PAGE)
    const pages = random.logarithmic(1, 6)
    return [offset, Math.min(pages * PAGE, diskSize - offset)]
  }
  return [place, Math.min(random.logarithmic(1, 3 * PAGE), diskSize - place)]
}

export function faultOf(random: Random): Fault {
  const after = random.logarithmic(1, 20) - 1
  const count = random.chance(0.7) ? 1 : random.between(2, 6)
  const reach = random.pick([0, 0, 0.3, 0.7, 1])
  const [kinds, errnos] = random.pick<readonly [readonly CallKind[], readonly number[]]>([
    [[CallKind.READ], [EIO, EINTR]],
    [[CallKind.WRITE], [EIO, ENOSPC, EINTR]],
    [[CallKind.SYNC], [EIO, ENOSPC]],
    [[CallKind.SYNC_DIRECTORY], [EIO]],
    [[CallKind.FALLOCATE], [EIO, ENOSPC, EINTR]],
    [[CallKind.TRUNCATE], [EIO, ENOSPC, EINTR]],
    [[CallKind.OPEN], [EMFILE, EIO, EINTR]],
    [
      [CallKind.RENAME, CallKind.REMOVE],
      [EIO, ENOSPC],
    ],
    [[CallKind.REMOVE], [EIO]],
    [
      [CallKind.STATUS, CallKind.CLOSE, CallKind.LIST],
      [EIO, EINTR],
    ],
    // A disk that is full, or that is gone.
    [[CallKind.WRITE, CallKind.TRUNCATE, CallKind.FALLOCATE, CallKind.OPEN], [ENOSPC]],
    [[CallKind.READ, CallKind.WRITE, CallKind.SYNC, CallKind.STATUS], [EIO]],
  ])
  return { kinds, errno: random.pick(errnos), after, count, reach }
}

export function describeAction(action: Action): string {
  switch (action.kind) {
    case 'request': {
      const { client, verb, offset, length, flags } = action
      const names = [
        [FUA, 'FUA'],
        [NO_HOLE, 'NO_HOLE'],
        [FAST_ZERO, 'FAST_ZERO'],
      ] as const
      const set = names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => ` ${name}`)
      return `client ${client} sends ${verb} ${offset}+${length}${set.join('')}`
    }
    case 'flush':
      return `client ${action.client} sends flush`
    case 'leave':
      return `client ${action.client} leaves (${action.how})`
    case 'fault': {
      const { kinds, errno, after, count, reach } = action.fault
      const what = `${count} calls of ${kinds.join(', ')} will fail with errno ${errno}`
      return `${what}, after ${after} others, reach ${reach}`
    }
    case 'merge': {
      const { merge, turns, fault } = action.run
      const until = turns === Infinity ? 'to its end' : `for ${turns} events`
      const failing = fault === null ? '' : ', with a fault'
      return `${merge} ${until}${failing}, then ${action.losesPower ? 'powerLoss' : 'kill'}`
    }
    default:
      return action.kind
  }
}
