/** The version in package.json, which stands one folder above `cli`, or two above `dist/cli`. */
import { existsSync, readFileSync } from 'node:fs'

function readVersion(): string {
  for (const place of ['../package.json', '../../package.json']) {
    const file = new URL(place, import.meta.url)
    if (!existsSync(file)) continue
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  }
  return 'unknown'
}

export const version = readVersion()
