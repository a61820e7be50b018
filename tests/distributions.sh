#!/usr/bin/env bash
# Goes through a stranger's first minutes on fresh systems: Debian 12, Debian 13 and Ubuntu 24.04, each a chroot that is made here from the
# distribution's own packages, with make, this machine's Rust and a fresh clone of the last commit, and nothing else.
#
#   tests/distributions.sh [debian-12] [debian-13] [ubuntu-24.04]      default: all three
#   tests/distributions.sh clean                                       removes what the runs left
#
# In each of them:
#
#   1. A user without root runs `make demo`. Nothing may happen, except that one command is named which installs all that is missing.
#   2. After that command, `make demo` goes through, whole.
#   3. The same with `make test`: all that is missing is named at once, before anything is fetched or compiled. After that command its set-up
#      and the tests of $MODULES go through; with WHOLE=yes all of `make test`.
#   4. On the same system as it was at first, root runs `make demo`, which installs what is missing.
#
# It needs root, the network, 15 GB in $PSB_DISTRIBUTIONS (by default /var/tmp/postgres-s3-backups-distributions), and half an hour for each. What the
# first has compiled is used by the next ones, but for the program itself. PSB_DEBIAN and PSB_UBUNTU name other mirrors.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/.." && pwd)
lab=${PSB_DISTRIBUTIONS:-/var/tmp/postgres-s3-backups-distributions}
debian=${PSB_DEBIAN:-http://deb.debian.org/debian}
ubuntu=${PSB_UBUNTU:-http://archive.ubuntu.com/ubuntu}
modules=${MODULES:-round_trip:: versions:: check:: clock:: drill:: metrics:: network:: page:: speed::every_gunzip}
clone=/srv/postgres-s3-backups

say() { printf '\n=== %s\n' "$*"; }
die() { printf 'distributions: %s\n' "$*" >&2; exit 1; }

# within FOLDER USER COMMAND...: in a system, with a /proc, /dev and /dev/shm that are gone when the command ends, as are its processes
if [ "${1:-}" = --within ]; then
  shift
  mount --make-rprivate /
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
  mkdir -p "$1/opt/rust"
  mount --bind -o ro "$(rustc --print sysroot)" "$1/opt/rust"
  home=/srv/$2
  [ "$2" != root ] || home=/root
  exec chroot --userspec="$2" "$1" /usr/bin/env -i HOME="$home" USER="$2" TERM="${TERM:-dumb}" CARGO_HOME=/srv/cargo LANG=C.UTF-8 \
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${@:3}"
fi
within() { unshare --mount --pid --fork --kill-child -- "$root/tests/distributions.sh" --within "$@"; }

[ "$(id -u)" = 0 ] || die 'only root can make these systems'
if [ "${1:-}" = clean ]; then rm -rf "$lab"; exit; fi
command -v mmdebstrap >/dev/null || die 'mmdebstrap is missing: apt-get install -y --no-install-recommends mmdebstrap'
mkdir -p "$lab"
exec 9>"$lab/.lock"
flock 9

# The keys of Ubuntu's packages are in a package of Debian's own.
ubuntu_keys() {
  local keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg here=$lab/keys
  if [ ! -r $keys ]; then
    if [ ! -r "$here$keys" ]; then
      mkdir -p "$here"/{lists,none,cache/archives}/partial
      echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian trixie main" >"$here/sources.list"
      local apt=(apt-get -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$here/sources.list" -o "Dir::Etc::sourceparts=$here/none"
        -o "Dir::State::lists=$here/lists" -o "Dir::Cache=$here/cache")
      (cd "$here" && "${apt[@]}" update && "${apt[@]}" download ubuntu-keyring) >&2
      dpkg -x "$here"/ubuntu-keyring_*.deb "$here"
    fi
    keys=$here$keys
  fi
  echo "$keys"
}

# pack NAME: the system as it is at first, packed
pack() {
  local options=(--variant=apt --quiet --include=make,ca-certificates,passwd --dpkgopt=force-unsafe-io '--dpkgopt=path-exclude=/usr/share/man/*'
    '--dpkgopt=path-exclude=/usr/share/locale/*') keys suite
  [ ! -e "$lab/$1.tar" ] || return 0
  say "$1: making the system"
  case $1 in
    debian-12) mmdebstrap "${options[@]}" bookworm "$lab/new.tar" ;;
    debian-13) mmdebstrap "${options[@]}" trixie "$lab/new.tar" ;;
    ubuntu-24.04)
      keys=$(ubuntu_keys)
      mmdebstrap "${options[@]}" --keyring="$keys" noble "$lab/new.tar" - < <(
        for suite in noble noble-updates noble-security; do echo "deb $ubuntu $suite main universe"; done
      )
      ;;
    *) die "no such distribution: $1" ;;
  esac
  mv "$lab/new.tar" "$lab/$1.tar"
}

# fresh NAME: unpacks the system anew, with the clone and a user
fresh() {
  system=$lab/$1
  rm -rf "$system"
  mkdir "$system"
  tar xpf "$lab/$1.tar" -C "$system" --exclude=./dev
  mkdir -p "$system/dev" "$system/proc" "$system/srv"
  # A machine behind a proxy of its own trusts that proxy, and so must the systems on it.
  cp /usr/local/share/ca-certificates/*.crt "$system/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp -L /etc/resolv.conf "$system/etc/resolv.conf"
  [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$system/etc/pip.conf"
  within "$system" root sh -c 'update-ca-certificates >/dev/null 2>&1; useradd --create-home --home-dir /srv/person --shell /bin/bash person'
  git -c advice.detachedHead=false clone --quiet --no-hardlinks "$root" "$system$clone"
  [ ! -d "$lab/target" ] || cp -a --reflink=auto "$lab/target" "$system$clone/target"
  mkdir "$system/srv/cargo"
}
keep_target() { # of what root compiled as well, for the next system
  rm -rf "$lab/target"
  cp -a --reflink=auto "$system$clone/target" "$lab/target"
}
owned_by() { within "$system" root chown -R "$1:" "$clone" /srv/cargo; }

# asks_for WHO COMMAND: it fails, and names one command for root, which is carried out
asks_for() {
  local said install
  say "$name: $1 runs $2, with nothing installed"
  if said=$(within "$system" "$1" make -C "$clone" --no-print-directory "$2" 2>&1); then
    printf '%s\n' "$said" | tail -n 20
    die "$name: make $2 went through; it was to ask for packages"
  fi
  printf '%s\n' "$said"
  install=$(sed -n 's/.*As root: \(apt-get install .*\)/\1/p' <<<"$said")
  [ -n "$install" ] && [ "$(wc -l <<<"$install")" = 1 ] || die "$name: make $2 names no command for what is missing"
  [ ! -e "$system/var/tmp/postgres-s3-backups-tools/weed" ] || [ "$2" = test ] || die "$name: make $2 fetched something before it asked"
  say "$name: root runs $install"
  within "$system" root sh -c "apt-get -qq update && DEBIAN_FRONTEND=noninteractive $install" >"$lab/apt.log" 2>&1 || { cat "$lab/apt.log"; die "$name: apt-get failed"; }
}

try() {
  name=$1
  pack "$name"
  fresh "$name"
  owned_by person
  asks_for person demo
  say "$name: person runs make demo"
  within "$system" person make -C "$clone" --no-print-directory demo
  asks_for person test
  if [ "${WHOLE:-}" = yes ]; then
    say "$name: person runs make test"
    within "$system" person make -C "$clone" --no-print-directory test
  else
    say "$name: person runs tests/tools.sh, and the tests of $modules"
    within "$system" person make -C "$clone" --no-print-directory needs
    # shellcheck disable=SC2086 # one word each
    within "$system" person sh -c "cd $clone && RUST_TEST_THREADS=\${THREADS:-4} cargo test --locked --test suite -- $modules"
  fi
  say "$name: what stays"
  du -sm "$system/var/tmp/postgres-s3-backups-tools" "$system$clone/target" "$system/srv/cargo" | sed "s|$system||"
  keep_target
  fresh "$name"
  owned_by root
  say "$name: root runs make demo, with nothing installed"
  within "$system" root make -C "$clone" --no-print-directory demo
  rm -rf "$system"
  say "$name: well"
}

[ $# -gt 0 ] || set -- debian-12 debian-13 ubuntu-24.04
for one in "$@"; do try "$one"; done
