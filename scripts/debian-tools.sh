#!/bin/sh
# The programs that tests need from outside (scripts/debian-packages.txt): installs those which
# are missing, if it is root on a Debian. Never fails: a test whose tool is missing says so
# itself, and fails in CI. Says nothing when all is there.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/sbin:/sbin"

# The rows of the list whose program is not there.
missing() {
  while read -r package tool use; do
    case $package in '' | '#'*) continue ;; esac
    command -v "$tool" >/dev/null || echo "$package $tool $use"
  done <debian-packages.txt
}

packages=$(missing | cut -d' ' -f1 | sort -u | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian packages: $packages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || true
  # shellcheck disable=SC2086 # one word for each package
  apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages \
    </dev/null >/dev/null || echo "apt-get could not install all of them" >&2
fi

rows=$(missing)
[ -n "$rows" ] || exit 0
cat >&2 <<MESSAGE

********************************************************************************
 MISSING: some tests will be skipped (in CI: will fail). Package, program, tests:

$(echo "$rows" | sed 's/^/   /')

 On Debian or Ubuntu:  sudo apt-get install --no-install-recommends \\
   $(echo "$rows" | cut -d' ' -f1 | sort -u | tr '\n' ' ')
********************************************************************************

MESSAGE
