/** Who fits the rules of an export. */
import test from 'ava'
import { type AccessRules, Networks, OPEN, parseClient, refusalOf } from '../../cli/access-rules.ts'
import { findGroup, findUser } from '../../cli/accounts.ts'
import type { Peer, PeerTls } from '../../nbd/peer.ts'

const ALICE = 'CN=alice,O=Test'
const CERTIFICATE: PeerTls = {
  kind: 'x509',
  names: [ALICE, 'CN=alice', 'DNS:a.example', 'SHA256:00ff'],
  name: ALICE,
}
const peer = (fields: Partial<Peer> = {}): Peer => ({
  address: '10.1.2.3:40',
  tls: null,
  ...fields,
})
const clients = (...texts: string[]): AccessRules => ({ ...OPEN, clients: texts.map(parseClient) })
const networks = (...texts: string[]): AccessRules => ({ ...OPEN, networks: new Networks(texts) })

const isAllowed = test.macro<[rules: AccessRules, peer: Peer, allowed: boolean]>({
  exec: (t, rules, who, allowed) => t.is(refusalOf(rules, who) === null, allowed),
  title: (name = '') => name,
})

test('no rules: everybody', isAllowed, OPEN, peer(), true)
test(
  'TLS is wanted and there',
  isAllowed,
  { ...OPEN, requireTls: true },
  peer({ tls: CERTIFICATE }),
  true,
)
test('TLS is wanted and not there', isAllowed, { ...OPEN, requireTls: true }, peer(), false)
test('no client at all', isAllowed, clients(), peer({ uid: 0, gid: 0 }), false)

for (const name of [ALICE, 'CN=alice', 'DNS:a.example', 'SHA256:00ff']) {
  test(`x509:${name}`, isAllowed, clients(`x509:${name}`), peer({ tls: CERTIFICATE }), true)
}
for (const name of ['CN=alic', 'CN=alice2', 'CN=ALICE', 'O=Test', 'DNS:alice', 'DNS:b.example']) {
  test(`not x509:${name}`, isAllowed, clients(`x509:${name}`), peer({ tls: CERTIFICATE }), false)
}
const KEY: PeerTls = { kind: 'psk', names: ['CN=alice'], name: 'CN=alice' }
test(
  'the name of a key is no certificate',
  isAllowed,
  clients('x509:CN=alice'),
  peer({ tls: KEY }),
  false,
)
test('nor the other way', isAllowed, clients('psk:CN=alice'), peer({ tls: CERTIFICATE }), false)
test('psk:NAME', isAllowed, clients('psk:bob', 'psk:CN=alice'), peer({ tls: KEY }), true)

const LOCAL = peer({ address: 'unix:/s', uid: 7, gid: 8 })
test('uid:N', isAllowed, clients('uid:7'), LOCAL, true)
test('gid:N', isAllowed, clients('uid:9', 'gid:8'), LOCAL, true)
test('not a user by the number of the group', isAllowed, clients('uid:8', 'gid:7'), LOCAL, false)
test('uid where nothing is known', isAllowed, clients('uid:0', 'gid:0'), peer(), false)
test('uid:root', isAllowed, clients('uid:root'), peer({ uid: 0, gid: 5 }), true)

for (const [text, address, has] of [
  ['10.0.0.0/8', '10.255.0.1:1', true],
  ['10.0.0.0/8', '11.0.0.1:1', false],
  ['10.1.2.3', '10.1.2.3:65535', true],
  ['10.1.2.3', '10.1.2.4:65535', false],
  ['10.9.9.9/8', '10.1.2.3:1', true],
  ['0.0.0.0/0', '203.0.113.7:1', true],
  ['0.0.0.0/0', '[2001:db8::1]:1', false],
  ['10.0.0.0/8', '[::ffff:10.1.2.3]:1', true],
  ['10.0.0.0/8', '[::ffff:11.1.2.3]:1', false],
  ['::/0', '[::ffff:11.1.2.3]:1', false],
  ['2001:db8::/32', '[2001:db8:1::1]:99', true],
  ['2001:db8::/32', '[2001:db9::1]:99', false],
  ['fe80::/10', '[fe80::1%eth0]:99', true],
  ['::1', '[::1]:99', true],
  ['unix', 'unix:/run/s', true],
  ['unix', 'unix', true],
  ['unix', '10.1.2.3:1', false],
  ['10.0.0.0/8', 'unix:/10.1.2.3:1', false],
  ['0.0.0.0/0', '', false],
  ['0.0.0.0/0', 'wss://10.0.0.1:1', false],
] as const) {
  const what = `network ${text} ${has ? 'has' : 'has not'} "${address}"`
  test(what, isAllowed, networks(text), peer({ address }), has)
}
test('several networks', isAllowed, networks('::1', 'unix', '10.1.0.0/16'), peer(), true)

test('both must fit: the network and the client', (t) => {
  const rules = { ...clients('uid:7'), networks: new Networks(['unix']) }
  t.is(refusalOf(rules, LOCAL), null)
  t.regex(refusalOf(rules, { ...LOCAL, uid: 1 }) ?? '', /not for this client \(uid:1 gid:8\)/)
  t.regex(refusalOf(rules, { ...LOCAL, address: '10.0.0.1:1' }) ?? '', /not for this network/)
})

test('what is no rule is told, with what to write', (t) => {
  for (const text of ['', 'alice', 'x509:', 'user:root', 'PSK:a', 'uid:', 'psk']) {
    t.throws(() => parseClient(text), { message: /Write "x509:NAME", "psk:NAME"/ }, text)
  }
  t.throws(() => parseClient('x509:alice'), { message: /x509:CN=alice/ })
  t.throws(() => parseClient('uid:no-such-user'), { message: /There is no user "no-such-user"/ })
  t.throws(() => parseClient('gid:-1'), { message: /There is no group "-1"/ })
  t.throws(() => parseClient('uid:4294967295'), { message: /There is no user/ })
  for (const text of ['', '10.0.0.0/33', '10.0.0.0/', '10.0.0/8', '::/129', 'a.example', 'Unix']) {
    t.throws(() => new Networks([text]), { message: /write an address, a network/ }, text)
  }
  for (const text of ['10.0.0.0/8/8', '10.0.0.0/-1', '10.0.0.0/1e1', 'fe80::1%eth0']) {
    t.throws(() => new Networks([text]), { message: /write an address, a network/ }, text)
  }
})

test('users and groups are found by name and by number', (t) => {
  t.deepEqual(findUser('root'), { uid: 0, gid: 0, name: 'root' })
  t.deepEqual(findUser('0'), { uid: 0, gid: 0, name: 'root' })
  t.deepEqual(findUser('3999999999'), { uid: 3999999999, gid: 3999999999, name: null })
  t.is(findGroup('root'), 0)
  t.is(findGroup('3999999999'), 3999999999)
  for (const text of ['', '-s', 'no such', '1x', '99999999999']) {
    t.is(findUser(text), null)
    t.is(findGroup(text), null)
  }
})
