#!/usr/bin/env node
/** The program `chunknbd`. */
import { runProgram } from './program.ts'

const status = await runProgram(process.argv.slice(2))
if (status !== 0) process.exitCode = status
