import fs from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createText, replaceText } from '../../io/create-text.ts'
import { tempDirectory } from '../helpers/temp.ts'

test('a file is replaced by one with its owner and mode, and nothing is left', async (t) => {
  const directory = tempDirectory(t)
  const file = join(directory, 'file')
  fs.writeFileSync(file, 'old')
  fs.chmodSync(file, 0o644)
  const before = fs.statSync(file)
  await replaceText(file, 'grüße\n')
  const after = fs.statSync(file)
  t.is(fs.readFileSync(file, 'utf8'), 'grüße\n')
  t.deepEqual([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid])
  t.not(after.ino, before.ino)
  t.deepEqual(fs.readdirSync(directory), ['file'])
})

test('a file that is not there is not made', async (t) => {
  const directory = tempDirectory(t)
  await t.throwsAsync(replaceText(join(directory, 'file'), 'x'), { code: 'ENOENT' })
  t.deepEqual(fs.readdirSync(directory), [])
})

test('what cannot be put in place leaves the old contents and nothing else', async (t) => {
  const directory = tempDirectory(t)
  const target = join(directory, 'directory')
  fs.mkdirSync(target)
  await t.throwsAsync(replaceText(target, 'x'))
  t.deepEqual(fs.readdirSync(directory), ['directory'])
})

test('a new file takes no name that is taken, and leaves nothing else', async (t) => {
  const directory = tempDirectory(t)
  const file = join(directory, 'file')
  await createText(file, 'first')
  await t.throwsAsync(createText(file, 'second'), { code: 'EEXIST' })
  t.is(fs.readFileSync(file, 'utf8'), 'first')
  t.is(fs.statSync(file).mode & 0o777, 0o600)
  t.deepEqual(fs.readdirSync(directory), ['file'])
})

test('of many that make a file at once one succeeds, and the file is its own', async (t) => {
  const directory = tempDirectory(t)
  const file = join(directory, 'file')
  const texts = Array.from({ length: 20 }, (_, number) => `${number}`.repeat(100))
  const made = await Promise.allSettled(texts.map((text) => createText(file, text, 0o644)))
  const winners = texts.filter((_, index) => made[index].status === 'fulfilled')
  t.deepEqual(winners, [fs.readFileSync(file, 'utf8')])
  t.deepEqual(fs.readdirSync(directory), ['file'])
})

test('a new file that cannot be written leaves nothing', async (t) => {
  const directory = tempDirectory(t)
  await t.throwsAsync(createText(join(directory, 'no', 'file'), 'x'), { code: 'ENOENT' })
  await t.throwsAsync(createText(join(directory, 'file'.repeat(80)), 'x'), { code: 'ENAMETOOLONG' })
  t.deepEqual(fs.readdirSync(directory), [])
})

test('a write that fails is told with the name of the file', async (t) => {
  const directory = tempDirectory(t)
  const file = join(directory, 'file')
  fs.writeFileSync(file, 'old')
  const temporary = join(directory, '.tmp-file')
  fs.symlinkSync('/dev/full', temporary)
  const error = await t.throwsAsync(replaceText(file, 'new'), { code: 'ENOSPC' })
  t.true(error.message.endsWith(`write '${temporary}'`), error.message)
  t.is(fs.readFileSync(file, 'utf8'), 'old')
})
