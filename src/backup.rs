//! One run, top to bottom: nothing becomes visible unless the dump ended well and every byte was acknowledged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Backup, BackupName, Catalog};
use crate::dump::envelope::Enveloped;
use crate::dump::label::{self, Head};
use crate::dump::origin;
use crate::dump::{Dump, DumpError, DumpOutput, Patience};
use crate::fault::{Diagnosed, Kind, log_failure};
use crate::format;
use crate::format::{quoted, seconds};
use crate::postgres::{
    self, Cause, Client, Clients, Database, DatabaseUrl, Locks, PostgresError, Server, Unlogged,
    random_key, rights,
};
use crate::schedule::Clock;
use crate::store::StoreError;
use crate::store::upload::{self, Upload};
use stream::part::{Buffers, Cutter};
use stream::pipeline::{Around, Compression, Effects, Ended, Pipeline, PipelineError};
use stream::script::{COUNTING, Contents};

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
    /// `--endpoint-url …` for the restore command in the log; empty for AWS itself.
    pub endpoint_option: String,
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
    pub effects: Effects,
    /// In how many parts it was sent.
    pub parts: usize,
    /// How long the attempt took.
    pub took: Duration,
}

/// Why an attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// The database could not be asked, or no client fits it.
    #[error("ask the database: {0}")]
    Postgres(#[from] PostgresError),
    /// The dump is not whole.
    #[error("dump the database: {0}")]
    Dump(#[from] DumpError),
    /// The store refused, or holds something else than was sent.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A manual run's name exists: a collision is an error, never an overwrite.
    #[error("begin {0}: an object of that name exists already")]
    NameTaken(String),
    /// An object of that name was there long before the time in it, so no run of this service wrote it then.
    #[error("begin {0}: an object of that name was there more than a day before its time")]
    NamePlanted(String),
    /// The compressor or its thread failed.
    #[error("compress the dump: {0}")]
    Compress(String),
    /// It took too long.
    #[error("the attempt took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("the service was told to stop")]
    Cancelled,
}

impl Diagnosed for BackupError {
    fn kind(&self) -> Kind {
        match self {
            Self::Postgres(error) => error.kind,
            Self::Dump(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::NameTaken(_) | Self::NamePlanted(_) => Kind::StoreConflict,
            Self::Compress(_) => Kind::Compress,
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::NameTaken(_) | Self::NamePlanted(_) => false,
            Self::Postgres(error) => error.is_retryable(),
            Self::Dump(error) => error.is_retryable(),
            error => error.kind().is_retryable(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Postgres(error) => &error.hint,
            Self::Dump(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NameTaken(_) => "nothing was overwritten; start the run again a second later",
            Self::NamePlanted(_) => {
                "nothing was overwritten; find out who wrote that object (a clock that was wrong, or somebody with the bucket's token), remove it, and run the command backup"
            }
            Self::Compress(_) => {
                "this is a defect of the service or of the machine; the next attempt starts from the beginning"
            }
            Self::Deadline(_) => {
                "find out what is slow (the progress lines tell), or raise BACKUP_TIMEOUT"
            }
            Self::Cancelled => "nothing was stored; the next start runs what is due",
        }
    }
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
            upload.abort().await;
            return Err(error.into());
        }
    };
    let streamed = tokio::select! {
        streamed = stream(output, head, job.compression, part_size, &mut upload) => streamed,
        error = early() => Err(error),
    };
    let proof = match streamed {
        Ok((output, text_bytes, effects)) => match dump.finish(output).await {
            Ok(proof) => Ok((proof, text_bytes, effects)),
            Err(error) => Err(BackupError::from(
                look_closer(job, &server, client, error).await,
            )),
        },
        Err(error) => {
            dump.stop().await;
            Err(error)
        }
    };
    let (proof, text_bytes, effects) = match proof {
        Ok(proof) => proof,
        Err(error) => {
            upload.abort().await;
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
                effects,
                parts: stored.parts,
                took: started.elapsed(),
            };
            log_finished(job, &made, &server, client);
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

enum Prepared<'a> {
    Ready(Server, &'a Client, Box<Head>),
    Exists(Backup),
}

/// What can be found out before anything is begun.
async fn prepare<'a>(
    job: &'a Job,
    trigger: Trigger,
    name: &BackupName,
    mark: &str,
) -> Result<Prepared<'a>, BackupError> {
    if let Some(backup) = job.catalog.find(name).await? {
        if backup.is_dated_ahead((job.clock)()) {
            return Err(BackupError::NamePlanted(name.to_string()));
        }
        return match trigger {
            Trigger::Scheduled(_) => Ok(Prepared::Exists(backup)),
            // An attempt before this one stored it, and did not come to know.
            Trigger::Manual(_) if is_ours(job, name, mark).await => Ok(Prepared::Exists(backup)),
            Trigger::Manual(_) => Err(BackupError::NameTaken(name.to_string())),
        };
    }
    job.catalog.sweep(job.timeout, (job.clock)()).await;
    let server = reach(job).await?;
    let client = job.clients.choose(server.major, &server.version)?;
    if client.major != server.major {
        let hint = "a newer pg_dump may write what this server's own psql refuses; deploy an image with the server's major version";
        tracing::warn!(
            server_version = server.version,
            client_version = client.version,
            hint,
            "no client of the server's major version"
        );
    }
    let unknown = job.database.unknown_to(client.major);
    if !unknown.is_empty() {
        let hint = format!(
            "they came with {} or libpq's own variables; a server whose client knows them is dumped with them",
            job.database.variable()
        );
        tracing::warn!(
            parameters = unknown.join(", "),
            client_version = client.version,
            hint,
            "parameters left out: this client does not know them"
        );
    }
    let head = describe(job, name, &server, client).await;
    Ok(Prepared::Ready(server, client, Box::new(head)))
}

/// What the backup will say of itself.
async fn describe(job: &Job, name: &BackupName, server: &Server, client: &Client) -> Head {
    let url = server.url(&job.database);
    let database = Database {
        client,
        url: &url,
        session: server.session,
    };
    Head {
        format: label::FORMAT,
        // A system without random numbers is no reason to make no backup.
        id: random_key().unwrap_or_else(|_| format!("{:032x}", fastrand::u128(..))),
        name: name.to_string(),
        due_at: format::utc(name.at()),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        counting: COUNTING,
        server_version: server.version.clone(),
        client_version: client.version.clone(),
        size_bytes: server.size_bytes,
        origin: origin::ask(&database).await,
    }
}

/// Whether the object of that name carries this run's mark.
async fn is_ours(job: &Job, name: &BackupName, mark: &str) -> bool {
    let head = job.catalog.store().head(&name.to_string()).await;
    head.is_ok_and(|head| head.is_some_and(|head| head.mark.as_deref() == Some(mark)))
}

/// Asks the server for its version; one that is away is asked again for a while.
async fn reach(job: &Job) -> Result<Server, BackupError> {
    let client = job.clients.newest()?;
    let patience_ends = Instant::now() + job.server_wait;
    let mut told = false;
    loop {
        match postgres::probe(client, &job.database).await {
            Err(error) if error.kind == Kind::Connect && Instant::now() < patience_ends => {
                if !told {
                    tracing::warn!(error = %error, hint = error.hint, "database not reachable yet");
                    told = true;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Says which rows a standby does not have. A question that fails stops no backup: the dump will tell what is wrong.
async fn tell_of_unlogged(job: &Job, server: &Server, client: &Client) {
    let database = Database {
        client,
        url: &job.database,
        session: server.session,
    };
    match Unlogged::ask(&database, postgres::PROBE_LIMIT).await {
        Ok(unlogged) if unlogged.count > 0 => {
            tracing::warn!(
                found = unlogged.text(),
                hint = postgres::UNLOGGED_HINT,
                "rows missing on a standby"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "could not ask for unlogged tables"),
    }
}

/// Asks the server about a dump that failed for a reason of which its words do not tell enough: whether it can have room for
/// the locks at another time, and, where the words are not known (they are in the server's language), whether this user may
/// read everything. Options may leave out what is in the way, so with options neither is known.
async fn look_closer(job: &Job, server: &Server, client: &Client, error: DumpError) -> DumpError {
    let DumpError::Exit { status, said } = error else {
        return error;
    };
    let database = Database {
        client,
        url: &job.database,
        session: server.session,
    };
    let cause = match said.cause {
        _ if !job.options.is_empty() => None,
        Cause::LocksExhausted => match Locks::ask(&database, postgres::PROBE_LIMIT).await {
            Ok(locks) if locks.are_too_few() => Some(Cause::LocksTooFew),
            _ => None,
        },
        Cause::Other => rights::what_is_closed(&database).await.unwrap_or(None),
        _ => None,
    };
    let said = match cause {
        Some(cause) => said.because(cause).about(&job.database),
        None => said,
    };
    DumpError::Exit { status, said }
}

/// Begins the upload. If the run ends while the request is under way, its answer is waited for a moment, so that an
/// upload the store just opened is not left behind.
pub(crate) async fn begin(
    job: &Job,
    key: &str,
    part_size: usize,
    mark: &str,
    early: impl Future<Output = BackupError>,
) -> Result<Upload, BackupError> {
    let mut request = Box::pin(Upload::begin(job.catalog.store(), key, part_size, mark));
    tokio::select! {
        begun = &mut request => Ok(begun?),
        error = early => {
            tokio::select! {
                begun = request => if let Ok(upload) = begun { upload.abort().await },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            Err(error)
        }
    }
}

/// Reads the dump to its end, compresses it on threads of its own and sends it, between its head and its tail. Says how many
/// bytes of text all of that was. Back-pressure reaches `pg_dump`.
pub(crate) async fn stream(
    output: DumpOutput,
    head: Vec<u8>,
    compression: Compression,
    part_size: usize,
    upload: &mut Upload,
) -> Result<(DumpOutput, u64, Effects), BackupError> {
    const PROGRESS: Duration = Duration::from_secs(60);
    let output = Enveloped::new(output, &head);
    let around = Around {
        before: head,
        after: Enveloped::tail,
    };
    let read = output.counter();
    let buffers = Buffers::new(part_size, upload::buffers(part_size));
    let (cutter, mut parts) = Cutter::new(&buffers);
    let pipeline = Pipeline::start(output, around, compression, &buffers, cutter);
    let mut progress = tokio::time::interval_at(Instant::now() + PROGRESS, PROGRESS);
    let mut sent: u64 = 0;
    loop {
        tokio::select! {
            part = parts.recv() => match part {
                Some(part) => {
                    sent = sent.saturating_add(u64::try_from(part.body.len()).unwrap_or(0));
                    upload.send(part).await?;
                }
                None => break,
            },
            _ = progress.tick() => {
                tracing::info!(uncompressed_bytes = read.load(Ordering::Relaxed), size_bytes = sent, "backup progress");
            }
        }
    }
    let Ended {
        reader,
        mut effects,
        at,
    } = pipeline.finish().await?;
    upload.settle().await?;
    effects.upload_waited = effects.upload_waited.saturating_add(at.elapsed());
    let (output, text_bytes) = reader.into_parts();
    Ok((output, text_bytes, effects))
}

impl From<PipelineError> for BackupError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Read(error) => {
                let dump_error = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<DumpError>());
                Self::Dump(
                    dump_error.map_or_else(|| DumpError::Read(error.to_string()), Clone::clone),
                )
            }
            PipelineError::Compress(said) => Self::Compress(said),
            PipelineError::Stopped => Self::Compress("it was stopped".to_owned()),
        }
    }
}

fn skipped(backup: Backup) -> Outcome {
    tracing::info!(name = %backup.name, size_bytes = backup.size_bytes, "backup skipped: it exists already");
    Outcome::Skipped(backup)
}

fn log_finished(job: &Job, made: &Made, server: &Server, client: &Client) {
    let Made {
        backup,
        contents,
        effects,
        parts,
        took,
    } = made;
    tracing::info!(
        name = %backup.name,
        size_bytes = backup.size_bytes,
        uncompressed_bytes = contents.bytes,
        ratio = ratio(contents.bytes, backup.size_bytes),
        rows = contents.rows,
        tables = contents.tables.len(),
        parts,
        duration_seconds = seconds(*took),
        compression_level = effects.mean_level(),
        waited_for_dump_seconds = seconds(effects.dump_waited),
        waited_for_compression_seconds = seconds(effects.compressor_waited),
        waited_for_upload_seconds = seconds(effects.upload_waited),
        server_version = server.version,
        client_version = client.version,
        restore = restore_command(job.catalog.store().bucket(), &backup.name, &job.endpoint_option),
        "backup finished"
    );
}

/// How much smaller the object is, to two digits.
fn ratio(uncompressed: u64, compressed: u64) -> f64 {
    let hundredths = uncompressed.saturating_mul(100) / compressed.max(1);
    u32::try_from(hundredths).map_or(f64::MAX, |hundredths| f64::from(hundredths) / 100.0)
}

/// The runbook's three steps in one line. They are joined by `&&`, not by pipes: psql would commit what came through a
/// pipe before the download broke off.
pub(crate) fn restore_command(bucket: &str, name: &BackupName, endpoint_option: &str) -> String {
    let name = name.to_string();
    let file = name.rsplit('/').next().unwrap_or(&name);
    let plain = file.trim_end_matches(".gz");
    let (url, file, plain) = (
        quoted(&format!("s3://{bucket}/{name}")),
        quoted(&format!("./{file}")),
        quoted(&format!("./{plain}")),
    );
    format!(
        "aws s3 cp {url} {file}{endpoint_option} && gunzip {file} && psql -X -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f {plain}"
    )
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::catalog::Prefix;

    #[test]
    fn the_restore_command_can_be_pasted() {
        let at = Utc.with_ymd_and_hms(2026, 1, 25, 3, 0, 0).unwrap();
        let name = Prefix::new(Some("a b"), "vlvt_backup_").name_at(at);
        assert_eq!(
            restore_command("vlvt-backups", &name, " --endpoint-url https://x"),
            "aws s3 cp 's3://vlvt-backups/a b/vlvt_backup_2026-01-25_03-00-00.sql.gz' ./vlvt_backup_2026-01-25_03-00-00.sql.gz --endpoint-url https://x \
             && gunzip ./vlvt_backup_2026-01-25_03-00-00.sql.gz && psql -X -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f ./vlvt_backup_2026-01-25_03-00-00.sql"
        );
    }

    #[test]
    fn the_ratio_has_two_digits() {
        assert!((ratio(1000, 333) - 3.0).abs() < f64::EPSILON);
        assert!((ratio(0, 20) - 0.0).abs() < f64::EPSILON);
        assert!((ratio(10, 0) - 10.0).abs() < f64::EPSILON);
    }
}
