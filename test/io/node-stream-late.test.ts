import { listen } from '../../io/node-sockets.ts'
import { streamContract } from './stream-contract.ts'

// Without the system call that sends at once: Node sends everything.
streamContract(listen)
