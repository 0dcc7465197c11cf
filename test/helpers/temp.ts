/** A directory of its own for one test, removed with everything in it when the test has ended. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** The path is short enough for a unix socket inside (108 bytes). */
export function tempDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'chunknbd-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
