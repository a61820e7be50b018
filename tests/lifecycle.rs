//! Stopping at a bad moment leaves no visible object and nothing to clean up by hand.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, free_port, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Service, Variables, processes_with};
use crate::common::{postgres, seaweedfs, unique};

/// A database whose dump waits, because another session holds a lock on its table.
struct Locked {
    database: String,
    session: std::process::Child,
}

impl Locked {
    fn new() -> Self {
        let database = unique("locked").replace('-', "_");
        let server = postgres();
        server.create_database(&database, "");
        server.psql(&database, "CREATE TABLE t AS SELECT 1 AS a");
        let mut command = std::process::Command::new(Postgres::bin(17).join("psql"));
        command.args([
            "-X",
            "-q",
            "-d",
            &server.url(&database),
            "-c",
            "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)",
        ]);
        let session = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        server.wait_for(&database, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 't'::regclass", "1");
        Self { database, session }
    }

    /// Waits until a dump is in the middle of its work.
    fn wait_for_dump(&self) {
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND wait_event_type = 'Lock' AND datname = '{}'",
            self.database
        );
        postgres().wait_for("postgres", &query, "1");
    }

    fn sessions(&self) -> String {
        postgres().psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND datname = '{}'", self.database))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A server does not notice that the client of a sleeping session is gone.
        postgres().psql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'BEGIN; LOCK%'", self.database));
        drop(self.session.kill());
        drop(self.session.wait());
    }
}

fn stopped_in_a_run(signal: &str, arguments: &[&str], expected: i32) {
    let locked = Locked::new();
    let bucket = unique("stop");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url(&locked.database))
        .with("RUN_ON_STARTUP", "true");
    let service = Service::start(&variables, arguments);
    locked.wait_for_dump();
    assert_eq!(
        seaweedfs().backups_begun(&bucket),
        1,
        "the upload is begun before the dump"
    );
    service.signal(signal);
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(expected), "{}", ended.text());
    assert_eq!(seaweedfs().uploads(&bucket), [], "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket), []);
    assert_eq!(
        ended.event("shutting down")["signal"],
        format!("SIG{signal}")
    );
    assert_eq!(
        ended.events("backup failed"),
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(ended.event("backup cancelled")["kind"], "cancelled");
    wait_until("the end of the dump's session", LIMIT, || {
        (locked.sessions() == "0").then_some(())
    });
}

#[test]
fn sigterm_in_a_run_aborts_it_and_exits_0() {
    stopped_in_a_run("TERM", &[], 0);
}

#[test]
fn sigint_in_a_run_aborts_it_and_exits_0() {
    stopped_in_a_run("INT", &[], 0);
}

#[test]
fn a_single_backup_cut_by_sigterm_exits_1() {
    stopped_in_a_run("TERM", &["backup"], 1);
}

#[test]
fn an_idle_daemon_stops_at_once() {
    let bucket = unique("idle");
    seaweedfs().create_bucket(&bucket);
    let service = Service::daemon(&Variables::working(
        seaweedfs(),
        &bucket,
        "postgres://nobody@127.0.0.1:1/none",
    ));
    service.wait_for("next backup");
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(ended.events("stopped").len(), 1);
}

/// Whether the process catches this signal, according to the kernel.
fn catches(id: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[test]
fn signals_are_caught_before_anything_else_is_done() {
    const SIGTERM: u32 = 15;
    let folder = Folder::new();
    let variables = Variables::bare(&[])
        .with("AWS_ACCESS_KEY_ID", "a")
        .with("AWS_SECRET_ACCESS_KEY", "b")
        .with("AWS_S3_BUCKET", "c")
        .with("AWS_S3_ENDPOINT", "http://127.0.0.1:1")
        .with("BACKUP_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .with("PORT", &free_port().to_string());
    // A client that does not print its version delays the start for ever.
    for program in ["pg_dump", "psql"] {
        let path = folder.path().join(program);
        std::fs::write(&path, "#!/bin/sh\ntouch \"$0.started\"\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let waiting = variables.clone().with("PATH", &path);
    for (arguments, expected) in [(&[][..], 0), (&["backup"][..], 1)] {
        let started = folder.path().join("pg_dump.started");
        drop(std::fs::remove_file(&started));
        let service = Service::start(&waiting, arguments);
        wait_until("the first client", LIMIT, || started.exists().then_some(()));
        service.signal("TERM");
        let ended = service.end(LIMIT);
        ended.within_five_seconds();
        assert_eq!(ended.code(), Some(expected), "{}", ended.text());
        assert_eq!(ended.event("shutting down")["signal"], "SIGTERM");
    }
    // The signal comes at different moments of the start.
    for round in 0..20 {
        let service = Service::start(&variables, &[]);
        while !catches(service.id(), SIGTERM) {
            std::thread::yield_now();
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(3) * round {
            std::thread::yield_now();
        }
        service.signal("TERM");
        let ended = service.end(LIMIT);
        assert_eq!(ended.code(), Some(0), "round {round}: {}", ended.text());
    }
}

#[test]
fn sigkill_leaves_no_object_no_dump_and_an_upload_that_the_next_run_aborts() {
    let locked = Locked::new();
    let bucket = unique("kill");
    seaweedfs().create_bucket(&bucket);
    let url = postgres().url(&locked.database);
    let variables = Variables::working(seaweedfs(), &bucket, &url);
    let service = Service::start(&variables, &["backup"]);
    locked.wait_for_dump();
    let id = service.id();
    service.signal("KILL");
    assert_eq!(service.end(LIMIT).code(), None);
    assert_eq!(seaweedfs().list(&bucket), []);
    assert_eq!(
        seaweedfs().uploads(&bucket).len(),
        1,
        "nobody was left to abort it"
    );
    // The lock is released, and pg_dump writes into a pipe that nobody reads.
    let database = locked.database.clone();
    drop(locked);
    wait_until(&format!("the end of {id}'s pg_dump"), LIMIT, || {
        (postgres().psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND datname = '{database}'")) == "0").then_some(())
    });

    // A recent upload may belong to another container that is at work, so it stays.
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().uploads(&bucket).len(), 1);
    // One that is older than BACKUP_TIMEOUT can't.
    let impatient = variables.with("BACKUP_TIMEOUT", "1s");
    wait_until("the sweep", LIMIT, || {
        Service::backup(&impatient);
        seaweedfs().uploads(&bucket).is_empty().then_some(())
    });
}

#[test]
fn foreign_unfinished_uploads_are_left_alone() {
    let bucket = unique("foreign");
    seaweedfs().create_bucket(&bucket);
    for key in ["vlvt_backup_notes.txt", "other_2026-01-25_03-00-00.sql.gz"] {
        seaweedfs().begin_upload(&bucket, key);
    }
    seaweedfs().begin_upload(&bucket, "vlvt_backup_2026-01-25_03-00-00.sql.gz");
    let url = postgres().url("postgres");
    let variables = Variables::working(seaweedfs(), &bucket, &url).with("BACKUP_TIMEOUT", "1s");
    wait_until("the sweep of ours", LIMIT, || {
        Service::backup(&variables);
        (seaweedfs().uploads(&bucket).len() <= 2).then_some(())
    });
    let mut left: Vec<String> = seaweedfs()
        .uploads(&bucket)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["other_2026-01-25_03-00-00.sql.gz", "vlvt_backup_notes.txt"]
    );
}

#[test]
fn the_password_is_in_no_command_line() {
    let locked = Locked::new();
    let bucket = unique("argv");
    seaweedfs().create_bucket(&bucket);
    let service = Service::start(
        &Variables::working(seaweedfs(), &bucket, &postgres().url(&locked.database)),
        &["backup"],
    );
    locked.wait_for_dump();
    let dumps: Vec<u32> = processes_with("--lock-wait-timeout").into_iter().collect();
    assert!(!dumps.is_empty());
    for id in dumps {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("testpass"));
    }
    service.terminate();
}

/// The time limit of the run ends a dump that waits, and then the upload has to be aborted. If the store answers with
/// errors, that is tried again and again, but not for longer than the five seconds that are left.
#[test]
fn a_run_whose_time_is_over_does_not_go_on_aborting_its_upload() {
    let locked = Locked::new();
    let r2 = R2::start();
    let refusal = Action::Answer(500, "InternalError");
    r2.fail(Operation::AbortUpload, 0, usize::MAX, refusal);
    let variables = Variables::on_r2(&r2, &postgres().url(&locked.database));
    let ended = Service::start(&variables.with("BACKUP_TIMEOUT", "3s"), &["backup"]).end(LIMIT);
    let failed = ended.failure();
    assert_eq!(failed["kind"], "deadline", "{failed}");
    assert!(
        r2.seen(Operation::AbortUpload).len() > 1,
        "{}",
        ended.text()
    );
    // The times are those in the log.
    let at = |event: &serde_json::Value| -> DateTime<Utc> {
        event["timestamp"].as_str().unwrap().parse().unwrap()
    };
    let took = at(&failed) - at(&ended.event("backup started"));
    assert!(took < TimeDelta::seconds(20), "{}", ended.text());
}
