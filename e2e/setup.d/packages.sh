# shellcheck shell=bash
# What must be installed on this machine. Read by e2e/setup.

readonly RUST_MINIMUM=1.95

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
  need qemu-system-x86_64 qemu-system-x86
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
  lacking=$(missing "$1")
  [ -z "$lacking" ] || die "still missing after the installation: $(printf '%s\n' "$lacking" | cut -f1 | tr '\n' ',')"
}

check_cargo() {
  local version
  have cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  if have cargo; then
    version=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n1)" = "$RUST_MINIMUM" ] && return 0
    say "cargo $version is too old"
  else
    say "cargo is missing"
  fi
  if have rustup; then
    die "get Rust $RUST_MINIMUM or newer: rustup toolchain install stable --component clippy,rustfmt && rustup default stable"
  fi
  die "get Rust $RUST_MINIMUM or newer: install rustup (package rustup where your distribution has it, else its own installer), then: rustup toolchain install stable --component clippy,rustfmt"
}
