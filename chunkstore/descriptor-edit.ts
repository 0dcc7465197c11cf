/** Changes numbers in the text of a descriptor; everything else in it stays as it was written. */
import { findParent, isFeature, significantLines } from './descriptor.ts'

export interface DescriptorEdit {
  /** Bytes. */
  readonly diskSize: number
  /** Most chunk files of each part there is, in order. */
  readonly chunksMax: readonly number[]
  /** Parts that are added behind these. */
  readonly added: readonly { readonly chunksMax: number; readonly written: string }[]
}

/** @param text of a descriptor without mistakes */
export function editDescriptor(text: string, edit: DescriptorEdit): string {
  const lines = text.split(/(?<=\n)/)
  const ending = lines[0].endsWith('\r\n') ? '\r\n' : '\n'
  const significant = significantLines(text)
  const size = significant[findParent(significant) === null ? 0 : 1]
  const change = (number: number, pattern: RegExp, value: number): void => {
    lines[number - 1] = lines[number - 1].replace(pattern, (_, before: string) => before + value)
  }
  // A byte order mark may stand before the first line.
  change(size.number, /^(\uFEFF?)[^\r\n]*/, edit.diskSize)
  const rest = significant.slice(significant.indexOf(size) + 2)
  const parts = rest.filter((line) => !isFeature(line))
  for (const [index, { number }] of parts.entries()) {
    change(number, /^(\uFEFF?)\d+/, edit.chunksMax[index])
  }
  const last = lines[lines.length - 1]
  const open = edit.added.length > 0 && !last.endsWith('\n') ? ending : ''
  const added = edit.added.map(({ chunksMax, written }) => `${chunksMax} ${written}${ending}`)
  return lines.join('') + open + added.join('')
}
