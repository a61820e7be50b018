//! What can be found out before a backup is due: the configuration, the database, the bucket and the platform, each thing
//! with its remedy. What is found is judged by pure functions; nothing is changed, and nothing stays behind.

mod bucket;
mod database;
mod drills;
mod finding;
mod platform;
mod settings;
mod upload;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use finding::{Finding, Outcome, log, report};
pub(crate) use platform::Railway;
pub(crate) use settings::unusable;

use crate::catalog::Catalog;
use crate::config::{Config, Drilling, Problem, SeriesSettings};
use crate::postgres::{Clients, DatabaseUrl};
use crate::schedule::{Clock, Schedule};
use crate::store::{Store, StorePatience};

/// What is looked at, and with what.
#[derive(Debug)]
pub(crate) struct Check {
    /// What is said of the variables. None in the daemon, which has said it already.
    variables: Option<Spoken>,
    schedule: Schedule,
    max_age: Duration,
    timeout: Duration,
    partial: bool,
    database: DatabaseUrl,
    clients: Clients,
    catalog: Catalog,
    /// Where backups are proven, if they are.
    drilling: Option<Drilling>,
    railway: Option<Railway>,
    clock: Clock,
    /// `BACKUP_GLOBALS`
    globals: bool,
}

/// What is said of the variables.
#[derive(Debug)]
struct Spoken {
    /// What is odd about them.
    warnings: Vec<Problem>,
    /// Those that name somebody to tell.
    listeners: Vec<&'static str>,
}

/// How long a question to a database may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Nobody waits minutes for an answer here; a backup's own patience is greater.
fn patience() -> StorePatience {
    StorePatience {
        tries: 2,
        answer: Duration::from_secs(20),
        ..StorePatience::default()
    }
}

impl Check {
    /// A check of this series, without what a daemon finds out and says by itself: the variables, and the backups that there
    /// are.
    #[must_use]
    pub(crate) fn new(settings: &SeriesSettings, clients: Clients, clock: Clock) -> Self {
        let store = Store::new(&settings.store, patience());
        Self {
            variables: None,
            schedule: settings.schedule.clone(),
            max_age: settings.max_age,
            timeout: settings.timeout,
            partial: settings.is_partial(),
            database: settings.database.clone(),
            clients,
            catalog: Catalog::new(store, settings.prefix.clone(), settings.timeout),
            drilling: settings
                .drills
                .as_ref()
                .map(|(_, drilling)| drilling.clone()),
            railway: None,
            clock,
            globals: settings.globals,
        }
    }

    /// A check of this configuration and of all that it names.
    #[must_use]
    pub(crate) fn of_all(config: &Config, clients: Clients, clock: Clock) -> Self {
        let listeners = [&config.alerts, &config.series.heartbeat];
        Self {
            variables: Some(Spoken {
                warnings: config.warnings.clone(),
                listeners: listeners
                    .into_iter()
                    .filter_map(|address| Some(address.as_ref()?.variable()))
                    .collect(),
            }),
            ..Self::new(&config.series, clients, clock)
        }
    }

    /// The same on Railway, if it runs there.
    #[must_use]
    pub(crate) fn on(self, railway: Option<Railway>) -> Self {
        Self { railway, ..self }
    }

    /// Looks at everything. None if it was told to stop; an upload that was begun is aborted first.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> Option<Vec<Finding>> {
        let now = (self.clock)();
        let mut findings = Vec::new();
        if let Some(variables) = &self.variables {
            findings.append(&mut settings::configuration(&variables.warnings));
            findings.push(settings::schedule(&self.schedule, self.max_age, now));
            findings.push(settings::alerts(&variables.listeners));
        }
        let (tell_size, size) = oneshot::channel();
        let (mut database, mut bucket) = tokio::join!(
            async {
                stop.run_until_cancelled(self.look_at_database(tell_size))
                    .await
                    .unwrap_or_default()
            },
            self.look_at_bucket(size, stop)
        );
        findings.append(&mut database);
        findings.append(&mut bucket);
        if let Some(drilling) = &self.drilling {
            let looked = stop
                .run_until_cancelled(self.look_at_drills(drilling))
                .await;
            findings.extend(looked);
        }
        if let Some(platform) = &self.railway {
            findings.push(platform::railway(platform));
        }
        (!stop.is_cancelled()).then_some(findings)
    }
}
