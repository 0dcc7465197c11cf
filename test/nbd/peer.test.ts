import test from 'ava'
import type { PeerCertificate, TlsIdentity } from '../../io/tls-identity.ts'
import { peerTls, UNKNOWN_PEER } from '../../nbd/peer.ts'
import { Conversation, DISK, STRANGER, tableOf } from '../helpers/conversation.ts'
import { option } from '../helpers/naive-codec.ts'

const CERTIFICATE: PeerCertificate = {
  subject: 'CN=alice,O=Example',
  commonName: 'alice',
  names: ['DNS:a.example', 'email:a@b'],
  fingerprint: 'ab12',
}

function identity(wishes: Partial<TlsIdentity>): TlsIdentity {
  return { ...STRANGER, ...wishes }
}

test('a key proves its name, as it is', (t) => {
  const tls = peerTls(identity({ keyName: 'CN=alice' }))
  t.deepEqual(tls, { kind: 'psk', names: ['CN=alice'], name: 'CN=alice' })
})

test('a certificate proves all its names, each with its kind', (t) => {
  t.deepEqual(peerTls(identity({ certificate: CERTIFICATE })), {
    kind: 'x509',
    names: ['CN=alice,O=Example', 'CN=alice', 'DNS:a.example', 'email:a@b', 'SHA256:ab12'],
    name: 'CN=alice,O=Example',
  })
})

test('a certificate with only a common name, or without a subject, has no name twice', (t) => {
  const short = { ...CERTIFICATE, subject: 'CN=alice', names: [] }
  t.deepEqual(peerTls(identity({ certificate: short })).names, ['CN=alice', 'SHA256:ab12'])
  const nameless = { ...CERTIFICATE, subject: '', commonName: null, names: ['DNS:a'] }
  t.deepEqual(peerTls(identity({ certificate: nameless })).names, ['DNS:a', 'SHA256:ab12'])
})

test('who shows nothing has proven nothing', (t) => {
  t.deepEqual(peerTls(STRANGER), { kind: 'x509', names: [], name: null })
})

test('a handshake knows who the client is, before TLS and in it', (t) => {
  const conversation = Conversation.greeted(tableOf(DISK), 3, 'require')
  t.is(conversation.handshake.peer, UNKNOWN_PEER)
  conversation.ask(option(5))
  conversation.secure(identity({ keyName: 'bob' }))
  t.deepEqual(conversation.handshake.peer.tls?.names, ['bob'])
})
