import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { giveBackLargeBlocks } from '../../io/heap.ts'

const run = promisify(execFile)
const MIB = 2 ** 20

const MODULE = JSON.stringify(import.meta.resolve('../../io/heap.ts'))

/** Takes large blocks with small ones between them, keeps the small ones. */
const CODE = `
  const { giveBackLargeBlocks } = await import(${MODULE})
  if (process.argv[1] === 'limited') giveBackLargeBlocks()
  const take = (bytes) => Buffer.allocUnsafeSlow(bytes).fill(1)
  const kept = []
  const free = async () => {
    for (let count = 0; count < 5; count++) {
      gc()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  take(4 << 20)
  await free()
  const before = process.memoryUsage.rss()
  let large = Array.from({ length: 150 }, () => {
    kept.push(take(20_000))
    return take(1 << 20)
  })
  large = null
  await free()
  console.log(process.memoryUsage.rss() - before + 0 * kept.length)
`

async function heldBytes(how: 'limited' | 'free'): Promise<number> {
  const args = ['--expose-gc', '--import=tsx', '--input-type=module', '-e', CODE, how]
  return Number((await run(process.execPath, args)).stdout)
}

test('freed buffers are no memory of the process any more', async (t) => {
  if (!giveBackLargeBlocks()) {
    t.log('SKIPPED: this C library has no such setting')
    t.not(process.env.CI, 'true')
    return
  }
  const [limited, free] = [await heldBytes('limited'), await heldBytes('free')]
  t.log({ limited, free })
  t.true(limited < 50 * MIB)
  t.true(limited < free)
})
