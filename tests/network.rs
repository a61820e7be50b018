//! Failures between the service and its servers that nothing reports: a process stops, a pooler swallows what was meant for
//! the server, a store is slow.

use std::time::Duration;

use postgres_s3_backups::backup::BackupError;
use postgres_s3_backups::dump::{DumpError, Patience};
use postgres_s3_backups::fault::{Diagnosed, Kind};
use postgres_s3_backups::store::StorePatience;

use crate::common::halted::{Halted, OPTION};
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, signal, tools, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{job, postgres};

/// A number of rows whose compressed text is larger than a part.
const A_PART: u32 = 260_000;

fn nothing_left(r2: &R2) {
    assert_eq!(
        (r2.keys(), r2.uploads()),
        (Vec::<String>::new(), Vec::<String>::new())
    );
}

/// Processes that are stopped until this is dropped.
struct Stopped(Vec<u32>);

impl Stopped {
    fn new(ids: &[u32]) -> Self {
        ids.iter().for_each(|&id| signal(id, "STOP"));
        Self(ids.to_vec())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.iter().for_each(|&id| signal(id, "CONT"));
    }
}

#[test]
fn a_backend_that_is_stopped_ends_the_attempt_when_no_byte_came_for_too_long() {
    let halted = Halted::new(postgres(), 1000, 1000);
    let r2 = R2::start_plain();
    // TCP notices nothing, because the kernel sends acknowledgements for a stopped process. The default is ten minutes.
    let patience = Patience {
        silence: Duration::from_secs(8),
        ..Patience::default()
    };
    assert_eq!(Patience::default().silence, Duration::from_secs(600));
    let (url, store) = (halted.url(), StorePatience::default());
    let error = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                job::run(&job::job(&r2, &url, &[OPTION], patience, store).await).await
            })
        });
        let _stopped = Stopped::new(&[halted.wait()]);
        run.join().unwrap().unwrap_err()
    });
    assert!(
        matches!(error, BackupError::Dump(DumpError::Silent(limit)) if limit == Duration::from_secs(8)),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::DumpStalled);
    assert!(error.hint().contains("the database or the network"));
    assert_eq!(
        error.to_string(),
        "the dump failed: pg_dump wrote nothing for 8s"
    );
    nothing_left(&r2);
    // pg_dump is gone, and the server notices that as soon as it continues.
    halted.release();
    wait_until("the end of the session", LIMIT, || {
        (halted.sessions() == "0").then_some(())
    });
}

#[test]
fn a_store_that_is_slow_is_not_the_dumps_silence() {
    let halted = Halted::new(postgres(), 6 * A_PART, 1000);
    halted.release();
    let r2 = R2::start_plain();
    // Sending a part takes longer than the dump may be silent, and the dump waits for the parts.
    r2.fail(
        Operation::UploadPart,
        0,
        usize::MAX,
        Action::Delay(Duration::from_secs(12)),
    );
    let patience = Patience {
        silence: Duration::from_secs(5),
        ..Patience::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(async {
        let store = StorePatience::default();
        job::run(&job::job(&r2, &halted.url(), &[OPTION], patience, store).await).await
    });
    outcome.unwrap();
    assert_eq!((r2.keys().len(), r2.uploads().len()), (1, 0));
    // More parts would only be held in memory.
    assert!(
        (2..=4).contains(&r2.most_parts_at_once()),
        "{}",
        r2.most_parts_at_once()
    );
}

#[test]
fn sigterm_while_the_whole_server_is_stopped_exits_within_five_seconds() {
    let server = Postgres::start(17);
    let halted = Halted::new(&server, 1000, 1000);
    let r2 = R2::start();
    let variables = halted.variables(Variables::on_r2(&r2, ""));
    let service = Service::start(&variables, &["backup"]);
    let backend = halted.wait();
    // On SIGTERM, pg_dump tries to cancel its query over a new connection, which is accepted but never answered.
    let stopped = Stopped::new(&[backend, server.pid()]);
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    drop(stopped);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(ended.event("backup cancelled")["kind"], "cancelled");
    nothing_left(&r2);
}

#[test]
fn the_deadline_ends_a_run_whose_server_is_stopped() {
    let server = Postgres::start(17);
    let halted = Halted::new(&server, 1000, 1000);
    let r2 = R2::start();
    let variables = halted.variables(Variables::on_r2(&r2, ""));
    let service = Service::start(&variables.with("BACKUP_TIMEOUT", "15s"), &["backup"]);
    let stopped = Stopped::new(&[halted.wait(), server.pid()]);
    let ended = service.end(LIMIT);
    drop(stopped);
    assert_eq!(ended.failure()["kind"], "deadline");
    nothing_left(&r2);
}

#[test]
fn a_dump_through_pgbouncer_goes_on_without_startup_options_and_with_warnings() {
    let server = Postgres::start(17);
    server.psql_file(
        "postgres",
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/awkward.sql"),
    );
    let pool = PgBouncer::start(&server);
    let r2 = R2::start();
    let ended = Service::backup(&Variables::on_r2(&r2, &pool.url("postgres")));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let warnings = ended.events("configuration");
    assert!(
        warnings
            .iter()
            .any(|warning| warning["variable"] == "BACKUP_DATABASE_URL"
                && warning["warning"]
                    .as_str()
                    .unwrap()
                    .contains("looks like PgBouncer")
                && warning["warning"]
                    .as_str()
                    .unwrap()
                    .contains("DATABASE_UNPOOLED_URL")),
        "{warnings:?}"
    );
    let dropped = ended.event("server side keepalives dropped");
    assert_eq!(dropped["level"], "WARN");
    assert!(
        dropped["error"]
            .as_str()
            .unwrap()
            .contains("unsupported startup parameter"),
        "{dropped}"
    );
    assert!(
        dropped["hint"]
            .as_str()
            .unwrap()
            .contains("DATABASE_UNPOOLED_URL"),
        "{dropped}"
    );
    ended.event("backup finished");
    server.create_database("restored", "");
    let folder = crate::common::process::Folder::new();
    let file = folder.path().join("backup.sql");
    let object = r2.objects().into_values().next().unwrap();
    std::fs::write(&file, crate::common::service::gunzip(&object)).unwrap();
    server.psql_file("restored", &file);
    pretty_assertions::assert_eq!(server.digest("postgres"), server.digest("restored"));
}

#[test]
fn the_direct_url_of_the_same_server_gives_no_warning_and_keeps_the_keepalives() {
    let halted = Halted::new(postgres(), 10, 10);
    let r2 = R2::start();
    let service = Service::start(&halted.variables(Variables::on_r2(&r2, "")), &["backup"]);
    let backend = halted.wait();
    // The kernel's table of connections shows the timer of each. By default it is two hours.
    let query = format!("SELECT client_port FROM pg_stat_activity WHERE pid = {backend}");
    let client = format!("127.0.0.1:{}", postgres().psql("postgres", &query));
    tools(&["ip"]);
    let table = std::process::Command::new("ss")
        .arg("-tnoH")
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let ends: Vec<&str> = table
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == client))
        .collect();
    assert_eq!(ends.len(), 2, "{table}");
    for end in ends {
        let seconds = end
            .split_once("timer:(keepalive,")
            .and_then(|(_, rest)| rest.split_once("sec,"));
        assert!(
            seconds.is_some_and(|(seconds, _)| seconds
                .parse::<f64>()
                .is_ok_and(|seconds| seconds <= 30.0)),
            "{end}"
        );
    }
    halted.release();
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(
        ended.events("configuration").is_empty()
            && ended.events("server side keepalives dropped").is_empty()
    );
}
