# shellcheck shell=bash
# What must be installed on this machine. Read by e2e/setup.

readonly RUST_MINIMUM=1.95
# Older ones let a guest's CPU run code that another CPU has just exchanged: kernels that turn trace points on and off die of it.
readonly QEMU_MINIMUM=8.1

# Lines "what is missing<TAB>Debian package" for the given group.
missing() {
  need() { have "$1" || printf '%s\t%s\n' "$1" "$2"; }
  need cc gcc
  need make make
  need pkg-config pkg-config
  usable_clang || printf 'clang 14 or newer\t%s\n' "$(clang_package)"
  if have pkg-config; then
    pkg-config --exists libelf || printf 'libelf headers\tlibelf-dev\n'
    pkg-config --exists zlib || printf 'zlib headers\tzlib1g-dev\n'
  else
    printf 'libelf headers\tlibelf-dev\nzlib headers\tzlib1g-dev\n'
  fi
  [ "$1" != build ] || return 0
  usable_qemu || printf 'QEMU %s or newer\tqemu-system-x86\n' "$QEMU_MINIMUM"
  need debootstrap debootstrap
  need cpio cpio
  need tar tar
  need xz xz-utils
  need setpriv util-linux
  need flock util-linux
  need ldd libc-bin
  need dpkg-deb dpkg
  need apt-get apt
  static_busybox >/dev/null || printf 'a static busybox\tbusybox-static\n'
  debian_keyring >/dev/null || printf "the Debian archive's keys\tdebian-archive-keyring\n"
  [ "$1" = node ] || return 0
  need mke2fs e2fsprogs
  need strip binutils
}

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; } # <minimum> <version>

usable_qemu() {
  have qemu-system-x86_64 &&
    at_least "$QEMU_MINIMUM" "$(qemu-system-x86_64 --version | sed -nE 's/^QEMU emulator version ([0-9.]+).*/\1/p')"
}

# Debian bookworm's own is too old; its backports have one.
install_newer_qemu() {
  usable_qemu && return 0
  [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = "$SUITE" ] ||
    die "QEMU $QEMU_MINIMUM or newer is needed, and this distribution's is older: install one by hand"
  mkdir -p "$CACHE"
  open_archive "$(debian_mirror)"
  say "QEMU from $SUITE-backports"
  root_apt_get() { as_root apt-get "$@"; }
  archive_apt root_apt_get -o Dir::State::status=/var/lib/dpkg/status -o Dir::State::extended_states=/var/lib/apt/extended_states \
    install -y --no-install-recommends --target-release "$SUITE-backports" qemu-system-x86 >&2
}

# The probe's build script looks for the same names.
usable_clang() {
  local name version
  for name in clang clang-{21,20,19,18,17,16,15,14}; do
    have "$name" || continue
    version=$("$name" -dumpversion 2>/dev/null) || continue
    [ "${version%%.*}" -ge 14 ] && return 0
  done
  return 1
}

clang_package() {
  if have apt-cache && apt-cache show clang-19 >/dev/null 2>&1; then echo clang-19; else echo clang; fi
}

static_busybox() {
  local path
  path=$(command -v busybox) || return 1
  case $(ldd "$path" 2>&1 || true) in
    *'not a dynamic executable'* | *'statically linked'*) readlink -f "$path" ;;
    *) return 1 ;;
  esac
}

debian_keyring() {
  local path
  for path in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
    if [ -e "$path" ]; then echo "$path"; return 0; fi
  done
  return 1
}

install_packages() {
  local lacking packages
  lacking=$(missing "$1")
  [ -n "$lacking" ] || return 0
  if ! grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; then
    say "this distribution is neither Debian nor Ubuntu; install these (Debian's package name in brackets) and run again:"
    printf '%s\n' "$lacking" | awk -F'\t' '{ printf "  %s (%s)\n", $1, $2 }' >&2
    exit 1
  fi
  packages=$(printf '%s\n' "$lacking" | cut -f2 | sort -u | tr '\n' ' ')
  say "installing $packages"
  if [ "$(id -u)" != 0 ] && ! have sudo; then
    die "run as root: apt-get install --no-install-recommends $packages"
  fi
  as_root apt-get update -q >&2
  # Asked again: which clang there is, is known only with the package lists.
  packages=$(missing "$1" | cut -f2 | sort -u | tr '\n' ' ')
  # shellcheck disable=SC2086  # a list of words
  as_root apt-get install -q -y --no-install-recommends $packages >&2
  [ "$1" = build ] || install_newer_qemu
  lacking=$(missing "$1")
  [ -z "$lacking" ] || die "still missing after the installation: $(printf '%s\n' "$lacking" | cut -f1 | tr '\n' ',')"
}

check_cargo() {
  local version
  have cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  if have cargo; then
    version=$(cargo --version | cut -d' ' -f2)
    at_least "$RUST_MINIMUM" "$version" && return 0
    say "cargo $version is too old"
  else
    say "cargo is missing"
  fi
  if have rustup; then
    die "get Rust $RUST_MINIMUM or newer: rustup toolchain install stable --component clippy,rustfmt && rustup default stable"
  fi
  die "get Rust $RUST_MINIMUM or newer: install rustup (package rustup where your distribution has it, else its own installer), then: rustup toolchain install stable --component clippy,rustfmt"
}
