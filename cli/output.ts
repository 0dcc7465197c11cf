/** What the commands print on stdout: JSON for programs, aligned columns for people. */
import { formatSize } from '../chunkstore/size.ts'

export function printJson(value: unknown): void {
  process.stdout.write(JSON.stringify(value, null, 2) + '\n')
}

export function printLine(line: string): void {
  process.stdout.write(line + '\n')
}

/** Columns as wide as their widest cell; the last is not padded. */
export function printColumns(rows: readonly (readonly string[])[]): void {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    }
  }
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column]))
    printLine(cells.join('  ').trimEnd())
  }
}

/** For people: 64M, or 1.5G where no suffix is exact. */
export function humanSize(bytes: number): string {
  const exact = formatSize(bytes)
  if (exact.length <= 6) return exact
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < 5) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(1)}${' KMGTP'[unit].trim()}`
}
