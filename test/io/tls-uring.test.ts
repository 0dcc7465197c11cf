import { opensslForTests } from '../helpers/openssl-for-tests.ts'
import { tlsContract } from './tls-contract.ts'
import { uringForTests } from './uring-for-tests.ts'

const io = uringForTests()
if (io !== null && opensslForTests()) tlsContract(io.listen)
