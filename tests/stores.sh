#!/usr/bin/env bash
# The main job against real S3 servers that are not in the test suite, or not in this way:
#
#   tests/stores.sh [seaweedfs] [nginx] [ceph]      default: all of them
#
#   seaweedfs   SeaweedFS as the suite has it
#   nginx       the same behind an nginx with TLS
#   ceph        Ceph's RADOS Gateway (Debian packages, installed: 160 MB)
#
# For each: check, backup, list, verify, an unfinished upload that a later run aborts, and whether Complete keeps an existing object.
# PROGRAM names a built program; without it the release program is built. Everything runs on 127.0.0.1 in a temporary folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
bucket=vlvt-backups
key=0123456789abcdef0123 secret=fedcba9876543210fedcba9876543210

say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

work='' pids=()
clean_up() {
  trap '' INT TERM HUP
  # SeaweedFS takes minutes to end on SIGTERM, and Ceph's folder is thrown away.
  for pid in "${pids[@]}"; do kill -s KILL "$pid" 2>/dev/null || true; done
  if [ -n "$work" ]; then cd /; rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

child=(setpriv --pdeathsig KILL)
start() { # LOG COMMAND...: in the background, ended with this script
  local log=$1; shift
  "${child[@]}" "$@" >"$log" 2>&1 </dev/null &
  pids+=($!)
  disown $!
}
wait_for() { # WHAT COMMAND...
  local what=$1 deadline=$((SECONDS + 90)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$what: nothing within 90 s"
    sleep 0.2
  done
}
in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # OFFSET...: a port that is free with each offset, below the range of outgoing connections
  local port offset
  while :; do
    port=$((10000 + RANDOM % 12000))
    for offset in "$@"; do ! in_use $((port + offset)) || continue 2; done
    echo "$port"
    return
  done
}
packages() { # Debian's, installed as root
  dpkg -s "$@" >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] || fail "missing on this machine: $*"
  say "installing $*"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >"$work/apt.log" 2>&1 || {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y update >>"$work/apt.log" 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >>"$work/apt.log" 2>&1
  } || { cat "$work/apt.log"; fail "apt-get could not install $*"; }
}

"$here/tools.sh" weed pg:17 aws jq openssl
tools=$(realpath "${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools}")
if [ -z "${PROGRAM:-}" ]; then
  (cd "$root" && cargo build --release --locked)
  PROGRAM=$root/target/release/postgres-s3-backups
fi
program=$(realpath "$PROGRAM")
export PATH=$tools/pg/17/bin:$tools/venv/bin:$PATH:/usr/sbin:/sbin
for name in $(compgen -e | grep -E '^(PG|AWS_|BACKUP_|SSL_CERT)' || true); do unset "$name"; done
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

work=$(mktemp -d)
chmod 755 "$work"
cd "$work"

as=() # PostgreSQL refuses to run as root
mkdir -m 700 data
if [ "$(id -u)" = 0 ]; then
  user=$(id -un postgres 2>/dev/null || echo nobody)
  chown "$user" data
  as=(--reuid "$user" --regid "$(id -g "$user")" --clear-groups)
fi
echo stores-password >password
"${child[@]}" "${as[@]}" -- initdb -D data -U postgres -A scram-sha-256 --pwfile=password -E UTF8 --no-locale --no-sync >initdb.log 2>&1 || { cat initdb.log; fail initdb; }
pg_port=$(free_port 0)
start postgres.log "${as[@]}" -- postgres -D data -p "$pg_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off
empty=postgresql://postgres:stores-password@127.0.0.1:$pg_port/postgres
database=${empty%/*}/app
wait_for PostgreSQL psql -Xqc 'CREATE DATABASE app' "$empty"
# More than one part, of bytes that do not compress.
psql -Xqc "CREATE TABLE t AS SELECT g, md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 550000) g" "$database"

export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
# What older servers know.
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required

# job NAME ENDPOINT [VARIABLE=VALUE...]: the main job against one store
job() {
  local store=$1 endpoint=$2 name leftover condition found; shift 2
  local service=(env AWS_S3_BUCKET=$bucket AWS_S3_ENDPOINT="$endpoint" AWS_S3_REGION=us-east-1 LOG_FORMAT=json BACKUP_RETRIES=0 "$@" "$program")
  export BACKUP_DATABASE_URL=$database
  local cli=(env "$@" aws --endpoint-url "$endpoint" s3api)
  "${cli[@]}" create-bucket --bucket $bucket >/dev/null
  "${service[@]}" check --json >check.json || { cat check.json; fail "$store: check"; }
  "${service[@]}" backup >backup.log || { cat backup.log; fail "$store: backup"; }
  name=$(jq -r 'select(.message == "backup finished") | .name' backup.log)
  [ "$(jq -r 'select(.message == "backup finished") | .parts' backup.log)" -gt 1 ] || fail "$store: one part only"
  "${service[@]}" list | grep -q "$name" || fail "$store: list"
  "${service[@]}" verify "$name" >verify.log || { cat verify.log; fail "$store: verify"; }

  # An object with a name that XML can't carry hides nothing.
  "${cli[@]}" put-object --bucket $bucket --key $'vlvt_backup_\x01x' --body password >put.log 2>&1 || say "$store: takes no name with a control character"
  "${service[@]}" list | grep -q "$name" || fail "$store: a strange name hides the backups"

  # What a killed run leaves is aborted as soon as it is older than the time limit.
  leftover=$("${cli[@]}" create-multipart-upload --bucket $bucket --key vlvt_backup_2020-01-01_03-00-00.sql.gz --query UploadId --output text)
  found='not seen'
  for _ in $(seq 20); do
    env BACKUP_DATABASE_URL="$empty" BACKUP_TIMEOUT=10s "${service[@]}" backup >sweep.log || { cat sweep.log; fail "$store: backup beside a leftover"; }
    if grep -q '"unfinished upload aborted"' sweep.log; then found=aborted; break; fi
    sleep 1
  done

  "${cli[@]}" upload-part --bucket $bucket --key "$name" --upload-id "$(
    "${cli[@]}" create-multipart-upload --bucket $bucket --key "$name" --query UploadId --output text | tee id
  )" --part-number 1 --body password --query ETag --output text >etag
  condition='ignored: an existing object is overwritten'
  "${cli[@]}" complete-multipart-upload --bucket $bucket --key "$name" --upload-id "$(cat id)" --if-none-match '*' \
    --multipart-upload "{\"Parts\": [{\"PartNumber\": 1, \"ETag\": $(jq -R 'gsub("\""; "")' etag)}]}" >complete.log 2>&1 || {
    if grep -q PreconditionFailed complete.log; then condition='an existing object is kept'; else condition="refused: $(tail -n 1 complete.log)"; fi
  }
  say "$store: check, backup, list and verify are well"
  say "   condition   $condition"
  say "   leftovers   $found ($leftover)"
  say "   rules       $(jq -r '.[] | select(.name == "lifecycle") | .text' check.json)"
  jq -r 'select(.level == "WARN") | "   warning     " + .message' backup.log
}

seaweedfs() { # NAME: starts one and sets $port
  port=$(free_port 0 1 2 3 10000 10001 10002 10003)
  mkdir "$1"
  cat >"$1.json" <<JSON
{"identities": [{"name": "test", "credentials": [{"accessKey": "$key", "secretKey": "$secret"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
  start "$1.log" -- "$tools/weed" -logtostderr=true server -dir="$1" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port="$port" -s3.config="$1.json" \
    -master.port=$((port + 1)) -volume.port=$((port + 2)) -filer.port=$((port + 3)) \
    -master.peers=none -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=0 -volume.preStopSeconds=0 \
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false -s3.localSocket="$work/$1.s3.sock" -filer.localSocket="$work/$1.filer.sock"
  wait_for SeaweedFS aws --endpoint-url "http://127.0.0.1:$port" s3api create-bucket --bucket ready
  wait_for SeaweedFS aws --endpoint-url "http://127.0.0.1:$port" s3api put-object --bucket ready --key x --body password
}

run_seaweedfs() {
  seaweedfs weed
  job SeaweedFS "http://127.0.0.1:$port"
}

run_nginx() {
  packages nginx-light
  seaweedfs weed-behind
  local tls=$((port + 4))
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=stores-ca -keyout ca.key -out ca.pem >openssl.log 2>&1
  openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem >>openssl.log 2>&1
  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile <(echo subjectAltName=IP:127.0.0.1) -out cert.pem >>openssl.log 2>&1
  cat >nginx.conf <<CONF
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx-error.log;
events {}
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server {
    listen 127.0.0.1:$tls ssl;
    ssl_certificate $work/cert.pem;
    ssl_certificate_key $work/key.pem;
    client_max_body_size 0;
    location / {
      proxy_pass http://127.0.0.1:$port;
      proxy_set_header Host \$http_host;
      proxy_request_buffering off;
    }
  }
}
CONF
  start nginx.log -- nginx -c "$work/nginx.conf"
  wait_for nginx in_use "$tls"
  job 'SeaweedFS behind nginx with TLS' "https://127.0.0.1:$tls" SSL_CERT_FILE="$work/ca.pem" AWS_CA_BUNDLE="$work/ca.pem"
}

run_ceph() {
  packages radosgw ceph-mon ceph-osd ceph-common
  local port dir=$work/ceph osd
  port=$(free_port 0 1)
  osd=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$dir"/{mon,osd,log,run}
  cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v1:127.0.0.1:$((port + 1))
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
osd objectstore = memstore
memstore device bytes = 2147483648
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
mon data = $dir/mon
mon data avail crit = 1
mon data avail warn = 1
osd data = $dir/osd
keyring = $dir/keyring
rgw frontends = beast endpoint=127.0.0.1:$port
CONF
  local conf=(-c "$dir/ceph.conf")
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
  ceph-authtool "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  monmaptool --create --clobber --addv a "[v1:127.0.0.1:$((port + 1))]" --fsid "$(sed -n 's/^fsid = //p' "$dir/ceph.conf")" "$dir/monmap" >/dev/null
  ceph-mon "${conf[@]}" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
  start "$dir/log/mon.out" -- ceph-mon "${conf[@]}" -f -i a
  wait_for "Ceph's monitor" timeout 10 ceph "${conf[@]}" osd new "$osd" 0
  ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd" >"$dir/log/mkfs.out" 2>&1 || { cat "$dir/log/mkfs.out"; fail 'Ceph: mkfs'; }
  start "$dir/log/osd.out" -- ceph-osd "${conf[@]}" -f -i 0
  up() { timeout 10 ceph "${conf[@]}" osd stat | grep -q '1 up'; }
  wait_for "Ceph's storage" up
  timeout 120 radosgw-admin "${conf[@]}" user create --uid=test --display-name=test --access-key="$key" --secret="$secret" >"$dir/log/user.out" 2>&1 || { cat "$dir/log/user.out"; fail 'Ceph: user'; }
  start "$dir/log/rgw.out" -- radosgw "${conf[@]}" -f -n client.admin
  wait_for "Ceph's gateway" curl -sf "http://127.0.0.1:$port/"
  job "Ceph $(radosgw --version | awk '{ print $3 }')" "http://127.0.0.1:$port"
}

for store in "${@:-seaweedfs nginx ceph}"; do
  for one in $store; do
    declare -F "run_$one" >/dev/null || fail "no such store: $one"
    "run_$one"
  done
done
