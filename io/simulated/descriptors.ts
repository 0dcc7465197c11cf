/** The open files of a simulated process. As in Linux the lowest free number is given out next. */
import type { SimulatedNode } from './directory.ts'

export class OpenFile {
  readonly node: SimulatedNode
  /** Its name, for messages. */
  name: string
  readonly writable: boolean
  readonly direct: boolean

  constructor(node: SimulatedNode, name: string, writable: boolean, direct: boolean) {
    this.node = node
    this.name = name
    this.writable = writable
    this.direct = direct
  }
}

const FIRST = 3

export class Descriptors {
  readonly #open: (OpenFile | undefined)[] = []

  get(fd: number): OpenFile | undefined {
    return this.#open[fd]
  }

  add(file: OpenFile): number {
    let fd = FIRST
    while (this.#open[fd] !== undefined) fd++
    this.#open[fd] = file
    return fd
  }

  remove(fd: number): OpenFile | undefined {
    const file = this.#open[fd]
    this.#open[fd] = undefined
    return file
  }

  renamed(node: SimulatedNode, name: string): void {
    for (const file of this.list()) if (file.node === node) file.name = name
  }

  /** All that are open. */
  list(): OpenFile[] {
    return this.#open.filter((file) => file !== undefined)
  }
}
