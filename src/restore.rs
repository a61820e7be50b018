//! A backup back into a database, in one transaction that is committed only after the object was read whole.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod cause;
pub mod create;
mod filling;
pub mod newborn;
pub(crate) mod provisional;
mod psql;
mod public;
mod settings;
mod source;
pub mod swap;
pub mod target;
mod walls;

pub use psql::Aftermath;
pub use source::Source;

use psql::{Killed, Psql};

use crate::fault::{Diagnosed, Kind};
use crate::postgres::{self, Clients, Database, DatabaseUrl, PostgresError, Sql};
use crate::reader::{self, Found, Meter, ReadError, ReadWhole, Summary};
use crate::restore::target::{Activity, Permits, Refusals, Survey};
use crate::store::Store;
use stream::replay::Omit;

/// What is restored, where to, and how.
#[derive(Debug)]
pub struct Restore {
    /// The bucket.
    pub store: Store,
    /// The object in it.
    pub found: Found,
    /// The database it goes into.
    pub target: DatabaseUrl,
    /// The database that is backed up, which is never written to unasked.
    pub source: Option<DatabaseUrl>,
    /// The client programs of this image.
    pub clients: Clients,
    /// What the operator allowed.
    pub permits: Permits,
    /// Whether the object is read to its end once before the target is touched.
    pub verify_first: bool,
    /// Whether the planner's statistics are collected at the end.
    pub analyze: bool,
    /// Whether the target is a drill's own scratch database, of which the drill tells.
    pub drill: bool,
    /// The schemas in which names without one are looked for; a dump has none.
    pub search_path: Vec<String>,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the stream held, and so what the target holds now.
    pub summary: Summary,
    /// The target's version.
    pub server_version: String,
    /// How long loading took, without the reading before it.
    pub took: Duration,
    /// What was left out: each kind, and the names.
    pub left_out: Vec<(&'static str, Vec<String>)>,
}

/// Why a restore did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The target can't be asked.
    #[error("ask the target database: {0}")]
    Target(PostgresError),
    /// It would hurt, or can't work.
    #[error("{0}")]
    Refused(Refusals),
    /// The operator did not confirm that the target's content may go.
    #[error("not confirmed: everything in the database {0} would be replaced")]
    NotConfirmed(String),
    /// `psql` could not be run.
    #[error("could not run psql: {0}")]
    Start(String),
    /// `psql` is too old to be kept from the commands that a backup may hold for it.
    #[error("psql {0} does not know \\restrict, without which a backup could have it run commands")]
    Client(String),
    /// The database refused a statement.
    #[error("{}; {}", .0.text, .1)]
    Psql(PostgresError, Aftermath),
    /// The target's server could not go on, whatever was restored.
    #[error("{}; {}", .0.text, .1)]
    Server(PostgresError, Aftermath),
    /// The backup's own statements tried to end the transaction.
    #[error("the backup holds a statement that ends the transaction of its own restore; {0}")]
    Escape(Aftermath),
    /// `psql` came to the end of the text, and was still inside a statement or inside rows.
    #[error("the backup ends inside a statement or inside rows; {0}")]
    Unfinished(Aftermath),
    /// The connection broke off after everything was sent.
    #[error("the connection was lost during the commit: {0}")]
    Unknown(String),
    /// The service was told to stop.
    #[error("the restore was told to stop; {0}")]
    Cancelled(Aftermath),
    /// The new database is whole, and could not be put in the place of the old one.
    #[error("the backup is restored in the database {}, but it could not be put in the place of the old one: {}", .1, .0.text)]
    Swap(PostgresError, String),
}

impl Diagnosed for RestoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Target(error)
            | Self::Psql(error, _)
            | Self::Server(error, _)
            | Self::Swap(error, _) => error.kind,
            Self::Refused(_) | Self::NotConfirmed(_) => Kind::Refused,
            Self::Escape(_) => Kind::Restore,
            Self::Unfinished(_) => Kind::Damaged,
            Self::Start(_) => Kind::Internal,
            Self::Client(_) => Kind::Version,
            Self::Unknown(_) => Kind::Connect,
            Self::Cancelled(_) => Kind::Cancelled,
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Target(error) | Self::Psql(error, _) | Self::Server(error, _) => &error.hint,
            Self::Refused(refusals) => refusals.hint(),
            Self::NotConfirmed(_) => "nothing was changed; the answer to the question must be yes",
            Self::Escape(_) => {
                "pg_dump writes no such statement: find out who wrote this object, and restore another one"
            }
            Self::Unfinished(_) => {
                "this object is not a whole backup; restore an older one, and make a new one now with: postgres-s3-backups backup"
            }
            Self::Start(_) => "use this service's image, which holds psql",
            Self::Client(_) => {
                "use this service's image, or update the package postgresql-client: the minor releases of August 2025 and later know it (14.19, 15.14, 16.10, 17.6, and every 18)"
            }
            Self::Unknown(_) => {
                "look whether the target holds the tables: it has all of the backup or none of it"
            }
            Self::Cancelled(_) => "start it again when you are ready",
            Self::Swap(..) => {
                "nothing else was changed and the old database has its name; rename both when nobody is connected to them (ALTER DATABASE … RENAME TO …)"
            }
        }
    }
}

impl RestoreError {
    /// Whether a name without a schema may have ended it, and nothing was changed: it may succeed with a search path.
    #[must_use]
    pub fn wants_search_path(&self) -> bool {
        matches!(self, Self::Psql(error, Aftermath::AsBefore) if cause::wants_search_path(error))
    }
}

/// Restores. `confirm` is asked before content is replaced; it gets what is at stake.
///
/// # Errors
/// When it did not succeed; the error says what is known of the target.
pub async fn run<F: Future<Output = bool>>(
    restore: &Restore,
    confirm: impl FnOnce(Stake) -> F,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let prepared = tokio::select! {
        prepared = prepare(restore, meter, |_| async { Ok(Refusals::default()) }) => prepared?,
        () = stop.cancelled() => return Err(RestoreError::Cancelled(Aftermath::AsBefore)),
    };
    if restore.permits.clean && prepared.survey.holds_something() {
        let asking = async {
            let stake = Stake {
                survey: prepared.survey.clone(),
                source: prepared.source.clone(),
                activity: activity(&prepared.database, restore.target.database()).await,
            };
            confirm(stake).await
        };
        let confirmed = tokio::select! {
            confirmed = asking => confirmed,
            () = stop.cancelled() => return Err(RestoreError::Cancelled(Aftermath::AsBefore)),
        };
        if !confirmed {
            return Err(RestoreError::NotConfirmed(
                restore.target.database().to_owned(),
            ));
        }
    }
    if !restore.drill {
        tracing::info!(
            name = restore.found.key,
            target_version = prepared.survey.version,
            client_version = prepared.database.client.version,
            database = restore.target.database(),
            clean = restore.permits.clean,
            "restore started"
        );
    }
    if let Source::Unknown(reason) = &prepared.source
        && prepared.survey.holds_something()
    {
        tracing::warn!(error = %reason, "the target may be the database that is backed up");
    }
    if restore.permits.clean
        && let Some((count, names)) = prepared.survey.rights.stays()
    {
        tracing::warn!(
            count,
            names,
            hint = "they belong to others: a provider, an extension, another role; restore as a superuser or into a new database if they should go too",
            "what the target's user may not drop stays in the target"
        );
    }
    let began = Instant::now();
    let omit = restore.omit(&prepared.survey);
    let loaded = load(restore, &prepared, &omit, meter, stop).await;
    let summary = loaded.map_err(|mut error| {
        if let RestoreError::Psql(error, _) | RestoreError::Server(error, _) = &mut error {
            cause::fit(error, restore.permits, restore.drill);
        }
        error
    })?;
    let took = began.elapsed();
    if restore.analyze {
        analyze(&prepared.database, stop).await;
    }
    if !restore.drill {
        let (permits, survey) = (restore.permits, &prepared.survey);
        let database = &prepared.database;
        let name = restore.target.database();
        settings::tell(
            database,
            name,
            name,
            &summary,
            &survey.roles,
            permits.no_settings,
        )
        .await;
        public::tell(database, permits, &summary, survey.major()).await;
    }
    Ok(Restored {
        left_out: target::left_out(&summary.needs, &omit),
        summary,
        server_version: prepared.survey.version,
        took,
    })
}

/// What is at stake when the content of a database is replaced.
#[derive(Debug, Clone)]
pub struct Stake {
    /// What it holds.
    pub survey: Survey,
    /// Whether it is the database that is backed up.
    pub source: Source,
    /// How it is used, if the server tells.
    pub activity: Option<Activity>,
}

struct Prepared<'a> {
    survey: Survey,
    source: Source,
    database: Database<'a>,
    /// What is known of the backup: all, or only its head.
    summary: Summary,
}

impl Restore {
    /// What is left out of the dump for this target.
    fn omit(&self, survey: &Survey) -> Omit {
        Omit {
            search_path: !self.search_path.is_empty(),
            ..survey.rights.omit(self.permits, survey.major())
        }
    }
}

/// Finds out everything that can be found out before the first byte, and says all of it that stands in the way.
async fn prepare<'a, F: Future<Output = Result<Refusals, PostgresError>>>(
    restore: &'a Restore,
    meter: &Arc<Meter>,
    more: impl FnOnce(Database<'a>) -> F,
) -> Result<Prepared<'a>, RestoreError> {
    let newest = restore.clients.newest().map_err(RestoreError::Target)?;
    let server = postgres::probe(newest, &restore.target)
        .await
        .map_err(RestoreError::Target)?;
    let client = restore
        .clients
        .choose(server.major, &server.version)
        .map_err(RestoreError::Target)?;
    if !client.knows_restrict() {
        return Err(RestoreError::Client(client.version.clone()));
    }
    let database = Database {
        client,
        url: &restore.target,
        session: server.session,
    };
    let survey = Survey::take(&database)
        .await
        .map_err(RestoreError::Target)?;
    // What exists is not touched if the restore makes a database of its own; and a drill has made its target itself.
    let identity = if restore.permits.new_database || restore.drill {
        None
    } else {
        let identity = postgres::identity(&database).await;
        Some(identity.map_err(RestoreError::Target)?)
    };
    let source = match &identity {
        Some(identity) => {
            let source = restore.source.as_ref();
            Source::compare(client, source, &restore.target, identity).await
        }
        None => Source::Another,
    };
    // What stands in the way whatever the backup holds is said before the backup is read.
    let mut first = target::refusals(&survey, &source, restore.permits, None);
    first.extend(more(database).await.map_err(RestoreError::Target)?);
    if !first.is_empty() {
        return Err(RestoreError::Refused(first));
    }
    let summary = if restore.verify_first {
        // What is left out needs no rights.
        let omit = Omit {
            skip: restore.permits.skip,
            ..Omit::default()
        };
        let read = reader::read(&restore.store, &restore.found, omit, None, meter).await?;
        tracing::info!(
            name = restore.found.key,
            rows = read.summary().contents.rows,
            tables = read.summary().contents.tables.len(),
            uncompressed_bytes = read.summary().contents.bytes,
            "backup read whole"
        );
        read.summary().tell_how_whole(&restore.found.key);
        read.summary().warn(&restore.found.key);
        read.summary().clone()
    } else {
        reader::read_head(&restore.store, &restore.found).await?
    };
    let source = match &identity {
        Some(identity) => {
            let head = summary.head.as_ref();
            source.with_origin(head.and_then(|head| head.identity.as_ref()), identity)
        }
        None => source,
    };
    let refusals = target::refusals(&survey, &source, restore.permits, Some(&summary));
    if !refusals.is_empty() {
        return Err(RestoreError::Refused(refusals));
    }
    if !restore.permits.new_database {
        target::warn(&survey, &summary);
    }
    if summary
        .server_major()
        .is_some_and(|major| major > survey.major())
    {
        tracing::warn!(
            dumped_from = summary.dumped_from,
            target_version = survey.version,
            "the target is older than the server this came from; what it does not know will end the restore, with nothing changed"
        );
    }
    Ok(Prepared {
        survey,
        source,
        database,
        summary,
    })
}

/// How the database of this name is used. Nothing is lost if that is not known.
async fn activity(database: &Database<'_>, name: &str) -> Option<Activity> {
    let asked = Activity::ask(database, name).await;
    asked.unwrap_or_else(|error| {
        tracing::debug!(error = %error, "could not ask how the target is used");
        None
    })
}

/// Streams the backup into `psql`. Whatever ends it early kills `psql` before its input is closed.
async fn load(
    restore: &Restore,
    prepared: &Prepared<'_>,
    omit: &Omit,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Summary, RestoreError> {
    let mut psql = Psql::start(prepared.database)?;
    let streamed = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Broken::Stopped),
        streamed = stream(restore, prepared, &mut psql, omit.clone(), meter) => streamed,
    };
    let broken = match streamed {
        Ok(proof) => {
            let summary = proof.summary().clone();
            let committed = psql.commit(proof, &prepared.survey, stop).await;
            return committed.map(|()| summary);
        }
        Err(broken) => broken,
    };
    let Killed {
        said,
        status,
        escaped,
        aftermath,
    } = psql.kill(&prepared.survey).await;
    Err(match broken {
        Broken::Stopped => RestoreError::Cancelled(aftermath),
        Broken::Psql if escaped => RestoreError::Escape(aftermath),
        // psql that closes its input has a reason, and says it.
        Broken::Psql => psql::ended(&said, status, aftermath),
        Broken::Read(error) => {
            if aftermath == Aftermath::AsBefore {
                tracing::info!(target_database = %aftermath, "psql was stopped");
            } else {
                tracing::warn!(target_database = %aftermath, "psql was stopped");
            }
            RestoreError::Read(error)
        }
    })
}

/// What broke a stream off.
enum Broken {
    Stopped,
    Psql,
    Read(ReadError),
}

async fn stream(
    restore: &Restore,
    prepared: &Prepared<'_>,
    psql: &mut Psql<'_>,
    omit: Omit,
    meter: &Arc<Meter>,
) -> Result<ReadWhole, Broken> {
    psql.begin().await.map_err(|()| Broken::Psql)?;
    if restore.permits.clean {
        let script = target::clean();
        let sent = psql.write(script.as_bytes()).await;
        sent.map_err(|()| Broken::Psql)?;
    }
    let path = search_path(&restore.search_path);
    let sent = psql.write(path.as_bytes()).await;
    sent.map_err(|()| Broken::Psql)?;
    let proof = feed(restore, psql.input(), omit, meter).await?;
    if !restore.drill {
        let summary = proof.summary();
        if !restore.permits.no_settings {
            let (wanted, _) = settings::wanted(summary, &prepared.survey.roles);
            let script = settings::within(&wanted);
            let sent = psql.write(script.as_bytes()).await;
            sent.map_err(|()| Broken::Psql)?;
        }
        if let Some(grant) = public::grant(restore.permits, summary, prepared.survey.major()) {
            let sent = psql.write(grant.as_bytes()).await;
            sent.map_err(|()| Broken::Psql)?;
        }
    }
    Ok(proof)
}

/// Reads the object and hands on what of it may reach `psql`.
async fn feed(
    restore: &Restore,
    input: &mut (impl AsyncWrite + Unpin),
    omit: Omit,
    meter: &Arc<Meter>,
) -> Result<ReadWhole, Broken> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(2);
    let mut reading = Box::pin(reader::read(
        &restore.store,
        &restore.found,
        omit,
        Some(sender),
        meter,
    ));
    let mut outcome = None;
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(piece) => input.write_all(&piece).await.map_err(|_| Broken::Psql)?,
                // The reader hung up: its word is final.
                None => break,
            },
            done = &mut reading, if outcome.is_none() => outcome = Some(done),
        }
    }
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => reading.await,
    };
    outcome.map_err(Broken::Read)
}

/// What is sent instead of the dump's own line about the search path. The names are in letters that mean the same in every
/// encoding, and in quotes that the server takes off again.
fn search_path(schemas: &[String]) -> Sql {
    if schemas.is_empty() {
        return Sql::new("");
    }
    let quoted = schemas
        .iter()
        .map(|schema| format!("\"{}\"", schema.replace('"', "\"\"")));
    let list = quoted.collect::<Vec<_>>().join(", ");
    Sql::new(
        "SELECT pg_catalog.set_config('search_path', pg_catalog.convert_from(pg_catalog.decode(",
    )
    .hex(list.as_bytes())
    .sql(", 'hex'), 'UTF8'), false);\n")
}

/// A database without statistics answers its first queries slowly. What is restored stays restored if this fails.
async fn analyze(database: &Database<'_>, stop: &CancellationToken) {
    const LIMIT: Duration = Duration::from_secs(6 * 3600);
    let analyze = walls::no_limits().sql("SET search_path TO '';\nANALYZE;\nRESET ALL;");
    let analyzed = tokio::select! {
        analyzed = database.run(&analyze, LIMIT) => analyzed,
        () = stop.cancelled() => {
            tracing::warn!(hint = "run ANALYZE in the restored database", "ANALYZE was stopped; the restore itself is done");
            return;
        }
    };
    match analyzed {
        Ok(_) => tracing::info!("statistics collected"),
        Err(error) => {
            tracing::warn!(error = %error, hint = "run ANALYZE in the restored database", "could not collect statistics; the restore itself is done");
        }
    }
}
