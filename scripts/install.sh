#!/bin/sh
# Makes node_modules what package-lock.json says, if it is not; says nothing when all is there.
# The other scripts call it first: a fresh clone needs nothing but Node and npm.
set -eu
cd "$(dirname "$0")/.."

# shellcheck disable=SC2016 # the dollar is JavaScript's
node -e '
  const [major, minor] = process.versions.node.split(".").map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) process.exit(0)
  console.error(`chunknbd needs Node 20.19 or newer; this is ${process.version}`)
  process.exit(1)
'

# npm writes the inner lock file last: if it is there, the installation was finished.
installed=node_modules/.package-lock.json
if ! [ -e "$installed" ] || [ -n "$(find package-lock.json -newer "$installed")" ]; then
  echo "Installing packages (npm ci)" >&2
  # No package needs its install script: what is native comes ready-built in a package.
  npm ci --ignore-scripts --no-audit --no-fund >&2
  touch "$installed"
fi
