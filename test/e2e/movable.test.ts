/** serve --movable: chunk files that other programs move, with the commands of docs/format.md. */
import { readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { sameBytes } from '../helpers/bytes.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool } from '../helpers/tools.ts'

const CHUNK = 64 << 10
const PAGE = readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8')

/** The commands of the page, in their order. */
const COMMANDS = [...PAGE.matchAll(/```sh\n(\(flock .*?)\n```/gs)].map(([, command]) => command)

test('docs/format.md: the ways to move a chunk file while the disk is served', async (t) => {
  if (!requireTool(t, 'flock')) return
  t.is(COMMANDS.length, 2)
  const directory = tempDirectory(t)
  writeFileSync(join(directory, 'd.chunkdisk'), '1M\n64K\n8 FROM\n16 TO\n')
  for (const part of ['FROM', 'TO']) mkdirSync(join(directory, part))
  for (const index of [6, 7]) {
    writeFileSync(join(directory, 'FROM', `chunk${index}`), new Uint8Array(CHUNK).fill(index))
  }
  const server = await serve(t, ['d.chunkdisk', '--movable'], { cwd: directory })
  const client = await DiskClient.connect(server.uri)
  const move = (command: string, index: number) =>
    attempt(t, 'sh', ['-c', command.replaceAll('chunk7', `chunk${index}`)], { cwd: directory })

  const [rename, copy] = COMMANDS
  for (const [command, index] of [
    [rename, 6],
    [copy, 7],
  ] as const) {
    const moved = await move(command, index)
    t.deepEqual([moved.status, moved.stderr], [0, ''])
    const bytes = await client.read(index * CHUNK, CHUNK)
    sameBytes(t, bytes, new Uint8Array(CHUNK).fill(index))
    t.is((await move(command.replace(/FROM|TO/g, swap), index)).status, 1, 'it is in use')
    // What is gone is not made again by the command that would move it.
    t.not((await move(command, index)).status, 0)
  }
  t.deepEqual(readdirSync(join(directory, 'FROM')), [])
  t.deepEqual(readdirSync(join(directory, 'TO')).sort(), ['chunk6', 'chunk7'])
  await client.write(7 * CHUNK, new Uint8Array(100).fill(1))
  await client.disconnect()
  t.is(await server.stop(), 0)
  t.is(readFileSync(join(directory, 'TO/chunk7'))[0], 1)
  t.regex(server.log(), /a chunk file was moved/)
})

function swap(name: string): string {
  return name === 'FROM' ? 'TO' : 'FROM'
}
