#!/bin/sh
# npm test: from a fresh clone to a verdict. The last line of its output is `N passed, N failed`.
#
#   npm test                                everything
#   npm test -- --no-vm                     everything but the virtual machines (a minute)
#   npm test -- test/nbd/options.test.ts    these test files only (arguments of ava)
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh
sh scripts/debian-tools.sh
exec node --import tsx scripts/test.ts "$@"
