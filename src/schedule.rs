//! When something is due. [`Schedule`] is pure: it computes the next due time from an expression, a time zone and a time.
//!
//! `alarm::Alarm` waits for due times, and `bells::Bells` wakes it. Neither of them decides what is due.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

pub(crate) mod alarm;
pub(crate) mod bells;
mod dialects;
mod fields;
pub mod zone;

use crate::format::text::{shortened, visible};
use crate::schedule::fields::Field;
use crate::schedule::zone::Zone;

/// How many characters of a wrong expression an error repeats.
const MOST_SHOWN: usize = 24;

/// How far ahead to search. The next 29 February can be eight years away, or forty if the weekday is fixed as well. What is
/// further away never comes.
const HORIZON: TimeDelta = TimeDelta::days(50 * 366);

/// The nicknames that Railway's template accepted through npm's `cron`, and the two common ones that it lacked.
const NICKNAMES: [(&str, &str); 11] = [
    ("@secondly", "* * * * * *"),
    ("@minutely", "* * * * *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@weekdays", "0 0 * * 1-5"),
    ("@weekends", "0 0 * * 0,6"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A cron expression in a time zone.
///
/// Daylight saving time is treated as by Debian's cron. A job at a fixed time (neither its minute nor its hour begins with
/// `*`) runs once, right after the gap, if its time falls into the hour that is skipped in spring. If its time falls into
/// the hour that is repeated in autumn, it runs once, the first time. Any other job follows the wall clock: it leaves out
/// what the clock skips, and runs again when the clock repeats.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    zone: Zone,
    /// It is only asked about readings of the wall clock that are passed as UTC, which has neither gaps nor repeated hours.
    /// Its own rules for those are not cron's: with them, hundreds of the cases in `tests/schedule.rs` fail.
    cron: Cron,
    fixed_time: bool,
}

/// Why an expression is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is empty.
    #[error("empty")]
    Empty,
    /// It has neither five nor six fields.
    #[error("expected five fields, or six with leading seconds, found {0}")]
    FieldCount(usize),
    /// It has seven fields. Some programs read the last one as a year.
    #[error("expected five fields, or six with leading seconds, found 7: a year is not supported")]
    Year,
    /// It is a word with `@` that is not a known nickname.
    #[error("unknown nickname, expected one of {}", NICKNAMES.map(|(nickname, _)| nickname).join(" "))]
    Nickname,
    /// One of its fields can't be read.
    #[error("{field} {text}: {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The field as it was written, cut to a few characters.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is written in another program's form. The text shows the form that is right here.
    #[error("{0}")]
    Foreign(String),
    /// Every field is valid, but there is no such day, for example 30 February.
    #[error("never fires: no day in the next fifty years matches")]
    NeverFires,
}

impl Schedule {
    /// Reads an expression: five fields, six with leading seconds, or a nickname.
    ///
    /// # Errors
    ///
    /// If it can't be read, or has no due time within fifty years after `now`.
    pub fn parse(expression: &str, zone: Zone, now: DateTime<Utc>) -> Result<Self, ScheduleError> {
        let expression = expression.trim();
        let fields = dialects::fields(expression)?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = match *fields.as_slice() {
            [] => return Err(ScheduleError::Empty),
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => {
                [second, minute, hour, day, month, weekday]
            }
            _ => return Err(ScheduleError::FieldCount(fields.len())),
        };
        let [second, minute, hour, day, month, weekday] = [
            Field::Second.normalise(second)?,
            Field::Minute.normalise(minute)?,
            Field::Hour.normalise(hour)?,
            Field::DayOfMonth.normalise(day)?,
            Field::Month.normalise(month)?,
            Field::DayOfWeek.normalise(weekday)?,
        ];
        let any_day = day.starts_with('*') || weekday.starts_with('*');
        let schedule = Self {
            expression: expression.to_owned(),
            zone,
            fixed_time: !minute.starts_with('*') && !hour.starts_with('*'),
            cron: CronParser::builder()
                .seconds(Seconds::Required)
                .year(Year::Disallowed)
                .dom_and_dow(any_day)
                .build()
                .parse(&[second, minute, hour, day, month, weekday].join(" "))
                .map_err(|error| ScheduleError::Field {
                    field: "expression",
                    text: shortened(&visible(expression), MOST_SHOWN),
                    problem: error.to_string(),
                })?,
        };
        match schedule.find_after(now) {
            Some(due) if due - now <= HORIZON => Ok(schedule),
            _ => Err(ScheduleError::NeverFires),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone that its fields refer to.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first due time after `now`, never `now` itself.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        // `parse` made sure that it is due at some time, and the calendar repeats every 400 years. So a next due time is
        // missing only at the end of the range of times.
        self.find_after(now).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The latest due time that is not after `now`, if there was one in the last fifty years.
    ///
    /// It is found by bisection over [`Self::next_after`], so the two can't disagree about a gap or a repeated hour.
    #[must_use]
    pub fn last_at_or_before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Croner says where to begin. The additional days allow for the offset from UTC and for its changes.
        let mut reading = now.checked_sub_days(Days::new(2))?;
        let mut due = loop {
            reading = self
                .cron
                .find_previous_occurrence(&reading.trunc_subsecs(0), false)
                .ok()?;
            if now - reading > HORIZON {
                return None;
            }
            let due = self.find_after(reading.checked_sub_days(Days::new(2))?)?;
            if due <= now {
                break due;
            }
        };
        let mut late = now;
        while let Some(next) = self.find_after(due).filter(|next| *next <= now) {
            due = next;
            let middle = due + (late - due) / 2;
            match self.find_after(middle) {
                Some(after) if after <= now => due = after,
                _ => late = middle,
            }
        }
        Some(due)
    }

    /// The first `count` due times after `now`.
    #[must_use]
    pub fn upcoming(&self, now: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
        self.due_after(now).take(count).collect()
    }

    /// The longest time between two successive due times, changes of the clock included.
    ///
    /// It looks at the next 1500 due times or twelve years. If these cover less than 400 days, it goes on until the 400 days
    /// are over, looking only for gaps of more than an hour.
    #[must_use]
    pub fn longest_gap(&self, now: DateTime<Utc>) -> Duration {
        let near = self.near(now);
        let longest = gaps(&near).max().unwrap_or(HORIZON);
        let Some(&last) = near.last() else {
            return std_duration(longest);
        };
        let end = now + TimeDelta::days(400);
        let (mut at, mut found) = (last, longest.max(TimeDelta::hours(1)));
        while at < end {
            // No gap within `at..=hop` can be longer than `found`, so only the gap after its last due time matters.
            let hop = at + found;
            let middle = self.next_after(at + found / 2);
            let from = if middle <= hop {
                middle
            } else {
                self.last_at_or_before(hop).map_or(at, |due| due.max(at))
            };
            let next = self.next_after(from);
            found = found.max(next - from);
            at = if from > at { from } else { next };
        }
        std_duration(if found > TimeDelta::hours(1) {
            found
        } else {
            longest
        })
    }

    /// The shortest time between two successive due times, among the next 1500 or twelve years.
    #[must_use]
    pub fn shortest_gap(&self, now: DateTime<Utc>) -> Duration {
        std_duration(gaps(&self.near(now)).min().unwrap_or(HORIZON))
    }

    fn near(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let end = now + TimeDelta::days(12 * 366);
        let mut near: Vec<_> = self
            .due_after(now)
            .take(1500)
            .take_while(|due| *due <= end)
            .collect();
        if near.len() < 2 {
            near = self.upcoming(now, 2);
        }
        near
    }

    fn due_after(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + use<'_> {
        std::iter::successors(self.find_after(now), |due| self.find_after(*due))
    }

    fn find_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.fixed_time {
            self.fixed_after(now)
        } else {
            self.interval_after(now)
        }
    }

    /// Follows the readings of the wall clock. A reading that occurs twice counts at its first instant, and one that is
    /// skipped counts right after the gap.
    fn fixed_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut reading = now.naive_utc().checked_add_offset(self.offset_at(now))?;
        loop {
            reading = self.match_after(reading)?;
            let due = self.instant_of(reading)?;
            // The wall clock may be repeating an hour whose readings were all due the first time.
            if due > now {
                return Some(due);
            }
        }
    }

    /// Follows real time. While the offset from UTC does not change, the wall clock and real time advance together.
    fn interval_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut since = now;
        let mut offset = self.offset_at(now);
        let mut reading = now.naive_utc().checked_add_offset(offset)?;
        loop {
            let due = self
                .match_after(reading)?
                .checked_sub_offset(offset)?
                .and_utc();
            let Some(change) = self.offset_change(since, due) else {
                return Some(due);
            };
            since = change;
            offset = self.offset_at(change);
            // The search begins one second earlier, so that the first reading under the new offset can match.
            reading = change.naive_utc().checked_add_offset(offset)? - TimeDelta::seconds(1);
        }
    }

    fn match_after(&self, reading: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self
            .cron
            .find_next_occurrence(&reading.and_utc().trunc_subsecs(0), false);
        found.ok().map(|at| at.naive_utc())
    }

    fn instant_of(&self, reading: NaiveDateTime) -> Option<DateTime<Utc>> {
        if let Some(instant) = self.zone.from_local_datetime(&reading).earliest() {
            return Some(instant.to_utc());
        }
        // The reading is in a gap. A day before and a day after it are outside the gap, because no zone has skipped more
        // than a day.
        let (before, after) = (reading - TimeDelta::days(1), reading + TimeDelta::days(1));
        let before = self.zone.from_local_datetime(&before).earliest()?.to_utc();
        let after = self.zone.from_local_datetime(&after).earliest()?.to_utc();
        self.offset_change(before, after)
    }

    /// The first instant in `(since, until]` whose offset from UTC differs from that at `since`.
    fn offset_change(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = self.offset_at(since);
        // Successive changes have always been more than a day apart.
        let mut early = since.trunc_subsecs(0);
        let mut late = early;
        while self.offset_at(late) == offset {
            if late >= until {
                return None;
            }
            early = late;
            late = until.min(late + TimeDelta::days(1));
        }
        while late - early > TimeDelta::seconds(1) {
            let middle = (early + (late - early) / 2).trunc_subsecs(0);
            if self.offset_at(middle) == offset {
                early = middle;
            } else {
                late = middle;
            }
        }
        Some(late)
    }

    fn offset_at(&self, at: DateTime<Utc>) -> chrono::FixedOffset {
        self.zone.offset_from_utc_datetime(&at.naive_utc()).fix()
    }
}

fn gaps(due: &[DateTime<Utc>]) -> impl Iterator<Item = TimeDelta> {
    due.iter()
        .zip(due.iter().skip(1))
        .map(|(due, next)| *next - *due)
}

fn std_duration(delta: TimeDelta) -> Duration {
    delta.to_std().unwrap_or_default()
}

/// Where the time comes from. Only `main` uses the real clock.
pub type Clock = fn() -> DateTime<Utc>;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn at(text: &str) -> DateTime<Utc> {
        let text = if text.len() == 16 {
            format!("{text}:00")
        } else {
            text.to_owned()
        };
        NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f")
            .unwrap()
            .and_utc()
    }

    pub(super) fn schedule(expression: &str, zone: &str) -> Schedule {
        Schedule::parse(expression, zone.parse().unwrap(), at("2026-11-24 02:15:30")).unwrap()
    }

    #[test]
    fn reads_what_cron_reads() {
        for (expression, expected) in [
            (
                "0 3 * * *",
                ["2026-11-24 03", "2026-11-25 03", "2026-11-26 03"],
            ),
            (
                "*/5 * * * *",
                ["2026-11-24 02:20", "2026-11-24 02:25", "2026-11-24 02:30"],
            ),
            (
                "15,45 30 3 * * *",
                [
                    "2026-11-24 03:30:15",
                    "2026-11-24 03:30:45",
                    "2026-11-25 03:30:15",
                ],
            ),
            (
                "  0\t3 * * SUN ",
                ["2026-11-29 03", "2026-12-06 03", "2026-12-13 03"],
            ),
            (
                "0 3 * * 0",
                ["2026-11-29 03", "2026-12-06 03", "2026-12-13 03"],
            ),
            (
                "0 3 * * 7",
                ["2026-11-29 03", "2026-12-06 03", "2026-12-13 03"],
            ),
            (
                "0 3 * * fri-sun",
                ["2026-11-27 03", "2026-11-28 03", "2026-11-29 03"],
            ),
            (
                "0 3 * * Mon-Fri/2",
                ["2026-11-25 03", "2026-11-27 03", "2026-11-30 03"],
            ),
            (
                "0 3 1 jan,JUL *",
                ["2027-01-01 03", "2027-07-01 03", "2028-01-01 03"],
            ),
            // Either of the two day fields may match, unless one of them begins with a star.
            (
                "0 3 13 * 5",
                ["2026-11-27 03", "2026-12-04 03", "2026-12-11 03"],
            ),
            (
                "0 3 */2 * 1",
                ["2026-12-07 03", "2026-12-21 03", "2027-01-11 03"],
            ),
            (
                "0 3 ? * 5",
                ["2026-11-27 03", "2026-12-04 03", "2026-12-11 03"],
            ),
            (
                "0 3 L * *",
                ["2026-11-30 03", "2026-12-31 03", "2027-01-31 03"],
            ),
            (
                "0 3 15W * *",
                ["2026-12-15 03", "2027-01-15 03", "2027-02-15 03"],
            ),
            (
                "0 3 * * 5#2",
                ["2026-12-11 03", "2027-01-08 03", "2027-02-12 03"],
            ),
            (
                "0 3 * * sunL",
                ["2026-11-29 03", "2026-12-27 03", "2027-01-31 03"],
            ),
            (
                "0 3 * * 7L",
                ["2026-11-29 03", "2026-12-27 03", "2027-01-31 03"],
            ),
            (
                "0/20,* 3 * * *",
                ["2026-11-24 03", "2026-11-24 03:01", "2026-11-24 03:02"],
            ),
            (
                "0 3 29 2 *",
                ["2028-02-29 03", "2032-02-29 03", "2036-02-29 03"],
            ),
            (
                "@secondly",
                [
                    "2026-11-24 02:15:31",
                    "2026-11-24 02:15:32",
                    "2026-11-24 02:15:33",
                ],
            ),
            (
                "@minutely",
                ["2026-11-24 02:16", "2026-11-24 02:17", "2026-11-24 02:18"],
            ),
            (
                "@Hourly",
                ["2026-11-24 03", "2026-11-24 04", "2026-11-24 05"],
            ),
            (
                "@daily",
                ["2026-11-25 00", "2026-11-26 00", "2026-11-27 00"],
            ),
            (
                "@MIDNIGHT",
                ["2026-11-25 00", "2026-11-26 00", "2026-11-27 00"],
            ),
            (
                "@weekly",
                ["2026-11-29 00", "2026-12-06 00", "2026-12-13 00"],
            ),
            (
                "@weekdays",
                ["2026-11-25 00", "2026-11-26 00", "2026-11-27 00"],
            ),
            (
                "@weekends",
                ["2026-11-28 00", "2026-11-29 00", "2026-12-05 00"],
            ),
            (
                "@monthly",
                ["2026-12-01 00", "2027-01-01 00", "2027-02-01 00"],
            ),
            (
                "@yearly",
                ["2027-01-01 00", "2028-01-01 00", "2029-01-01 00"],
            ),
            (
                "@annually",
                ["2027-01-01 00", "2028-01-01 00", "2029-01-01 00"],
            ),
        ] {
            let expected = expected.map(|due| {
                if due.len() == 13 {
                    format!("{due}:00")
                } else {
                    due.to_owned()
                }
            });
            let due = schedule(expression, "UTC").upcoming(at("2026-11-24 02:15:30"), 3);
            for (due, expected) in due.iter().zip(expected) {
                assert_eq!(*due, at(&expected), "{expression}");
            }
            assert_eq!(due.len(), 3);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (expression, expected) in [
            ("", "empty"),
            (" \t", "empty"),
            (
                "0 3",
                "expected five fields, or six with leading seconds, found 2",
            ),
            (
                "postgres://u:secret@h/d",
                "expected five fields, or six with leading seconds, found 1",
            ),
            (
                "0 0 3 * * * 2027",
                "expected five fields, or six with leading seconds, found 7: a year is not supported",
            ),
            (
                "@reboot",
                "@reboot is no time; for a backup at each start set RUN_ON_STARTUP=true",
            ),
            (
                "*/90 * * * *",
                "minute */90: a step of 90 goes beyond the field, which has 60 values; list the times, or put the step into the next larger field (0 */2 * * * is every two hours)",
            ),
            (
                "0 */25 * * *",
                "hour */25: a step of 25 goes beyond the field, which has 24 values; list the times, or put the step into the next larger field (0 */2 * * * is every two hours)",
            ),
            (
                "@noon",
                "unknown nickname, expected one of @secondly @minutely @hourly @daily @midnight @weekly @weekdays @weekends @monthly @yearly @annually",
            ),
            ("0 25 * * *", "hour 25: 25 is not between 0 and 23"),
            ("60 3 * * *", "minute 60: 60 is not between 0 and 59"),
            ("61 0 3 * * *", "second 61: 61 is not between 0 and 59"),
            ("0 3 0 * *", "day of month 0: 0 is not between 1 and 31"),
            ("0 3 * 13 *", "month 13: 13 is not between 1 and 12"),
            ("0 3 * * 8", "day of week 8: 8 is not between 0 and 7"),
            ("SUN 3 * * *", "minute SUN: not a number"),
            (
                "0 3 * * Sunday",
                "day of week Sunday: neither a number nor a name",
            ),
            ("0 22-2 * * *", "hour 22-2: the range runs backwards"),
            ("*/0 * * * *", "minute */0: a step is a number above 0"),
            ("*/x * * * *", "minute */x: a step is a number above 0"),
            ("0 3, * * *", "hour 3,: a value is missing"),
            ("0 -3 * * *", "hour -3: a value is missing"),
            ("0 +3 * * *", "hour +3: not a number"),
            ("\"0 3 * * *\"", "minute \"0: not a number"),
            ("0 3 * * 5#6", "day of week 5#6: # is followed by 1 to 5"),
            ("0 3 LW * *", "day of month LW: not a number"),
            ("0 3 * * L", "day of week L: a value is missing"),
            ("0 3 * * ٣", "day of week ٣: neither a number nor a name"),
            (
                "0 99999999999999999999999999999999 * * *",
                "hour 99999999999999999999999…: not a number",
            ),
            (
                "0 0 30 2 *",
                "never fires: no day in the next fifty years matches",
            ),
            (
                "0 0 31 4,6,9,11 *",
                "never fires: no day in the next fifty years matches",
            ),
        ] {
            let error =
                Schedule::parse(expression, Zone::utc(), at("2026-11-24 02:15")).unwrap_err();
            assert_eq!(error.to_string(), expected, "{expression}");
        }
        // These times are always within the hour that Berlin skips.
        let error = Schedule::parse(
            "*/10 2 * 3 0L",
            "Europe/Berlin".parse().unwrap(),
            at("2026-11-24 02:15"),
        )
        .unwrap_err();
        assert_eq!(error, ScheduleError::NeverFires);
    }

    #[test]
    fn daylight_saving_is_crons() {
        for (expression, zone, now, expected) in [
            // 02:00 to 03:00 does not exist: a job at a fixed time runs once, right after it.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28 12:00",
                ["2026-03-29 01", "2026-03-30 00:30"],
            ),
            (
                "0,30 2 * * *",
                "Europe/Berlin",
                "2026-03-28 12:00",
                ["2026-03-29 01", "2026-03-30 00"],
            ),
            (
                "0 2,3 * * *",
                "Europe/Berlin",
                "2026-03-28 12:00",
                ["2026-03-29 01", "2026-03-30 00"],
            ),
            (
                "15 30 2 * * *",
                "Europe/Berlin",
                "2026-03-28 12:00",
                ["2026-03-29 01", "2026-03-30 00:30:15"],
            ),
            (
                "*/30 2 * * *",
                "Europe/Berlin",
                "2026-03-28 12:00",
                ["2026-03-30 00", "2026-03-30 00:30"],
            ),
            (
                "30 * * * *",
                "Europe/Berlin",
                "2026-03-29 00:00",
                ["2026-03-29 00:30", "2026-03-29 01:30"],
            ),
            // 02:00 to 03:00 comes twice: a job at a fixed time runs once, the first time; an interval runs both times.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-25 00:00",
                ["2026-10-25 00:30", "2026-10-26 01:30"],
            ),
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-25 01:10",
                ["2026-10-26 01:30", "2026-10-27 01:30"],
            ),
            (
                "*/30 2 * * *",
                "Europe/Berlin",
                "2026-10-25 00:15",
                ["2026-10-25 00:30", "2026-10-25 01"],
            ),
            (
                "30 * * * *",
                "Europe/Berlin",
                "2026-10-25 00:00",
                ["2026-10-25 00:30", "2026-10-25 01:30"],
            ),
            // Here the clock changes by half an hour: 02:00 to 02:30 does not exist, and 01:30 to 02:00 comes twice.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03 15:00",
                ["2026-10-03 15:30", "2026-10-04 15:15"],
            ),
            (
                "*/15 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-04 14:45",
                ["2026-04-04 15", "2026-04-04 15:15"],
            ),
            // Midnight does not exist.
            (
                "0 0 * * *",
                "Africa/Cairo",
                "2026-04-23 12:00",
                ["2026-04-23 22", "2026-04-24 21"],
            ),
            // A whole day did not exist.
            (
                "0 12 30 12 *",
                "Pacific/Apia",
                "2011-01-01 00:00",
                ["2011-12-30 10", "2012-12-29 22"],
            ),
        ] {
            let due = schedule(expression, zone).upcoming(at(now), 2);
            let expected = expected.map(|due| {
                at(&if due.len() == 13 {
                    format!("{due}:00")
                } else {
                    due.to_owned()
                })
            });
            assert_eq!(due, expected, "{expression} in {zone} after {now}");
        }
    }

    #[test]
    fn no_time_of_day_breaks_the_search() {
        for zone in [
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Antarctica/Troll",
        ] {
            for expression in ["30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "0-59 1-3 * * *"] {
                let schedule = schedule(expression, zone);
                for start in [
                    "2026-03-28 20:00",
                    "2026-10-03 10:00",
                    "2026-10-24 20:00",
                    "2011-12-29 09:00",
                ] {
                    for minutes in (0..1800).step_by(11) {
                        let now =
                            at(start) + TimeDelta::minutes(minutes) + TimeDelta::milliseconds(999);
                        let due = schedule.next_after(now);
                        assert!(due > now, "{expression} {zone} {now}");
                        let last = schedule.last_at_or_before(now);
                        assert!(
                            last.is_none_or(|last| last <= now && schedule.next_after(last) == due),
                            "{expression} {zone} {now}"
                        );
                    }
                }
                assert_eq!(
                    schedule.next_after(DateTime::<Utc>::MAX_UTC),
                    DateTime::<Utc>::MAX_UTC
                );
                assert_eq!(schedule.last_at_or_before(DateTime::<Utc>::MIN_UTC), None);
            }
        }
    }

    #[test]
    fn gaps_take_the_calendar_into_account() {
        let (hour, day) = (3600, 86400);
        for (expression, zone, longest, shortest) in [
            ("0 3 * * *", "UTC", day, day),
            ("0 3 * * *", "Europe/Berlin", 25 * hour, 23 * hour),
            ("*/15 * * * *", "UTC", 900, 900),
            ("* * * * *", "UTC", 60, 60),
            ("@secondly", "UTC", 1, 1),
            ("0 * * * *", "Europe/Berlin", hour, hour),
            ("0 3 * * 1-5", "UTC", 3 * day, day),
            ("0 3,15 * * *", "UTC", 12 * hour, 12 * hour),
            ("0 3 1 * *", "UTC", 31 * day, 28 * day),
            ("0 3 1 1 *", "UTC", 366 * day, 365 * day),
            ("* 9-17 * * 1-5", "UTC", 63 * hour + 60, 60),
            ("* * 9-17 * * 1-5", "UTC", 63 * hour + 1, 1),
            ("* * * 1-11 *", "UTC", 31 * day + 60, 60),
            ("0 0 29 2 *", "UTC", 1461 * day, 1461 * day),
        ] {
            let (schedule, now) = (schedule(expression, zone), at("2026-11-24 02:15"));
            assert_eq!(
                schedule.longest_gap(now).as_secs(),
                u64::try_from(longest).unwrap(),
                "longest of {expression}"
            );
            assert_eq!(
                schedule.shortest_gap(now).as_secs(),
                u64::try_from(shortest).unwrap(),
                "shortest of {expression}"
            );
        }
    }
}
