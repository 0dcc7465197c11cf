import test from 'ava'
import { MemoryDevice } from '../../device/memory.ts'
import { deviceContract } from '../device-contract.ts'
import { ModelDevice } from '../helpers/model-device.ts'

deviceContract(test, 'memory', { make: () => ({ device: new MemoryDevice(512 * 1024 + 100) }) })

deviceContract(test, 'the model', { make: () => ({ device: new ModelDevice(512 * 1024) }) })
