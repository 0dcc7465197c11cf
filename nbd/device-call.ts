/**
 * The border to the device: the only place where a device's data path is called. What it returns
 * is checked, because a device that breaks the contract would corrupt data later and elsewhere.
 */
import { PENDING } from '../device/device.ts'
import type { Device, Status } from '../device/device.ts'
import { Command } from './protocol.ts'
import type { NbdRequest } from './request.ts'

/** @param request with the slice described; BLOCK_STATUS has an empty list */
export function callDevice(device: Device, request: NbdRequest): Status {
  if (request.pending) throw new Error('request is with a device already')
  request.errorOffset = request.offset
  request.hasBegun = true
  const status = request.flushing ? device.flush(request) : start(device, request)
  if (status === PENDING) request.pending = true
  else if (!(Number.isInteger(status) && status >= 0))
    throw new Error(`device: status ${status} of command ${request.command}`)
  return status
}

function start(device: Device, request: NbdRequest): Status {
  switch (request.command) {
    case Command.READ:
      return device.read(request)
    case Command.WRITE:
      return device.write(request)
    case Command.TRIM:
      return device.trim(request)
    case Command.WRITE_ZEROES:
      return device.zero(request)
    case Command.FLUSH:
      return device.flush(request)
    case Command.BLOCK_STATUS:
      if (request.list === null) throw new Error('block status without a list')
      return device.blockStatus(request, request.list)
    default:
      throw new Error(`command ${request.command} is not for a device`)
  }
}
