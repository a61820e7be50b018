//! When backups are due.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::problem::Findings;
use super::variables::{BACKUP_CRON_SCHEDULE, Settings};
use crate::fault::Wrong;
use crate::schedule::{Schedule, ScheduleError};

/// `BACKUP_CRON_SCHEDULE` in `TZ`.
pub(super) fn schedule(
    settings: &Settings,
    findings: &mut Findings,
    now: DateTime<Utc>,
) -> Option<Schedule> {
    let expression = settings.backup_cron_schedule.as_deref()?;
    match Schedule::parse(expression, settings.tz.clone().unwrap_or_default(), now) {
        Ok(schedule) => {
            if schedule.shortest_gap(now) < Duration::from_secs(300) {
                findings.warn(
                    BACKUP_CRON_SCHEDULE.name,
                    "can be due more often than every 5 minutes",
                );
            }
            Some(schedule)
        }
        Err(error) => {
            findings.refuse(BACKUP_CRON_SCHEDULE.name, not_a_schedule(&error));
            None
        }
    }
}

/// What is wrong with a schedule, and how to write a correct one.
pub(super) fn not_a_schedule(error: &ScheduleError) -> Wrong {
    Wrong::new(
        format!("is not a schedule: {error}"),
        "five fields such as 0 3 * * * (03:00 every day), six with leading seconds, or @daily",
    )
}
