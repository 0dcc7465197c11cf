/** Connections leave the last file descriptors to others. */
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import net from 'node:net'
import test from 'ava'
import { firstReserved } from '../../io/descriptors.ts'
import { createNodeIo } from '../../io/node.ts'
import { createUringIo } from '../../io/uring.ts'
import { requireTool, run } from '../helpers/tools.ts'
import { until } from '../helpers/socket-server.ts'

const LIMIT = 300
const uring = createUringIo()
const ENGINES = typeof uring === 'string' ? [createNodeIo()] : [createNodeIo(), uring]

for (const { name, listen } of ENGINES) {
  test.serial(
    `few descriptors are left: newcomers are closed and told of, engine ${name}`,
    async (t) => {
      if (!requireTool(t, 'prlimit')) return
      const self = ['--pid', `${process.pid}`]
      await run(t, 'prlimit', [...self, `--nofile=${LIMIT}:`])
      t.is(firstReserved(), LIMIT - 37)
      const accepted: string[] = []
      const refused: string[] = []
      const listener = await listen(
        { kind: 'tcp', host: '127.0.0.1', port: 0 },
        (stream) => {
          accepted.push(stream.remote)
          stream.destroy()
        },
        (remote) => refused.push(remote),
      )
      const { port } = listener.address as { readonly port: number }
      const connect = async (): Promise<net.Socket> => {
        const socket = net.connect(port, '127.0.0.1').on('error', () => {})
        await once(socket, 'connect')
        return socket
      }
      const first = await connect()
      await until(() => accepted.length === 1)
      first.destroy()
      const taken: number[] = []
      while ((taken.at(-1) ?? 0) < LIMIT - 20) taken.push(openSync('/dev/null', 'r'))
      const second = await connect()
      await until(() => refused.length === 1)
      await until(() => second.destroyed || second.readableEnded || second.closed)
      t.regex(refused[0], /^127\.0\.0\.1:\d+$/)
      t.is(accepted.length, 1)
      taken.forEach((fd) => closeSync(fd))
      second.destroy()
      const third = await connect()
      await until(() => accepted.length === 2)
      third.destroy()
      await listener.close()
    },
  )
}
