import test from 'ava'
import { splitNames } from '../../io/tls-identity.ts'

test('alternative names are taken apart', (t) => {
  t.deepEqual(splitNames(''), [])
  t.deepEqual(splitNames('DNS:a.example'), ['DNS:a.example'])
  const several = 'DNS:a.example, IP Address:10.0.0.1, email:a@b.example, URI:http://a/b:c'
  t.deepEqual(splitNames(several), several.split(', '))
})

test('an alternative name with a comma in it is one name, not another one behind it', (t) => {
  const quoted = String.raw`DNS:"a.example, DNS:admin.example", URI:"http://a/\"b\", DNS:c"`
  t.deepEqual(splitNames(quoted), ['DNS:a.example, DNS:admin.example', 'URI:http://a/"b", DNS:c'])
})
