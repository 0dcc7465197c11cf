#!/bin/sh
# What the virtual machine of vm.sh boots, made once and kept in a cache directory: Debian's
# cloud kernel (nbd.ko is a module in it) and an initramfs of busybox, real tools and modules.
# The init program is not in it: vm.sh appends it.
#
#   vm-image.sh CACHE      prints two lines: path of the kernel, path of the initramfs
#
# CHUNKNBD_VM_KERNEL_DEB=FILE.deb replaces the download. Exit status 2: it cannot be made.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

cache=$1
modules='virtio_pci virtio_net nbd xfs crc32c_generic'
tools='nbd-client mkfs.ext4 e2fsck mkfs.xfs xfs_repair fstrim blkdiscard yes head cmp'

die() {
  echo "vm-image: $*" >&2
  exit 2
}

for tool in $tools busybox modprobe depmod cpio gzip flock; do
  command -v "$tool" >/dev/null || die "missing tool: $tool (scripts/debian-packages.txt)"
done

download_kernel() { # into the current directory
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$package" ] || return 1
  apt-get -qq download "$package" >&2
}

# Unpacked, never installed.
make_kernel() {
  rm -rf "$cache/kernel" "$cache/download"
  mkdir -p "$cache/kernel" "$cache/download"
  deb=${CHUNKNBD_VM_KERNEL_DEB:-}
  if [ -z "$deb" ]; then
    command -v apt-get >/dev/null || die 'no apt-get to download a kernel with'
    echo 'vm-image: downloading a kernel' >&2
    (cd "$cache/download" && { download_kernel || { apt-get -qq update && download_kernel; }; }) ||
      die 'cannot download linux-image-cloud-amd64'
    deb=$(echo "$cache"/download/*.deb)
  fi
  dpkg-deb -x "$deb" "$cache/kernel" || die "cannot unpack $deb"
  # A package for a merged /usr keeps the modules in usr/lib; modprobe wants lib.
  [ -d "$cache/kernel/lib/modules" ] || ln -s usr/lib "$cache/kernel/lib"
  depmod -b "$cache/kernel" "$(kernel_version)"
  rm -rf "$cache/download"
  touch "$cache/kernel/complete"
}

kernel_version() {
  basename "$cache"/kernel/lib/modules/*
}

# copy_program NAME DIRECTORY: the program and its libraries.
copy_program() {
  path=$(command -v "$1")
  rm -f "$root/bin/$1"
  cp -L "$path" "$root/$2/$1"
  { ldd "$path" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
}

# In load order, which goes into /modules/order; what is built in has no file.
copy_modules() {
  version=$(kernel_version)
  for module in $modules; do
    modprobe -d "$cache/kernel" -S "$version" --show-depends "$module" 2>/dev/null || true
  done | awk '/^insmod/ && !seen[$2]++ { print $2 }' | while read -r file; do
    name=$(basename "$file" .xz)
    case $file in
      *.xz) xz -dc "$file" >"$root/modules/$name" ;;
      *) cp "$file" "$root/modules/$name" ;;
    esac
    echo "$name" >>"$root/modules/order"
  done
  grep -q '^nbd.ko' "$root/modules/order" || die 'the kernel has no nbd.ko'
}

make_initramfs() {
  root=$(mktemp -d)
  for directory in bin sbin dev proc sys mnt tmp etc run var/run modules; do
    mkdir -p "$root/$directory"
  done
  copy_program busybox bin
  busybox --list | grep -vx busybox | while read -r applet; do
    ln -s busybox "$root/bin/$applet"
  done
  # The real ones stand in sbin; busybox's shell prefers its own applets unless told the path.
  for tool in $tools; do copy_program "$tool" sbin; done
  copy_modules
  (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$initramfs.new"
  mv "$initramfs.new" "$initramfs"
  rm -rf "$root"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -e "$cache/kernel/complete" ] || make_kernel
# Another version of this script makes another file.
initramfs="$cache/initramfs-$(kernel_version)-$(cksum <"$0" | cut -d' ' -f1).gz"
[ -e "$initramfs" ] || make_initramfs
echo "$cache"/kernel/boot/vmlinuz-*
echo "$initramfs"
