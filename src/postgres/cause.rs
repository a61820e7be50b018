//! What went wrong between this service and a database, and what to do about it.

use super::DatabaseUrl;
use crate::kind::Kind;

/// What went wrong between this service and the database.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PostgresError {
    /// The name of it.
    pub kind: Kind,
    /// The database's or its client's own words, redacted.
    pub text: String,
    /// What to do.
    pub hint: String,
}

impl PostgresError {
    /// Reads what libpq, `psql` or `pg_dump` said on stderr.
    #[must_use]
    pub fn from_stderr(said: &str, otherwise: Kind) -> Self {
        let text = one_line(said);
        let (kind, hint) = CAUSES
            .iter()
            .find(|(phrases, _, _)| phrases.iter().any(|phrase| said.contains(phrase)))
            .map_or((otherwise, "look at pg_dump's own words in `error`; check that BACKUP_DATABASE_URL is valid and the database is healthy"), |(_, kind, hint)| (*kind, *hint));
        Self {
            kind,
            text,
            hint: hint.to_owned(),
        }
    }

    /// Reads what `psql` said while it restored: statements are refused then, not connections.
    #[must_use]
    pub fn from_psql(said: &str) -> Self {
        let cause = RESTORE_CAUSES
            .iter()
            .find(|(phrases, _)| phrases.iter().any(|phrase| said.contains(phrase)));
        let hint = cause.map_or(
            "look at psql's own words in `error`, and at what it says of the target",
            |(_, hint)| hint,
        );
        Self {
            kind: Kind::Restore,
            text: one_line(said),
            hint: hint.to_owned(),
        }
    }

    /// Names the variable that holds this URL in the hint.
    #[must_use]
    pub(crate) fn about(mut self, url: &DatabaseUrl) -> Self {
        self.hint = self.hint.replace("BACKUP_DATABASE_URL", url.variable());
        self
    }
}

/// Several lines as one.
fn one_line(said: &str) -> String {
    said.trim()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The words of libpq and `pg_dump` (with `LC_ALL=C`), what they mean, and what to do.
const CAUSES: &[(&[&str], Kind, &str)] = &[
    (
        &["aborting because of server version mismatch"],
        Kind::Version,
        "the image needs the pg_dump of the server's major version; deploy a newer image",
    ),
    (
        &[
            "too many connections",
            "remaining connection slots",
            "too many clients",
        ],
        Kind::Connect,
        "the server has no free connection; raise max_connections or the role's limit, or close idle sessions; with PgBouncer use DATABASE_UNPOOLED_URL in BACKUP_DATABASE_URL",
    ),
    (
        &[
            "password authentication failed",
            "no password supplied",
            "FATAL:  role \"",
            "Peer authentication failed",
            "authentication failed",
        ],
        Kind::Auth,
        "BACKUP_DATABASE_URL has the wrong user or password; on Railway set it to ${{Postgres.DATABASE_URL}}",
    ),
    (
        &["pg_hba.conf"],
        Kind::Auth,
        "the server's pg_hba.conf does not admit this user, database, address or encryption; check BACKUP_DATABASE_URL and add sslmode=require if the server wants TLS",
    ),
    (
        &["FATAL:  database \""],
        Kind::Auth,
        "BACKUP_DATABASE_URL names a database that does not exist on that server",
    ),
    (
        &["row-level security policy"],
        Kind::Permission,
        "row level security would hide rows from this user; back up with a role that has BYPASSRLS (ALTER ROLE … BYPASSRLS) or owns the table",
    ),
    (
        &[
            "canceling statement due to statement timeout",
            "canceling statement due to lock timeout",
        ],
        Kind::LockWait,
        "another session held a lock on that table for longer than the dump waits; move the migration or BACKUP_CRON_SCHEDULE, or pass --lock-wait-timeout in BACKUP_OPTIONS",
    ),
    (
        &["permission denied"],
        Kind::Permission,
        "the user of BACKUP_DATABASE_URL may not read everything; as a superuser run: GRANT pg_read_all_data TO that user",
    ),
    (
        &[
            "could not translate host name",
            "Name or service not known",
            "Temporary failure in name resolution",
            "Name does not resolve",
        ],
        Kind::Connect,
        "BACKUP_DATABASE_URL names a host that does not resolve; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
    ),
    (
        &[
            "server does not support SSL",
            "SSL error",
            "certificate",
            "sslmode",
        ],
        Kind::Tls,
        "the server's TLS does not fit sslmode in BACKUP_DATABASE_URL; Railway's certificate is self-signed: use sslmode=require, not verify-full",
    ),
    (
        &[
            "Connection refused",
            "timeout expired",
            "Connection timed out",
            "No route to host",
            "Network is unreachable",
            "the database system is starting up",
            "the database system is shutting down",
            "could not connect to server",
        ],
        Kind::Connect,
        "nothing answers at the host and port of BACKUP_DATABASE_URL; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
    ),
];

/// What stops a restore, and what to do.
const RESTORE_CAUSES: &[(&[&str], &str)] = &[
    (
        &["No space left on device", "could not extend file"],
        "the target server's disk is full; make it larger, or restore elsewhere",
    ),
    (
        &["out of shared memory"],
        "the target has more tables than one transaction may lock there; raise max_locks_per_transaction and restart that server",
    ),
    (
        &["canceling statement due to lock timeout"],
        "another session uses what --clean would replace; stop the application, then try again",
    ),
    (
        &["unrecognized configuration parameter"],
        "the target is older than the server the backup came from; restore into the same major version or a newer one",
    ),
    (
        &["invalid command \\restrict"],
        "this psql is older than the pg_dump that made the backup; use this service's image",
    ),
    (
        &["is not available", "could not open extension control file"],
        "the target's server lacks the extension; restore into a server that has it",
    ),
    (
        &["must be superuser", "must be owner", "permission denied"],
        "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-owner --no-privileges",
    ),
    (
        &["does not exist"],
        "the target lacks something that the backup takes for granted, such as a role; create it, then try again",
    ),
    (
        &["already exists"],
        "the target was not empty; restore into a new database",
    ),
    (
        &[
            "server closed the connection",
            "terminating connection",
            "connection to server was lost",
        ],
        "the target server went away; find out why, then try again",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpqs_words_get_their_kind() {
        let check = |said: &str, kind: Kind, hint: &str| {
            let error = PostgresError::from_stderr(said, Kind::DumpExit);
            assert_eq!(error.kind, kind, "{said}");
            assert!(error.hint.contains(hint), "{said}: {}", error.hint);
        };
        check(
            "connection to server at \"h\", port 1 failed: Connection refused",
            Kind::Connect,
            "same project",
        );
        check(
            "FATAL:  password authentication failed for user \"u\"",
            Kind::Auth,
            "BACKUP_DATABASE_URL",
        );
        check(
            "FATAL:  database \"x\" does not exist",
            Kind::Auth,
            "does not exist",
        );
        check(
            "ERROR:  permission denied for table secret",
            Kind::Permission,
            "pg_read_all_data",
        );
        check(
            "query would be affected by row-level security policy for table \"t\"",
            Kind::Permission,
            "BYPASSRLS",
        );
        check(
            "could not translate host name \"h\" to address: Name or service not known",
            Kind::Connect,
            "private URL",
        );
        check(
            "FATAL:  too many connections for role \"u\"",
            Kind::Connect,
            "max_connections",
        );
        check(
            "ERROR:  canceling statement due to statement timeout",
            Kind::LockWait,
            "lock",
        );
        check(
            "server closed the connection unexpectedly",
            Kind::DumpExit,
            "BACKUP_DATABASE_URL",
        );
    }
}
