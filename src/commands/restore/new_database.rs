//! `restore --create` and `restore --swap`: a backup into a database that is made for it.

use std::sync::Arc;

use super::{failed, stake, tell_left_out};
use crate::catalog::Backup;
use crate::cli;
use crate::commands::question::ask;
use crate::commands::{Surroundings, attended, tell_tables};
use crate::format;
use crate::process::Ending;
use crate::restore::Restore;
use crate::restore::create::{self, Creation};
use crate::restore::swap::Swap;
use crate::restore::target::Activity;

pub(super) async fn restore(
    restore: &Restore,
    options: &cli::Restore,
    backup: &Backup,
    around: &Surroundings,
) -> Ending {
    let terminal = &around.terminal;
    let present = around.now();
    let [backup_time, now] =
        [backup.name.at(), present].map(|time| time.format("%Y%m%d_%H%M%S").to_string());
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
    let (target, known) = (&restore.target, stake::Backup::of(backup, present));
    let question =
        |activity: Option<Activity>| stake::swap(target, &creation.name, activity.as_ref(), &known);
    let confirm = async |activity| options.yes || ask(terminal, question(activity)).await;
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
