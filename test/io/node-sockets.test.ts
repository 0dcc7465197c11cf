import { Engine } from '../../io/engine.ts'
import { createNodeIo } from '../../io/node.ts'
import { socketsContract } from './sockets-contract.ts'

socketsContract(createNodeIo().listen, Engine.NODE)
