//! Runs, and what happens with their results: they are recorded on the board, sent to the heartbeat, and compared with
//! earlier backups.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backup::{self, BackupError, Job, Made, Outcome, Trigger};
use crate::board::anomaly::{self, Anomaly, Thresholds};
use crate::board::{Board, End, Failure, LastGlobals};
use crate::daemon::renewal::Renewal;
use crate::fault::{Diagnosed, log_failure};
use crate::format;
use crate::format::size;
use crate::globals;
use crate::watch::heartbeat::{Beat, Heartbeat};

/// What makes backups, and where the result of each run goes.
#[derive(Debug)]
pub struct Runs {
    /// What makes a backup. Its database is replaced by that of the renewal.
    pub job: Job,
    /// What is read again before each run.
    pub renewal: Renewal,
    /// Where results are recorded.
    pub board: Board,
    /// `ANOMALY_BELOW` and `ANOMALY_ABOVE`
    pub thresholds: Thresholds,
    /// `HEARTBEAT_URL`
    pub heartbeat: Heartbeat,
    /// One permit for the runs of all series.
    pub turns: Arc<Semaphore>,
}

impl Runs {
    /// The run of a process that makes only one, so nothing is known about earlier backups. Returns whether there is a
    /// backup.
    pub async fn once(&self, trigger: Trigger, stop: &CancellationToken) -> bool {
        let job = self.renewed().await;
        self.begin();
        let outcome = backup::run(&job, trigger, stop).await;
        if matches!(outcome, Ok(Outcome::Finished(_))) {
            self.list_for_comparison().await;
        }
        let made = matches!(outcome, Ok(Outcome::Finished(_)));
        let done = self.end(trigger, outcome);
        if made {
            self.store_globals(&job, trigger, stop).await;
        }
        done
    }

    /// Waits until no other series makes a backup. Returns `None` if it was told to stop before that.
    pub async fn turn(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let turns = || Arc::clone(&self.turns);
        if let Ok(turn) = turns().try_acquire_owned() {
            return Some(turn);
        }
        tracing::info!("waiting for the backup of another series");
        // The semaphore is never closed.
        stop.run_until_cancelled(turns().acquire_owned())
            .await?
            .ok()
    }

    /// One run of a daemon, once it is its turn.
    pub async fn run(&self, trigger: Trigger, stop: &CancellationToken) {
        let job = self.renewed().await;
        self.begin();
        let outcome = backup::run(&job, trigger, stop).await;
        let made = matches!(outcome, Ok(Outcome::Finished(_)));
        self.end(trigger, outcome);
        if made {
            self.store_globals(&job, trigger, stop).await;
        }
    }

    /// Stores what belongs to the server beside a backup that was made and reported. Whatever happens here, the backup is
    /// valid.
    async fn store_globals(&self, job: &Job, trigger: Trigger, stop: &CancellationToken) {
        if !job.globals {
            return;
        }
        let name = job.catalog.prefix().name_at(trigger.at());
        let outcome = globals::store(job, &name, stop).await;
        let (passwords, kind) = match &outcome {
            Ok(stored) => (Some(stored.passwords), None),
            Err(error) => (None, Some(error.kind())),
        };
        match &outcome {
            Ok(stored) => {
                tracing::info!(
                    name = stored.key,
                    size_bytes = stored.size_bytes,
                    passwords = stored.passwords,
                    duration_seconds = format::seconds(stored.took),
                    "globals stored"
                );
                let told = self.board.read(|status| {
                    let last = status.last_globals.as_ref();
                    last.is_some_and(|last| last.passwords == Some(false))
                });
                if !stored.passwords && !told {
                    tracing::warn!(
                        name = stored.key,
                        hint = globals::passwords_hint(&job.database),
                        "globals stored without passwords"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(
                    name = name.globals(),
                    kind = error.kind().as_str(),
                    error = globals::told(error),
                    hint = error.hint(),
                    "globals not stored; the backup is whole without them"
                );
            }
        }
        self.board.globals_ended(LastGlobals {
            stored: kind.is_none(),
            passwords,
            kind,
            finished_at: (job.clock)(),
        });
    }

    /// The job, with the secrets that the files hold now.
    async fn renewed(&self) -> Job {
        self.renewal.renew().await;
        Job {
            database: self.renewal.database.get(),
            ..self.job.clone()
        }
    }

    fn begin(&self) {
        self.board.began();
        self.heartbeat.tell(Beat::Started);
    }

    /// Reads the bucket after a backup was made, so that its size can be compared. It may take a few seconds and no longer.
    async fn list_for_comparison(&self) {
        tokio::select! {
            listed = self.job.catalog.list((self.job.clock)()) => match listed {
                Ok(listing) => self.board.listed(listing.kept, (self.job.clock)()),
                Err(error) => log_failure!(warn, error, "size not compared: could not read the bucket"),
            },
            () = tokio::time::sleep(Duration::from_secs(10)) => {
                tracing::warn!("size not compared: the bucket could not be read in time");
            }
        }
    }

    /// Records how a run ended, for alerts and heartbeats. Returns whether there is a backup.
    fn end(&self, trigger: Trigger, outcome: Result<Outcome, BackupError>) -> bool {
        let finished_at = (self.job.clock)();
        let anomalies = match &outcome {
            Ok(Outcome::Finished(made)) => self.judge(made),
            _ => Vec::new(),
        };
        self.tell(&outcome);
        let done = outcome.is_ok();
        let end = match outcome {
            Ok(Outcome::Finished(made)) => End::Made(made, anomalies),
            Ok(Outcome::Skipped(backup)) => End::Skipped(backup),
            Err(BackupError::Cancelled) => End::Cancelled,
            Err(error) => End::Failed(
                error.kind(),
                Failure {
                    name: self.job.catalog.prefix().name_at(trigger.at()).to_string(),
                    error: error.to_string(),
                    hint: error.hint().to_owned(),
                },
            ),
        };
        self.board.ended(end, finished_at);
        done
    }

    /// Compares a new backup with earlier ones.
    fn judge(&self, made: &Made) -> Vec<Anomaly> {
        let anomalies = self.board.read(|status| {
            let previous = status.last_made.as_ref();
            anomaly::find(
                &made.backup,
                &status.backups,
                &made.contents,
                previous.map(|previous| &previous.contents),
                self.thresholds,
            )
        });
        anomaly::log(&made.backup, &anomalies);
        anomalies
    }

    /// Reports how a run ended to the heartbeat. A run that was stopped with the service reports nothing: the next start
    /// makes up for it, and if there is none, the silence raises an alarm.
    fn tell(&self, outcome: &Result<Outcome, BackupError>) {
        self.heartbeat.tell(match outcome {
            Ok(Outcome::Finished(made)) => Beat::Made {
                text: format!(
                    "{}, {}, {} rows",
                    made.backup.name,
                    size(made.backup.size_bytes),
                    made.contents.rows
                ),
                took: Some(made.took),
            },
            Ok(Outcome::Skipped(backup)) => Beat::Made {
                text: format!("{}, made by another container", backup.name),
                took: None,
            },
            Err(BackupError::Cancelled) => return,
            Err(error) => Beat::Failed {
                reason: format!("{}: {error}", error.kind().as_str()),
                hint: error.hint().to_owned(),
            },
        });
    }
}
