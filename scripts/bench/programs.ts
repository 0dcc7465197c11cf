/** Our own two programs in C, compiled into the workspace of the run that uses them. */
import { join } from 'node:path'
import type { Workspace } from './workspace.ts'

const FLAGS = ['-O2', '-std=c11', '-Wall', '-Wextra']

export interface Programs {
  /** Path of the load generator. */
  readonly load: string
  /** Path of the server without storage. */
  readonly floor: string
}

export async function compilePrograms(workspace: Workspace): Promise<Programs> {
  const [load, floor] = await Promise.all(['load', 'floor'].map((name) => compile(workspace, name)))
  return { load, floor }
}

async function compile(workspace: Workspace, name: string): Promise<string> {
  const compiler = process.env.CC ?? 'cc'
  const source = join(import.meta.dirname, `${name}.c`)
  const program = workspace.path(name)
  try {
    await workspace.run(compiler, [...FLAGS, '-o', program, source])
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') throw new Error(`${name}.c: ${message}`, { cause: error })
    throw new Error(
      `The benchmark's load generator is C, and there is no compiler '${compiler}'. ` +
        'Install one (Debian: apt install gcc libc6-dev), or name yours in CC.',
      { cause: error },
    )
  }
  return program
}
