/**
 * Which machine this is, and which of its starts: tells what a process of this machine left behind
 * from what another machine uses.
 */
import { createHmac } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import type { MachineIdentity } from './io.ts'

const MACHINE_ID = '/etc/machine-id'
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
const ID = /^[0-9a-f-]{32,36}$/i
const DIGITS = 32

export async function machineIdentity(): Promise<MachineIdentity> {
  const [machine, boot] = await Promise.all([MACHINE_ID, BOOT_ID].map(readId))
  return { host: os.hostname(), machine: machine === '' ? '' : hidden(machine), boot }
}

/** @returns '' where there is none: containers often have no machine-id */
async function readId(file: string): Promise<string> {
  const text = await fs.promises.readFile(file, 'utf8').catch(() => '')
  return ID.test(text.trim()) ? text.trim() : ''
}

/** machine-id(5) asks not to show the number itself to others, and how to make another of it. */
function hidden(id: string): string {
  return createHmac('sha256', id).update('chunknbd').digest('hex').slice(0, DIGITS)
}
