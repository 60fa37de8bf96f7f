# shellcheck shell=bash
# Debian's archive, asked without touching this machine's own configuration of apt. Read by e2e/setup.

# Of the guests that need no containers: root file system and kernels.
readonly SUITE=bookworm

# The mirror this machine already uses, or nothing (Ubuntu): debootstrap then uses its own default.
debian_mirror() {
  if [ -n "${SECURITYWATCH_DEBIAN_MIRROR:-}" ]; then echo "$SECURITYWATCH_DEBIAN_MIRROR"; return; fi
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 2>/dev/null |
    awk '$1 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable)$/ && $2 == "main" { print $3; exit }'
}

debian_security_mirror() {
  local configured
  configured=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 2>/dev/null |
    awk '$1 ~ /^(bookworm|trixie|forky|stable|testing)-security$/ && $2 == "main" { print $3; exit }')
  if [ -n "$configured" ]; then echo "$configured"; else echo "${1%/}-security"; fi
}

# apt with lists and settings of its own: the machine's configuration stays as it is, its proxy settings apply.
archive_apt() {
  local tool=$1; shift
  "$tool" -q -o "Dir::Etc::sourcelist=$CACHE/apt/sources.list" -o Dir::Etc::sourceparts=- \
    -o "Dir::State=$CACHE/apt/state" -o "Dir::State::status=$CACHE/apt/status" -o "Dir::Cache=$CACHE/apt/cache" \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root "$@"
}

open_archive() {
  [ ! -e "$CACHE/apt/open" ] || return 0
  local mirror=$1 security keyring
  security=$(debian_security_mirror "$mirror")
  keyring=$(debian_keyring)
  rm -rf "$CACHE/apt"
  mkdir -p "$CACHE"/apt/state/lists/partial "$CACHE"/apt/cache/archives/partial
  : > "$CACHE/apt/status"
  cat > "$CACHE/apt/sources.list" <<END
deb [signed-by=$keyring] $mirror $SUITE main
deb [signed-by=$keyring] $mirror $SUITE-backports main
deb [signed-by=$keyring] $security $SUITE-security main
END
  archive_apt apt-get update >&2 || say "one of Debian's suites is missing at $mirror; going on with the others"
  : > "$CACHE/apt/open"
}
