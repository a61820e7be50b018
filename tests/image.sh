#!/usr/bin/env bash
# Runs the tests of the image that `make image` built, says how large it is, and removes every container they left.
#
#   tests/image.sh [TEST...]
#
#   PSB_IMAGE, PSB_IMAGE_WITH_SERVER    other images than those of `make image`
#   PSB_IMAGE_TEST_MIB                  size of the database that goes through 64 MiB of memory, 2048 by default
set -euo pipefail
cd "$(dirname "$0")/.."
export PSB_IMAGE=${PSB_IMAGE:-postgres-s3-backups:local}
export PSB_IMAGE_WITH_SERVER=${PSB_IMAGE_WITH_SERVER:-$PSB_IMAGE-with-server}
export PSB_IMAGE_TEST=$$

clean_up() {
  local left
  left=$(deploy/container.sh engine ps -aq --filter "label=psb-image-test=$PSB_IMAGE_TEST" 2>/dev/null || true)
  # shellcheck disable=SC2086 # one id a line
  [ -z "$left" ] || deploy/container.sh engine rm --force $left >/dev/null 2>&1 || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

began=$SECONDS
for image in "$PSB_IMAGE" "$PSB_IMAGE_WITH_SERVER"; do
  printf '%s: %d bytes, compressed by gzip\n' "$image" "$(deploy/container.sh engine save "$image" | gzip -6 | wc -c)"
done
tests/tools.sh weed pg:17 faketime
cargo test --locked --test image --no-run
# Each container costs some tenths of a second of a processor to start and to end.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-4} cargo test --locked --test image -- --ignored --show-output "$@"
printf 'The image does what it should (%d s).\n' $((SECONDS - began))
