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

pub use bucket::{AHEAD_HINT, CLOCKS_HINT};
pub use finding::{Finding, Outcome, log, report};
pub use platform::Railway;

use crate::catalog::Catalog;
use crate::config::{Config, Drilling, Problem};
use crate::postgres::{Clients, DatabaseUrl};
use crate::schedule::{Clock, Schedule};
use crate::store::{Store, StorePatience};

/// What is looked at, and with what.
#[derive(Debug)]
pub struct Check {
    /// What is odd about the variables. None in the daemon, which has logged it already.
    warnings: Option<Vec<Problem>>,
    schedule: Schedule,
    max_age: Duration,
    /// The variables that name somebody to tell.
    listeners: Vec<&'static str>,
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
    /// A check of this configuration.
    #[must_use]
    pub fn new(config: &Config, clients: Clients, railway: Option<Railway>, clock: Clock) -> Self {
        let store = Store::new(&config.store, patience());
        Self {
            warnings: Some(config.warnings.clone()),
            schedule: config.schedule.clone(),
            max_age: config.max_age,
            listeners: [&config.alerts, &config.heartbeat]
                .into_iter()
                .filter_map(|address| Some(address.as_ref()?.variable()))
                .collect(),
            timeout: config.timeout,
            partial: config.is_partial(),
            database: config.database.clone(),
            clients,
            catalog: Catalog::new(store, config.prefix.clone(), config.timeout),
            drilling: config.drills.as_ref().map(|(_, drilling)| drilling.clone()),
            railway,
            clock,
            globals: config.globals,
        }
    }

    /// The same without what the daemon finds out and says by itself: the variables, and the backups that there are.
    #[must_use]
    pub fn for_daemon(self) -> Self {
        Self {
            warnings: None,
            ..self
        }
    }

    /// Looks at everything. None if it was told to stop; an upload that was begun is aborted first.
    pub async fn run(&self, stop: &CancellationToken) -> Option<Vec<Finding>> {
        let now = (self.clock)();
        let mut findings = Vec::new();
        if let Some(warnings) = &self.warnings {
            findings.append(&mut settings::configuration(warnings));
            findings.push(settings::schedule(&self.schedule, self.max_age, now));
            findings.push(settings::alerts(&self.listeners));
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
