/**
 * One seed: a disk, a server, its clients, what befalls them, and what is left each time.
 * It ends well or throws; everything in it follows from the seed and the steps that are kept.
 */
import { NOTHING_KEPT, SimulatedMachine } from '../../io/simulated/machine.ts'
import { Random } from '../../test/helpers/random.ts'
import type { Breakage } from './breakages.ts'
import type { Judge } from './client.ts'
import type { Clock } from './clock.ts'
import { noCounts } from './counts.ts'
import { BrokenPromise, DiskModel, Unjudgeable } from './disk-model.ts'
import { createTop, installParents, LAYER_NUMBER } from './layers.ts'
import { intrude } from './intruder.ts'
import { type Action, describeAction, faultOf, mix, planOf } from './plan.ts'
import { Merger, type MergeRun } from './merger.ts'
import { Recovery } from './recovery.ts'
import { Schedule } from './schedule.ts'
import type { Change } from './sector.ts'
import { ServerLife } from './server-life.ts'
import { describeSetting, type Setting, settingOf } from './setting.ts'
import { World } from './world.ts'

export interface SimulationOptions {
  readonly seed: number
  readonly steps: number
  /** Only these steps are done; null: all. */
  readonly only: ReadonlySet<number> | null
  readonly breakage: Breakage | null
  /** Told of everything that happens, or null. */
  readonly trace: ((line: string) => void) | null
}

/** Part of the times the server is started call by call, in any order. */
const SLOW_STARTS = 0.25

/** Part of the times a call fails while the disk is opened, where calls fail at all. */
const FAILING_STARTS = 0.4

/** Events after a step, before the next. */
const TURNS_MAX = 60

export class Simulation {
  readonly counts = noCounts()
  readonly #options: SimulationOptions
  readonly #setting: Setting
  readonly #schedule: Schedule
  readonly #world: World
  readonly #recovery: Recovery
  readonly #model: DiskModel
  readonly #judge: Judge
  readonly #merger: Merger
  #machine: SimulatedMachine
  #life: ServerLife
  #orphans: Change[] = []
  #isStopping = false
  #number = 0
  #step = 0

  constructor(options: SimulationOptions, clock: Clock) {
    const { seed } = options
    const random = new Random(mix(seed, 0))
    this.#options = options
    this.#setting = settingOf(random)
    this.#schedule = new Schedule(mix(seed, 0, 2))
    clock.clear()
    this.#world = new World(clock, this.#schedule)
    this.#world.check = () => this.#check()
    this.#recovery = new Recovery(this.#world, this.#setting, (words) => this.#note(words))
    this.#recovery.counts = this.counts
    this.#machine = new SimulatedMachine(this.#schedule, this.#setting.traits)
    const image = installParents(this.#machine, this.#setting, random)
    this.#recovery.remember(this.#machine)
    this.#model = new DiskModel(image, (number) => this.#nameOf(number))
    const note = (words: string): void => this.#note(words)
    this.#merger = new Merger(this.#world, this.#setting, this.#model, note)
    this.#life = new ServerLife(this.#world, this.#machine, options.breakage, true)
    this.#judge = {
      model: this.#model,
      mayFail: () => this.#mayFail,
      isStopping: () => this.#isStopping,
      nextNumber: () => ++this.#number,
      note: (words) => this.#note(words),
      orphaned: (changes) => void this.#orphans.push(...changes),
      promised: () => this.#checkPromised(),
    }
    const { cacheMode } = this.#setting
    const syncs = cacheMode !== 'unsafe'
    this.#model.promises = { syncs, through: /through|directsync/.test(cacheMode) }
  }

  /** @throws what went wrong */
  async run(): Promise<void> {
    const { seed, steps, only } = this.#options
    this.#note(`seed ${seed}: ${describeSetting(this.#setting)}`)
    await createTop(this.#world, this.#machine, this.#setting)
    this.#machine = this.#machine.afterPowerLoss(this.#schedule, NOTHING_KEPT)
    await this.#begin()
    for (const [index, action] of planOf(seed, steps, this.#setting).entries()) {
      if (only !== null && !only.has(index)) continue
      this.#step = index
      this.#begun(action)
      this.#schedule.reseed(mix(seed, index, 3))
      await this.#act(action)
      if (this.#schedule.chance(0.6)) {
        await this.#world.turnsOrLess(this.#schedule.logarithmic(1, TURNS_MAX))
      }
    }
    await this.#end()
  }

  #begun(action: Action): void {
    this.counts.steps++
    this.#note(`step ${this.#step}: ${describeAction(action)}`)
  }

  async #act(action: Action): Promise<void> {
    const life = this.#life
    switch (action.kind) {
      case 'request': {
        const { verb, offset, length, flags } = action
        const client = await life.client(action.client, this.#judge)
        client.send(verb, offset, length, flags)
        return
      }
      case 'flush':
        return (await life.client(action.client, this.#judge)).flush()
      case 'leave':
        return life.attached(action.client)?.leave(action.how)
      case 'fault':
        return life.files.faults.arm(action.fault)
      case 'calm':
        return this.#calm()
      case 'idle':
        return this.#world.passTime()
      case 'intrude':
        return intrude(this.#world, this.#machine, this.#setting.layers[0].file)
      case 'stop':
        await this.#stop()
        return this.#startAgain()
      case 'merge':
        return this.#merge(action.run, action.losesPower)
      case 'kill':
        this.#crash()
        return this.#startAgain()
      case 'powerLoss':
        this.#crash()
        return this.#losePower()
    }
  }

  async #calm(): Promise<void> {
    await this.#world.until(() => this.#life.outstandingCount === 0, 'a request')
  }

  /** Once or twice the server does not get as far as to serve; that changes nothing. */
  async #failToBegin(): Promise<void> {
    const life = new ServerLife(this.#world, this.#machine, this.#options.breakage, true)
    const { faults } = life.files
    faults.arm(faultOf(new Random(mix(this.#options.seed, this.#step, 9))))
    try {
      await life.open(this.#setting, (words) => this.#note(`  ${words}`))
    } catch (error) {
      if (faults.struck === 0) throw error
      this.#note(`the start fails: ${(error as Error).message}`)
    }
    this.counts.faults += faults.struck
    this.#machine.kill()
    this.#world.clock.clear()
  }

  async #begin(): Promise<void> {
    if (this.#setting.hasFaults && this.#schedule.chance(FAILING_STARTS)) await this.#failToBegin()
    this.counts.lives++
    this.#orphans = []
    this.#isStopping = false
    this.#machine.onLost = () => this.#model.lose()
    this.#machine.onCloseUnsynced = (name) => this.#closedUnsynced(name)
    const isHurried = !this.#schedule.chance(SLOW_STARTS)
    const life = new ServerLife(this.#world, this.#machine, this.#options.breakage, isHurried)
    this.#life = life
    await life.open(this.#setting, (words) => this.#note(`  ${words}`))
    this.#check()
    this.#recovery.checkTemporaries(this.#machine)
    this.#model.found(await this.#recovery.read(life.device))
    this.#listen()
    await life.serve()
  }

  #listen(): void {
    if (this.#options.trace !== null) this.#machine.onCall = (words) => this.#note(`  ${words}`)
  }

  /** Everything is finished, then the power is lost: what was flushed is there. */
  async #end(): Promise<void> {
    this.#note('the end')
    await this.#calm()
    const client = await this.#life.client(0, this.#judge)
    client.flush()
    await this.#calm()
    this.#crash()
    await this.#losePower(false)
    this.counts.turns = this.#world.turns
  }

  /** As after SIGTERM: everything that was answered is durable. */
  async #stop(): Promise<void> {
    const life = this.#life
    this.#isStopping = true
    await life.stop()
    for (const change of this.#orphans.splice(0)) this.#model.fail(change)
    const { time } = this.#model
    try {
      await life.close()
      if (!this.#mayFail) {
        this.#model.flushed(time)
        this.#checkPromised()
      }
    } catch (error) {
      if (!this.#mayFail) throw error
      this.#note(`closing fails: ${(error as Error).message}`)
    }
    const open = life.files.openNames()
    if (open.length > 0 && !this.#mayFail) throw new BrokenPromise(`still open: ${open.join(', ')}`)
    this.#crash()
  }

  async #merge(run: MergeRun, losesPower: boolean): Promise<void> {
    await this.#stop()
    if (run.merge === 'commit') this.#recovery.releaseParent()
    this.#listen()
    const { isDone, struck } = await this.#merger.run(this.#machine, run)
    this.counts.faults += struck
    this.#machine.onCall = null
    if (isDone && run.merge === 'commit') this.#recovery.remember(this.#machine)
    if (losesPower) await this.#losePower()
    else await this.#startAgain()
  }

  async #startAgain(): Promise<void> {
    this.counts.kills++
    await this.#recovery.check(this.#machine)
    await this.#begin()
  }

  async #losePower(startsAgain = true): Promise<void> {
    this.counts.powerLosses++
    const seedOf = (index: number): number => mix(this.#options.seed, this.#step, 4 + index)
    const { machine, image } = await this.#recovery.losePower(this.#machine, this.#model, seedOf)
    if (!startsAgain) return
    this.#machine = machine
    this.#recovery.remember(machine)
    this.#model.foundAfterPowerLoss(image)
    await this.#begin()
  }

  #crash(): void {
    this.counts.faults += this.#life.files.faults.struck
    this.#machine.onCall = null
    this.#machine.kill()
    this.#world.clock.clear()
    this.#world.clients = []
    this.#world.processes = []
    this.#model.kill()
  }

  /** If the power were lost now, what was promised would be there. */
  #checkPromised(): void {
    if (!this.#model.promises.syncs) return
    const random = new Random(mix(this.#options.seed, this.#world.turns, 30))
    this.#recovery.glance(this.#machine, this.#model, random)
  }

  /** Nobody would hear that writing it back failed. */
  #closedUnsynced(name: string): void {
    if (!this.#model.promises.syncs || this.#mayFail || !name.startsWith('chunk')) return
    this.#machine.violations.push(`${name} is closed before it is synced`)
  }

  /** After every event. */
  #check(): void {
    const [violation] = this.#machine.violations
    if (violation !== undefined) throw new BrokenPromise(violation)
    if (this.#model.hasLost && this.#setting.checksums) throw new Unjudgeable()
    if (this.#orphans.length === 0 || this.#life.requestsInFlight > 0) return
    for (const change of this.#orphans.splice(0)) this.#model.fail(change)
  }

  get #mayFail(): boolean {
    return this.#life.files.faults.struck > 0
  }

  #note(words: string): void {
    this.#options.trace?.(words)
  }

  #nameOf(number: number): string {
    if (number >= LAYER_NUMBER) return `data of layer ${number - LAYER_NUMBER}`
    return `change ${number}`
  }
}
