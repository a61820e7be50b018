//! Whatever the store does, the object is whole or does not exist, and no upload stays unfinished.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Ended, Service, Variables, gunzip};
use crate::common::{postgres, unique};

/// The URL of a database whose backup has three parts.
fn three_parts() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let database = unique("three_parts").replace('-', "_");
        postgres().create_database(&database, "");
        postgres().psql(&database, "CREATE TABLE t AS SELECT g, md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 550000) g");
        postgres().url(&database)
    })
}

/// The name of the database in a URL of the tests.
fn database_of(url: &str) -> &str {
    let path = url.split('?').next().unwrap();
    path.rsplit('/').next().unwrap()
}

fn small() -> String {
    postgres().url("postgres")
}

/// Checks that the only object is a whole dump, and that nothing else is left.
pub fn stored(r2: &R2, ended: &Ended) -> Value {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    let objects = r2.objects();
    assert_eq!(
        objects.keys().map(String::as_str).collect::<Vec<_>>(),
        [finished["name"].as_str().unwrap()]
    );
    let body = objects.values().next().unwrap();
    assert_eq!(finished["size_bytes"], body.len());
    let text = gunzip(body);
    assert_eq!(finished["uncompressed_bytes"], text.len());
    assert!(text.contains("-- PostgreSQL database dump complete"));
    assert_eq!(r2.uploads(), Vec::<String>::new(), "{}", ended.text());
    finished
}

fn refused(r2: &R2, url: &str, kind: &str) -> Value {
    let ended = Service::backup(&Variables::on_r2(r2, url));
    assert_eq!(r2.keys(), Vec::<String>::new(), "{}", ended.text());
    assert_eq!(r2.uploads(), Vec::<String>::new(), "{}", ended.text());
    let failed = ended.failure();
    assert_eq!(failed["kind"], kind, "{failed}");
    assert!(!ended.text().contains(&r2.secret_key) && !ended.text().contains(&r2.access_key));
    failed
}

#[test]
fn what_is_sent_is_what_r2_takes() {
    takes(&R2::start(), |signed| {
        // The connection protects the bytes.
        assert_eq!(signed, "UNSIGNED-PAYLOAD");
    });
    takes(&R2::start_plain(), |signed| {
        // The signature covers the bytes.
        assert_eq!(signed.len(), 64, "{signed}");
    });
}

/// Makes a backup of three parts, and checks what each part says about the signature of its bytes.
fn takes(r2: &R2, signed: impl Fn(&str)) {
    let ended = Service::backup(&Variables::on_r2(r2, three_parts()));
    let finished = stored(r2, &ended);
    assert_eq!(
        (&finished["parts"], &finished["rows"], &finished["tables"]),
        (&3.into(), &550_000.into(), &1.into())
    );
    let parts = r2.seen(Operation::UploadPart);
    assert_eq!(parts.len(), 3);
    for part in parts {
        signed(part.headers["x-amz-content-sha256"].to_str().unwrap());
        assert!(
            part.headers.contains_key("content-md5"),
            "{:?}",
            part.headers
        );
        assert!(
            !part
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("x-amz-checksum")
                    || name.as_str() == "x-amz-sdk-checksum-algorithm")
        );
    }
    let created = r2.seen(Operation::CreateUpload).remove(0).headers;
    assert_eq!(created["content-type"], "application/gzip");
    assert!(!created.contains_key("content-encoding"));
    assert_eq!(
        r2.seen(Operation::CompleteUpload).remove(0).headers["if-none-match"],
        "*"
    );
    assert_eq!(
        r2.seen(Operation::HeadObject).len(),
        1,
        "the object is looked at afterwards"
    );
}

#[test]
fn keys_that_are_not_r2s_name_the_key() {
    let r2 = R2::start();
    let with = |name: &str, value: &str| {
        Service::backup(&Variables::on_r2(&r2, &small()).with(name, value)).failure()
    };
    let failed = with("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("Credential access key has length 20, should be 32"),
        "{failed}"
    );
    assert!(
        failed["hint"]
            .as_str()
            .unwrap()
            .contains("AWS_ACCESS_KEY_ID"),
        "{failed}"
    );
    let failed = with("AWS_ACCESS_KEY_ID", &"9".repeat(32));
    assert!(
        failed["error"].as_str().unwrap().contains("Unauthorized")
            && failed["hint"]
                .as_str()
                .unwrap()
                .contains("AWS_ACCESS_KEY_ID"),
        "{failed}"
    );
    let failed = with("AWS_SECRET_ACCESS_KEY", &"9".repeat(64));
    assert!(
        failed["hint"]
            .as_str()
            .unwrap()
            .contains("re-copy AWS_SECRET_ACCESS_KEY from the store's console"),
        "{failed}"
    );
    let failed = with("AWS_S3_BUCKET", "another-bucket");
    assert!(
        failed["hint"].as_str().unwrap().contains("AWS_S3_ENDPOINT"),
        "{failed}"
    );
}

#[test]
fn a_token_that_may_only_read_is_refused_before_a_byte_is_dumped() {
    let r2 = R2::start();
    r2.make_read_only();
    let failed = refused(&r2, &small(), "store_denied");
    assert!(
        failed["hint"]
            .as_str()
            .unwrap()
            .contains("list, read and write"),
        "{failed}"
    );
    assert!(r2.seen(Operation::UploadPart).is_empty());
}

#[test]
fn a_clock_that_is_off_is_named() {
    let r2 = R2::start();
    let library = crate::common::process::tools(&["faketime"]).join("faketime/libfaketime.so.1");
    let variables = Variables::on_r2(&r2, &small())
        .with("LD_PRELOAD", library.to_str().unwrap())
        .with("FAKETIME", "+2h")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let failed = Service::backup(&variables).failure();
    assert_eq!(failed["kind"], "clock", "{failed}");
    assert!(
        failed["hint"].as_str().unwrap().contains("clock"),
        "{failed}"
    );
}

#[test]
fn a_part_refused_for_good_leaves_nothing() {
    let r2 = R2::start();
    let fault = r2.fail(
        Operation::UploadPart,
        1,
        usize::MAX,
        Action::Answer(403, "AccessDenied"),
    );
    refused(&r2, three_parts(), "store_denied");
    assert!(fault.struck() >= 1);
    // The dump's session has ended.
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND datname = '{}'",
        database_of(three_parts())
    );
    assert!(wait_until("the end of the session", LIMIT, || (postgres()
        .psql("postgres", &query)
        == "0")
        .then_some(true)));
}

/// Checks that a fault that passes costs a retry and nothing else.
fn survives(operation: Operation, skip: usize, times: usize, action: Action) {
    let r2 = R2::start();
    let fault = r2.fail(operation, skip, times, action);
    let variables = Variables::on_r2(&r2, three_parts()).with("RUST_LOG", "debug");
    let ended = Service::backup(&variables);
    stored(&r2, &ended);
    assert_eq!(fault.struck(), times);
    let retried = ended.events("store request retried");
    assert!(retried.len() >= times.min(1), "{}", ended.text());
    // The first two are not reported to anybody.
    for event in retried {
        let warned = event["level"] == "WARN";
        assert_eq!(warned, event["try_number"].as_u64() >= Some(3), "{event}");
    }
}

#[test]
fn a_store_that_has_passing_errors_gets_the_backup_all_the_same() {
    survives(
        Operation::CreateUpload,
        0,
        2,
        Action::Answer(503, "ServiceUnavailable"),
    );
    survives(
        Operation::UploadPart,
        0,
        3,
        Action::Answer(500, "InternalError"),
    );
    survives(
        Operation::UploadPart,
        1,
        2,
        Action::Answer(429, "TooManyRequests"),
    );
    survives(
        Operation::UploadPart,
        0,
        1,
        Action::Answer(400, "IncompleteBody"),
    );
}

#[test]
fn broken_connections_and_pages_of_html_cost_a_retry() {
    survives(Operation::UploadPart, 1, 2, Action::Reset);
    survives(Operation::UploadPart, 0, 1, Action::LoseAnswer);
    survives(Operation::UploadPart, 0, 1, Action::Html(520));
    survives(Operation::ListObjects, 0, 1, Action::Html(502));
}

#[test]
fn a_byte_flipped_on_the_way_is_noticed_and_sent_again() {
    survives(Operation::UploadPart, 1, 1, Action::Corrupt);
    survives(Operation::UploadPart, 1, 1, Action::WrongEtag);
}

#[test]
fn a_complete_that_fails_late_is_tried_again() {
    survives(
        Operation::CompleteUpload,
        0,
        2,
        Action::OkWithError("InternalError"),
    );
    survives(
        Operation::CompleteUpload,
        0,
        1,
        Action::Answer(500, "InternalError"),
    );
}

#[test]
fn a_store_that_repeats_the_keys_in_its_answer_does_not_put_them_into_the_log() {
    let r2 = R2::start();
    let words = format!("no such key: {} / {}", r2.access_key, r2.secret_key);
    r2.fail(
        Operation::CreateUpload,
        0,
        usize::MAX,
        Action::Say(403, "AccessDenied", words),
    );
    // `refused` checks that.
    let failed = refused(&r2, &small(), "store_denied");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("no such key: [redacted] / [redacted]"),
        "{failed}"
    );
}

#[test]
fn a_complete_refused_for_good_leaves_nothing() {
    let r2 = R2::start();
    r2.fail(
        Operation::CompleteUpload,
        0,
        usize::MAX,
        Action::Answer(400, "InvalidPart"),
    );
    let failed = refused(&r2, &small(), "store_rejected");
    assert!(
        failed["error"].as_str().unwrap().contains("InvalidPart"),
        "{failed}"
    );
}

#[test]
fn a_complete_whose_answer_is_lost_is_a_success() {
    let r2 = R2::start();
    let fault = r2.fail(Operation::CompleteUpload, 0, 1, Action::LoseAnswer);
    let ended = Service::backup(&Variables::on_r2(&r2, three_parts()));
    stored(&r2, &ended);
    assert_eq!(fault.struck(), 1);
    assert_eq!(
        ended
            .events("the answer to Complete was lost, but the object is there and is ours")
            .len(),
        1,
        "{}",
        ended.text()
    );
}

#[test]
fn a_complete_that_was_forgotten_is_no_success() {
    let r2 = R2::start();
    r2.fail(Operation::CompleteUpload, 0, usize::MAX, Action::Forget);
    let failed = refused(&r2, &small(), "store_mismatch");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .ends_with("the object is not there"),
        "{failed}"
    );
}

#[test]
fn an_object_of_another_size_is_no_success() {
    let r2 = R2::start();
    r2.fail(Operation::HeadObject, 0, usize::MAX, Action::WrongSize);
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    let failed = ended.failure();
    assert_eq!(failed["kind"], "store_mismatch");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("the object has 123456789 bytes"),
        "{failed}"
    );
}

#[test]
fn after_a_lost_answer_only_the_same_bytes_are_ours() {
    let r2 = R2::start();
    r2.fail(Operation::CompleteUpload, 0, 1, Action::LoseAnswer);
    // This is as if somebody else's object had the same size and the same bytes.
    r2.fail(Operation::HeadObject, 0, usize::MAX, Action::OtherMark);
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    assert!(
        ended.events("backup finished").is_empty(),
        "{}",
        ended.text()
    );
    ended.event("backup skipped: it exists already");
}

#[test]
fn an_upload_that_is_gone_counts_as_aborted() {
    let r2 = R2::start();
    r2.fail(
        Operation::UploadPart,
        0,
        usize::MAX,
        Action::Answer(404, "NoSuchUpload"),
    );
    r2.fail(
        Operation::AbortUpload,
        0,
        usize::MAX,
        Action::Answer(404, "NoSuchUpload"),
    );
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    assert_eq!(ended.failure()["kind"], "store_conflict");
    assert!(
        ended.events("could not abort upload").is_empty(),
        "{}",
        ended.text()
    );
}

#[test]
fn a_stop_while_the_upload_is_being_begun_leaves_none() {
    let r2 = R2::start();
    let gate = Arc::<AtomicBool>::default();
    let begins = r2.fail(
        Operation::CreateUpload,
        0,
        1,
        Action::Await(Arc::clone(&gate)),
    );
    let service = Service::start(&Variables::on_r2(&r2, &small()), &["backup"]);
    wait_until("the request", LIMIT, || {
        (begins.struck() == 1).then_some(())
    });
    service.signal("TERM");
    service.wait_for("shutting down");
    gate.store(true, Ordering::SeqCst);
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(
        r2.seen(Operation::CreateUpload).len(),
        1,
        "it was answered after all"
    );
    assert_eq!(
        (r2.keys().len(), r2.uploads().len()),
        (0, 0),
        "{}",
        ended.text()
    );
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let r2 = R2::start();
    let parts = r2.fail(Operation::UploadPart, 0, usize::MAX, Action::Hang);
    let aborts = r2.fail(Operation::AbortUpload, 0, usize::MAX, Action::Hang);
    let service = Service::daemon(&Variables::on_r2(&r2, &small()).with("RUN_ON_STARTUP", "true"));
    wait_until("a part", LIMIT, || (parts.struck() > 0).then_some(()));
    service.signal("TERM");
    wait_until("the abort", LIMIT, || (aborts.struck() > 0).then_some(()));
    service.signal("TERM");
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(0));
    ended.event("stopped at once by a second signal; the next start aborts what is left");
}

#[test]
fn a_store_that_hangs_does_not_hold_up_the_exit() {
    let r2 = R2::start();
    let parts = r2.fail(Operation::UploadPart, 0, usize::MAX, Action::Hang);
    r2.fail(Operation::AbortUpload, 0, usize::MAX, Action::Hang);
    let service = Service::daemon(&Variables::on_r2(&r2, &small()).with("RUN_ON_STARTUP", "true"));
    wait_until("a part", LIMIT, || (parts.struck() > 0).then_some(()));
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(0));
    ended.event("stopped before the run could clean up; the next start aborts what is left");
}

#[test]
fn a_vendor_without_conditional_writes_gets_complete_once_without() {
    let r2 = R2::start();
    r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        Action::Answer(501, "NotImplemented"),
    );
    stored(&r2, &Service::backup(&Variables::on_r2(&r2, &small())));
    let conditions: Vec<bool> = r2
        .seen(Operation::CompleteUpload)
        .iter()
        .map(|seen| seen.headers.contains_key("if-none-match"))
        .collect();
    assert_eq!(conditions, [true, false]);
}

#[test]
fn a_name_that_another_container_took_meanwhile_is_not_overwritten() {
    let r2 = R2::start();
    let gate = Arc::<AtomicBool>::default();
    let complete = r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        Action::Await(Arc::clone(&gate)),
    );
    let service = Service::start(&Variables::on_r2(&r2, three_parts()), &["backup"]);
    let name = service.wait_for("backup started")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    r2.put(&name, b"the other container's backup");
    gate.store(true, Ordering::SeqCst);
    let ended = service.end(LIMIT);
    assert_eq!(
        (ended.code(), complete.struck()),
        (Some(0), 1),
        "{}",
        ended.text()
    );
    assert_eq!(ended.events("backup skipped: it exists already").len(), 1);
    assert_eq!(r2.objects()[&name], "the other container's backup");
    assert_eq!(r2.uploads(), Vec::<String>::new());
}

#[test]
fn an_upload_that_cannot_be_aborted_is_named_and_swept_later() {
    let r2 = R2::start();
    r2.fail(
        Operation::UploadPart,
        0,
        usize::MAX,
        Action::Answer(403, "AccessDenied"),
    );
    r2.fail(
        Operation::AbortUpload,
        0,
        1,
        Action::Answer(403, "AccessDenied"),
    );
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    assert_eq!(ended.code(), Some(1));
    // The first error is the one reported.
    assert!(
        ended.event("backup failed")["error"]
            .as_str()
            .unwrap()
            .starts_with("upload a part of"),
        "{}",
        ended.text()
    );
    assert_eq!(ended.event("could not abort upload")["level"], "WARN");
    assert_eq!(r2.uploads().len(), 1);
}

#[test]
fn old_uploads_of_ours_are_swept_by_a_run_and_young_or_foreign_ones_are_not() {
    let r2 = R2::start();
    let now = chrono::Utc::now();
    let hours = chrono::TimeDelta::hours;
    r2.leave_upload("vlvt_backup_2026-01-01_03-00-00.sql.gz", now - hours(7));
    r2.leave_upload("vlvt_backup_2026-01-02_03-00-00.sql.gz", now - hours(5));
    r2.leave_upload("vlvt_backup_other.sql.gz", now - hours(700));
    r2.leave_upload("vlvt_backup_2026-01-03_03-00-00.sql.gz", now - hours(700));
    // One check was killed in the middle of its upload, another may still be at work, and a third one is somebody else's.
    r2.leave_upload("vlvt_backup_check-0123456789abcdef", now - hours(2));
    r2.leave_upload("vlvt_backup_check-00000000000000ff", now);
    r2.leave_upload("vlvt_backup_check-list.txt", now - hours(700));
    r2.set_page(1);
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events("unfinished upload aborted").len(), 3);
    assert_eq!(
        r2.uploads(),
        [
            "vlvt_backup_2026-01-02_03-00-00.sql.gz",
            "vlvt_backup_other.sql.gz"
        ]
    );
    assert_eq!(
        r2.uploads_of_checks(),
        [
            "vlvt_backup_check-00000000000000ff",
            "vlvt_backup_check-list.txt"
        ]
    );
}

#[test]
fn a_daemon_sweeps_at_its_start() {
    let r2 = R2::start();
    r2.leave_upload(
        "vlvt_backup_2026-01-01_03-00-00.sql.gz",
        chrono::Utc::now() - chrono::TimeDelta::hours(7),
    );
    let service = Service::daemon(&Variables::on_r2(&r2, &small()));
    service.wait_for("unfinished upload aborted");
    assert_eq!(r2.uploads(), Vec::<String>::new());
    service.terminate();
}

#[test]
fn a_token_that_may_not_list_uploads_still_makes_backups() {
    let r2 = R2::start();
    r2.fail(
        Operation::ListUploads,
        0,
        usize::MAX,
        Action::Answer(403, "AccessDenied"),
    );
    let ended = Service::backup(&Variables::on_r2(&r2, &small()));
    stored(&r2, &ended);
    assert_eq!(
        ended.event("could not look for unfinished uploads")["level"],
        "WARN"
    );
}

#[test]
fn the_newest_of_many_pages_is_found() {
    let r2 = R2::start();
    r2.set_page(2);
    for day in 10..15 {
        r2.put(
            &format!("vlvt_backup_2026-01-{day}_03-00-00.sql.gz"),
            &[b'x'; 100],
        );
    }
    r2.put("vlvt_backup_notes.txt", &[b'x'; 100]);
    let service =
        Service::daemon(&Variables::on_r2(&r2, &small()).with("BACKUP_CATCH_UP", "false"));
    let (_, json) = service.wait_for_health("stale");
    assert_eq!(
        json["newest_backup"]["name"],
        "vlvt_backup_2026-01-14_03-00-00.sql.gz"
    );
    assert_eq!(r2.seen(Operation::ListObjects).len(), 3);
    service.terminate();
}

#[test]
fn a_failed_attempt_is_followed_by_another_from_the_start() {
    let r2 = R2::start();
    // After this answer, no retry within the attempt can help, so the attempt fails.
    r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        Action::Answer(404, "NoSuchUpload"),
    );
    let service = Service::start(
        &Variables::on_r2(&r2, &small()).with("BACKUP_RETRIES", "1"),
        &["backup"],
    );
    let failed = service.wait_for("attempt failed");
    assert_eq!(
        (
            &failed["level"],
            &failed["attempt"],
            &failed["retry_in_seconds"]
        ),
        (&"WARN".into(), &1.into(), &60.into())
    );
    assert_eq!(r2.uploads(), Vec::<String>::new());
    let ended = service.end(2 * LIMIT);
    stored(&r2, &ended);
    assert_eq!(r2.seen(Operation::CreateUpload).len(), 2);
    assert_eq!(ended.events("backup started")[1]["attempt"], 2);
}

#[test]
fn r2s_objects_restore_with_gunzip_and_psql() {
    let server = Postgres::start(17);
    server.psql_file(
        "postgres",
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/awkward.sql"),
    );
    let r2 = R2::start();
    let ended = Service::backup(&Variables::on_r2(&r2, &server.url("postgres")));
    stored(&r2, &ended);
    server.create_database("restored", "");
    let folder = crate::common::process::Folder::new();
    let file = folder.path().join("backup.sql");
    std::fs::write(&file, gunzip(r2.objects().values().next().unwrap())).unwrap();
    server.psql_file("restored", &file);
    pretty_assertions::assert_eq!(server.digest("postgres"), server.digest("restored"));
}

#[test]
fn killed_at_any_moment_there_is_a_whole_object_or_none() {
    let mut whole = 0;
    for trial in 0..20 {
        let r2 = R2::start();
        let service = Service::start(&Variables::on_r2(&r2, three_parts()), &["backup"]);
        // The test is about the moment: from before the first request until about the last one.
        let moment = Duration::from_millis(75 * trial);
        std::thread::sleep(moment);
        service.signal("KILL");
        drop(service);
        for (key, body) in r2.objects() {
            assert!(
                gunzip(&body).contains("-- PostgreSQL database dump complete"),
                "trial {trial}, killed after {moment:?}: {key} is cut"
            );
            whole += 1;
        }
        assert!(r2.keys().len() + r2.uploads().len() <= 1);
    }
    assert!(whole < 20, "no trial was killed before its end");
}
