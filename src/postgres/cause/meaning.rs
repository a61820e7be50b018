//! What each cause means, in one table: its kind, whether another attempt would fail too, and what to do.

use super::Cause;
use crate::fault::Kind;

/// What a cause means: the kind of the failure, unless that depends on where it happened; whether another attempt would fail
/// too, if the kind alone does not tell; and what to do.
#[derive(Debug, Clone, Copy)]
pub(in crate::postgres) struct Meaning {
    pub(super) kind: Option<Kind>,
    pub(super) hopeless: bool,
    pub(in crate::postgres) hint: &'static str,
}

/// A cause whose kind is always the same.
const fn is(kind: Kind, hint: &'static str) -> Meaning {
    Meaning {
        kind: Some(kind),
        hopeless: false,
        hint,
    }
}

/// A cause that can end anything: a dump or a question. The place where it happened gives the kind.
const fn ends(hint: &'static str) -> Meaning {
    Meaning {
        kind: None,
        hopeless: false,
        hint,
    }
}

/// The same, and another attempt would fail too.
const fn hopeless(hint: &'static str) -> Meaning {
    Meaning {
        kind: None,
        hopeless: true,
        hint,
    }
}

impl Cause {
    /// The table of meanings. `{user}` and `{database}` stand for the names in the URL, quoted for SQL.
    pub(in crate::postgres) const fn meaning(self) -> Meaning {
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
                "the server does not offer TLS: switch it on there (ssl = on), or set sslmode=prefer in BACKUP_DATABASE_URL if the network is private",
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
                "the server is starting, stopping or recovering; wait a little, and look at the server's log if this does not end",
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
                "the pooler can't reach its server: look at the pooler's log and at the server, or use the server's own URL (DATABASE_UNPOOLED_URL) in BACKUP_DATABASE_URL",
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
                "an option in BACKUP_OPTIONS names something that the database of BACKUP_DATABASE_URL does not have; correct the name, with its schema, and put a name with capitals in double quotes",
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
                "pg_dump ran out of memory, for example because of a very large row: give this container more memory",
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
}
