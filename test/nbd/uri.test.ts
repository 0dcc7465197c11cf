import test from 'ava'
import type { Endpoint } from '../../nbd/uri.ts'
import { formatUri, parseUri, UriError } from '../../nbd/uri.ts'
import { TLS_DEFAULTS, type UriTls } from '../../nbd/uri-tls.ts'

function tcp(host: string, port = 10809): Endpoint {
  return { kind: 'tcp', host, port }
}

function unix(path: string): Endpoint {
  return { kind: 'unix', path }
}

const understood: readonly (readonly [string, Endpoint, string])[] = [
  ['nbd://127.0.0.1:10809', tcp('127.0.0.1'), ''],
  ['nbd://example.com', tcp('example.com'), ''],
  ['nbd://example.com/', tcp('example.com'), ''],
  ['nbd://example.com/disk', tcp('example.com'), 'disk'],
  ['nbd://example.com//disk', tcp('example.com'), '/disk'],
  ['nbd://example.com/hello%20world', tcp('example.com'), 'hello world'],
  ['nbd://example.com/a/../b/%2e%2e', tcp('example.com'), 'a/../b/..'],
  ['nbd://example.com/a+b', tcp('example.com'), 'a+b'],
  ['nbd://example.com:1/d', tcp('example.com', 1), 'd'],
  ['nbd://example.com:0', tcp('example.com', 0), ''],
  ['nbd://example.com:65535', tcp('example.com', 65535), ''],
  ['NBD://Example.com/Disk', tcp('Example.com'), 'Disk'],
  ['nbd://[::1]/disk', tcp('::1'), 'disk'],
  ['nbd://[::1]:10810/disk', tcp('::1', 10810), 'disk'],
  ['nbd://[::ffff:1.2.3.4]', tcp('::ffff:1.2.3.4'), ''],
  ['nbd://[fe80::1%25eth0]:9', tcp('fe80::1%eth0', 9), ''],
  ['nbd://h/gr%C3%B6%C3%9Fe', tcp('h'), 'größe'],
  ['nbd://h/größe', tcp('h'), 'größe'],
  ['nbd+unix:///?socket=/run/nbd.sock', unix('/run/nbd.sock'), ''],
  ['nbd+unix:///disk?socket=nbd.sock', unix('nbd.sock'), 'disk'],
  ['nbd+unix:///a%3Fb?socket=/a%20b/c%26d%3De', unix('/a b/c&d=e'), 'a?b'],
  ['nbd+unix:///?socket=%00/abstract', unix('\0/abstract'), ''],
  ['nbd+unix:///?socket=/a=b', unix('/a=b'), ''],
]

for (const [text, address, exportName] of understood)
  test(`${text} is understood`, (t) => {
    t.deepEqual(parseUri(text), { address, exportName, tls: null })
  })

const CERTIFICATES = 'tls-certificates=/etc/pki/a%20b'

const secured: readonly (readonly [string, Endpoint, Partial<UriTls>])[] = [
  ['nbds://host', tcp('host'), {}],
  ['NBDS://host:1', tcp('host', 1), {}],
  ['nbds://[::1]:1?tls-verify-peer=0', tcp('::1', 1), { verifyPeer: false }],
  ['nbds://host?tls-verify-peer=false', tcp('host'), { verifyPeer: false }],
  ['nbds://host?tls-verify-peer=1', tcp('host'), {}],
  ['nbds://host?tls-verify-peer=true', tcp('host'), {}],
  [`nbds://host?${CERTIFICATES}`, tcp('host'), { certificates: '/etc/pki/a b' }],
  ['nbds://host?tls-hostname=a.example', tcp('host'), { hostName: 'a.example' }],
  ['nbds://alice@host?tls-psk-file=/k', tcp('host'), { user: 'alice', keyFile: '/k' }],
  ['nbds://a%40b@host', tcp('host'), { user: 'a@b' }],
  ['nbds://host?tls-username=alice', tcp('host'), { user: 'alice' }],
  ['nbds://alice@host?tls-username=alice', tcp('host'), { user: 'alice' }],
  ['nbds://host?tls-type=x509', tcp('host'), {}],
  ['nbds://host?tls-type=psk&tls-psk-file=k', tcp('host'), { keyFile: 'k' }],
  ['nbds+unix:///?socket=/s', unix('/s'), {}],
  ['nbds+unix://alice@/?socket=/s&tls-psk-file=/k', unix('/s'), { user: 'alice', keyFile: '/k' }],
]

for (const [text, address, tls] of secured)
  test(`${text} is understood as TLS`, (t) => {
    const uri = { address, exportName: '', tls: { ...TLS_DEFAULTS, ...tls } }
    t.deepEqual(parseUri(text), uri)
    t.deepEqual(parseUri(formatUri(address, '', uri.tls)), uri)
  })

const refused: readonly (readonly [string, RegExp])[] = [
  ['', /not an NBD URI/],
  ['disk', /not an NBD URI/],
  ['127.0.0.1:10809', /not an NBD URI/],
  ['nbd:127.0.0.1:10809', /not an NBD URI/],
  ['/run/nbd.sock', /not an NBD URI/],
  ['http://example.com/disk', /unknown scheme "http"/],
  ['nbd+vsock://1/disk', /unknown scheme/],
  ['nbd://', /host is missing/],
  ['nbd:///disk', /host is missing/],
  ['nbd://:10809/disk', /host is missing/],
  ['nbd://::1/disk', /brackets/],
  ['nbd://[::1/disk', /brackets/],
  ['nbd://[localhost]/disk', /brackets/],
  ['nbd://host:/disk', /HOST:PORT/],
  ['nbd://host:port/disk', /HOST:PORT/],
  ['nbd://host:-1/disk', /HOST:PORT/],
  ['nbd://host:65536/disk', /port 65536/],
  ['nbd://host/disk#1', /%23/],
  ['nbd://host/100%', /%25/],
  ['nbd://host/%ff', /UTF-8/],
  ['nbd://host/%00', /NUL/],
  [`nbd://host/${'ü'.repeat(2049)}`, /4096/],
  ['nbd://host/disk?socket=/run/nbd.sock', /nbd\+unix:\/\/\//],
  ['nbd://host/disk?readonly=1', /unknown parameter "readonly"/],
  ['nbd://host/disk?readonly', /NAME=VALUE/],
  ['nbd+unix:///disk', /\?socket=PATH/],
  ['nbd+unix:///disk?socket=', /\?socket=PATH/],
  ['nbd+unix:///?socket=a&socket=b', /twice/],
  ['nbd+unix:///?socket=a&x-b=c', /unknown parameter "x-b"/],
  ['nbd+unix://run/nbd.sock', /three slashes/],
  ['nbd://host/disk?tls-type=psk', /"tls-type" needs TLS: nbds/],
  ['nbd+unix:///?socket=/a&tls-verify-peer=0', /"tls-verify-peer" needs TLS: nbds/],
  ['nbd://alice@host/disk', /user name needs TLS: nbds/],
  ['nbds://@host', /USER@, without a password/],
  ['nbds://alice:secret@host', /USER@, without a password/],
  ['nbds://alice@host?tls-username=bob', /two users, "alice" and "bob"/],
  ['nbds://host?tls-verify-peer=no', /tls-verify-peer is 0 or 1/],
  ['nbds://host?tls-certificates=', /"tls-certificates" is empty/],
  ['nbds://host?tls-certificates=a&tls-psk-file=b', /only one of them/],
  ['nbds://host?tls-type=psk', /give tls-psk-file/],
  ['nbds://host?tls-type=x509&tls-psk-file=b', /leave out tls-psk-file/],
  ['nbds://host?tls-type=anon', /not supported/],
  ['nbds://host?tls-type=x', /x509 or psk/],
  ['nbds://host?tls-priority=x', /unknown parameter "tls-priority"/],
  ['nbds://host?socket=/a', /nbd\+unix:\/\/\//],
  ['nbds+unix://alice@host/?socket=/a', /three slashes/],
  ['nbdss://host', /unknown scheme "nbdss"/],
]

for (const [text, problem] of refused)
  test(`"${text.slice(0, 50)}" is refused and the message says ${problem}`, (t) => {
    const error = t.throws(() => parseUri(text), { instanceOf: UriError, message: problem })
    t.is(error.code, 'NBD_URI_INVALID')
    t.true(error.message.startsWith(`"${text}"`))
  })

test('a URI is printed as it should be written', (t) => {
  t.is(formatUri(tcp('127.0.0.1'), 'name'), 'nbd://127.0.0.1:10809/name')
  t.is(formatUri(tcp('127.0.0.1'), ''), 'nbd://127.0.0.1:10809')
  t.is(formatUri(tcp('::1', 1), 'a b/c'), 'nbd://[::1]:1/a%20b/c')
  t.is(formatUri(unix('/run/n b.sock'), 'disk'), 'nbd+unix:///disk?socket=/run/n%20b.sock')
  t.is(formatUri(unix('/run/nbd.sock'), ''), 'nbd+unix:///?socket=/run/nbd.sock')
  t.is(formatUri(tcp('127.0.0.1'), 'd', TLS_DEFAULTS), 'nbds://127.0.0.1:10809/d')
  t.is(formatUri(unix('/s'), 'd', TLS_DEFAULTS), 'nbds+unix:///d?socket=/s')
  const tls = { user: 'a@b', certificates: null, keyFile: '/a&b', hostName: 'h', verifyPeer: false }
  const parameters = 'tls-psk-file=/a%26b&tls-hostname=h&tls-verify-peer=0'
  t.is(formatUri(unix('/s'), 'd', tls), `nbds+unix://a%40b@/d?socket=/s&${parameters}`)
  t.is(formatUri(tcp('h'), 'd', tls), `nbds://a%40b@h:10809/d?${parameters}`)
})

test('what is printed is parsed back to the same', (t) => {
  const texts = [
    '',
    'a',
    '/',
    '//',
    '..',
    'a/../b',
    '%',
    '%2F',
    '?',
    '#',
    '&=+;',
    ' ',
    'ü€😀',
    '"\'<>`',
  ]
  for (const exportName of texts) {
    for (const host of ['127.0.0.1', 'localhost', '::1', 'fe80::1%eth0'])
      for (const port of [0, 80, 10809]) {
        const address = tcp(host, port)
        t.deepEqual(parseUri(formatUri(address, exportName)), { address, exportName, tls: null })
      }
    for (const path of texts.filter((text) => text !== '')) {
      const address = unix(path)
      t.deepEqual(parseUri(formatUri(address, exportName)), { address, exportName, tls: null })
    }
  }
})
