/** Clients that the real server refuses, and servers that real clients refuse. */
import { opensslForTests } from '../helpers/openssl-for-tests.ts'

if (opensslForTests()) await import('./tls-refused.ts')
