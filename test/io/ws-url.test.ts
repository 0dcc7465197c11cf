import test from 'ava'
import { formatWebSocketUrl, parseDialUrl, parseWebSocketUrl } from '../../io/ws-url.ts'

for (const [text, secure, at, name] of [
  ['ws://127.0.0.1:10810/', false, { kind: 'tcp', host: '127.0.0.1', port: 10810 }, ''],
  ['wss://[::1]:1/disk', true, { kind: 'tcp', host: '::1', port: 1 }, 'disk'],
  ['ws://h:2/a/b%20%C3%BC', false, { kind: 'tcp', host: 'h', port: 2 }, 'a/b ü'],
  ['ws+unix:///disk?socket=/run/x%20y', false, { kind: 'unix', path: '/run/x y' }, 'disk'],
] as const) {
  test(`${text} is where to listen, and back`, (t) => {
    const parsed = parseWebSocketUrl(text)
    t.deepEqual(parsed, { address: { kind: 'ws', secure, at }, exportName: name })
    t.is(formatWebSocketUrl(parsed.address, name), text)
  })
}

test('the ports are those of the web', (t) => {
  t.like(parseWebSocketUrl('ws://h').address.at, { port: 80 })
  t.like(parseWebSocketUrl('WSS://h/').address.at, { host: 'h', port: 443 })
})

for (const [text, message] of [
  ['ws:', /not a URL/],
  ['ws://', /not a URL/],
  ['ws://h:99999/', /not a URL/],
  ['http://h/', /scheme must be ws or wss/],
  ['ws://h/#x', /write %23/],
  ['ws://h/?x', /leave out the "\?"/],
  ['ws://h/a/../b', /"\.\."/],
  ['ws://h/%ff', /no percent-encoded UTF-8/],
  ['ws+unix:///x', /write ws\+unix:\/\/\/\?socket=PATH/],
  ['ws+unix://h/?socket=/x', /write ws\+unix/],
  ['ws+unix:///?socket=/x&y=1', /write ws\+unix/],
] as const) {
  test(`${text} is refused`, (t) => {
    t.throws(() => parseWebSocketUrl(text), { message, code: 'WS_URL' })
  })
}

test('a password in a URL is refused, and not repeated', (t) => {
  for (const parse of [parseWebSocketUrl, parseDialUrl]) {
    const error = t.throws(() => parse('wss://root:hunter2@bmc/vm/0/0'), { message: /in a file/ })
    t.notRegex(error?.message ?? '', /hunter2|root/)
  }
})

test('to dial: the path is the server’s, the fragment names the export and stays here', (t) => {
  t.deepEqual(parseDialUrl('wss://bmc/nbd/0?x=1#a%20b'), {
    kind: 'dial',
    url: 'wss://bmc/nbd/0?x=1',
    exportName: 'a b',
  })
  t.deepEqual(parseDialUrl('ws://[::1]:8080'), {
    kind: 'dial',
    url: 'ws://[::1]:8080/',
    exportName: '',
  })
  t.throws(() => parseDialUrl('ws+unix:///?socket=/x'), { message: /use ws:\/\/ or wss:\/\// })
})
