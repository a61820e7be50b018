//! The daemon: it owns the tasks, follows the schedule, and outlives every run that fails.

pub mod prover;
pub mod renewal;
pub mod runs;
mod tasks;

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup::{Job, Trigger};
use crate::board::Board;
use crate::catalog::{Backup, Catalog, Listing};
use crate::check::{self, Check, Railway};
use crate::config::{Config, Sources};
use crate::daemon::prover::Prover;
use crate::daemon::renewal::Renewal;
use crate::daemon::runs::Runs;
use crate::daemon::tasks::Tasks;
use crate::drill::Drill;
use crate::dump::Patience;
use crate::fault::{Diagnosed, Kind, log_failure};
use crate::format::utc;
use crate::postgres::{Clients, client_directories};
use crate::process::Ending;
use crate::process::signals::Signals;
use crate::schedule::alarm::Alarm;
use crate::schedule::bells::{Bell, Bells};
use crate::schedule::{Clock, Schedule};
use crate::store::{PartCounts, Store, StorePatience};
use crate::watch::alert::{Alerts, Subject};
use crate::watch::heartbeat::Heartbeat;
use crate::web::gate::Gate;
use crate::web::http::{self, Answers, Inside};
use crate::web::page::Setting;
use stream::pipeline::Compression;

/// The waits before each further attempt of a run; the last one counts for all that follow.
const RETRY_WAITS: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

/// How often the bucket is read while nothing else happens: a backup that somebody deleted must not stay fresh in memory.
const LIST_EVERY: Duration = Duration::from_secs(3600);

/// How long a run gets to stop its dump and abort its upload. Platforms kill after their own grace, so it is short.
const GRACE: Duration = Duration::from_secs(4);

/// How long messages that are on their way get then: less than the run, or its end would be called unclean.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long one backup that was made, or not, waits for its messages before the process ends.
const ONCE_LAST_WORDS: Duration = Duration::from_secs(10);

/// Stays, and runs a backup at each due time, until it is told to stop.
/// `temporary` is where throwaway servers may put their files.
pub async fn run(
    config: Config,
    sources: Sources,
    path: Option<&OsString>,
    temporary: &Path,
    railway: Option<Railway>,
    clock: Clock,
    mut signals: Signals,
) -> Ending {
    let stop = CancellationToken::new();
    let listener = match http::bind(config.port) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(variable = "PORT", port = config.port, %error, hint = "another process has the port; set PORT to a free one", "could not listen");
            return Ending::Failed;
        }
    };
    let board = Board::default();
    let store = Store::new(&config.store, StorePatience::default());
    let renewal = Renewal::new(&config, sources, store.clone());
    let answers = Answers {
        board: board.clone(),
        max_age: config.max_age,
        clock,
        inside: inside(&config, &renewal, store.sent()),
    };
    let closed = answers.inside.is_none();
    let mut tasks = Tasks::default();
    tasks.spawn("http", http::serve(listener, answers, stop.clone()));
    let job = tokio::select! {
        job = job(&config, store, path, clock) => job,
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            tracing::info!("stopped");
            return Ending::Done;
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        port = config.port,
        schedule = config.schedule.expression(),
        time_zone = config.schedule.zone().name(),
        clients = job.clients.majors(),
        bucket = config.store.bucket,
        prefix = config.prefix.as_str(),
        max_age_seconds = config.max_age.as_secs(),
        "starting"
    );
    if closed {
        tracing::info!(
            hint = "set STATUS_TOKEN to open the status page and the metrics to those who have it: openssl rand -hex 24",
            "/ and /metrics are closed"
        );
    } else {
        tracing::info!("/ and /metrics are open to those who have STATUS_TOKEN");
    }
    let check = Check::new(&config, job.clients.clone(), railway, clock).for_daemon();
    tasks.spawn("look ahead", look_ahead(check, stop.clone()));
    let (bells, ringer) = Bells::new(clock);
    tasks.spawn("bells", ringer.run(stop.clone()));
    let start = Start {
        run_now: config.run_on_startup,
        catch_up: config.catch_up,
    };
    if let Some((schedule, drilling)) = config.drills.clone() {
        let drill = Drill {
            store: job.catalog.store().clone(),
            server: drilling.server,
            clients: job.clients.clone(),
            sql: drilling.sql,
            temporary: temporary.to_owned(),
            timeout: config.timeout,
            may_be_renamed: false,
            may_be_unconfined: drilling.may_be_unconfined,
            search_path: Vec::new(),
        };
        let prover = Prover {
            catalog: job.catalog.clone(),
            drill,
            renewal: renewal.clone(),
            clock,
        };
        tasks.spawn(
            "drills",
            prover.follow(schedule, bells.bell("drills"), board.clone(), stop.clone()),
        );
    }
    let heartbeat = speak(
        &config,
        &renewal,
        &board,
        clock,
        (&stop, LAST_WORDS),
        &mut tasks,
    );
    let runs = Runs {
        job,
        renewal,
        board,
        thresholds: config.thresholds,
        heartbeat,
    };
    let bell = bells.bell("backups");
    tasks.spawn(
        "backups",
        follow(config.schedule, bell, runs, start, stop.clone()),
    );

    tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
        }
        // No task ends by itself: a daemon without its schedule or its port must not look alive.
        ended = tasks.next() => {
            let (task, error) = ended.map_or(("", None), |ended| (ended.name, ended.error));
            tracing::error!(task, error, "a task ended that must not; exiting so that the platform starts the service again");
            return Ending::Failed;
        }
    }
    stop.cancel();
    tokio::select! {
        () = tasks.all() => tracing::info!("stopped"),
        () = tokio::time::sleep(GRACE) => tracing::warn!("stopped before the run could clean up; the next start aborts what is left"),
        _ = signals.next() => tracing::warn!("stopped at once by a second signal; the next start aborts what is left"),
    }
    Ending::Done
}

/// Says at the start what may go wrong later. Nothing waits for it, and it does not end before the daemon does: a task that
/// ends ends the daemon.
async fn look_ahead(check: Check, stop: CancellationToken) {
    if let Some(findings) = check.run(&stop).await {
        check::log(&findings);
    }
    stop.cancelled().await;
}

/// Starts the tasks that tell others, and gives what runs leave their beats in. They end within a grace after `stop`.
fn speak(
    config: &Config,
    renewal: &Renewal,
    board: &Board,
    clock: Clock,
    (stop, grace): (&CancellationToken, Duration),
    tasks: &mut Tasks,
) -> Heartbeat {
    if config.alerts.is_some() {
        let alerts = Alerts {
            address: renewal.alerts.clone(),
            subject: Subject {
                bucket: config.store.bucket.clone(),
                prefix: config.prefix.as_str().to_owned(),
                max_age: config.max_age,
            },
            clock,
        };
        tasks.spawn("alerts", alerts.follow(board.clone(), stop.clone(), grace));
    }
    let (heartbeat, beats) = Heartbeat::new(renewal.heartbeat.clone());
    if let Some(beats) = beats {
        tasks.spawn("heartbeat", beats.deliver(stop.clone(), grace));
    }
    heartbeat
}

/// What those see who have `STATUS_TOKEN`, if it is set.
fn inside(config: &Config, renewal: &Renewal, sent: PartCounts) -> Option<Arc<Inside>> {
    renewal.status_token.get()?;
    let setting = Setting {
        schedule: config.schedule.clone(),
        max_age: config.max_age,
        bucket: config.store.bucket.clone(),
        prefix: config.prefix.as_str().to_owned(),
        endpoint_option: endpoint_option(config),
        drills: config.drills.is_some(),
    };
    Some(Arc::new(Inside {
        gate: Gate::new(renewal.status_token.clone()),
        setting,
        sent,
    }))
}

/// Makes one backup and returns.
pub async fn once(
    config: Config,
    sources: Sources,
    path: Option<&OsString>,
    clock: Clock,
    mut signals: Signals,
) -> Ending {
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let store = Store::new(&config.store, StorePatience::default());
    let job = tokio::select! {
        job = job(&config, store.clone(), path, clock) => job,
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            return Ending::Failed;
        }
    };
    let (board, mut tasks) = (Board::default(), Tasks::default());
    let grace = (&ended, ONCE_LAST_WORDS);
    let renewal = Renewal::new(&config, sources, store);
    let heartbeat = speak(&config, &renewal, &board, clock, grace, &mut tasks);
    let runs = Runs {
        job,
        renewal,
        board,
        thresholds: config.thresholds,
        heartbeat,
    };
    let mut run = Box::pin(runs.once(Trigger::Manual(clock()), &stop));
    let (done, last_words) = tokio::select! {
        done = &mut run => (done, ONCE_LAST_WORDS),
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            stop.cancel();
            let done = tokio::select! {
                done = &mut run => done,
                () = tokio::time::sleep(GRACE) => {
                    tracing::warn!("stopped before the run could clean up; the next start aborts what is left");
                    false
                }
            };
            (done, Duration::from_millis(500))
        }
    };
    drop(run);
    drop(runs);
    ended.cancel();
    tokio::select! {
        () = tasks.all() => {}
        () = tokio::time::sleep(last_words + Duration::from_millis(100)) => {}
        name = signals.next() => tracing::info!(signal = name, "stopped before all messages were delivered"),
    }
    if done { Ending::Done } else { Ending::Failed }
}

async fn job(config: &Config, store: Store, path: Option<&OsString>, clock: Clock) -> Job {
    Job {
        catalog: Catalog::new(store, config.prefix.clone(), config.timeout),
        database: config.database.clone(),
        clients: Clients::discover(&client_directories(path)).await,
        options: config.options.clone(),
        compression: Compression {
            level: config.compression,
            threads: config.compression_threads.unwrap_or_else(threads),
        },
        timeout: config.timeout,
        retry_waits: retry_waits(config.retries),
        server_wait: Duration::from_secs(120),
        patience: Patience::default(),
        endpoint_option: endpoint_option(config),
        clock,
        globals: config.globals,
    }
}

/// What the AWS CLI must be told besides the bucket.
fn endpoint_option(config: &Config) -> String {
    let endpoint = config.store.endpoint.as_ref();
    endpoint
        .map(|endpoint| format!(" --endpoint-url {endpoint}"))
        .unwrap_or_default()
}

fn retry_waits(retries: usize) -> Vec<Duration> {
    let last = RETRY_WAITS.last().copied().unwrap_or_default();
    let waits = RETRY_WAITS.into_iter().chain(std::iter::repeat(last));
    waits.take(retries).collect()
}

/// As many as there are cores for this process, but no more than one `pg_dump` keeps busy.
fn threads() -> usize {
    const MOST: usize = 4;
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

/// What happens before the first due time.
#[derive(Debug, Clone, Copy)]
struct Start {
    run_now: bool,
    catch_up: bool,
}

/// The one task that runs backups: while one runs, nothing else can, so no two ever overlap. A run ends by itself when
/// the service is told to stop; it must not be dropped in the middle, or its upload would stay behind.
async fn follow(schedule: Schedule, bell: Bell, runs: Runs, start: Start, stop: CancellationToken) {
    let (job, board, stop) = (&runs.job, &runs.board, &stop);
    let began_at = (job.clock)();
    let mut missed_before = schedule
        .last_at_or_before(began_at)
        .filter(|_| start.catch_up && !start.run_now);
    log_upcoming(&schedule, began_at);
    let mut alarm = Alarm::new(schedule, job.clock, bell);
    log_next(&alarm, board);
    if start.run_now {
        run_one(&runs, &mut alarm, Trigger::Manual((job.clock)()), stop).await;
    }
    let mut list_at = Instant::now();
    while !stop.is_cancelled() {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            wake = alarm.wait() => {
                wake.log("several due times passed while the clock jumped or the machine slept");
                match wake.due {
                    Some(due) => run_one(&runs, &mut alarm, Trigger::Scheduled(due), stop).await,
                    None => log_next(&alarm, board),
                }
            }
            listing = list_at_last(&runs, list_at) => {
                list_at = Instant::now() + LIST_EVERY;
                take_over(listing, board, (job.clock)());
                // Only a bucket that holds backups shows that they are made here and that one is missing.
                let newest_at = board.read(|status| status.newest().map(|backup| backup.name.at()));
                if let (Some(newest_at), Some(due)) = (newest_at, missed_before.take()) && newest_at < due {
                    tracing::warn!(due_at = utc(due), "no backup of the last due time: running it now");
                    run_one(&runs, &mut alarm, Trigger::Scheduled(due), stop).await;
                }
            }
        }
    }
}

/// The next five due times, for the one who wonders whether a schedule means what was meant.
fn log_upcoming(schedule: &Schedule, now: DateTime<Utc>) {
    for due in schedule.upcoming(now, 5) {
        tracing::debug!(due_at = utc(due), local = %due.with_timezone(&schedule.zone()).format("%a %Y-%m-%d %H:%M:%S %Z"), "upcoming");
    }
}

fn log_next(alarm: &Alarm, board: &Board) {
    let due = alarm.next_due();
    board.next_due(due);
    tracing::info!(due_at = utc(due), "next backup");
}

async fn run_one(runs: &Runs, alarm: &mut Alarm, trigger: Trigger, stop: &CancellationToken) {
    if runs.board.read(|status| status.listed_at.is_none()) {
        list_first(runs, stop).await;
    }
    runs.run(trigger, stop).await;
    if !stop.is_cancelled() {
        alarm.skip_passed().log("a run was active");
        log_next(alarm, &runs.board);
    }
}

/// Reads the bucket before a run that is due before it was ever read. The list decides nothing for this run, but without it
/// `/health` would know of no older backup for as long as the run lasts. It is worth no more than a few seconds.
async fn list_first(runs: &Runs, stop: &CancellationToken) {
    let (job, board) = (&runs.job, &runs.board);
    tokio::select! {
        listed = job.catalog.list((job.clock)()) => if let Ok(listing) = listed {
            take_over(listing, board, (job.clock)());
        },
        () = tokio::time::sleep(Duration::from_secs(10)) => {}
        () = stop.cancelled() => {}
    }
}

/// Takes over what the bucket holds, and says what is odd about it: of each backup once, not every hour.
fn take_over(listing: Listing<Backup>, board: &Board, now: DateTime<Utc>) {
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
            hint = check::CLOCKS_HINT,
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
            tracing::warn!(count = news.len(), names, hint = check::AHEAD_HINT, "backups dated ahead count for nothing");
        }
        if let Some(newest) = status.newest().filter(|newest| newest.age(now).is_none())
            && age_was_known
        {
            tracing::warn!(name = %newest.name, finished_at = utc(newest.finished_at), hint = check::CLOCKS_HINT, "age of the newest backup not known: it was stored ahead of this clock");
        }
    });
}

/// Reads the bucket at that time, until it works, and says once why it does not.
async fn list_at_last(runs: &Runs, at: Instant) -> Listing<Backup> {
    tokio::time::sleep_until(at).await;
    let job = &runs.job;
    let mut told: Option<Kind> = None;
    loop {
        runs.renewal.renew().await;
        match job.catalog.list((job.clock)()).await {
            Ok(listing) => {
                // A run sweeps too, but the next one may be a day away.
                job.catalog.sweep(job.timeout, (job.clock)()).await;
                return listing;
            }
            Err(error) => {
                if told != Some(error.kind()) {
                    log_failure!(error, error, "could not read the bucket");
                    told = Some(error.kind());
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// Asks the daemon on this machine whether it lives: the container's `HEALTHCHECK`, so that the image needs no curl.
pub async fn probe(port: u16) -> bool {
    let ask = async {
        // A network may lack one of the two.
        let loopback = [
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ];
        let mut stream = TcpStream::connect(&loopback[..]).await.ok()?;
        stream
            .write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .ok()?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await.ok()?;
        answer.starts_with(b"HTTP/1.1 200 ").then_some(())
    };
    tokio::select! {
        answer = ask => answer.is_some(),
        () = tokio::time::sleep(Duration::from_secs(3)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_after_1_5_and_15_minutes_and_15_from_then_on() {
        let minutes = |retries| -> Vec<u64> {
            let waits = retry_waits(retries).into_iter();
            waits.map(|wait| wait.as_secs() / 60).collect()
        };
        assert_eq!(minutes(0), [0_u64; 0]);
        assert_eq!(minutes(2), [1, 5]);
        assert_eq!(minutes(5), [1, 5, 15, 15, 15]);
    }
}
