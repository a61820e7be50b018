//! A backup in the bucket: its time, its age, and whether both can be true (pure).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::name::BackupName;

/// The smallest gzip file has 20 bytes and holds nothing. A smaller object is not a backup of ours.
const LEAST_BYTES: u64 = 20;

/// How far the time in a name may be ahead of the clock, or of the time at which the object was stored. A store refuses
/// requests if the clock is off by more than fifteen minutes; a day leaves room for a store that is less strict.
const MOST_AHEAD: TimeDelta = TimeDelta::days(1);

/// How far the store's clock may be ahead of this one. Beyond that, the age of its objects counts as unknown.
pub(super) const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// How long after the time in its name a backup may be stored, besides `BACKUP_TIMEOUT`: the waits between the attempts.
const WAITS: Duration = Duration::from_secs(3600);

/// A backup that is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its key.
    pub name: BackupName,
    /// When it became visible.
    pub finished_at: DateTime<Utc>,
    /// The time from which its age is counted.
    pub aged_from: DateTime<Utc>,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl Backup {
    /// A backup that became visible at that time. Its age is counted from then, unless a run with this `timeout`, begun at the
    /// time in its name, must have ended before. In that case somebody copied the backup, or a missed due time was made up for
    /// much later, and its age is counted from the time in its name.
    #[must_use]
    pub fn new(
        name: BackupName,
        finished_at: DateTime<Utc>,
        size_bytes: u64,
        timeout: Duration,
    ) -> Self {
        let late = finished_at.signed_duration_since(name.at).to_std();
        let by_its_name = late.is_ok_and(|late| late > timeout.saturating_add(WAITS));
        Self {
            aged_from: if by_its_name { name.at } else { finished_at },
            name,
            finished_at,
            size_bytes,
        }
    }

    /// How old it is. `None` if it was stored in the future by this clock: one of the two clocks is wrong then, and the age is
    /// unknown.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let ahead = self.finished_at.signed_duration_since(now);
        let age = now.signed_duration_since(self.aged_from).to_std();
        (ahead <= CLOCKS_APART).then(|| age.unwrap_or_default())
    }

    /// Whether the time in its name can't be true: it is ahead of the clock, or of the time at which it was stored. Such a
    /// backup never counts as the newest, whatever it holds, because it would stay the newest for years. It can still be
    /// verified and restored by its name.
    #[must_use]
    pub fn is_dated_ahead(&self, now: DateTime<Utc>) -> bool {
        let ahead_of = |time| self.name.at.signed_duration_since(time) > MOST_AHEAD;
        ahead_of(now) || ahead_of(self.finished_at)
    }

    /// How long after the time in its name it became visible: the run and its waits, including the wait for the service after a
    /// missed due time.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.finished_at
            .signed_duration_since(self.name.at)
            .to_std()
            .unwrap_or_default()
    }

    /// Whether it is large enough to be a backup of ours.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.size_bytes >= LEAST_BYTES
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalog::Prefix;

    pub(in crate::catalog) const TIMEOUT: Duration = Duration::from_secs(6 * 3600);

    pub(in crate::catalog) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(in crate::catalog) fn backup(named: &str, finished: &str, size_bytes: u64) -> Backup {
        let name = Prefix::new(None, "db_").name_at(at(named));
        Backup::new(name, at(finished), size_bytes, TIMEOUT)
    }

    #[test]
    fn a_name_or_a_clock_alone_makes_no_backup_young() {
        let now = at("2026-01-27T12:00:00Z");
        let age = |named: &str, finished: &str| {
            let age = backup(&format!("{named}:00Z"), &format!("{finished}:00Z"), 500).age(now);
            age.map(|age| age.as_secs() / 3600)
        };
        // On time, with a run of seven hours, and with one that ended later than that.
        assert_eq!(age("2026-01-27T03:00", "2026-01-27T03:00"), Some(9));
        assert_eq!(age("2026-01-27T03:00", "2026-01-27T10:00"), Some(2));
        assert_eq!(age("2026-01-27T03:00", "2026-01-27T10:01"), Some(9));
        // The bucket was copied this morning.
        assert_eq!(age("2026-01-20T03:00", "2026-01-27T08:00"), Some(177));
        // The name is a little ahead, and much.
        assert_eq!(age("2026-01-27T13:00", "2026-01-27T10:00"), Some(2));
        assert_eq!(age("9999-12-31T23:59", "2026-01-27T10:00"), Some(2));
        // The store's clock is ahead by five minutes, by more, and by all there is.
        assert_eq!(age("2026-01-27T12:00", "2026-01-27T12:05"), Some(0));
        assert_eq!(age("2026-01-27T12:00", "2026-01-27T12:06"), None);
        assert_eq!(age("2026-01-20T03:00", "9999-12-31T23:59"), None);
        // The beginning of time, as the year 1 or where the store does not say.
        assert!(age("2026-01-27T03:00", "0001-01-01T00:00") > Some(1_000_000));
        // A clock that jumped to its own beginning.
        let long_ago = backup("2026-01-27T03:00:00Z", "2026-01-27T03:00:00Z", 500);
        assert_eq!(long_ago.age(DateTime::UNIX_EPOCH), None);
        assert_eq!(long_ago.age(DateTime::<Utc>::MIN_UTC), None);
        assert!(long_ago.age(DateTime::<Utc>::MAX_UTC).is_some());
        assert!(long_ago.is_dated_ahead(DateTime::<Utc>::MIN_UTC));
    }
}
