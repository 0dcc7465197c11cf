/** What a connection may have whose way in has settled it. */
import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import type { StreamEntry } from '../../io/io.ts'
import { EntryExports } from '../../nbd/entry-exports.ts'

const all = ['first', 'second', 'third'].map((name) => ({
  name,
  description: '',
  device: new MemoryDevice(4096),
}))
const table = {
  find: (name: string) => (name === '' ? all[0] : (all.find((each) => each.name === name) ?? null)),
  list: () => all,
}

function seen(entry: Partial<StreamEntry>, ...names: readonly string[]): (string | null)[] {
  const settled = { defaultExport: '', exports: null, identity: null, ...entry }
  const exports = new EntryExports(table, settled)
  const found = names.map((name) => exports.find(name)?.name ?? null)
  return [
    ...found,
    exports
      .list()
      .map((each) => each.name)
      .join(),
  ]
}

test('without a path or a token everything is as ever', (t) => {
  t.deepEqual(seen({}, '', 'second', 'x'), ['first', 'second', null, 'first,second,third'])
})

test('a path says which one is the default, and hides nothing', (t) => {
  const entry = { defaultExport: 'second' }
  t.deepEqual(seen(entry, '', 'first'), ['second', 'first', 'first,second,third'])
})

test('exports that the token is not for do not exist', (t) => {
  const exports = new Set(['second', 'third', 'gone'])
  t.deepEqual(seen({ exports }, 'first', 'second', 'gone'), [null, 'second', null, 'second,third'])
})

test('the default is the usual one if the token is for it, else the first that it is for', (t) => {
  t.deepEqual(seen({ exports: new Set(['third', 'first']) }, ''), ['first', 'first,third'])
  t.deepEqual(seen({ exports: new Set(['third', 'second']) }, ''), ['second', 'second,third'])
  t.deepEqual(seen({ exports: new Set(['gone']) }, ''), [null, ''])
})

test('a default by path that has gone, or is not for the token, is none', (t) => {
  t.deepEqual(seen({ defaultExport: 'gone' }, ''), [null, 'first,second,third'])
  const entry = { defaultExport: 'first', exports: new Set(['second']) }
  t.deepEqual(seen(entry, ''), [null, 'second'])
})
