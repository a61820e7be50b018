//! `/health` tells the truth about the newest backup, `/live` says that the process is alive, and both answer at once.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::halted::Halted;
use crate::common::process::{LIMIT, wait_until};
use crate::common::r2::{Action, Operation, R2};
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

    // A new deployment forgets nothing, because the bucket is the state.
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket, NOWHERE));
    let (_, json) = service.wait_for_health("ok");
    assert_eq!(json["newest_backup"]["name"], finished["name"]);
    assert_eq!(json["last_run"], serde_json::Value::Null);
    service.terminate();
}

#[test]
fn health_is_running_while_a_backup_is_made_and_nothing_is_overdue() {
    let halted = Halted::new(postgres(), 10, 10);
    let variables = Variables::working(seaweedfs(), &bucket(), "").with("RUN_ON_STARTUP", "true");
    let service = Service::daemon(&halted.variables(variables));
    halted.wait();
    let (code, json) = service.health();
    assert_eq!((code, &json["status"]), (200, &"running".into()));
    halted.release();
    assert_eq!(service.wait_for_health("ok").0, 200);
    service.terminate();
}

#[test]
fn a_run_that_is_due_before_the_bucket_was_read_leaves_health_with_what_the_bucket_holds() {
    let (r2, gate) = (R2::start(), Arc::<AtomicBool>::default());
    let lists = r2.fail(
        Operation::ListObjects,
        0,
        usize::MAX,
        Action::Await(Arc::clone(&gate)),
    );
    let halted = Halted::new(postgres(), 10, 10);
    let variables = Variables::on_r2(&r2, "").with("BACKUP_CRON_SCHEDULE", "* * * * * *");
    let service = Service::daemon(&halted.variables(variables));
    wait_until("a list", LIMIT, || (lists.struck() > 0).then_some(()));
    let due = service.wait_for("next backup")["due_at"].clone();
    let due = chrono::DateTime::parse_from_rfc3339(due.as_str().unwrap()).unwrap();
    let passed = || (chrono::Utc::now() > due + chrono::TimeDelta::milliseconds(500)).then_some(());
    wait_until("the due time", LIMIT, passed);
    gate.store(true, Ordering::Relaxed);
    halted.wait();
    let (code, json) = service.health();
    assert_eq!((code, &json["status"]), (200, &"running".into()));
    halted.release();
    service.wait_for("backup finished");
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
    for (host, target) in [
        ("healthcheck.railway.app", "/health"),
        ("healthcheck.railway.app", "/health/?a=b"),
        ("healthcheck.railway.app:443", "/health"),
        ("HealthCheck.Railway.App:8080", "/health/"),
        ("x", "http://healthcheck.railway.app:443/health"),
    ] {
        assert_eq!(service.get_as(host, target).0, 200, "{host} {target}");
    }
    for (host, target) in [
        ("healthcheck.railway.app.example.com", "/health"),
        ("x", "/health?host=healthcheck.railway.app"),
        ("healthcheck.railway.app", "http://x/health"),
    ] {
        assert_eq!(service.get_as(host, target).0, 503, "{host} {target}");
    }
    for target in ["/live", "/live/", "/live?a=b", "http://x/live"] {
        let told = (200, r#"{"status":"live"}"#.to_owned());
        assert_eq!(service.get(target), told, "{target}");
    }
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
            "anomaly",
            "last_drill",
            "last_globals",
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
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
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
        "//health",
        "/health//",
        "/HEALTH",
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
    service.terminate();
}

/// Opens connections that send nothing.
fn silent(service: &Service, count: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(("127.0.0.1", service.port())).unwrap();
    (0..count).map(connect).collect()
}

/// Asks both paths again and again while `busy`, and checks the times. The machine has other work too, so an answer counts
/// only if a server that has nothing else to do answered in time just before and just after it. A single slow answer proves
/// nothing. But a service that is too busy to answer is so again and again: then there are never fifty successive answers in
/// time, nor nine of ten in total.
fn answers_in_time(service: &Service, expected: u16, busy: impl Fn() -> bool) {
    let idle = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = idle.local_addr().unwrap();
    std::thread::spawn(move || {
        // It ends at the first connection without a byte.
        for stream in idle.incoming() {
            let (mut stream, mut byte) = (stream.unwrap(), [0]);
            if Read::read(&mut stream, &mut byte).unwrap() == 0 {
                return;
            }
            stream.write_all(&byte).unwrap();
        }
    });
    let machine_is_quick = || {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        began.elapsed() < Duration::from_millis(20)
    };
    let mut times = Vec::new();
    let began = Instant::now();
    while busy() || times.len() < 100 && began.elapsed() < LIMIT {
        for (path, code) in [("/health", expected), ("/live", 200)] {
            let before = machine_is_quick();
            let began = Instant::now();
            let (status, answer) = service.get(path);
            assert_eq!(status, code, "{path}: {answer}");
            let time = began.elapsed();
            if machine_is_quick() && before {
                times.push(time);
            }
        }
    }
    drop(TcpStream::connect(address));
    let in_time = |time: &Duration| *time < Duration::from_millis(100);
    assert!(times.len() >= 100, "too few to judge: {}", times.len());
    assert!(
        times.windows(50).any(|row| row.iter().all(in_time)),
        "{times:?}"
    );
    let late = times.iter().filter(|time| !in_time(time)).count();
    assert!(
        late * 10 <= times.len(),
        "{late} of {} were late",
        times.len()
    );
}

#[test]
fn both_answer_within_100_ms_while_a_backup_compresses_and_600_connections_are_silent() {
    let database = unique("busy").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, "CREATE TABLE t AS SELECT md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 2000000) g");
    let service = Service::daemon(
        &Variables::working(seaweedfs(), &bucket(), &postgres().url(&database))
            .with("BACKUP_CRON_SCHEDULE", "* * * * * *"),
    );
    // Backups follow each other, because a single one may be finished before so many connections are open.
    service.wait_for("backup started");
    let connections = silent(&service, 600);
    let made = service.events("backup finished").len();
    answers_in_time(&service, 200, || {
        service.events("backup finished").len() < made + 3
    });
    // The time limit for a header closes the silent connections long before the one for a connection does.
    wait_until("the end of the silent connections", LIMIT / 2, || {
        let mut byte = [0];
        let gone = |stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            Read::read(&mut &*stream, &mut byte).is_ok()
        };
        connections.iter().all(gone).then_some(())
    });
    service.terminate();
}

#[test]
fn both_answer_within_100_ms_before_the_first_listing_is_back() {
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", store.local_addr().unwrap());
    let service = Service::daemon(
        &Variables::working(seaweedfs(), "bucket", NOWHERE).with("AWS_S3_ENDPOINT", &endpoint),
    );
    // The service asks the store, and gets no answer.
    let _asked = store.accept().unwrap();
    let _silent = silent(&service, 600);
    let asked = std::cell::Cell::new(0);
    answers_in_time(&service, 503, || asked.replace(asked.get() + 1) < 200);
    assert_eq!(service.health().1["status"], "unknown");
    service.terminate();
}

/// An address of this machine that is not the loopback. Connections to it also come from it. `None` if the machine has no
/// network.
fn outside() -> Option<IpAddr> {
    // Nothing is sent. The system only chooses the route to an address that does not exist.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().unwrap().ip();
    (!address.is_loopback()).then_some(address)
}

/// Raises the limit of descriptors: the usual 1,024 are too few for one side of so many connections.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).unwrap();
}

/// Sends a request over a connection, and returns the beginning of the answer, or `None` if the connection is closed.
fn answer(mut stream: &TcpStream, request: &str) -> Option<String> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    Some(String::from_utf8_lossy(&start).into_owned())
}

const ASK: &str = "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn descriptors(service: &Service) -> usize {
    let folder = format!("/proc/{}/fd", service.id());
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn who_asks_gets_in_however_many_connections_are_held_half_open() {
    const HELD: usize = 1200;
    raise_limit();
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    let loopback = IpAddr::from([127, 0, 0, 1]);
    for holder in [Some(loopback), outside()].into_iter().flatten() {
        let connect = |from| TcpStream::connect((from, service.port())).unwrap();
        let mut held = VecDeque::new();
        for number in 0..3 * HELD {
            let mut half_open = connect(holder);
            half_open
                .write_all(b"GET /live HTTP/1.1\r\nHost: ")
                .unwrap();
            held.push_back(half_open);
            if held.len() > HELD {
                held.pop_front();
            }
            if number % 40 == 0 {
                for from in [holder, loopback] {
                    let said = answer(&connect(from), ASK);
                    assert_eq!(said.as_deref(), Some("HTTP/1.1 200"), "{from}, {number}");
                }
                let descriptors = descriptors(&service);
                assert!(descriptors < 900, "{descriptors} are open");
            }
        }
        if holder == loopback {
            continue;
        }
        // A client on this machine keeps its connection, however many come from outside. On a busy machine its five seconds
        // may be over; then it is tried again.
        wait_until("a connection that stays", LIMIT, || {
            let own = connect(loopback);
            held.extend((0..900).map(|_| connect(holder)));
            let last = answer(&connect(holder), ASK);
            assert_eq!(last.as_deref(), Some("HTTP/1.1 200"));
            held.clear();
            (answer(&own, ASK)? == "HTTP/1.1 200").then_some(())
        });
    }
    service.terminate();
}

#[test]
fn at_the_limit_the_oldest_connection_makes_room() {
    raise_limit();
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    // Each connection is closed after five seconds anyway. If the machine is so busy that a thousand take about that long,
    // it is tried again.
    wait_until("a thousand connections at a time", LIMIT, || {
        let idle = silent(&service, 1);
        // The first request was answered, and the connection is kept for more. It counts like any other.
        assert_eq!(
            answer(&idle[0], "GET /live HTTP/1.1\r\nHost: x\r\n\r\n").as_deref(),
            Some("HTTP/1.1 200")
        );
        let connections = silent(&service, 1000);
        // Connections are accepted one after the other, so after this answer all of them have been accepted.
        assert_eq!(
            answer(&silent(&service, 1)[0], ASK).as_deref(),
            Some("HTTP/1.1 200")
        );
        let closed = |mut stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            let mut rest = [0; 4096];
            loop {
                match stream.read(&mut rest) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => return error.kind() != ErrorKind::WouldBlock,
                }
            }
        };
        let (old, young) = connections.split_at(201);
        // A connection is closed by a task of its own, which may run a moment later.
        wait_until("the end of the oldest connections", LIMIT, || {
            (closed(&idle[0]) && old.iter().all(closed)).then_some(())
        });
        young
            .iter()
            .all(|stream| answer(stream, ASK).as_deref() == Some("HTTP/1.1 200"))
            .then_some(())
    });
    service.terminate();
}

#[test]
fn a_request_that_is_too_large_or_without_end_is_refused() {
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    for (request, refusal) in [
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
            "431",
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
            "431",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(200)),
            "431",
        ),
        // The service does not wait for a body that never comes.
        (
            "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n".to_owned(),
            "405",
        ),
        (
            "PUT /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n".to_owned(),
            "405",
        ),
        (
            "GET /live HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            "400",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        ("\u{1b}]0;title\u{7}\r\n\r\n".to_owned(), "400"),
    ] {
        let said = service.raw(&request);
        // A client that speaks HTTP/2 gets no answer, since it could not read one.
        let start = format!("HTTP/1.1 {refusal} ");
        let refused = said.starts_with(&start) || refusal.is_empty() && said.is_empty();
        assert!(refused, "{refusal}: {said}");
    }
    assert!(service.terminate().text().find("title").is_none());
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_five_seconds() {
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    for said in [
        "",
        "GET /live HTTP/1.1\r\nHost: ",
        "GET /live HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
        let began = Instant::now();
        Write::write_all(&mut stream, said.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut answer = Vec::new();
        Read::read_to_end(&mut stream, &mut answer).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(4900), "{said:?}");
    }
    service.terminate();
}

#[test]
fn a_connection_that_dawdles_is_closed_after_a_minute() {
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    // Each request is in time, but the connection must not stay open for ever.
    let mut stream = TcpStream::connect(("127.0.0.1", service.port())).unwrap();
    let began = Instant::now();
    let mut answer = [0; 4096];
    let closed = wait_until("the end of the connection", 2 * LIMIT, || {
        let sent = Write::write_all(&mut stream, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n");
        let read = sent.and_then(|()| Read::read(&mut stream, &mut answer));
        std::thread::sleep(Duration::from_millis(500));
        (!read.is_ok_and(|bytes| bytes > 0)).then(|| began.elapsed())
    });
    assert!(closed >= Duration::from_secs(59), "{closed:?}");
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
