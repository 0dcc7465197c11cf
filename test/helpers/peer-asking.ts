/**
 * Kinds of questions for the table of peers, each asked on a connection of its own. Where nothing
 * else is said the connection goes on after the answer; an option is followed by a GO that works.
 */
import { metaData, option, request } from './naive-codec.ts'
import { type Ask, Gone, type OptionData, PeerClient, type Place } from './peer-client.ts'

export interface Question {
  readonly title: string
  /** Only of an export that is read-only; the others only of one that is not. */
  readonly isReadOnly?: boolean
  readonly ask: (place: Place) => Promise<string>
}

const [EXPORT_NAME, STRUCTURED_REPLY, SET_META] = [1, 8, 10]
const [READ, WRITE] = [0, 1]
export const ALLOCATION = ['base:allocation']

/** One connection for one question. */
export function asked(
  talk: (client: PeerClient) => Promise<string>,
  clientFlags = 3,
): Question['ask'] {
  return async (place) => {
    let client: PeerClient | null = null
    try {
      client = await PeerClient.connect(place, clientFlags)
      return await talk(client)
    } catch (error) {
      if (error instanceof Gone) return error.message
      throw error
    } finally {
      client?.socket.destroy()
    }
  }
}

export async function thenGo(client: PeerClient, answer: string): Promise<string> {
  const end = await client.go().catch((error: Error) => error.message)
  return end === 'ACK' ? answer : `${answer} then ${end}`
}

export function optionOf(
  title: string,
  code: number,
  data?: OptionData,
  length?: number,
): Question {
  const talk = async (client: PeerClient): Promise<string> =>
    thenGo(client, await client.ask(code, data, length))
  return { title, ask: asked(talk) }
}

/** After STRUCTURED_REPLY. */
export function contextOption(title: string, code: number, data: OptionData): Question {
  const talk = async (client: PeerClient): Promise<string> => {
    await client.ask(STRUCTURED_REPLY)
    return thenGo(client, await client.ask(code, data))
  }
  return { title, ask: asked(talk) }
}

export function oldName(
  title: string,
  flags: number,
  name: string | null,
  bytes: number,
): Question {
  const talk = async (client: PeerClient): Promise<string> => {
    client.write(option(EXPORT_NAME, Buffer.from(name ?? client.name)))
    return `${(await client.read(bytes)).length} bytes`
  }
  return { title, ask: asked(talk, flags) }
}

interface Wishes {
  readonly structured?: boolean
  readonly contexts?: boolean
  readonly isReadOnly?: boolean
}

/** @param fields a negative offset counts from the end; a length of -1 is the whole disk */
export function command(title: string, fields: Ask, wishes: Wishes = {}): Question {
  const { structured = false, contexts = false, isReadOnly = false } = wishes
  const talk = async (client: PeerClient): Promise<string> => {
    if (structured || contexts) await client.ask(STRUCTURED_REPLY)
    if (contexts) await client.ask(SET_META, (name) => metaData(name, ALLOCATION))
    await client.go()
    const { offset = 0, length = 0 } = fields
    const from = typeof offset === 'number' && offset < 0 ? client.size + offset : offset
    return client.command({ ...fields, offset: from, length: length < 0 ? client.size : length })
  }
  return { title: structured ? `${title} [structured]` : title, ask: asked(talk), isReadOnly }
}

export function write(title: string, length: number, rest: Partial<Ask> = {}): Question {
  return command(title, { command: WRITE, length, payload: Buffer.alloc(length, 'w'), ...rest })
}

/** 8 READs, and then the client ends. */
export function eightReads(title: string, end: (client: PeerClient) => void): Question {
  const talk = async (client: PeerClient): Promise<string> => {
    await client.go()
    for (let cookie = 0; cookie < 8; cookie++) client.write(requestBytes(READ, 4096, cookie))
    end(client)
    for (let answered = 0; ; answered++) {
      const gone = await client.read(16 + 4096).catch((error: Error) => error.message)
      if (typeof gone === 'string') return `${answered} of 8, then ${gone}`
    }
  }
  return { title, ask: asked(talk) }
}

export function requestBytes(code: number, length: number, cookie = 0): Buffer {
  return request({ command: code, cookie: BigInt(cookie), length })
}
