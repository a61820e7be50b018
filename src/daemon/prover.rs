//! The drills of a daemon. Backups are proven by another task than the one that makes them, so that neither waits for the
//! other.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::board::{Board, DrillOutcome, Failure, LastDrill};
use crate::catalog::Catalog;
use crate::daemon::renewal::Renewal;
use crate::drill::{self, Drill};
use crate::fault::{Diagnosed, Fault, log_failure};
use crate::format::utc;
use crate::schedule::alarm::Alarm;
use crate::schedule::bells::Bell;
use crate::schedule::{Clock, Schedule};

/// Proves the newest backup of a catalog.
#[derive(Debug)]
pub struct Prover {
    /// Where the newest backup is looked up.
    pub catalog: Catalog,
    /// How it is proven.
    pub drill: Drill,
    /// What is read again before each drill.
    pub renewal: Renewal,
    /// The wall clock.
    pub clock: Clock,
}

impl Prover {
    /// The only task that proves backups. At each due time of `VERIFY_SCHEDULE` it proves the newest one.
    pub async fn follow(
        self,
        schedule: Schedule,
        bell: Bell,
        board: Board,
        stop: CancellationToken,
    ) {
        let mut alarm = Alarm::new(schedule, self.clock, bell);
        tracing::info!(due_at = utc(alarm.next_due()), "next drill");
        loop {
            let due = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                wake = alarm.wait() => wake.due,
            };
            if due.is_none() {
                continue;
            }
            if let Some((last, failure)) = self.run(&stop).await {
                board.drilled(last, failure);
            }
            if stop.is_cancelled() {
                return;
            }
            alarm.skip_passed().log("a drill was active");
            tracing::info!(due_at = utc(alarm.next_due()), "next drill");
        }
    }

    /// Makes one drill of the newest backup. Returns `None` if there is no backup, if it was removed in the meantime, or if
    /// the drill was told to stop.
    async fn run(&self, stop: &CancellationToken) -> Option<(LastDrill, Option<Failure>)> {
        self.renewal.renew().await;
        let mut drill = self.drill.clone();
        if let Some(server) = self.renewal.drills.get() {
            drill.server = server;
        }
        let began_at = (self.clock)();
        let newest = match self.catalog.newest(began_at).await {
            Ok(Some(newest)) => newest,
            Ok(None) => {
                tracing::warn!("drill skipped: there is no backup yet");
                return None;
            }
            Err(error) => {
                // A bucket that can't be read is a matter of the schedule of backups. What was proven before stays proven.
                log_failure!(error, error, "could not read the bucket for a drill");
                return None;
            }
        };
        let name = newest.name.to_string();
        tracing::info!(name, "drill started");
        let outcome = drill::run(&drill, &name, &Arc::default(), stop).await;
        let (outcome, kind, failure) = match &outcome {
            Ok(proven) => {
                drill::tell_proven(&name, proven);
                (DrillOutcome::Proven, None, None)
            }
            Err(error) => {
                drill::tell_unproven(&name, error);
                let outcome = match error.fault() {
                    Fault::Backup => DrillOutcome::Failed,
                    Fault::Surroundings => DrillOutcome::Unread,
                    Fault::Unprovable => DrillOutcome::Unprovable,
                    Fault::Gone | Fault::Stopped => return None,
                };
                let failure = Failure {
                    name: name.clone(),
                    error: error.to_string(),
                    hint: error.hint().to_owned(),
                };
                (outcome, Some(error.kind()), Some(failure))
            }
        };
        let finished_at = (self.clock)();
        let last = LastDrill {
            name,
            outcome,
            kind,
            finished_at,
            duration_seconds: u64::try_from(
                finished_at.signed_duration_since(began_at).num_seconds(),
            )
            .unwrap_or(0),
        };
        Some((last, failure))
    }
}
