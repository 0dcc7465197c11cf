/** The names of a simulated machine, from the root down. Paths are absolute. */
import path from 'node:path'
import type { Chance } from './chance.ts'
import { SimulatedDirectory, type SimulatedNode } from './directory.ts'
import { type Fate, SimulatedFile } from './file.ts'
import { FileImage } from './file-image.ts'
import { systemError } from './system-error.ts'

export class SimulatedTree {
  /** Number of the last change. */
  sequence = 0
  #lastId = 1
  #root = new SimulatedDirectory(1)

  newId(): number {
    return ++this.#lastId
  }

  /** @returns null: there is no such name. @throws ENOTDIR */
  find(file: string): SimulatedNode | null {
    let node: SimulatedNode = this.#root
    for (const name of file.split('/').filter(Boolean)) {
      if (!(node instanceof SimulatedDirectory)) throw systemError('ENOTDIR', 'open', file)
      const next = node.names.get(name)
      if (next === undefined) return null
      node = next
    }
    return node
  }

  /** @throws ENOENT, ENOTDIR */
  directory(file: string, call: string): SimulatedDirectory {
    const node = this.find(file)
    if (node === null) throw systemError('ENOENT', call, file)
    if (!(node instanceof SimulatedDirectory)) throw systemError('ENOTDIR', call, file)
    return node
  }

  /** Gives an existing or new node a name, in place of what has it. */
  link(file: string, node: SimulatedNode): void {
    node.device = deviceOf(file)
    this.directory(path.dirname(file), 'link').change({
      sequence: ++this.sequence,
      node,
      from: null,
      to: path.basename(file),
      partner: null,
    })
  }

  /** @returns what was renamed. @throws ENOENT, and EXDEV for two file systems */
  rename(from: string, to: string): SimulatedNode {
    const [source, target] = [from, to].map((each) => path.dirname(each))
    if (source === target) return this.#change(from, 'rename', path.basename(to), null)
    if (deviceOf(from) !== deviceOf(to)) throw systemError('EXDEV', 'rename', to)
    const partner = this.directory(target, 'rename')
    const node = this.#change(from, 'rename', null, partner)
    const here = { from: null, to: path.basename(to), partner: this.directory(source, 'rename') }
    partner.change({ sequence: this.sequence, node, ...here })
    return node
  }

  /** @throws ENOENT */
  remove(file: string): void {
    this.#change(file, 'unlink', null, null)
  }

  #change(
    file: string,
    call: string,
    to: string | null,
    partner: SimulatedDirectory | null,
  ): SimulatedNode {
    const directory = this.directory(path.dirname(file), call)
    const from = path.basename(file)
    const node = directory.names.get(from)
    if (node === undefined) throw systemError('ENOENT', call, file)
    directory.change({ sequence: ++this.sequence, node, from, to, partner })
    return node
  }

  /** With those above it; what is there already stays. */
  makeDirectory(file: string): void {
    if (this.find(file) !== null) return
    this.makeDirectory(path.dirname(file))
    this.link(file, new SimulatedDirectory(this.newId()))
  }

  /** A small file that appears whole and durable, in place of what has the name. */
  putText(file: string, text: string): void {
    this.link(file, new SimulatedFile(this.newId(), imageOf(text)))
    this.directory(path.dirname(file), 'fsync').sync(this.sequence)
  }

  /** Puts a file there, durable, with the directories it needs. */
  install(file: string, contents: FileImage): void {
    this.makeDirectory(path.dirname(file))
    this.link(file, new SimulatedFile(this.newId(), contents))
    this.syncAll()
  }

  /** Everything is durable (syncfs). */
  syncAll(sequence = this.sequence): void {
    for (const node of walk(this.#root)) node.sync(sequence)
  }

  *files(): Generator<SimulatedFile> {
    for (const node of walk(this.#root)) if (node instanceof SimulatedFile) yield node
  }

  /** @returns the tree as it is found by a machine that lost its power now; one possibility */
  afterPowerLoss(chance: Chance, fate: Fate): SimulatedTree {
    const copies = new Map<SimulatedNode, SimulatedNode>()
    const kept = new Map<number, boolean>()
    const keeps = (sequence: number): boolean => {
      const isKept = kept.get(sequence) ?? chance.chance(fate.names)
      kept.set(sequence, isKept)
      return isKept
    }
    const copyOf = (node: SimulatedNode): SimulatedNode => {
      const known = copies.get(node)
      if (known !== undefined) return known
      const isFile = node instanceof SimulatedFile
      const copy = isFile ? node.afterPowerLoss(chance, fate) : node.afterPowerLoss(keeps, copyOf)
      copy.device = node.device
      copies.set(node, copy)
      return copy
    }
    const tree = new SimulatedTree()
    tree.sequence = this.sequence
    tree.#lastId = this.#lastId
    tree.#root = this.#root.afterPowerLoss(keeps, copyOf)
    return tree
  }
}

/** Each directory below the root is a file system of its own. */
function deviceOf(file: string): string {
  return file.split('/')[1] ?? ''
}

function* walk(node: SimulatedNode): Generator<SimulatedNode> {
  yield node
  if (node instanceof SimulatedFile) return
  for (const below of node.names.values()) yield* walk(below)
}

function imageOf(text: string): FileImage {
  const image = new FileImage()
  const data = Buffer.from(text)
  image.apply({ kind: 'write', sequence: 0, position: 0, data, extends: true })
  return image
}
