/**
 * Whether the temporary directory takes O_DIRECT, and whether a process uses it.
 *
 *   if (!requireDirect(t)) return
 *
 * Where it does not the test is skipped, loudly; where CI is set it fails.
 */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { createNodeIo } from '../../io/node.ts'
import { createUringIo } from '../../io/uring.ts'
import type { Files } from '../../io/io.ts'
import { isContinuousIntegration } from './tools.ts'

/** Why tests of O_DIRECT cannot run here, or ''. */
export const directRefusal = (await createNodeIo().files.abilities(tmpdir())).directRefusal

/** @returns false: the test must return at once, the rest is done */
export function requireDirect(t: ExecutionContext): boolean {
  if (directRefusal === '') return true
  const reason = `no O_DIRECT in ${tmpdir()}: ${directRefusal}; set TMPDIR to a disk`
  if (isContinuousIntegration()) {
    t.fail(reason)
  } else {
    t.log(`SKIPPED: ${reason}`)
    t.pass()
  }
  return false
}

/** The engines of this machine by name; another test says why io_uring is missing. */
export function filesOfEngines(): readonly (readonly [name: string, files: Files])[] {
  const node: readonly [string, Files] = ['node', createNodeIo().files]
  const uring = createUringIo()
  return typeof uring === 'string' ? [node] : [node, ['uring', uring.files]]
}

/**
 * The files a process has open whose path begins with `directory`, by their path from there.
 * @returns for each one whether all its descriptors have O_DIRECT
 */
export function openedDirect(pid: number | 'self', directory: string): Record<string, boolean> {
  const found: Record<string, boolean> = {}
  for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
    try {
      const target = fs.readlinkSync(`/proc/${pid}/fd/${fd}`)
      if (!target.startsWith(join(directory, '/')) || !fs.statSync(target).isFile()) continue
      const name = target.slice(directory.length + 1)
      const info = fs.readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')
      const flags = parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '', 8)
      found[name] = (found[name] ?? true) && (flags & fs.constants.O_DIRECT) !== 0
    } catch (error) {
      // Closed since the directory was read.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return found
}
