//! `verify`: a backup read whole, or proven by restoring it.

mod reading;

use std::sync::Arc;

use self::reading::Reading;
use super::unusable::url_argument;
use super::{Surroundings, Unusable, attended, catalog, choose, could_not_read, tell_tables};
use crate::catalog::{Backup, Catalog};
use crate::cli;
use crate::config::Access;
use crate::drill::{self, Drill, DrillServer};
use crate::process::Ending;

pub(super) async fn run(around: &Surroundings, options: &cli::Verify) -> anyhow::Result<Ending> {
    let access = around.access()?;
    let server = server(options)?;
    let catalog = catalog(&access);
    let reading = Reading {
        catalog: &catalog,
        access: &access,
        terminal: &around.terminal,
        may_be_renamed: options.renamed,
        now: around.now(),
    };
    if options.all {
        return Ok(reading.all().await);
    }
    if let Some(archive) = reading.archive_named(&options.name).await {
        return Ok(match archive {
            Ok(archive) => reading.archive(&archive).await.ending(),
            Err(error) => could_not_read(&error),
        });
    }
    let backup = match choose(&catalog, &options.name, around.now()).await {
        Ok(backup) => backup,
        Err(ending) => return Ok(ending),
    };
    Ok(match server {
        Some(server) => prove(&backup, &catalog, server, &access, options, around).await,
        None => reading.backup(&backup, true).await.ending(),
    })
}

/// The server on which the backup is to be proven, if it is.
fn server(options: &cli::Verify) -> Result<Option<DrillServer>, Unusable> {
    Ok(match options.into.as_deref() {
        None => None,
        Some(word) if word.eq_ignore_ascii_case("embedded") => Some(DrillServer::Embedded),
        Some(url) => Some(DrillServer::At(
            url_argument("--into", url)?.from_variable("VERIFY_DATABASE_URL"),
        )),
    })
}

async fn prove(
    backup: &Backup,
    catalog: &Catalog,
    server: DrillServer,
    access: &Access,
    options: &cli::Verify,
    around: &Surroundings,
) -> Ending {
    let key = backup.name.to_string();
    let drill = Drill {
        store: catalog.store().clone(),
        server,
        clients: around.clients().await,
        sql: access.verify_sql.clone(),
        temporary: around.temporary.clone(),
        timeout: access.timeout,
        may_be_renamed: options.renamed,
        may_be_unconfined: access.may_be_unconfined,
        search_path: options.search_path.clone(),
    };
    let meter = Arc::default();
    let proven = attended(&meter, backup.size_bytes, &around.terminal, async |stop| {
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
