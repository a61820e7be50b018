//! `restore`: a backup into a database.

mod new_database;
mod stake;

use std::sync::Arc;

use super::question::ask;
use super::unusable::url_argument;
use super::{Surroundings, Unusable, attended, catalog, choose, tell_tables};
use crate::cli;
use crate::config::Access;
use crate::fault::{Diagnosed, log_failure};
use crate::format;
use crate::globals;
use crate::postgres::DatabaseUrl;
use crate::process::Ending;
use crate::reader::{Found, ReadError};
use crate::restore::create;
use crate::restore::target::{self, Permits};
use crate::restore::{self, Restore, RestoreError, Restored, Stake};
use stream::replay::skip;

/// The arguments that can't be used as they are, found out before anything is done.
fn check_options(options: &cli::Restore, can_ask: bool) -> Result<(), Unusable> {
    if options.clean && !options.yes && !can_ask {
        return Err(Unusable::argument(
            "--clean",
            "replaces everything in the target and nobody can be asked here; pass --yes too if that is what you want",
        ));
    }
    if options.swap && !options.yes && !can_ask {
        return Err(Unusable::argument(
            "--swap",
            "puts another database in the place of this one and nobody can be asked here; pass --yes too if that is what you want",
        ));
    }
    if let Some(Some(name)) = &options.create
        && (name.is_empty() || name.len() > create::NAME_BYTES)
    {
        return Err(Unusable::argument(
            "--create",
            "the name of a database has 1 to 63 bytes",
        ));
    }
    Ok(())
}

pub(super) async fn run(around: &Surroundings, options: &cli::Restore) -> anyhow::Result<Ending> {
    let mut access = around.access()?;
    let target = match &options.to {
        Some(url) => Some(url_argument("--to", url)?.from_variable("RESTORE_DATABASE_URL")),
        None => access.target.take(),
    };
    let target = target.ok_or_else(|| {
        Unusable::argument(
            "--to",
            "name the database to restore into with --to URL, or set RESTORE_DATABASE_URL",
        )
    })?;
    check_options(options, around.can_ask)?;
    Ok(restore_into(target, &access, options, around).await)
}

async fn restore_into(
    target: DatabaseUrl,
    access: &Access,
    options: &cli::Restore,
    around: &Surroundings,
) -> Ending {
    let clients = around.clients().await;
    let catalog = catalog(access);
    let backup = match choose(&catalog, &options.name, around.now()).await {
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
        let made = globals::restore(catalog.store(), &roles, options.renamed, &target, &clients);
        if let Err(error) = made.await {
            log_failure!(
                error,
                error,
                name = key,
                "globals not restored; nothing was changed"
            );
            return Ending::Failed;
        }
    }
    let size = found.size;
    let restore = Restore {
        store: catalog.store().clone(),
        found,
        target,
        source: access.source.clone(),
        clients,
        permits: Permits {
            clean: options.clean,
            overwrite_source: options.yes_overwrite_source,
            no_owner: options.no_owner,
            no_privileges: options.no_privileges,
            skip: options
                .skip
                .iter()
                .copied()
                .map(skip::ObjectKind::from)
                .collect(),
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
        return new_database::restore(&restore, options, &backup, around).await;
    }
    let known = stake::Backup::of(&backup, around.now());
    let question = |stake: Stake| stake::clean(&restore.target, &stake, &known);
    let confirm = async |stake| options.yes || ask(&around.terminal, question(stake)).await;
    let meter = Arc::default();
    let outcome = attended(&meter, size, &around.terminal, async |stop| {
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

fn failed(name: &str, error: &RestoreError) -> Ending {
    match error {
        // Everything that stands in the way at once, each with its remedy.
        RestoreError::Refused(refusals) => {
            let kind = error.kind().as_str();
            for (text, hint) in refusals.each() {
                tracing::error!(name, kind, error = text, hint, "restore refused");
            }
        }
        RestoreError::Read(ReadError::Renamed { .. }) => {
            log_failure!(error, error, name, "restore refused");
        }
        RestoreError::Cancelled(_) | RestoreError::NotConfirmed(_) => {
            log_failure!(warn, error, name, "restore cancelled");
        }
        error => log_failure!(error, error, name, "restore failed"),
    }
    Ending::Failed
}
