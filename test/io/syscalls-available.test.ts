import test from 'ava'
import { loadSystemCalls, SystemCalls } from '../../io/syscalls.ts'
import { isContinuousIntegration } from '../helpers/tools.ts'

test('the system calls can be reached here, which many other tests need to run', (t) => {
  const loaded = loadSystemCalls()
  if (loaded instanceof SystemCalls) return t.pass()
  if (isContinuousIntegration()) return t.fail(loaded)
  t.log(`SKIPPED: tests of holes and of what the kernel has in memory: ${loaded}`)
  t.pass()
})
