//! Which of the last days have a backup, and on which days one is missing. This is a pure function of the status, the schedule and
//! the time.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, TimeZone, Utc};

use crate::board::Status;
use crate::catalog::Backup;
use crate::schedule::Schedule;
use crate::schedule::zone::Zone;

/// One day in the zone of the schedule. A backup belongs to the day of the time in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub date: NaiveDate,
    /// What there is of it.
    pub kind: DayKind,
    /// How many backups.
    pub backups: usize,
    /// The size of the newest of them.
    pub size_bytes: u64,
    /// The longest time from the time in a name until that backup was in the bucket. None if it is more than a day, as it is after
    /// the bucket was copied.
    pub delay: Option<Duration>,
}

/// What there is of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayKind {
    /// A backup.
    Covered,
    /// None, though one was due.
    Missing,
    /// None, and none was due by the present schedule.
    NotDue,
    /// None yet: one is being made.
    Making,
    /// None yet: it is due later today.
    Ahead,
    /// No backup is known, and none is known to be missing: the day is before the oldest backup, or the bucket was not read yet.
    Before,
}

/// The last `count` days, the oldest first, today the last.
#[must_use]
pub fn days(status: &Status, schedule: &Schedule, now: DateTime<Utc>, count: u32) -> Vec<Day> {
    let zone = schedule.zone();
    let local = |at: DateTime<Utc>| at.with_timezone(zone).date_naive();
    let today = local(now);
    // Before the first of these, nothing says that there should have been a backup; nor does anything before the bucket was
    // read.
    let known_from = [
        status.backups.last().map(|oldest| oldest.name.at()),
        status.first_due_at,
    ];
    let known_from = known_from.into_iter().flatten().min();
    let known_from = known_from.filter(|_| status.listed_at.is_some());
    let mut backups = status.backups.iter().peekable();
    let mut days = Vec::new();
    for back in 0..count {
        let Some(date) = today.checked_sub_days(Days::new(u64::from(back))) else {
            break;
        };
        // They are sorted, the newest first; one of a later day is from the future and belongs to none.
        while backups
            .next_if(|backup| local(backup.name.at()) > date)
            .is_some()
        {}
        let of_day: Vec<&Backup> =
            std::iter::from_fn(|| backups.next_if(|backup| local(backup.name.at()) == date))
                .collect();
        let kind = if of_day.is_empty() {
            let known_from = known_from.filter(|from| local(*from) <= date);
            match first_due(schedule, zone, date, known_from) {
                Some(due) if due > now => DayKind::Ahead,
                _ if known_from.is_none() => DayKind::Before,
                None => DayKind::NotDue,
                Some(_) if status.running && date == today => DayKind::Making,
                Some(_) => DayKind::Missing,
            }
        } else {
            DayKind::Covered
        };
        days.push(Day {
            date,
            kind,
            backups: of_day.len(),
            size_bytes: of_day.first().map_or(0, |newest| newest.size_bytes),
            delay: of_day
                .iter()
                .map(|backup| backup.delay())
                .filter(|delay| *delay <= Duration::from_secs(86_400))
                .max(),
        });
    }
    days.reverse();
    days
}

/// The first due time of a day in that zone, at that time or later.
fn first_due(
    schedule: &Schedule,
    zone: &Zone,
    date: NaiveDate,
    from: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let begins = midnight(zone, date)?;
    let ends = date.succ_opt().and_then(|next| midnight(zone, next))?;
    let from = from.map_or(begins, |from| from.max(begins));
    let due = schedule.next_after(from - TimeDelta::seconds(1));
    (due < ends).then_some(due)
}

/// When a day begins. This is not at 0:00 where the clocks are put forward at midnight.
fn midnight(zone: &Zone, date: NaiveDate) -> Option<DateTime<Utc>> {
    let mut times =
        (0..24).flat_map(|hour| [0, 30].map(|minute| date.and_hms_opt(hour, minute, 0)));
    times.find_map(|time| Some(zone.from_local_datetime(&time?).earliest()?.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Prefix;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn backup(name_at: &str, seconds: i64) -> Backup {
        Backup {
            name: Prefix::new(None, "b_").name_at(at(name_at)),
            finished_at: at(name_at) + TimeDelta::seconds(seconds),
            aged_from: at(name_at) + TimeDelta::seconds(seconds),
            size_bytes: 500,
        }
    }

    fn schedule(expression: &str, zone: &str) -> Schedule {
        Schedule::parse(
            expression,
            zone.parse().unwrap(),
            at("2026-01-01T00:00:00Z"),
        )
        .unwrap()
    }

    fn status(backups: Vec<Backup>, first_due_at: &str) -> Status {
        let mut status = Status {
            first_due_at: Some(at(first_due_at)),
            ..Status::default()
        };
        status.list(backups, at(first_due_at));
        status
    }

    fn kinds(days: &[Day]) -> Vec<DayKind> {
        days.iter().map(|day| day.kind).collect()
    }

    use DayKind::{Ahead, Before, Covered, Making, Missing, NotDue};

    #[test]
    fn a_day_with_a_due_time_and_no_backup_is_missing_and_one_before_the_oldest_is_not() {
        let daily = schedule("0 3 * * *", "UTC");
        let mut status = status(
            vec![
                backup("2026-01-22T03:00:00Z", 60),
                // By hand, a second one of that day, and one that came back from another bucket.
                backup("2026-01-24T12:00:00Z", 30),
                backup("2026-01-24T03:00:00Z", 90),
                backup("2026-01-25T03:00:00Z", 90_000),
            ],
            "2026-01-26T03:00:00Z",
        );
        let seen = days(&status, &daily, at("2026-01-26T02:00:00Z"), 7);
        assert_eq!(
            kinds(&seen),
            [Before, Before, Covered, Missing, Covered, Covered, Ahead]
        );
        assert_eq!(seen[4].backups, 2);
        assert_eq!(seen[4].delay, Some(Duration::from_secs(90)));
        assert_eq!(seen[5].delay, None);
        assert_eq!(seen[0].date.to_string(), "2026-01-20");
        // Its due time passes: first it is being made, and if it is not there then, it is missing.
        status.running = true;
        let seen = days(&status, &daily, at("2026-01-26T03:00:01Z"), 1);
        assert_eq!(kinds(&seen), [Making]);
        status.running = false;
        let seen = days(&status, &daily, at("2026-01-26T03:10:00Z"), 1);
        assert_eq!(kinds(&seen), [Missing]);
    }

    #[test]
    fn a_new_service_misses_nothing_before_its_first_due_time() {
        let daily = schedule("0 3 * * *", "UTC");
        let empty = status(Vec::new(), "2026-01-26T03:00:00Z");
        let seen = days(&empty, &daily, at("2026-01-25T12:00:00Z"), 3);
        assert_eq!(kinds(&seen), [Before, Before, Before]);
        let seen = days(&empty, &daily, at("2026-01-28T12:00:00Z"), 4);
        assert_eq!(kinds(&seen), [Before, Missing, Missing, Missing]);
        // With an hourly schedule, not even before its first hour.
        let hourly = schedule("0 * * * *", "UTC");
        let empty = status(Vec::new(), "2026-01-26T13:00:00Z");
        for (time, expected) in [("12:45", Ahead), ("13:05", Missing)] {
            let now = at(&format!("2026-01-26T{time}:00Z"));
            assert_eq!(kinds(&days(&empty, &hourly, now, 1)), [expected]);
        }
        // And before it is known when that is, nothing is said of any day.
        let unread = Status {
            first_due_at: empty.first_due_at,
            ..Status::default()
        };
        let seen = days(&unread, &hourly, at("2026-01-26T20:05:00Z"), 2);
        assert_eq!(kinds(&seen), [Before, Before]);
        let seen = days(&unread, &daily, at("2026-01-28T12:00:00Z"), 2);
        assert_eq!(kinds(&seen), [Before, Before]);
        let seen = days(&Status::default(), &daily, at("2026-01-28T12:00:00Z"), 2);
        assert_eq!(kinds(&seen), [Before, Before]);
    }

    #[test]
    fn days_without_a_due_time_are_not_missing() {
        let weekly = schedule("0 3 * * 0", "UTC");
        let status = status(
            vec![backup("2026-01-18T03:00:00Z", 60)],
            "2026-01-25T03:00:00Z",
        );
        let seen = days(&status, &weekly, at("2026-01-26T12:00:00Z"), 9);
        assert_eq!(
            kinds(&seen),
            [
                Covered, NotDue, NotDue, NotDue, NotDue, NotDue, NotDue, Missing, NotDue
            ]
        );
    }

    #[test]
    fn a_day_is_one_of_the_schedules_zone_also_where_midnight_is_left_out() {
        let backups = vec![backup("2026-01-25T23:30:00Z", 60)];
        let status = status(backups, "2026-01-25T23:30:00Z");
        let berlin = schedule("30 0 * * *", "Europe/Berlin");
        let seen = days(&status, &berlin, at("2026-01-26T12:00:00Z"), 2);
        assert_eq!(kinds(&seen), [Before, Covered]);
        // Lebanon puts the clock forward at midnight: 2026-03-29 begins at 01:00.
        let date = NaiveDate::from_ymd_opt(2026, 3, 29).unwrap();
        assert_eq!(
            midnight(&"Asia/Beirut".parse().unwrap(), date),
            Some(at("2026-03-28T22:00:00Z"))
        );
        let beirut = schedule("0 3 * * *", "Asia/Beirut");
        assert_eq!(
            first_due(&beirut, beirut.zone(), date, None),
            Some(at("2026-03-29T00:00:00Z"))
        );
    }

    #[test]
    fn a_backup_from_the_future_hides_none_of_today() {
        let daily = schedule("0 3 * * *", "UTC");
        let status = status(
            vec![
                backup("2026-02-01T03:00:00Z", 9),
                backup("2026-01-26T03:00:00Z", 9),
            ],
            "2026-01-26T03:00:00Z",
        );
        let seen = days(&status, &daily, at("2026-01-26T12:00:00Z"), 1);
        assert_eq!(kinds(&seen), [Covered]);
    }
}
