//! The commands that look at the bucket and read backups, each from its arguments to its ending.

use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Backup, Catalog};
use crate::check::{self, Check, Outcome};
use crate::cli;
use crate::config::Access;
use crate::drill::{self, Drill, DrillServer};
use crate::fault::{Fault, Kind};
use crate::format;
use crate::format::text::{shortened, visible};
use crate::globals;
use crate::postgres::{Clients, DatabaseUrl};
use crate::process::Ending;
use crate::process::signals::Signals;
use crate::progress;
use crate::reader::{Found, Meter, ReadError, Summary};
use crate::restore::create::{self, Creation};
use crate::restore::swap::Swap;
use crate::restore::target::{self, Permits, Survey};
use crate::restore::{self, Restore, RestoreError, Restored};
use crate::schedule::Clock;
use crate::store::{Object, Store, StoreError, StorePatience};
use crate::verify::{self, VerifyError};
use stream::replay::skip;

/// More tables than this are not logged one by one, except at DEBUG.
const TABLES_TOLD: usize = 100;

/// What the commands find around them.
#[derive(Debug)]
pub struct Surroundings {
    /// The client programs of this image.
    pub clients: Clients,
    /// Whether a person sits at a terminal.
    pub terminal: bool,
    /// Where a throwaway server may put its files.
    pub temporary: PathBuf,
    /// The wall clock.
    pub clock: Clock,
}

/// The catalog that the variables name.
fn catalog(access: &Access) -> Catalog {
    let store = Store::new(&access.store, StorePatience::default());
    Catalog::new(store, access.prefix.clone(), access.timeout)
}

fn could_not_read(error: &StoreError) -> Ending {
    tracing::error!(kind = error.kind().as_str(), error = %error, hint = error.hint(), "could not read the bucket");
    Ending::Failed
}

/// `list`
pub async fn list(access: &Access, options: &cli::List, now: DateTime<Utc>) -> Ending {
    let listing = match catalog(access).list(now).await {
        Ok(listing) => listing,
        Err(error) => return could_not_read(&error),
    };
    listing.log_left_out();
    print(&cli::list(&listing.kept, &listing.globals, options, now))
}

/// Gives the answer of a command.
fn print(text: &str) -> Ending {
    // A reader that has seen enough, such as head, is no failure.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tracing::error!(%error, "could not print");
            Ending::Failed
        }
        _ => Ending::Done,
    }
}

/// `check`
pub async fn check(check: &Check, options: &cli::Check) -> Ending {
    let meter = Arc::default();
    // Boxed: the compiler has a limit for how deep futures lie in each other.
    let looked = attended(&meter, 0, false, async |stop| {
        Box::pin(check.run(stop)).await
    });
    let Some(findings) = looked.await else {
        return Ending::Failed;
    };
    let failed = findings
        .iter()
        .any(|finding| finding.outcome == Outcome::Failed);
    match print(&check::report(&findings, options.json)) {
        Ending::Done if failed => Ending::Failed,
        ending => ending,
    }
}

/// The backup that the operator means, or the line that says why there is none.
async fn choose(catalog: &Catalog, wanted: &str, now: DateTime<Utc>) -> Result<Backup, Ending> {
    match catalog.choose(wanted, now).await {
        Ok(Some(backup)) => Ok(backup),
        Ok(None) => {
            tracing::error!(
                kind = Kind::Refused.as_str(),
                name = wanted,
                bucket = catalog.store().bucket(),
                prefix = catalog.prefix().as_str(),
                hint = "look at the names with: postgres-s3-backups list; BACKUP_FILE_PREFIX and BUCKET_SUBFOLDER decide which objects are backups; one that is dated ahead is never the latest, and has to be named in full",
                "no such backup"
            );
            Err(Ending::Failed)
        }
        Err(error) => Err(could_not_read(&error)),
    }
}

/// `restore`. `ask` puts a question to a person and says whether the answer was yes.
pub async fn restore<F: Future<Output = bool>>(
    access: Access,
    options: &cli::Restore,
    target: DatabaseUrl,
    surroundings: Surroundings,
    ask: impl FnOnce(String) -> F,
) -> Ending {
    let catalog = catalog(&access);
    let backup = match choose(&catalog, &options.name, (surroundings.clock)()).await {
        Ok(backup) => backup,
        Err(ending) => return ending,
    };
    let key = backup.name.to_string();
    let found = match Found::look_up(catalog.store(), &key).await {
        Ok(found) => found.perhaps_renamed(options.renamed),
        Err(error) => return failed(&key, &RestoreError::Read(error)),
    };
    if options.globals {
        let roles = backup.name.globals();
        let made = globals::restore(
            catalog.store(),
            &roles,
            options.renamed,
            &target,
            &surroundings.clients,
        );
        if let Err(error) = made.await {
            tracing::error!(name = key, kind = error.kind().as_str(), error = %error, hint = error.hint(), "globals not restored; nothing was changed");
            return Ending::Failed;
        }
    }
    let size = found.size;
    let restore = Restore {
        store: catalog.store().clone(),
        found,
        target,
        source: access.source,
        clients: surroundings.clients,
        permits: Permits {
            clean: options.clean,
            overwrite_source: options.yes_overwrite_source,
            no_owner: options.no_owner,
            no_privileges: options.no_privileges,
            skip: options.skip.iter().copied().map(skip::Kind::from).collect(),
            new_database: options.makes_a_database(),
            no_settings: options.no_settings,
            public_create: options.public_create,
        },
        verify_first: !options.no_verify,
        analyze: !options.no_analyze,
        drill: false,
        search_path: options.search_path.clone(),
    };
    if restore.permits.new_database {
        let times = [backup.name.at(), (surroundings.clock)()];
        return create(&restore, options, times, surroundings.terminal, ask).await;
    }
    let name = shown(restore.target.database());
    let confirm = |survey: Survey| async move {
        if options.yes {
            return true;
        }
        let (objects, version) = (survey.objects, shown(&survey.version));
        let but = match survey.rights.stays() {
            Some((count, _)) => format!(" but {count} that its user may not drop"),
            None => String::new(),
        };
        progress::paused(ask(format!(
            "The database {name} (PostgreSQL {version}) holds {objects} objects. Replace all of them{but}? [yes/no] ",
        )))
        .await
    };
    let meter = Arc::default();
    let outcome = attended(&meter, size, surroundings.terminal, async |stop| {
        restore::run(&restore, confirm, &meter, stop).await
    });
    match outcome.await {
        Ok(restored) => {
            tell_tables(&restored.summary, "rows restored");
            tell_left_out(&restored);
            tracing::info!(
                name = key,
                database = restore.target.database(),
                rows = restored.summary.contents.rows,
                tables = restored.summary.contents.tables.len(),
                size_bytes = size,
                uncompressed_bytes = restored.summary.contents.bytes,
                duration_seconds = format::seconds(restored.took),
                target_version = restored.server_version,
                "restore finished"
            );
            Ending::Done
        }
        Err(error) => failed(&key, &error),
    }
}

/// A line on each kind of objects that was left out.
fn tell_left_out(restored: &Restored) {
    for (what, names) in &restored.left_out {
        let (count, names) = (names.len(), target::some(names));
        tracing::warn!(what, count, names, "left out of the restore");
    }
}

/// `restore --create` and `restore --swap`. The times are the backup's and that of now.
async fn create<F: Future<Output = bool>>(
    restore: &Restore,
    options: &cli::Restore,
    times: [DateTime<Utc>; 2],
    terminal: bool,
    ask: impl FnOnce(String) -> F,
) -> Ending {
    let [backup_time, now] = times.map(|time| time.format("%Y%m%d_%H%M%S").to_string());
    let named = restore.target.database();
    let name = match options.create.clone().flatten() {
        Some(name) => name,
        None if options.swap => named.to_owned(),
        None => create::default_name(named, &backup_time),
    };
    let creation = Creation {
        name,
        swap: options.swap.then_some(Swap {
            disconnect: options.disconnect,
            now,
            backup_time,
        }),
    };
    let confirm = || async {
        if options.yes {
            return true;
        }
        let name = shown(&creation.name);
        progress::paused(ask(format!(
            "Put a new database in the place of {name}, which stays under another name? [yes/no] ",
        )))
        .await
    };
    let (key, size) = (&restore.found.key, restore.found.size);
    let meter = Arc::default();
    let outcome = attended(&meter, size, terminal, async |stop| {
        Box::pin(create::run(restore, &creation, confirm, &meter, stop)).await
    });
    match outcome.await {
        Ok(created) => {
            let summary = &created.restored.summary;
            tell_tables(summary, "rows restored");
            tell_left_out(&created.restored);
            tracing::info!(
                name = key,
                database = created.database,
                rows = summary.contents.rows,
                tables = summary.contents.tables.len(),
                size_bytes = size,
                uncompressed_bytes = summary.contents.bytes,
                duration_seconds = format::seconds(created.restored.took),
                target_version = created.restored.server_version,
                url = created.url,
                "restore finished"
            );
            if let Some(swapped) = created.swapped
                && let Some(old) = swapped.old
            {
                tracing::info!(
                    database = created.database,
                    old_database = old,
                    hint = swapped.hint,
                    "databases swapped"
                );
            }
            Ending::Done
        }
        Err(error) => failed(key, &error),
    }
}

/// A word of somebody else's in a question.
fn shown(word: &str) -> String {
    const MOST_CHARACTERS: usize = 200;
    shortened(&visible(word), MOST_CHARACTERS)
}

fn failed(name: &str, error: &RestoreError) -> Ending {
    let kind = error.kind().as_str();
    match error {
        // Everything that stands in the way at once, each with its remedy.
        RestoreError::Refused(refusals) => {
            for (text, hint) in refusals.each() {
                tracing::error!(name, kind, error = text, hint, "restore refused");
            }
        }
        RestoreError::Read(ReadError::Renamed { .. }) => {
            tracing::error!(name, kind, error = %error, hint = error.hint(), "restore refused");
        }
        RestoreError::Cancelled(_) | RestoreError::NotConfirmed(_) => {
            tracing::warn!(name, kind, error = %error, hint = error.hint(), "restore cancelled");
        }
        error => tracing::error!(name, kind, error = %error, hint = error.hint(), "restore failed"),
    }
    Ending::Failed
}

/// `verify`
pub async fn verify(
    access: Access,
    options: &cli::Verify,
    server: Option<DrillServer>,
    surroundings: Surroundings,
) -> Ending {
    let catalog = catalog(&access);
    let reading = Reading {
        catalog: &catalog,
        access: &access,
        terminal: surroundings.terminal,
        may_be_renamed: options.renamed,
        now: (surroundings.clock)(),
    };
    if options.all {
        return reading.all().await;
    }
    if let Some(archive) = reading.archive_named(&options.name).await {
        return match archive {
            Ok(archive) => ending(reading.archive(&archive).await),
            Err(error) => could_not_read(&error),
        };
    }
    let backup = match choose(&catalog, &options.name, (surroundings.clock)()).await {
        Ok(backup) => backup,
        Err(ending) => return ending,
    };
    let Some(server) = server else {
        return ending(reading.backup(&backup, true).await);
    };
    let drilling = Drilling {
        catalog: &catalog,
        server,
        access: &access,
        may_be_renamed: options.renamed,
        surroundings: &surroundings,
        search_path: options.search_path.clone(),
    };
    drilling.run(&backup).await
}

/// What was found out about one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole,
    Damaged,
    /// Something was in the way, which says nothing of the object.
    Unread,
    /// It was removed or replaced meanwhile.
    Gone,
    Stopped,
}

fn ending(found: Verdict) -> Ending {
    match found {
        Verdict::Whole => Ending::Done,
        Verdict::Damaged | Verdict::Unread | Verdict::Gone | Verdict::Stopped => Ending::Failed,
    }
}

/// Objects read one after the other.
struct Reading<'a> {
    catalog: &'a Catalog,
    access: &'a Access,
    terminal: bool,
    may_be_renamed: bool,
    now: DateTime<Utc>,
}

impl Reading<'_> {
    /// Every backup, and what the template left.
    async fn all(&self) -> Ending {
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
        let (mut checked, mut damaged, mut unread, mut gone) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut count = |found| {
            let count = match found {
                Verdict::Whole => None,
                Verdict::Damaged => Some(&mut damaged),
                Verdict::Unread => Some(&mut unread),
                Verdict::Gone => Some(&mut gone),
                Verdict::Stopped => return false,
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
    async fn backup(&self, backup: &Backup, alone: bool) -> Verdict {
        let key = backup.name.to_string();
        let meter = Arc::default();
        let read = attended(&meter, backup.size_bytes, self.terminal, async |stop| {
            let limit = self.access.timeout;
            verify::backup(self.catalog, &key, self.may_be_renamed, &meter, limit, stop).await
        });
        match read.await {
            Ok(read) => {
                tell_whole(&key, backup, read.summary(), alone);
                Verdict::Whole
            }
            Err(error) => tell_failure(&key, backup.size_bytes, &error),
        }
    }

    /// The archive of the template's of that name; none if the name is not of that form.
    async fn archive_named(&self, name: &str) -> Option<Result<Object, StoreError>> {
        self.catalog.prefix().template_time(name)?;
        let found = self.catalog.archives().await;
        found
            .map(|archives| archives.kept.into_iter().find(|object| object.key == name))
            .transpose()
    }

    /// One archive of the template's.
    async fn archive(&self, object: &Object) -> Verdict {
        let meter = Arc::default();
        let read = attended(&meter, object.size, false, async |stop| {
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
                Verdict::Whole
            }
            Err(error) => tell_failure(&object.key, object.size, &error),
        }
    }
}

/// What kept an object from being found whole: one line on each thing that is wrong with it, or on what was in the way.
fn tell_failure(name: &str, size_bytes: u64, error: &VerifyError) -> Verdict {
    let (kind, hint) = (error.kind().as_str(), error.hint());
    match (error.fault(), error) {
        (Fault::Stopped, error) => {
            tracing::warn!(name, kind, error = %error, hint, "verify cancelled");
            Verdict::Stopped
        }
        (Fault::Gone, error) => {
            tracing::warn!(name, size_bytes, error = %error, "backup gone meanwhile");
            Verdict::Gone
        }
        (Fault::Surroundings | Fault::Unprovable, error) => {
            tracing::error!(name, size_bytes, kind, error = %error, hint, "backup could not be read");
            Verdict::Unread
        }
        (Fault::Backup, VerifyError::Archive(problems)) => {
            for error in problems {
                tracing::error!(name, size_bytes, kind, error, hint, "backup not good");
            }
            Verdict::Damaged
        }
        (Fault::Backup, error) => {
            tracing::error!(name, size_bytes, kind, error = %error, hint, "backup not good");
            Verdict::Damaged
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

fn tell_tables(summary: &Summary, message: &str) {
    let tables = &summary.contents.tables;
    for (table, rows) in tables.iter() {
        if tables.len() <= TABLES_TOLD {
            tracing::info!(table = %table, rows, "{message}");
        } else {
            tracing::debug!(table = %table, rows, "{message}");
        }
    }
}

struct Drilling<'a> {
    catalog: &'a Catalog,
    server: DrillServer,
    access: &'a Access,
    may_be_renamed: bool,
    surroundings: &'a Surroundings,
    search_path: Vec<String>,
}

impl Drilling<'_> {
    async fn run(self, backup: &Backup) -> Ending {
        let key = backup.name.to_string();
        let drill = Drill {
            store: self.catalog.store().clone(),
            server: self.server,
            clients: self.surroundings.clients.clone(),
            sql: self.access.verify_sql.clone(),
            temporary: self.surroundings.temporary.clone(),
            timeout: self.access.timeout,
            may_be_renamed: self.may_be_renamed,
            may_be_unconfined: self.access.may_be_unconfined,
            search_path: self.search_path.clone(),
        };
        let meter = Arc::default();
        let terminal = self.surroundings.terminal;
        let proven = attended(&meter, backup.size_bytes, terminal, async |stop| {
            drill::run(&drill, &key, &meter, stop).await
        });
        match proven.await {
            Ok(proven) => {
                tell_tables(&proven.summary, "rows proven");
                drill::tell_proven(&key, &proven);
                Ending::Done
            }
            Err(error) => {
                drill::tell_unproven(&key, &error);
                Ending::Failed
            }
        }
    }
}

/// Does a long piece of work while a bar or a line now and then says how far it is, and tells it to stop at a signal.
async fn attended<T>(
    meter: &Arc<Meter>,
    size: u64,
    terminal: bool,
    work: impl AsyncFnOnce(&CancellationToken) -> T,
) -> T {
    let stop = CancellationToken::new();
    let signals = Signals::new();
    let listening = async {
        match signals {
            Ok(mut signals) => {
                let name = signals.next().await;
                tracing::info!(signal = name, "stopping");
                stop.cancel();
            }
            Err(error) => tracing::warn!(%error, "could not listen for signals"),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = work(&stop) => outcome,
        () = listening => std::future::pending().await,
        () = progress::show(meter, size, terminal) => std::future::pending().await,
    }
}
