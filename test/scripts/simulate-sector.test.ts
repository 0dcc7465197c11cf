/** The judge of the simulation: what a sector may hold now, and after a power loss. */
import test from 'ava'
import { type Change, Sector, SECTOR } from '../../scripts/simulate/sector.ts'

const letter = (name: string, length = SECTOR): Uint8Array => Buffer.alloc(length, name)

/** Runs of equal bytes, by their letter. */
function words(contents: readonly Uint8Array[]): string {
  const texts = contents.map((each) => Buffer.from(each).toString().replaceAll('\0', '-'))
  return texts
    .map((text) => text.replaceAll(/(.)\1*/g, '$1'))
    .sort()
    .join(' ')
}

class Scene {
  readonly sector = new Sector(0, letter('o'))
  time = 0

  /** A change under way; `half` is the first half of the sector. */
  begin(name: string, { connection = 0, half = false } = {}): Change {
    const length = half ? SECTOR / 2 : SECTOR
    const data = letter(name, length)
    const change = { number: 0, connection, offset: 0, length, data, sentAt: ++this.time }
    this.sector.begin(change)
    return change
  }

  succeed(change: Change, durable = false): void {
    this.sector.succeed(change, ++this.time, durable)
  }

  write(name: string): void {
    this.succeed(this.begin(name))
  }

  get now(): string {
    return words(this.sector.contents())
  }

  get onDisk(): string {
    return words(this.sector.contentsOnDisk())
  }
}

test('a change under way may be seen or not, an answered one must be', (t) => {
  const scene = new Scene()
  const change = scene.begin('a')
  t.is(scene.now, 'a o')
  scene.succeed(change)
  t.is(scene.now, 'a')
  t.is(scene.onDisk, 'a o')
})

test('a flush covers what was answered before it was sent', (t) => {
  const scene = new Scene()
  scene.write('a')
  const sentAt = ++scene.time
  scene.write('b')
  scene.sector.flushed(sentAt)
  t.is(scene.onDisk, 'a b')
  scene.sector.flushed(++scene.time)
  t.is(scene.onDisk, 'b')
})

test('a change answered with FUA is on the disk, one under way may be over it', (t) => {
  const scene = new Scene()
  scene.write('a')
  const other = scene.begin('b', { connection: 1 })
  scene.succeed(scene.begin('c'), true)
  t.is(scene.onDisk, 'b c')
  scene.succeed(other)
  t.is(scene.now, 'b c')
})

test('changes of one connection take effect in their order', (t) => {
  const scene = new Scene()
  const [first, second] = [scene.begin('a'), scene.begin('b')]
  t.is(scene.now, 'a b o')
  scene.succeed(second)
  // The first may have failed, which is not known yet.
  scene.succeed(first)
  t.is(scene.now, 'b')
})

test('changes of several connections take effect in any order', (t) => {
  const scene = new Scene()
  const [first, second] = [scene.begin('a'), scene.begin('b', { connection: 1 })]
  scene.succeed(second)
  t.is(scene.now, 'a b')
  scene.succeed(first)
  t.is(scene.now, 'a b')
})

test('a later change never goes back behind an answered one', (t) => {
  const scene = new Scene()
  scene.write('a')
  const later = scene.begin('b', { connection: 1, half: true })
  t.is(scene.now, 'a ba')
  scene.succeed(later)
  t.is(scene.now, 'ba')
  // Not `bo`: the sector has never held that.
  t.is(scene.onDisk, 'a ba o')
})

test('a change that failed is there or not, one that was refused is not', (t) => {
  const scene = new Scene()
  scene.sector.fail(scene.begin('a'), ++scene.time)
  t.is(scene.now, 'a o')
  scene.write('b')
  scene.sector.fail(scene.begin('c'), ++scene.time, true)
  t.is(scene.now, 'b')
})

test('after the process was killed a change that was under way stays as it was found', (t) => {
  const scene = new Scene()
  scene.begin('a')
  scene.sector.kill()
  t.is(scene.now, 'a o')
  scene.sector.found(letter('a'), ++scene.time)
  t.is(scene.now, 'a')
  t.is(scene.onDisk, 'a o')
  scene.sector.foundOnDisk(letter('o'))
  t.is(scene.onDisk, 'o')
})

test('after a failed sync nothing is sure until the sector is written again', (t) => {
  const scene = new Scene()
  scene.write('a')
  const open = scene.begin('b')
  scene.sector.lose()
  t.is(scene.now, 'a b o')
  scene.succeed(open)
  t.is(scene.now, 'a b o', 'what was under way may be lost, too')
  scene.sector.kill()
  scene.sector.found(letter('a'), ++scene.time)
  scene.sector.flushed(++scene.time)
  t.is(scene.onDisk, 'a b o')
  scene.write('c')
  t.is(scene.now, 'c')
})
