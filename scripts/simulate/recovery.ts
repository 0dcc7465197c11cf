/**
 * Looks at a machine after a crash, with the code that people would use: `check`, then a server.
 * Whatever the crash was, the disk opens, parents are untouched, and nothing is damaged.
 */
import path from 'node:path'
import { checkDisk, Rule } from '../../chunkstore/check.ts'
import type { Device } from '../../device/device.ts'
import { SimulatedFile } from '../../io/simulated/file.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, type SimulatedMachine } from '../../io/simulated/machine.ts'
import { Random } from '../../test/helpers/random.ts'
import { DeviceClient } from '../../test/helpers/device-client.ts'
import { contentsOf } from './contents.ts'
import { type Counts, noCounts } from './counts.ts'
import { BrokenPromise, type DiskModel } from './disk-model.ts'
import { readByFormat } from './reference-reader.ts'
import { ServerLife } from './server-life.ts'
import type { Setting } from './setting.ts'
import type { World } from './world.ts'

const READ_BYTES = 65_536

/** States after each power loss in which check and server are tried. */
const STATES = 2

/** States of which only the files are read: after a power loss, after each promise. */
const GLANCES_AFTER_LOSS = 6
const GLANCES_AFTER_PROMISE = 2

/** Of what a check writes; no step has it. */
const CHECK_NUMBER = 999_999

interface State {
  readonly machine: SimulatedMachine
  /** What the disk reads as. */
  readonly image: Uint8Array
}

export class Recovery {
  readonly #world: World
  readonly #setting: Setting
  /** Contents of the files that nobody may change. */
  readonly #untouchable = new Map<string, Uint8Array>()
  readonly #note: (words: string) => void
  /** Depth of the first layer that nobody may change. */
  #firstUntouchable = 1
  /** Layers in which a crash may have left temporary files. */
  #writtenCount = 1
  counts: Counts = noCounts()

  constructor(world: World, setting: Setting, note: (words: string) => void) {
    this.#world = world
    this.#setting = setting
    this.#note = note
  }

  /** Remembers the parents as they are: from here on nobody may change them. */
  remember(machine: SimulatedMachine): void {
    this.#untouchable.clear()
    this.#firstUntouchable = 1
    for (const [file, node] of this.#parentFiles(machine)) {
      this.#untouchable.set(file, node.cache.bytes.slice())
    }
  }

  /**
   * Looks at what a power loss may leave. All processes are dead.
   * @param seedOf a seed for each state
   * @returns one of the states, and what the disk reads as there
   */
  async losePower(
    machine: SimulatedMachine,
    model: DiskModel,
    seedOf: (index: number) => number,
  ): Promise<State> {
    this.glance(machine, model, new Random(seedOf(STATES)), GLANCES_AFTER_LOSS)
    const chosen = this.#world.schedule.between(0, STATES - 1)
    const stateOf = (index: number): SimulatedMachine =>
      machine.afterPowerLoss(new Random(seedOf(index)), index === 0 ? NOTHING_KEPT : undefined)
    let found: State | null = null
    for (let index = 0; index < STATES; index++) {
      this.#note(`power loss: state ${index + 1} of ${STATES}`)
      const image = await this.#look(stateOf(index))
      model.checkAfterPowerLoss(image)
      if (index !== chosen) continue
      await this.#checkUse(stateOf(index), image)
      found = { machine: stateOf(index), image }
    }
    this.#note(`the power is back, with state ${chosen + 1}`)
    if (found === null) throw new Error('no state was chosen')
    return found
  }

  /** Reads the files of some states that a power loss now may leave. Nothing changes. */
  glance(
    machine: SimulatedMachine,
    model: DiskModel,
    random: Random,
    count = GLANCES_AFTER_PROMISE,
  ): void {
    for (let index = 0; index < count; index++) {
      const fate = index === 0 ? NOTHING_KEPT : undefined
      const { tree } = machine.afterPowerLoss(random, fate)
      model.checkAfterPowerLoss(readByFormat(tree, this.#setting))
      this.counts.states++
    }
  }

  /** A commit changes the parent; what it left is durable when it is done, or after a crash. */
  releaseParent(): void {
    this.#firstUntouchable = 2
    this.#writtenCount = 2
    const { parts, file } = this.#setting.layers[1]
    const folders = new Set(parts.map(({ directory }) => directory))
    for (const each of this.#untouchable.keys()) {
      if (each === file || folders.has(path.dirname(each))) this.#untouchable.delete(each)
    }
  }

  /** @returns what the disk reads as. All processes of the machine are dead before and after. */
  async #look(machine: SimulatedMachine): Promise<Uint8Array> {
    await this.check(machine)
    const image = await this.#readAll(machine)
    const same = readByFormat(machine.tree, this.#setting)
    if (Buffer.compare(image, same) === 0) return image
    const at = image.findIndex((byte, index) => byte !== same[index])
    throw new BrokenPromise(`the server reads other bytes than the files have, at ${at}`)
  }

  async #readAll(machine: SimulatedMachine): Promise<Uint8Array> {
    const life = await this.#open(machine)
    const image = await this.read(life.device)
    this.#end(machine)
    return image
  }

  /**
   * After a power loss in which `image` was found: it is there to stay, and what is written and
   * flushed then is, too, although the power is lost again and again.
   */
  async #checkUse(machine: SimulatedMachine, image: Uint8Array): Promise<void> {
    this.counts.states++
    const again = machine.afterPowerLoss(this.#world.schedule, NOTHING_KEPT)
    const life = await this.#open(again)
    const expected = image.slice()
    const client = new DeviceClient(life.device)
    for (let count = 3; count > 0; count--) {
      const offset = this.#world.schedule.between(0, image.length - 1)
      const length = Math.min(this.#world.schedule.between(1, 9000), image.length - offset)
      const data = contentsOf(CHECK_NUMBER, offset, length)
      await this.#world.wait(client.write(offset, data), 'a write after a crash')
      expected.set(data, offset)
    }
    if (this.#world.schedule.chance(0.5)) await life.close()
    else await this.#world.wait(client.flush(), 'a flush after a crash')
    this.#end(again)
    if (this.#setting.cacheMode === 'unsafe') return
    const last = await this.#readAll(again.afterPowerLoss(this.#world.schedule, NOTHING_KEPT))
    if (Buffer.compare(last, expected) === 0) return
    const at = last.findIndex((byte, index) => byte !== expected[index])
    const what = image[at] === expected[at] ? 'what was found after' : 'what was flushed after'
    throw new BrokenPromise(`${what} a power loss is gone after another one, at ${at}`)
  }

  /** `check` finds nothing but what the next writer removes, and the parents are as they were. */
  async check(machine: SimulatedMachine): Promise<void> {
    this.counts.states++
    const files = new SimulatedFiles(machine, true)
    this.#world.processes = [files]
    this.#world.clients = []
    const { file } = this.#setting.layers[0]
    const findings = await this.#world.wait(checkDisk(files, file), 'check')
    this.#end(machine)
    const written = this.#setting.layers.slice(0, this.#writtenCount)
    const own = written.flatMap(({ parts }) => parts.map((part) => part.directory))
    for (const finding of findings) {
      const isOwn = own.some((directory) => finding.file.startsWith(`${directory}/`))
      if (finding.rule === Rule.TEMPORARY && isOwn) continue
      throw new BrokenPromise(`check: ${finding.rule}: ${finding.file}: ${finding.message}`)
    }
    this.#checkParents(machine)
  }

  async read(device: Device): Promise<Uint8Array> {
    const image = new Uint8Array(device.size)
    const client = new DeviceClient(device)
    for (let at = 0; at < image.length; at += READ_BYTES) {
      const length = Math.min(READ_BYTES, image.length - at)
      image.set(await this.#world.wait(client.read(at, length), 'a read after a crash'), at)
    }
    return image
  }

  async #open(machine: SimulatedMachine): Promise<ServerLife> {
    const life = new ServerLife(this.#world, machine, null, true)
    await life.open(this.#setting, this.#note)
    this.checkTemporaries(machine)
    return life
  }

  /** A writer has removed what a crash left of copies. */
  checkTemporaries(machine: SimulatedMachine): void {
    for (const { directory } of this.#setting.layers[0].parts) {
      const names = [...machine.tree.directory(directory, 'look').names.keys()]
      const left = names.find((name) => name.startsWith('.tmp-'))
      if (left !== undefined) throw new BrokenPromise(`${left} is left in ${directory}`)
    }
  }

  #end(machine: SimulatedMachine): void {
    machine.kill()
    this.#world.clock.clear()
    this.#world.processes = []
  }

  #checkParents(machine: SimulatedMachine): void {
    const found = new Map(this.#parentFiles(machine))
    if (found.size !== this.#untouchable.size) throw new BrokenPromise('a parent has other files')
    for (const [file, bytes] of this.#untouchable) {
      const node = found.get(file)
      if (node !== undefined && Buffer.compare(node.cache.bytes, bytes) === 0) continue
      throw new BrokenPromise(`${file} of a parent was changed`)
    }
  }

  *#parentFiles(machine: SimulatedMachine): Generator<[string, SimulatedFile]> {
    for (const [depth, { file, parts }] of this.#setting.layers.entries()) {
      if (depth < this.#firstUntouchable) continue
      const descriptor = machine.tree.find(file)
      if (descriptor instanceof SimulatedFile) yield [file, descriptor]
      for (const { directory } of parts) {
        for (const [name, node] of machine.tree.directory(directory, 'look').names) {
          // What a cut commit left: gone, or back after a power loss, until the next one.
          if (depth < this.#writtenCount && name.startsWith('.tmp-')) continue
          if (node instanceof SimulatedFile) yield [`${directory}/${name}`, node]
        }
      }
    }
  }
}
