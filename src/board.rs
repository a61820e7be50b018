//! What the daemon knows. The tasks that do the work write it, and the page, the metrics, the alerts and `/health` read it.

pub mod anomaly;
pub mod calendar;
pub mod health;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use crate::backup::Made;
use crate::board::anomaly::Anomaly;
use crate::catalog::Backup;
use crate::fault::Kind;
use crate::format::serialize_utc;

/// What the daemon knows.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// When the bucket was last read.
    pub listed_at: Option<DateTime<Utc>>,
    /// Why it could not be read since then, if an attempt failed. The name in it is that of the bucket.
    pub unread: Option<Failure>,
    /// Whether the store's clock was so far ahead of ours at that time that no age can be trusted.
    pub store_is_ahead: bool,
    /// The good backups in the bucket, newest first: those of the last listing, and those made since.
    pub backups: Vec<Backup>,
    /// Backups that are ignored, because the times in their names are in the future.
    pub ahead: Vec<Backup>,
    /// How the newest backup of this process was made.
    pub last_made: Option<Made>,
    /// What is unusual about that backup, the worst first.
    pub anomalies: Vec<Anomaly>,
    /// How the last run ended.
    pub last_run: Option<LastRun>,
    /// How many runs of this process had each outcome. Failed runs are counted by the kind of their error.
    pub runs: BTreeMap<(RunOutcome, Option<Kind>), u64>,
    /// Why the last run failed, if it did.
    pub failure: Option<Failure>,
    /// How the last drill ended.
    pub last_drill: Option<LastDrill>,
    /// The result of the last drill that could be carried out.
    pub concluded: Option<DrillOutcome>,
    /// Whether the last drill that could be carried out showed that backups can't be proven where the drills run.
    pub unprovable: bool,
    /// How many drills since then could not be carried out.
    pub untried: u64,
    /// Why the last drill did not prove the backup, if it did not.
    pub drill_failure: Option<Failure>,
    /// How many drills of this process had each outcome.
    pub drills: BTreeMap<DrillOutcome, u64>,
    /// Whether a run is under way.
    pub running: bool,
    /// When the next run is due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// When the first run of this process was due. Until then, an empty bucket is no problem.
    pub first_due_at: Option<DateTime<Utc>>,
    /// With `BACKUP_GLOBALS`: whether the server's roles and settings were stored beside the last backup.
    pub last_globals: Option<LastGlobals>,
}

/// What the log says of a failure. It is for the operator: `/health`, which anybody may read, shows the kind alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The backup that was to be made or to be proven, or the bucket that was to be read.
    pub name: String,
    /// Why it was not, without secrets.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastRun {
    /// Its outcome.
    pub outcome: RunOutcome,
    /// What kind of error it was, if it failed.
    pub kind: Option<Kind>,
    /// When it ended.
    #[serde(serialize_with = "serialize_utc")]
    pub finished_at: DateTime<Utc>,
}

/// All possible outcomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It made a backup.
    Succeeded,
    /// It failed after its last attempt.
    Failed,
    /// The backup was there already.
    Skipped,
}

/// What became of a run.
#[derive(Debug)]
pub enum End {
    /// It made a backup, and this is unusual about it.
    Made(Made, Vec<Anomaly>),
    /// The backup was there already.
    Skipped(Backup),
    /// It failed after its last attempt.
    Failed(Kind, Failure),
    /// It was told to stop. This says nothing about the backups.
    Cancelled,
}

/// How the last drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastDrill {
    /// The backup that was to be proven.
    pub name: String,
    /// Its outcome.
    pub outcome: DrillOutcome,
    /// What kind of error it was, if it failed.
    pub kind: Option<Kind>,
    /// When it ended.
    #[serde(serialize_with = "serialize_utc")]
    pub finished_at: DateTime<Utc>,
    /// How long it took.
    pub duration_seconds: u64,
}

/// What became of the roles and settings of the server beside a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastGlobals {
    /// Whether they were stored.
    pub stored: bool,
    /// Whether the hashes of passwords are among them, if they were stored.
    pub passwords: Option<bool>,
    /// What kind of error it was, if they were not.
    pub kind: Option<Kind>,
    /// When it ended.
    #[serde(serialize_with = "serialize_utc")]
    pub finished_at: DateTime<Utc>,
}

/// All possible outcomes of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillOutcome {
    /// The backup was restored and holds what was dumped.
    Proven,
    /// It can't be restored, or holds something else.
    Failed,
    /// The drill had no result, because of the store, the drill's server, the network or a time limit.
    Unread,
    /// The place where drills run lacks something that the backup needs, so no drill can have a result until somebody adds it.
    Unprovable,
}

/// After so many drills in a row that could not be carried out, there is an alert. A single one may just have met a short outage
/// of the store.
const UNTRIED_TOLD: u64 = 2;

impl Status {
    /// The newest good backup.
    #[must_use]
    pub fn newest(&self) -> Option<&Backup> {
        self.backups.first()
    }

    /// Whether the bucket was ever read, or a backup is known without that.
    #[must_use]
    pub const fn is_seeded(&self) -> bool {
        self.listed_at.is_some() || !self.backups.is_empty()
    }

    /// Whether the last run failed after its last attempt.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.last_run
            .is_some_and(|run| run.outcome == RunOutcome::Failed)
    }

    /// Whether the last drill that had a result proved its backup. None if no drill had a result.
    #[must_use]
    pub fn proof(&self) -> Option<bool> {
        use DrillOutcome::{Failed, Proven};
        let last = self.last_drill.as_ref().map(|drill| drill.outcome);
        let found = match last {
            Some(Proven | Failed) => last,
            _ => self.concluded,
        };
        found.map(|outcome| outcome == Proven)
    }

    /// Whether drills can't prove the backups where they take place.
    #[must_use]
    pub fn is_unprovable(&self) -> bool {
        match self.last_drill.as_ref().map(|drill| drill.outcome) {
            Some(DrillOutcome::Unprovable) => true,
            Some(DrillOutcome::Unread) => self.unprovable,
            _ => false,
        }
    }

    /// Whether the last drill that had a result failed.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.proof() == Some(false)
    }

    /// Whether several drills in a row could not be carried out.
    #[must_use]
    pub const fn is_undrilled(&self) -> bool {
        self.untried >= UNTRIED_TOLD
    }

    /// The backup whose anomalies are known.
    #[must_use]
    pub fn judged(&self) -> Option<&Backup> {
        self.last_made.as_ref().map(|made| &made.backup)
    }

    /// Replaces the known backups by those that the bucket held at that time.
    pub fn list(&mut self, mut backups: Vec<Backup>, at: DateTime<Utc>) {
        backups.retain(Backup::is_good);
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.name.at()));
        self.listed_at = Some(at);
        self.unread = None;
        (self.ahead, self.backups) = backups
            .into_iter()
            .partition(|backup| backup.is_dated_ahead(at));
    }

    /// Notes how a run ended.
    pub fn ran(&mut self, run: LastRun) {
        let count = self.runs.entry((run.outcome, run.kind)).or_default();
        *count = count.saturating_add(1);
        self.last_run = Some(run);
    }

    /// Notes how a drill ended.
    pub fn drilled(&mut self, drill: LastDrill) {
        let count = self.drills.entry(drill.outcome).or_default();
        *count = count.saturating_add(1);
        match drill.outcome {
            DrillOutcome::Unread => self.untried = self.untried.saturating_add(1),
            DrillOutcome::Unprovable => (self.unprovable, self.untried) = (true, 0),
            DrillOutcome::Proven | DrillOutcome::Failed => {
                self.concluded = Some(drill.outcome);
                (self.unprovable, self.untried) = (false, 0);
            }
        }
        self.last_drill = Some(drill);
    }

    /// Adds a backup that exists now.
    pub fn add(&mut self, backup: Backup) {
        // It may have been named before the clock was set back.
        let backups = if backup.is_dated_ahead(backup.finished_at) {
            &mut self.ahead
        } else {
            &mut self.backups
        };
        let newer = |other: &Backup| other.name.at() > backup.name.at();
        let place = backups.partition_point(newer);
        match backups.get_mut(place) {
            Some(same) if same.name == backup.name => *same = backup,
            _ => backups.insert(place, backup),
        }
    }
}

/// The status, shared by the tasks that write it and by those that read it or wait until it changes.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<watch::Sender<Status>>);

impl Board {
    /// Reads the current status.
    pub fn read<T>(&self, look: impl FnOnce(&Status) -> T) -> T {
        look(&self.0.borrow())
    }

    /// A run has begun.
    pub fn began(&self) {
        self.write(|status| status.running = true);
    }

    /// The run that began has ended.
    pub fn ended(&self, end: End, finished_at: DateTime<Utc>) {
        self.write(|status| {
            status.running = false;
            let (outcome, kind) = match end {
                End::Made(made, anomalies) => {
                    status.add(made.backup.clone());
                    status.last_made = Some(made);
                    status.anomalies = anomalies;
                    status.failure = None;
                    (RunOutcome::Succeeded, None)
                }
                End::Skipped(backup) => {
                    status.add(backup);
                    status.failure = None;
                    (RunOutcome::Skipped, None)
                }
                End::Failed(kind, failure) => {
                    status.failure = Some(failure);
                    (RunOutcome::Failed, Some(kind))
                }
                End::Cancelled => return,
            };
            status.ran(LastRun {
                outcome,
                kind,
                finished_at,
            });
        });
    }

    /// The bucket was read at that time, and held these.
    pub fn listed(&self, backups: Vec<Backup>, at: DateTime<Utc>) {
        self.write(|status| status.list(backups, at));
    }

    /// The bucket was read at that time and held these backups. The store's answers showed whether its clock is far ahead.
    pub fn listed_by_clock(&self, backups: Vec<Backup>, at: DateTime<Utc>, store_is_ahead: bool) {
        self.write(|status| {
            status.list(backups, at);
            status.store_is_ahead = store_is_ahead;
        });
    }

    /// The bucket could not be read.
    pub fn could_not_list(&self, failure: Failure) {
        self.write(|status| status.unread = Some(failure));
    }

    /// The next run is due at that time.
    pub fn next_due(&self, at: DateTime<Utc>) {
        self.write(|status| {
            status.first_due_at.get_or_insert(at);
            status.next_due_at = Some(at);
        });
    }

    /// A drill has ended, and did not prove the backup if there is a failure.
    pub fn drilled(&self, drill: LastDrill, failure: Option<Failure>) {
        self.write(|status| {
            status.drilled(drill);
            status.drill_failure = failure;
        });
    }

    /// Whether the server's roles and settings were stored beside a backup.
    pub fn globals_ended(&self, globals: LastGlobals) {
        self.write(|status| status.last_globals = Some(globals));
    }

    /// Changes the status. Only the methods above do this, so that each event is recorded in one way.
    fn write(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_modify(change);
    }

    /// Notifies about changes. When several follow each other quickly, only the last is seen.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::catalog::Prefix;

    fn backup(day: i64, size_bytes: u64) -> Backup {
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(day);
        Backup {
            name: Prefix::new(None, "b_").name_at(at),
            finished_at: at,
            aged_from: at,
            size_bytes,
        }
    }

    #[test]
    fn an_older_backup_does_not_take_the_place_of_a_newer_one() {
        let mut status = Status::default();
        for (day, newest, count) in [(2, 2, 1), (1, 2, 2), (3, 3, 3), (3, 3, 3)] {
            status.add(backup(day, 500));
            assert!(status.is_seeded());
            assert_eq!(status.newest(), Some(&backup(newest, 500)));
            assert_eq!(status.backups.len(), count);
        }
    }

    #[test]
    fn what_is_listed_takes_the_place_of_what_was_known() {
        let mut status = Status::default();
        status.add(backup(9, 500));
        // One that was deleted is gone; one that is too small to be a backup is none.
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(10);
        status.list(vec![backup(1, 500), backup(3, 0), backup(2, 600)], at);
        assert_eq!(status.listed_at, Some(at));
        assert_eq!(status.backups, [backup(2, 600), backup(1, 500)]);
    }

    #[test]
    fn what_is_dated_ahead_is_known_of_and_never_the_newest() {
        let mut status = Status::default();
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(3);
        let ahead = Backup {
            finished_at: at,
            ..backup(1000, 500)
        };
        status.list(vec![ahead.clone(), backup(2, 500), backup(9, 500)], at);
        assert_eq!(status.newest(), Some(&backup(2, 500)));
        assert_eq!(status.ahead, [ahead.clone(), backup(9, 500)]);
        // Its run began before the clock was set back.
        let made = Backup {
            finished_at: at,
            ..backup(500, 500)
        };
        status.add(made.clone());
        assert_eq!(status.newest(), Some(&backup(2, 500)));
        assert_eq!(status.ahead, [ahead, made, backup(9, 500)]);
    }

    #[test]
    fn a_drill_that_could_not_be_carried_out_says_nothing_of_the_backup() {
        use DrillOutcome::{Failed, Proven, Unprovable, Unread};
        let mut status = Status::default();
        for (outcome, proof, undrilled) in [
            (Unread, None, false),
            (Unread, None, true),
            (Proven, Some(true), false),
            (Unread, Some(true), false),
            (Unread, Some(true), true),
            (Failed, Some(false), false),
            (Unread, Some(false), false),
            (Unread, Some(false), true),
            (Unprovable, Some(false), false),
            (Proven, Some(true), false),
            (Unread, Some(true), false),
            (Unprovable, Some(true), false),
            (Unread, Some(true), false),
        ] {
            status.drilled(LastDrill {
                name: "b".to_owned(),
                outcome,
                kind: None,
                finished_at: DateTime::UNIX_EPOCH,
                duration_seconds: 1,
            });
            assert_eq!((status.proof(), status.is_undrilled()), (proof, undrilled));
            assert_eq!(status.is_unproven(), proof == Some(false));
        }
        assert_eq!(status.drills[&Unread], 8);
        // It lasts until a drill finds something out.
        assert!(status.is_unprovable());
    }
}
