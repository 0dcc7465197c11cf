/** Which of the files that hold a part's checksums break a rule. Of the data `scrub` knows. */
import type { Files } from '../../io/io.ts'
import type { Descriptor } from '../descriptor.ts'
import { DiskError } from '../disk-error.ts'
import { ChecksumKind } from '../options.ts'
import { checksumName, MARKS_NAME, type Part, type PartContents } from '../part.ts'
import { MarkFile } from './mark-file.ts'

interface FileProblem {
  /** In the part. */
  readonly name: string
  readonly message: string
}

export async function checksumProblems(
  files: Files,
  part: Part,
  { checksums, geometry }: Descriptor,
  { hasMarks, checksumFiles }: PartContents,
): Promise<FileProblem[]> {
  if (checksums === ChecksumKind.NONE) {
    const name = hasMarks ? MARKS_NAME : checksumName(checksumFiles[0])
    const message = 'the descriptor has no line "checksums crc32c": put it back, or remove these'
    return hasMarks || checksumFiles.length > 0 ? [{ name, message }] : []
  }
  const message = await marksProblem(files, part, geometry.chunkSize, hasMarks)
  return message === null ? [] : [{ name: MARKS_NAME, message }]
}

/** @returns names of checksum files of chunks beyond the end of the disk */
export function orphanSums(
  { checksums, geometry }: Descriptor,
  { checksumFiles }: PartContents,
): string[] {
  // Where there should be none at all they are another problem.
  if (checksums === ChecksumKind.NONE) return []
  return checksumFiles.filter((index) => index >= geometry.chunkCount).map(checksumName)
}

async function marksProblem(
  files: Files,
  { directory }: Part,
  chunkSize: number,
  isThere: boolean,
): Promise<string | null> {
  if (!isThere) return 'it is missing'
  try {
    const file = await MarkFile.open(files, directory, chunkSize, false)
    const { damaged } = file
    await file.close()
    if (damaged.length === 0) return null
    return `${damaged.length} sectors are damaged: who has a mark there is not known`
  } catch (error) {
    if (error instanceof DiskError) return error.message
    throw error
  }
}
