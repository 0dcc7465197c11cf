/**
 * Runs the command line inside the test, without the second that a process of its own takes.
 * The working directory and the standard streams are the process's: tests that use this are serial.
 * `serve` is not for this; test/e2e starts the real program.
 */
import { runProgram } from '../../cli/program.ts'
import type { RunResult } from '../helpers/tools.ts'

export async function runInProcess(
  directory: string,
  ...args: readonly string[]
): Promise<RunResult> {
  const before = { directory: process.cwd(), exitCode: process.exitCode }
  const stdout = capture(process.stdout)
  const stderr = capture(process.stderr)
  process.chdir(directory)
  process.exitCode = 0
  try {
    const returned = await runProgram(args)
    const status = returned === 0 ? Number(process.exitCode) : returned
    return { status, signal: null, stdout: stdout.text(), stderr: stderr.text() }
  } finally {
    stdout.restore()
    stderr.restore()
    process.chdir(before.directory)
    process.exitCode = before.exitCode
  }
}

function capture(stream: NodeJS.WriteStream): { text(): string; restore(): void } {
  const { write } = stream
  let text = ''
  stream.write = (chunk: Uint8Array | string) => {
    text += chunk.toString()
    return true
  }
  return { text: () => text, restore: () => (stream.write = write) }
}
