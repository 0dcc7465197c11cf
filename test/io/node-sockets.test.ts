import { Engine } from '../../io/engine.ts'
import { listen } from '../../io/node-sockets.ts'
import { socketsContract } from './sockets-contract.ts'

socketsContract(listen, Engine.NODE)
