import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import test from 'ava'
import { machineIdentity } from '../../io/machine-identity.ts'

const FILE = import.meta.resolve('../../io/machine-identity.ts')
const CODE = `
  const { machineIdentity } = await import(${JSON.stringify(FILE)})
  console.log(JSON.stringify(await machineIdentity()))`

test('a machine is told by the same words in every process', async (t) => {
  const here = await machineIdentity()
  const words = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', CODE]
  const there = execFileSync(process.execPath, words, { encoding: 'utf8' })
  t.deepEqual(JSON.parse(there), here)
  t.is(here.host, os.hostname())
  t.is(here.boot, fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
})

test('the number of the machine is not shown', async (t) => {
  const { machine } = await machineIdentity()
  const isThere = fs.existsSync('/etc/machine-id')
  const id = isThere ? fs.readFileSync('/etc/machine-id', 'utf8').trim() : ''
  t.regex(machine, id === '' ? /^$/ : /^[\da-f]{32}$/)
  if (id !== '') t.not(machine, id)
})
