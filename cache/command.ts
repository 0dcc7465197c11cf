/** Which method of a device an operation calls. */
import assert from 'node:assert/strict'
import type { Device, Request, Status } from '../device/device.ts'

export const Command = { READ: 0, WRITE: 1, TRIM: 2, ZERO: 3 } as const
export type Command = (typeof Command)[keyof typeof Command]

export function callDevice(device: Device, command: Command, request: Request): Status {
  switch (command) {
    case Command.READ:
      return device.read(request)
    case Command.WRITE:
      return device.write(request)
    case Command.TRIM:
      return device.trim(request)
    default:
      return device.zero(request)
  }
}

/** Stands where a pooled operation serves nobody, so that its fields keep one type. */
export const IDLE_REQUEST: Request = {
  offset: 0,
  length: 0,
  flags: 0,
  buffer: new Uint8Array(0),
  bufferOffset: 0,
  extents: null,
  errorOffset: 0,
  complete: () => assert.fail('nothing is under way'),
}
