/** TLS between the real server and clients that others have written: GnuTLS at their end. */
import { opensslForTests } from '../helpers/openssl-for-tests.ts'

if (opensslForTests()) await import('./tls-clients.ts')
