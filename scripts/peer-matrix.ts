/**
 * npm run peers: asks nbdkit, qemu-nbd, nbd-server and our own server (built before) the questions
 * of test/helpers/peer-questions.ts and writes their answers to docs/peer-matrix.md.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { page } from '../test/helpers/peer-page.ts'
import { askAll, QUESTIONS } from '../test/helpers/peer-questions.ts'

const SIZE = 100 << 20
const HOST = '127.0.0.1'
const MAIN = join(import.meta.dirname, '../dist/cli/main.js')
const PAGE = join(import.meta.dirname, '../docs/peer-matrix.md')

interface Peer {
  readonly name: string
  /** Of the export; the others have a default one. */
  readonly exportName?: string
  readonly version: readonly [string, RegExp]
  /** Program and arguments, in the foreground, in a directory with `image` and `d.chunkdisk`. */
  readonly serve: (port: number, isReadOnly: boolean) => string[]
}

const PEERS: readonly Peer[] = [
  {
    name: 'nbdkit',
    version: ['nbdkit --version', /nbdkit ([\d.]+)/],
    serve: (port, isReadOnly) => [
      'nbdkit',
      '-f',
      '-i',
      HOST,
      '-p',
      String(port),
      ...(isReadOnly ? ['-r'] : []),
      'memory',
      String(SIZE),
    ],
  },
  {
    name: 'qemu-nbd',
    version: ['qemu-nbd --version', /qemu-nbd ([\d.]+)/],
    serve: (port, isReadOnly) => [
      'qemu-nbd',
      '-t',
      '-e',
      '9',
      '-b',
      HOST,
      '-p',
      String(port),
      '-f',
      'raw',
      ...(isReadOnly ? ['-r', 'image'] : ['--discard=unmap', 'image']),
    ],
  },
  {
    name: 'nbd-server',
    exportName: 'disk',
    version: ['nbd-server -V', /version ([\d.]+)/],
    // It goes into the background; in the foreground it serves one client only.
    serve: (_, isReadOnly) => ['nbd-server', '-C', isReadOnly ? 'ro.conf' : 'rw.conf', '-p', 'pid'],
  },
  {
    name: 'chunknbd',
    version: [`${process.execPath} ${MAIN} --version`, /([\d.]+)/],
    serve: (port, isReadOnly) => [
      process.execPath,
      MAIN,
      'serve',
      'd.chunkdisk',
      '--listen',
      `nbd://${HOST}:${port}`,
      ...(isReadOnly ? ['--read-only'] : []),
    ],
  },
]

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'peers-'))
  const columns: { name: string; answers: ReadonlyMap<string, string> }[] = []
  try {
    for (const peer of PEERS) {
      const [command, pattern] = peer.version
      const [program, ...args] = command.split(' ')
      const told = execFileSync(program, args, { encoding: 'utf8' })
      const name = peer.name === 'chunknbd' ? peer.name : `${peer.name} ${pattern.exec(told)?.[1]}`
      const answers = [...(await answersOf(peer, directory, false))]
      answers.push(...(await answersOf(peer, directory, true)))
      columns.push({ name, answers: new Map(answers) })
      console.log(`${name}: ${answers.length} answers`)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
  writeFileSync(PAGE, page(QUESTIONS, columns))
}

async function answersOf(
  peer: Peer,
  cwd: string,
  isReadOnly: boolean,
): Promise<ReadonlyMap<string, string>> {
  const port = await freePort()
  prepare(cwd, port)
  const [program, ...args] = peer.serve(port, isReadOnly)
  const child = spawn(program, args, { cwd, stdio: 'ignore' })
  try {
    await listening(port)
    return await askAll({ host: HOST, port, name: peer.exportName ?? '' }, isReadOnly)
  } finally {
    child.kill('SIGKILL')
    const pid = join(cwd, 'pid')
    if (existsSync(pid)) process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL')
    rmSync(pid, { force: true })
  }
}

/** A disk of zeros for each. */
function prepare(cwd: string, port: number): void {
  rmSync(join(cwd, 'd.chunks'), { recursive: true, force: true })
  rmSync(join(cwd, 'd.chunkdisk'), { force: true })
  const sizes = ['--size', String(SIZE), '--chunk-size', '4M']
  execFileSync(process.execPath, [MAIN, 'create', 'd.chunkdisk', ...sizes], {
    cwd,
    stdio: 'ignore',
  })
  rmSync(join(cwd, 'image'), { force: true })
  execFileSync('truncate', ['-s', String(SIZE), 'image'], { cwd })
  for (const [file, readOnly] of [
    ['rw.conf', false],
    ['ro.conf', true],
  ] as const) {
    const generic = `[generic]\nallowlist = true\nlistenaddr = ${HOST}\nport = ${port}\n`
    const disk = `exportname = ${join(cwd, 'image')}
readonly = ${readOnly}
`
    const abilities = 'trim = true\nflush = true\nfua = true\n'
    writeFileSync(join(cwd, file), `${generic}[disk]\n${disk}${abilities}`)
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject)
    server.listen(0, HOST, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = net.connect({ host: HOST, port })
      socket.once('data', () => socket.destroy())
      socket.once('close', (hadError) => resolve(!hadError))
      socket.once('error', () => {})
    })
    if (isThere) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nobody listens on port ${port}`)
}

await main()
