#!/usr/bin/env node
/** The program `chunknbd`. */
import { runProgram } from './program.ts'

// Who reads our output may have seen enough (`chunknbd map | head`); a server goes on.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return
  process.stderr.write(`chunknbd: the output cannot be written: ${error.message}\n`)
  process.exit(1)
})

const status = await runProgram(process.argv.slice(2))
if (status !== 0) process.exitCode = status
