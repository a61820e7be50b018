# Everything a run needs: the daemon, pg_dump and psql of several major versions, the CA certificates and a small init.
#
#   docker build .                                            clients 14 to 18 from the PostgreSQL project
#   docker build --build-arg PG_MAJORS="17" .                 only one of them
#   docker build --build-arg PG_SOURCE=debian .               the suite's own client, where the project's apt repository can't be reached

ARG RUST_IMAGE=rust:1.95-slim-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build
# The dependencies are a layer of their own: a stub of the program compiles them, and they stay until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests && echo 'fn main() {}' > src/main.rs && touch src/lib.rs tests/suite.rs tests/schedule.rs \
    && cargo build --release --locked && rm -rf src
COPY src ./src
# The stub is newer than the sources' own dates, so cargo would keep it.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked

FROM ${RUNTIME_IMAGE} AS clients
ARG PG_MAJORS="14 15 16 17 18"
ARG PG_SOURCE=pgdg
SHELL ["/bin/sh", "-eux", "-c"]
RUN apt-get update; \
    apt-get install -y --no-install-recommends ca-certificates curl; \
    if [ "$PG_SOURCE" = pgdg ]; then \
        curl -fsSo /usr/share/keyrings/pgdg.asc https://www.postgresql.org/media/keys/ACCC4CF8.asc; \
        suite=$(. /etc/os-release; echo "$VERSION_CODENAME"); \
        echo "deb [signed-by=/usr/share/keyrings/pgdg.asc] https://apt.postgresql.org/pub/repos/apt $suite-pgdg main" > /etc/apt/sources.list.d/pgdg.list; \
        apt-get update; \
        for major in $PG_MAJORS; do set -- "$@" "postgresql-client-$major"; done; \
    else \
        set -- postgresql-client; \
    fi; \
    apt-get install -y --no-install-recommends "$@"; \
    rm -rf /var/lib/apt/lists/*
# Only the programs themselves and the libraries they load: /usr/bin/pg_dump is a Perl wrapper that picks a version by
# rules of its own, and the package that holds it brings all of Perl. The folders are resolved, because /lib is a link
# to /usr/lib and a folder can't be copied onto a link.
RUN for program in /usr/lib/postgresql/*/bin/pg_dump /usr/lib/postgresql/*/bin/psql /usr/lib/postgresql/*/bin/pg_restore; do \
        mkdir -p "/clients$(dirname "$program")"; \
        cp "$program" "/clients$program"; \
        ldd "$program" | awk '$3 ~ /^\// { print $3 }'; \
    done | sort -u | while read -r library; do \
        directory=$(realpath "$(dirname "$library")"); \
        mkdir -p "/clients$directory"; \
        cp -L "$library" "/clients$directory/"; \
    done
# The C library and its kin are the runtime image's own.
RUN find /clients -name 'libc.so.*' -delete; find /clients -name 'ld-linux*' -delete; find /clients -name 'libm.so.*' -delete; \
    find /clients -name 'libresolv.so.*' -delete

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="postgres-s3-backups" \
      org.opencontainers.image.description="Scheduled PostgreSQL backups to Cloudflare R2 and other S3 stores that are what they claim to be" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# The roots for TLS come from the system's store only. The time zones are compiled into the program. tini is process 1:
# it passes signals on and reaps orphans.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tini && rm -rf /var/lib/apt/lists/*
COPY --from=clients /clients/ /
COPY --from=build /build/target/release/postgres-s3-backups /usr/local/bin/postgres-s3-backups
RUN ldconfig \
    && for program in /usr/lib/postgresql/*/bin/*; do "$program" --version; done \
    && /usr/local/bin/postgres-s3-backups --version
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/local/bin/postgres-s3-backups", "health"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/postgres-s3-backups"]
