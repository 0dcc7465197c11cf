/** serve --trim: what clients are told and what becomes of their trims, in every mode. */
import { join } from 'node:path'
import test from 'ava'
import { chunknbd, fileSizes, makeDisk } from '../helpers/chunks.ts'
import { DiskClient } from '../helpers/disk-client.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const CHUNK = 64 << 10

/** What is left of 200 KiB of sevens in chunks of 64 KiB when 1000 to 200,000 is trimmed. */
const MODES = {
  free: { sizes: [CHUNK, 0, 0, CHUNK], keepsParts: false, keepsChunks: false },
  chunks: { sizes: [CHUNK, 0, 0, CHUNK], keepsParts: true, keepsChunks: false },
  holes: { sizes: [CHUNK, CHUNK, CHUNK, CHUNK], keepsParts: false, keepsChunks: false },
  ignore: { sizes: [CHUNK, CHUNK, CHUNK, CHUNK], keepsParts: true, keepsChunks: true },
} as const

for (const [mode, { sizes, keepsParts, keepsChunks }] of Object.entries(MODES)) {
  test(`serve --trim ${mode}: trims are offered, succeed, and do what is promised`, async (t) => {
    const directory = tempDirectory(t)
    await makeDisk(join(directory, 'd.chunkdisk'), { size: '256K', chunkSize: '64K' })
    const server = await serve(t, ['d.chunkdisk', '--trim', mode], { cwd: directory })
    const info = await chunknbd(t, ['info', server.uri, '--json'], directory)
    const { flags } = JSON.parse(info.stdout) as { flags: Record<string, boolean> }
    t.like(flags, { trim: true, writeZeroes: true })
    const client = await DiskClient.connect(server.uri)
    await client.write(0, new Uint8Array(200 << 10).fill(7))
    await client.trim(1000, 199_000)
    const after = await client.read(0, 200 << 10)
    t.is(after[999], 7)
    t.is(after[1000], keepsParts ? 7 : 0)
    t.is(after[CHUNK], keepsChunks ? 7 : 0)
    t.is(after[199_999], keepsParts ? 7 : 0)
    t.is(after[200_000], 7)
    const names = sizes.map((size, index) => [`chunk${index}`, size])
    t.deepEqual(fileSizes(join(directory, 'd.chunks')), Object.fromEntries(names))
    await client.zero(1000, 199_000)
    const zeroed = await client.read(0, 200 << 10)
    t.true(zeroed.subarray(1000, 200_000).every((byte) => byte === 0))
    await client.disconnect()
    t.is(await server.stop(), 0)
  })
}
