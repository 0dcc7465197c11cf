#!/usr/bin/env node
/** The command line: a command for each thing people do with a disk. */
import { Command, CommanderError } from 'commander'
import { checkCommand } from './check-command.ts'
import { createCommand } from './create-command.ts'
import { infoCommand } from './info-command.ts'
import { mapCommand } from './map-command.ts'
import { serveCommand } from './serve-command.ts'
import { version } from './version.ts'

const FAILURE = 1
const USAGE = 2

const EPILOGUE = `
Examples:
  chunknbd create disk.chunkdisk --size 10G
  chunknbd serve disk.chunkdisk
  sudo nbd-client -N disk 127.0.0.1 /dev/nbd0     (or: nbdinfo nbd://127.0.0.1:10809/disk)

Sizes are bytes, or take a binary suffix: K M G T. Exit status: 0 ok, 1 failure, 2 wrong usage.`

async function main(): Promise<void> {
  const program = new Command('chunknbd')
    .description('Serves virtual disks kept as sparse chunk files over NBD.')
    .version(version)
    .addHelpText('after', EPILOGUE)
    .showHelpAfterError('(chunknbd COMMAND --help shows what a command takes)')
  for (const command of [serveCommand, createCommand, infoCommand, mapCommand, checkCommand]) {
    program.addCommand(command())
  }
  for (const command of [program, ...program.commands]) command.exitOverride()
  try {
    await program.parseAsync()
  } catch (error) {
    process.exitCode = report(error)
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE
  const { message, code, stack } = error as NodeJS.ErrnoException
  // An error without a code is none that we or the system foresaw: say where it comes from.
  process.stderr.write(`chunknbd: ${code === undefined ? (stack ?? message) : message}\n`)
  return FAILURE
}

await main()
