#!/usr/bin/env bash
# The main job, whole and for real: a PostgreSQL with an app's data, an S3 server, the service on a template user's variables, and the
# restore by its own command and by hand. Everything runs on 127.0.0.1 in a temporary folder, and is stopped and removed at the end, also
# after Ctrl-C. What stays are the programs that were fetched and compiled, so that the next run takes half a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
tools=${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools}
bucket=vlvt-backups

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' green='' red='' plain=''; fi
steps=0
step() { steps=$((steps + 1)); printf '\n%s%d. %s%s\n' "$bold" "$steps" "$*" "$plain"; }
note() { printf '   %s\n' "$*"; }
indent() { sed -u 's/^/   /'; }
command_line() { printf '   %s$ %s%s\n' "$dim" "$*" "$plain"; }
# shows a command and runs it, its output indented
run() { command_line "$@"; "$@" 2>&1 | indent; }
fail() { printf '\n%sThe demo failed: %s%s\n' "$red" "$*" "$plain" >&2; exit 1; }

work='' service='' postgres='' weed='' follower='' s3_port=''
ended() { ! kill -0 "$1" 2>/dev/null; }
# wait_for SECONDS COMMAND...
wait_for() {
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}
stop() { # PID SIGNAL SECONDS, and then SIGKILL
  [ -n "$1" ] || return 0
  kill -s "$2" "$1" 2>/dev/null || true
  wait_for "$3" ended "$1" || kill -s KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
clean_up() {
  trap '' INT TERM HUP
  stop "$service" TERM 10
  stop "$follower" TERM 2 # tee, which ends with the service
  stop "$postgres" QUIT 10
  # SeaweedFS takes minutes to end on SIGTERM, and killed it leaves these sockets.
  stop "$weed" KILL 2
  [ -z "$s3_port" ] || rm -f /tmp/seaweedfs-*-"$((s3_port + 10000))".sock /tmp/seaweedfs-*-"$((s3_port + 10001))".sock \
    /tmp/seaweedfs-*-"$((s3_port + 10002))".sock /tmp/seaweedfs-*-"$((s3_port + 10003))".sock
  if [ -n "$work" ]; then cd /; rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A child that the kernel kills should this script be killed.
child=(setpriv --pdeathsig KILL)

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # OFFSET...: prints a port that is free with each offset, below the range of outgoing connections
  local port offset
  while :; do
    port=$((10000 + RANDOM % 12000))
    for offset in "$@"; do ! in_use $((port + offset)) || continue 2; done
    echo "$port"
    return
  done
}

printf '%sA backup taken by the service, and restored%s\n' "$bold" "$plain"

step 'The programs'
note "PostgreSQL 17, an S3 server and the AWS CLI, kept in $tools"
"$root/tests/tools.sh" build weed pg:17 aws 2>&1 | indent
# make test has a program already, unoptimised: the one that was built with the suite. It saves the minutes that the other one takes.
case ${DEMO_PROFILE:-release} in
  release) build="cargo build --release ${DEMO_OPTIONS:-}" folder=release ;;
  dev) build='cargo test --no-run --workspace --features isal --test suite' folder=debug ;;
  *) echo "DEMO_PROFILE is neither release nor dev" >&2; exit 2 ;;
esac
program=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}/$folder/postgres-s3-backups")
target=${program%/*/*}
[ -x "$program" ] || note "The program is compiled once, which takes 3 to 15 minutes, and up to 1 GB in $target."
command_line $build
# Not indented: cargo draws its progress on a terminal only.
# shellcheck disable=SC2086 # It is a command with its arguments.
(cd "$root" && $build --locked) || fail 'the program could not be compiled'
tools=$(realpath "$tools")
export PATH=$tools/pg/17/bin:$tools/venv/bin:$PATH

# No setting of the caller's own may reach the clients.
for name in $(compgen -e | grep -E '^(PG|AWS_)' || true); do unset "$name"; done
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

work=$(mktemp -d)
chmod 755 "$work"
cd "$work"

step 'A database with data in it'
as=() # PostgreSQL refuses to run as root
mkdir -m 700 data
if [ "$(id -u)" = 0 ]; then
  user=$(id -un postgres 2>/dev/null || echo nobody)
  chown "$user" data
  as=(--reuid "$user" --regid "$(id -g "$user")" --clear-groups)
fi
echo demo-password >password
"${child[@]}" "${as[@]}" -- initdb -D data -U postgres -A scram-sha-256 --pwfile=password -E UTF8 --no-locale --no-sync >initdb.log 2>&1 \
  || { cat initdb.log; fail 'initdb'; }
pg_port=$(free_port 0)
"${child[@]}" "${as[@]}" -- postgres -D data -p "$pg_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off >postgres.log 2>&1 &
postgres=$!
accepts_connections() { [ "$(sed -n 8p data/postmaster.pid 2>/dev/null | tr -d ' ')" = ready ]; }
wait_for 60 accepts_connections || { tail -n 20 postgres.log; fail 'PostgreSQL did not start'; }
server=postgresql://postgres:demo-password@127.0.0.1:$pg_port
psql -Xq "$server/postgres" -c 'CREATE DATABASE app' -c 'CREATE DATABASE restored_by_hand'
psql -Xq "$server/app" -f "$here/sample.sql"
tables="SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
# contents DATABASE: each table's name, number of rows and checksum over all of them
contents() {
  local table
  for table in $(psql -XAt "$server/$1" -c "$tables"); do
    psql -XAt -F ' ' "$server/$1" -c "SELECT '$table', count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), 'empty') FROM $table t"
  done
}
contents app >app.txt
note "PostgreSQL $(psql -XAt "$server/app" -c 'SHOW server_version') on port $pg_port, database app:"
awk '{ printf "   %-10s %6d rows\n", $1, $2 }' app.txt

step 'A bucket'
s3_port=$(free_port 0 1 2 3 10000 10001 10002 10003)
endpoint=http://127.0.0.1:$s3_port
export AWS_ACCESS_KEY_ID=demo-key AWS_SECRET_ACCESS_KEY=demo-secret AWS_DEFAULT_REGION=auto
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
mkdir s3
cat >identities.json <<JSON
{"identities": [{"name": "demo", "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
# Left to itself it would report to its makers and make any bucket it is asked for.
"${child[@]}" -- "$tools/weed" -logtostderr=true server -dir=s3 -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port="$s3_port" -s3.config=identities.json \
  -master.port=$((s3_port + 1)) -volume.port=$((s3_port + 2)) -filer.port=$((s3_port + 3)) \
  -master.peers=none -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=0 -volume.preStopSeconds=0 \
  -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false \
  -s3.localSocket="$work/s3.sock" -filer.localSocket="$work/filer.sock" >weed.log 2>&1 &
weed=$!
disown "$weed" # or bash reports that it was killed
signed() { # METHOD PATH: prints the status
  curl -q -s -o /dev/null -w '%{http_code}' -X "$1" --aws-sigv4 aws:amz:auto:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
    -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --data-binary "${3-}" "$endpoint$2" || true
}
# Its parts come up one by one: an object stored says more than an open port.
stores_objects() {
  case $(signed PUT "/$bucket") in 200 | 409) ;; *) return 1 ;; esac
  [ "$(signed PUT "/$bucket/ready" yes)" = 200 ] && [ "$(signed DELETE "/$bucket/ready")" = 204 ]
}
wait_for 60 stores_objects || { tail -n 20 weed.log; fail 'SeaweedFS did not start'; }
note "SeaweedFS on port $s3_port stands in for Cloudflare R2; the bucket $bucket is empty."

step 'The service, as configured for the Railway template'
port=$(free_port 0)
variables=(
  AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID"
  AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY"
  AWS_S3_BUCKET="$bucket"
  AWS_S3_ENDPOINT="$endpoint"
  AWS_S3_REGION=auto
  AWS_S3_FORCE_PATH_STYLE=true
  BACKUP_DATABASE_URL="$server/app"
  BACKUP_CRON_SCHEDULE='0 3 * * *'
  RUN_ON_STARTUP=true
  BACKUP_FILE_PREFIX=vlvt_backup_
  PORT="$port"
  LOG_FORMAT=text
)
for variable in "${variables[@]}"; do
  name=${variable%%=*} value=${variable#*=}
  case $name in
    AWS_SECRET_ACCESS_KEY) value='(secret)' ;;
    BACKUP_DATABASE_URL) value=${value/demo-password/(secret)} ;;
  esac
  printf '   %-24s %s\n' "$name" "$value"
done
echo
command_line postgres-s3-backups
# What stands in the file has been shown: tee writes to the terminal first.
mkfifo log
: >service.log
indent <log | tee service.log &
follower=$!
"${child[@]}" -- env -i PATH="$PATH" "${variables[@]}" "$program" >log 2>&1 &
service=$!
logged() { grep -q "$1" service.log || ended "$service"; }
wait_for 120 logged 'backup finished\|backup failed\|invalid configuration' || fail 'no backup within two minutes'
grep -q 'backup finished' service.log || fail 'the service made no backup'
wait_for 10 logged 'next backup' || true

step 'Health: what an uptime monitor sees'
run curl -si "http://127.0.0.1:$port/health"
echo
[ "$(curl -q -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/health")" = 200 ] || fail '/health is not 200'

step 'The bucket'
run aws s3 ls "s3://$bucket" --endpoint-url "$endpoint"
object=$(aws s3 ls "s3://$bucket" --endpoint-url "$endpoint" | awk '{ print $4 }')
[[ $object =~ ^vlvt_backup_[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}\.sql\.gz$ ]] || fail "not one backup in the bucket: $object"

step 'Restored into a new database, with the command from the log'
restore=$(sed -n 's/.* restore="\([^"]*\)".*/\1/p' service.log)
command_line "$restore"
# It is pasted as it stands, into a shell that finds the program and has its variables.
mkdir program
ln -s "$program" program/postgres-s3-backups
env -i PATH="$work/program:$PATH" "${variables[@]}" RESTORE_DATABASE_URL="$server/postgres" sh -c "$restore" 2>&1 | indent

# agree DATABASE: shows for each table whether the rows in it are those in app
agree() {
  contents "$1" >"$1.txt"
  printf '   %-10s %8s   %-32s   %-32s\n' table rows 'checksum in app' "checksum in $1" | sed 's/ *$//'
  join -a 1 -a 2 -e missing -o 0,1.2,1.3,2.3 app.txt "$1.txt" | while read -r table rows before after; do
    verdict="${green}agree$plain"
    [ "$before" = "$after" ] || verdict="${red}DIFFER$plain"
    printf '   %-10s %8s   %s   %s   %s\n' "$table" "$rows" "$before" "$after" "$verdict"
  done
  cmp -s app.txt "$1.txt" || fail "the rows in $1 are not the same"
}
step 'Do the rows agree?'
agree restored

step 'The same with nothing but aws, gunzip and psql, into an empty database'
DATABASE_URL=$server/restored_by_hand
run aws s3 cp "s3://$bucket/$object" ./backup.sql.gz --endpoint-url "$endpoint" --no-progress
run gunzip backup.sql.gz
# shellcheck disable=SC2016 # shown as it is written in the runbook
command_line 'psql -X -v ON_ERROR_STOP=1 "$DATABASE_URL" -f backup.sql'
psql -X -v ON_ERROR_STOP=1 "$DATABASE_URL" -f backup.sql >psql.log 2>&1 || { cat psql.log; fail 'psql'; }
! grep -E 'ERROR|WARNING|FATAL' psql.log || fail 'psql had something to say'
sort psql.log | sed 's/^\(COPY\|ALTER\|CREATE\)\b.*/\1/' | grep -E '^(CREATE|COPY|ALTER)$' | uniq -c \
  | awk '{ printf "%s%d %s", (NR > 1 ? ", " : "   "), $1, $2 } END { print " statements, no error" }'
agree restored_by_hand

step 'All backups, and the proof that the newest one can be restored'
own() { # COMMAND...: one of the service's commands, with its variables
  command_line postgres-s3-backups "$@"
  env -i PATH="$PATH" "${variables[@]}" "$program" "$@" 2>&1 | indent
}
own list
own verify latest --into embedded

step 'SIGTERM, as a deploy sends it'
began=$SECONDS
kill -s TERM "$service"
status=0
wait "$service" || status=$?
service=''
wait "$follower" || true
follower=''
note "exit status $status after $((SECONDS - began)) s"
[ "$status" = 0 ] || fail 'the service did not end as it should'

printf '\n%s%sAll %s rows came back. Everything the demo started is stopped and removed.%s\n' \
  "$bold" "$green" "$(awk '{ n += $2 } END { print n }' app.txt)" "$plain"
[ "${DEMO_PROFILE:-release}" = release ] || exit 0

megabytes() { du -sm "$1" | cut -f1; }
printf '\n%sWhat stays, for the next run%s\n' "$bold" "$plain"
note "$tools, $(megabytes "$tools") MB; to remove it: rm -rf $tools"
note "$target, $(megabytes "$target") MB; to remove it: rm -rf $target"
printf '\n%sWhat to do next%s\n' "$bold" "$plain"
note 'Your own database: write the five variables into a file .env, as the first screen of README.md says, and let the program check them:'
note "$program check"
note 'All tests: make test'
