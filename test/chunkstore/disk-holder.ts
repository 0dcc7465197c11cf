/**
 * A program of its own that opens a disk and keeps it open until its input ends or it is killed:
 *
 *   disk-holder.ts FILE read|write     prints `open`, or the message of the error
 */
import { ChunkDisk } from '../../chunkstore/disk.ts'
import { createNodeIo } from '../../io/node.ts'

const [file, mode] = process.argv.slice(2)
try {
  const { files } = createNodeIo()
  const disk = await ChunkDisk.open(files, file, { readOnly: mode === 'read' })
  console.log('open')
  process.stdin.on('end', () => void disk.close())
  process.stdin.resume()
} catch (error) {
  console.log((error as Error).message)
}
