//! The server of a database: its version, and how a session with it may be opened. `psql` asks for that.

use std::time::Duration;

mod cause;
mod client;
mod database;
mod error;
mod identity;
mod locks;
mod message;
mod parameters;
pub(crate) mod rights;
mod sql;
mod sqlstate;
mod standby;
mod url;
mod words;

pub use cause::Cause;
pub use client::{Client, Clients, client_directories};
pub use database::{Database, Idle, random_key};
pub(crate) use error::one_line;
pub use error::{PostgresError, Refused};
pub use identity::{Identity, identity, identity_at};
pub use locks::Locks;
pub(crate) use message::{last_error, without_codes};
pub use parameters::Inherited;
pub use said::Said;
pub use sql::Sql;
pub use standby::{UNLOGGED_HINT, Unlogged};
pub use url::{DatabaseUrl, Remark, Session};

use crate::fault::Kind;
use crate::process::said;

/// The database as it was found before the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The version as the server prints it: `17.11` or `18.6 (Debian 18.6-1)`.
    pub version: String,
    /// The major version, which decides which client fits.
    pub major: u16,
    /// `pg_database_size` of the database.
    pub size_bytes: u64,
    /// The encoding of the database.
    pub encoding: String,
    /// Whether it follows a primary.
    pub is_standby: bool,
    /// Whether this user may choose the language of the server's messages.
    pub may_choose_language: bool,
    /// How the session may be opened.
    pub session: Session,
}

/// How long one question to the server may take, name resolution and TLS included.
pub(crate) const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// Asks the server for its version and more. `psql` is used because it shares libpq with `pg_dump`: if one of them can connect,
/// so can the other.
///
/// A server or a pooler may refuse the options that a session is opened with, each in words of its own. So a refused session is
/// tried once more without them, and the attempt that works shows the cause. A wrong password is not tried twice, because that
/// can lock accounts.
///
/// # Errors
/// What `psql` said, with its kind.
pub async fn probe(client: &Client, url: &DatabaseUrl) -> Result<Server, PostgresError> {
    let refused = match ask(client, url, Session::Guarded).await {
        Err(error) if is_refusal(&error) => error,
        outcome => return outcome,
    };
    let refused = match ask(client, url, Session::Plain).await {
        Ok(server) => return Ok(settled(client, url, server, &refused).await),
        // The options were not the only cause. What is wrong without them has to be corrected first.
        Err(error) if error.cause != refused.cause => error,
        Err(_) => refused,
    };
    let bytes = url.answered_in_bytes();
    if let Ok(server) = ask(client, &bytes, Session::Plain).await {
        return Ok(settled(client, &bytes, server, &refused).await);
    }
    let asked = url.start_up_options();
    if !asked.is_empty() {
        let without = url.without_start_up_options();
        if ask(client, &without, Session::Plain).await.is_ok() {
            let names = asked.join(" and ");
            return Err(PostgresError {
                hint: format!(
                    "the server, or a pooler in front of it, accepts connections only without what {names} asks for; remove {names} from {} or from this service's variables, or use the URL of the server itself",
                    url.variable()
                ),
                ..refused
            });
        }
    }
    Err(refused)
}

/// The server that answered a plain session. The guarded session is used all the same if it was refused only for a moment.
async fn settled(
    client: &Client,
    url: &DatabaseUrl,
    plain: Server,
    refused: &PostgresError,
) -> Server {
    match ask(client, url, Session::Guarded).await {
        Ok(guarded) => guarded,
        Err(_) => {
            tracing::warn!(
                error = refused.text,
                hint = "a pooler in front of the server refuses start-up options, as PgBouncer and RDS Proxy do; use the URL of the server itself (on Railway DATABASE_UNPOOLED_URL)",
                "server side keepalives dropped"
            );
            plain
        }
    }
}

/// Whether the server or a pooler refused the session, in whatever language: libpq puts the severity, a colon and two spaces
/// before a server's message, and never before its own. A refusal that is known to be about the password does not count.
fn is_refusal(error: &PostgresError) -> bool {
    const LONGEST_SEVERITY: usize = 40;
    error.kind != Kind::Auth
        && error.text.split("failed: ").skip(1).any(|said| {
            said.split_once(":  ").is_some_and(|(severity, _)| {
                severity.len() <= LONGEST_SEVERITY && !severity.contains([':', ';'])
            })
        })
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
            &Sql::new("SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'), pg_catalog.pg_database_size(pg_catalog.current_database()), pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on';"),
            PROBE_LIMIT,
        )
        .await?;
    let mut fields = answer.trim().split('\t');
    let parsed = (|| {
        let number: u32 = fields.next()?.parse().ok()?;
        let version = fields.next()?.to_owned();
        let size_bytes = fields.next()?.parse().ok()?;
        let encoding = fields.next()?.to_owned();
        let is_standby = fields.next()? == "t";
        let may_choose_language = fields.next()? == "t";
        // 90624 was 9.6.24. Since version 10 the major version is this number without its last four digits.
        Some(Server {
            version,
            major: u16::try_from(number / 10_000).ok()?,
            size_bytes,
            encoding,
            is_standby,
            may_choose_language,
            session,
        })
    })();
    parsed.ok_or_else(|| not_understood(client))
}

impl Server {
    /// The URL for further questions. A database whose encoding can't be converted to UTF-8 answers in its own bytes.
    #[must_use]
    pub fn url(&self, url: &DatabaseUrl) -> DatabaseUrl {
        if self.encoding == "MULE_INTERNAL" {
            url.answered_in_bytes()
        } else {
            url.clone()
        }
    }

    /// The options of a dump. It is made in the database's own encoding, whatever is set for the role, unless the user's own
    /// options say otherwise: they follow at the end.
    #[must_use]
    pub fn dump_options(&self, own: &[String]) -> Vec<String> {
        let encoding = format!("--encoding={}", self.encoding);
        std::iter::once(encoding)
            .chain(own.iter().cloned())
            .collect()
    }
}

/// The error for an answer of `psql` that was not understood.
#[must_use]
pub fn not_understood(client: &Client) -> PostgresError {
    PostgresError::new(
        Kind::Internal,
        "psql's answer was not understood".to_owned(),
        format!(
            "{} must be an executable psql",
            client.path("psql").display()
        ),
    )
}
