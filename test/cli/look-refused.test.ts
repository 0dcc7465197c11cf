/** info and map of what is no disk, or no server. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { tempDirectory } from '../helpers/temp.ts'
import { runInProcess } from './in-process.ts'

const fails = test.macro<[args: readonly string[], message: RegExp]>({
  exec: async (t, args, message) => {
    const directory = tempDirectory(t)
    writeFileSync(join(directory, 'bad'), 'hello\n')
    writeFileSync(join(directory, 'missing'), '1M\n64K\n16 nowhere\n')
    writeFileSync(join(directory, 'image'), Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'))
    writeFileSync(join(directory, 'large'), Buffer.alloc((1 << 20) + 1, ' '))
    mkdirSync(join(directory, 'sub.chunkdisk'))
    const { status, stdout, stderr } = await runInProcess(directory, ...args)
    t.deepEqual([status, stdout], [1, ''])
    t.regex(stderr, /^chunknbd: [^\n]+\n$/)
    t.regex(stderr, message)
  },
  title: (_, args, message) => `"${args.join(' ')}" fails: ${message.source}`,
})

for (const command of ['info', 'map'] as const) {
  for (const json of [[], ['--json']]) {
    const args = [command, ...json]
    test.serial(fails, [...args, 'nothere'], /\/nothere: cannot be read: there is no such file/)
    test.serial(fails, [...args, 'bad'], /\/bad: the disk size is missing/)
    test.serial(fails, [...args, 'missing'], /part directory .*\/nowhere does not exist; create it/)
    for (const image of ['image', 'large']) {
      test.serial(fails, [...args, image], /\/(image|large): .*no descriptor; .*"chunknbd create"/)
    }
    test.serial(fails, [...args, 'sub.chunkdisk'], /\/sub\.chunkdisk: .* is a directory; name the/)
  }
}
test.serial(fails, ['info', 'nbd://127.0.0.1:1/x'], /nbd:\/\/127\.0\.0\.1:1\/x: .*is the server/)
test.serial(fails, ['info', 'nbd+unix:///x?socket=nothere'], /nothere: cannot connect/)
