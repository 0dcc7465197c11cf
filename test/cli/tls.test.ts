import test from 'ava'
import { defaultPlaces } from '../../cli/tls.ts'

test('without a directory, certificates are looked for where nbdkit would', (t) => {
  t.deepEqual(defaultPlaces(null), ['/etc/pki/chunknbd', '/etc/pki/nbdkit'])
  t.deepEqual(defaultPlaces('/home/a'), [
    '/home/a/.pki/chunknbd',
    '/home/a/.config/pki/chunknbd',
    '/home/a/.pki/nbdkit',
    '/home/a/.config/pki/nbdkit',
  ])
})
