import test from 'ava'
import { CrashModel, SECTOR } from './crash-model.ts'

/** A disk that holds what was drawn on it, and the model of it. */
function begin() {
  const model = new CrashModel(8 * SECTOR)
  const bytes = Buffer.alloc(8 * SECTOR)
  const send = (connection: number, first: number, count: number, isZero = false) => {
    const change = model.send(connection, first, count, isZero)
    return {
      apply: (sectors = count) =>
        void model.render(change).copy(bytes, first * SECTOR, 0, sectors * SECTOR),
      answer: () => model.answer(change),
    }
  }
  return { model, bytes, send }
}

test('an answered change must be there, an unanswered one may be', (t) => {
  const { model, bytes, send } = begin()
  send(0, 1, 3)
  t.notThrows(() => model.verify(bytes))
  send(0, 1, 3).apply()
  model.verify(bytes)
  t.is(model.unanswered, 3)

  const two = send(0, 2, 2)
  two.answer()
  t.throws(() => model.verify(bytes), { message: /sector 2 holds 2 of sector 2; .* 3 \(conn/ })
  two.apply()
  t.notThrows(() => model.verify(bytes))
})

test('what was seen once stays', (t) => {
  const { model, bytes, send } = begin()
  send(0, 0, 2).apply(1)
  model.verify(bytes)
  bytes.fill(0)
  t.throws(() => model.verify(bytes), { message: /sector 0 holds 0 of sector 0; it may hold: 1 / })
})

test('what was overwritten does not come back, also with zeros', (t) => {
  for (const isZero of [false, true]) {
    const { model, bytes, send } = begin()
    const one = send(0, 0, 1)
    one.answer()
    const two = send(1, 0, 1, isZero)
    one.apply()
    t.notThrows(() => model.verify(bytes))
    two.answer()
    t.throws(() => model.verify(bytes), { message: /sector 0 holds 1/ })
  }
})

test('two at a time on two connections: either; on one: the last that was answered', (t) => {
  const { model, bytes, send } = begin()
  const [one, two] = [send(0, 0, 1), send(1, 0, 1)]
  one.answer()
  two.answer()
  one.apply()
  model.verify(bytes)

  const other = begin()
  const [first, second] = [other.send(0, 0, 1), other.send(0, 0, 1)]
  first.apply()
  second.answer()
  t.throws(() => other.model.verify(other.bytes), { message: /sector 0 holds 1/ })
})

test('torn sectors, and sectors elsewhere, are found', (t) => {
  const { model, bytes, send } = begin()
  const one = send(0, 0, 1)
  one.apply()
  bytes[SECTOR - 1]++
  t.throws(() => model.verify(bytes), { message: /sector 0 holds a torn 1 of sector 0/ })
  bytes.copy(bytes, SECTOR, 0, SECTOR)
  bytes.fill(0, 0, SECTOR)
  t.throws(() => model.verify(bytes), { message: /sector 1 holds/ })
})
