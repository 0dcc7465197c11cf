/** `chunknbd config`: is a configuration file right, and what does it come to. */
import { Command } from 'commander'
import { stringify } from 'smol-toml'
import { readDescriptor } from '../chunkstore/descriptor-file.ts'
import { PathMap } from '../chunkstore/path-map.ts'
import type { Files } from '../io/io.ts'
import { createNodeIo } from '../io/node.ts'
import { ConfigError } from './config-error.ts'
import { readConfig } from './config-file.ts'
import { misspeltVariables } from './misspelt.ts'
import { printLine } from './output.ts'
import { effectiveConfig } from './effective-config.ts'
import { serveCommandLine } from './serve-options.ts'
import { combine, type Settings } from './settings.ts'

const EXAMPLES = `
"check" opens no disk for serving and changes nothing; what is wrong is told with its line. "print"
shows what "serve --config FILE" would do, with the defaults and what the environment (CHUNKNBD_*)
says, as a configuration file. Keys are described in docs/configuration.md.

Examples:
  chunknbd config check /etc/chunknbd.toml && systemctl reload chunknbd
  chunknbd config print /etc/chunknbd.toml`

export function configCommand(): Command {
  return new Command('config')
    .description('Check or show a configuration file.')
    .addCommand(
      new Command('check')
        .description('Say what is wrong in a configuration file.')
        .argument('<FILE>', 'the configuration file')
        .action(checkConfig),
    )
    .addCommand(
      new Command('print')
        .description('Print what is in effect, as a configuration file.')
        .argument('<FILE>', 'the configuration file')
        .action(printConfig),
    )
    .addHelpText('after', EXAMPLES)
}

async function checkConfig(file: string): Promise<void> {
  const settings = await read(file)
  const problems: string[] = []
  for (const { name, disk } of settings.exports) {
    if (typeof disk === 'number') continue
    const problem = await problemOf(createNodeIo().files, disk.file, new PathMap(disk.mapPath))
    if (problem !== null) problems.push(`${file}: export "${name}": ${problem}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  const count = settings.exports.length
  printLine(`${file} is right: ${count} export${count === 1 ? '' : 's'}`)
}

async function printConfig(file: string): Promise<void> {
  process.stdout.write(stringify(effectiveConfig(await read(file))))
}

async function read(file: string): Promise<Settings> {
  const command = serveCommandLine()
  for (const sentence of misspeltVariables(command, process.env)) {
    process.stderr.write(`chunknbd: ${sentence}\n`)
  }
  return combine([], command, process.env, await readConfig(file, command))
}

async function problemOf(files: Files, file: string, paths: PathMap): Promise<string | null> {
  try {
    await readDescriptor(files, file, paths)
    return null
  } catch (error) {
    return (error as Error).message
  }
}
