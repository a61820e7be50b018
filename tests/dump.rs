//! Whatever happens to `pg_dump`, there is one clear error, no object and no unfinished upload.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::common::halted::Halted;
use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, Process, wait_until};
use crate::common::service::{BINARY, Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

/// The variables for a bucket and for a folder of clients, in which `pg_dump` is a program of `tests/data/pg_dump` that
/// calls the real one.
fn with_program(name: &str, url: &str) -> (Variables, String, Folder) {
    let bucket = unique("dump");
    seaweedfs().create_bucket(&bucket);
    let folder = Folder::new();
    let real = Postgres::bin(17);
    symlink(real.join("psql"), folder.path().join("psql")).unwrap();
    symlink(real.join("pg_dump"), folder.path().join("real_pg_dump")).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/pg_dump")
        .join(name);
    symlink(program, folder.path().join("pg_dump")).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    (
        Variables::working(seaweedfs(), &bucket, url).with("PATH", &path),
        bucket,
        folder,
    )
}

fn nothing_left(bucket: &str, ended: &Ended) {
    assert_eq!(seaweedfs().list(bucket), [], "{}", ended.text());
    assert_eq!(seaweedfs().uploads(bucket), [], "{}", ended.text());
}

fn refused(program: &str, kind: &str, words: &[&str]) {
    let (variables, bucket, _folder) = with_program(program, &postgres().url("postgres"));
    let ended = Service::backup(&variables);
    nothing_left(&bucket, &ended);
    let failure = ended.failure();
    assert_eq!(failure["kind"], kind, "{failure}");
    for word in words {
        assert!(failure.to_string().contains(word), "{word}: {failure}");
    }
    assert!(!ended.text().contains("testpass"), "{}", ended.text());
}

#[test]
fn a_pg_dump_that_ends_well_with_short_output_is_no_backup() {
    refused(
        "short",
        "dump_invalid",
        &["does not end like a whole dump", "BACKUP_OPTIONS"],
    );
}

#[test]
fn a_pg_dump_that_ends_well_without_a_byte_is_no_backup() {
    refused("silent", "dump_invalid", &["0 bytes", "BACKUP_OPTIONS"]);
}

#[test]
fn output_that_is_no_dump_is_no_backup() {
    refused(
        "stranger",
        "dump_invalid",
        &["does not end like a whole dump"],
    );
}

#[test]
fn a_whole_dump_followed_by_a_signal_is_no_backup() {
    refused("suicide", "dump_signal", &["signal 11"]);
}

#[test]
fn a_whole_dump_followed_by_a_failure_is_no_backup_and_the_password_is_redacted() {
    refused(
        "fails_late",
        "dump_exit",
        &["status 7", "something about [redacted]"],
    );
}

#[test]
fn a_pg_dump_that_closes_its_output_and_stays_is_ended() {
    let began = Instant::now();
    refused("lingers", "dump_stalled", &["did not exit within 30s"]);
    assert!(began.elapsed() > Duration::from_secs(30));
}

#[test]
fn a_million_bytes_of_warnings_do_not_stop_a_dump_nor_forge_a_log_line() {
    let (variables, bucket, _folder) = with_program("chatty", &postgres().url("postgres"));
    let ended = Service::backup(&variables.with("RUST_LOG", "debug"));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
    // `event` requires that there is exactly one such line, and that every line is JSON.
    ended.event("backup finished");
    assert!(ended.events("a program said").len() > 2000);
    assert!(ended.lines.iter().all(|line| line.len() < 16 * 1024));
}

#[test]
fn a_pg_dump_that_ignores_sigterm_is_killed_at_the_deadline() {
    let (variables, bucket, _folder) = with_program("stubborn", &postgres().url("postgres"));
    let began = Instant::now();
    let ended = Service::backup(&variables.with("BACKUP_TIMEOUT", "3s"));
    assert!(began.elapsed() < LIMIT);
    nothing_left(&bucket, &ended);
    let failure = ended.failure();
    assert_eq!(failure["kind"], "deadline");
    assert!(
        failure["hint"].as_str().unwrap().contains("BACKUP_TIMEOUT"),
        "{failure}"
    );
}

#[test]
fn the_last_words_of_pg_dump_are_in_the_error_and_its_warnings_in_the_log() {
    let (variables, bucket, _folder) = with_program("wordy", &postgres().url("postgres"));
    let ended = Service::backup(&variables);
    nothing_left(&bucket, &ended);
    let failure = ended.failure();
    let error = failure["error"].as_str().unwrap();
    assert!(
        error.contains("line 12.;")
            && error.contains("line 30.; pg_dump: warning: something is odd"),
        "{error}"
    );
    assert!(!error.contains("line 11."), "{error}");
    let said = ended.event("a program said");
    assert_eq!(
        (&said["level"], &said["line"]),
        (&"WARN".into(), &"pg_dump: warning: something is odd".into())
    );
}

#[test]
fn a_pg_dump_is_asked_to_end_before_it_is_killed() {
    let (variables, bucket, folder) = with_program("polite", &postgres().url("postgres"));
    let service = Service::start(&variables, &["backup"]);
    let there = |name: &str| folder.path().join(name).exists().then_some(());
    wait_until("pg_dump's trap", LIMIT, || there("ready"));
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(there("asked"), Some(()));
    nothing_left(&bucket, &ended);
}

#[test]
fn a_pg_dump_that_cannot_be_started_leaves_nothing() {
    refused(
        "vanishes",
        "internal",
        &["start ", "/pg_dump: No such file", "redeploy"],
    );
}

#[test]
fn not_a_byte_is_written_to_a_file() {
    let bucket = unique("diskless");
    seaweedfs().create_bucket(&bucket);
    // With this limit, a program ends as soon as it writes a byte into a file.
    let mut command = Process::command("/bin/sh");
    command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh", BINARY]);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"));
    let ended = Service::start_by(command, &variables, &["backup"]).end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
}

/// Starts a server, and a service in the middle of dumping a table: some rows were sent, and some are still to come.
fn in_the_middle_of_copy(test: impl FnOnce(&mut Postgres, &Service, u32)) -> Value {
    let mut server = Postgres::start(17);
    let bucket = unique("copy");
    seaweedfs().create_bucket(&bucket);
    let (service, backend, _holder) = {
        let halted = Halted::new(&server, 50_000, 50_000);
        let variables = halted.variables(Variables::working(seaweedfs(), &bucket, ""));
        let service = Service::start(&variables, &["backup"]);
        let backend = halted.wait();
        (service, backend, halted.leave())
    };
    test(&mut server, &service, backend);
    let ended = service.end(LIMIT);
    nothing_left(&bucket, &ended);
    let failure = ended.failure();
    assert!(
        ["dump_exit", "dump_signal"].contains(&failure["kind"].as_str().unwrap()),
        "{failure}"
    );
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .starts_with("the dump failed: pg_dump "),
        "{failure}"
    );
    failure
}

fn says(failure: &Value, kind: &str, error: &str) {
    assert_eq!(failure["kind"], kind, "{failure}");
    assert!(
        failure["error"].as_str().unwrap().contains(error),
        "{error}: {failure}"
    );
}

#[test]
fn a_backend_terminated_in_the_middle_of_a_table_leaves_nothing() {
    let failure = in_the_middle_of_copy(|server, _, backend| {
        let terminate = format!("SELECT pg_terminate_backend({backend})");
        assert_eq!(server.psql("postgres", &terminate), "t");
    });
    says(
        &failure,
        "dump_exit",
        "terminating connection due to administrator command",
    );
}

#[test]
fn a_database_restarted_during_the_dump_leaves_nothing() {
    let failure = in_the_middle_of_copy(|server, _, _| server.restart());
    says(
        &failure,
        "dump_exit",
        "terminating connection due to administrator command",
    );
}

#[test]
fn a_killed_pg_dump_leaves_nothing() {
    let failure = in_the_middle_of_copy(|_, service, _| {
        let child = wait_until("pg_dump", LIMIT, || {
            let children =
                std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", service.id()))
                    .unwrap();
            let threads = std::fs::read_dir(format!("/proc/{}/task", service.id()))
                .unwrap()
                .filter_map(Result::ok);
            let all = threads
                .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
                .collect::<String>();
            let ids = format!("{children} {all}");
            ids.split_whitespace().find_map(|id| id.parse::<u32>().ok())
        });
        crate::common::process::signal(child, "KILL");
    });
    says(&failure, "dump_signal", "pg_dump was ended by signal 9");
}

#[test]
fn a_lock_held_by_another_session_ends_the_attempt_after_a_minute() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE TABLE t AS SELECT 1 AS a");
    let mut holder = std::process::Command::new(Postgres::bin(17).join("psql"));
    holder.args([
        "-X",
        "-q",
        "-d",
        &server.url("postgres"),
        "-c",
        "BEGIN; LOCK TABLE t; SELECT pg_sleep(300)",
    ]);
    let mut holder = holder.stdout(std::process::Stdio::null()).spawn().unwrap();
    server.wait_for("postgres", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 't'::regclass", "1");
    let bucket = unique("lock");
    seaweedfs().create_bucket(&bucket);
    let began = Instant::now();
    let ended = Service::backup(&Variables::working(
        seaweedfs(),
        &bucket,
        &server.url("postgres"),
    ));
    drop(holder.kill());
    drop(holder.wait());
    assert!(began.elapsed() >= Duration::from_secs(59));
    nothing_left(&bucket, &ended);
    let failure = ended.failure();
    assert_eq!(failure["kind"], "lock_wait");
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .contains("LOCK TABLE public.t"),
        "{failure}"
    );
    assert!(
        failure["hint"].as_str().unwrap().contains("lock"),
        "{failure}"
    );
}

#[test]
fn inherited_pg_variables_do_not_redirect_the_dump() {
    let bucket = unique("inherit");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"))
        .with("PGHOST", "nowhere.invalid")
        .with("PGPORT", "1")
        .with("PGSERVICE", "none")
        .with("PGOPTIONS", "-c geqo=off");
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

/// A database whose dump fails for a reason that its words do not tell, and whose server then never answers why.
struct Silent {
    bucket: String,
    variables: Variables,
    folder: Folder,
}

impl Silent {
    fn new() -> Self {
        let url = postgres().url("postgres");
        let (variables, bucket, folder) = with_program("fails_late", &url);
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(
                &path,
                format!("#!/bin/sh\ncd {}\n{text}", folder.path().display()),
            )
            .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program(
            "pg_dump",
            "case $* in *--version*) exec ./real_pg_dump --version ;; esac\n: >failed\nexit 7\n",
        );
        let psql = Postgres::bin(17).join("psql");
        let psql = psql.display();
        program(
            "psql",
            &format!("if [ -e failed ]; then : >asked; exec sleep 600; fi\nexec {psql} \"$@\"\n"),
        );
        Self {
            bucket,
            variables,
            folder,
        }
    }

    fn wait_for_the_question(&self) {
        wait_until("the question why the dump failed", LIMIT, || {
            self.folder.path().join("asked").exists().then_some(())
        });
    }
}

#[test]
fn a_signal_ends_the_question_why_a_dump_failed() {
    let silent = Silent::new();
    let service = Service::start(&silent.variables, &["backup"]);
    silent.wait_for_the_question();
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    nothing_left(&silent.bucket, &ended);
}

#[test]
fn the_time_limit_of_the_run_ends_the_question_why_a_dump_failed() {
    let silent = Silent::new();
    let variables = silent.variables.clone().with("BACKUP_TIMEOUT", "20s");
    let service = Service::start(&variables, &["backup"]);
    silent.wait_for_the_question();
    let ended = service.end(LIMIT);
    nothing_left(&silent.bucket, &ended);
    // The words of pg_dump say more than that the time is over.
    let failed = ended.failure();
    assert_eq!(failed["kind"], "dump_exit", "{failed}");
    // By the log's own clock. If the run did not end the question, its own limit of 60 seconds would.
    let at =
        |event: &Value| -> DateTime<Utc> { event["timestamp"].as_str().unwrap().parse().unwrap() };
    let took = at(&failed) - at(&ended.event("backup started"));
    assert!(took < TimeDelta::seconds(60), "{}", ended.text());
}
