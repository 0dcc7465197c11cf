import { opensslForTests } from '../helpers/openssl-for-tests.ts'

if (opensslForTests()) await import('./tls-reload.ts')
