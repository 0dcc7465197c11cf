/** Descriptors and configuration files that nobody would write. */
import assert from 'node:assert/strict'
import { parseConfig } from '../../cli/config-file.ts'
import { ConfigError } from '../../cli/config-error.ts'
import { serveCommandLine } from '../../cli/serve-options.ts'
import { type Descriptor, parseDescriptor } from '../../chunkstore/descriptor.ts'
import { DiskError } from '../../chunkstore/disk-error.ts'
import { Random } from '../helpers/random.ts'
import { naiveDescriptor } from './naive-descriptor.ts'
import { TextMutator } from './text-mutator.ts'

const FILE = '/disks/d.chunkdisk'
const CONFIG = '/disks/c.toml'
/** A text is wrong in many ways, and one line tells of each. */
const MESSAGE_CHARACTERS_MAX = 1 << 20

const DESCRIPTORS = [
  '1048576\n65536\n16 disk.chunks\n',
  'base.chunkdisk\n1048576\n65536\n10 /ssd/disk\n6 disk.chunks\n',
  '\uFEFF# a disk\r\n\r\n1M\r\n64K\r\n16 /p q/\r\n',
  '/abs/base.chunkdisk\n10GiB\n4MB\n99999999999999999999 parts/one\n0 ../up\n',
  'C:\\disks\\base.chunkdisk\n8M\n1M\n8 C:\\disks\\part1\n',
  '4096\n4096\n1 p',
]

const CONFIGS = [
  `[server]
listen = ["nbd://127.0.0.1:10809", "nbd+unix:///?socket=/run/c.sock"]
log-level = "info"
default-export = "a"
[defaults]
cache = "none"
trim = "holes"
[exports.a]
file = "a.chunkdisk"
read-only = true
uuid = "00000000-0000-0000-0000-000000000001"
[exports."b c"]
memory = "1G"
`,
  `[tls]
mode = "require"
certificates = "pki"
verify-peer = true
[exports]
x = { file = "/x.chunkdisk", page-cache = "64M", movable = true }
y.memory = 4096
`,
  "# nothing\n[limits]\n[exports.d]\nfile = '''d.chunkdisk'''\nread-only = \"no\"\n",
]

export interface TextFound {
  readonly text: string
  readonly error: Error
}

/** @returns the first text that is not read as it should be, or null */
export function descriptorCampaign(seed: number, count: number): TextFound | null {
  return texts(seed, count, DESCRIPTORS, checkDescriptor)
}

/** @returns as above */
export function configCampaign(seed: number, count: number): TextFound | null {
  const command = serveCommandLine()
  return texts(seed, count, CONFIGS, (text) => checkConfig(text, command))
}

function texts(
  seed: number,
  count: number,
  known: readonly string[],
  check: (text: string) => void,
): TextFound | null {
  const mutator = new TextMutator(new Random(seed), known)
  for (let index = 0; index < count; index++) {
    const text = index < known.length ? known[index] : mutator.next()
    try {
      check(text)
    } catch (error) {
      return { text, error: error as Error }
    }
  }
  return null
}

export function checkDescriptor(text: string): void {
  const expected = naiveDescriptor(text, FILE)
  let found: Descriptor | null = null
  try {
    found = parseDescriptor(text, FILE)
  } catch (error) {
    assert(error instanceof DiskError && error.code === 'EDESCRIPTOR', error as Error)
    assert(error.message.startsWith(`${FILE}: `), `names no file: ${error.message}`)
  }
  const told =
    found === null
      ? null
      : {
          parent: found.parent,
          diskSize: found.geometry.diskSize,
          chunkSize: found.geometry.chunkSize,
          parts: found.parts.map(({ chunksMax, directory }) => [chunksMax, directory]),
        }
  assert.deepEqual(told, expected)
}

export function checkConfig(text: string, command: ReturnType<typeof serveCommandLine>): void {
  try {
    const { exports, defaultExport } = parseConfig(text, CONFIG, command)
    const names = exports.map(({ name }) => name)
    assert.equal(new Set(names).size, names.length, 'an export twice')
    assert(defaultExport === null || names.includes(defaultExport), 'a default that is none')
    for (const { file, flags } of exports) {
      assert(file === null || file.startsWith('/'), 'a path that is not absolute')
      assert.equal(file === null, flags.has('memory'), 'neither a file nor memory')
    }
    // Nothing reached the prototypes.
    assert.equal(Object.keys(Object.prototype).length, 0)
  } catch (error) {
    assert(error instanceof ConfigError, error as Error)
    const lines = error.message.split('\n')
    assert(lines.length > 0 && lines[0].startsWith(CONFIG), `names no file: ${error.message}`)
    assert(error.message.length < MESSAGE_CHARACTERS_MAX, 'a message without an end')
  }
}
