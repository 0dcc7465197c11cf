#!/bin/sh
# npm run vm: the real kernel as a client. Creates a disk, serves it, boots a Linux in QEMU which
# attaches /dev/nbd0 (vm-guest.sh), and looks at the chunk files from outside meanwhile. No root,
# nothing installed, no KVM needed (30 seconds without it).
#
#   --fs ext4|xfs|both         file system; both: in phase crash only            (ext4)
#   --connections N            sockets of the device                             (1)
#   --mib N                    file data to write                                (32)
#   --phase PHASE              (roundtrip)
#       roundtrip  everything, in one machine
#       attach     attach and detach only
#       crash      the guest writes and syncs files; our server is killed with SIGKILL, the guest
#                  with it; served again, another guest replays the journal: all files synced are
#                  there, the file system is clean
#   --server COMMAND           another server: listens on $PORT of 127.0.0.1 and may keep its
#                              data in $DATA/disk.raw (1 GiB, sparse), for instance
#                              'nbdkit -f -i 127.0.0.1 -p $PORT file $DATA/disk.raw'
#   --timeout SECONDS          for the virtual machine                           (300)
#   --seed S                   selects the data, and the moment of the kill      (1)
#   --verbose                  shows the console and the server's log at the end
#
# Exit status: 0 passed, 1 failed, 2 cannot be set up, 3 the machine ended without a verdict.
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

die() {
  echo "vm: $*" >&2
  exit 2
}

fs=ext4 connections=1 mib=32 phase=roundtrip server='' limit=300 seed=1 verbose=0
while [ $# -gt 0 ]; do
  case $1 in
    --help) sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p; }' "$0" && exit 0 ;;
    --verbose) verbose=1 && shift && continue ;;
  esac
  [ $# -ge 2 ] || die "$1: unknown, or needs a value"
  case $1 in
    --fs) fs=$2 ;;
    --connections) connections=$2 ;;
    --mib) mib=$2 ;;
    --phase) phase=$2 ;;
    --server) server=$2 ;;
    --timeout) limit=$2 ;;
    --seed) seed=$2 ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done
case $phase:$fs in
  crash:both) disks='ext4 xfs' ;;
  crash:ext4 | crash:xfs) disks=$fs ;;
  roundtrip:ext4 | roundtrip:xfs | attach:ext4 | attach:xfs) disks=disk ;;
  *) die "--phase $phase --fs $fs: see --help" ;;
esac
[ -z "$server" ] || [ $phase != crash ] || die '--phase crash is for our own server'
case $connections$mib$limit in *[!0-9]*) die 'not a number' ;; esac
case $seed in *[!A-Za-z0-9]*) die '--seed: letters and digits' ;; esac

for tool in qemu-system-x86_64 cpio gzip; do
  command -v $tool >/dev/null || die "missing tool: $tool (scripts/debian-packages.txt)"
done
image=$(sh scripts/vm-image.sh "${XDG_CACHE_HOME:-$HOME/.cache}/chunknbd-vm") || exit 2
kernel=$(echo "$image" | sed -n 1p)
initramfs=$(echo "$image" | sed -n 2p)

DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/chunknbd-vm-XXXXXX")
DATA=$DIRECTORY/data
mkdir "$DATA"
server_pid=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
  # shellcheck disable=SC2046,SC2086 # none, one or two words
  kill -KILL $server_pid $(cat "$DIRECTORY/qemu.pid" 2>/dev/null) 2>/dev/null || true
  rm -rf "$DIRECTORY"
}
trap cleanup EXIT
trap 'exit 3' INT TERM

chunknbd() { node dist/cli/main.js "$@"; }

create_disks() {
  [ -e dist/cli/main.js ] || npm run --silent build || die 'cannot build'
  for disk in $disks; do
    chunknbd create "$DATA/$disk.chunkdisk" --size 1G --chunk-size 4M ||
      die 'cannot create the disk'
  done
}

# Leaves the port in PORT.
start_our_server() {
  : >"$DIRECTORY/uri"
  # shellcheck disable=SC2046 # a word for each disk
  node dist/cli/main.js serve $(files) --listen nbd://127.0.0.1:0 \
    >"$DIRECTORY/uri" 2>>"$DIRECTORY/server.log" &
  server_pid=$!
  until [ -s "$DIRECTORY/uri" ]; do
    kill -0 $server_pid 2>/dev/null || die "the server ended: $(cat "$DIRECTORY/server.log")"
    sleep 0.1
  done
  PORT=$(sed -n '1s|^nbd://127\.0\.0\.1:\([0-9]*\).*|\1|p' "$DIRECTORY/uri")
  [ -n "$PORT" ] || die "no port in what the server printed: $(cat "$DIRECTORY/uri")"
}

files() { for disk in $disks; do echo "$DATA/$disk.chunkdisk"; done; }

start_other_server() {
  PORT=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => {
    console.log(s.address().port)
    s.close()
  })')
  export PORT DATA
  truncate -s 1G "$DATA/disk.raw"
  sh -c "exec $server" >"$DIRECTORY/server.log" 2>&1 &
  server_pid=$!
}

# The guest's steps on standard input; answers its questions, keeps its verdict.
follow_guest() {
  while read -r word rest; do
    case $word in
      STEP | INFO | FAILED) echo "$word $rest" ;;
      SAMPLE)
        used=$(du -sk "$DATA" | cut -f1)
        echo "SAMPLE $rest: $used KiB used on the host"
        echo "$used" >"$DIRECTORY/used.$rest"
        echo >&4
        ;;
      DONE)
        echo "$rest" >"$DIRECTORY/done"
        [ "$rest" != "$kill_round" ] || kill_all &
        ;;
      VERDICT) echo "$rest" >"$DIRECTORY/verdict" ;;
      *) echo "$word $rest" ;;
    esac
  done
}

# Some time after the round that the seed selects is done: the server, then the guest.
kill_all() {
  sleep "0.$kill_delay"
  echo "KILL the server with SIGKILL, 0.$kill_delay s after round $kill_round"
  kill -KILL $server_pid
  kill -KILL "$(cat "$DIRECTORY/qemu.pid")"
}

boot() { # boot PHASE
  # /dev/kvm alone proves nothing: some sandboxes have one that cannot run a stock kernel. And
  # QEMU 7.2 corrupts registers when it emulates cmpxchg16b, so the guest must not see it.
  accelerator=tcg processor=qemu64,-cx16
  if [ -w /dev/kvm ] && { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }; then
    accelerator=kvm processor=host
  fi
  mkdir -p "$DIRECTORY/init"
  install -m 755 scripts/vm-guest.sh "$DIRECTORY/init/init"
  (cd "$DIRECTORY/init" && echo init | cpio -o -H newc --quiet | gzip -1) >"$DIRECTORY/init.gz"
  # The kernel unpacks archives one after the other.
  cat "$initramfs" "$DIRECTORY/init.gz" >"$DIRECTORY/initramfs"
  variables="vm.PORT=$PORT vm.NAME= vm.PHASE=$1 vm.FS=$fs vm.MIB=$mib"
  variables="$variables vm.CONNECTIONS=$connections vm.SEED=$seed"
  variables="$variables vm.DONE=$(cat "$DIRECTORY/done" 2>/dev/null || echo -1)"
  [ -e "$DIRECTORY/answers" ] || mkfifo "$DIRECTORY/answers"
  exec 4<>"$DIRECTORY/answers"
  # In the background: the shell runs its traps while it waits, not while a command runs.
  timeout --kill-after=5 "$limit" qemu-system-x86_64 \
    -M q35 -accel $accelerator -cpu $processor -m 768 -smp 1 \
    -nodefaults -no-user-config -display none -no-reboot -pidfile "$DIRECTORY/qemu.pid" \
    -kernel "$kernel" -initrd "$DIRECTORY/initramfs" \
    -append "console=ttyS0 quiet panic=-1 loglevel=4 $variables" \
    -netdev user,id=n0 -device virtio-net-pci,netdev=n0,romfile= \
    -serial "file:$DIRECTORY/console" -chardev stdio,id=host,signal=off -serial chardev:host \
    <"$DIRECTORY/answers" 2>"$DIRECTORY/qemu.log" | follow_guest &
  wait $!
}

# What was deleted must be gone from the chunk files: all but a tenth of it.
check_usage() {
  [ "$phase" = roundtrip ] || return 0
  case $server in '' | *DATA*) ;; *) return 0 ;; esac
  deleted=$(cat "$DIRECTORY/used.deleted")
  trimmed=$(cat "$DIRECTORY/used.trimmed")
  [ $((deleted - trimmed)) -ge $((mib * 1024 * 9 / 10)) ] && return 0
  echo "FAILED: fstrim after deleting $mib MiB: $deleted KiB used before, $trimmed KiB after"
  return 1
}

check_our_server() {
  kill -TERM $server_pid
  status=0
  wait $server_pid || status=$?
  server_pid=
  [ $status = 0 ] || { echo "FAILED: exit status $status of the server after SIGTERM"; return 1; }
  check_disks
}

check_disks() {
  for file in $(files); do
    chunknbd check "$file" || { echo 'FAILED: chunknbd check'; return 1; }
  done
}

# Ends with the server running again on what the killed one left.
crash() {
  number=$(echo "$seed" | cksum | cut -d' ' -f1)
  kill_round=$((10 + number % 40))
  kill_delay=$(printf %03d $((number / 40 % 1000)))
  boot crash
  status=0
  wait $server_pid || status=$?
  server_pid=
  [ $status = 137 ] || { echo "FAILED: the server ended with $status, not by SIGKILL"; return 1; }
  check_disks || return 1
  start_our_server
}

conclude() { # conclude EXIT-STATUS
  if [ "$1" != 0 ] || [ $verbose = 1 ]; then
    for log in console qemu.log server.log; do
      echo "--- $log"
      tail -n 30 "$DIRECTORY/$log" || true
    done
  fi
  echo "vm: exit status $1 ($phase, $fs, connections: $connections)"
  exit "$1"
}

if [ -n "$server" ]; then start_other_server; else create_disks && start_our_server; fi
kill_round=
if [ "$phase" = crash ]; then
  crash || conclude 1
  boot replay
else
  boot "$phase"
fi
case $(cat "$DIRECTORY/verdict" 2>/dev/null) in
  0) ;;
  1) conclude 1 ;;
  *) echo 'vm: the machine ended without a verdict' && conclude 3 ;;
esac
check_usage || conclude 1
[ -n "$server" ] || check_our_server || conclude 1
conclude 0
