import test from 'ava'
import { inetAddress, readInetAddress, readUnixPath, unixAddress } from '../../io/socket-address.ts'

test('an IPv4 address is laid out as ip(7) says', (t) => {
  const bytes = inetAddress('127.0.0.1', 10_809)
  t.is(Buffer.from(bytes).toString('hex'), '02002a397f0000010000000000000000')
})

test('an IPv6 address is laid out as ipv6(7) says', (t) => {
  const bytes = inetAddress('2001:db8::a:1%7', 10_809)
  const expected = '0a002a390000000020010db80000000000000000000a000107000000'
  t.is(Buffer.from(bytes).toString('hex'), expected)
})

for (const host of ['0.0.0.0', '10.1.2.255', '::', '::1', 'fe80::1', '1:2:3:4:5:6:7:8', '1::8']) {
  test(`${host} is read as it was written`, (t) => {
    t.deepEqual(readInetAddress(inetAddress(host, 65_535)), { host, port: 65_535 })
  })
}

test('an IPv4 client on an IPv6 socket is named as Node names it', (t) => {
  const bytes = inetAddress('::ffff:192.168.0.9', 1)
  t.deepEqual(readInetAddress(bytes), { host: '::ffff:192.168.0.9', port: 1 })
})

test('unix paths are ended by a zero', (t) => {
  const bytes = unixAddress('/tmp/grüße')
  t.is(bytes.at(-1), 0)
  t.is(readUnixPath(bytes), '/tmp/grüße')
  t.is(readUnixPath(new Uint8Array([1, 0, ...new Uint8Array(100)])), '')
  t.is(readInetAddress(bytes), null)
})
