#!/bin/busybox sh
# shellcheck shell=dash disable=SC2013,SC3045
# Init of the virtual machine of vm.sh: attaches /dev/nbd0 and uses it as people do.
# The second serial line talks to the host: it gets a line for each step, asks for samples of the
# host's disk usage (and waits for the answer), and ends with the verdict. The console is for
# humans. Variables come from the kernel command line: PORT NAME PHASE FS MIB CONNECTIONS SEED DONE.
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for word in $(cat /proc/cmdline); do
  case $word in vm.*) eval "${word#vm.}" ;; esac
done
queue=/sys/block/nbd0/queue
block=4096
files=100
# Of the phases crash and replay: each file system has a disk of its own.
[ "$FS" = both ] && systems='ext4 xfs' || systems=$FS
slots=24

stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
say() { echo "$*"; echo "$*" >&3; }
step() { step=$*; say "STEP $(cut -d' ' -f1 /proc/uptime) $*"; }
finish() { say "VERDICT $1"; sync; sleep 0.2; poweroff -f; sleep 60; }
fail() { say "FAILED in step: $step: $*"; dmesg | tail -15; finish 1; }
run() { "$@" >/tmp/out 2>&1 || { cat /tmp/out; say "$(tail -3 /tmp/out)"; fail "$*"; }; }
sample() { say "SAMPLE $1"; read -r _ <&3; }

# Deterministic data: NUMBER (below a million) selects the content. The repeated line has an odd
# length, so that no two aligned blocks within 16 MiB are alike. In an emulated machine a fork
# costs milliseconds, a dynamic program more, and busybox's head is slow on bulk data: small
# contents come from busybox, bulk from coreutils.
key=$(echo "$SEED" | sha256sum | cut -c1-64)
for _ in 1 2 3 4 5 6; do key=$key$key; done
content() { yes "$key-$((1000000 + $1))" | head -c "$2"; } # content NUMBER BYTES
bulk() { # bulk NUMBER MEBIBYTES
  done=0
  while [ $done -lt "$2" ]; do
    count=$(($2 - done))
    [ $count -le 16 ] || count=16
    /sbin/yes "$key-$((1000000 + $1 + done))" | /sbin/head -c $((count * 1048576))
    done=$((done + count))
  done
}
same() { /sbin/cmp - "$1"; } # same FILE: standard input equals it
drop() { sync; echo 3 >/proc/sys/vm/drop_caches; }

attach() { # attach [DEVICE EXPORT]
  step "attach ($CONNECTIONS connections)"
  attempt=0
  until /sbin/nbd-client 10.0.2.2 "$PORT" /dev/"${1:-nbd0}" -N "${2:-$NAME}" -b $block \
    -C "$CONNECTIONS" -t 60 >/tmp/out 2>&1; do
    attempt=$((attempt + 1))
    [ $attempt -lt 10 ] || { say "$(cat /tmp/out)"; fail attach; }
    sleep 1
  done
  [ "$(cat /sys/block/nbd0/size)" -gt 0 ] || fail 'the size is 0'
  [ "$(cat $queue/discard_max_bytes)" -gt 0 ] || fail 'the server does not offer TRIM'
  say "INFO $((512 * $(cat /sys/block/nbd0/size))) bytes, write cache:" \
    "$(cat $queue/write_cache), FUA: $(cat $queue/fua)"
}
detach() { step detach; run /sbin/nbd-client -d /dev/nbd0; }

read_raw() { dd if=/dev/nbd0 bs=1M skip="$1" count="$2" iflag=direct 2>/dev/null; }

raw_io() {
  step 'raw device: direct writes'
  bulk 900000 8 >/tmp/raw
  run dd if=/tmp/raw of=/dev/nbd0 bs=1M oflag=direct conv=fsync
  drop
  read_raw 0 8 | same /tmp/raw || fail 'what was written is not read back'
  content 910000 $block >/tmp/one
  run dd if=/tmp/one of=/dev/nbd0 bs=$block seek=17 oflag=direct conv=notrunc
  run dd if=/tmp/one of=/tmp/raw bs=$block seek=17 conv=notrunc
  read_raw 0 8 | same /tmp/raw || fail 'one block went elsewhere'

  step 'raw device: write zeroes'
  run /sbin/blkdiscard -z -o 1048576 -l 2097152 /dev/nbd0
  run dd if=/dev/zero of=/tmp/raw bs=1M seek=1 count=2 conv=notrunc
  drop
  read_raw 0 8 | same /tmp/raw || fail 'not zeros, or not only there'

  # We promise zeros after a discard, the protocol does not: the neighbours are what is compared.
  step 'raw device: discard'
  run /sbin/blkdiscard -o 4194304 -l 2097152 /dev/nbd0
  drop
  { read_raw 0 4; read_raw 6 2; } >/tmp/around
  { dd if=/tmp/raw bs=1M count=4; dd if=/tmp/raw bs=1M skip=6; } 2>/dev/null | same /tmp/around ||
    fail 'the neighbours of the range are damaged'
  rm -f /tmp/raw /tmp/around /tmp/one
}

make() { # make FS DEVICE
  step "mkfs.$1"
  if [ "$1" = xfs ]; then run /sbin/mkfs.xfs -f -q /dev/"$2"
  else run /sbin/mkfs.ext4 -q -F /dev/"$2"; fi
}
check() { # check FS DEVICE DIRECTORY
  step "unmount and check $1"
  run umount "$3"
  if [ "$1" = xfs ]; then run /sbin/xfs_repair -n /dev/"$2"
  else run /sbin/e2fsck -f -n /dev/"$2"; fi
}

write_files() {
  step "write $MIB MiB and $files files"
  mkdir -p /mnt/directory || fail mkdir
  bulk 0 "$MIB" >/mnt/big || fail 'write big'
  run sync /mnt/big
  i=0
  while [ $i -lt $files ]; do
    content $((500000 + i)) $((i * 37 + 1)) >/mnt/directory/$i || fail "write $i"
    i=$((i + 1))
  done
  run sync
}
verify_files() {
  step verify
  drop
  bulk 0 "$MIB" | same /mnt/big || fail 'big differs'
  i=0
  while [ $i -lt $files ]; do
    content $((500000 + i)) $((i * 37 + 1)) | cmp - /mnt/directory/$i || fail "file $i differs"
    i=$((i + 1))
  done
}

trim() {
  step 'write as much again, delete it, fstrim'
  cp /mnt/big /mnt/gone || fail copy
  run sync
  rm /mnt/gone
  run sync
  sample deleted
  run /sbin/fstrim -v /mnt
  say "INFO $(cat /tmp/out)"
  sample trimmed
}

device_of() { [ "$1" = "${systems%% *}" ] && echo nbd0 || echo nbd1; }
attach_all() {
  for fs in $systems; do
    attach "$(device_of "$fs")" "$fs"
    mkdir -p /mnt/"$fs"
  done
}

# Round N replaces file N modulo $slots of each file system, as programs do that must not lose it:
# written under another name, synced, renamed, and the directory synced. Then it is DONE.
round() { # round NUMBER FS: what the file holds
  number=$((600000 + $1))
  [ "$2" = ext4 ] || number=$((number + 100000))
  content $number $(($1 * 4099 % 100000 + 1))
}
replace() { # replace NUMBER FS
  file=/mnt/$2/d$(($1 % 5))/$(($1 % slots))
  round "$1" "$2" >$file.new && sync $file.new && mv $file.new $file && sync "${file%/*}"
}

# Ends when the host kills the server, and then this machine.
write_until_killed() {
  attach_all
  for fs in $systems; do
    make "$fs" "$(device_of "$fs")"
    run mount -t "$fs" -o discard /dev/"$(device_of "$fs")" /mnt/"$fs"
    mkdir /mnt/"$fs"/d0 /mnt/"$fs"/d1 /mnt/"$fs"/d2 /mnt/"$fs"/d3 /mnt/"$fs"/d4 || fail mkdir
    # Nobody waits for this one: something is always being written, and freed.
    noise=/mnt/$fs/noise
    while bulk 800000 4 >$noise && sync $noise && rm $noise; do :; done &
  done
  step 'replace files until the server is killed'
  i=0
  while :; do
    for fs in $systems; do
      replace $i "$fs" 2>/dev/null || { say "INFO round $i is cut off"; sleep 3600; }
    done
    say "DONE $i"
    i=$((i + 1))
  done
}

# What was DONE is there, or what came after it in the same file.
verify_rounds() { # verify_rounds FS
  step "verify $1 up to round $DONE"
  i=$DONE
  while [ $i -ge 0 ] && [ $i -gt $((DONE - slots)) ]; do
    file=/mnt/$1/d$((i % 5))/$((i % slots))
    round $i "$1" | cmp -s - $file || round $((i + slots)) "$1" | cmp -s - $file ||
      fail "$file is not that of round $i"
    i=$((i - 1))
  done
}
replay() {
  attach_all
  for fs in $systems; do
    step "mount $fs"
    run mount -t "$fs" /dev/"$(device_of "$fs")" /mnt/"$fs"
    dmesg | grep -E "\($(device_of "$fs")\): (recovery complete|Ending recovery)" >/tmp/out ||
      fail 'its journal was not replayed'
    say "INFO $(tail -1 /tmp/out)"
    verify_rounds "$fs"
    replace $((DONE + 2 * slots)) "$fs" || fail 'it cannot be written'
    check "$fs" "$(device_of "$fs")" /mnt/"$fs"
    run /sbin/nbd-client -d /dev/"$(device_of "$fs")"
  done
}

step "kernel $(uname -r)"
# A module may refuse to load (a processor without SSE4.2 has no crc32c-intel): what is needed is
# looked at below. xfs is large.
while read -r module; do
  case $module in xfs.ko) [ "$FS" != ext4 ] || continue ;; esac
  insmod "/modules/$module"
done </modules/order
[ -b /dev/nbd0 ] || fail 'no /dev/nbd0'
[ -e /sys/class/net/eth0 ] || fail 'no eth0'
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

roundtrip() {
  raw_io
  make "$FS" nbd0
  run mount -t "$FS" /dev/nbd0 /mnt
  write_files
  verify_files
  trim
  verify_files
  check "$FS" nbd0 /mnt
  detach
  attach
  run mount -t "$FS" -o ro /dev/nbd0 /mnt
  verify_files
  run umount /mnt
}

case $PHASE in
  crash) write_until_killed ;;
  replay) replay ;;
  *)
    attach
    [ "$PHASE" = attach ] || roundtrip
    detach
    ;;
esac

step 'kernel log'
if dmesg | grep -E 'I/O error|EXT4-fs error|XFS.*(Corruption|error)|BUG:|Oops' >/tmp/out; then
  fail "$(head -3 /tmp/out)"
fi
finish 0
