//! The answer to the question whether last night's backup was made: a pure function of the status and the time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::board::{LastDrill, LastGlobals, LastRun, Status};
use crate::catalog::Backup;
use crate::format::serialize_utc;

/// The verdict, one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A fresh good backup is in the bucket.
    Ok,
    /// There was never one, and none was due yet.
    Waiting,
    /// One is being made, and nothing is overdue.
    Running,
    /// The newest good backup is too old.
    Stale,
    /// The last run failed after its last attempt.
    Failing,
    /// The last drill failed: the newest backup may be fresh, but it could not be restored.
    Unproven,
    /// There is a fresh good backup, which can't be proven where the drills take place. Nothing is known to be wrong with it.
    Unprovable,
    /// The bucket could not be read, and no fresh backup is known without it. Or the clocks do not show how old the newest backup is.
    Unknown,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Waiting,
        Self::Running,
        Self::Stale,
        Self::Failing,
        Self::Unproven,
        Self::Unprovable,
        Self::Unknown,
    ];

    /// The word, as `/health` tells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stale => "stale",
            Self::Failing => "failing",
            Self::Unproven => "unproven",
            Self::Unprovable => "unprovable",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a monitor should report no problem.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(
            self,
            Self::Ok | Self::Waiting | Self::Running | Self::Unprovable
        )
    }
}

/// The verdict on several series: that on the worst of them.
#[must_use]
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    // A series about which nothing good can be said is worse than one that merely can't be read.
    let order = [
        Verdict::Stale,
        Verdict::Failing,
        Verdict::Unproven,
        Verdict::Unknown,
        Verdict::Unprovable,
        Verdict::Waiting,
        Verdict::Running,
        Verdict::Ok,
    ];
    let rank = |verdict: &Verdict| order.iter().position(|other| other == verdict);
    // Of no series at all, nothing is known.
    verdicts
        .into_iter()
        .min_by_key(rank)
        .unwrap_or(Verdict::Unknown)
}

/// What to do about a backup whose name is dated ahead.
pub const AHEAD_HINT: &str = "the time in the name can't be true: a clock was wrong when the backup was made, or somebody wrote the object; look into it by its full name (verify NAME), then delete it or copy it to the name with its real time";

/// What to do where the store's clock is ahead of this one.
pub const CLOCKS_HINT: &str =
    "set the clock of this container's host (NTP); if it is right, the store's is wrong";

/// Judges the status at a time.
#[must_use]
pub fn verdict(status: &Status, max_age: Duration, now: DateTime<Utc>) -> Verdict {
    let age = status.newest().map(|backup| backup.age(now));
    let fresh = matches!(age, Some(Some(age)) if age <= max_age);
    let was_due = status.first_due_at.is_some_and(|due| due <= now);
    match () {
        () if matches!(age, Some(Some(_))) && !fresh => Verdict::Stale,
        () if status.is_failing() => Verdict::Failing,
        () if status.is_unproven() => Verdict::Unproven,
        () if !status.is_seeded() && !fresh => Verdict::Unknown,
        () if age == Some(None) => Verdict::Unknown,
        // Our clock is behind, so every backup looks younger than it is.
        () if age.is_some() && status.store_is_ahead => Verdict::Unknown,
        // Every name in the bucket holds a time that can't be true.
        () if age.is_none() && !status.ahead.is_empty() => Verdict::Unknown,
        () if status.running => Verdict::Running,
        () if fresh && status.is_unprovable() => Verdict::Unprovable,
        () if fresh => Verdict::Ok,
        () if was_due => Verdict::Stale,
        () => Verdict::Waiting,
    }
}

/// What `/health` answers. This JSON is all of it: it holds no host, bucket, user or error text.
#[derive(Debug, Serialize)]
pub struct Health {
    status: Verdict,
    newest_backup: Option<NewestBackup>,
    last_run: Option<LastRun>,
    last_drill: Option<LastDrill>,
    last_globals: Option<LastGlobals>,
    anomaly: bool,
    #[serde(serialize_with = "optional_serialize_utc")]
    next_due_at: Option<DateTime<Utc>>,
    max_age_seconds: u64,
    version: &'static str,
}

/// What `/health` answers for several series: the worst verdict, and what it would answer for each of them.
#[derive(Debug, Serialize)]
pub struct Overall<'a> {
    /// The worst of all verdicts.
    pub status: Verdict,
    /// Each series by its name.
    #[serde(serialize_with = "serialize_by_name")]
    series: &'a [(&'a str, Health)],
    version: &'static str,
}

impl<'a> Overall<'a> {
    /// That of these series.
    #[must_use]
    pub fn of(series: &'a [(&'a str, Health)]) -> Self {
        Self {
            status: worst(series.iter().map(|(_, health)| health.status)),
            series,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn serialize_by_name<S: serde::Serializer>(
    series: &[(&str, Health)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(series.iter().map(|(name, health)| (name, health)))
}

/// The newest good backup at a time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewestBackup {
    pub(crate) name: String,
    #[serde(serialize_with = "serialize_utc")]
    finished_at: DateTime<Utc>,
    /// None if the clocks do not say.
    pub(crate) age_seconds: Option<u64>,
    pub(crate) size_bytes: u64,
}

impl NewestBackup {
    pub(crate) fn at(backup: &Backup, now: DateTime<Utc>) -> Self {
        Self {
            name: backup.name.to_string(),
            finished_at: backup.finished_at,
            age_seconds: backup.age(now).map(|age| age.as_secs()),
            size_bytes: backup.size_bytes,
        }
    }
}

impl Health {
    /// The answer at a time.
    #[must_use]
    pub fn at(status: &Status, max_age: Duration, now: DateTime<Utc>) -> Self {
        Self {
            status: verdict(status, max_age, now),
            newest_backup: status.newest().map(|backup| NewestBackup::at(backup, now)),
            last_run: status.last_run,
            last_drill: status.last_drill.clone(),
            last_globals: status.last_globals.clone(),
            anomaly: !status.anomalies.is_empty(),
            next_due_at: status.next_due_at,
            max_age_seconds: max_age.as_secs(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[expect(
    clippy::ref_option,
    reason = "serde's serialize_with hands over a reference to the field"
)]
fn optional_serialize_utc<S: serde::Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize_utc(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;
    use crate::board::{DrillOutcome, RunOutcome};
    use crate::catalog::Prefix;
    use crate::fault::Kind;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 26, 4, 0, 0).unwrap()
    }

    fn backup(hours_old: i64) -> Vec<Backup> {
        let finished_at = now() - TimeDelta::hours(hours_old);
        vec![Backup {
            name: Prefix::new(None, "b_").name_at(finished_at),
            finished_at,
            aged_from: finished_at,
            size_bytes: 500,
        }]
    }

    fn run(outcome: RunOutcome) -> Option<LastRun> {
        Some(LastRun {
            outcome,
            kind: (outcome == RunOutcome::Failed).then_some(Kind::Connect),
            finished_at: now(),
        })
    }

    fn drill(outcome: DrillOutcome) -> Option<LastDrill> {
        Some(LastDrill {
            name: "b_2026-01-26_03-00-00.sql.gz".to_owned(),
            outcome,
            kind: (outcome == DrillOutcome::Failed).then_some(Kind::Unproven),
            finished_at: now(),
            duration_seconds: 12,
        })
    }

    #[test]
    fn several_series_are_as_well_as_the_worst_of_them() {
        assert_eq!(worst([]), Verdict::Unknown);
        for each in Verdict::ALL {
            assert_eq!(worst([each]), each);
            assert_eq!(worst([Verdict::Ok, each]), each);
            let sick = !each.is_healthy();
            for other in Verdict::ALL {
                assert_eq!(worst([each, other]), worst([other, each]));
                let well = worst([each, other]).is_healthy();
                assert_eq!(well, !sick && other.is_healthy(), "{each:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_verdict_is_a_table() {
        let due = |hours: i64| Some(now() + TimeDelta::hours(hours));
        let base = || Status {
            listed_at: Some(now()),
            next_due_at: due(23),
            first_due_at: due(23),
            ..Status::default()
        };
        let table = [
            (
                "fresh",
                Status {
                    backups: backup(1),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "at the limit",
                Status {
                    backups: backup(25),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "fresh by a clock that is behind the store's",
                Status {
                    backups: backup(1),
                    store_is_ahead: true,
                    ..base()
                },
                Verdict::Unknown,
            ),
            (
                "too old",
                Status {
                    backups: backup(26),
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "too old, though one is being made",
                Status {
                    backups: backup(26),
                    running: true,
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "too old and failing",
                Status {
                    backups: backup(26),
                    last_run: run(RunOutcome::Failed),
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "stored ahead of the clock",
                Status {
                    backups: backup(-2),
                    ..base()
                },
                Verdict::Unknown,
            ),
            (
                "stored ahead of the clock, and one is being made",
                Status {
                    backups: backup(-2),
                    running: true,
                    ..base()
                },
                Verdict::Unknown,
            ),
            (
                "stored ahead of the clock, and failing",
                Status {
                    backups: backup(-2),
                    last_run: run(RunOutcome::Failed),
                    ..base()
                },
                Verdict::Failing,
            ),
            (
                "none but one that is dated ahead",
                Status {
                    ahead: backup(-48),
                    ..base()
                },
                Verdict::Unknown,
            ),
            (
                "fresh beside one that is dated ahead",
                Status {
                    backups: backup(1),
                    ahead: backup(-48),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "fresh, and the last drill could not be carried out",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Unread),
                    concluded: Some(DrillOutcome::Proven),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "the drill before that one failed",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Unread),
                    concluded: Some(DrillOutcome::Failed),
                    ..base()
                },
                Verdict::Unproven,
            ),
            (
                "fresh, but the last run failed",
                Status {
                    backups: backup(1),
                    last_run: run(RunOutcome::Failed),
                    ..base()
                },
                Verdict::Failing,
            ),
            (
                "failed, and running again",
                Status {
                    backups: backup(1),
                    last_run: run(RunOutcome::Failed),
                    running: true,
                    ..base()
                },
                Verdict::Failing,
            ),
            (
                "failed at first",
                Status {
                    last_run: run(RunOutcome::Failed),
                    ..base()
                },
                Verdict::Failing,
            ),
            (
                "recovered",
                Status {
                    backups: backup(1),
                    last_run: run(RunOutcome::Succeeded),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "another container did it",
                Status {
                    backups: backup(1),
                    last_run: run(RunOutcome::Skipped),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "fresh, but the last drill failed",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Failed),
                    running: true,
                    ..base()
                },
                Verdict::Unproven,
            ),
            (
                "proven",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Proven),
                    ..base()
                },
                Verdict::Ok,
            ),
            (
                "proven once, and too old",
                Status {
                    backups: backup(26),
                    last_drill: drill(DrillOutcome::Failed),
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "can't be proven there",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Unprovable),
                    ..base()
                },
                Verdict::Unprovable,
            ),
            (
                "can't be proven there, after one that failed",
                Status {
                    backups: backup(1),
                    last_drill: drill(DrillOutcome::Unprovable),
                    concluded: Some(DrillOutcome::Failed),
                    ..base()
                },
                Verdict::Unproven,
            ),
            (
                "can't be proven there, and too old",
                Status {
                    backups: backup(26),
                    last_drill: drill(DrillOutcome::Unprovable),
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "running",
                Status {
                    backups: backup(1),
                    running: true,
                    ..base()
                },
                Verdict::Running,
            ),
            (
                "running for the first time",
                Status {
                    running: true,
                    first_due_at: due(-1),
                    ..base()
                },
                Verdict::Running,
            ),
            ("never one, none due", base(), Verdict::Waiting),
            (
                "never one, though one was due",
                Status {
                    first_due_at: due(-1),
                    ..base()
                },
                Verdict::Stale,
            ),
            (
                "bucket not read yet",
                Status {
                    listed_at: None,
                    ..base()
                },
                Verdict::Unknown,
            ),
            (
                "bucket not readable, but one was just made",
                Status {
                    listed_at: None,
                    backups: backup(1),
                    ..base()
                },
                Verdict::Ok,
            ),
        ];
        for (case, status, expected) in table {
            assert_eq!(
                verdict(&status, Duration::from_secs(25 * 3600), now()),
                expected,
                "{case}"
            );
        }
        for verdict in Verdict::ALL {
            let word = serde_json::to_value(verdict).unwrap();
            assert_eq!(word, verdict.as_str());
        }
        for (verdict, healthy) in [
            (Verdict::Ok, true),
            (Verdict::Waiting, true),
            (Verdict::Running, true),
            (Verdict::Stale, false),
            (Verdict::Failing, false),
            (Verdict::Unproven, false),
            (Verdict::Unprovable, true),
            (Verdict::Unknown, false),
        ] {
            assert_eq!(verdict.is_healthy(), healthy);
        }
    }

    #[test]
    fn the_answer_holds_the_documented_fields_only() {
        let status = Status {
            listed_at: Some(now()),
            backups: backup(1),
            last_run: run(RunOutcome::Failed),
            last_drill: drill(DrillOutcome::Failed),
            next_due_at: Some(now()),
            ..Status::default()
        };
        let json =
            serde_json::to_value(Health::at(&status, Duration::from_secs(90_000), now())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "status": "failing",
                "newest_backup": {"name": "b_2026-01-26_03-00-00.sql.gz", "finished_at": "2026-01-26T03:00:00Z", "age_seconds": 3600, "size_bytes": 500},
                "last_run": {"outcome": "failed", "kind": "connect", "finished_at": "2026-01-26T04:00:00Z"},
                "last_drill": {"name": "b_2026-01-26_03-00-00.sql.gz", "outcome": "failed", "kind": "unproven", "finished_at": "2026-01-26T04:00:00Z", "duration_seconds": 12},
                "last_globals": null, "anomaly": false,
                "next_due_at": "2026-01-26T04:00:00Z",
                "max_age_seconds": 90000,
                "version": env!("CARGO_PKG_VERSION"),
            })
        );
    }
}
