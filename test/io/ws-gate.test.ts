/** Who may come in: origins, tokens, paths. */
import type { IncomingMessage } from 'node:http'
import test from 'ava'
import { type GateSettings, judge } from '../../io/ws-gate.ts'
import { WebSocketTokens } from '../../io/ws-tokens.ts'

const TEXT = `
# a comment
disk:dGhpcyBpcyBhIHNlY3JldA
other:dGhpcyBpcyBhIHNlY3JldA
a:b:0123456789abcdef
*:for-everything-there-is
`
const TOKENS = WebSocketTokens.parse(TEXT, 'tokens')
const PEER = { remote: '1.2.3.4:5', identity: null }
const OPEN: GateSettings = {
  origins: [],
  tokens: () => null,
  hasExport: (name) => ['disk', 'other', 'a/b ü', 'a:b', 'third'].includes(name),
}
const CLOSED: GateSettings = { ...OPEN, tokens: () => TOKENS }

function ask(settings: GateSettings, url: string, headers: Record<string, string> = {}): unknown {
  const verdict = judge({ url, headers } as unknown as IncomingMessage, PEER, settings)
  if (verdict.kind === 'out') return verdict.status
  const { defaultExport, exports, subprotocol } = verdict
  return [defaultExport, exports === null ? 'all' : [...exports].join(), subprotocol]
}

test('a path names an export, exactly, or none', (t) => {
  t.deepEqual(ask(OPEN, '/'), ['', 'all', null])
  t.deepEqual(ask(OPEN, '/disk'), ['disk', 'all', null])
  t.deepEqual(ask(OPEN, '/a/b%20%C3%BC'), ['a/b ü', 'all', null])
  for (const path of ['/Disk', '/disk/', '//disk', '/disk%20', '/x', '/./disk', '/a/../disk']) {
    t.is(ask(OPEN, path), 404, path)
  }
  for (const path of ['', 'disk', '*', 'http://h/disk', '/disk?x=1', '/disk#x', '/%ff', '/a%00']) {
    t.is(ask(OPEN, path), 400, path)
  }
})

test('a web page must be of an origin that is allowed; programs say none', (t) => {
  const settings = { ...OPEN, origins: ['https://bmc.example', 'http://[::1]:8080'] }
  t.is(ask(OPEN, '/', { origin: 'https://bmc.example' }), 403)
  t.is(ask(OPEN, '/', { origin: 'null' }), 403)
  t.is(ask(OPEN, '/', { origin: '' }), 403)
  for (const origin of ['https://bmc.example', 'HTTPS://BMC.example', 'http://[::1]:8080']) {
    t.deepEqual(ask(settings, '/', { origin }), ['', 'all', null], origin)
  }
  const wrong = ['http://bmc.example', 'https://bmc.example:8443', 'https://bmc.example.org']
  for (const origin of [...wrong, 'https://evil/https://bmc.example', 'https://bmc.example/']) {
    t.is(ask(settings, '/', { origin }), 403, origin)
  }
  t.deepEqual(ask({ ...OPEN, origins: ['*'] }, '/', { origin: 'http://x' }), ['', 'all', null])
})

test('a bearer token opens the exports it is for, and no others', (t) => {
  const secret = { authorization: 'Bearer dGhpcyBpcyBhIHNlY3JldA' }
  t.deepEqual(ask(CLOSED, '/', secret), ['', 'disk,other', null])
  t.deepEqual(ask(CLOSED, '/disk', secret), ['disk', 'disk,other', null])
  t.deepEqual(ask(CLOSED, '/a:b', { authorization: 'bearer  0123456789abcdef ' }), [
    'a:b',
    'a:b',
    null,
  ])
  t.deepEqual(ask(CLOSED, '/third', { authorization: 'Bearer for-everything-there-is' }), [
    'third',
    'all',
    null,
  ])
  t.is(ask(CLOSED, '/third', secret), 404)
  t.is(ask(CLOSED, '/nowhere', secret), 404)
})

test('without a token nothing is told, not even what there is', (t) => {
  const wrong = [
    'Bearer x',
    'Bearer',
    'Bearer *',
    'Bearer disk',
    'Bearer dGhpcyBpcyBhIHNlY3JldB',
    'Basic dGhpcyBpcyBhIHNlY3JldA',
    'Bearer dGhpcyBpcyBhIHNlY3JldA x',
    'Bearer disk:dGhpcyBpcyBhIHNlY3JldA',
  ]
  for (const path of ['/', '/disk', '/nowhere']) {
    t.is(ask(CLOSED, path), 401)
    for (const authorization of wrong) t.is(ask(CLOSED, path, { authorization }), 401)
  }
})

test('a subprotocol may be the token, and is answered if nothing else can be', (t) => {
  const offer = (protocols: string): unknown =>
    ask(CLOSED, '/disk', { 'sec-websocket-protocol': protocols })
  const token = 'dGhpcyBpcyBhIHNlY3JldA'
  t.deepEqual(offer(token), ['disk', 'disk,other', token])
  t.deepEqual(offer(`binary, ${token}`), ['disk', 'disk,other', 'binary'])
  t.deepEqual(offer(`${token},nbd`), ['disk', 'disk,other', 'nbd'])
  t.is(offer('binary'), 401)
  t.is(offer(`binary, ${token}x`), 401)
  t.is(offer(`${'x, '.repeat(16)}${token}`), 401, 'not more than 16 are looked at')
  t.deepEqual(ask(OPEN, '/', { 'sec-websocket-protocol': 'nbd, chat' }), ['', 'all', 'nbd'])
  t.deepEqual(ask(OPEN, '/', { 'sec-websocket-protocol': 'chat' }), ['', 'all', null])
})

test('a file of tokens that cannot be meant is refused, by line, without the token', (t) => {
  for (const [text, message] of [
    ['', 'f: no token; write EXPORT:TOKEN, or *:TOKEN'],
    ['# only\n', 'f: no token; write EXPORT:TOKEN, or *:TOKEN'],
    ['\nhunter2hunter2hunter2', 'f, line 2: write EXPORT:TOKEN, or *:TOKEN for all exports'],
    [':hunter2hunter2hunter2', 'f, line 1: write EXPORT:TOKEN, or *:TOKEN for all exports'],
    ['disk:hunter2', /^f, line 1: the token is too short, use at least 16 characters/],
    ['disk:hunter2 hunter2 hunter2', /^f, line 1: a token has letters, digits/],
    ['disk:hünter2hünter2hünter2', /^f, line 1: a token has letters, digits/],
  ] as const) {
    const error = t.throws(() => WebSocketTokens.parse(text, 'f'), { message, code: 'WS_TOKENS' })
    t.notRegex(error?.message ?? '', /h.nter/)
  }
})
