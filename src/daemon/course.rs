//! The course of a series: the one task that makes its backups, from the start of the service to its end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup::Trigger;
use crate::board::Board;
use crate::daemon::listing;
use crate::daemon::runs::Runs;
use crate::format::utc;
use crate::schedule::Schedule;
use crate::schedule::alarm::Alarm;
use crate::schedule::bells::Bell;

/// How often the bucket is read while nothing else happens: `/health` must notice if somebody deletes a backup.
const LIST_EVERY: Duration = Duration::from_secs(3600);

/// What makes the backups of a series, and what happens at the start.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) schedule: Schedule,
    /// `RUN_ON_STARTUP`
    pub(super) run_now: bool,
    /// `BACKUP_CATCH_UP`
    pub(super) catch_up: bool,
    pub(super) runs: Runs,
}

impl Course {
    /// Follows the schedule until it is told to stop. This is the only task that makes backups of this series, so two of its runs
    /// never overlap. A run ends by itself when the service is told to stop. It must not be dropped in the middle, or its upload
    /// would be left behind.
    pub(super) async fn follow(self, bell: Bell, stop: CancellationToken) {
        let (runs, stop) = (&self.runs, &stop);
        let (job, board) = (&runs.job, &runs.board);
        let began_at = (job.clock)();
        let mut missed_before = self
            .schedule
            .last_at_or_before(began_at)
            .filter(|_| self.catch_up && !self.run_now);
        log_upcoming(&self.schedule, began_at);
        let mut alarm = Alarm::new(self.schedule, job.clock, bell);
        log_next(&alarm, board);
        if self.run_now {
            run_one(runs, &mut alarm, Trigger::Manual((job.clock)()), stop).await;
        }
        let mut list_at = Instant::now();
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                wake = alarm.wait() => {
                    wake.log("several due times passed while the clock jumped or the machine slept");
                    match wake.due {
                        Some(due) => run_one(runs, &mut alarm, Trigger::Scheduled(due), stop).await,
                        None => log_next(&alarm, board),
                    }
                }
                found = listing::at_last(runs, list_at) => {
                    list_at = Instant::now() + LIST_EVERY;
                    listing::take_over(found, board, (job.clock)());
                    // A backup can only be called missing if the bucket holds others: these show that backups are made here.
                    let newest_at = board.read(|status| status.newest().map(|backup| backup.name.at()));
                    if let (Some(newest_at), Some(due)) = (newest_at, missed_before.take()) && newest_at < due {
                        tracing::warn!(due_at = utc(due), "no backup of the last due time: running it now");
                        run_one(runs, &mut alarm, Trigger::Scheduled(due), stop).await;
                    }
                }
            }
        }
    }
}

/// Logs the next five due times, so that the operator can see whether the schedule is the intended one.
fn log_upcoming(schedule: &Schedule, now: DateTime<Utc>) {
    for due in schedule.upcoming(now, 5) {
        tracing::debug!(due_at = utc(due), local = %due.with_timezone(schedule.zone()).format("%a %Y-%m-%d %H:%M:%S %Z"), "upcoming");
    }
}

fn log_next(alarm: &Alarm, board: &Board) {
    let due = alarm.next_due();
    board.next_due(due);
    tracing::info!(due_at = utc(due), "next backup");
}

async fn run_one(runs: &Runs, alarm: &mut Alarm, trigger: Trigger, stop: &CancellationToken) {
    let Some(turn) = runs.turn(stop).await else {
        return;
    };
    if runs.board.read(|status| status.listed_at.is_none()) {
        listing::at_first(runs, stop).await;
    }
    runs.run(trigger, stop).await;
    drop(turn);
    if !stop.is_cancelled() {
        alarm.skip_passed().log("a run was active");
        log_next(alarm, &runs.board);
    }
}
