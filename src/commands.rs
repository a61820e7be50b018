//! The commands, one file each, and what they share. A command reports what went wrong in its own words, with a kind and a
//! hint; an error that belongs to no kind (the terminal, the signals, the runtime) is an [`anyhow::Error`] with its context, which
//! `main` reports in one line.

mod backup;
mod check;
mod daemon;
mod health;
mod list;
mod question;
mod restore;
mod surroundings;
mod unusable;
mod verify;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Backup, Catalog};
use crate::cli::Command;
use crate::config::Access;
use crate::fault::{Kind, log_failure};
use crate::process::Ending;
use crate::process::signals::Signals;
use crate::progress::{self, Terminal};
use crate::reader::{Meter, Summary};
use crate::store::{Store, StoreError, StorePatience};

pub use surroundings::Surroundings;
pub use unusable::Unusable;

/// What to do if the bucket holds no backup under the prefix.
const NO_BACKUPS_HINT: &str = "make the first one with: postgres-s3-backups backup; if there should be some, compare AWS_S3_BUCKET, BUCKET_SUBFOLDER and BACKUP_FILE_PREFIX with those of the service that made them";

/// A backup with more tables than this does not get a log line for each of them, except at DEBUG.
const TABLES_TOLD: usize = 100;

/// Carries out a command, or stays as a daemon if there is none. The two that make backups need the `signals`, which were caught before
/// anything else was done.
///
/// # Errors
/// [`Unusable`], or what belongs to none of the kinds of failures.
pub async fn run(
    command: Option<Command>,
    signals: Option<Signals>,
    around: &Surroundings,
) -> anyhow::Result<Ending> {
    let signals = signals.context("the signals of this process are not listened to");
    match command {
        None => daemon::run(around, signals?).await,
        Some(Command::Backup) => backup::run(around, signals?).await,
        Some(Command::List(options)) => list::run(around, &options).await,
        Some(Command::Restore(options)) => restore::run(around, &options).await,
        Some(Command::Verify(options)) => verify::run(around, &options).await,
        Some(Command::Check(options)) => check::run(around, &options).await,
        Some(Command::Health) => health::run(around).await,
        // The process has become another program before it came here.
        Some(Command::Confined(_)) => Ok(Ending::Failed),
    }
}

/// The catalog that the variables name.
fn catalog(access: &Access) -> Catalog {
    let store = Store::new(&access.store, StorePatience::default());
    Catalog::new(store, access.prefix.clone(), access.timeout)
}

fn could_not_read(error: &StoreError) -> Ending {
    log_failure!(error, error, "could not read the bucket");
    Ending::Failed
}

/// Writes the answer of a command to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough, such as head, closes the pipe, and that is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("could not print"),
    }
}

/// How a command ends that needs a backup where there is none, which is logged here.
fn no_backups(catalog: &Catalog, wanted: &str) -> Ending {
    tracing::error!(
        kind = Kind::Refused.as_str(),
        name = wanted,
        bucket = catalog.store().bucket(),
        prefix = catalog.prefix().as_str(),
        hint = NO_BACKUPS_HINT,
        "there are no backups yet"
    );
    Ending::Failed
}

/// The backup that the operator means, or how the command ends because there is none, which is logged here.
async fn choose(catalog: &Catalog, wanted: &str, now: DateTime<Utc>) -> Result<Backup, Ending> {
    match catalog.choose(wanted, now).await {
        Ok(Some(backup)) => Ok(backup),
        Ok(None) if matches!(catalog.list(now).await, Ok(listing) if listing.kept.is_empty()) => {
            Err(no_backups(catalog, wanted))
        }
        Ok(None) => {
            tracing::error!(
                kind = Kind::Refused.as_str(),
                name = wanted,
                bucket = catalog.store().bucket(),
                prefix = catalog.prefix().as_str(),
                hint = "look at the names with: postgres-s3-backups list; BACKUP_FILE_PREFIX and BUCKET_SUBFOLDER decide which objects are backups; one that is dated ahead is never the latest, and has to be named in full",
                "no such backup"
            );
            Err(Ending::Failed)
        }
        Err(error) => Err(could_not_read(&error)),
    }
}

/// Logs how many rows each table has.
fn tell_tables(summary: &Summary, message: &str) {
    let tables = &summary.contents.tables;
    for (table, rows) in tables.iter() {
        if tables.len() <= TABLES_TOLD {
            tracing::info!(table = %table, rows, "{message}");
        } else {
            tracing::debug!(table = %table, rows, "{message}");
        }
    }
}

/// Does a long piece of work. Meanwhile a bar, or a log line every 30 seconds, shows how far it has come, and a signal tells it to stop.
async fn attended<T>(
    meter: &Arc<Meter>,
    size: u64,
    terminal: &Terminal,
    work: impl AsyncFnOnce(&CancellationToken) -> T,
) -> T {
    let stop = CancellationToken::new();
    let signals = Signals::new();
    let listening = async {
        match signals {
            Ok(mut signals) => {
                let name = signals.next().await;
                tracing::info!(signal = name, "stopping");
                stop.cancel();
            }
            Err(error) => tracing::warn!(%error, "could not listen for signals"),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = work(&stop) => outcome,
        () = listening => std::future::pending().await,
        () = progress::show(meter, size, terminal) => std::future::pending().await,
    }
}
