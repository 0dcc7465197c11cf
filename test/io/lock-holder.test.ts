import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LockKind } from '../../io/io.ts'
import { lockHolder } from '../../io/lock.ts'
import { nodeFiles } from '../helpers/chunk-disk.ts'
import { tempDirectory } from '../helpers/temp.ts'

test.serial('who holds a lock is found, also if its line was missed at first', async (t) => {
  const file = join(tempDirectory(t), 'file')
  fs.writeFileSync(file, '')
  const files = nodeFiles()
  const fd = await files.open(file, fs.constants.O_RDONLY)
  t.is(await lockHolder(fd), '', 'nobody holds one')
  t.true(await files.lock(fd, LockKind.SHARED))
  const { readFile } = fs.promises
  let missed = 0
  Reflect.set(fs.promises, 'readFile', (name: string, encoding: 'utf8') =>
    name === '/proc/locks' && missed++ < 2 ? Promise.resolve('') : readFile(name, encoding),
  )
  t.teardown(() => void Reflect.set(fs.promises, 'readFile', readFile))
  t.is(await lockHolder(fd), 'this process')
  t.is(missed, 3)
  await files.close(fd)
})
