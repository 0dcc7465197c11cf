/**
 * Counts what ava reports, line by line. Reads the output meant for people: ava's TAP reporter
 * throws when a test file times out or calls process.exit(), and what was counted is gone with it.
 */
import { stripVTControlCharacters } from 'node:util'

const PASSED = /^ {2}[✔√] /
/** A test, a hook or a whole file; "Uncaught exception in" and "Unhandled rejection in" a file. */
const FAILED = /^ {2}[✘×] |^ {2}(?:Uncaught exception|Unhandled rejection) in /
const SKIPPED = /^ {2}- \[skip\] /
/** What requireTool() logs below the line of a test that has passed for want of a tool. */
const SKIPPED_AT_RUN_TIME = /^ {4}(?:ℹ |i )?SKIPPED: /

export class AvaOutput {
  passed = 0
  failed = 0
  skipped = 0

  /** @param text one line without its end */
  line(text: string): void {
    const plain = stripVTControlCharacters(text)
    if (PASSED.test(plain)) {
      this.passed++
    } else if (FAILED.test(plain)) {
      this.failed++
    } else if (SKIPPED.test(plain)) {
      this.skipped++
    } else if (SKIPPED_AT_RUN_TIME.test(plain)) {
      this.skipped++
      this.passed--
    }
  }

  /** To be called at the end: a run that failed has at least one failure, whatever was printed. */
  finish(exitStatus: number | null): void {
    const nothingRan = this.passed + this.failed + this.skipped === 0
    if (this.failed === 0 && (exitStatus !== 0 || nothingRan)) this.failed = 1
  }
}
