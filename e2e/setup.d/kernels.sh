# shellcheck shell=bash
# Kernels of the guests, with the modules for a network card. Read by e2e/setup.

# What a guest needs for a network card, in loading order; absent ones are built in.
readonly NET_MODULES="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net"

prepare_kernel() { # <series> <pattern of package names> <mirror>
  local into=$CACHE/kernel-$1 package release work
  [ ! -e "$into/release" ] || return 0
  open_archive "$3"
  package=$(archive_apt apt-cache pkgnames linux-image- | grep -E "^linux-image-$2-cloud-amd64\$" | sort -V | tail -n1)
  [ -n "$package" ] || die "no cloud kernel $1 in $SUITE, $SUITE-backports or $SUITE-security; name another mirror with SECURITYWATCH_DEBIAN_MIRROR"
  say "kernel $1: $package"
  work=$(mktemp -d "$CACHE/kernel.XXXXXX")
  (cd "$work" && archive_apt apt-get download "$package" >&2 && dpkg-deb -x ./*.deb tree)
  release=${package#linux-image-}
  mkdir "$work/done" "$work/done/modules"
  cp "$work/tree/boot/vmlinuz-$release" "$work/done/vmlinuz"
  cp "$work/tree/boot/config-$release" "$work/done/config"
  copy_modules "$work/tree" "$work/done/modules"
  echo "$release" > "$work/done/release"
  rm -rf "$into"
  mv "$work/done" "$into"
  rm -rf "$work"
}

# Numbered in loading order and unpacked, so that a guest's `insmod` needs neither depmod nor xz.
copy_modules() {
  local name file index=0
  for name in $NET_MODULES; do
    index=$((index + 1))
    file=$(find "$1" -name "$name.ko*" | head -n1)
    case $file in
      '') ;;
      *.xz) xz -dc "$file" > "$2/$index-$name.ko" ;;
      *) cp "$file" "$2/$index-$name.ko" ;;
    esac
  done
}
