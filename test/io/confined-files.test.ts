/** Files below allowed roots, and every way out. */
import fs from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { confined } from '../../io/confined-files.ts'
import type { Files } from '../../io/io.ts'
import { createNodeIo } from '../../io/node.ts'
import { tempDirectory } from '../helpers/temp.ts'

const { O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants
const OUTSIDE = { code: 'OUTSIDE_ROOTS' }

interface Place {
  readonly files: Files
  readonly root: string
  readonly outside: string
}

/** A root, and beside it a directory with a file `secret`. Links lead from the one to the other. */
function place(t: ExecutionContext): Place {
  const directory = tempDirectory(t)
  const [root, outside] = ['root', 'root-outside'].map((name) => join(directory, name))
  for (const each of [root, outside]) fs.mkdirSync(each)
  fs.writeFileSync(join(root, 'own'), 'own')
  fs.writeFileSync(join(outside, 'secret'), 'secret')
  fs.symlinkSync(join(outside, 'secret'), join(root, 'link'))
  fs.symlinkSync(outside, join(root, 'directory'))
  fs.symlinkSync('own', join(root, 'inside'))
  fs.symlinkSync(join(outside, 'new'), join(root, 'dangling'))
  return { files: confined(createNodeIo().files, [root]), root, outside }
}

test('what is below a root works, also by a link that stays there', async (t) => {
  const { files, root } = place(t)
  for (const name of ['own', 'inside', './own']) {
    const file = `${root}/${name}`
    t.is(await files.readText(file, 100), 'own')
    await files.close(await files.open(file, O_RDWR))
    t.is((await files.status(file)).size, 3)
  }
  await files.close(await files.open(root, O_RDONLY | O_DIRECTORY))
  t.true((await files.list(root)).includes('own'))
  await files.makeDirectory(join(root, 'a/b'))
  await files.createText(join(root, 'a/b/text'), 'text')
  await files.replaceText(join(root, 'a/b/text'), 'other')
  await files.rename(join(root, 'a/b/text'), join(root, 'moved'))
  t.is(await files.readText(join(root, 'moved'), 100), 'other')
  await files.remove(join(root, 'moved'))
  await files.remove(join(root, 'link'))
  await t.throwsAsync(files.open(join(root, 'none'), O_RDONLY), { code: 'ENOENT' })
})

test('nothing outside is opened, looked at, made, replaced or moved', async (t) => {
  const { files, root, outside } = place(t)
  for (const file of [
    join(root, 'link'),
    join(root, 'directory/secret'),
    join(outside, 'secret'),
    `${root}/../root-outside/secret`,
    '/etc/passwd',
  ]) {
    for (const work of [
      files.open(file, O_RDONLY),
      files.open(file, O_RDWR | O_CREAT | O_TRUNC),
      files.status(file),
      files.readText(file, 1e6),
      files.createText(`${file}-new`, 'text'),
      files.replaceText(file, 'text'),
      files.rename(file, join(root, 'stolen')),
      files.rename(join(root, 'own'), file),
    ]) {
      if (file === join(root, 'link')) await work.catch(() => {})
      else await t.throwsAsync(work, OUTSIDE, file)
    }
  }
  for (const directory of [outside, join(root, 'directory'), '/']) {
    await t.throwsAsync(files.list(directory), OUTSIDE)
    await t.throwsAsync(files.makeDirectory(join(directory, 'new')), OUTSIDE)
    await t.throwsAsync(files.remove(join(directory, 'secret')), OUTSIDE)
    await t.throwsAsync(files.abilities(directory), OUTSIDE)
  }
  t.deepEqual(fs.readdirSync(outside), ['secret'])
  t.is(fs.readFileSync(join(outside, 'secret'), 'utf8'), 'secret')
})

test('nothing is made by way of a link that leads to nothing', async (t) => {
  const { files, root, outside } = place(t)
  await t.throwsAsync(files.open(join(root, 'dangling'), O_RDWR | O_CREAT))
  await t.throwsAsync(files.createText(join(root, 'directory/new'), 'text'), OUTSIDE)
  t.deepEqual(fs.readdirSync(outside), ['secret'])
})

test('a directory that becomes a link while it is opened gives nothing away', async (t) => {
  const directory = tempDirectory(t)
  const [root, part, outside] = ['root', 'root/part', 'outside'].map((name) =>
    join(directory, name),
  )
  for (const each of [root, part, outside]) fs.mkdirSync(each)
  for (const each of [part, outside]) fs.writeFileSync(join(each, 'chunk0'), each)
  const plain = createNodeIo().files
  // After the first look: the part is exchanged for a link.
  const files = confined(
    {
      ...plain,
      close: (fd) => plain.close(fd),
      open: (file, flags, mode) => {
        fs.renameSync(part, join(root, 'away'))
        fs.symlinkSync(outside, part)
        return plain.open(file, flags, mode)
      },
    } as Files,
    [root],
  )
  const error = await t.throwsAsync(files.open(join(part, 'chunk0'), O_RDONLY), OUTSIDE)
  t.true(error?.message.includes(join(outside, 'chunk0')))
})

test('several roots, one by a link; one that is not there is an error', async (t) => {
  const { root, outside } = place(t)
  const both = confined(createNodeIo().files, [root, join(root, 'directory')])
  t.is(await both.readText(join(outside, 'secret'), 100), 'secret')
  t.is(await both.readText(join(root, 'link'), 100), 'secret')
  t.throws(() => confined(createNodeIo().files, [join(root, 'none')]), { code: 'ALLOWED_ROOT' })
  const all = confined(createNodeIo().files, ['/'])
  t.is(await all.readText(join(outside, 'secret'), 100), 'secret')
})
