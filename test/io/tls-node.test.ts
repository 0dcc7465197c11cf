import { createNodeIo } from '../../io/node.ts'
import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { tlsContract } from './tls-contract.ts'

if (opensslForTests()) tlsContract(createNodeIo().listen)
