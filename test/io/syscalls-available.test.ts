import test from 'ava'
import { loadSystemCalls } from '../../io/syscalls.ts'
import { isContinuousIntegration } from '../helpers/tools.ts'

test('the system calls can be reached here, which many other tests need to run', (t) => {
  const loaded = loadSystemCalls()
  const reason = typeof loaded === 'string' ? loaded : ''
  if (reason !== '') t.log(`SKIPPED: tests of holes and of the kernel's memory: ${reason}`)
  t.true(reason === '' || !isContinuousIntegration(), reason)
})
