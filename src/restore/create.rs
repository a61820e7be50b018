//! A restore into a database that it makes itself.
//!
//! The database has a name that only a restore gives until all of the backup is in it and that is proven; then it is
//! renamed. So nobody can use half of it, and whatever goes wrong, it is dropped and nothing else was touched.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::filling::{self, Ended, Filling};
use super::psql::{self, Aftermath};
use super::swap::{self, Swapped};
use super::{Broken, Prepared, Restore, RestoreError, Restored};
use super::{analyze, cause, feed, prepare, public, search_path, settings};
use crate::postgres::{self, Database, DatabaseUrl, PostgresError, Sql};
use crate::reader::{Meter, Summary};
use crate::restore::newborn::{self, Likeness};
use crate::restore::provisional::{self, Provisional};
use crate::restore::target::{self, Activity, Refusals, Survey};
use stream::replay::Omit;

/// How long a question about a catalog may take, and renaming or dropping a database.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// What databases are called that a restore has not finished.
const UNFINISHED: Provisional = Provisional("psb_restore_");

/// A name of PostgreSQL's has no more bytes.
pub const NAME_BYTES: usize = 63;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The name of the new database.
    pub name: String,
    /// Put it in the place of the database of this name, which stays under another name.
    pub swap: Option<swap::Swap>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// What was restored.
    pub restored: Restored,
    /// The name that the new database has.
    pub database: String,
    /// Where it is, without a password.
    pub url: String,
    /// What the old database is called now, if one was put aside.
    pub swapped: Option<Swapped>,
}

/// The name of a new database that was not given one: that of the database which the URL names, and the backup's time.
#[must_use]
pub fn default_name(database: &str, time: &str) -> String {
    suffixed(database, &format!("_{time}"))
}

/// A name with something behind it, cut to the length that a name can have.
pub(super) fn suffixed(name: &str, suffix: &str) -> String {
    let most = NAME_BYTES.saturating_sub(suffix.len());
    let mut end = name.len().min(most);
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{}{suffix}", name.get(..end).unwrap_or_default())
}

/// Makes the database, fills it, and gives it its name. `confirm` is asked before a database is put aside; it gets how that one is
/// used.
///
/// # Errors
/// When it did not succeed. Nothing of the new database is left then, but where the error says so.
pub async fn run<F: Future<Output = bool>>(
    restore: &Restore,
    creation: &Creation,
    confirm: impl FnOnce(Option<Activity>) -> F,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Created, RestoreError> {
    let cancelled = || RestoreError::Cancelled(Aftermath::Untouched);
    // What can be asked of the server alone is said before the backup is read.
    let look = async {
        let prepared = prepare(restore, meter, |database| async move {
            refusals(&database, creation).await
        });
        prepared.await
    };
    let prepared = tokio::select! {
        prepared = look => prepared?,
        () = stop.cancelled() => return Err(cancelled()),
    };
    if creation.swap.is_some() {
        let asking = async {
            let activity = super::activity(&prepared.database, &creation.name).await;
            confirm(activity).await
        };
        let confirmed = tokio::select! {
            confirmed = asking => confirmed,
            () = stop.cancelled() => return Err(cancelled()),
        };
        if !confirmed {
            return Err(RestoreError::NotConfirmed(creation.name.clone()));
        }
    }
    tracing::info!(
        name = restore.found.key,
        target_version = prepared.survey.version,
        client_version = prepared.database.client.version,
        database = creation.name,
        clean = false,
        "restore started"
    );
    let server = Server {
        database: prepared.database,
        major: prepared.survey.major(),
    };
    server.sweep().await;
    let began = Instant::now();
    let name = UNFINISHED.name();
    let made = newborn::make(&server.database, server.major, &name, &prepared.summary).await;
    if let Likeness::Different(locale) = made.map_err(RestoreError::Target)? {
        server.drop_database(&name).await;
        let mut refusals = Refusals::default();
        refusals.add(
            format!("the target's server does not have the locale of the database that was backed up, {locale}"),
            "restore into a server that has it. Another one would sort and compare text differently; if that is what you want, make the database yourself (CREATE DATABASE … TEMPLATE template0) and restore into it without --create",
        );
        return Err(RestoreError::Refused(refusals));
    }
    let new = Target {
        url: restore.target.with_database(&name),
        name,
    };
    let filled = fill(restore, &prepared, &server, &new, meter, stop).await;
    let Filled { summary, left_out } = match filled {
        Ok(filled) => filled,
        Err(unfilled) => {
            let aftermath = if server.drop_database(&new.name).await {
                Aftermath::Dropped
            } else {
                Aftermath::Left(new.name)
            };
            let mut error = unfilled.into_error(aftermath);
            if let RestoreError::Psql(error, _) | RestoreError::Server(error, _) = &mut error {
                cause::fit(error, restore.permits, false);
            }
            return Err(error);
        }
    };
    let took = began.elapsed();
    if restore.analyze {
        analyze(&new.database(&server), stop).await;
    }
    finish(restore, creation, &prepared, &server, &new, &summary).await;
    // From here on all of the backup is there, and only names are at stake.
    let plain = match &creation.swap {
        Some(swap) => swap.beside(&creation.name),
        None => creation.name.clone(),
    };
    let rename = Sql::new("ALTER DATABASE ")
        .name(&new.name)
        .sql(" RENAME TO ")
        .name(&plain)
        .sql(";");
    if let Err(error) = server.database.change(&rename, LIMIT).await {
        let aftermath = if server.drop_database(&new.name).await {
            Aftermath::Dropped
        } else {
            Aftermath::Left(new.name)
        };
        return Err(RestoreError::Server(error, aftermath));
    }
    let swapped = match &creation.swap {
        Some(swap) => Some(swap.run(&server.database, &creation.name, &plain).await?),
        None => None,
    };
    Ok(Created {
        restored: Restored {
            summary,
            server_version: prepared.survey.version,
            took,
            left_out,
        },
        database: creation.name.clone(),
        url: restore
            .target
            .with_database(&creation.name)
            .without_password(),
        swapped,
    })
}

/// What stands in the way of making this database.
async fn refusals(database: &Database<'_>, creation: &Creation) -> Result<Refusals, PostgresError> {
    #[derive(Deserialize)]
    struct Rights {
        user: String,
        may_create_databases: bool,
        exists: bool,
    }
    let question = Sql::new("SELECT pg_catalog.json_build_object('user', rolname, 'may_create_databases', rolcreatedb OR rolsuper, 'exists', EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) ")
        .text(&creation.name)
        .sql(")) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER;");
    let answer = database.ask(&question, LIMIT).await?;
    let rights: Rights = serde_json::from_str(answer.trim())
        .map_err(|_| postgres::not_understood(database.client))?;
    let mut refusals = Refusals::default();
    if !rights.may_create_databases {
        refusals.add(
            format!("the user {} may not create databases", rights.user),
            "have an administrator run ALTER ROLE … CREATEDB for it, or name a user who may; or restore into an empty database that somebody made, without --create",
        );
    }
    match &creation.swap {
        Some(swap) if rights.exists => {
            swap.refusals(database, &creation.name, &mut refusals)
                .await?;
        }
        None if rights.exists => refusals.add(
            format!("there is a database of the name {} already", creation.name),
            "give the new one another name (--create=NAME); or pass --swap to put it in the place of the old one, which stays under another name",
        ),
        _ => {}
    }
    Ok(refusals)
}

/// The new database while it has the name of an unfinished one.
struct Target {
    name: String,
    url: DatabaseUrl,
}

impl Target {
    fn database<'a>(&'a self, server: &Server<'a>) -> Database<'a> {
        Database {
            url: &self.url,
            ..server.database
        }
    }
}

/// What is in the new database.
struct Filled {
    summary: Summary,
    /// What of the backup is not, by kind.
    left_out: Vec<(&'static str, Vec<String>)>,
}

/// Why a new database is not filled.
enum Unfilled {
    Error(RestoreError),
    Psql(Ended),
    Broken(Broken, Ended),
    Stopped,
    Unfinished,
    Server(PostgresError),
}

impl Unfilled {
    fn into_error(self, aftermath: Aftermath) -> RestoreError {
        match self {
            Self::Error(error) => error,
            Self::Psql(ended) | Self::Broken(Broken::Psql, ended) => {
                psql::ended(&ended.said, ended.status, aftermath)
            }
            Self::Broken(Broken::Stopped, _) | Self::Stopped => RestoreError::Cancelled(aftermath),
            Self::Broken(Broken::Read(error), _) => {
                if aftermath == Aftermath::Dropped {
                    tracing::info!(target_database = %aftermath, "psql was stopped");
                } else {
                    tracing::warn!(target_database = %aftermath, "psql was stopped");
                }
                RestoreError::Read(error)
            }
            Self::Unfinished => RestoreError::Unfinished(aftermath),
            Self::Server(error) => RestoreError::Server(error, aftermath),
        }
    }
}

/// Streams the backup into the new database. As long as that takes, a session holds it, so that no other restore takes it
/// for a dead one's.
async fn fill(
    restore: &Restore,
    prepared: &Prepared<'_>,
    server: &Server<'_>,
    new: &Target,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Filled, Unfilled> {
    let database = new.database(server);
    let keeper = database.stay().await.map_err(Unfilled::Server)?;
    let outcome = stream(restore, prepared, server, new, meter, stop).await;
    keeper.end().await;
    outcome
}

async fn stream(
    restore: &Restore,
    prepared: &Prepared<'_>,
    server: &Server<'_>,
    new: &Target,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Filled, Unfilled> {
    let survey = Survey::take(&new.database(server)).await;
    let survey = survey.map_err(Unfilled::Server)?;
    let mut refusals = Refusals::default();
    let needs = &prepared.summary.needs;
    let (rights, permits) = (&survey.rights, restore.permits);
    rights.refuse(needs, &survey.roles, permits, &mut refusals);
    if !refusals.is_empty() {
        return Err(Unfilled::Error(RestoreError::Refused(refusals)));
    }
    let mut filling = Filling::start(&new.database(server)).map_err(Unfilled::Error)?;
    let omit = Omit {
        // The data of a large object is written in a transaction of its own, which is the dump's.
        keeps_transactions: true,
        ..restore.omit(&survey)
    };
    let left_out = omit.clone();
    let streamed = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Broken::Stopped),
        streamed = async {
            let path = search_path(&restore.search_path);
            filling.begin(path).await.map_err(|()| Broken::Psql)?;
            feed(restore, filling.input(), omit, meter).await
        } => streamed,
    };
    let proof = match streamed {
        Ok(proof) => proof,
        Err(broken) => return Err(Unfilled::Broken(broken, filling.kill().await)),
    };
    // The last statements may run for hours yet.
    let ended = tokio::select! {
        ended = filling.end(&proof, &new.name) => ended,
        () = stop.cancelled() => return Err(Unfilled::Stopped),
    };
    let sign = ended.map_err(Unfilled::Psql)?;
    match filling::has_sign(&server.database, &new.name, &sign).await {
        Ok(true) => {
            let summary = proof.summary().clone();
            let left_out = target::left_out(&summary.needs, &left_out);
            Ok(Filled { summary, left_out })
        }
        Ok(false) => Err(Unfilled::Unfinished),
        Err(error) => Err(Unfilled::Server(error)),
    }
}

/// Gives the new database what a dump does not hold: settings, and its owner. None of it is worth losing the data for, so
/// what can't be done is said.
async fn finish(
    restore: &Restore,
    creation: &Creation,
    prepared: &Prepared<'_>,
    server: &Server<'_>,
    new: &Target,
    summary: &Summary,
) {
    let (wanted, _) = settings::wanted(summary, &prepared.survey.roles);
    if !restore.permits.no_settings {
        for setting in wanted {
            let statement = settings::statement(setting, &new.name);
            if let Err(error) = server.database.change(&statement, LIMIT).await {
                tracing::debug!(error = %error, "a setting was refused");
            }
        }
    }
    settings::tell(
        &server.database,
        &new.name,
        &creation.name,
        summary,
        &prepared.survey.roles,
        restore.permits.no_settings,
    )
    .await;
    let inside = new.database(server);
    if let Some(grant) = public::grant(restore.permits, summary, server.major)
        && let Err(error) = inside.change(&grant, LIMIT).await
    {
        tracing::debug!(error = %error, "the right to create in public was refused");
    }
    public::tell(&inside, restore.permits, summary, server.major).await;
    let owner = summary
        .head
        .as_ref()
        .and_then(|head| head.origin.database.as_ref())
        .map(|traits| traits.owner.as_str())
        .filter(|owner| prepared.survey.roles.contains(*owner) && !restore.permits.no_owner);
    if let Some(owner) = owner {
        // Whoever gives it away must still be able to rename it.
        let may = Sql::new("SELECT pg_catalog.pg_has_role(CURRENT_USER, oid, 'USAGE') AND rolname OPERATOR(pg_catalog.<>) CURRENT_USER FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ")
            .text(owner)
            .sql(";");
        let give = Sql::new("ALTER DATABASE ")
            .name(&new.name)
            .sql(" OWNER TO ")
            .name(owner)
            .sql(";");
        let given = match server.database.ask(&may, LIMIT).await {
            Ok(may) if may.trim() == "t" => {
                server.database.change(&give, LIMIT).await.map(|_| true)
            }
            Ok(_) => Ok(owner == prepared.survey.user()),
            Err(error) => Err(error),
        };
        match given {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(
                    owner,
                    hint = "an administrator can give it back: ALTER DATABASE … OWNER TO …",
                    "the new database belongs to the user who restored it"
                );
            }
            Err(error) => {
                tracing::warn!(owner, error = %error, hint = "an administrator can give it back: ALTER DATABASE … OWNER TO …", "the new database belongs to the user who restored it");
            }
        }
    }
}

/// The server that the new database is made on.
struct Server<'a> {
    database: Database<'a>,
    major: u16,
}

impl Server<'_> {
    /// Drops what killed restores left behind: unfinished databases of this role that nobody is connected to.
    async fn sweep(&self) {
        let left = match UNFINISHED.left(&self.database).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for databases of killed restores");
                return;
            }
        };
        for name in &left {
            match self.drop_after_subscriptions(name, None).await {
                Ok(()) => {
                    tracing::info!(
                        database = name,
                        "unfinished database of a killed restore dropped"
                    );
                }
                Err(error) => {
                    tracing::warn!(database = name, error = %error, "could not drop the unfinished database of a restore");
                }
            }
        }
    }

    /// Drops the new database; whether it is gone.
    async fn drop_database(&self, name: &str) -> bool {
        let dropped = self.drop_after_subscriptions(name, Some(self.major)).await;
        if let Err(error) = &dropped {
            tracing::warn!(database = name, error = %error, "could not drop the unfinished database of a restore");
        }
        dropped.is_ok()
    }

    /// Drops a database after the subscriptions in it: one would keep it for ever.
    async fn drop_after_subscriptions(
        &self,
        name: &str,
        by_force: Option<u16>,
    ) -> Result<(), PostgresError> {
        if let Err(error) = provisional::drop_subscriptions(&self.database, name).await {
            tracing::debug!(database = name, error = %error, "could not drop the subscriptions in it");
        }
        provisional::drop_database(&self.database, name, by_force).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_says_what_it_is_of_and_fits() {
        assert_eq!(
            default_name("shop", "20260125_030000"),
            "shop_20260125_030000"
        );
        let long = default_name(&"ä".repeat(40), "20260125_030000");
        assert_eq!(long, format!("{}_20260125_030000", "ä".repeat(23)));
    }

    #[test]
    fn only_the_names_that_restores_give_are_swept() {
        assert!(UNFINISHED.is_one("psb_restore_0123456789abcdef"));
        for name in [
            "psb_restore_0123456789abcde",
            "psb_restore_0123456789abcdef0",
            "psb_restore_0123456789ABCDEF",
            "psb_drill_0123456789abcdef",
            "shop",
        ] {
            assert!(!UNFINISHED.is_one(name), "{name}");
        }
    }
}
