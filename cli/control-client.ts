/** The command's end of `control.ts`. */
import { createConnection, type Socket } from 'node:net'
import { ANSWER_BYTES_MAX, type ControlAnswer, ControlPlace, readLine } from './control.ts'

/** Nobody listens there. */
const NOBODY: readonly string[] = ['ENOENT', 'ECONNREFUSED', 'ENOTSOCK']

export interface Controlled {
  /** Of the server. */
  readonly process: number
  readonly result: unknown
}

/**
 * Asks the server that serves a disk, and waits as long as it takes.
 * @param file path of the descriptor
 * @returns null: no server does
 * @throws Error with the server's code and message
 */
export async function askServer(file: string, request: object): Promise<Controlled | null> {
  const place = new ControlPlace(file)
  try {
    const socket = await connect(place)
    if (socket === null) return null
    socket.on('error', () => {})
    socket.write(JSON.stringify(request) + '\n')
    const line = await readLine(socket, ANSWER_BYTES_MAX, 0)
    socket.destroy()
    if (line === null) {
      const message = `${file}: its server ended without an answer; "chunknbd info" shows the size`
      throw Object.assign(new Error(message), { code: 'ECONTROL' })
    }
    const answer = JSON.parse(line) as ControlAnswer
    if (answer.ok) return { process: answer.process, result: answer.result }
    throw Object.assign(new Error(answer.message), { code: answer.code })
  } finally {
    place.close()
  }
}

function connect({ address, path }: ControlPlace): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path: address })
    socket.once('connect', () => resolve(socket))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (NOBODY.includes(error.code ?? '')) return resolve(null)
      const fix = error.code === 'EACCES' ? '; run this as the user who serves the disk' : ''
      const message = `${path}: cannot connect to the server: ${error.message}${fix}`
      reject(Object.assign(new Error(message), { code: error.code }))
    })
  })
}
