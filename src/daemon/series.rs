//! One series of backups: those of one database, under one prefix in one bucket, made on one schedule. Each series has its own
//! board, and so its own verdict, its own secrets, and its own receiver of heartbeats.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backup::Job;
use crate::board::Board;
use crate::catalog::Catalog;
use crate::check::Check;
use crate::config::{SeriesSettings, Sources};
use crate::daemon::prover::Prover;
use crate::daemon::renewal::{Renewal, Shared};
use crate::daemon::runs::Runs;
use crate::drill::Drill;
use crate::dump::Patience;
use crate::postgres::Clients;
use crate::schedule::{Clock, Schedule};
use crate::store::{Store, StorePatience};
use crate::watch::alert::Subject;
use crate::watch::heartbeat::Heartbeat;
use crate::web::page::Setting;
use crate::web::shown::Shown;
use stream::pipeline::Compression;

/// The waits before the further attempts of a run. The last one is used for all attempts that follow.
const RETRY_WAITS: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

/// A series of backups.
#[derive(Debug)]
pub struct Series {
    /// Its name, which differs from those of the others. If there is only one series, the name is not shown anywhere.
    pub name: String,
    /// Its settings.
    pub settings: SeriesSettings,
    /// What is known about it.
    pub board: Board,
    store: Store,
    renewal: Renewal,
}

impl Series {
    /// The series of that name. Its secrets are read again from `sources`.
    #[must_use]
    pub fn new(name: &str, settings: SeriesSettings, sources: Sources, shared: &Shared) -> Self {
        let store = Store::new(&settings.store, StorePatience::default());
        Self {
            name: name.to_owned(),
            renewal: Renewal::new(&settings, sources, store.clone(), shared),
            board: Board::default(),
            store,
            settings,
        }
    }

    /// What is shown of it over HTTP.
    pub(super) fn shown(&self) -> Shown {
        let settings = &self.settings;
        Shown {
            name: self.name.clone(),
            board: self.board.clone(),
            setting: Setting {
                schedule: settings.schedule.clone(),
                max_age: settings.max_age,
                bucket: settings.store.bucket.clone(),
                prefix: settings.prefix.as_str().to_owned(),
                drills: settings.drills.is_some(),
            },
            sent: self.store.sent(),
        }
    }

    /// What its alerts are about. They name the series if there are several.
    pub(super) fn subject(&self, series: Option<String>) -> Subject {
        Subject {
            series,
            bucket: self.settings.store.bucket.clone(),
            prefix: self.settings.prefix.as_str().to_owned(),
            max_age: self.settings.max_age,
        }
    }

    /// What makes its backups. Of all series that share `turns`, only one makes a backup at a time.
    pub(super) fn runs(
        &self,
        clients: &Clients,
        heartbeat: Heartbeat,
        turns: &Arc<Semaphore>,
        clock: Clock,
    ) -> Runs {
        Runs {
            job: self.job(clients, clock),
            renewal: self.renewal.clone(),
            board: self.board.clone(),
            thresholds: self.settings.thresholds,
            heartbeat,
            turns: Arc::clone(turns),
        }
    }

    /// What is read again before each run.
    pub(super) fn renewal(&self) -> &Renewal {
        &self.renewal
    }

    /// What proves its backups, and when. `None` if they are not proven.
    pub(super) fn prover(
        &self,
        clients: &Clients,
        temporary: &Path,
        clock: Clock,
    ) -> Option<(Schedule, Prover)> {
        let (schedule, drilling) = self.settings.drills.clone()?;
        let drill = Drill {
            store: self.store.clone(),
            server: drilling.server,
            clients: clients.clone(),
            sql: drilling.sql,
            temporary: temporary.to_owned(),
            timeout: self.settings.timeout,
            may_be_renamed: false,
            may_be_unconfined: drilling.may_be_unconfined,
            search_path: Vec::new(),
        };
        let prover = Prover {
            catalog: self.catalog(),
            drill,
            renewal: self.renewal.clone(),
            clock,
        };
        Some((schedule, prover))
    }

    /// What looks for trouble before a backup is due.
    pub(super) fn check(&self, clients: &Clients, clock: Clock) -> Check {
        Check::new(&self.settings, clients.clone(), clock)
    }

    fn job(&self, clients: &Clients, clock: Clock) -> Job {
        let settings = &self.settings;
        Job {
            catalog: self.catalog(),
            database: settings.database.clone(),
            clients: clients.clone(),
            options: settings.options.clone(),
            compression: Compression {
                level: settings.compression,
                threads: settings.compression_threads.unwrap_or_else(threads),
            },
            timeout: settings.timeout,
            retry_waits: retry_waits(settings.retries),
            server_wait: settings.server_wait,
            patience: Patience::default(),
            clock,
            globals: settings.globals,
        }
    }

    fn catalog(&self) -> Catalog {
        let settings = &self.settings;
        Catalog::new(
            self.store.clone(),
            settings.prefix.clone(),
            settings.timeout,
        )
    }
}

fn retry_waits(retries: usize) -> Vec<Duration> {
    let last = RETRY_WAITS.last().copied().unwrap_or_default();
    let waits = RETRY_WAITS.into_iter().chain(std::iter::repeat(last));
    waits.take(retries).collect()
}

/// As many threads as this process has cores, but not more than one `pg_dump` can keep busy.
fn threads() -> usize {
    const MOST: usize = 4;
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_after_1_5_and_15_minutes_and_15_from_then_on() {
        let minutes = |retries| -> Vec<u64> {
            let waits = retry_waits(retries).into_iter();
            waits.map(|wait| wait.as_secs() / 60).collect()
        };
        assert_eq!(minutes(0), [0_u64; 0]);
        assert_eq!(minutes(2), [1, 5]);
        assert_eq!(minutes(5), [1, 5, 15, 15, 15]);
    }
}
