/** The tests of tls.test.ts. */
import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createUringIo } from '../../io/uring.ts'
import { Authority } from '../helpers/authority.ts'
import { sameBytes } from '../helpers/bytes.ts'
import { chunknbd } from '../helpers/chunks.ts'
import { type Served, serve } from '../helpers/serve.ts'
import { tempDirectory } from '../helpers/temp.ts'
import { attempt, requireTool, run, type RunOptions } from '../helpers/tools.ts'
import { ALICE, directory, keepsSecrets, KINDS, MIB, portOf, TCP, uriFor } from './tls-kinds.ts'

const ENGINES = typeof createUringIo() === 'string' ? ['node'] : ['node', 'uring']

/** GnuTLS reads it from the environment. */
const ONLY_12 = join(directory, 'gnutls.conf')
writeFileSync(ONLY_12, '[overrides]\ndisabled-version = tls1.3\n')
const VERSIONS: readonly (readonly [string, RunOptions])[] = [
  ['1.2', { env: { GNUTLS_SYSTEM_PRIORITY_FILE: ONLY_12 } }],
  ['1.3', {}],
]

function qemuTarget(server: Served): string[] {
  const place = `file.host=localhost,file.port=${portOf(server)},file.export=memory`
  return ['--image-opts', `driver=raw,file.driver=nbd,${place},file.tls-creds=tls`]
}

for (const kind of KINDS) {
  for (const engine of ENGINES) {
    test.serial(`${kind.name}, ${engine}: nbdcopy in and out, byte for byte`, async (t) => {
      if (!requireTool(t, 'nbdcopy')) return
      const server = await serve(t, [...TCP, ...kind.options, '--engine', engine])
      t.regex(server.uri, /^nbds:\/\/127\.0\.0\.1:\d+\/memory$/)
      const [image, back] = ['image', 'back'].map((name) => join(tempDirectory(t), name))
      const bytes = randomFillSync(Buffer.alloc(16 * MIB))
      writeFileSync(image, bytes)
      const uri = uriFor(server, kind)
      await run(t, 'nbdcopy', ['--connections=4', '--requests=32', image, uri])
      await run(t, 'nbdcopy', ['--connections=2', uri, back])
      sameBytes(t, readFileSync(back), bytes)
      t.true(server.log().includes(`"tls":"TLSv1.3","peer":"${kind.peer}","msg":"client attached"`))
      keepsSecrets(t, server)
      t.is(await server.stop(), 0)
    })
  }

  for (const engine of ENGINES) {
    // In plain, large reads leave from the file without a look at them.
    test.serial(`${kind.name}, ${engine}: what is in chunk files is encrypted, too`, async (t) => {
      if (!requireTool(t, 'nbdcopy')) return
      const cwd = tempDirectory(t)
      await chunknbd(t, ['create', 'memory.chunkdisk', '--size', '16M', '--chunk-size', '1M'], cwd)
      const words = ['memory.chunkdisk', '--listen', 'nbd://127.0.0.1:0', '--page-cache', '0']
      const server = await serve(t, [...words, ...kind.options, '--engine', engine], { cwd })
      const [image, back] = ['image', 'back'].map((name) => join(cwd, name))
      const bytes = randomFillSync(Buffer.alloc(16 * MIB))
      writeFileSync(image, bytes)
      const uri = uriFor(server, kind)
      await run(t, 'nbdcopy', [image, uri])
      await run(t, 'nbdcopy', ['--request-size=1048576', uri, back])
      sameBytes(t, readFileSync(back), bytes)
      t.is(await server.stop(), 0)
    })
  }

  for (const [version, environment] of VERSIONS) {
    test.serial(`${kind.name}, TLS ${version}: nbdinfo, nbdsh and qemu-img`, async (t) => {
      if (!requireTool(t, 'nbdinfo', 'nbdsh', 'qemu-img')) return
      const server = await serve(t, [...TCP, ...kind.options])
      const info = await run(t, 'nbdinfo', ['--json', uriFor(server, kind)], environment)
      t.like(JSON.parse(info.stdout), { protocol: 'newstyle-fixed', TLS: true, structured: true })

      const steps = [
        `${kind.nbdsh}; h.set_tls(nbd.TLS_REQUIRE); h.set_export_name("memory")`,
        `h.connect_tcp("localhost", "${portOf(server)}")`,
        'assert h.get_tls_negotiated()',
        // Larger than what is encrypted at once.
        'data = bytes(range(256)) * 20000; h.pwrite(data, 1000001)',
        'assert h.pread(len(data), 1000001) == data; h.trim(4096, 0); h.flush(); h.shutdown()',
      ]
      await run(t, 'nbdsh', ['-c', steps.join('\n')], environment)

      // QEMU adds what keys need to a priority; the other time it has its own.
      const priority = version === '1.2' ? ',priority=NORMAL:-VERS-TLS1.3' : ''
      const object = `${kind.qemu},id=tls,endpoint=client${priority}`
      const options = ['--object', object, ...qemuTarget(server)]
      const told = await run(t, 'qemu-img', ['info', '--output=json', ...options])
      t.like(JSON.parse(told.stdout), { 'virtual-size': 16 * MIB })
      t.is(await server.stop(), 0)
      const versions = new Set(server.log().match(/TLSv1\.\d/g))
      t.deepEqual([...versions], [`TLSv${version}`])
    })
  }

  test.serial(`${kind.name}: qemu-img and nbdkit read what nbdcopy wrote`, async (t) => {
    if (!requireTool(t, 'nbdcopy', 'qemu-img', 'nbdkit')) return
    const cwd = tempDirectory(t)
    const server = await serve(t, [...TCP, ...kind.options])
    const bytes = randomFillSync(Buffer.alloc(16 * MIB))
    writeFileSync(join(cwd, 'image'), bytes)
    await run(t, 'nbdcopy', ['image', uriFor(server, kind)], { cwd })
    const object = `${kind.qemu},id=tls,endpoint=client`
    const source = ['--object', object, ...qemuTarget(server)]
    await run(t, 'qemu-img', ['convert', ...source, '-O', 'raw', 'qemu'], { cwd })
    sameBytes(t, readFileSync(join(cwd, 'qemu')), bytes)
    const place = ['hostname=localhost', `port=${portOf(server)}`, 'export=memory', 'tls=require']
    const copy = ['--run', 'nbdcopy "$uri" nbdkit']
    await run(t, 'nbdkit', ['-U', '-', 'nbd', ...place, ...kind.nbdkit, ...copy], { cwd })
    sameBytes(t, readFileSync(join(cwd, 'nbdkit')), bytes)
    t.is(await server.stop(), 0)
  })

  test.serial(`${kind.name}: a unix socket, with nbdinfo and our own client`, async (t) => {
    if (!requireTool(t, 'nbdinfo')) return
    const server = await serve(t, ['--memory', '64K', ...kind.options])
    t.regex(server.uri, /^nbds\+unix:\/\/\/memory\?socket=/)
    const uri = `${server.uri.replace('///', `//${kind.user}/`)}&${kind.parameters}`
    const { stdout } = await run(t, 'nbdinfo', ['--size', uri])
    t.is(stdout, '65536\n')
    const info = await chunknbd(t, ['info', uri], tempDirectory(t))
    t.regex(info.stdout, /\nsize +64K /)
    t.is(await server.stop(), 0)
  })
}

test.serial('nbd-client lists exports through TLS', async (t) => {
  if (!requireTool(t, 'nbd-client')) return
  const server = await serve(t, [...TCP, ...KINDS[0].options])
  const file = (name: string): string => join(ALICE, `${name}.pem`)
  const own = ['-certfile', file('client-cert'), '-keyfile', file('client-key')]
  const list = ['-l', 'localhost', portOf(server), ...own]
  const { stdout } = await run(t, 'nbd-client', [...list, '-cacertfile', file('ca-cert')])
  t.regex(stdout, /\nmemory: memory disk of 16M\n/)
  const stranger = new Authority(tempDirectory(t)).folder('client')
  const trust = ['-cacertfile', join(stranger, 'ca-cert.pem')]
  t.not((await attempt(t, 'nbd-client', [...list, ...trust])).status, 0)
})
