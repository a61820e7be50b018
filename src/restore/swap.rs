//! The new database in the place of the old one, by renaming both. Nothing of the old one is lost: it stays under a name
//! that says since when it is not used any more.

use serde::Deserialize;
use tokio::time::{Duration, Instant};

use super::RestoreError;
use super::create::{LIMIT, suffixed};
use crate::format::identifier;
use crate::format::text::shortened;
use crate::postgres::{self, Database, DatabaseUrl, PostgresError, Sql};
use crate::restore::target::{Refusals, ask};

/// More sessions are not shown one by one.
const SHOWN: u64 = 5;

/// How long sessions that were told to may take to end.
const ENDING: Duration = Duration::from_secs(30);

/// How long others may take to leave by themselves. The server waits as long before it refuses to rename a database.
const LEAVING: Duration = Duration::from_secs(5);

/// When the server is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A swap as it was asked for.
#[derive(Debug, Clone)]
pub struct Swap {
    /// End the sessions that are connected to the old database.
    pub disconnect: bool,
    /// The time behind the old database's new name, `20260125_030000`.
    pub now: String,
    /// The same of the backup, behind the name that the new database has before the swap.
    pub backup_time: String,
}

/// What became of the old database.
#[derive(Debug, Clone)]
pub struct Swapped {
    /// Its new name; none if there was no old one.
    pub old: Option<String>,
    /// How to go back, and how to drop the old one.
    pub hint: String,
}

#[derive(Debug, Deserialize)]
struct Connected {
    count: u64,
    sessions: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct Session {
    application: Option<String>,
    user: Option<String>,
    address: Option<String>,
    state: Option<String>,
}

impl Session {
    fn shown(&self) -> String {
        const MOST_CHARACTERS: usize = 64;
        let or = |value: &Option<String>, other: &str| {
            let value = value.as_deref().filter(|value| !value.is_empty());
            value.map_or_else(
                || other.to_owned(),
                |value| shortened(value, MOST_CHARACTERS),
            )
        };
        format!(
            "{} of user {} from {}, {}",
            or(&self.application, "an unnamed application"),
            or(&self.user, "unknown"),
            or(&self.address, "the server itself"),
            or(&self.state, "in an unknown state")
        )
    }
}

impl Swap {
    /// The name of the new database before the swap.
    pub(super) fn beside(&self, name: &str) -> String {
        suffixed(
            name,
            &format!("_{}_{:04x}", self.backup_time, fastrand::u16(..)),
        )
    }

    fn aside(&self, name: &str) -> String {
        suffixed(name, &format!("_before_{}", self.now))
    }

    /// What stands in the way of putting the database of this name aside.
    pub(super) async fn refusals(
        &self,
        database: &Database<'_>,
        name: &str,
        refusals: &mut Refusals,
    ) -> Result<(), PostgresError> {
        let owner = Sql::new("SELECT pg_catalog.pg_has_role(CURRENT_USER, datdba, 'USAGE') FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) ")
            .text(name)
            .sql(";");
        if database.ask(&owner, LIMIT).await?.trim() != "t" {
            refusals.add(
                format!("the database {name} does not belong to this user, who therefore can't rename it"),
                "restore as the owner of the database or a superuser; or leave --swap out, and have its owner rename both",
            );
        }
        if !self.disconnect {
            let connected = connected(database, name).await?;
            if connected.count > 0 {
                refusals.add(connected.described(name), BUSY);
            }
        }
        let Some(elsewhere) = elsewhere(database, name).await else {
            refusals.add(
                format!("a database is renamed from another one, and this user can connect to none but {name}"),
                "let the user connect to the database postgres of that server (GRANT CONNECT ON DATABASE postgres)",
            );
            return Ok(());
        };
        drop(elsewhere);
        Ok(())
    }

    /// Renames both, from a third database.
    pub(super) async fn run(
        &self,
        server: &Database<'_>,
        name: &str,
        beside: &str,
    ) -> Result<Swapped, RestoreError> {
        let failed = |error: PostgresError| RestoreError::Swap(error, beside.to_owned());
        let Some(url) = elsewhere(server, name).await else {
            return Err(failed(postgres::not_understood(server.client)));
        };
        let database = Database {
            url: &url,
            ..*server
        };
        let exists = Sql::new(
            "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) ",
        )
        .text(name)
        .sql(";");
        let allowed = database.ask(&exists, LIMIT).await.map_err(failed)?;
        let renamed = |from: &str, to: &str| {
            Sql::new("ALTER DATABASE ")
                .name(from)
                .sql(" RENAME TO ")
                .name(to)
                .sql(";\n")
        };
        if allowed.trim().is_empty() {
            let rename = renamed(beside, name);
            database.change(&rename, LIMIT).await.map_err(failed)?;
            return Ok(Swapped {
                old: None,
                hint: String::new(),
            });
        }
        let old = self.aside(name);
        let allow = |name: &str, allowed: bool| {
            Sql::new("ALTER DATABASE ")
                .name(name)
                .sql(" ALLOW_CONNECTIONS ")
                .sql(if allowed { "true;\n" } else { "false;\n" })
        };
        let was_allowed = allowed.trim() == "t";
        if self.disconnect {
            // Or an application would be back before the renaming.
            let closed = database.change(&allow(name, false), LIMIT).await;
            closed.map_err(failed)?;
        }
        let outcome = async {
            if self.disconnect {
                end_sessions(&database, name).await?;
            }
            // One transaction: either both have their new names, or none.
            let mut both = renamed(name, &old).piece(&renamed(beside, name));
            if self.disconnect {
                both = both.piece(&allow(&old, was_allowed));
            }
            database.change(&both, LIMIT).await
        };
        if let Err(error) = outcome.await {
            if self.disconnect
                && let Err(error) = database.change(&allow(name, was_allowed), LIMIT).await
            {
                tracing::error!(database = name, error = %error, hint = "run ALTER DATABASE … ALLOW_CONNECTIONS true for it", "nobody can connect to the old database");
            }
            return Err(failed(error));
        }
        let (new, before, spare) = (identifier(name), identifier(&old), identifier(beside));
        Ok(Swapped {
            hint: format!(
                "to go back, with nobody connected: ALTER DATABASE {new} RENAME TO {spare}; ALTER DATABASE {before} RENAME TO {new}; when the old one is not needed any more: DROP DATABASE {before};"
            ),
            old: Some(old),
        })
    }
}

const BUSY: &str = "stop the application, then try again; or pass --disconnect to end these sessions when the new database is ready";

impl Connected {
    fn described(&self, name: &str) -> String {
        let shown: Vec<String> = self.sessions.iter().map(Session::shown).collect();
        let more = self
            .count
            .saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
        format!(
            "sessions are connected to the database {name}: {} ({}{})",
            self.count,
            shown.join("; "),
            if more > 0 {
                format!("; and {more} more")
            } else {
                String::new()
            }
        )
    }
}

/// Who is connected to the database of this name. A program that has ended may still have a session for a moment, as the
/// question before this one does.
async fn connected(database: &Database<'_>, name: &str) -> Result<Connected, PostgresError> {
    let others = Sql::new(" FROM pg_catalog.pg_stat_activity WHERE datname OPERATOR(pg_catalog.=) ")
        .text(name)
        .sql(" AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND COALESCE(backend_type, '') OPERATOR(pg_catalog.<>) 'autovacuum worker'");
    let question = Sql::new("SELECT pg_catalog.json_build_object('count', (SELECT pg_catalog.count(*)")
        .piece(&others)
        .sql("), 'sessions', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('application', application_name, 'user', usename, 'address', client_addr::pg_catalog.text, 'state', state)), '[]') FROM (SELECT application_name, usename, client_addr, state")
        .piece(&others)
        .sql(" ORDER BY pid LIMIT ")
        .number(SHOWN)
        .sql(") AS few));");
    let deadline = Instant::now() + LEAVING;
    loop {
        let connected: Connected = ask(database, &question).await?;
        if connected.count == 0 || Instant::now() >= deadline {
            return Ok(connected);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Another database to rename from: one can't rename the database that one is connected to.
async fn elsewhere(database: &Database<'_>, name: &str) -> Option<DatabaseUrl> {
    let own = database.url.database();
    for candidate in ["postgres", "template1", own] {
        if candidate == name {
            continue;
        }
        let url = database.url.with_database(candidate);
        let other = Database {
            url: &url,
            ..*database
        };
        if other.answers(LIMIT).await {
            return Some(url);
        }
    }
    None
}

/// Ends the sessions of a database that nobody can connect to any more, and waits until they are gone.
async fn end_sessions(database: &Database<'_>, name: &str) -> Result<(), PostgresError> {
    let end = Sql::new("SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE datname OPERATOR(pg_catalog.=) ")
        .text(name)
        .sql(" AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid();");
    let deadline = Instant::now() + ENDING;
    let mut ended: u64 = 0;
    loop {
        let count = database.ask(&end, LIMIT).await?;
        let count = count.trim().parse().unwrap_or(0);
        ended = ended.max(count);
        if count == 0 || Instant::now() >= deadline {
            tracing::info!(database = name, sessions = ended, "sessions ended");
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
