//! What is found out before an attempt begins anything: the name is free, the server answers, a client fits it.

use std::time::Duration;

use stream::script::COUNTING;
use tokio::time::Instant;

use super::{BackupError, Job, Trigger};
use crate::catalog::{Backup, BackupName};
use crate::dump::label::{self, Head};
use crate::dump::origin;
use crate::fault::Kind;
use crate::format;
use crate::postgres::{self, Client, Database, Server, random_key};

pub(super) enum Prepared<'a> {
    Ready(Server, &'a Client, Box<Head>),
    Exists(Backup),
}

/// What can be found out before anything is begun.
pub(super) async fn prepare<'a>(
    job: &'a Job,
    trigger: Trigger,
    name: &BackupName,
    mark: &str,
) -> Result<Prepared<'a>, BackupError> {
    if let Some(backup) = job.catalog.find(name).await? {
        if backup.is_dated_ahead((job.clock)()) {
            return Err(BackupError::NamePlanted(name.to_string()));
        }
        return match trigger {
            Trigger::Scheduled(_) => Ok(Prepared::Exists(backup)),
            // An attempt before this one stored it, and did not come to know.
            Trigger::Manual(_) if is_ours(job, name, mark).await => Ok(Prepared::Exists(backup)),
            Trigger::Manual(_) => Err(BackupError::NameTaken(name.to_string())),
        };
    }
    job.catalog.sweep(job.timeout, (job.clock)()).await;
    let server = reach(job).await?;
    let client = job.clients.choose(server.major, &server.version)?;
    if client.major != server.major {
        let hint = "a newer pg_dump may write what this server's own psql refuses; deploy an image with the server's major version";
        tracing::warn!(
            server_version = server.version,
            client_version = client.version,
            hint,
            "no client of the server's major version"
        );
    }
    let unknown = job.database.unknown_to(client.major);
    if !unknown.is_empty() {
        let hint = format!(
            "they came with {} or libpq's own variables; a server whose client knows them is dumped with them",
            job.database.variable()
        );
        tracing::warn!(
            parameters = unknown.join(", "),
            client_version = client.version,
            hint,
            "parameters left out: this client does not know them"
        );
    }
    let head = describe(job, name, &server, client).await;
    Ok(Prepared::Ready(server, client, Box::new(head)))
}

/// What the backup will say of itself.
async fn describe(job: &Job, name: &BackupName, server: &Server, client: &Client) -> Head {
    let url = server.url(&job.database);
    let database = Database {
        client,
        url: &url,
        session: server.session,
    };
    Head {
        format: label::FORMAT,
        // A system without random numbers is no reason to make no backup.
        id: random_key().unwrap_or_else(|_| format!("{:032x}", fastrand::u128(..))),
        name: name.to_string(),
        due_at: format::utc(name.at()),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        counting: COUNTING,
        server_version: server.version.clone(),
        client_version: client.version.clone(),
        size_bytes: server.size_bytes,
        identity: identity(&database).await,
        origin: origin::ask(&database).await,
    }
}

/// Which database it is. A dump does not need to know, so no answer can make a backup fail.
async fn identity(database: &Database<'_>) -> Option<postgres::Identity> {
    postgres::identity(database)
        .await
        .inspect_err(|error| {
            tracing::debug!(error = %error, "the backup's head does not say which database it is of");
        })
        .ok()
}

/// Whether the object of that name carries this run's mark.
async fn is_ours(job: &Job, name: &BackupName, mark: &str) -> bool {
    let head = job.catalog.store().head(&name.to_string()).await;
    head.is_ok_and(|head| head.is_some_and(|head| head.mark.as_deref() == Some(mark)))
}

/// Asks the server for its version; one that is away is asked again for a while.
async fn reach(job: &Job) -> Result<Server, BackupError> {
    let client = job.clients.newest()?;
    let patience_ends = Instant::now() + job.server_wait;
    let mut told = false;
    loop {
        match postgres::probe(client, &job.database).await {
            Err(error) if error.kind == Kind::Connect && Instant::now() < patience_ends => {
                if !told {
                    tracing::warn!(error = %error, hint = error.hint, "database not reachable yet");
                    told = true;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}
