import test from 'ava'
import { hostOf } from '../../nbd/remote.ts'

const CASES: Readonly<Record<string, string>> = {
  '127.0.0.1:4711': '127.0.0.1',
  '10.1.2.3:1': '10.1.2.3',
  '[::ffff:10.1.2.3]:1': '10.1.2.3',
  '[::FFFF:10.1.2.3]:1': '10.1.2.3',
  '[::1]:4711': '0:0:0:0::/64',
  '[2001:db8:0:7::1]:9': '2001:db8:0:7::/64',
  '[2001:db8:0:7:ffff::2]:9': '2001:db8:0:7::/64',
  '[2001:db8::1:2:3:4:5]:9': '2001:db8:0:1::/64',
  '[1:2:3:4:5:6:7:8]:9': '1:2:3:4::/64',
  '[1:02:3:0004:5:6:7:8]:9': '1:2:3:4::/64',
  '[fe80::1%eth0]:9': 'fe80:0:0:0::/64',
  'unix:/run/10.0.0.1:1/s': '',
  unix: '',
  test: '',
}

for (const [remote, host] of Object.entries(CASES)) {
  test(`${remote} is of ${host === '' ? 'no address' : host}`, (t) => t.is(hostOf(remote), host))
}
