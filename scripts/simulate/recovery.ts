/**
 * Looks at a machine after a crash, with the code that people would use: `check`, then a server.
 * Whatever the crash was, the disk opens, parents are untouched, and nothing is damaged.
 */
import { checkDisk, Rule } from '../../chunkstore/check.ts'
import type { Device } from '../../device/device.ts'
import { SimulatedFile } from '../../io/simulated/file.ts'
import { SimulatedFiles } from '../../io/simulated/files.ts'
import { NOTHING_KEPT, type SimulatedMachine } from '../../io/simulated/machine.ts'
import { DeviceClient } from '../../test/helpers/device-client.ts'
import { contentsOf } from './contents.ts'
import { BrokenPromise } from './disk-model.ts'
import { ServerLife } from './server-life.ts'
import type { Setting } from './setting.ts'
import type { World } from './world.ts'

const READ_BYTES = 65_536

/** Of what a check writes; no step has it. */
const CHECK_NUMBER = 999_999

export class Recovery {
  readonly #world: World
  readonly #setting: Setting
  /** Contents of the files that nobody may change. */
  readonly #untouchable = new Map<string, Uint8Array>()
  readonly #note: (words: string) => void

  constructor(world: World, setting: Setting, note: (words: string) => void) {
    this.#world = world
    this.#setting = setting
    this.#note = note
  }

  /** Remembers the parents as they are. */
  remember(machine: SimulatedMachine): void {
    for (const [file, node] of this.#parentFiles(machine)) {
      this.#untouchable.set(file, node.cache.bytes.slice())
    }
  }

  /** @returns what the disk reads as. All processes of the machine are dead before and after. */
  async look(machine: SimulatedMachine): Promise<Uint8Array> {
    await this.check(machine)
    return this.#readAll(machine)
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
  async checkUse(machine: SimulatedMachine, image: Uint8Array): Promise<void> {
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
    await this.#world.wait(client.flush(), 'a flush after a crash')
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
    const files = new SimulatedFiles(machine, true)
    this.#world.processes = [files]
    this.#world.clients = []
    const { file } = this.#setting.layers[0]
    const findings = await this.#world.wait(checkDisk(files, file), 'check')
    this.#end(machine)
    const own = this.#setting.layers[0].parts.map((part) => part.directory)
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
    for (const { file, parts } of this.#setting.layers.slice(1)) {
      const descriptor = machine.tree.find(file)
      if (descriptor instanceof SimulatedFile) yield [file, descriptor]
      for (const { directory } of parts) {
        for (const [name, node] of machine.tree.directory(directory, 'look').names) {
          if (node instanceof SimulatedFile) yield [`${directory}/${name}`, node]
        }
      }
    }
  }
}
