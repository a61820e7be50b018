//! What the server is asked beside the dump: for what a standby does not have, and for why a dump failed.

use super::{BackupError, Job};
use crate::dump::DumpError;
use crate::postgres::{self, Cause, Client, Database, Locks, Server, Unlogged, rights};

/// Says which rows a standby does not have. A question that fails stops no backup: the dump will tell what is wrong.
pub(super) async fn tell_of_unlogged(job: &Job, server: &Server, client: &Client) {
    let database = Database {
        client,
        url: &job.database,
        session: server.session,
    };
    match Unlogged::ask(&database, postgres::PROBE_LIMIT).await {
        Ok(unlogged) if unlogged.count > 0 => {
            tracing::warn!(
                found = unlogged.text(),
                hint = postgres::UNLOGGED_HINT,
                "rows missing on a standby"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "could not ask for unlogged tables"),
    }
}

/// Asks the server about a dump that failed for a reason of which its words do not tell enough: whether it can have room for
/// the locks at another time, and, where the words are not known (they are in the server's language), whether this user may
/// read everything. Options may leave out what is in the way, so with options neither is known. Nor is it when the run has to
/// end (`early`) before the server has answered: then the words alone have to do.
pub(super) async fn look_closer(
    job: &Job,
    server: &Server,
    client: &Client,
    error: DumpError,
    early: impl Future<Output = BackupError>,
) -> DumpError {
    let DumpError::Exit { status, said } = error else {
        return error;
    };
    let cause = tokio::select! {
        cause = closer_cause(job, server, client, said.cause) => cause,
        _ = early => None,
    };
    let said = match cause {
        Some(cause) => said.because(cause, &job.database),
        None => said,
    };
    DumpError::Exit { status, said }
}

/// What the server tells of a cause that is known from words alone; none if it does not know more.
async fn closer_cause(job: &Job, server: &Server, client: &Client, known: Cause) -> Option<Cause> {
    let database = Database {
        client,
        url: &job.database,
        session: server.session,
    };
    match known {
        _ if !job.options.is_empty() => None,
        Cause::LocksExhausted => match Locks::ask(&database, postgres::PROBE_LIMIT).await {
            Ok(locks) if locks.are_too_few() => Some(Cause::LocksTooFew),
            _ => None,
        },
        Cause::Other => rights::what_is_closed(&database).await.unwrap_or(None),
        _ => None,
    }
}
