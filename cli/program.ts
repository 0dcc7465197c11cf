/** The command line: a command for each thing people do with a disk. */
import { Command, CommanderError } from 'commander'
import { checkCommand } from './check-command.ts'
import { commitCommand } from './commit-command.ts'
import { configCommand } from './config-command.ts'
import { createCommand } from './create-command.ts'
import { flattenCommand } from './flatten-command.ts'
import { infoCommand } from './info-command.ts'
import { mapCommand } from './map-command.ts'
import { relayCommand } from './relay-command.ts'
import { resizeCommand } from './resize-command.ts'
import { scrubCommand } from './scrub-command.ts'
import { serveCommand } from './serve-command.ts'
import { version } from './version.ts'

const SUCCESS = 0
const FAILURE = 1
const USAGE = 2

const COMMANDS = [
  serveCommand,
  configCommand,
  createCommand,
  infoCommand,
  mapCommand,
  checkCommand,
  resizeCommand,
  scrubCommand,
  commitCommand,
  flattenCommand,
  relayCommand,
]

const EPILOGUE = `
Examples:
  chunknbd create disk.chunkdisk --size 10G
  chunknbd serve disk.chunkdisk
  sudo nbd-client -N disk 127.0.0.1 /dev/nbd0     (or: nbdinfo nbd://127.0.0.1:10809/disk)

Sizes are bytes, or take a binary suffix: K M G T P. Exit status: 0 ok, 1 failure, 2 wrong usage.`

/**
 * @param args what stands behind the program's name
 * @returns the exit status; `check` sets that of the process if it found something
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  const program = new Command('chunknbd')
    .description('Serves virtual disks kept as sparse chunk files over NBD.')
    .version(version)
    .addHelpText('after', EPILOGUE)
    .showHelpAfterError('(chunknbd COMMAND --help shows what a command takes)')
    .exitOverride()
  for (const make of COMMANDS) {
    const command = make()
    const hint = `(chunknbd ${command.name()} --help shows what it takes, with examples)`
    program.addCommand(command)
    for (const each of [command, ...command.commands]) each.showHelpAfterError(hint).exitOverride()
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return SUCCESS
  } catch (error) {
    return report(error)
  }
}

function report(error: unknown): number {
  // Commander has printed it.
  if (error instanceof CommanderError) return error.exitCode === 0 ? SUCCESS : USAGE
  const { message, code, stack } = error as NodeJS.ErrnoException
  // An error without a code is none that we or the system foresaw: say where it comes from.
  process.stderr.write(`chunknbd: ${code === undefined ? (stack ?? message) : message}\n`)
  return FAILURE
}
