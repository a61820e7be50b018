//! The backups in the bucket, by name. The bucket is the only state: there is no index and no sidecar.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

mod backup;
mod listing;
mod name;

pub use backup::Backup;
pub use listing::Listing;
pub use name::{BackupName, Prefix};

use listing::{MOST_AHEAD_KEPT, MOST_BACKUPS, Newest};

use crate::fault::Diagnosed;
use crate::format::utc;
use crate::store::{Object, Store, StoreError, Unfinished};

/// The most unfinished uploads that one sweep aborts; the next sweep aborts more.
const MOST_SWEPT: usize = 1000;

/// The number of failures after which a sweep leaves the remaining uploads to the next one.
const MOST_FAILURES: usize = 3;

/// The age from which a check's upload is certainly not in use any more: the requests of a check are given up within a minute.
const LONGEST_CHECK: Duration = Duration::from_secs(3600);

/// The backups under one prefix of one bucket.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: Store,
    prefix: Prefix,
    timeout: Duration,
}

impl Catalog {
    /// The catalog of a prefix, whose backups are made within `BACKUP_TIMEOUT`.
    #[must_use]
    pub const fn new(store: Store, prefix: Prefix, timeout: Duration) -> Self {
        Self {
            store,
            prefix,
            timeout,
        }
    }

    /// The prefix of its names.
    #[must_use]
    pub const fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The store it lists.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// A backup of it that became visible at that time.
    #[must_use]
    pub fn backup(&self, name: BackupName, finished_at: DateTime<Utc>, size_bytes: u64) -> Backup {
        Backup::new(name, finished_at, size_bytes, self.timeout)
    }

    /// Calls `look` for each object with a backup's name, even if it is too small to be a backup.
    async fn visit(
        &self,
        prefix: &str,
        mut look: impl FnMut(Backup),
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let visit = |object: Object| {
            if let Some(name) = self.prefix.parse(&object.key) {
                look(self.backup(name, object.modified_at, object.size));
            }
        };
        self.store.list(prefix, visit).await
    }

    /// The newest good backup by its name, not counting names with a time in the future; `None` if there is none.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn newest(&self, now: DateTime<Utc>) -> Result<Option<Backup>, StoreError> {
        let mut newest = None;
        self.visit(&self.prefix.0, |backup| {
            newest = newer(newest.take(), backup, now);
        })
        .await?;
        Ok(newest)
    }

    /// Every object with a backup's name, newest first. Those that are too small to be a backup, or have a time in the future,
    /// are included so that people see them.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn list(&self, now: DateTime<Utc>) -> Result<Listing<Backup>, StoreError> {
        // The two kinds are kept apart, so that many of one kind can't hide the other.
        let (mut ahead, mut backups) = (Newest::new(MOST_AHEAD_KEPT), Newest::new(MOST_BACKUPS));
        let mut globals = BTreeSet::new();
        let visit = |object: Object| {
            if let Some(name) = self.prefix.parse(&object.key) {
                let backup = self.backup(name, object.modified_at, object.size);
                let kind = if backup.is_dated_ahead(now) {
                    &mut ahead
                } else {
                    &mut backups
                };
                kind.add(backup.name.at, backup);
            } else if let Some(name) = self.prefix.parse_globals(&object.key) {
                globals.insert(name.at);
                if globals.len() > MOST_BACKUPS {
                    globals.pop_first();
                }
            }
        };
        let store_time = self.store.list(&self.prefix.0, visit).await?;
        let (ahead, backups) = (ahead.finish(), backups.finish());
        let left_out = ahead.left_out.saturating_add(backups.left_out);
        let mut kept = ahead.kept;
        kept.extend(backups.kept);
        kept.sort_by_key(|backup| std::cmp::Reverse(backup.name.at));
        Ok(Listing {
            kept,
            left_out,
            store_time,
            globals,
        })
    }

    /// The archives that Railway's template made under the same prefix, newest first.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn archives(&self) -> Result<Listing<Object>, StoreError> {
        let mut archives = Newest::new(MOST_BACKUPS);
        let visit = |object: Object| {
            if let Some(at) = self.prefix.template_time(&object.key) {
                archives.add(at, object);
            }
        };
        self.store.list(&self.prefix.0, visit).await?;
        Ok(archives.finish())
    }

    /// The backup that an operator means: `latest`, a key, a key without the folder, or the time in it.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn choose(
        &self,
        wanted: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Backup>, StoreError> {
        let folder = self.prefix.0.rsplit_once('/').map(|(folder, _)| folder);
        let key = match folder {
            Some(folder) if !wanted.contains('/') => format!("{folder}/{wanted}"),
            _ => wanted.to_owned(),
        };
        if wanted == "latest" {
            return self.newest(now).await;
        }
        let named = self.prefix.parse(&key);
        match named.or_else(|| self.prefix.parse_time(wanted)) {
            Some(name) => self.look_up(&name).await,
            None => Ok(None),
        }
    }

    /// The good backup with that name; `None` if there is none.
    ///
    /// # Errors
    /// When the bucket could not be asked.
    pub async fn find(&self, name: &BackupName) -> Result<Option<Backup>, StoreError> {
        Ok(self.look_up(name).await?.filter(Backup::is_good))
    }

    async fn look_up(&self, name: &BackupName) -> Result<Option<Backup>, StoreError> {
        let mut found = None;
        self.visit(&name.to_string(), |backup| {
            found = Some(backup).filter(|backup| backup.name == *name);
        })
        .await?;
        Ok(found)
    }

    /// Whether an unfinished upload of ours is certainly not in use any more.
    #[must_use]
    pub fn is_left_behind(&self, upload: &Unfinished, age: Duration, now: DateTime<Utc>) -> bool {
        let (prefix, key) = (&self.prefix, &upload.key);
        let limit = if prefix.parse(key).is_some() || prefix.parse_globals(key).is_some() {
            age
        } else if prefix.is_probe(key) {
            age.min(LONGEST_CHECK)
        } else {
            return false;
        };
        let old = now.signed_duration_since(upload.initiated_at).to_std();
        old.is_ok_and(|old| old > limit)
    }

    /// Aborts our own unfinished uploads that are older than `age`: a run or a check that was killed left them. A younger
    /// upload may belong to another container that is at work. A failure is logged and left for the next time, because a key
    /// that may not list uploads can still make backups.
    pub async fn sweep(&self, age: Duration, now: DateTime<Utc>) {
        let mut left_behind = Vec::new();
        let visit = |upload: Unfinished| {
            if self.is_left_behind(&upload, age, now) && left_behind.len() < MOST_SWEPT {
                left_behind.push(upload);
            }
        };
        // A run waits for this, so it must not take long.
        let store = self.store.hurried();
        // If the list broke off, the uploads seen so far can still be aborted.
        match store.list_uploads(&self.prefix.0, visit).await {
            Ok(()) => {}
            // This is the same at each run, so only the check reports it.
            Err(error) if error.is_not_offered() => {
                tracing::debug!(error = %error, "the store does not list unfinished uploads");
            }
            Err(error) => {
                tracing::warn!(error = %error, hint = error.hint(), "could not look for unfinished uploads");
            }
        }
        let mut failures: usize = 0;
        for upload in left_behind {
            if let Err(error) = store.abort_upload(&upload.key, &upload.id).await {
                tracing::warn!(key = upload.key, upload = upload.id, error = %error, "could not abort upload");
                failures = failures.saturating_add(1);
                if failures >= MOST_FAILURES {
                    break;
                }
                continue;
            }
            let initiated_at = utc(upload.initiated_at);
            tracing::info!(key = upload.key, initiated_at, "unfinished upload aborted");
        }
    }
}

/// The newer of the two, without those that can't be the newest.
fn newer(newest: Option<Backup>, other: Backup, now: DateTime<Utc>) -> Option<Backup> {
    let counts = other.is_good()
        && !other.is_dated_ahead(now)
        && newest
            .as_ref()
            .is_none_or(|newest| newest.name.at < other.name.at);
    if counts { Some(other) } else { newest }
}

#[cfg(test)]
mod tests {
    use super::backup::tests::{at, backup};
    use super::*;

    #[test]
    fn the_newest_is_the_latest_name_that_holds_something_and_is_not_dated_ahead() {
        let now = at("2026-01-27T12:00:00Z");
        let newest = [
            backup("2026-01-25T03:00:00Z", "2026-01-25T03:01:00Z", 500),
            // Within the day that clocks may differ by.
            backup("2026-01-26T03:00:00Z", "2026-01-25T04:00:00Z", 600),
            backup("2026-01-27T03:00:00Z", "2026-01-27T03:01:00Z", 19),
            backup("2026-01-27T04:00:00Z", "2026-01-26T03:59:59Z", 700),
            backup("2026-01-28T12:00:01Z", "2026-01-28T12:00:01Z", 700),
            backup("9999-12-31T23:59:59Z", "2026-01-27T03:01:00Z", 700),
            // The store does not say when it was stored.
            backup("2026-01-27T03:00:01Z", "1970-01-01T00:00:00Z", 700),
        ]
        .into_iter()
        .fold(None, |newest, other| newer(newest, other, now));
        assert_eq!(newest.unwrap().size_bytes, 600);
    }
}
