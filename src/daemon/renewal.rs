//! Reads the secrets that come from files again at each run, so that they can be rotated without a restart of this service.

use crate::config::{Config, SeriesSettings, Sources};
use crate::drill::DrillServer;
use crate::postgres::DatabaseUrl;
use crate::secret::Secret;
use crate::secret::renewable::Renewable;
use crate::store::Store;
use crate::watch::webhook::Address;

/// The files, and the values made from them.
#[derive(Debug, Clone)]
pub struct Renewal {
    sources: Sources,
    /// The store. Its keys are replaced for everything that shares it.
    store: Store,
    /// `BACKUP_DATABASE_URL`
    pub database: Renewable<DatabaseUrl>,
    /// `VERIFY_DATABASE_URL`
    pub drills: Renewable<Option<DrillServer>>,
    /// `HEARTBEAT_URL`
    pub heartbeat: Renewable<Option<Address>>,
    /// The secrets that it shares with other series.
    shared: Shared,
}

/// The secrets that all series share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// `ALERT_WEBHOOK_URL`
    pub alerts: Renewable<Option<Address>>,
    /// `STATUS_TOKEN`
    pub status_token: Renewable<Option<Secret>>,
}

impl Shared {
    /// Begins with the values that were read at the start.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            alerts: Renewable::new(config.alerts.clone()),
            status_token: Renewable::new(config.status_token.clone()),
        }
    }
}

impl Renewal {
    /// Begins with the values that were read at the start.
    #[must_use]
    pub fn new(settings: &SeriesSettings, sources: Sources, store: Store, shared: &Shared) -> Self {
        let drills = settings.drills.as_ref();
        Self {
            sources,
            store,
            database: Renewable::new(settings.database.clone()),
            drills: Renewable::new(drills.map(|(_, drilling)| drilling.server.clone())),
            heartbeat: Renewable::new(settings.heartbeat.clone()),
            shared: shared.clone(),
        }
    }

    /// Reads the files again. If a file can't be used, the earlier value stays, with a warning: the file may be half
    /// written. If the earlier value is no longer valid, the run fails by itself.
    pub async fn renew(&self) {
        if !self.sources.has_files() {
            return;
        }
        let sources = self.sources.clone();
        // A file may be on a network drive, so reading it can block.
        let Ok(read) = tokio::task::spawn_blocking(move || sources.read()).await else {
            return;
        };
        for problem in &read.problems {
            tracing::warn!(
                variable = problem.variable,
                error = %problem,
                hint = "the value that was read before is used; write the file anew, whole",
                "secret not read again"
            );
        }
        if let Some(settings) = &read.store {
            self.store.renew(settings);
        }
        if let Some(url) = read.database {
            self.database.set(url);
        }
        if let Some(server) = read.drills {
            self.drills.set(Some(server));
        }
        if let Some(address) = read.alerts {
            self.shared.alerts.set(Some(address));
        }
        if let Some(address) = read.heartbeat {
            self.heartbeat.set(Some(address));
        }
        if let Some(token) = read.status_token {
            self.shared.status_token.set(Some(token));
        }
    }
}
