//! Proves that a backup can be restored, by restoring it into a scratch database that is dropped afterwards.
//!
//! A drill has one of three results: the backup is proven; it is not what it should be; or nothing can be found out about it
//! where the drill takes host, for a reason that is reported.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod comparison;
pub(crate) mod embedded;
mod obstacle;
mod scratch;

use comparison::compare;
use obstacle::{Obstacle, Surroundings};
use scratch::{DrillHost, LIMIT, Scratch};

use crate::drill::embedded::{Embedded, EmbeddedError};
use crate::fault::{Diagnosed, Fault, Kind, log_failure};
use crate::format;
use crate::postgres::{self, Clients, Database, DatabaseUrl, PostgresError};
use crate::reader::{self, Found, Meter, ReadError, ReadWhole, Summary};
use crate::restore::newborn::Likeness;
use crate::restore::target::Survey;
use crate::restore::{self, Restore, RestoreError};
use crate::store::Store;
use stream::replay::Omit;
use stream::script::Script;

/// Where a backup is proven.
#[derive(Debug, Clone)]
pub enum DrillServer {
    /// On a throwaway server of the backup's own major version, which runs the programs of this image.
    Embedded,
    /// In a scratch database of the server that this URL names. The database in the URL is only used to connect.
    At(DatabaseUrl),
}

/// Where backups are proven, and how. This is the same for all of them.
#[derive(Debug, Clone)]
pub struct Drill {
    /// The bucket.
    pub store: Store,
    /// Where they are proven.
    pub server: DrillServer,
    /// The programs of this image.
    pub clients: Clients,
    /// The user's own check: every statement must return true.
    pub sql: Option<String>,
    /// Where a throwaway server may put its files.
    pub temporary: PathBuf,
    /// The longest time that a drill may take.
    pub timeout: Duration,
    /// `--renamed`: whether the object may have another name than the backup was made with.
    pub may_be_renamed: bool,
    /// `VERIFY_UNCONFINED`: whether a throwaway server may run where the kernel can't confine it.
    pub may_be_unconfined: bool,
    /// `--search-path`: the schemas in which names without a schema are looked up.
    pub search_path: Vec<String>,
}

/// A backup that was restored and found to hold what was dumped.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    /// What it holds.
    pub summary: Summary,
    /// The version of the server it was restored on.
    pub server_version: String,
    /// How many tables were counted row by row.
    pub tables_compared: usize,
    /// How many statements of the user's own check returned true.
    pub checks_passed: usize,
    /// How long the drill took, including the reading.
    pub took: Duration,
}

/// Why a backup is not proven.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DrillError {
    /// It is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The server for the drill can't be used.
    #[error("the drill's server could not be used: {0}")]
    Server(PostgresError),
    /// There is no throwaway server.
    #[error("{0}")]
    Embedded(#[from] EmbeddedError),
    /// It could not be restored.
    #[error("the restore into the scratch database failed: {0}")]
    Restore(RestoreError),
    /// It was restored, and something differs from what was dumped.
    #[error("restored, but not what was dumped: {0}")]
    Unequal(String),
    /// Nothing can be found out about it where the drill took host, until a setting is changed.
    #[error("this backup can't be proven there: {reason}")]
    Unprovable {
        /// What is in the way.
        reason: String,
        /// What to set.
        hint: String,
    },
    /// The user's own check did not return true.
    #[error("VERIFY_SQL: statement {number} {outcome}")]
    Check {
        /// The number of the statement, counted from 1.
        number: usize,
        /// What happened instead.
        outcome: String,
    },
    /// It took too long.
    #[error("the drill took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("the drill was told to stop")]
    Cancelled,
}

impl Diagnosed for DrillError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Server(error) => error.kind,
            Self::Embedded(error) => error.kind(),
            Self::Restore(error) => error.kind(),
            Self::Unequal(_) | Self::Check { .. } => Kind::Unproven,
            Self::Unprovable { .. } => Kind::Unprovable,
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Read(error) | Self::Restore(RestoreError::Read(error)) => error.fault(),
            Self::Restore(RestoreError::Server(..)) => Fault::Surroundings,
            Self::Restore(RestoreError::Psql(..)) => Fault::Backup,
            error => error.kind().fault(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Server(error) => &error.hint,
            Self::Embedded(error) => error.hint(),
            Self::Restore(error) => error.hint(),
            Self::Unequal(_) => {
                "do not rely on this backup; restore it by hand and compare, and look for triggers, rules or extensions that change rows as they are loaded"
            }
            Self::Unprovable { hint, .. } => hint,
            Self::Check { .. } => {
                "run the statement against the source; if it is true there, do not rely on this backup"
            }
            Self::Deadline(_) => "use a faster server for drills, or raise BACKUP_TIMEOUT",
            Self::Cancelled => "the next drill removes whatever was left behind",
        }
    }
}

/// Proves the backup of this name: reads it to its end, restores it, counts the rows of every table, checks constraints and
/// indexes, and runs the user's own checks. The scratch database is dropped, whatever happens.
///
/// # Errors
/// When the backup is not proven.
pub(crate) async fn run(
    drill: &Drill,
    name: &str,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let began = Instant::now();
    // When this token is cancelled, the work ends in an orderly manner: databases are dropped, and servers are stopped.
    let ending = stop.child_token();
    let mut work = Box::pin(work(drill, name, meter, &ending));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = tokio::time::sleep(drill.timeout) => {
            ending.cancel();
            match work.await {
                Err(DrillError::Cancelled) => Err(DrillError::Deadline(drill.timeout)),
                outcome => outcome,
            }
        }
    };
    outcome.map(|proven| Proven {
        took: began.elapsed(),
        ..proven
    })
}

/// A backup that was read whole.
struct Whole {
    found: Found,
    read: ReadWhole,
}

async fn work(
    drill: &Drill,
    name: &str,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let read_whole = async {
        let found = Found::look_up(&drill.store, name).await?;
        let found = found.perhaps_renamed(drill.may_be_renamed);
        let read = reader::read(&drill.store, &found, Omit::default(), None, meter).await?;
        read.summary().tell_how_whole(name);
        read.summary().warn(name);
        Ok::<_, ReadError>(Whole { found, read })
    };
    let whole = tokio::select! {
        whole = read_whole => whole?,
        () = stop.cancelled() => return Err(DrillError::Cancelled),
    };
    match &drill.server {
        DrillServer::At(url) => prove(drill, url, &whole, meter, stop).await,
        DrillServer::Embedded => {
            let started = tokio::select! {
                started = Embedded::start(&drill.clients, whole.read.summary(), &drill.temporary, drill.may_be_unconfined) => started,
                () = stop.cancelled() => return Err(DrillError::Cancelled),
            };
            let server = started?;
            let confined = Drill {
                clients: drill.clients.confined(server.confinement()),
                ..drill.clone()
            };
            let outcome = prove(&confined, server.url(), &whole, meter, stop).await;
            server.stop().await;
            outcome
        }
    }
}

async fn prove(
    drill: &Drill,
    url: &DatabaseUrl,
    whole: &Whole,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let summary = whole.read.summary();
    let newest = drill.clients.newest().map_err(DrillError::Server)?;
    let server = postgres::probe(newest, url)
        .await
        .map_err(DrillError::Server)?;
    let client = drill
        .clients
        .choose(server.major, &server.version)
        .map_err(DrillError::Server)?;
    let host = DrillHost {
        server: Database {
            client,
            url,
            session: server.session,
        },
        major: server.major,
        is_superuser: server.may_choose_language,
    };
    host.sweep().await;
    let scratch = host.create(summary).await.map_err(DrillError::Server)?;
    if let Likeness::Different(locale) = &scratch.likeness {
        tracing::warn!(
            name = whole.found.key,
            locale,
            hint = "what depends on it is not proven; drill on a server that has it, in VERIFY_DATABASE_URL (or --into)",
            "the drill's server lacks the backup's locale, so the nearest took its place"
        );
    }
    let outcome = tokio::select! {
        outcome = fill_and_compare(drill, &host, &scratch, whole, meter, stop) => outcome,
        // The restore itself ends when it is told to stop. What runs after it only asks questions, so it can be dropped.
        () = after(stop, Duration::from_secs(15)) => Err(DrillError::Cancelled),
    };
    let locale = match &scratch.likeness {
        Likeness::Different(locale) => Some(locale.clone()),
        Likeness::Same | Likeness::Unknown => None,
    };
    scratch.drop_from(&host).await;
    let outcome = match (outcome, locale) {
        // If the database compares and sorts in another way, it can refuse data or give other results, though the backup is
        // good.
        (Err(error), Some(locale)) if error.fault() == Fault::Backup => {
            Err(Obstacle::locale(&locale, &error).into())
        }
        (outcome, _) => outcome,
    };
    let (tables_compared, checks_passed) = outcome?;
    Ok(Proven {
        summary: summary.clone(),
        server_version: server.version,
        tables_compared,
        checks_passed,
        took: Duration::ZERO,
    })
}

async fn after(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

async fn fill_and_compare(
    drill: &Drill,
    host: &DrillHost<'_>,
    scratch: &Scratch,
    whole: &Whole,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<(usize, usize), DrillError> {
    let survey = Survey::take(&scratch.database(host))
        .await
        .map_err(DrillError::Server)?;
    if let Some(obstacle) = Obstacle::beforehand(&whole.read.summary().needs, &survey) {
        return Err(obstacle.into());
    }
    // The original owners need not exist on the drill's server, and the drill's user need not be allowed to set them.
    let needs = &whole.read.summary().needs;
    let restore = Restore {
        store: drill.store.clone(),
        found: whole.found.clone(),
        target: scratch.url.clone(),
        source: None,
        clients: drill.clients.clone(),
        permits: survey.rights.for_drill(needs, &survey.roles),
        verify_first: false,
        analyze: false,
        drill: true,
        search_path: drill.search_path.clone(),
    };
    let mut restored = restore::run(&restore, |_| async { false }, meter, stop).await;
    // A dump empties the search path, and functions can need one. That does not mean that the backup is damaged.
    if let Err(error) = &restored
        && restore.search_path.is_empty()
        && error.wants_search_path()
    {
        tracing::warn!(name = whole.found.key, error = %error, hint = error.hint(), "a function in the backup needs a search path; trying again with --search-path public");
        let restore = Restore {
            search_path: vec!["public".to_owned()],
            ..restore
        };
        restored = restore::run(&restore, |_| async { false }, meter, stop).await;
    }
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => return Err(explain(host, whole.read.summary(), error).await),
    };
    tracing::info!(
        name = whole.found.key,
        duration_seconds = format::seconds(restored.took),
        "restored, comparing"
    );
    scratch.tell_of_triggers(host, &whole.found.key).await;
    let compared = tokio::select! {
        compared = compare(host, scratch, &restored.summary) => compared?,
        () = stop.cancelled() => return Err(DrillError::Cancelled),
    };
    let passed = match &drill.sql {
        Some(sql) => tokio::select! {
            passed = check(drill, host, scratch, sql) => passed?,
            () = stop.cancelled() => return Err(DrillError::Cancelled),
        },
        None => 0,
    };
    Ok((compared, passed))
}

/// Decides what the failure of a restore means. The cause may be the server and not the backup.
async fn explain(host: &DrillHost<'_>, summary: &Summary, error: RestoreError) -> DrillError {
    let failed = match &error {
        RestoreError::Cancelled(_) => return DrillError::Cancelled,
        RestoreError::Refused(refusals) => return Obstacle::refused(refusals).into(),
        RestoreError::Psql(failed, _) | RestoreError::Server(failed, _) => failed,
        _ => return DrillError::Restore(error),
    };
    let surroundings = Surroundings {
        is_superuser: host.is_superuser,
        is_older: summary.server_major() > Some(host.major),
        refused_extension: host.refused_extension(&summary.needs).await,
    };
    match Obstacle::afterwards(failed, &surroundings) {
        Some(obstacle) => obstacle.into(),
        None => DrillError::Restore(error),
    }
}

/// Runs the user's own statements one by one.
async fn check(
    drill: &Drill,
    host: &DrillHost<'_>,
    scratch: &Scratch,
    sql: &str,
) -> Result<usize, DrillError> {
    let statements = statements(sql);
    for (number, statement) in (1..).zip(&statements) {
        let database = scratch.database(host);
        let answer = database.run_for_user(statement, drill.timeout).await;
        let outcome = match answer {
            Ok(answer) if answer.trim_end() == "t" => continue,
            Ok(answer) => {
                let shown: String = answer.trim_end().chars().take(60).collect();
                format!("returned {shown:?}, not true")
            }
            // A statement can cause the loss of its own connection. If the server is really gone, it does not answer
            // anything else either.
            Err(error) if error.kind == Kind::Connect && !database.answers(LIMIT).await => {
                return Err(DrillError::Server(error));
            }
            Err(error) => format!("failed: {error}"),
        };
        return Err(DrillError::Check { number, outcome });
    }
    Ok(statements.len())
}

/// Splits a script into its statements.
fn statements(sql: &str) -> Vec<String> {
    let mut script = Script::default();
    let mut rest = sql.as_bytes();
    let mut statements = Vec::new();
    let mut statement = Vec::new();
    while !rest.is_empty() {
        let (taken, after) = rest.split_at(script.read_statement(rest).min(rest.len()));
        statement.extend_from_slice(taken);
        rest = after;
        if taken.last() == Some(&b';') || rest.is_empty() {
            let text = String::from_utf8_lossy(&statement).trim().to_owned();
            if !text.is_empty() {
                statements.push(text);
            }
            statement.clear();
        }
    }
    statements
}

/// Whether a script ends inside a quoted text or a comment, where a semicolon would not end a statement.
#[must_use]
pub(crate) fn ends_in_a_quote(sql: &str) -> bool {
    let mut script = Script::default();
    script.read(sql.as_bytes());
    script.read(b"\n");
    script.is_inside_quote()
}

/// Logs that a backup was proven.
pub(crate) fn tell_proven(name: &str, proven: &Proven) {
    tracing::info!(
        name,
        rows = proven.summary.contents.rows,
        tables = proven.summary.contents.tables.len(),
        tables_compared = proven.tables_compared,
        checks_passed = proven.checks_passed,
        server_version = proven.server_version,
        duration_seconds = format::seconds(proven.took),
        "backup proven"
    );
}

/// Logs why a backup was not proven.
pub(crate) fn tell_unproven(name: &str, error: &DrillError) {
    match error.fault() {
        Fault::Stopped => log_failure!(warn, error, name, "drill cancelled"),
        Fault::Gone => tracing::warn!(name, error = %error, "backup gone meanwhile"),
        Fault::Surroundings => {
            log_failure!(error, error, name, "drill could not be carried out");
        }
        Fault::Unprovable => {
            log_failure!(error, error, name, "backup can't be proven there");
        }
        Fault::Backup => log_failure!(error, error, name, "backup unproven"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_its_own_semicolons() {
        let sql = "SELECT count(*) > 0 FROM users; -- not; here\nSELECT ';' = ';';;\n SELECT $$a;b$$ = 'a;b'";
        assert_eq!(
            statements(sql),
            [
                "SELECT count(*) > 0 FROM users;",
                "-- not; here\nSELECT ';' = ';';",
                ";",
                "SELECT $$a;b$$ = 'a;b'"
            ]
        );
        assert_eq!(statements(" \n"), Vec::<String>::new());
        for sql in ["SELECT 'x", "SELECT $$x", "SELECT \"x", "SELECT 1 /* x"] {
            assert!(ends_in_a_quote(sql), "{sql}");
        }
        assert!(!ends_in_a_quote("SELECT 'x' -- it's"));
    }
}
