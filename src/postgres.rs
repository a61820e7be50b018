//! The source database as this service sees it: who it is, asked with `psql`.

use std::time::Duration;

mod cause;
mod client;
mod database;
mod said;
mod sql;
mod url;

pub use cause::PostgresError;
pub use client::{Client, Clients, client_directories};
pub(crate) use database::limit_memory;
pub use database::{Database, Idle, random_key};
pub use said::relay;
pub use sql::Sql;
pub use url::{DatabaseUrl, Session};

use crate::kind::Kind;

/// The database as it was found before the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As the server prints it: `17.11` or `18.6 (Debian 18.6-1)`.
    pub version: String,
    /// The number that decides which client fits.
    pub major: u16,
    /// `pg_database_size` of the database.
    pub size_bytes: u64,
    /// How the session may be opened.
    pub session: Session,
}

/// How long one question to the server may take, name resolution and TLS included.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// Asks the server who it is, with `psql`: it shares libpq with `pg_dump`, so what connects for one connects for both.
///
/// # Errors
/// Whatever `psql` said, with its kind.
pub async fn probe(client: &Client, url: &DatabaseUrl) -> Result<Server, PostgresError> {
    match ask(client, url, Session::Guarded).await {
        Err(refused)
            if refused.text.contains("unsupported startup parameter")
                || refused
                    .text
                    .contains("unrecognized configuration parameter") =>
        {
            let server = ask(client, url, Session::Plain).await?;
            tracing::warn!(
                error = refused.text,
                hint = "with PgBouncer use DATABASE_UNPOOLED_URL in BACKUP_DATABASE_URL",
                "server side keepalives dropped"
            );
            Ok(server)
        }
        outcome => outcome,
    }
}

async fn ask(
    client: &Client,
    url: &DatabaseUrl,
    session: Session,
) -> Result<Server, PostgresError> {
    let database = Database {
        client,
        url,
        session,
    };
    let answer = database
        .ask(
            &Sql::new("SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'), pg_catalog.pg_database_size(pg_catalog.current_database());"),
            PROBE_LIMIT,
        )
        .await?;
    let mut fields = answer.trim().split('\t');
    let parsed = (|| {
        let number: u32 = fields.next()?.parse().ok()?;
        let version = fields.next()?.to_owned();
        let size_bytes = fields.next()?.parse().ok()?;
        // 90624 was 9.6.24; since 10 the major is the number without its last four digits.
        Some(Server {
            version,
            major: u16::try_from(number / 10_000).ok()?,
            size_bytes,
            session,
        })
    })();
    parsed.ok_or_else(|| not_understood(client))
}

/// An answer of `psql` that is not what was asked for.
#[must_use]
pub fn not_understood(client: &Client) -> PostgresError {
    PostgresError {
        kind: Kind::Internal,
        text: "psql's answer was not understood".to_owned(),
        hint: format!(
            "{} must be an executable psql",
            client.path("psql").display()
        ),
    }
}
