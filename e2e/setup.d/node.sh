# shellcheck shell=bash
# The root file system of nodes with containerd, and the kernel they boot. Read by e2e/setup.

# containerd 2, as this release of Kubernetes wants it.
readonly NODE_SUITE=forky
readonly NODE_PACKAGES=containerd,runc,containernetworking-plugins,iproute2,nftables,kmod,systemd-sysv
# Raise the number when what the functions below do to it changes.
readonly NODE_RECIPE=1
# Room for what pods write; the file is sparse.
readonly NODE_SIZE=8G
# Everything the root file system is made from.
node_fingerprint() {
  {
    echo "$NODE_RECIPE $NODE_SUITE $NODE_PACKAGES $NODE_SIZE"
    cat "$CACHE/rootfs-golden.recipe"
    find e2e/node -type f -print0 | sort -z | xargs -0 sha256sum
  } | sha256sum | cut -d' ' -f1
}

# Prepared in three steps: packages, kernel and our own files; an image of a file system from that; a first boot that
# imports the container images all nodes have.
prepare_node() { # <cluster program>
  local into=$CACHE/node key work
  key=$(node_fingerprint)
  [ "$(cat "$into/key" 2>/dev/null)" != "$key" ] || return 0
  work=$(as_root mktemp -d "${TMPDIR:-/tmp}/securitywatch-node.XXXXXX")
  rm -rf "$into" "$into.new"
  mkdir -p "$into.new"
  debootstrap_node "$work/root"
  install_node_kernel "$work" "$into.new"
  slim_node "$work/root"
  as_root cp -a e2e/node/rootfs/. "$work/root/"
  as_root chown -R 0:0 "$work/root/etc/systemd/system" "$work/root/usr/local/sbin"
  as_root mke2fs -q -t ext4 -d "$work/root" "$into.new/root.img" "$NODE_SIZE"
  node_images "$work" "$1" "$into.new/images.tar"
  as_root chown -R "$(id -u):$(id -g)" "$into.new"
  as_root rm -rf "$work"
  "$1" prepare-node --dir "$into.new" --images "$into.new/images.tar"
  rm "$into.new/images.tar"
  echo "$key" > "$into.new/key"
  mv "$into.new" "$into"
}

debootstrap_node() { # <folder>
  say "root file system of nodes: debootstrap $NODE_SUITE (about a minute)"
  # Older debootstraps know no script for that suite; all newer suites use the one of sid.
  as_root debootstrap --arch=amd64 --keyring="$(debian_keyring)" --variant=minbase --include="$NODE_PACKAGES" \
    "$NODE_SUITE" "$1" "$(cat "$CACHE/mirror")" /usr/share/debootstrap/scripts/sid >"$CACHE/debootstrap.log" 2>&1 ||
    { tail -n 20 "$CACHE/debootstrap.log" >&2; die "debootstrap failed; its log is $CACHE/debootstrap.log"; }
}

# Unpacked, not installed: that would bring the tools for an initial ramdisk, which this kernel boots without.
install_node_kernel() { # <folder> <folder of the cache>
  local root=$1/root package packages release file
  mkdir -p "$2/apt/archives/partial"
  # With the package lists that debootstrap left behind.
  node_apt() {
    local tool=$1; shift
    as_root "$tool" -q -o "Dir::Etc::sourcelist=$root/etc/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State=$root/var/lib/apt" \
      -o "Dir::State::status=$root/var/lib/dpkg/status" -o "Dir::Cache=$2/apt" -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
      -o APT::Sandbox::User=root "$@"
  }
  package=$(node_apt apt-cache depends linux-image-cloud-amd64 | sed -nE 's/^ *Depends: (linux-image-[0-9].*)/\1/p' | head -n1)
  [ -n "$package" ] || die "$NODE_SUITE has no cloud kernel; name another mirror with SECURITYWATCH_DEBIAN_MIRROR"
  say "kernel of nodes: $package"
  release=${package#linux-image-}
  # Its image and its modules are packages of their own.
  packages=$(node_apt apt-cache depends "$package" | sed -nE "s/^ *Depends: (linux-.*-${release//+/\\+})\$/\\1/p")
  # shellcheck disable=SC2086  # a list of words
  (cd "$1" && node_apt apt-get download $packages >&2 && for file in linux-*.deb; do as_root dpkg-deb -x "$file" kernel; done)
  as_root find "$1/kernel" -name 'vmlinuz*' -exec mv {} "$2/vmlinuz" ';'
  [ -s "$2/vmlinuz" ] || die "the packages of $package have no kernel image: $packages"
  as_root mkdir -p "$root/usr/lib/modules"
  as_root cp -a "$1/kernel/usr/lib/modules/$release" "$root/usr/lib/modules/"
  as_root chroot "$root" depmod "$release"
  rm -rf "$2/apt"
}

slim_node() { # <folder>
  (
    cd "$1"
    as_root rm -rf usr/share/{doc,man,info,locale,i18n,perl5,bash-completion,lintian,bug,common-licenses,pixmaps,zoneinfo} \
      usr/lib/x86_64-linux-gnu/{perl-base,gconv/*.so} usr/lib/{apt,dpkg} var/cache/apt var/lib/{apt,dpkg} var/log/{apt,dpkg.log,bootstrap.log} \
      usr/bin/{perl,perl5*,apt*,dpkg*,localedef,sqv} usr/sbin/{dpkg*,update-*}
    # Nobody logs in, and nothing is kept for long.
    as_root rm -f etc/systemd/system/timers.target.wants/* etc/systemd/system/getty.target.wants/* etc/systemd/system/multi-user.target.wants/e2scrub*
    as_root ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
    as_root ln -sf /dev/null etc/systemd/system/serial-getty@.service
    # Each node makes its own at its first boot.
    as_root truncate -s 0 etc/machine-id
    echo 'nameserver 10.0.2.3' | as_root tee etc/resolv.conf >/dev/null
    as_root mkdir -p etc/node etc/kubernetes etc/cni/net.d opt/node
  )
}

# What every node has: the sandbox of pods, and an image with a shell, curl, wget and nsenter for tests.
node_images() { # <folder> <cluster program> <archive>
  cc -static -Os -s -Wall -Werror -o "$1/pause" e2e/node/pause.c
  as_root mkdir "$1/tools"
  (cd "$1/tools" && as_root cpio -i -d -m --quiet) < "$CACHE/rootfs-golden.cpio"
  "$2" images --out "$3" --pause "$1/pause" --tools "$1/tools"
}
