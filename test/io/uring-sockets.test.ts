import { Engine } from '../../io/engine.ts'
import { socketsContract } from './sockets-contract.ts'
import { streamContract } from './stream-contract.ts'
import { uringForTests } from './uring-for-tests.ts'

const io = uringForTests()
if (io !== null) {
  socketsContract(io.listen, Engine.URING)
  streamContract(io.listen)
}
