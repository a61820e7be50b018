//! One run, top to bottom: nothing becomes visible unless the dump ended well and every byte was acknowledged.

mod error;
mod inquiry;
mod passage;
mod preparation;
mod report;

use std::time::Duration;

use chrono::{DateTime, Utc};
use stream::pipeline::{Compression, Timings};
use stream::script::Contents;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::BackupError;
pub(crate) use passage::{begin, stream};
pub(crate) use report::restore_command;

use self::inquiry::{look_closer, tell_of_unlogged};
use self::preparation::{Prepared, prepare};
use self::report::{log_finished, skipped};
use crate::catalog::{Backup, BackupName, Catalog};
use crate::dump::{Dump, Patience};
use crate::fault::{Diagnosed, Kind, log_failure};
use crate::postgres::{Clients, DatabaseUrl};
use crate::schedule::Clock;
use crate::store::upload;

/// Everything a run needs; the same for every run of a process.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where the backups are.
    pub catalog: Catalog,
    /// What is dumped.
    pub database: DatabaseUrl,
    /// The client programs of this image.
    pub clients: Clients,
    /// `BACKUP_OPTIONS`, split.
    pub options: Vec<String>,
    /// `BACKUP_COMPRESSION` and `BACKUP_COMPRESSION_THREADS`
    pub compression: Compression,
    /// `BACKUP_TIMEOUT`: one attempt's limit.
    pub timeout: Duration,
    /// How long to wait before each further attempt.
    pub retry_waits: Vec<Duration>,
    /// How long an unreachable server is asked again within one attempt: a private network's names may come up later
    /// than the container.
    pub server_wait: Duration,
    /// How patient a dump is.
    pub patience: Patience,
    /// The wall clock.
    pub clock: Clock,
    /// `BACKUP_GLOBALS`
    pub globals: bool,
}

/// Why a run happens, which decides its name and what an existing object of that name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// At a due time. Two containers that overlap in a deploy aim at the same name; the first one wins.
    Scheduled(DateTime<Utc>),
    /// By hand, or at start-up.
    Manual(DateTime<Utc>),
}

impl Trigger {
    /// The time that a backup is named after.
    #[must_use]
    pub const fn at(self) -> DateTime<Utc> {
        match self {
            Self::Scheduled(at) | Self::Manual(at) => at,
        }
    }
}

/// How a run ended when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new backup.
    Finished(Made),
    /// There was one of that name already.
    Skipped(Backup),
}

/// A backup that was just made, and what is known of its making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The backup.
    pub backup: Backup,
    /// What it holds.
    pub contents: Contents,
    /// Where the time went.
    pub timings: Timings,
    /// In how many parts it was sent.
    pub parts: usize,
    /// How long the attempt took.
    pub took: Duration,
}

/// What a run that is told to stop in its last step gets to end well: everything was sent.
const LAST_STEP: Duration = Duration::from_secs(2);

/// Runs a backup, with further attempts where waiting can mend the failure. Every run ends in one log line.
///
/// # Errors
/// The last attempt's failure.
pub async fn run(
    job: &Job,
    trigger: Trigger,
    stop: &CancellationToken,
) -> Result<Outcome, BackupError> {
    let name = job.catalog.prefix().name_at(trigger.at());
    // The same for all attempts: an object that one of them stored without knowing it is known to the next.
    let mark = format!("{:032x}", fastrand::u128(..));
    let mut waits = job.retry_waits.iter();
    let mut number: u32 = 1;
    loop {
        let error = match attempt(job, trigger, &name, number, &mark, stop).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let Some(wait) = waits.next().filter(|_| error.is_retryable()) else {
            return Err(log_end(&name, number, error));
        };
        log_failure!(warn, error, name = %name, attempt = number, retry_in_seconds = wait.as_secs(), "attempt failed");
        tokio::select! {
            () = stop.cancelled() => return Err(log_end(&name, number, BackupError::Cancelled)),
            () = tokio::time::sleep(*wait) => {}
        }
        number = number.saturating_add(1);
    }
}

/// The one line about a run that made no backup.
fn log_end(name: &BackupName, attempts: u32, error: BackupError) -> BackupError {
    if matches!(error, BackupError::Cancelled) {
        log_failure!(warn, error, name = %name, attempts, "backup cancelled");
    } else {
        log_failure!(error, error, name = %name, attempts, "backup failed");
    }
    error
}

/// One attempt, from the beginning. Whatever ends it early leaves no object, and aborts the upload.
async fn attempt(
    job: &Job,
    trigger: Trigger,
    name: &BackupName,
    number: u32,
    mark: &str,
    stop: &CancellationToken,
) -> Result<Outcome, BackupError> {
    let started = Instant::now();
    let early = || async {
        tokio::select! {
            () = stop.cancelled() => BackupError::Cancelled,
            () = tokio::time::sleep_until(started + job.timeout) => BackupError::Deadline(job.timeout),
        }
    };

    let (server, client, head) = tokio::select! {
        prepared = prepare(job, trigger, name, mark) => match prepared? {
            Prepared::Ready(server, client, head) => (server, client, head.line()),
            Prepared::Exists(backup) => return Ok(skipped(backup)),
        },
        error = early() => return Err(error),
    };
    tracing::info!(name = %name, attempt = number, server_version = server.version, client_version = client.version, database_bytes = server.size_bytes, "backup started");

    if server.is_standby {
        tokio::select! {
            () = tell_of_unlogged(job, &server, client) => {}
            error = early() => return Err(error),
        }
    }

    let part_size = upload::part_size(server.size_bytes);
    let mut upload = begin(job, &name.to_string(), part_size, mark, early()).await?;
    let (dump, output) = match Dump::start(
        client,
        &job.database,
        &server,
        &server.dump_options(&job.options),
        &job.patience,
    ) {
        Ok(started) => started,
        Err(error) => {
            upload.abort(early()).await;
            return Err(error.into());
        }
    };
    let streamed = tokio::select! {
        streamed = stream(output, head, job.compression, part_size, &mut upload) => streamed,
        error = early() => Err(error),
    };
    let proof = match streamed {
        Ok((output, text_bytes, timings)) => match dump.finish(output).await {
            Ok(proof) => Ok((proof, text_bytes, timings)),
            Err(error) => Err(BackupError::from(
                look_closer(job, &server, client, error, early()).await,
            )),
        },
        Err(error) => {
            dump.stop().await;
            Err(error)
        }
    };
    let (proof, text_bytes, timings) = match proof {
        Ok(proof) => proof,
        Err(error) => {
            upload.abort(early()).await;
            return Err(error);
        }
    };
    let contents = Contents {
        bytes: text_bytes,
        ..proof.contents().clone()
    };
    let late = async {
        let error = early().await;
        if matches!(error, BackupError::Cancelled) {
            tokio::time::sleep(LAST_STEP).await;
        }
        error
    };
    match upload.complete(proof, late).await {
        Ok(stored) => {
            let backup = job
                .catalog
                .backup(name.clone(), (job.clock)(), stored.size_bytes);
            let made = Made {
                backup,
                contents,
                timings,
                parts: stored.parts,
                took: started.elapsed(),
            };
            log_finished(&made, &server, client);
            Ok(Outcome::Finished(made))
        }
        // Another container completed the same name first: the backup exists, which is what the run was for.
        Err(error) if error.kind() == Kind::StoreConflict => {
            let found = tokio::select! {
                found = job.catalog.find(name) => found.ok().flatten(),
                error = early() => return Err(error),
            };
            match found {
                Some(backup) if backup.is_dated_ahead((job.clock)()) => {
                    Err(BackupError::NamePlanted(name.to_string()))
                }
                Some(backup) => Ok(skipped(backup)),
                None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
