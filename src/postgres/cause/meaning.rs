//! What each cause means, in one table: its kind, whether another attempt would fail too, and what to do.

use super::Cause;
use crate::fault::Kind;
use crate::postgres::DatabaseUrl;

/// Writes what to do, with the names that belong to a URL.
pub(in crate::postgres) type Hint = fn(&Named) -> String;

/// The names that a hint may use.
#[derive(Debug, Clone)]
pub(in crate::postgres) struct Named {
    /// The variable that holds the URL.
    variable: &'static str,
    /// The user in it, quoted for SQL.
    user: String,
    /// The database in it, quoted for SQL.
    database: String,
}

impl Named {
    pub(in crate::postgres) fn of(url: &DatabaseUrl) -> Self {
        let redactor = url.redactor();
        let quoted = |name: &str| {
            // A name that is also the password is not shown.
            if redactor.redact(name) == name {
                // Always quoted: a user may be called `user`.
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                "…".to_owned()
            }
        };
        Self {
            variable: url.variable(),
            user: quoted(url.user()),
            database: quoted(url.database()),
        }
    }
}

/// What a cause means: the kind of the failure, unless that depends on where it happened; whether another attempt would fail
/// too, if the kind alone does not tell; and what to do.
#[derive(Debug, Clone, Copy)]
pub(in crate::postgres) struct Meaning {
    pub(super) kind: Option<Kind>,
    pub(super) hopeless: bool,
    pub(in crate::postgres) hint: Hint,
}

/// A cause whose kind is always the same.
const fn is(kind: Kind, hint: Hint) -> Meaning {
    Meaning {
        kind: Some(kind),
        hopeless: false,
        hint,
    }
}

/// A cause that can end anything: a dump or a question. The place where it happened gives the kind.
const fn ends(hint: Hint) -> Meaning {
    Meaning {
        kind: None,
        hopeless: false,
        hint,
    }
}

/// The same, and another attempt would fail too.
const fn hopeless(hint: Hint) -> Meaning {
    Meaning {
        kind: None,
        hopeless: true,
        hint,
    }
}

impl Cause {
    /// The table of meanings.
    pub(in crate::postgres) const fn meaning(self) -> Meaning {
        match self {
            Self::HostUnknown => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "{variable} names a host that does not resolve; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{{{Postgres.DATABASE_URL}}}}"
                )
            }),
            Self::Unreachable => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "nothing answers at the host and port of {variable}; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{{{Postgres.DATABASE_URL}}}}"
                )
            }),
            Self::NotPostgres => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "something answers at the host and port of {variable}, but it does not speak as PostgreSQL does; correct the host or the port, and look at what stands in front of the server"
                )
            }),
            Self::ConnectionLost => ends(|_| {
                "the connection to the database broke off; look at the server's log and at what stands between (a proxy, a pooler, a firewall), and whether the server was restarted".to_owned()
            }),
            Self::WrongRole => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "no server of {variable} is what target_session_attrs asks for; name the right hosts, or leave target_session_attrs out"
                )
            }),
            Self::Parameter => is(Kind::Refused, |Named { variable, .. }| {
                format!(
                    "a parameter in {variable} has a value that libpq does not accept; `error` names it"
                )
            }),
            Self::StartupOptions => is(Kind::Refused, |Named { variable, .. }| {
                format!(
                    "the server, or the pooler in front of it, does not accept an option of the session; take it out of options= in {variable}, or use the server's own URL (with PgBouncer DATABASE_UNPOOLED_URL)"
                )
            }),
            Self::Requirement => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "channel_binding or require_auth in {variable} asks for a login that the server does not offer; change the parameter, or the method in the server's pg_hba.conf"
                )
            }),
            Self::NoTls => is(Kind::Tls, |Named { variable, .. }| {
                format!(
                    "the server does not offer TLS: switch it on there (ssl = on), or set sslmode=prefer in {variable} if the network is private"
                )
            }),
            Self::TlsWanted => is(Kind::Tls, |Named { variable, .. }| {
                format!("the server wants TLS: set sslmode=require in {variable}")
            }),
            Self::TlsMismatch => is(Kind::Tls, |_| {
                "the server and this service do not agree on TLS: compare ssl_min_protocol_version and ssl_max_protocol_version on both sides, and sslcert where the server asks for a certificate".to_owned()
            }),
            Self::NoRoot => is(Kind::Tls, |Named { variable, .. }| {
                format!(
                    "sslmode=verify-full and verify-ca need the certificates to trust: set sslrootcert=system in {variable} if a public authority signed the server's (clients of 16 and newer), or mount the provider's root certificate and name its file in sslrootcert"
                )
            }),
            Self::Untrusted => is(Kind::Tls, |Named { variable, .. }| {
                format!(
                    "the server's certificate is not signed by an authority in sslrootcert: set sslrootcert=system in {variable} if it is a public one, or mount the provider's root certificate and name its file in sslrootcert; Railway's is self-signed and fits sslmode=require only"
                )
            }),
            Self::OtherName => is(Kind::Tls, |Named { variable, .. }| {
                format!(
                    "the server's certificate is for another name: use the host in {variable} that the certificate names, with hostaddr for the address if that name does not lead there; sslmode=verify-ca checks the authority and not the name"
                )
            }),
            Self::KeyOpen => is(Kind::Tls, |_| {
                "libpq refuses the file in sslkey: it must belong to this service's user or root and be closed to others (chmod 0600, or 0640 if it belongs to root); a mounted secret has a mode of its own (defaultMode: 0600)".to_owned()
            }),
            Self::ClientCertificate => is(Kind::Tls, |Named { variable, .. }| {
                format!(
                    "the client's certificate can't be used: sslcert and sslkey in {variable} must name files that are mounted here and fit each other"
                )
            }),
            Self::Password => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "{variable} has the wrong user or password; on Railway set it to ${{{{Postgres.DATABASE_URL}}}}"
                )
            }),
            Self::NoRole => is(Kind::Auth, |Named { variable, user, .. }| {
                format!(
                    "{variable} names a user that does not exist on that server; correct it, or as a superuser run: CREATE ROLE {user} LOGIN PASSWORD '…'; on Railway set it to ${{{{Postgres.DATABASE_URL}}}}"
                )
            }),
            Self::NoLogin => is(Kind::Auth, |Named { variable, user, .. }| {
                format!(
                    "the user of {variable} may not log in; as a superuser run: ALTER ROLE {user} LOGIN;"
                )
            }),
            Self::NotAdmitted => is(Kind::Auth, |Named { variable, user, .. }| {
                format!(
                    "the server refuses the user of {variable}: look whether the role {user} exists and may log in (ALTER ROLE {user} LOGIN;), and whether the server's pg_hba.conf admits it from here"
                )
            }),
            Self::Hba => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "the server's pg_hba.conf does not admit this user, database, address or encryption; check {variable} and add sslmode=require if the server wants TLS"
                )
            }),
            Self::NoDatabase => is(Kind::Auth, |Named { variable, .. }| {
                format!("{variable} names a database that does not exist on that server")
            }),
            Self::ConnectionsForbidden => is(
                Kind::Auth,
                |Named {
                     variable, database, ..
                 }| {
                    format!(
                        "the database takes no connections; as a superuser, in another database of that server, run: ALTER DATABASE {database} ALLOW_CONNECTIONS true; or correct the name in {variable}"
                    )
                },
            ),
            Self::NoConnectRight => is(
                Kind::Permission,
                |Named {
                     variable,
                     user,
                     database,
                 }| {
                    format!(
                        "the user of {variable} may not connect to the database; as its owner or a superuser run: GRANT CONNECT ON DATABASE {database} TO {user};"
                    )
                },
            ),
            Self::TooManyConnections => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "the server has no free connection; raise max_connections or the role's limit, or close idle sessions; with PgBouncer use DATABASE_UNPOOLED_URL in {variable}"
                )
            }),
            Self::Starting => is(Kind::Connect, |_| {
                "the server is starting, stopping or recovering; wait a little, and look at the server's log if this does not end".to_owned()
            }),
            Self::Tenant => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "Supabase's pooler does not know this project or user: copy the session pooler's URL again from the project's Connect dialog into {variable} (the user is postgres.PROJECT_REF, the host that of the project's region), and look whether the project is paused"
                )
            }),
            Self::AzureUser => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "Azure's single server wants user@server as the user: in {variable} write user%40server, with the server's short name"
                )
            }),
            Self::Endpoint => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "Neon does not know which endpoint is meant: copy the connection string again into {variable}, leave sslsni=0 out, and look whether the branch and its endpoint still exist"
                )
            }),
            Self::PoolerUnknown => is(Kind::Auth, |Named { variable, .. }| {
                format!(
                    "the pooler in front of the server does not know this database or user: compare {variable} with the sections [databases] and auth_file of pgbouncer.ini, or use the server's own URL (DATABASE_UNPOOLED_URL)"
                )
            }),
            Self::PoolerFull => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "the pooler has no free connection: raise its limit (max_client_conn in PgBouncer, the pool size in Supabase), close idle clients, or use the server's own URL (DATABASE_UNPOOLED_URL) in {variable}"
                )
            }),
            Self::PoolerServer => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "the pooler can't reach its server: look at the pooler's log and at the server, or use the server's own URL (DATABASE_UNPOOLED_URL) in {variable}"
                )
            }),
            Self::Refused => is(Kind::Connect, |Named { variable, .. }| {
                format!(
                    "the server refuses the connection for the reason in `error`; check the user, the password and the database in {variable}, and the server's log"
                )
            }),
            Self::Version => is(Kind::Version, |_| {
                "the image needs the pg_dump of the server's major version; deploy a newer image"
                    .to_owned()
            }),
            Self::Options => hopeless(|_| {
                "pg_dump does not understand an option in BACKUP_OPTIONS, or not together with another one; `error` names it".to_owned()
            }),
            Self::NothingMatches => ends(|Named { variable, .. }| {
                format!(
                    "an option in BACKUP_OPTIONS names something that the database of {variable} does not have; correct the name, with its schema, and put a name with capitals in double quotes"
                )
            }),
            Self::Permission => is(Kind::Permission, |Named { variable, user, .. }| {
                format!(
                    "the user of {variable} may not read everything; as a superuser run: GRANT pg_read_all_data TO {user};"
                )
            }),
            Self::LargeObject => is(Kind::Permission, |Named { user, .. }| {
                format!(
                    "pg_read_all_data does not include large objects: for each one run, as its owner, GRANT SELECT ON LARGE OBJECT … TO {user}; or as a superuser ALTER ROLE {user} SET lo_compat_privileges = on; or back up as their owner"
                )
            }),
            Self::Sequence => ends(|Named { variable, user, .. }| {
                format!(
                    "either the user of {variable} may not read that sequence (as a superuser run: GRANT pg_read_all_data TO {user};), or it was dropped while pg_dump was at work"
                )
            }),
            Self::RowSecurity => is(Kind::Permission, |Named { user, .. }| {
                format!(
                    "row level security would hide rows from this user; back up with a role that has BYPASSRLS (as a superuser run: ALTER ROLE {user} BYPASSRLS;) or owns the table"
                )
            }),
            Self::Locked => is(Kind::LockWait, |_| {
                "another session held a lock on that table for longer than the dump waits; move the migration or BACKUP_CRON_SCHEDULE, or pass --lock-wait-timeout in BACKUP_OPTIONS".to_owned()
            }),
            Self::Cancelled => ends(|_| {
                "somebody cancelled the statement (pg_cancel_backend), or a limit of the server did; look at the server's log for who it was".to_owned()
            }),
            Self::Terminated => ends(|_| {
                "the server ended the session: it was restarted or failed over, or somebody called pg_terminate_backend; look at the server's log".to_owned()
            }),
            Self::Standby => ends(|_| {
                "this is a standby, and what the primary changed could not wait for the dump: set hot_standby_feedback = on there, or raise max_standby_streaming_delay (and max_standby_archive_delay), or back up the primary".to_owned()
            }),
            Self::LocksExhausted => ends(|_| {
                "the server has no room for more locks now: raise max_locks_per_transaction and restart the server, or move BACKUP_CRON_SCHEDULE away from work that locks many tables".to_owned()
            }),
            Self::LocksTooFew => hopeless(|_| {
                "the server can't hold a lock on each table of this database: raise max_locks_per_transaction and restart the server (the room is max_locks_per_transaction times max_connections + max_prepared_transactions), or leave tables out with BACKUP_OPTIONS".to_owned()
            }),
            Self::TooLarge => hopeless(|_| {
                "a row or a value is larger than 1 GB as text, and a bytea takes twice its size there, so pg_dump can't read it: make it smaller or move it to a large object, or leave the table's rows out with --exclude-table-data in BACKUP_OPTIONS and save them in another way".to_owned()
            }),
            Self::Library => hopeless(|_| {
                "the server lacks a library that a type, a function or an extension of this database needs: install the extension's package for the server's major version there, or drop what needs it".to_owned()
            }),
            Self::ServerMemory => ends(|_| {
                "the server is out of memory: give it more, lower work_mem, or move BACKUP_CRON_SCHEDULE away from other work".to_owned()
            }),
            Self::ClientMemory => ends(|_| {
                "pg_dump ran out of memory, for example because of a very large row: give this container more memory".to_owned()
            }),
            Self::DiskFull => ends(|_| {
                "the server's disk is full: make it larger, or remove what is not needed".to_owned()
            }),
            Self::DamagedFiles => ends(|_| {
                "the server can't read its own files: this table is damaged, so keep the older backups (stop the lifecycle rule), look at the server's log and at its disk, and restore the table from a backup".to_owned()
            }),
            Self::Dropped => ends(|_| {
                "something was dropped or changed while pg_dump was reading the catalogs; keep migrations away from BACKUP_CRON_SCHEDULE".to_owned()
            }),
            Self::Other => ends(|Named { variable, .. }| {
                format!(
                    "look at pg_dump's own words in `error`; check that {variable} is valid and the database is healthy"
                )
            }),
        }
    }
}
