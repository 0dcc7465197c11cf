import test from 'ava'
import { findTool, requireTool } from './tools.ts'

/** @returns false: certificates cannot be made here, and one test says so */
export function opensslForTests(): boolean {
  if (findTool('openssl') !== null) return true
  test('certificates for TLS are made with openssl', (t) => void requireTool(t, 'openssl'))
  return false
}
