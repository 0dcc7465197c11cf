/** What has to be done so that the exports of a running server are those of a new configuration. */
import type { ExportSettings } from './settings.ts'

export interface Changes {
  /** As they are to be; their disks stay open. */
  readonly kept: readonly ExportSettings[]
  /** Names of those kept whose rules of access are others now. */
  readonly access: readonly string[]
  /** New ones that can be opened before anything else is touched. */
  readonly early: readonly ExportSettings[]
  /** New ones whose disk an export has that goes. */
  readonly late: readonly ExportSettings[]
  /** Another file, or another way to open it. */
  readonly reopened: readonly { readonly before: ExportSettings; readonly after: ExportSettings }[]
  readonly removed: readonly ExportSettings[]
}

export function changesTo(
  before: readonly ExportSettings[],
  after: readonly ExportSettings[],
): Changes {
  const old = new Map(before.map((each) => [each.name, each]))
  const names = new Set(after.map((each) => each.name))
  const removed = before.filter((each) => !names.has(each.name))
  const kept: ExportSettings[] = []
  const access: string[] = []
  const added: ExportSettings[] = []
  const reopened: { before: ExportSettings; after: ExportSettings }[] = []
  for (const each of after) {
    const same = old.get(each.name)
    if (same === undefined) added.push(each)
    else if (diskOf(same) !== diskOf(each)) reopened.push({ before: same, after: each })
    else {
      kept.push(each)
      if (JSON.stringify(same.access) !== JSON.stringify(each.access)) access.push(each.name)
    }
  }
  const freed = new Set([...removed, ...reopened.map((each) => each.before)].map(fileOf))
  const isLate = (each: ExportSettings): boolean => fileOf(each) !== '' && freed.has(fileOf(each))
  const late = added.filter(isLate)
  return { kept, access, early: added.filter((each) => !isLate(each)), late, reopened, removed }
}

/** Equal for two that can share the open disk. */
function diskOf({ readOnly, disk }: ExportSettings): string {
  return JSON.stringify([readOnly, disk])
}

/** '' for a disk in memory. */
function fileOf({ disk }: ExportSettings): string {
  return typeof disk === 'number' ? '' : disk.file
}
