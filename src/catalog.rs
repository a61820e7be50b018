//! The backups in the bucket, by name. The bucket is the only state: there is no index and no sidecar.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, Utc};

use crate::fault::Diagnosed;
use crate::format::utc;
use crate::store::{Object, Store, StoreError, Unfinished};

/// The time in a name, always UTC.
const TIME_FORMAT: &str = "%Y-%m-%d_%H-%M-%S";

/// The smallest gzip file there is has 20 bytes and holds nothing; a smaller object is no backup of ours.
const LEAST_BYTES: u64 = 20;

/// How far the time in a name may be ahead of the clock, or of the time at which the object was stored. No clock that a store
/// lets write is off by more than fifteen minutes; a day leaves room for a store that is less strict.
const MOST_AHEAD: TimeDelta = TimeDelta::days(1);

/// How far the store's clock may be ahead of this one before nothing is said about the age of what it stored.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// How long after the time in its name a backup may be stored, besides `BACKUP_TIMEOUT`: the waits between the attempts.
const WAITS: Duration = Duration::from_secs(3600);

/// How many backups are kept in mind, the newest of them: one an hour for eleven years, in ten megabytes.
const MOST_BACKUPS: usize = 100_000;

/// How many of those whose names are dated ahead.
const MOST_AHEAD_KEPT: usize = 1000;

/// How many unfinished uploads are aborted in one sweep; the next one aborts more.
const MOST_SWEPT: usize = 1000;

/// After how many failures a sweep leaves the others to the next one.
const MOST_FAILURES: usize = 3;

/// How long no upload of a check is at work: a question or a part of it is given up within a minute.
const LONGEST_CHECK: Duration = Duration::from_secs(3600);

/// What follows the prefix in the key of an upload that a check tries, before 16 random digits.
const PROBE: &str = "check-";

/// What a backup's key ends in.
const DUMP: &str = ".sql.gz";

/// What the key of the roles and settings beside it ends in. The prefix and the time are the same, so that a lifecycle rule for
/// the prefix takes both, and a list shows them beside each other, the backup last. It is no backup's name to any version
/// of this service.
const GLOBALS: &str = ".globals.sql.gz";

/// What every key of this service begins with: `[BUCKET_SUBFOLDER/]BACKUP_FILE_PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Joins the folder and the prefix. A prefix that ends in a letter or digit gets a `-`, as the template's names had.
    #[must_use]
    pub fn new(subfolder: Option<&str>, prefix: &str) -> Self {
        let folder = subfolder
            .map(|folder| folder.trim_matches('/'))
            .filter(|folder| !folder.is_empty());
        let separator = if prefix.ends_with(|c: char| c.is_alphanumeric()) {
            "-"
        } else {
            ""
        };
        let whole = folder.map_or_else(
            || format!("{prefix}{separator}"),
            |folder| format!("{folder}/{prefix}{separator}"),
        );
        Self(whole.into())
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a backup of that time.
    #[must_use]
    pub fn name_at(&self, at: DateTime<Utc>) -> BackupName {
        BackupName {
            prefix: self.clone(),
            at: at.trunc_subsecs(0),
        }
    }

    /// Reads a key back; anything that is not exactly a name of ours is somebody else's.
    #[must_use]
    pub fn parse(&self, key: &str) -> Option<BackupName> {
        let time = key.strip_prefix(&*self.0)?.strip_suffix(DUMP)?;
        let name = self.name_at(
            NaiveDateTime::parse_from_str(time, TIME_FORMAT)
                .ok()?
                .and_utc(),
        );
        (name.to_string() == key).then_some(name)
    }

    /// The backup that an object with roles and settings of the server was made beside, from its key.
    #[must_use]
    pub fn parse_globals(&self, key: &str) -> Option<BackupName> {
        let backup = key.strip_suffix(GLOBALS)?;
        self.parse(&format!("{backup}{DUMP}"))
    }

    /// A key for the upload that a check tries. It is no backup's name, and nobody else's.
    #[must_use]
    pub fn probe(&self) -> String {
        format!("{}{PROBE}{:016x}", self.0, fastrand::u64(..))
    }

    /// Whether it is the key of a check's upload, which is never completed.
    #[must_use]
    pub fn is_probe(&self, key: &str) -> bool {
        const DIGITS: usize = 16;
        let number = key
            .strip_prefix(&*self.0)
            .and_then(|rest| rest.strip_prefix(PROBE));
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        number.is_some_and(|number| number.len() == DIGITS && number.bytes().all(is_digit))
    }

    /// The time of an archive that Railway's template left, from its key; none if the key is none of the template's.
    ///
    /// The template always puts a `-` between `BACKUP_FILE_PREFIX` and the time; here there is one only where the
    /// variable ends in a letter or digit. So `vlvt_backup_` finds `vlvt_backup_-2026-…`, and `backup` finds `backup-2026-…`.
    #[must_use]
    pub fn template_time(&self, key: &str) -> Option<DateTime<Utc>> {
        const FORMAT: &str = "%Y-%m-%dT%H-%M-%S-%3fZ";
        let name = key.strip_prefix(self.as_str())?;
        let time = name
            .strip_prefix('-')
            .unwrap_or(name)
            .strip_suffix(".tar.gz")?;
        let at = NaiveDateTime::parse_from_str(time, FORMAT).ok()?.and_utc();
        (at.format(FORMAT).to_string() == time).then_some(at)
    }
}

/// A backup's key: `vlvt_backup_2026-01-25_03-00-00.sql.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupName {
    prefix: Prefix,
    at: DateTime<Utc>,
}

impl BackupName {
    /// The time it is named after: the due time of a scheduled run, the start of a manual one.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The key of the roles and settings of the server that were read beside it.
    #[must_use]
    pub fn globals(&self) -> String {
        format!("{}{}{GLOBALS}", self.prefix.0, self.at.format(TIME_FORMAT))
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{DUMP}", self.prefix.0, self.at.format(TIME_FORMAT))
    }
}

/// A backup that is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its key.
    pub name: BackupName,
    /// When it became visible.
    pub finished_at: DateTime<Utc>,
    /// From when on its age counts.
    pub aged_from: DateTime<Utc>,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl Backup {
    /// A backup that became visible at that time. Its age counts from then, unless that is later after the time in its name
    /// than a run with this `timeout` ends: then somebody copied it, or a due time was made up for much later, and its age
    /// counts from the time in its name.
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

    /// How old it is; none if it was stored ahead of this clock: then one of the two clocks is wrong, and nothing is known.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let ahead = self.finished_at.signed_duration_since(now);
        let age = now.signed_duration_since(self.aged_from).to_std();
        (ahead <= CLOCKS_APART).then(|| age.unwrap_or_default())
    }

    /// Whether the time in its name can't be true: it is ahead of the clock, or of the time at which it was stored. Such a
    /// backup is never taken for the newest, whatever it holds, since it would be that for years. By its name it can be
    /// verified and restored.
    #[must_use]
    pub fn is_dated_ahead(&self, now: DateTime<Utc>) -> bool {
        let ahead_of = |time| self.name.at.signed_duration_since(time) > MOST_AHEAD;
        ahead_of(now) || ahead_of(self.finished_at)
    }

    /// From the time it is named after until it was visible: the run with its waits, a missed due time's wait for the
    /// service included.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.finished_at
            .signed_duration_since(self.name.at)
            .to_std()
            .unwrap_or_default()
    }

    /// Whether it holds anything; a smaller object is no backup of ours.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.size_bytes >= LEAST_BYTES
    }
}

/// What a bucket holds, as far as it is kept in mind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing<T> {
    /// The newest first.
    pub kept: Vec<T>,
    /// How many older ones there are besides.
    pub left_out: usize,
    /// What the store's clock said, if its answers tell.
    pub store_time: Option<DateTime<Utc>>,
    /// The times of those beside which the roles and settings of the server lie; of many, the newest.
    pub globals: BTreeSet<DateTime<Utc>>,
}

impl<T> Listing<T> {
    /// Whether the store's clock is so far ahead of ours that no age is known: every backup would look younger than it is.
    #[must_use]
    pub fn store_is_ahead(&self, now: DateTime<Utc>) -> bool {
        self.store_time
            .is_some_and(|time| time.signed_duration_since(now) > CLOCKS_APART)
    }

    /// Says that there are more.
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

/// The newest of many things, of which only so many are held.
#[derive(Debug)]
struct Newest<T> {
    most: usize,
    held: Vec<(DateTime<Utc>, T)>,
    left_out: usize,
}

impl<T> Newest<T> {
    const fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::new(),
            left_out: 0,
        }
    }

    fn add(&mut self, at: DateTime<Utc>, thing: T) {
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

    fn finish(mut self) -> Listing<T> {
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

    /// Looks at each object with a backup's name, also at one that is too small to be a backup.
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

    /// The good backup with the latest name of those that are not dated ahead; none if there is none.
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

    /// Every object with a backup's name, newest first; also one that is too small to be a backup, and one that is dated
    /// ahead, so that it is seen.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn list(&self, now: DateTime<Utc>) -> Result<Listing<Backup>, StoreError> {
        // Kept apart, so that no crowd of the one kind hides the other.
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

    /// The archives that Railway's template left under the same prefix, newest first.
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

    /// The backup that an operator means: `latest`, a key, or a key without the folder.
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
        match self.prefix.parse(&key) {
            Some(name) => self.look_up(&name).await,
            None => Ok(None),
        }
    }

    /// The good backup of that name; none if there is none.
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

    /// Whether nobody can be at work on an unfinished upload of ours any more.
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

    /// Aborts our own unfinished uploads that are older than `age`: what a killed run left behind, or a killed check. A
    /// younger one may belong to another container that is at work. What fails is logged and left for the next time: a
    /// token that may not list uploads can still make backups.
    pub async fn sweep(&self, age: Duration, now: DateTime<Utc>) {
        let mut left_behind = Vec::new();
        let visit = |upload: Unfinished| {
            if self.is_left_behind(&upload, age, now) && left_behind.len() < MOST_SWEPT {
                left_behind.push(upload);
            }
        };
        // A run that waits for this is waited for itself.
        let store = self.store.hurried();
        // What was seen of a list that broke off can be aborted all the same.
        match store.list_uploads(&self.prefix.0, visit).await {
            Ok(()) => {}
            // It is so at each run: the check tells of it.
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

/// The newer of the two that can be taken for the newest.
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
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn names_are_as_the_runbook_writes_them() {
        let at = Utc.with_ymd_and_hms(2026, 1, 25, 3, 0, 0).unwrap();
        let check = |folder: Option<&str>, prefix: &str, key: &str| {
            let prefix = Prefix::new(folder, prefix);
            let name = prefix.name_at(at + TimeDelta::milliseconds(700));
            assert_eq!(name.to_string(), key);
            assert_eq!(prefix.parse(key), Some(name));
        };
        check(
            None,
            "vlvt_backup_",
            "vlvt_backup_2026-01-25_03-00-00.sql.gz",
        );
        check(None, "backup", "backup-2026-01-25_03-00-00.sql.gz");
        check(Some("/a/b/"), "x/db", "a/b/x/db-2026-01-25_03-00-00.sql.gz");
        check(Some("/"), "", "2026-01-25_03-00-00.sql.gz");
    }

    #[test]
    fn the_globals_of_a_backup_are_known_by_its_name_and_are_no_backup() {
        let prefix = Prefix::new(Some("a"), "db_");
        let name = prefix.name_at(at("2026-01-25T03:00:00Z"));
        assert_eq!(name.globals(), "a/db_2026-01-25_03-00-00.globals.sql.gz");
        assert_eq!(prefix.parse(&name.globals()), None);
        assert_eq!(prefix.parse_globals(&name.globals()), Some(name.clone()));
        assert_eq!(prefix.parse_globals(&name.to_string()), None);
        assert_eq!(prefix.parse_globals("a/db_x.globals.sql.gz"), None);
        // The last one of a sorted list is a backup.
        assert!(name.globals() < name.to_string());
    }

    #[test]
    fn foreign_keys_are_not_backups() {
        let prefix = Prefix::new(None, "db_");
        for key in [
            "db_2026-01-25_03-00-00.tar.gz",
            "db_2026-01-25_03-00-00.sql.gz.tmp",
            "db_2026-01-25_03-00-0.sql.gz",
            "db_2026-02-30_03-00-00.sql.gz",
            "db_ 2026-01-25_03-00-00.sql.gz",
            "db_x_2026-01-25_03-00-00.sql.gz",
            "db2_2026-01-25_03-00-00.sql.gz",
            "db_",
        ] {
            assert_eq!(prefix.parse(key), None, "{key}");
        }
    }

    #[test]
    fn the_upload_of_a_check_is_known_by_its_key_and_nothing_else_is() {
        let prefix = Prefix::new(Some("a"), "db");
        assert!(prefix.is_probe(&prefix.probe()));
        assert_eq!(prefix.parse(&prefix.probe()), None);
        for key in [
            "a/db-check-0123456789abcde",
            "a/db-check-0123456789abcdeF",
            "a/db-check-0123456789abcdef0",
            "a/db-check-",
            "a/dbcheck-0123456789abcdef",
            "a/db-2026-01-25_03-00-00.sql.gz",
        ] {
            assert!(!prefix.is_probe(key), "{key}");
        }
    }

    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn backup(named: &str, finished: &str, size_bytes: u64) -> Backup {
        let name = Prefix::new(None, "db_").name_at(at(named));
        Backup::new(name, at(finished), size_bytes, TIMEOUT)
    }

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

    #[test]
    fn the_templates_names_are_recognised() {
        let at =
            Utc.with_ymd_and_hms(2026, 11, 24, 5, 0, 0).unwrap() + TimeDelta::milliseconds(123);
        let check = |folder, prefix, key: &str, expected| {
            assert_eq!(
                Prefix::new(folder, prefix).template_time(key),
                expected,
                "{key}"
            );
        };
        const TIME: &str = "2026-11-24T05-00-00-123Z.tar.gz";
        check(None, "backup", &format!("backup-{TIME}"), Some(at));
        check(
            None,
            "vlvt_backup_",
            &format!("vlvt_backup_-{TIME}"),
            Some(at),
        );
        check(None, "db-", &format!("db--{TIME}"), Some(at));
        check(
            Some("a/b"),
            "backup",
            &format!("a/b/backup-{TIME}"),
            Some(at),
        );
        for key in [
            "backup-2026-11-24T05-00-00-123Z.tar.gz.1",
            "backup-2026-11-24T05-00-00-12Z.tar.gz",
            "backup-2026-11-24T05-00-00Z.tar.gz",
            "backup-2026-02-30T05-00-00-123Z.tar.gz",
            "backup-2026-11-24_05-00-00.sql.gz",
            "backup--2026-11-24_05-00-00.tar.gz",
            "backup-x-2026-11-24T05-00-00-123Z.tar.gz",
            "other-2026-11-24T05-00-00-123Z.tar.gz",
            "backup-",
        ] {
            check(None, "backup", key, None);
        }
    }
}
