#!/usr/bin/env bash
# Builds the image and runs containers, with Docker where an engine answers, and without one on a Debian machine that has nothing else:
#
#   deploy/container.sh build TAG [build option...]     e.g. --build-arg PG_SOURCE=debian --target with-server
#   deploy/container.sh engine ARGUMENT...              docker or podman, on the store the image was built into
#   deploy/container.sh run ARGUMENT...                 "engine run", with the options that such a machine needs
#   deploy/container.sh kind                            docker or podman
#   deploy/container.sh clean                           removes what was built without an engine, and the bases
#
# Without an engine (or with PSB_ENGINE=podman) it needs root. It installs buildah, podman and their kin, makes the base images from
# Debian's packages and this machine's own Rust under the names the Dockerfile uses, and keeps them in $PSB_IMAGES, by default
# /var/tmp/postgres-s3-backups-images (about 5 GB). The images it makes so hold Debian's one client, and are for trying things out; what is
# released is built in CI.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/.." && pwd)
images=${PSB_IMAGES:-/var/tmp/postgres-s3-backups-images}
suite=trixie

say() { printf 'container: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

kind=${PSB_ENGINE:-}
if [ -z "$kind" ]; then
  kind=podman
  ! timeout 10 docker info >/dev/null 2>&1 || kind=docker
fi

need() { # the programs of Debian packages
  local missing=() pair
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    || die "no Docker engine answers, and without one this needs: ${missing[*]}. As root: apt-get install -y --no-install-recommends ${missing[*]}"
  say "installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends)
  "${apt[@]}" install "${missing[@]}" >/dev/null 2>&1 || { "${apt[@]}" update >&2 && "${apt[@]}" install "${missing[@]}" >&2; } \
    || die "apt-get could not install ${missing[*]}"
}

store=(--root "$images/store" --runroot "$images/run" --storage-driver overlay)
builder() { buildah "${store[@]}" "$@"; }
engine() {
  case $kind in
    docker) docker "$@" ;;
    # runc, because crun refuses a machine with both versions of control groups; no events, because there is no journal.
    podman) podman "${store[@]}" --cgroup-manager cgroupfs --events-backend none --runtime runc "$@" ;;
    *) die "PSB_ENGINE is docker or podman, not $kind" ;;
  esac
}
have() { builder inspect --type image "$1" >/dev/null 2>&1; }

base_debian() {
  local image=docker.io/library/debian:$suite-slim container
  ! have "$image" || return 0
  say "making $image from Debian's packages"
  mmdebstrap --variant=minbase --quiet --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
    "$suite" "$TMPDIR/base.tar"
  container=$(builder from scratch)
  builder add --quiet "$container" "$TMPDIR/base.tar" / >/dev/null
  rm "$TMPDIR/base.tar"
  builder config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  builder commit --quiet --rm "$container" "$image" >/dev/null
}

base_rust() { # as the official image: the toolchain, a C compiler and the roots for TLS
  local version image container mounted sysroot toolchain=/usr/local/rustup/toolchains/host program
  version=$(rustc --version | cut -d' ' -f2)
  image=docker.io/library/rust:${version%.*}-slim-$suite
  ! have "$image" || return 0
  say "making $image from this machine's Rust"
  sysroot=$(rustc --print sysroot)
  container=$(builder from "docker.io/library/debian:$suite-slim")
  builder run --network host "$container" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev >/dev/null && rm -rf /var/lib/apt/lists/*'
  mounted=$(builder mount "$container")
  mkdir -p "$mounted$toolchain/bin" "$mounted$toolchain/lib/rustlib" "$mounted/usr/local/cargo/bin"
  cp -a "$sysroot"/bin/{cargo,rustc} "$mounted$toolchain/bin/"
  cp -a "$sysroot"/lib/*.so* "$mounted$toolchain/lib/"
  cp -a "$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')" "$mounted$toolchain/lib/rustlib/"
  for program in cargo rustc; do ln -s "$toolchain/bin/$program" "$mounted/usr/local/cargo/bin/$program"; done
  # A machine behind a proxy of its own trusts that proxy, and so must the build on it.
  cp /usr/local/share/ca-certificates/*.crt "$mounted/usr/local/share/ca-certificates/" 2>/dev/null || true
  builder umount "$container" >/dev/null
  builder run "$container" update-ca-certificates >/dev/null 2>&1
  builder config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup "$container"
  builder commit --quiet --rm "$container" "$image" >/dev/null
}

build() { # TAG OPTION...
  local tag=$1 options
  shift
  options=(
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' "$root/Cargo.toml")"
    --build-arg "REVISION=$(git -C "$root" rev-parse HEAD 2>/dev/null || true)"
    --tag "$tag" "$@"
  )
  if [ "$kind" = docker ]; then
    docker build "${options[@]}" "$root"
    return
  fi
  [ "$(id -u)" = 0 ] || die 'no Docker engine answers, and without one this needs root'
  need buildah=buildah podman=podman runc=runc catatonit=catatonit mmdebstrap=mmdebstrap
  mkdir -p "$images/tmp"
  export BUILDAH_ISOLATION=chroot TMPDIR=$images/tmp
  # One build at a time; whoever waited finds the layers done.
  exec 9>"$images/.lock"
  flock 9
  base_debian
  base_rust
  # From Debian alone, as everything else here: its one client, and the server of the same major.
  builder bud --layers --pull-never --format docker --network host --build-arg PG_SOURCE=debian --build-arg SERVER_MAJOR=17 "${options[@]}" "$root"
}

case ${1:-} in
  build) shift; [ $# -gt 0 ] || die 'usage: container.sh build TAG [option...]'; build "$@" ;;
  engine) shift; engine "$@" ;;
  run)
    shift
    options=()
    [[ " $* " == *' --network '* ]] || options+=(--network host)
    # Where no limit can be raised, the present ones are kept; without systemd, nothing would run the health check.
    [ "$kind" = docker ] || options+=(--pull never --no-healthcheck --ulimit nofile=1024:4096 --ulimit nproc=4096:4096)
    engine run "${options[@]}" "$@"
    ;;
  kind) echo "$kind" ;;
  clean)
    builder rm --all >/dev/null 2>&1 || true
    builder rmi --all --force >/dev/null 2>&1 || true
    umount "$images/store/overlay" 2>/dev/null || true
    rm -rf "$images/store" "$images/run" "$images/tmp" "$images/.lock"
    ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
