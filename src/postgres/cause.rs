//! What went wrong between this service and a database, and what to do about it.
//!
//! How a cause is known is in `words.rs`; what it means is here, in one table.

use super::said::Said;
use super::words;
use super::{DatabaseUrl, message};
use crate::fault::{Diagnosed, Kind};

/// What went wrong between this service and the database.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PostgresError {
    /// The name of it.
    pub kind: Kind,
    /// What is behind it, as far as it is known.
    pub cause: Cause,
    /// The database's or its client's own words, redacted.
    pub text: String,
    /// What to do.
    pub hint: String,
    /// The error of the server that ended it, where that is known.
    pub refused: Option<Box<Refused>>,
}

/// An error that a server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its SQLSTATE.
    pub code: String,
    /// Its words, in the server's language.
    pub words: String,
    /// Whether it came up in the body of a function.
    pub is_within_function: bool,
}

/// Why a database can't be reached, asked or dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host's name has no address.
    HostUnknown,
    /// Nothing answers there.
    Unreachable,
    /// Something else than PostgreSQL answers there.
    NotPostgres,
    /// A connection was made, and ended before or while it was used.
    ConnectionLost,
    /// The server is not of the sort that `target_session_attrs` asks for.
    WrongRole,
    /// libpq does not accept a parameter's value.
    Parameter,
    /// The server, or what is in front of it, does not accept the options of the session.
    StartupOptions,
    /// `channel_binding` or `require_auth` asks for more than the server does.
    Requirement,
    /// The server has no TLS.
    NoTls,
    /// The server wants TLS.
    TlsWanted,
    /// The two know no version or cipher in common, or the server turned the certificate down.
    TlsMismatch,
    /// The file with the authorities is not there.
    NoRoot,
    /// The server's certificate is of no authority that is known here.
    Untrusted,
    /// The server's certificate is for another name.
    OtherName,
    /// Others may read the file with the client's key.
    KeyOpen,
    /// The client's certificate or key is not there or does not fit.
    ClientCertificate,
    /// Wrong user or password.
    Password,
    /// There is no such role.
    NoRole,
    /// The role may not log in.
    NoLogin,
    /// The server refuses this user, and says no more than that.
    NotAdmitted,
    /// The server's `pg_hba.conf` does not admit this.
    Hba,
    /// There is no such database.
    NoDatabase,
    /// Nobody may connect to the database.
    ConnectionsForbidden,
    /// The role may not connect to the database.
    NoConnectRight,
    /// No free connection in the server.
    TooManyConnections,
    /// The server is starting, stopping or recovering.
    Starting,
    /// Supavisor does not know the project or the user.
    Tenant,
    /// Azure wants the server's name in the user's.
    AzureUser,
    /// Neon does not know which endpoint is meant.
    Endpoint,
    /// The pooler does not know the database or the user.
    PoolerUnknown,
    /// No free connection in the pooler.
    PoolerFull,
    /// The pooler does not get through to its server.
    PoolerServer,
    /// The server refuses the connection, in words and with a code that are not known.
    Refused,
    /// `pg_dump` is older than the server.
    Version,
    /// `pg_dump` does not understand its options.
    Options,
    /// The options ask for something that is not there.
    NothingMatches,
    /// The role may not read everything.
    Permission,
    /// The role may not read a large object.
    LargeObject,
    /// The role may not read a sequence, or it was dropped meanwhile.
    Sequence,
    /// Row level security would hide rows.
    RowSecurity,
    /// Another session held a lock for too long.
    Locked,
    /// Somebody cancelled the statement.
    Cancelled,
    /// The server ended the session.
    Terminated,
    /// The standby could not wait for the dump any longer.
    Standby,
    /// The server has no room to remember more locks.
    LocksExhausted,
    /// The same, and its settings are too small for this database.
    LocksTooFew,
    /// A value is larger than the protocol can carry as text.
    TooLarge,
    /// A library that a type or a function needs is not there.
    Library,
    /// The server is out of memory.
    ServerMemory,
    /// `pg_dump` or `psql` is out of memory.
    ClientMemory,
    /// The server's disk is full.
    DiskFull,
    /// The server's files are damaged.
    DamagedFiles,
    /// Something was dropped while the dump was reading the catalogs.
    Dropped,
    /// None of these.
    Other,
}

/// What a cause means: the name of the failure, unless the place where it came up gives it, whether another attempt can end
/// otherwise where the name alone does not tell, and what to do.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    kind: Option<Kind>,
    hopeless: bool,
    hint: &'static str,
}

/// A cause whose kind is always the same.
const fn is(kind: Kind, hint: &'static str) -> Meaning {
    Meaning {
        kind: Some(kind),
        hopeless: false,
        hint,
    }
}

/// A cause that ends whatever was done: a dump or a question.
const fn ends(hint: &'static str) -> Meaning {
    Meaning {
        kind: None,
        hopeless: false,
        hint,
    }
}

/// The same, and another attempt ends alike.
const fn hopeless(hint: &'static str) -> Meaning {
    Meaning {
        kind: None,
        hopeless: true,
        hint,
    }
}

impl Cause {
    /// Every one, in the order above.
    pub const ALL: [Self; 54] = [
        Self::HostUnknown,
        Self::Unreachable,
        Self::NotPostgres,
        Self::ConnectionLost,
        Self::WrongRole,
        Self::Parameter,
        Self::StartupOptions,
        Self::Requirement,
        Self::NoTls,
        Self::TlsWanted,
        Self::TlsMismatch,
        Self::NoRoot,
        Self::Untrusted,
        Self::OtherName,
        Self::KeyOpen,
        Self::ClientCertificate,
        Self::Password,
        Self::NoRole,
        Self::NoLogin,
        Self::NotAdmitted,
        Self::Hba,
        Self::NoDatabase,
        Self::ConnectionsForbidden,
        Self::NoConnectRight,
        Self::TooManyConnections,
        Self::Starting,
        Self::Tenant,
        Self::AzureUser,
        Self::Endpoint,
        Self::PoolerUnknown,
        Self::PoolerFull,
        Self::PoolerServer,
        Self::Refused,
        Self::Version,
        Self::Options,
        Self::NothingMatches,
        Self::Permission,
        Self::LargeObject,
        Self::Sequence,
        Self::RowSecurity,
        Self::Locked,
        Self::Cancelled,
        Self::Terminated,
        Self::Standby,
        Self::LocksExhausted,
        Self::LocksTooFew,
        Self::TooLarge,
        Self::Library,
        Self::ServerMemory,
        Self::ClientMemory,
        Self::DiskFull,
        Self::DamagedFiles,
        Self::Dropped,
        Self::Other,
    ];

    /// The table. `{user}` and `{database}` stand for the names in the URL, quoted as SQL wants them.
    const fn meaning(self) -> Meaning {
        match self {
            Self::HostUnknown => is(
                Kind::Connect,
                "BACKUP_DATABASE_URL names a host that does not resolve; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
            ),
            Self::Unreachable => is(
                Kind::Connect,
                "nothing answers at the host and port of BACKUP_DATABASE_URL; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
            ),
            Self::NotPostgres => is(
                Kind::Connect,
                "something answers at the host and port of BACKUP_DATABASE_URL, but it does not speak as PostgreSQL does; correct the host or the port, and look at what stands in front of the server",
            ),
            Self::ConnectionLost => ends(
                "the connection to the database broke off; look at the server's log and at what stands between (a proxy, a pooler, a firewall), and whether the server was restarted",
            ),
            Self::WrongRole => is(
                Kind::Connect,
                "no server of BACKUP_DATABASE_URL is what target_session_attrs asks for; name the right hosts, or leave target_session_attrs out",
            ),
            Self::Parameter => is(
                Kind::Refused,
                "a parameter in BACKUP_DATABASE_URL has a value that libpq does not accept; `error` names it",
            ),
            Self::StartupOptions => is(
                Kind::Refused,
                "the server, or the pooler in front of it, does not accept an option of the session; take it out of options= in BACKUP_DATABASE_URL, or use the server's own URL (with PgBouncer DATABASE_UNPOOLED_URL)",
            ),
            Self::Requirement => is(
                Kind::Auth,
                "channel_binding or require_auth in BACKUP_DATABASE_URL asks for a login that the server does not offer; change the parameter, or the method in the server's pg_hba.conf",
            ),
            Self::NoTls => is(
                Kind::Tls,
                "the server does not offer TLS: turn it on there (ssl = on), or set sslmode=prefer in BACKUP_DATABASE_URL if the network is private",
            ),
            Self::TlsWanted => is(
                Kind::Tls,
                "the server wants TLS: set sslmode=require in BACKUP_DATABASE_URL",
            ),
            Self::TlsMismatch => is(
                Kind::Tls,
                "the server and this service do not agree on TLS: compare ssl_min_protocol_version and ssl_max_protocol_version on both sides, and sslcert where the server asks for a certificate",
            ),
            Self::NoRoot => is(
                Kind::Tls,
                "sslmode=verify-full and verify-ca need the certificates to trust: set sslrootcert=system in BACKUP_DATABASE_URL if a public authority signed the server's (clients of 16 and newer), or mount the provider's root certificate and name its file in sslrootcert",
            ),
            Self::Untrusted => is(
                Kind::Tls,
                "the server's certificate is not signed by an authority in sslrootcert: set sslrootcert=system in BACKUP_DATABASE_URL if it is a public one, or mount the provider's root certificate and name its file in sslrootcert; Railway's is self-signed and fits sslmode=require only",
            ),
            Self::OtherName => is(
                Kind::Tls,
                "the server's certificate is for another name: use the host in BACKUP_DATABASE_URL that the certificate names, with hostaddr for the address if that name does not lead there; sslmode=verify-ca checks the authority and not the name",
            ),
            Self::KeyOpen => is(
                Kind::Tls,
                "libpq refuses the file in sslkey: it must belong to this service's user or root and be closed to others (chmod 0600, or 0640 if it belongs to root); a mounted secret has a mode of its own (defaultMode: 0600)",
            ),
            Self::ClientCertificate => is(
                Kind::Tls,
                "the client's certificate can't be used: sslcert and sslkey in BACKUP_DATABASE_URL must name files that are mounted here and fit each other",
            ),
            Self::Password => is(
                Kind::Auth,
                "BACKUP_DATABASE_URL has the wrong user or password; on Railway set it to ${{Postgres.DATABASE_URL}}",
            ),
            Self::NoRole => is(
                Kind::Auth,
                "BACKUP_DATABASE_URL names a user that does not exist on that server; correct it, or as a superuser run: CREATE ROLE {user} LOGIN PASSWORD '…'; on Railway set it to ${{Postgres.DATABASE_URL}}",
            ),
            Self::NoLogin => is(
                Kind::Auth,
                "the user of BACKUP_DATABASE_URL may not log in; as a superuser run: ALTER ROLE {user} LOGIN;",
            ),
            Self::NotAdmitted => is(
                Kind::Auth,
                "the server refuses the user of BACKUP_DATABASE_URL: look whether the role {user} exists and may log in (ALTER ROLE {user} LOGIN;), and whether the server's pg_hba.conf admits it from here",
            ),
            Self::Hba => is(
                Kind::Auth,
                "the server's pg_hba.conf does not admit this user, database, address or encryption; check BACKUP_DATABASE_URL and add sslmode=require if the server wants TLS",
            ),
            Self::NoDatabase => is(
                Kind::Auth,
                "BACKUP_DATABASE_URL names a database that does not exist on that server",
            ),
            Self::ConnectionsForbidden => is(
                Kind::Auth,
                "the database takes no connections; as a superuser, in another database of that server, run: ALTER DATABASE {database} ALLOW_CONNECTIONS true; or correct the name in BACKUP_DATABASE_URL",
            ),
            Self::NoConnectRight => is(
                Kind::Permission,
                "the user of BACKUP_DATABASE_URL may not connect to the database; as its owner or a superuser run: GRANT CONNECT ON DATABASE {database} TO {user};",
            ),
            Self::TooManyConnections => is(
                Kind::Connect,
                "the server has no free connection; raise max_connections or the role's limit, or close idle sessions; with PgBouncer use DATABASE_UNPOOLED_URL in BACKUP_DATABASE_URL",
            ),
            Self::Starting => is(
                Kind::Connect,
                "the server is starting, stopping or recovering; it is tried again. If it stays so, look at the server's log",
            ),
            Self::Tenant => is(
                Kind::Auth,
                "Supabase's pooler does not know this project or user: copy the session pooler's URL again from the project's Connect dialog into BACKUP_DATABASE_URL (the user is postgres.PROJECT_REF, the host that of the project's region), and look whether the project is paused",
            ),
            Self::AzureUser => is(
                Kind::Auth,
                "Azure's single server wants user@server as the user: in BACKUP_DATABASE_URL write user%40server, with the server's short name",
            ),
            Self::Endpoint => is(
                Kind::Auth,
                "Neon does not know which endpoint is meant: copy the connection string again into BACKUP_DATABASE_URL, leave sslsni=0 out, and look whether the branch and its endpoint still exist",
            ),
            Self::PoolerUnknown => is(
                Kind::Auth,
                "the pooler in front of the server does not know this database or user: compare BACKUP_DATABASE_URL with the sections [databases] and auth_file of pgbouncer.ini, or use the server's own URL (DATABASE_UNPOOLED_URL)",
            ),
            Self::PoolerFull => is(
                Kind::Connect,
                "the pooler has no free connection: raise its limit (max_client_conn in PgBouncer, the pool size in Supabase), close idle clients, or use the server's own URL (DATABASE_UNPOOLED_URL) in BACKUP_DATABASE_URL",
            ),
            Self::PoolerServer => is(
                Kind::Connect,
                "the pooler does not get through to its server: look at the pooler's log and at the server, or use the server's own URL (DATABASE_UNPOOLED_URL) in BACKUP_DATABASE_URL",
            ),
            Self::Refused => is(
                Kind::Connect,
                "the server refuses the connection for the reason in `error`; check the user, the password and the database in BACKUP_DATABASE_URL, and the server's log",
            ),
            Self::Version => is(
                Kind::Version,
                "the image needs the pg_dump of the server's major version; deploy a newer image",
            ),
            Self::Options => hopeless(
                "pg_dump does not understand an option in BACKUP_OPTIONS, or not together with another one; `error` names it",
            ),
            Self::NothingMatches => ends(
                "an option in BACKUP_OPTIONS names something that the database of BACKUP_DATABASE_URL does not have; correct the name, with its schema, and mind that capitals need double quotes",
            ),
            Self::Permission => is(
                Kind::Permission,
                "the user of BACKUP_DATABASE_URL may not read everything; as a superuser run: GRANT pg_read_all_data TO {user};",
            ),
            Self::LargeObject => is(
                Kind::Permission,
                "pg_read_all_data does not include large objects: for each one run, as its owner, GRANT SELECT ON LARGE OBJECT … TO {user}; or as a superuser ALTER ROLE {user} SET lo_compat_privileges = on; or back up as their owner",
            ),
            Self::Sequence => ends(
                "either the user of BACKUP_DATABASE_URL may not read that sequence (as a superuser run: GRANT pg_read_all_data TO {user};), or it was dropped while pg_dump was at work",
            ),
            Self::RowSecurity => is(
                Kind::Permission,
                "row level security would hide rows from this user; back up with a role that has BYPASSRLS (as a superuser run: ALTER ROLE {user} BYPASSRLS;) or owns the table",
            ),
            Self::Locked => is(
                Kind::LockWait,
                "another session held a lock on that table for longer than the dump waits; move the migration or BACKUP_CRON_SCHEDULE, or pass --lock-wait-timeout in BACKUP_OPTIONS",
            ),
            Self::Cancelled => ends(
                "somebody cancelled the statement (pg_cancel_backend), or a limit of the server did; look at the server's log for who it was",
            ),
            Self::Terminated => ends(
                "the server ended the session: it was restarted or failed over, or somebody called pg_terminate_backend; look at the server's log",
            ),
            Self::Standby => ends(
                "this is a standby, and what the primary changed could not wait for the dump: set hot_standby_feedback = on there, or raise max_standby_streaming_delay (and max_standby_archive_delay), or back up the primary",
            ),
            Self::LocksExhausted => ends(
                "the server has no room for more locks now: raise max_locks_per_transaction and restart the server, or move BACKUP_CRON_SCHEDULE away from work that locks many tables",
            ),
            Self::LocksTooFew => hopeless(
                "the server can't hold a lock on each table of this database: raise max_locks_per_transaction and restart the server (the room is max_locks_per_transaction times max_connections + max_prepared_transactions), or leave tables out with BACKUP_OPTIONS",
            ),
            Self::TooLarge => hopeless(
                "a row or a value is larger than 1 GB as text, and a bytea takes twice its size there, so pg_dump can't read it: make it smaller or move it to a large object, or leave the table's rows out with --exclude-table-data in BACKUP_OPTIONS and save them in another way",
            ),
            Self::Library => hopeless(
                "the server lacks a library that a type, a function or an extension of this database needs: install the extension's package for the server's major version there, or drop what needs it",
            ),
            Self::ServerMemory => ends(
                "the server is out of memory: give it more, lower work_mem, or move BACKUP_CRON_SCHEDULE away from other work",
            ),
            Self::ClientMemory => ends(
                "pg_dump ran out of memory, as a very large row makes it: give this container more",
            ),
            Self::DiskFull => {
                ends("the server's disk is full: make it larger, or remove what is not needed")
            }
            Self::DamagedFiles => ends(
                "the server can't read its own files: this table is damaged, so keep the older backups (stop the lifecycle rule), look at the server's log and at its disk, and restore the table from a backup",
            ),
            Self::Dropped => ends(
                "something was dropped or changed while pg_dump was reading the catalogs; keep migrations away from BACKUP_CRON_SCHEDULE",
            ),
            Self::Other => ends(
                "look at pg_dump's own words in `error`; check that BACKUP_DATABASE_URL is valid and the database is healthy",
            ),
        }
    }

    /// Whether another attempt ends alike, whatever the kind says.
    #[must_use]
    pub const fn is_hopeless(self) -> bool {
        self.meaning().hopeless
    }

    /// The name of the failure, where this cause came up.
    #[must_use]
    pub const fn kind(self, otherwise: Kind) -> Kind {
        match self.meaning().kind {
            Some(kind) => kind,
            None => otherwise,
        }
    }
}

impl Diagnosed for PostgresError {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hint(&self) -> &str {
        &self.hint
    }

    fn is_retryable(&self) -> bool {
        self.kind.is_retryable() && !self.cause.is_hopeless()
    }
}

impl PostgresError {
    /// A failure that this service found itself.
    #[must_use]
    pub const fn new(kind: Kind, text: String, hint: String) -> Self {
        Self {
            kind,
            cause: Cause::Other,
            text,
            hint,
            refused: None,
        }
    }

    /// A failure whose cause is known, in a place that gives it a kind if the cause does not.
    #[must_use]
    pub(super) fn of(cause: Cause, otherwise: Kind, said: &str) -> Self {
        Self {
            kind: cause.kind(otherwise),
            cause,
            text: one_line(said),
            hint: cause.meaning().hint.to_owned(),
            refused: None,
        }
    }

    /// Judges a `psql` that asked a question of ours and ended with this status.
    #[must_use]
    pub(super) fn of_psql(said: &Said, status: Option<i32>) -> Self {
        let shown = message::without_codes(said.shown());
        // 2: there is no connection, or none any more. 3: a statement failed. Anything else is psql's own.
        let (cause, otherwise) = match status {
            Some(2) => (words::of_lost_psql(said), Kind::Connect),
            _ => (words::of_statement(said), Kind::Internal),
        };
        Self::of(cause, otherwise, &shown)
    }

    /// Judges a `pg_dump` that ended with an error; `has_output` tells that it had a session.
    #[must_use]
    pub fn of_pg_dump(said: &Said, has_output: bool) -> Self {
        let (cause, otherwise) = words::of_pg_dump(said, has_output);
        Self::of(cause, otherwise, said.shown())
    }

    /// Adds the code that the server gave for its refusal.
    #[must_use]
    pub(super) fn with_code(self, code: &str) -> Self {
        let text = format!("{} (SQLSTATE {code})", self.text);
        let cause = words::of_refusal_code(code);
        Self::of(cause, self.kind, &text)
    }

    /// The same with a cause that was found out later.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self::of(cause, self.kind, &self.text)
    }

    /// Names the variable that holds this URL in the hint, with the user and the database in it.
    #[must_use]
    pub fn about(mut self, url: &DatabaseUrl) -> Self {
        let redactor = url.redactor();
        let quoted = |name: &str| {
            // A name that is the password as well is not shown.
            if redactor.redact(name) == name {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                "…".to_owned()
            }
        };
        self.hint = self
            .hint
            .replace("BACKUP_DATABASE_URL", url.variable())
            .replace("{user}", &quoted(url.user()))
            .replace("{database}", &quoted(url.database()));
        self
    }
}

/// Several lines as one.
pub(crate) fn one_line(said: &str) -> String {
    said.trim()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_the_list_of_all() {
        let written = include_str!("cause.rs").lines().filter_map(|line| {
            let name = line.trim().strip_prefix("Self::")?.split_once(" => ")?.0;
            name.chars()
                .all(char::is_alphabetic)
                .then(|| name.to_owned())
        });
        let all = Cause::ALL.iter().map(|cause| format!("{cause:?}"));
        assert_eq!(all.collect::<Vec<_>>(), written.collect::<Vec<_>>());
    }

    #[test]
    fn names_in_a_hint_are_quoted_and_never_the_password() {
        let hint = |url: &str| {
            let url = DatabaseUrl::parse(url).unwrap().0;
            PostgresError::of(Cause::NoConnectRight, Kind::Connect, "x")
                .about(&url)
                .hint
        };
        assert!(
            hint("postgres://a%22b:secret@h/My%20Db")
                .ends_with("run: GRANT CONNECT ON DATABASE \"My Db\" TO \"a\"\"b\";")
        );
        assert!(hint("postgres://postgres:postgres@h/d").ends_with("ON DATABASE \"d\" TO …;"));
        let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
        let url = url.from_variable("RESTORE_DATABASE_URL");
        let error = PostgresError::of(Cause::Password, Kind::Connect, "x").about(&url);
        assert!(
            error.hint.starts_with("RESTORE_DATABASE_URL has"),
            "{}",
            error.hint
        );
    }

    #[test]
    fn a_hint_has_no_place_left_open_but_those_for_names() {
        for cause in Cause::ALL {
            let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
            let hint = PostgresError::of(cause, Kind::DumpExit, "x")
                .about(&url)
                .hint;
            let hint = hint.replace("${{Postgres.DATABASE_URL}}", "");
            assert!(
                !hint.contains(['{', '}']) && hint.len() > 30,
                "{cause:?}: {hint}"
            );
        }
    }
}
