//! The daemon owns the tasks, follows the schedules, and goes on after every run that fails.

mod course;
mod listing;
pub mod prover;
pub mod renewal;
pub mod runs;
pub mod series;
pub mod tasks;

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backup::Trigger;
use crate::check::{self, Check, Railway};
use crate::config::{Config, Sources};
use crate::daemon::course::Course;
use crate::daemon::renewal::Shared;
use crate::daemon::series::Series;
use crate::daemon::tasks::Tasks;
use crate::postgres::{Clients, client_directories};
use crate::process::Ending;
use crate::process::signals::Signals;
use crate::schedule::Clock;
use crate::schedule::bells::Bells;
use crate::telemetry::within;
use crate::watch::alert::Alerts;
use crate::watch::heartbeat::Heartbeat;
use crate::web::gate::Gate;
use crate::web::http::{self, Answers};

/// How long a run may take to stop its dump and abort its upload. It is short, because platforms kill the process after a
/// grace period of their own.
const GRACE: Duration = Duration::from_secs(4);

/// How long messages that are being sent may take then. It is less than a run gets, or the end would be logged as unclean.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long a process that makes one backup waits for its messages before it ends.
const ONCE_LAST_WORDS: Duration = Duration::from_secs(10);

/// The name of the only series. Nobody sees it.
const ONLY: &str = "backups";

/// The daemon: the series of backups, and what they share.
#[derive(Debug)]
pub struct Daemon {
    /// At least one.
    pub series: Vec<Series>,
    /// The secrets that all series share.
    pub shared: Shared,
    /// The folder where throwaway servers may put their files.
    pub temporary: PathBuf,
    /// What Railway says of this service, if it runs there.
    pub railway: Option<Railway>,
    /// The wall clock.
    pub clock: Clock,
}

/// Makes a backup at each due time, until it is told to stop. `temporary` is the folder where throwaway servers may put
/// their files.
pub async fn run(
    config: Config,
    sources: Sources,
    path: Option<&OsString>,
    temporary: PathBuf,
    railway: Option<Railway>,
    clock: Clock,
    mut signals: Signals,
) -> Ending {
    let stop = CancellationToken::new();
    let port = config.port;
    let listener = match http::bind(port) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(variable = "PORT", port, %error, hint = "another process has the port; set PORT to a free one", "could not listen");
            return Ending::Failed;
        }
    };
    let shared = Shared::new(&config);
    let daemon = Daemon {
        series: vec![Series::new(ONLY, config.series, sources, &shared)],
        shared,
        temporary,
        railway,
        clock,
    };
    let mut tasks = Tasks::default();
    daemon.answer(listener, &mut tasks, &stop);
    let directories = client_directories(path);
    let clients = tokio::select! {
        clients = Clients::discover(&directories) => clients,
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            tracing::info!("stopped");
            return Ending::Done;
        }
    };
    daemon.log_start(port, &clients);
    daemon.start(&clients, &mut tasks, &stop);

    tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
        }
        // No task is meant to end by itself. A daemon that lost its schedule or its port must not look alive.
        ended = tasks.next() => {
            let (task, error) = ended.map_or((String::new(), None), |ended| (ended.name, ended.error));
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

impl Daemon {
    /// Starts to answer over HTTP. The client programs are not needed for this, so it begins before they are looked for.
    pub fn answer(&self, listener: TcpListener, tasks: &mut Tasks, stop: &CancellationToken) {
        let token = &self.shared.status_token;
        let answers = Answers {
            series: self.series.iter().map(Series::shown).collect(),
            clock: self.clock,
            gate: token.get().map(|_| Arc::new(Gate::new(token.clone()))),
        };
        tasks.spawn("http", http::serve(listener, answers, stop.clone()));
    }

    /// Starts all other tasks.
    pub fn start(&self, clients: &Clients, tasks: &mut Tasks, stop: &CancellationToken) {
        let (bells, ringer) = Bells::new(self.clock);
        tasks.spawn("bells", ringer.run(stop.clone()));
        // A dump can use all of the memory, the cores and the network that there is, so only one is made at a time.
        let turns = Arc::new(Semaphore::new(1));
        let mut railway = self.railway.clone();
        for series in &self.series {
            let scope = self.scope(series);
            let check = series.check(clients, self.clock).on(railway.take());
            tasks.spawn(
                self.task("look ahead", series),
                within(scope.clone(), look_ahead(check, stop.clone())),
            );
            let prover = series.prover(clients, &self.temporary, self.clock);
            if let Some((schedule, prover)) = prover {
                let name = self.task("drills", series);
                let bell = bells.bell(name.as_str());
                let drills = prover.follow(schedule, bell, series.board.clone(), stop.clone());
                tasks.spawn(name, within(scope.clone(), drills));
            }
            let heartbeat = self.speak(series, (stop, LAST_WORDS), tasks);
            let course = Course {
                schedule: series.settings.schedule.clone(),
                run_now: series.settings.run_on_startup,
                catch_up: series.settings.catch_up,
                runs: series.runs(clients, heartbeat, &turns, self.clock),
            };
            let name = self.task("backups", series);
            let bell = bells.bell(name.as_str());
            tasks.spawn(
                name,
                within(scope.clone(), course.follow(bell, stop.clone())),
            );
        }
    }

    /// The name of a series if there are several. Its tasks, its log lines and its alerts carry it.
    fn scope(&self, series: &Series) -> Option<String> {
        (self.series.len() > 1).then(|| series.name.clone())
    }

    /// The name of a task of a series.
    fn task(&self, what: &str, series: &Series) -> String {
        match self.scope(series) {
            Some(name) => format!("{what} of {name}"),
            None => what.to_owned(),
        }
    }

    /// Starts the tasks that send the alerts and heartbeats of a series, and returns the heartbeat that its runs report to.
    /// The tasks end within a grace period after `stop`.
    fn speak(
        &self,
        series: &Series,
        (stop, grace): (&CancellationToken, Duration),
        tasks: &mut Tasks,
    ) -> Heartbeat {
        let scope = self.scope(series);
        if self.shared.alerts.get().is_some() {
            let alerts = Alerts {
                address: self.shared.alerts.clone(),
                subject: series.subject(scope.clone()),
                clock: self.clock,
            };
            let told = alerts.follow(series.board.clone(), stop.clone(), grace);
            tasks.spawn(self.task("alerts", series), within(scope.clone(), told));
        }
        let (heartbeat, beats) = Heartbeat::new(series.renewal().heartbeat.clone());
        if let Some(beats) = beats {
            tasks.spawn(
                self.task("heartbeat", series),
                within(scope.clone(), beats.deliver(stop.clone(), grace)),
            );
        }
        heartbeat
    }

    fn log_start(&self, port: u16, clients: &Clients) {
        for series in &self.series {
            let settings = &series.settings;
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                port,
                schedule = settings.schedule.expression(),
                time_zone = settings.schedule.zone().name(),
                clients = clients.majors(),
                bucket = settings.store.bucket,
                prefix = settings.prefix.as_str(),
                max_age_seconds = settings.max_age.as_secs(),
                "starting"
            );
        }
        if self.shared.status_token.get().is_none() {
            tracing::info!(
                hint = "set STATUS_TOKEN to open the status page and the metrics to those who have it: openssl rand -hex 24",
                "/ and /metrics are closed"
            );
        } else {
            tracing::info!("/ and /metrics are open to those who have STATUS_TOKEN");
        }
    }
}

/// Logs at the start what may go wrong later. Nothing waits for it. It does not end before the daemon does, because the
/// daemon stops if one of its tasks ends.
async fn look_ahead(check: Check, stop: CancellationToken) {
    if let Some(findings) = check.run(&stop).await {
        check::log(&findings);
    }
    stop.cancelled().await;
}

/// Makes one backup of each series and returns.
pub async fn once(
    config: Config,
    sources: Sources,
    path: Option<&OsString>,
    clock: Clock,
    mut signals: Signals,
) -> Ending {
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let directories = client_directories(path);
    let clients = tokio::select! {
        clients = Clients::discover(&directories) => clients,
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            return Ending::Failed;
        }
    };
    let shared = Shared::new(&config);
    let daemon = Daemon {
        series: vec![Series::new(ONLY, config.series, sources, &shared)],
        shared,
        temporary: PathBuf::new(),
        railway: None,
        clock,
    };
    let mut tasks = Tasks::default();
    let turns = Arc::new(Semaphore::new(1));
    let runs: Vec<_> = daemon
        .series
        .iter()
        .map(|series| {
            let heartbeat = daemon.speak(series, (&ended, ONCE_LAST_WORDS), &mut tasks);
            series.runs(&clients, heartbeat, &turns, clock)
        })
        .collect();
    let mut all = Box::pin(async {
        let mut done = true;
        for runs in &runs {
            done &= runs.once(Trigger::Manual(clock()), &stop).await;
        }
        done
    });
    let (done, last_words) = tokio::select! {
        done = &mut all => (done, ONCE_LAST_WORDS),
        name = signals.next() => {
            tracing::info!(signal = name, grace_seconds = GRACE.as_secs(), "shutting down");
            stop.cancel();
            let done = tokio::select! {
                done = &mut all => done,
                () = tokio::time::sleep(GRACE) => {
                    tracing::warn!("stopped before the run could clean up; the next start aborts what is left");
                    false
                }
            };
            (done, Duration::from_millis(500))
        }
    };
    drop(all);
    drop(runs);
    ended.cancel();
    tokio::select! {
        () = tasks.all() => {}
        () = tokio::time::sleep(last_words + Duration::from_millis(100)) => {}
        name = signals.next() => tracing::info!(signal = name, "stopped before all messages were delivered"),
    }
    if done { Ending::Done } else { Ending::Failed }
}

/// Asks the daemon on this machine whether it is alive. This is the container's `HEALTHCHECK`, so the image needs no curl.
pub async fn probe(port: u16) -> bool {
    let ask = async {
        // A network may not have both of these.
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
