//! A list of what a bucket holds, of limited length (pure).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::backup::CLOCKS_APART;

/// The most backups that are kept in memory, the newest ones. This is one an hour for eleven years, in ten megabytes.
pub(super) const MOST_BACKUPS: usize = 100_000;

/// The most of those whose names have a time in the future.
pub(super) const MOST_AHEAD_KEPT: usize = 1000;

/// The contents of a bucket, as far as they are kept in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing<T> {
    /// The newest first.
    pub kept: Vec<T>,
    /// How many older ones were left out.
    pub left_out: usize,
    /// The time of the store's clock, if its answers hold it.
    pub store_time: Option<DateTime<Utc>>,
    /// The times of the backups that have the roles and settings of the server beside them; if there are too many, the newest.
    pub globals: BTreeSet<DateTime<Utc>>,
}

impl<T> Listing<T> {
    /// Whether the store's clock is so far ahead of ours that no age is known, because every backup would look younger than it
    /// is.
    #[must_use]
    pub fn store_is_ahead(&self, now: DateTime<Utc>) -> bool {
        self.store_time
            .is_some_and(|time| time.signed_duration_since(now) > CLOCKS_APART)
    }

    /// Logs that there are more.
    pub fn log_left_out(&self) {
        if self.left_out > 0 {
            tracing::warn!(
                kept = self.kept.len(),
                left_out = self.left_out,
                hint = "older ones are neither listed nor counted; delete some, best by a lifecycle rule of the bucket",
                "more backups than can be kept in mind"
            );
        }
    }
}

/// Keeps the newest of many things, up to a limit.
#[derive(Debug)]
pub(super) struct Newest<T> {
    most: usize,
    held: Vec<(DateTime<Utc>, T)>,
    left_out: usize,
}

impl<T> Newest<T> {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::new(),
            left_out: 0,
        }
    }

    pub(super) fn add(&mut self, at: DateTime<Utc>, thing: T) {
        self.held.push((at, thing));
        if self.held.len() >= self.most.saturating_mul(2) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.held.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let more = self.held.len().saturating_sub(self.most);
        self.left_out = self.left_out.saturating_add(more);
        self.held.truncate(self.most);
    }

    pub(super) fn finish(mut self) -> Listing<T> {
        self.settle();
        self.held.shrink_to_fit();
        Listing {
            kept: self.held.into_iter().map(|(_, thing)| thing).collect(),
            left_out: self.left_out,
            store_time: None,
            globals: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;

    #[test]
    fn a_store_whose_clock_is_minutes_ahead_makes_every_age_doubtful() {
        let now = Utc.with_ymd_and_hms(2026, 1, 25, 3, 0, 0).unwrap();
        for (minutes, ahead) in [
            (-600, false),
            (0, false),
            (5, false),
            (6, true),
            (3000, true),
        ] {
            let listing = Listing::<u8> {
                store_time: Some(now + TimeDelta::minutes(minutes)),
                ..Listing::default()
            };
            assert_eq!(listing.store_is_ahead(now), ahead, "{minutes}");
        }
        assert!(!Listing::<u8>::default().store_is_ahead(now));
    }

    #[test]
    fn of_many_the_newest_are_kept_and_the_others_counted() {
        let mut newest = Newest::new(3);
        for day in [5, 1, 9, 3, 7, 2, 8, 4, 6, 0] {
            newest.add(DateTime::UNIX_EPOCH + TimeDelta::days(day), day);
            assert!(newest.held.len() < 6);
        }
        let listing = newest.finish();
        assert_eq!((listing.kept, listing.left_out), (vec![9, 8, 7], 7));
    }
}
