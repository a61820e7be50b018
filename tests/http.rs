//! `/health` tells the truth about the newest backup, `/live` that the process lives, and both at once.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::process::{LIMIT, wait_until};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

fn bucket() -> String {
    let bucket = unique("http");
    seaweedfs().create_bucket(&bucket);
    bucket
}

fn name_hours_ago(hours: i64) -> String {
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(hours);
    format!("vlvt_backup_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"))
}

#[test]
fn health_waits_then_is_ok_after_the_first_backup() {
    let bucket = bucket();
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket, NOWHERE));
    let (code, json) = service.wait_for_health("waiting");
    assert_eq!(code, 200);
    assert_eq!(json["newest_backup"], serde_json::Value::Null);
    let next_due = json["next_due_at"].as_str().unwrap();
    assert!(next_due.ends_with("T03:00:00Z"), "{next_due}");
    assert_eq!(json["max_age_seconds"], 25 * 3600);
    service.terminate();

    let service = Service::daemon(
        &Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"))
            .with("RUN_ON_STARTUP", "true"),
    );
    let finished = service.wait_for("backup finished");
    let (code, json) = service.wait_for_health("ok");
    assert_eq!(code, 200);
    assert_eq!(json["newest_backup"]["name"], finished["name"]);
    assert_eq!(json["newest_backup"]["size_bytes"], finished["size_bytes"]);
    assert_eq!(json["last_run"]["outcome"], "succeeded");
    service.terminate();

    // A redeploy forgets nothing: the bucket is the state.
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket, NOWHERE));
    let (_, json) = service.wait_for_health("ok");
    assert_eq!(json["newest_backup"]["name"], finished["name"]);
    assert_eq!(json["last_run"], serde_json::Value::Null);
    service.terminate();
}

#[test]
fn health_is_503_when_the_newest_backup_is_too_old_except_for_railways_gate() {
    let bucket = bucket();
    seaweedfs().put(&bucket, &name_hours_ago(48), &[b'x'; 500]);
    let variables = Variables::working(seaweedfs(), &bucket, NOWHERE)
        .with("BACKUP_MAX_AGE", "1s")
        .with("BACKUP_CATCH_UP", "false");
    let service = Service::daemon(&variables);
    let (code, json) = service.wait_for_health("stale");
    assert_eq!(code, 503);
    assert_eq!(json["newest_backup"]["size_bytes"], 500);
    assert_eq!(service.get_as("healthcheck.railway.app", "/health").0, 200);
    assert_eq!(
        service.get("/live"),
        (200, r#"{"status":"live"}"#.to_owned())
    );
    service.terminate();
}

#[test]
fn health_is_503_when_a_run_failed_after_its_retries_and_names_only_the_kind() {
    let bucket = bucket();
    seaweedfs().put(&bucket, &name_hours_ago(1), &[b'x'; 500]);
    let url = postgres().url_as("postgres", "wrong-canary-password", "postgres");
    let service = Service::daemon(
        &Variables::working(seaweedfs(), &bucket, &url).with("RUN_ON_STARTUP", "true"),
    );
    let (code, json) = service.wait_for_health("failing");
    assert_eq!(code, 503);
    assert_eq!(
        (&json["last_run"]["outcome"], &json["last_run"]["kind"]),
        (&"failed".into(), &"auth".into())
    );
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "last_run",
            "max_age_seconds",
            "newest_backup",
            "next_due_at",
            "status",
            "version"
        ]
    );
    let text = json.to_string();
    for hidden in [
        "127.0.0.1",
        &bucket,
        "canary",
        "testkey",
        "postgres://",
        "authentication",
    ] {
        assert!(!text.contains(hidden), "{text}");
    }
    // A failed backup never ends the daemon.
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0));
    assert!(!ended.text().contains("canary"));
}

#[test]
fn health_answers_before_the_bucket_does_and_says_unknown() {
    // Nothing answers at this address, so the first listing never comes back.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let service = Service::daemon(
        &Variables::working(seaweedfs(), "bucket", NOWHERE).with("AWS_S3_ENDPOINT", &endpoint),
    );
    let (code, json) = service.health();
    assert_eq!((code, &json["status"]), (503, &"unknown".into()));
    assert_eq!(service.get_as("healthcheck.railway.app", "/health").0, 200);
    assert_eq!(service.get("/live").0, 200);
    service.terminate();
}

#[test]
fn nothing_else_is_served() {
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    for path in [
        "/",
        "/metrics",
        "/health/",
        "//health",
        "/health/x",
        "/live/..",
        "/.env",
        "/%2e%2e",
    ] {
        let (code, body) = service.get(path);
        assert_eq!((code, body.as_str()), (404, ""), "{path}");
    }
    for method in ["POST", "DELETE", "OPTIONS", "TRACE"] {
        let answer = service.raw(&format!(
            "{method} /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
    let head = service.raw("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let mut names: Vec<&str> = head
        .lines()
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "connection",
            "content-length",
            "content-type",
            "date"
        ]
    );
    assert!(
        service
            .raw(&format!(
                "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
                "x".repeat(100_000)
            ))
            .starts_with("HTTP/1.1 431 ")
    );
    service.terminate();
}

#[test]
fn both_answer_within_100_ms_while_a_backup_compresses_and_600_connections_are_silent() {
    let database = unique("busy").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, "CREATE TABLE t AS SELECT md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 2000000) g");
    let service = Service::daemon(
        &Variables::working(seaweedfs(), &bucket(), &postgres().url(&database))
            .with("RUN_ON_STARTUP", "true"),
    );
    service.wait_for("backup started");
    let silent: Vec<TcpStream> = (0..600)
        .map(|_| TcpStream::connect(("127.0.0.1", service.port())).unwrap())
        .collect();
    let mut times = Vec::new();
    while service.events("backup finished").is_empty() && times.len() < 200 {
        let began = Instant::now();
        assert_eq!(service.get("/health").0, 200);
        times.push(began.elapsed());
        assert_eq!(service.get("/live").0, 200);
    }
    times.sort();
    assert!(
        times.len() > 20,
        "the backup was too short to measure: {}",
        times.len()
    );
    // The machine has other work too: the middle one is the promise, not the unluckiest.
    assert!(
        times[times.len() / 2] < Duration::from_millis(100),
        "{times:?}"
    );
    // The time limit on a header closes the silent ones.
    wait_until("the end of the silent connections", LIMIT, || {
        let mut byte = [0];
        let gone = |stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            std::io::Read::read(&mut &*stream, &mut byte).is_ok()
        };
        silent.iter().all(gone).then_some(())
    });
    service.terminate();
}

#[test]
fn the_probe_of_the_container_asks_the_daemon() {
    let variables = Variables::working(seaweedfs(), &bucket(), NOWHERE);
    let service = Service::daemon(&variables);
    service.wait_for("next backup");
    let probe = |variables: &Variables| Service::start(variables, &["health"]).end(LIMIT).code();
    assert_eq!(probe(&variables), Some(0));
    service.terminate();
    assert_eq!(probe(&variables), Some(1));
}
