# shellcheck shell=bash
# Root file systems that live in a guest's memory. Read by e2e/setup.

readonly GOLDEN_PACKAGES=curl,wget,iproute2,procps,util-linux,netcat-openbsd,kmod,strace
# Raise the number when what a root file system holds changes: the cached one is then made anew.
readonly GOLDEN_RECIPE="1 $SUITE $GOLDEN_PACKAGES"
readonly MINIMAL_RECIPE=1

pack() { # <folder> <file> [cpio option...]: uncompressed, for an emulated CPU copies faster than it decompresses
  local folder=$1 file=$2; shift 2
  (cd "$folder" && find . -print0 | sort -z | cpio -0 -o -H newc --quiet "$@") > "$file"
}

prepare_minimal() {
  local into=$CACHE/rootfs-minimal work applet
  [ "$(cat "$into.recipe" 2>/dev/null)" != "$MINIMAL_RECIPE" ] || return 0
  work=$(mktemp -d "$CACHE/rootfs.XXXXXX")
  chmod 755 "$work"
  mkdir -p "$work"/{bin,dev,etc,mnt,opt,out,proc,root,run,sys,tmp,usr/bin,var}
  cp "$(static_busybox)" "$work/bin/busybox"
  for applet in $("$work/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$work/etc/passwd"
  pack "$work" "$into.cpio.new" --owner 0:0
  mv "$into.cpio.new" "$into.cpio"
  echo "$MINIMAL_RECIPE" > "$into.recipe"
  rm -rf "$work"
}

# Prints the mirror that was used. The removals take nothing that the recorded trigger opens.
debootstrap_golden() { # <folder>
  local mirror keyring
  mirror=$(debian_mirror)
  keyring=$(debian_keyring)
  say "root file system golden: debootstrap $SUITE (about a minute)"
  # shellcheck disable=SC2086  # no mirror means no argument
  as_root debootstrap --arch=amd64 --keyring="$keyring" --variant=minbase --include="$GOLDEN_PACKAGES" "$SUITE" "$1" $mirror >"$CACHE/debootstrap.log" 2>&1 ||
    { tail -n 20 "$CACHE/debootstrap.log" >&2; die "debootstrap failed; its log is $CACHE/debootstrap.log"; }
  awk '$1 == "deb" { print $2; exit }' "$1/etc/apt/sources.list"
}

slim_golden() { # <folder>
  (
    cd "$1"
    as_root rm -rf usr/share/{doc,man,info,locale,i18n,perl5,bash-completion,lintian,bug,common-licenses,pixmaps} \
      usr/lib/x86_64-linux-gnu/{perl-base,gconv/*.so} usr/lib/{apt,dpkg} var/cache/apt var/lib/{apt,dpkg} var/log/{apt,dpkg.log,bootstrap.log} \
      usr/bin/{perl,perl5*,apt*,dpkg*,localedef,gpgv} usr/sbin/{dpkg*,update-*}
    as_root find usr/share/zoneinfo -mindepth 1 -maxdepth 1 ! -name Etc -exec rm -rf {} +
    as_root mkdir -p t out
  )
}

# Also leaves the mirror's address for the kernels, in $CACHE/mirror.
prepare_golden() {
  local into=$CACHE/rootfs-golden work
  [ "$(cat "$into.recipe" 2>/dev/null)" != "$GOLDEN_RECIPE" ] || return 0
  work=$(as_root mktemp -d "${TMPDIR:-/tmp}/securitywatch-golden.XXXXXX")
  debootstrap_golden "$work" > "$CACHE/mirror.new"
  slim_golden "$work"
  as_root chmod 755 "$work"
  as_root bash -c "$(declare -f pack); pack '$work' '$into.cpio.new'"
  as_root chown "$(id -u):$(id -g)" "$into.cpio.new"
  mv "$CACHE/mirror.new" "$CACHE/mirror"
  mv "$into.cpio.new" "$into.cpio"
  echo "$GOLDEN_RECIPE" > "$into.recipe"
  as_root rm -rf "$work"
}
