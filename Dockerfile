# The daemon, pg_dump, pg_dumpall, psql and pg_restore of several major versions, the libraries they load, the CA certificates and a small init, and nothing else: no
# shell, no package manager, no Perl. What is in it, and why: docs/container.md.
#
#   docker build .                                            clients 14 to 18 from the PostgreSQL project
#   docker build --build-arg PG_MAJORS="17" .                 only one of them
#   docker build --build-arg PG_SOURCE=debian .               the suite's own client, where the project's apt repository can't be reached
#   docker build --target with-server .                       with a server as well, for restores inside the container

ARG RUST_IMAGE=rust:1.95-slim-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build
# ISA-L compresses the fastest level; the library itself is among the packages below.
RUN apt-get update && apt-get install -y --no-install-recommends libisal-dev && rm -rf /var/lib/apt/lists/*
# The dependencies are a layer of their own: a stub of the program compiles them, and they stay until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY crates/stream/Cargo.toml crates/stream/
COPY crates/inflate crates/inflate
COPY crates/igzip crates/igzip
RUN for target in $(sed -n 's/^path = "\(.*\)"/\1/p' Cargo.toml) src/main.rs src/lib.rs crates/stream/src/lib.rs; do \
        mkdir -p "$(dirname "$target")" && echo 'fn main() {}' > "$target"; \
    done && cargo build --release --locked --features isal && rm -rf src crates
COPY crates ./crates
COPY src ./src
# The stub is newer than the sources' own dates, so cargo would keep it. Packed relocations save a megabyte.
RUN touch src/main.rs src/lib.rs crates/stream/src/lib.rs && cargo rustc --release --locked --features isal --bin postgres-s3-backups -- -C link-arg=-Wl,-z,pack-relative-relocs
# The list of what went in names the crates too.
ARG BUILDKIT_SBOM_SCAN_STAGE=true

FROM ${RUNTIME_IMAGE} AS packages
ARG PG_SOURCE=pgdg
ENV DEBIAN_FRONTEND=noninteractive
SHELL ["/bin/sh", "-euxc"]
# The key of the PostgreSQL project's repository comes with a package of Debian's own, so nothing is trusted on first use.
RUN apt-get update; \
    apt-get install -y --no-install-recommends ca-certificates tini libisal2 postgresql-client-common; \
    if [ "$PG_SOURCE" = pgdg ]; then \
        suite=$(. /etc/os-release; echo "$VERSION_CODENAME"); \
        echo "deb [signed-by=/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc] https://apt.postgresql.org/pub/repos/apt $suite-pgdg main" \
            > /etc/apt/sources.list.d/pgdg.list; \
        apt-get update --error-on=any; \
    fi

FROM packages AS rootfs
ARG PG_SOURCE=pgdg
ARG PG_MAJORS="14 15 16 17 18"
RUN set --; \
    for major in $PG_MAJORS; do set -- "$@" "postgresql-client-$major"; done; \
    if [ "$PG_SOURCE" = debian ]; then set -- postgresql-client; fi; \
    apt-get install -y --no-install-recommends "$@"
COPY --from=build /build/target/release/postgres-s3-backups /usr/local/bin/
COPY deploy/image /image
# /usr/bin/pg_dump is a Perl wrapper that picks a version by rules of its own: only the programs behind it are taken. pg_restore
# reads what Railway's template left behind. pg_dumpall asks pg_dump for its version through a shell: the service answers that, and
# nothing else, under the name sh.
RUN /image/rootfs.sh /rootfs /usr/bin/tini /usr/local/bin/postgres-s3-backups \
        /usr/lib/postgresql/*/bin/pg_dump /usr/lib/postgresql/*/bin/pg_dumpall /usr/lib/postgresql/*/bin/psql /usr/lib/postgresql/*/bin/pg_restore \
        /etc/ssl/certs/ca-certificates.crt /usr/share/doc/ca-certificates/copyright /etc/ssl/openssl.cnf /etc/os-release /etc/debian_version; \
    cp -a /image/etc/. /rootfs/etc/; \
    mkdir -p /rootfs/usr/lib/ssl; \
    ln -s /etc/ssl/certs/ca-certificates.crt /rootfs/usr/lib/ssl/cert.pem; \
    ln -s /etc/ssl/openssl.cnf /rootfs/usr/lib/ssl/openssl.cnf; \
    ln -s /usr/local/bin/postgres-s3-backups /rootfs/usr/bin/sh
# Each program must start with nothing but what is in the tree.
RUN for program in /rootfs/usr/lib/postgresql/*/bin/* /rootfs/usr/local/bin/postgres-s3-backups /rootfs/usr/bin/tini; do \
        chroot /rootfs "${program#/rootfs}" --version; \
    done
# With SOURCE_DATE_EPOCH set, two builds from the same packages are the same to the byte.
ARG SOURCE_DATE_EPOCH
RUN if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then find /rootfs -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; fi

FROM rootfs AS rootfs-with-server
ARG SERVER_MAJOR=18
# pgvector, because Railway's own PostgreSQL image has it and a dump that uses it needs it.
ARG SERVER_EXTENSIONS="pgvector"
RUN set -- "postgresql-$SERVER_MAJOR"; \
    for extension in $SERVER_EXTENSIONS; do set -- "$@" "postgresql-$SERVER_MAJOR-$extension"; done; \
    mkdir -p /etc/postgresql-common; echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; \
    apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold tzdata libnss-wrapper dash "$@"
# initdb runs the server through a shell. The just-in-time compiler stays out: it is an option of the server, and brings all of LLVM.
RUN bin=/usr/lib/postgresql/$SERVER_MAJOR/bin; library=/usr/lib/postgresql/$SERVER_MAJOR/lib; \
    rm -rf "$library"/llvmjit* "$library/bitcode" "$library/pgxs"; \
    /image/rootfs.sh /rootfs "$bin/initdb" "$bin/postgres" "$bin/pg_ctl" /usr/bin/dash "$library"/*.so \
        "$(find /usr/lib -name 'libnss_wrapper.so')" /usr/share/zoneinfo/tzdata.zi; \
    ln -sfn dash /rootfs/usr/bin/sh; \
    mkdir -p /rootfs/usr/share/postgresql; \
    cp -a "/usr/share/postgresql/$SERVER_MAJOR" /rootfs/usr/share/postgresql/; \
    rm -rf "/rootfs/usr/share/postgresql/$SERVER_MAJOR/man"; \
    cp -a /usr/share/zoneinfo /rootfs/usr/share/; \
    rm -rf /rootfs/usr/share/zoneinfo/right /rootfs/usr/share/zoneinfo/posix
RUN for program in initdb postgres; do chroot /rootfs "/usr/lib/postgresql/$SERVER_MAJOR/bin/$program" --version; done
ARG SOURCE_DATE_EPOCH
RUN if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then find /rootfs -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; fi

# What the two images have in common.
FROM scratch AS shape
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="postgres-s3-backups" \
      org.opencontainers.image.description="Scheduled PostgreSQL backups to Cloudflare R2 and other S3 stores that are what they claim to be" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/local/bin:/usr/bin
# A number, so that Kubernetes can see that it isn't root.
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/local/bin/postgres-s3-backups", "health"]
# tini is process 1: it passes signals on and reaps orphans. With -s it does so as well where it isn't process 1.
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "/usr/local/bin/postgres-s3-backups"]

FROM shape AS with-server
COPY --from=rootfs-with-server /rootfs/ /

# The last stage is what a build without --target makes.
FROM shape AS plain
COPY --from=rootfs /rootfs/ /
