/**
 * Directories as chunkdisk 1.6 leaves them on Windows, by its rules: descriptors with CRLF and
 * absolute paths of Windows, names in any case, full and empty chunk files that are not sparse, and
 * the lock files that stay in a parent.
 */
import fs from 'node:fs'
import path from 'node:path'

export const WINDOWS_CHUNK = 65_536
const CHUNKS = 6
/** The last chunk is cut short by the end of the disk. */
export const WINDOWS_SIZE = CHUNKS * WINDOWS_CHUNK - 8192

const BASE = [WINDOWS_SIZE, WINDOWS_CHUNK, '2 C:\\Disks\\Base 1\\', '9 d:\\base2']
const CHILD = ['C:\\Disks\\base.chunkdisk', WINDOWS_SIZE, WINDOWS_CHUNK, '9 C:\\DISKS\\child']

/** Makes `c/Disks` (a drive's directory) and `d` (a drive) in a folder. */
export function makeWindowsDisk(folder: string): { mapPath: string[]; image: Uint8Array } {
  const disks = path.join(folder, 'c', 'Disks')
  for (const part of ['Base 1', 'child']) fs.mkdirSync(path.join(disks, part), { recursive: true })
  fs.mkdirSync(path.join(folder, 'd', 'base2'), { recursive: true })
  fs.writeFileSync(path.join(disks, 'base.chunkdisk'), BASE.join('\r\n') + '\r\n')
  fs.writeFileSync(path.join(disks, 'child.chunkdisk'), CHILD.join('\r\n'))
  const image = new Uint8Array(WINDOWS_SIZE)
  const chunk = (part: string, name: string, value: number): void => {
    const index = Number(/\d+$/.exec(name)?.[0])
    const data = new Uint8Array(value < 0 ? 0 : WINDOWS_CHUNK).fill(value)
    fs.writeFileSync(path.join(folder, part, name), data)
    const start = index * WINDOWS_CHUNK
    image.fill(Math.max(0, value), start, start + WINDOWS_CHUNK)
  }
  chunk('c/Disks/Base 1', 'chunk0', 1)
  chunk('c/Disks/Base 1', 'CHUNK3', 2)
  chunk('d/base2', 'Chunk1', 3)
  chunk('d/base2', 'chunk5', 4)
  chunk('c/Disks/child', 'chunk1', -1)
  chunk('c/Disks/child', 'chunk2', 5)
  for (const part of ['c/Disks/Base 1', 'd/base2']) {
    fs.writeFileSync(path.join(folder, part, '.lock'), '')
    fs.writeFileSync(path.join(folder, part, 'desktop.ini'), '[.ShellClassInfo]\r\n')
  }
  const mapPath = ['--map-path', `C:\\Disks=${disks}`, '--map-path', `D:\\=${folder}/d`]
  return { mapPath, image }
}
