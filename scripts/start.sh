#!/bin/sh
# npm start: from a fresh clone to a served disk. Installs, builds, creates ./demo/demo.chunkdisk
# unless it is there, says how to mount it, and serves it until a signal ends it.
#
#   npm start                                     on nbd://127.0.0.1:10809
#   npm start -- --listen nbd://127.0.0.1:10810   arguments of `chunknbd serve`
set -eu
cd "$(dirname "$0")/.."

sh scripts/install.sh
main=dist/cli/main.js
sources='index.ts device io nbd cache chunkstore cli package-lock.json tsconfig.json
  tsconfig.build.json'
# shellcheck disable=SC2086 # one word for each path
if ! [ -e $main ] || [ -n "$(find $sources -newer $main -type f)" ]; then
  echo 'Building' >&2
  npm run --silent build
fi

disk=demo/demo.chunkdisk
if ! [ -e $disk ]; then
  mkdir -p demo
  node $main create $disk --size 1G --chunk-size 4M
fi

case " $* " in
  *' --listen'*) where=' (the address printed below stands in place of 127.0.0.1 10809)' ;;
  *) where='' ;;
esac
cat >&2 <<MESSAGE

The disk $disk (1 GiB, its chunk files are in demo/) is about to be served.
Use it from another terminal$where:

  a mounted file system, as root (Debian: apt install nbd-client)
    modprobe nbd
    nbd-client 127.0.0.1 10809 /dev/nbd0
    mkfs.ext4 /dev/nbd0            # once: it erases the disk
    mount -o discard /dev/nbd0 /mnt
    umount /mnt && nbd-client -d /dev/nbd0

  the disk of a virtual machine
    qemu-system-x86_64 -m 2G -drive file=nbd://127.0.0.1:10809,format=raw,if=virtio,discard=unmap

  without root (Debian: apt install libnbd-bin)
    nbdinfo nbd://127.0.0.1:10809
    nbdcopy --progress any.img nbd://127.0.0.1:10809

Stop it with Ctrl+C (after umount): everything is on disk when it has ended.

MESSAGE
# In place of this shell, so that signals reach the server.
exec node $main serve $disk "$@"
