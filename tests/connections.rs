//! Connections that end: with and without the closing message of TLS, by a reset, or in silence; in the handshake and at
//! each place after it. None of these is taken for a problem with certificates, and each costs only a retry.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;

use crate::common::connection::End;
use crate::common::cut::Cut;
use crate::common::halted::Halted;
use crate::common::postgres;
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, wait_until};
use crate::common::proxy::Proxy;
use crate::common::r2::{Action, Operation, Place, R2};
use crate::common::service::{Ended, Service, Variables};
use crate::store::stored;

/// The requests that a backup makes to its store.
const OF_A_BACKUP: [Operation; 7] = [
    Operation::ListUploads,
    Operation::AbortUpload,
    Operation::HeadObject,
    Operation::CreateUpload,
    Operation::UploadPart,
    Operation::CompleteUpload,
    Operation::ListObjects,
];

/// The requests of a backup that are tried more than twice, because the loss of a handshake takes two tries here. Requests
/// about what others left behind, and about what the store has just acknowledged, are not repeated as often.
const OF_A_BACKUP_AT_LENGTH: [Operation; 4] = [
    Operation::CreateUpload,
    Operation::UploadPart,
    Operation::CompleteUpload,
    Operation::ListObjects,
];

fn of_a_backup(place: Place) -> &'static [Operation] {
    match place {
        Place::Handshake => &OF_A_BACKUP_AT_LENGTH,
        Place::Request | Place::Done | Place::Answer => &OF_A_BACKUP,
    }
}

/// The requests for reading a backup.
const OF_A_LOOK: [Operation; 3] = [
    Operation::ListObjects,
    Operation::HeadObject,
    Operation::GetObject,
];

const LONG: Duration = Duration::from_secs(400);

fn variables(r2: &R2) -> Variables {
    Variables::on_r2(r2, &postgres().url("postgres")).with("RUST_LOG", "debug")
}

/// A store with an old upload of this service that has to be aborted.
fn with_a_leftover(r2: R2) -> R2 {
    let long_ago = chrono::Utc::now() - chrono::TimeDelta::hours(7);
    r2.leave_upload("vlvt_backup_2026-01-01_03-00-00.sql.gz", long_ago);
    r2
}

/// Runs something with a store where the connection ends once during each of these requests, and checks that each was made
/// again.
fn meets(
    r2: &R2,
    operations: &[Operation],
    place: Place,
    end: End,
    run: impl FnOnce() -> Ended,
) -> Ended {
    let fail = |operation: &Operation| {
        let fault = r2.fail(*operation, 0, 1, Action::Break(place, end));
        (*operation, fault)
    };
    let faults: Vec<_> = operations.iter().map(fail).collect();
    let ended = run();
    let what = format!("{place:?}, {end:?}: {}", ended.text());
    for (operation, fault) in &faults {
        assert_eq!(fault.struck(), 1, "{operation:?}, {what}");
    }
    let handshakes = match place {
        Place::Handshake => operations.len(),
        Place::Request | Place::Done | Place::Answer => 0,
    };
    assert_eq!(r2.handshakes_ended(), handshakes, "{what}");
    let retried = ended.events("store request retried").len();
    assert!(
        retried >= operations.len() + handshakes,
        "{retried} retries: {what}"
    );
    ended
}

fn a_backup_meets(r2: R2, operations: &[Operation], place: Place, end: End) {
    let r2 = with_a_leftover(r2);
    let ended = meets(&r2, operations, place, end, || {
        Service::backup(&variables(&r2))
    });
    // If the answer to the beginning of an upload is lost, another one is begun. A later run aborts the first.
    let unheard = operations.contains(&Operation::CreateUpload)
        && matches!(place, Place::Done | Place::Answer);
    if unheard {
        let left = r2.uploads();
        let name = ended.event("backup finished")["name"].clone();
        assert_eq!(left, [name.as_str().unwrap()], "{}", ended.text());
        r2.forget_uploads();
    }
    stored(&r2, &ended);
}

/// The name and the bytes of a backup.
fn a_backup() -> &'static (String, Bytes) {
    static BACKUP: OnceLock<(String, Bytes)> = OnceLock::new();
    BACKUP.get_or_init(|| {
        let r2 = R2::start();
        stored(&r2, &Service::backup(&variables(&r2)));
        r2.objects().pop_first().unwrap()
    })
}

fn a_look_meets(r2: &R2, operations: &[Operation], place: Place, end: End) {
    let (name, bytes) = a_backup();
    r2.put(name, bytes);
    let ended = meets(r2, operations, place, end, || {
        Service::start(&variables(r2), &["verify", "latest"]).end(LONG)
    });
    assert_eq!(
        ended.code(),
        Some(0),
        "{place:?}, {end:?}: {}",
        ended.text()
    );
}

/// Tries every place, with and without TLS. The waits between tries take most of the time.
fn costs_retries_and_nothing_else(end: End) {
    std::thread::scope(|scope| {
        for place in Place::ALL {
            scope.spawn(move || {
                a_backup_meets(R2::start(), of_a_backup(place), place, end);
                a_look_meets(&R2::start(), &OF_A_LOOK, place, end);
            });
            // Without TLS there is no handshake, and no closing message.
            if place != Place::Handshake && end != End::Goodbye {
                scope.spawn(move || {
                    a_backup_meets(R2::start_plain(), &OF_A_BACKUP, place, end);
                    a_look_meets(&R2::start_plain(), &OF_A_LOOK, place, end);
                });
            }
        }
    });
}

/// The same with HTTP/2, where the requests that are under way share one connection and end with it. There is no further
/// handshake.
fn costs_retries_with_http2(end: End) {
    std::thread::scope(|scope| {
        for place in [Place::Request, Place::Done, Place::Answer] {
            scope.spawn(move || {
                a_backup_meets(R2::start_http2(), &OF_A_BACKUP, place, end);
                a_look_meets(&R2::start_http2(), &OF_A_LOOK, place, end);
            });
        }
    });
}

#[test]
fn a_connection_that_many_requests_share_costs_each_a_retry_when_it_ends() {
    for end in [End::Goodbye, End::Silence, End::Reset] {
        costs_retries_with_http2(end);
    }
}

#[test]
fn a_shared_connection_that_falls_silent_is_not_used_for_the_retry() {
    let r2 = R2::start_http2();
    let stall = Action::Break(Place::Answer, End::Stall);
    let fault = r2.fail(Operation::CreateUpload, 0, 1, stall);
    let service = Service::start(&variables(&r2), &["backup"]);
    wait_until("the end of the backup", LIMIT, || {
        let retried = service.events("store request retried").len();
        assert!(retried <= 1, "{}", service.lines().join("\n"));
        service.events("backup finished").pop()
    });
    assert_eq!(fault.struck(), 1);
}

#[test]
fn a_connection_to_the_store_that_ends_with_a_goodbye_costs_a_retry() {
    costs_retries_and_nothing_else(End::Goodbye);
}

#[test]
fn a_connection_to_the_store_that_ends_without_a_goodbye_costs_a_retry() {
    costs_retries_and_nothing_else(End::Silence);
}

#[test]
fn a_connection_to_the_store_that_is_reset_costs_a_retry() {
    costs_retries_and_nothing_else(End::Reset);
}

/// Each of these waits for a time limit that no variable can shorten, so they wait at the same time.
fn stalls(place: Place) {
    std::thread::scope(|scope| {
        for operation in of_a_backup(place) {
            scope.spawn(move || a_backup_meets(R2::start(), &[*operation], place, End::Stall));
        }
        scope.spawn(|| a_look_meets(&R2::start(), &[Operation::GetObject], place, End::Stall));
    });
}

#[test]
fn a_store_that_falls_silent_in_the_handshake_costs_a_retry() {
    stalls(Place::Handshake);
}

#[test]
fn a_store_that_falls_silent_before_it_answers_costs_a_retry() {
    stalls(Place::Request);
}

#[test]
fn a_store_that_falls_silent_within_its_answer_costs_a_retry() {
    stalls(Place::Answer);
}

/// Checks the final error if no try helps.
fn given_up(place: Place, end: End) {
    let r2 = R2::start();
    if place == Place::Handshake {
        r2.end_handshakes(100, end);
    } else {
        r2.fail(
            Operation::ListObjects,
            0,
            usize::MAX,
            Action::Break(place, end),
        );
    }
    let ended = Service::start(&variables(&r2), &["list"]).end(LONG);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let errors = ended.errors();
    assert_eq!(errors.len(), 1, "{}", ended.text());
    assert_eq!(
        errors[0]["kind"], "store_unavailable",
        "{place:?}, {end:?}: {}",
        errors[0]
    );
    assert_eq!(ended.events("store request retried").len(), 7);
}

#[test]
fn a_store_whose_connections_always_end_is_unavailable_and_no_question_of_certificates() {
    std::thread::scope(|scope| {
        for place in [Place::Handshake, Place::Request, Place::Answer] {
            for end in [End::Goodbye, End::Silence, End::Reset] {
                scope.spawn(move || given_up(place, end));
            }
        }
    });
}

/// How a dump loses its session.
#[derive(Debug, Clone, Copy)]
enum Lost {
    Connection(End),
    Server,
    Backend,
}

/// Lets a dump lose its session in the middle of a table, with the server and the client of this major version.
fn a_dump_loses(major: u16, parameters: &str, lost: Lost) {
    let mut server = Postgres::start(major);
    let halted = Halted::new(&server, 1000, 1000);
    let proxy = Proxy::start(server.port());
    let url = server.bare_url(halted.database());
    let url = url.replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", proxy.port),
    );
    let r2 = R2::start();
    let variables = halted
        .variables(Variables::on_r2(&r2, ""))
        .with("BACKUP_DATABASE_URL", &format!("{url}{parameters}"))
        .with("PATH", Variables::bare(&[major]).value("PATH"))
        .with("BACKUP_RETRIES", "3");
    let service = Service::start(&variables, &["backup"]);
    let backend = halted.wait();
    let encrypted = format!("SELECT ssl FROM pg_stat_ssl WHERE pid = {backend}");
    assert_eq!(server.psql("postgres", &encrypted), "t");
    match lost {
        Lost::Connection(end) => proxy.end(end),
        Lost::Server => {
            let _holder = halted.leave();
            server.stop();
        }
        Lost::Backend => {
            let terminate = format!("SELECT pg_terminate_backend({backend})");
            server.psql("postgres", &terminate);
        }
    }
    // The next attempt begins a minute later. It only matters that there will be one.
    let failed = wait_until("the end of the attempt", LIMIT, || {
        let given_up = service.events("backup failed").pop();
        assert_eq!(given_up, None, "{major}, {lost:?}");
        service.events("attempt failed").pop()
    });
    let what = format!("{major}, {lost:?}: {failed}");
    let kind = failed["kind"].as_str().unwrap();
    assert!(["dump_exit", "connect"].contains(&kind), "{what}");
    assert_eq!(failed["retry_in_seconds"], 60, "{what}");
    service.signal("TERM");
    service.end(LIMIT);
    assert_eq!((r2.keys().len(), r2.uploads().len()), (0, 0), "{what}");
}

const LOST: [Lost; 4] = [
    Lost::Connection(End::Silence),
    Lost::Connection(End::Reset),
    Lost::Server,
    Lost::Backend,
];

#[test]
fn a_dump_over_tls_that_loses_its_session_is_made_again() {
    for lost in LOST {
        a_dump_loses(18, "", lost);
    }
}

#[test]
fn a_dump_over_tls_by_an_old_client_that_loses_its_session_is_made_again() {
    for lost in LOST {
        a_dump_loses(14, "", lost);
    }
}

#[test]
fn a_dump_over_tls_that_was_insisted_on_is_made_again_too() {
    for lost in LOST {
        a_dump_loses(18, "?sslmode=require", lost);
    }
}

#[test]
fn what_does_not_speak_http_is_named_and_the_log_holds_our_own_words_only() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            // The bytes are read, because closing with unread bytes would be a reset.
            let _read = std::io::Read::read(&mut stream, &mut [0; 65536]);
            let _written = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n");
        }
    });
    let r2 = R2::start();
    let ended = Service::start(
        &variables(&r2).with("AWS_S3_ENDPOINT", &endpoint),
        &["check"],
    )
    .end(LONG);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    for said in ["does not speak HTTP", "invalid HTTP version parsed"] {
        assert!(ended.text().contains(said), "{said}: {}", ended.text());
    }
    assert!(
        !ended.text().contains("please file an issue"),
        "{}",
        ended.text()
    );
}

#[test]
fn one_attempt_waits_for_a_server_as_long_as_it_is_told_to() {
    let breaking = |count: usize| {
        let server = format!("tcp://127.0.0.1:{}", postgres().port());
        let cut = Cut::start(&server, vec![0; count]);
        let port = cut.endpoint.rsplit(':').next().unwrap().to_owned();
        let url = postgres().url("postgres");
        url.replace(&format!(":{}/", postgres().port()), &format!(":{port}/"))
    };
    let r2 = R2::start();
    // A probe opens at most two connections, and a second passes before the second probe.
    let impatient = Variables::on_r2(&r2, &breaking(6)).with("BACKUP_SERVER_WAIT", "1s");
    let ended = Service::backup(&impatient);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(ended.event("backup failed")["kind"], "connect");
    let patient = Variables::on_r2(&r2, &breaking(6));
    let ended = Service::backup(&patient);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("database not reachable yet");
}
