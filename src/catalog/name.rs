//! The names of backups and of what lies beside them (pure).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};

/// The time in a name, always UTC.
const TIME_FORMAT: &str = "%Y-%m-%d_%H-%M-%S";

/// What follows the prefix in the key of an upload that a check tries, before 16 random digits.
const PROBE: &str = "check-";

/// What a backup's key ends in.
const DUMP: &str = ".sql.gz";

/// What the key of the roles and settings beside it ends in. The prefix and the time are the same, so that a lifecycle rule for
/// the prefix takes both, and a list shows them beside each other, the backup last. No version of this service takes it for a
/// backup's name.
const GLOBALS: &str = ".globals.sql.gz";

/// What every key of this service begins with: `[BUCKET_SUBFOLDER/]BACKUP_FILE_PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(pub(super) Arc<str>);

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

    /// Reads a backup's name from a key; `None` if the key is not exactly in our form.
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

    /// The name of a backup, from the time in it alone.
    #[must_use]
    pub fn parse_time(&self, time: &str) -> Option<BackupName> {
        self.parse(&format!("{}{time}{DUMP}", self.0))
    }

    /// The backup that belongs to an object with roles and settings of the server, from the key of that object.
    #[must_use]
    pub fn parse_globals(&self, key: &str) -> Option<BackupName> {
        let backup = key.strip_suffix(GLOBALS)?;
        self.parse(&format!("{backup}{DUMP}"))
    }

    /// A key for the upload that a check tries. It can't be a backup's name, and nobody else uses it.
    #[must_use]
    pub fn probe(&self) -> String {
        format!("{}{PROBE}{:016x}", self.0, fastrand::u64(..))
    }

    /// Whether this is the key of a check's upload, which is never completed.
    #[must_use]
    pub fn is_probe(&self, key: &str) -> bool {
        const DIGITS: usize = 16;
        let number = key
            .strip_prefix(&*self.0)
            .and_then(|rest| rest.strip_prefix(PROBE));
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        number.is_some_and(|number| number.len() == DIGITS && number.bytes().all(is_digit))
    }

    /// The time of an archive that Railway's template made, from its key; `None` if the key is not one of the template's.
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
    pub(super) at: DateTime<Utc>,
}

impl BackupName {
    /// The time it is named after: the due time of a scheduled run, the start of a manual one.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// A word for it that a shell takes as it stands, and that `restore` and `verify` understand: its key, or, if a shell would take
    /// that apart, the time in it.
    #[must_use]
    pub fn word(&self) -> String {
        let key = self.to_string();
        let is_plain = key.starts_with(|c: char| c.is_ascii_alphanumeric())
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if is_plain {
            key
        } else {
            self.at.format(TIME_FORMAT).to_string()
        }
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

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

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
    fn the_word_for_a_backup_needs_no_quotes_and_leads_back_to_it() {
        let time = "2026-01-25_03-00-00";
        for (folder, prefix, word) in [
            (
                None,
                "vlvt_backup_",
                "vlvt_backup_2026-01-25_03-00-00.sql.gz",
            ),
            (Some("a/b.c"), "x", "a/b.c/x-2026-01-25_03-00-00.sql.gz"),
            (None, "", "2026-01-25_03-00-00.sql.gz"),
            (Some("a b"), "x", time),
            (Some("ä"), "x", time),
            (None, "-x", time),
            (None, "$(reboot)", time),
            (None, "it's", time),
            (None, "a\\\"<>|&;*?~#!`{}[]=%", time),
        ] {
            let prefix = Prefix::new(folder, prefix);
            let name = prefix.name_at(at("2026-01-25T03:00:00Z"));
            assert_eq!(name.word(), word);
            let found = prefix.parse(word).or_else(|| prefix.parse_time(word));
            assert_eq!(found, Some(name));
        }
        let prefix = Prefix::new(None, "db_");
        for time in [
            "",
            "latest",
            "2026-01-25",
            "2026-01-25_03-00",
            "2026-02-30_03-00-00",
        ] {
            assert_eq!(prefix.parse_time(time), None, "{time}");
        }
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
