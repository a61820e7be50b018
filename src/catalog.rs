//! The backups in the bucket, by name. The bucket is the only state: there is no index and no sidecar.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};

use crate::schedule::seconds;
use crate::store::{Object, Store, StoreError};

/// The time in a name, always UTC.
const TIME_FORMAT: &str = "%Y-%m-%d_%H-%M-%S";

/// The smallest gzip file there is has 20 bytes and holds nothing; a smaller object is no backup of ours.
const LEAST_BYTES: u64 = 20;

/// What every key of this service begins with: `[BUCKET_SUBFOLDER/]BACKUP_FILE_PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

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
        Self(folder.map_or_else(
            || format!("{prefix}{separator}"),
            |folder| format!("{folder}/{prefix}{separator}"),
        ))
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
        let time = key.strip_prefix(&self.0)?.strip_suffix(".sql.gz")?;
        let name = self.name_at(
            NaiveDateTime::parse_from_str(time, TIME_FORMAT)
                .ok()?
                .and_utc(),
        );
        (name.to_string() == key).then_some(name)
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
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.sql.gz", self.prefix.0, self.at.format(TIME_FORMAT))
    }
}

/// A backup that is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its key.
    pub name: BackupName,
    /// When it became visible.
    pub finished_at: DateTime<Utc>,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl Backup {
    /// How old it is. One from the future (a clock that was set back) is fresh, not infinitely old.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Duration {
        now.signed_duration_since(self.finished_at)
            .to_std()
            .unwrap_or_default()
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

/// The backups under one prefix of one bucket.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: Store,
    prefix: Prefix,
}

impl Catalog {
    /// The catalog of a prefix.
    #[must_use]
    pub const fn new(store: Store, prefix: Prefix) -> Self {
        Self { store, prefix }
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

    /// The backup with the latest name; none if there is none.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn newest(&self) -> Result<Option<Backup>, StoreError> {
        Ok(newest(&self.prefix, self.store.list(&self.prefix.0).await?))
    }

    /// Every object with a backup's name, newest first; also one that is too small to be a backup, so that it is seen.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn list(&self) -> Result<Vec<Backup>, StoreError> {
        let mut backups = backups(&self.prefix, self.store.list(&self.prefix.0).await?);
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.name.at));
        Ok(backups)
    }

    /// The archives that Railway's template left under the same prefix, newest first.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn archives(&self) -> Result<Vec<Object>, StoreError> {
        let mut archives = self.store.list(&self.prefix.0).await?;
        archives.retain(|object| self.prefix.template_time(&object.key).is_some());
        archives.sort_by_key(|object| std::cmp::Reverse(self.prefix.template_time(&object.key)));
        Ok(archives)
    }

    /// The backup that an operator means: `latest`, a key, or a key without the folder.
    ///
    /// # Errors
    /// When the bucket could not be listed whole.
    pub async fn choose(&self, wanted: &str) -> Result<Option<Backup>, StoreError> {
        let folder = self.prefix.0.rsplit_once('/').map(|(folder, _)| folder);
        let key = match folder {
            Some(folder) if !wanted.contains('/') => format!("{folder}/{wanted}"),
            _ => wanted.to_owned(),
        };
        if wanted == "latest" {
            self.newest().await
        } else if self.prefix.parse(&key).is_some() {
            let mut found = backups(&self.prefix, self.store.list(&key).await?);
            found.retain(|backup| backup.name.to_string() == key);
            Ok(found.pop())
        } else {
            Ok(None)
        }
    }

    /// The backup of that name; none if there is none.
    ///
    /// # Errors
    /// When the bucket could not be asked.
    pub async fn find(&self, name: &BackupName) -> Result<Option<Backup>, StoreError> {
        Ok(newest(
            &self.prefix,
            self.store.list(&name.to_string()).await?,
        ))
    }

    /// Aborts our own unfinished uploads that are older than `age`: what a killed run left behind. A younger one may
    /// belong to another container that is at work. What fails is logged and left for the next time: a token that may
    /// not list uploads can still make backups.
    pub async fn sweep(&self, age: Duration, now: DateTime<Utc>) {
        let uploads = match self.store.list_uploads(&self.prefix.0).await {
            Ok(uploads) => uploads,
            Err(error) => {
                tracing::warn!(error = %error, hint = error.hint(), "could not look for unfinished uploads");
                return;
            }
        };
        for upload in uploads {
            let left_behind = now
                .signed_duration_since(upload.initiated_at)
                .to_std()
                .is_ok_and(|old| old > age);
            if self.prefix.parse(&upload.key).is_none() || !left_behind {
                continue;
            }
            if let Err(error) = self.store.abort_upload(&upload.key, &upload.id).await {
                tracing::warn!(key = upload.key, upload = upload.id, error = %error, "could not abort upload");
                continue;
            }
            let initiated_at = seconds(upload.initiated_at);
            tracing::info!(key = upload.key, initiated_at, "unfinished upload aborted");
        }
    }
}

fn newest(prefix: &Prefix, objects: Vec<Object>) -> Option<Backup> {
    backups(prefix, objects)
        .into_iter()
        .filter(Backup::is_good)
        .max_by_key(|backup| backup.name.at)
}

fn backups(prefix: &Prefix, objects: Vec<Object>) -> Vec<Backup> {
    objects
        .into_iter()
        .filter_map(|object| {
            let name = prefix.parse(&object.key)?;
            Some(Backup {
                name,
                finished_at: object.modified_at,
                size_bytes: object.size,
            })
        })
        .collect()
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
            let name = prefix.name_at(at + chrono::TimeDelta::milliseconds(700));
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
    fn the_newest_is_the_latest_name_that_holds_something() {
        let prefix = Prefix::new(None, "db_");
        let object = |time: &str, size| Object {
            key: format!("db_{time}.sql.gz"),
            size,
            modified_at: DateTime::UNIX_EPOCH,
        };
        let objects = vec![
            object("2026-01-25_03-00-00", 500),
            object("2026-01-26_03-00-00", 600),
            object("2026-01-27_03-00-00", 0),
            Object {
                key: "db_z.txt".to_owned(),
                size: 9999,
                modified_at: DateTime::UNIX_EPOCH,
            },
        ];
        assert_eq!(newest(&prefix, objects).unwrap().size_bytes, 600);
    }

    #[test]
    fn the_templates_names_are_recognised() {
        let at = Utc.with_ymd_and_hms(2026, 11, 24, 5, 0, 0).unwrap()
            + chrono::TimeDelta::milliseconds(123);
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
