//! Objects of the bucket read whole, one after the other, and what is said of each.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::{Backup, Catalog};
use crate::commands::{attended, could_not_read, no_backups, tell_tables};
use crate::config::Access;
use crate::fault::{Diagnosed, Fault, log_failure};
use crate::process::Ending;
use crate::progress::Terminal;
use crate::reader::Summary;
use crate::store::{Object, StoreError};
use crate::verify::{self, VerifyError};

/// What was found out about one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    Whole,
    Damaged,
    /// Something was in the way, which says nothing of the object.
    Unread,
    /// It was removed or replaced meanwhile.
    Gone,
    Stopped,
}

impl Integrity {
    pub(super) const fn ending(self) -> Ending {
        match self {
            Self::Whole => Ending::Done,
            Self::Damaged | Self::Unread | Self::Gone | Self::Stopped => Ending::Failed,
        }
    }
}

/// Objects read one after the other.
pub(super) struct Reading<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) access: &'a Access,
    pub(super) terminal: &'a Terminal,
    pub(super) may_be_renamed: bool,
    pub(super) now: DateTime<Utc>,
}

impl Reading<'_> {
    /// Every backup, and what the template left.
    pub(super) async fn all(&self) -> Ending {
        let listed = async {
            Ok::<_, StoreError>((
                self.catalog.list(self.now).await?,
                self.catalog.archives().await?,
            ))
        };
        let (backups, archives) = match listed.await {
            Ok(listed) => listed,
            Err(error) => return could_not_read(&error),
        };
        backups.log_left_out();
        archives.log_left_out();
        // Nothing was proven then, and a job that asks for all of them may look into the wrong bucket.
        if backups.kept.is_empty() && archives.kept.is_empty() {
            return no_backups(self.catalog, "all");
        }
        let (mut checked, mut damaged, mut unread, mut gone) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut count = |found| {
            let count = match found {
                Integrity::Whole => None,
                Integrity::Damaged => Some(&mut damaged),
                Integrity::Unread => Some(&mut unread),
                Integrity::Gone => Some(&mut gone),
                Integrity::Stopped => return false,
            };
            checked = checked.saturating_add(1);
            if let Some(count) = count {
                *count = count.saturating_add(1);
            }
            true
        };
        for backup in &backups.kept {
            if !count(self.backup(backup, false).await) {
                return Ending::Failed;
            }
        }
        for archive in &archives.kept {
            if !count(self.archive(archive).await) {
                return Ending::Failed;
            }
        }
        tracing::info!(checked, damaged, unread, gone, "verify finished");
        if (damaged, unread) == (0, 0) {
            Ending::Done
        } else {
            Ending::Failed
        }
    }

    /// One backup; alone, its tables are told one by one.
    pub(super) async fn backup(&self, backup: &Backup, alone: bool) -> Integrity {
        let key = backup.name.to_string();
        let meter = Arc::default();
        let read = attended(&meter, backup.size_bytes, self.terminal, async |stop| {
            let limit = self.access.timeout;
            verify::backup(self.catalog, &key, self.may_be_renamed, &meter, limit, stop).await
        });
        match read.await {
            Ok(read) => {
                tell_whole(&key, backup, read.summary(), alone);
                Integrity::Whole
            }
            Err(error) => tell_failure(&key, backup.size_bytes, &error),
        }
    }

    /// The archive of the template's of that name; none if the name is not of that form.
    pub(super) async fn archive_named(&self, name: &str) -> Option<Result<Object, StoreError>> {
        self.catalog.prefix().template_time(name)?;
        let found = self.catalog.archives().await;
        found
            .map(|archives| archives.kept.into_iter().find(|object| object.key == name))
            .transpose()
    }

    /// One archive of the template's.
    pub(super) async fn archive(&self, object: &Object) -> Integrity {
        // There is no bar: the walk over an archive does not tell how far it has come.
        let (meter, terminal) = (Arc::default(), Terminal::default());
        let read = attended(&meter, object.size, &terminal, async |stop| {
            verify::archive(self.catalog, &object.key, self.access.timeout, stop).await
        });
        match read.await {
            Ok(contents) => {
                tracing::info!(
                    name = object.key,
                    size_bytes = object.size,
                    uncompressed_bytes = contents.bytes,
                    rows = contents.rows,
                    tables = contents.tables.len(),
                    server_version = contents.server_version.unwrap_or_default(),
                    client_version = contents.dumped_by.unwrap_or_default(),
                    "archive of the old template whole"
                );
                Integrity::Whole
            }
            Err(error) => tell_failure(&object.key, object.size, &error),
        }
    }
}

/// What kept an object from being found whole: one line on each thing that is wrong with it, or on what was in the way.
fn tell_failure(name: &str, size_bytes: u64, error: &VerifyError) -> Integrity {
    match (error.fault(), error) {
        (Fault::Stopped, error) => {
            log_failure!(warn, error, name, "verify cancelled");
            Integrity::Stopped
        }
        (Fault::Gone, error) => {
            tracing::warn!(name, size_bytes, error = %error, "backup gone meanwhile");
            Integrity::Gone
        }
        (Fault::Surroundings | Fault::Unprovable, error) => {
            log_failure!(error, error, name, size_bytes, "backup could not be read");
            Integrity::Unread
        }
        (Fault::Backup, VerifyError::Archive(problems)) => {
            let (kind, hint) = (error.kind().as_str(), error.hint());
            for error in problems {
                tracing::error!(name, size_bytes, kind, error, hint, "backup not good");
            }
            Integrity::Damaged
        }
        (Fault::Backup, error) => {
            log_failure!(error, error, name, size_bytes, "backup not good");
            Integrity::Damaged
        }
    }
}

fn tell_whole(key: &str, backup: &Backup, summary: &Summary, alone: bool) {
    if alone {
        tell_tables(summary, "rows in the backup");
    }
    let message = if summary.head.is_some() {
        "backup whole"
    } else {
        "backup whole as far as gzip and the dump can tell"
    };
    tracing::info!(
        name = key,
        size_bytes = backup.size_bytes,
        uncompressed_bytes = summary.contents.bytes,
        rows = summary.contents.rows,
        tables = summary.contents.tables.len(),
        server_version = summary.dumped_from,
        client_version = summary.dumped_by,
        "{message}"
    );
}
