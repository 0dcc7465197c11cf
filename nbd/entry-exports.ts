/**
 * The exports as one connection sees them, when its way in has settled something about them (a
 * path, a token): some may not exist for it, and another one may be the default.
 */
import type { StreamEntry } from '../io/io.ts'
import type { Export, ExportTable } from './export.ts'

export class EntryExports implements ExportTable {
  readonly #table: ExportTable
  readonly #entry: StreamEntry

  constructor(table: ExportTable, entry: StreamEntry) {
    this.#table = table
    this.#entry = entry
  }

  find(name: string): Export | null {
    const { defaultExport } = this.#entry
    if (name !== '' || defaultExport !== '')
      return this.#allowed(name === '' ? defaultExport : name)
    // Whoever has a token for other exports has one of them as the default.
    return this.#allowed('') ?? this.list()[0] ?? null
  }

  list(): readonly Export[] {
    return this.#table.list().filter((each) => this.#isAllowed(each))
  }

  #allowed(name: string): Export | null {
    const found = this.#table.find(name)
    return found !== null && this.#isAllowed(found) ? found : null
  }

  #isAllowed(entry: Export): boolean {
    return this.#entry.exports === null || this.#entry.exports.has(entry.name)
  }
}
