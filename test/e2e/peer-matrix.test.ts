/** docs/peer-matrix.md: our column is what we answer; docs/protocol.md shows what differs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { chunknbd } from '../helpers/chunks.ts'
import { rowsOf } from '../helpers/peer-page.ts'
import { askAll, QUESTIONS } from '../helpers/peer-questions.ts'
import { serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'

const DOCS = join(import.meta.dirname, '../../docs')
const ROWS = rowsOf(readFileSync(join(DOCS, 'peer-matrix.md'), 'utf8'))
const OURS = 4

/** Those that both nbdkit and qemu-nbd answer as we do are left out. */
function differs([, nbdkit, qemu, , ours]: readonly string[]): boolean {
  return nbdkit !== qemu || qemu !== ours
}

async function ask(t: ExecutionContext, isReadOnly: boolean): Promise<ReadonlyMap<string, string>> {
  const directory = tempDirectory(t)
  const sizes = ['--size', '100M', '--chunk-size', '4M']
  await chunknbd(t, ['create', 'd.chunkdisk', ...sizes], directory)
  const args = [
    'd.chunkdisk',
    '--listen',
    'nbd://127.0.0.1:0',
    ...(isReadOnly ? ['--read-only'] : []),
  ]
  const { uri } = await serve(t, args, { cwd: directory })
  const port = Number(new URL(uri.replace('nbd:', 'http:')).port)
  return askAll({ host: '127.0.0.1', port, name: '' }, isReadOnly)
}

test('our server answers all questions as the page says', async (t) => {
  const answers = new Map([...(await ask(t, false)), ...(await ask(t, true))])
  t.is(answers.size, QUESTIONS.length)
  t.deepEqual(
    ROWS.map((cells) => [cells[0], cells[OURS]]),
    QUESTIONS.map(({ title }) => [title, answers.get(title) ?? '']),
  )
})

test('the table in protocol.md has every question that is answered differently', (t) => {
  const text = readFileSync(join(DOCS, 'protocol.md'), 'utf8')
  const section = text.slice(text.indexOf('\n## Where other servers answer differently\n'))
  t.deepEqual(rowsOf(section), ROWS.filter(differs))
})
