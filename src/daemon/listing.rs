//! When the bucket is read, and what is done with the list.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Failure, health};
use crate::catalog::{Backup, Listing};
use crate::daemon::runs::Runs;
use crate::fault::{Diagnosed, Kind, log_failure};
use crate::format::utc;

/// Reads the bucket before a run that is due before it was ever read. The run does not need the list, but without it
/// `/health` would know of no older backup until the run ends. It may take a few seconds and no longer.
pub(super) async fn at_first(runs: &Runs, stop: &CancellationToken) {
    let (job, board) = (&runs.job, &runs.board);
    tokio::select! {
        listed = job.catalog.list((job.clock)()) => if let Ok(listing) = listed {
            take_over(listing, board, (job.clock)());
        },
        () = tokio::time::sleep(Duration::from_secs(10)) => {}
        () = stop.cancelled() => {}
    }
}

/// Records what the bucket holds, and warns about what is unusual: once about each backup, not every hour.
pub(super) fn take_over(listing: Listing<Backup>, board: &Board, now: DateTime<Utc>) {
    const NAMED: usize = 3;
    let first = board.read(|status| status.listed_at.is_none());
    let age_was_known = board.read(|status| status.newest().is_none_or(|b| b.age(now).is_some()));
    if first {
        listing.log_left_out();
    }
    let before = board.read(|status| status.ahead.clone());
    let store_is_ahead = listing.store_is_ahead(now);
    if store_is_ahead && !board.read(|status| status.store_is_ahead) {
        tracing::warn!(
            hint = health::CLOCKS_HINT,
            "ages not known: the store's clock is ahead of this one"
        );
    }
    board.listed_by_clock(listing.kept, now, store_is_ahead);
    board.read(|status| {
        let is_new = |backup: &&Backup| !before.contains(backup);
        let news: Vec<&Backup> = status.ahead.iter().filter(is_new).collect();
        if !news.is_empty() {
            let named = news.iter().take(NAMED).map(|backup| backup.name.to_string());
            let names = named.collect::<Vec<_>>().join(", ");
            tracing::warn!(count = news.len(), names, hint = health::AHEAD_HINT, "backups dated ahead count for nothing");
        }
        if let Some(newest) = status.newest().filter(|newest| newest.age(now).is_none())
            && age_was_known
        {
            tracing::warn!(name = %newest.name, finished_at = utc(newest.finished_at), hint = health::CLOCKS_HINT, "age of the newest backup not known: it was stored ahead of this clock");
        }
    });
}

/// Reads the bucket at that time, and again until it succeeds. A failure is logged once.
pub(super) async fn at_last(runs: &Runs, at: Instant) -> Listing<Backup> {
    tokio::time::sleep_until(at).await;
    let job = &runs.job;
    let mut told: Option<Kind> = None;
    loop {
        runs.renewal.renew().await;
        match job.catalog.list((job.clock)()).await {
            Ok(listing) => {
                // A run aborts old unfinished uploads too, but the next one may be a day away.
                job.catalog.sweep(job.timeout, (job.clock)()).await;
                return listing;
            }
            Err(error) => {
                if told != Some(error.kind()) {
                    log_failure!(error, error, "could not read the bucket");
                    told = Some(error.kind());
                }
                runs.board.could_not_list(Failure {
                    name: job.catalog.store().bucket().to_owned(),
                    error: error.to_string(),
                    hint: error.hint().to_owned(),
                });
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
