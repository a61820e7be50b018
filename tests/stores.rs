//! Stores that are not R2: their peculiarities never cost a backup, and are reported if they matter.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::common::postgres;
use crate::common::process::Folder;
use crate::common::r2::{Action, Operation, PartEtags, R2};
use crate::common::service::{BINARY, Ended, Service, Variables, gunzip};

const LIMIT: Duration = Duration::from_secs(300);

fn variables(r2: &R2) -> Variables {
    Variables::on_r2(r2, &postgres().url("postgres"))
}

/// Checks that the only object is a whole dump, and that nothing else is left.
fn stored(r2: &R2, ended: &Ended) -> Value {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    let objects = r2.objects();
    let body = &objects[finished["name"].as_str().unwrap()];
    assert_eq!(finished["size_bytes"], body.len());
    assert!(gunzip(body).contains("-- PostgreSQL database dump complete"));
    assert_eq!(r2.uploads(), Vec::<String>::new(), "{}", ended.text());
    finished
}

/// The messages of the lines of level WARN.
fn warned(ended: &Ended) -> Vec<String> {
    let lines = ended
        .lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|event| event["level"] == "WARN")
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

fn run(variables: &Variables, arguments: &[&str]) -> Ended {
    Service::start(variables, arguments).end(LIMIT)
}

/// The finding with this name, if there is one.
fn finding(ended: &Ended, name: &str) -> Option<Value> {
    let report: Value = serde_json::from_str(&ended.text()).unwrap();
    let findings = report.as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["name"] == name)
        .cloned()
}

fn check(variables: &Variables) -> Ended {
    run(variables, &["check", "--json"])
}

const UNLOOKED: &str = "the object could not be looked at: its size is taken from the list";

#[test]
fn a_key_that_may_write_and_list_but_not_read_makes_backups() {
    let r2 = R2::start();
    for operation in [Operation::HeadObject, Operation::GetObject] {
        r2.fail(
            operation,
            0,
            usize::MAX,
            Action::Answer(403, "AccessDenied"),
        );
    }
    let ended = run(&variables(&r2), &["backup"]);
    stored(&r2, &ended);
    assert_eq!(warned(&ended), [UNLOOKED]);

    // A daemon works with it. Its folder is another one, because it may start in the second that the backup is named after.
    let apart = variables(&r2).with("BUCKET_SUBFOLDER", "daemon");
    let service = Service::daemon(&apart.with("RUN_ON_STARTUP", "true"));
    service.wait_for("backup finished");
    assert_eq!(service.wait_for_health("ok").0, 200);
    service.terminate();

    let nothing = finding(&check(&variables(&r2)), "read");
    assert_eq!(nothing, None);
    r2.fail_checks(
        Operation::HeadObject,
        1,
        Action::Answer(403, "AccessDenied"),
    );
    let found = finding(&check(&variables(&r2)), "read").unwrap();
    assert_eq!(found["outcome"], "warning", "{found}");
    assert!(found["hint"].as_str().unwrap().contains("s3:GetObject"));
}

#[test]
fn a_store_that_is_out_of_order_after_complete_has_the_backup() {
    let r2 = R2::start();
    // HEAD takes for ever, and everything else a moment.
    r2.fail(
        Operation::HeadObject,
        0,
        usize::MAX,
        Action::Answer(500, "InternalError"),
    );
    r2.fail(
        Operation::ListObjects,
        1,
        4,
        Action::Answer(500, "InternalError"),
    );
    let ended = run(&variables(&r2).with("BACKUP_RETRIES", "2"), &["backup"]);
    stored(&r2, &ended);
    assert!(
        ended.events("attempt failed").is_empty(),
        "{}",
        ended.text()
    );
}

#[test]
fn an_object_that_appears_a_moment_later_is_waited_for() {
    let r2 = R2::start();
    let head = r2.fail(
        Operation::HeadObject,
        0,
        2,
        Action::Answer(404, "NoSuchKey"),
    );
    let ended = run(&variables(&r2), &["backup"]);
    stored(&r2, &ended);
    assert_eq!(head.struck(), 2);
}

#[test]
fn a_run_knows_its_own_object_whatever_became_of_the_attempt_before() {
    let r2 = R2::start();
    // The object is made, but the answer is lost, and the store can't be asked about it for the rest of the attempt.
    r2.fail(Operation::CompleteUpload, 0, 1, Action::LoseAnswer);
    r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        Action::Answer(404, "NoSuchUpload"),
    );
    r2.fail(
        Operation::HeadObject,
        0,
        1,
        Action::Answer(400, "InvalidRequest"),
    );
    r2.fail(
        Operation::ListObjects,
        1,
        2,
        Action::Answer(400, "InvalidRequest"),
    );
    let service = Service::start(&variables(&r2).with("BACKUP_RETRIES", "1"), &["backup"]);
    service.wait_for("attempt failed");
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("backup skipped: it exists already");
    assert_eq!(r2.keys().len(), 1);
}

#[test]
fn an_object_of_another_upload_is_not_ours_though_complete_succeeded() {
    let r2 = R2::start();
    r2.fail(Operation::HeadObject, 0, usize::MAX, Action::OtherMark);
    let ended = run(&variables(&r2), &["backup"]);
    assert!(
        ended.events("backup finished").is_empty(),
        "{}",
        ended.text()
    );
    ended.event("backup skipped: it exists already");
}

#[test]
fn the_time_limit_holds_in_the_last_step_too() {
    the_time_limit_holds(|| Action::Answer(500, "InternalError"));
}

#[test]
fn the_time_limit_holds_in_the_last_step_with_a_silent_store() {
    the_time_limit_holds(|| Action::Hang);
}

/// Checks the time limit with a store that does this from Complete on.
fn the_time_limit_holds(action: impl Fn() -> Action) {
    let r2 = R2::start();
    for (operation, skip) in [
        (Operation::CompleteUpload, 0),
        (Operation::HeadObject, 0),
        (Operation::AbortUpload, 0),
        (Operation::ListObjects, 1),
    ] {
        r2.fail(operation, skip, usize::MAX, action());
    }
    let ended = run(&variables(&r2).with("BACKUP_TIMEOUT", "3s"), &["backup"]);
    let failed = ended.failure();
    assert_eq!(failed["kind"], "deadline", "{failed}");
    // By the times in the log, it took the time limit, and five seconds at most for the abort.
    let at =
        |event: &Value| -> DateTime<Utc> { event["timestamp"].as_str().unwrap().parse().unwrap() };
    let took = at(&failed) - at(&ended.event("backup started"));
    assert!(took < TimeDelta::seconds(12), "{}", ended.text());
}

const WITHOUT: &str = "the store cannot be told to keep an existing object: completing the upload without that condition";

#[test]
fn a_refused_condition_costs_one_request_and_one_line() {
    let named = "Unsupported header 'If-None-Match' received for this API call.".to_owned();
    for action in [
        Action::Answer(400, "NotImplemented"),
        Action::Answer(405, "MethodNotAllowed"),
        Action::Answer(501, "XNotHere"),
        Action::Say(400, "InvalidArgument", named),
        Action::Html(501),
    ] {
        let r2 = R2::start();
        r2.fail(Operation::CompleteUpload, 0, 1, action);
        let ended = run(&variables(&r2), &["backup"]);
        stored(&r2, &ended);
        assert_eq!(warned(&ended), [WITHOUT]);
        let conditions = r2.seen(Operation::CompleteUpload);
        let conditions = conditions
            .iter()
            .map(|seen| seen.headers.contains_key("if-none-match"));
        assert_eq!(conditions.collect::<Vec<_>>(), [true, false]);
    }
}

#[test]
fn without_the_condition_a_name_that_was_taken_meanwhile_is_not_overwritten() {
    let r2 = R2::start();
    let complete = r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        Action::Answer(501, "NotImplemented"),
    );
    // The first list finds out whether the backup exists already.
    let gate = Arc::<AtomicBool>::default();
    r2.fail(
        Operation::ListObjects,
        1,
        1,
        Action::Await(Arc::clone(&gate)),
    );
    let service = Service::start(&variables(&r2), &["backup"]);
    let name = service.wait_for("backup started")["name"].clone();
    crate::common::process::wait_until("Complete", LIMIT, || {
        (complete.struck() == 1).then_some(())
    });
    r2.put(name.as_str().unwrap(), &[b'x'; 100]);
    gate.store(true, Ordering::SeqCst);
    let ended = service.end(LIMIT);
    assert_eq!(r2.objects()[name.as_str().unwrap()].len(), 100);
    assert!(
        ended.events("backup finished").is_empty(),
        "{}",
        ended.text()
    );
    assert_eq!(r2.uploads(), Vec::<String>::new());
}

#[test]
fn etags_that_are_no_md5s_are_taken_with_one_warning() {
    const TOLD: &str =
        "the store's ETags are no MD5s: they say nothing about the bytes that it has";
    for (etags, told) in [
        (PartEtags::Uuid, &[TOLD][..]),
        (PartEtags::Kms, &[TOLD]),
        (PartEtags::Missing, &[TOLD]),
        (PartEtags::Weak, &[]),
    ] {
        let r2 = R2::start();
        r2.set_part_etags(etags);
        let ended = run(&variables(&r2), &["backup"]);
        let finished = stored(&r2, &ended);
        assert_eq!(warned(&ended), told, "{etags:?}");
        let name = finished["name"].as_str().unwrap();
        let verified = run(&variables(&r2), &["verify", name]);
        assert_eq!(verified.code(), Some(0), "{}", verified.text());
    }
}

#[test]
fn a_backup_whose_etag_is_weak_or_missing_can_be_read() {
    for action in [
        Action::Header("etag", Some("W/\"abc\"")),
        Action::Header("etag", None),
    ] {
        let r2 = R2::start();
        let ended = run(&variables(&r2), &["backup"]);
        let finished = stored(&r2, &ended);
        r2.fail(Operation::HeadObject, 0, usize::MAX, action.clone());
        r2.fail(Operation::GetObject, 0, usize::MAX, action);
        let name = finished["name"].as_str().unwrap();
        let verified = run(&variables(&r2), &["verify", name]);
        assert_eq!(verified.code(), Some(0), "{}", verified.text());
    }
}

#[test]
fn an_upload_is_begun_with_a_length() {
    let r2 = R2::start();
    stored(&r2, &run(&variables(&r2), &["backup"]));
    let begun = r2.seen(Operation::CreateUpload).remove(0);
    assert_eq!(begun.headers["content-length"], "0");
}

#[test]
fn a_key_with_a_control_character_hides_no_backup() {
    let r2 = R2::start();
    r2.put("vlvt backup+ä_2026-01-14_03-00-00.sql.gz", &[b'x'; 100]);
    r2.put("vlvt backup+ä_\u{1}\u{ffff}<&>", &[b'x'; 100]);
    let prefixed = variables(&r2).with("BACKUP_FILE_PREFIX", "vlvt backup+ä_");
    let listed = run(&prefixed, &["list", "--json"]);
    assert!(
        listed
            .text()
            .contains("vlvt backup+ä_2026-01-14_03-00-00.sql.gz"),
        "{}",
        listed.text()
    );
    // The same for the list of unfinished uploads, and with a store that does not encode names.
    r2.leave_upload(
        "vlvt_backup_2026-01-01_03-00-00.sql.gz",
        Utc::now() - TimeDelta::hours(7),
    );
    r2.leave_upload("vlvt_backup_\u{1}", Utc::now() - TimeDelta::hours(7));
    let ended = run(&variables(&r2), &["backup"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("unfinished upload aborted");
    assert_eq!(r2.uploads(), ["vlvt_backup_\u{1}"]);
}

#[test]
fn one_entry_that_cannot_be_read_is_left_out_and_said() {
    let r2 = R2::start();
    let entry = |day: u32, rest: &str| {
        format!(
            "<Contents><Key>vlvt_backup_2026-01-{day}_03-00-00.sql.gz</Key><LastModified>2026-01-{day}T03:00:05Z</LastModified>{rest}</Contents>"
        )
    };
    let page = format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{}{}{}<Contents><Size>5</Size></Contents></ListBucketResult>",
        entry(11, "<Size>100</Size>"),
        entry(12, "<Size>many</Size>"),
        entry(13, ""),
    );
    r2.fail(
        Operation::ListObjects,
        0,
        usize::MAX,
        Action::Body(200, page),
    );
    let listed = run(&variables(&r2), &["list"]);
    assert_eq!(listed.code(), Some(0), "{}", listed.text());
    let text = listed.text();
    assert!(text.contains("vlvt_backup_2026-01-11_03-00-00.sql.gz"));
    assert!(!text.contains("2026-01-12_03") && !text.contains("2026-01-13_03"));
    assert!(
        text.contains("the list of objects holds entries that cannot be read"),
        "{text}"
    );
}

#[test]
fn unfinished_uploads_are_found_where_only_whole_keys_are_listed() {
    let r2 = R2::start();
    r2.list_uploads_exactly();
    let old = Utc::now() - TimeDelta::hours(7);
    r2.leave_upload("vlvt_backup_2026-01-01_03-00-00.sql.gz", old);
    r2.leave_upload("others", old);
    let ended = run(&variables(&r2), &["backup"]);
    ended.event("unfinished upload aborted");
    assert_eq!(r2.uploads(), ["others"], "{}", ended.text());
}

#[test]
fn a_store_that_lists_no_unfinished_uploads_is_told_of_by_the_check_alone() {
    let r2 = R2::start();
    r2.fail(
        Operation::ListUploads,
        0,
        usize::MAX,
        Action::Answer(501, "NotImplemented"),
    );
    let ended = run(&variables(&r2), &["backup"]);
    stored(&r2, &ended);
    assert_eq!(warned(&ended), Vec::<String>::new());
    let found = finding(&check(&variables(&r2)), "unfinished_uploads").unwrap();
    assert_eq!(found["outcome"], "warning", "{found}");
    assert!(
        found["text"]
            .as_str()
            .unwrap()
            .starts_with("this store does not list them"),
        "{found}"
    );
}

#[test]
fn a_sweep_that_fails_is_not_tried_for_long() {
    let r2 = R2::start();
    r2.fail(
        Operation::ListUploads,
        0,
        usize::MAX,
        Action::Answer(500, "InternalError"),
    );
    let ended = run(&variables(&r2), &["backup"]);
    stored(&r2, &ended);
    ended.event("could not look for unfinished uploads");
    assert_eq!(r2.seen(Operation::ListUploads).len(), 2);
}

#[test]
fn rules_of_another_form_are_not_told() {
    let google = "<LifecycleConfiguration><Rule><Action><Delete/></Action><Condition><Age>30</Age></Condition></Rule></LifecycleConfiguration>";
    for (action, text) in [
        (
            Action::Body(200, google.to_owned()),
            "this store does not tell its rules",
        ),
        (
            Action::Body(200, "{\"rules\":[]}".to_owned()),
            "this store does not tell its rules",
        ),
        (
            Action::Body(200, String::new()),
            "this store does not tell its rules",
        ),
        (
            Action::Answer(501, "NotImplemented"),
            "this store does not tell its rules",
        ),
        (
            Action::Answer(400, "InvalidRequest"),
            "this store does not tell its rules",
        ),
        (
            Action::Answer(403, "AccessDenied"),
            "rules cannot be read with this token",
        ),
        (
            Action::Answer(404, "NoSuchLifecycleConfiguration"),
            "no rule deletes objects under vlvt_backup_",
        ),
    ] {
        let r2 = R2::start();
        r2.fail(Operation::Lifecycle, 0, usize::MAX, action.clone());
        let found = finding(&check(&variables(&r2)), "lifecycle").unwrap();
        assert!(
            found["text"].as_str().unwrap().starts_with(text),
            "{action:?}: {found}"
        );
    }
}

#[test]
fn an_endpoint_with_a_path_is_used_with_its_path() {
    let r2 = R2::start();
    let endpoint = r2.move_to("/storage/v1/s3");
    let moved = variables(&r2).with("AWS_S3_ENDPOINT", &format!("{endpoint}/"));
    let ended = run(&moved, &["backup"]);
    let finished = stored(&r2, &ended);
    let name = finished["name"].as_str().unwrap();
    for arguments in [&["list"][..], &["verify", name], &["check"]] {
        let ended = run(&moved, arguments);
        assert_eq!(ended.code(), Some(0), "{arguments:?}: {}", ended.text());
    }
}

/// A server that hands out the keys of a role, like those of ECS and EKS. It ends with the test process.
struct Role {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Role {
    /// Hands out the keys of this store, with this lifetime.
    fn of(r2: &R2, lifetime: TimeDelta) -> Self {
        let (key, secret) = (r2.access_key.clone(), r2.secret_key.clone());
        Self::answering(move || {
            let until = (Utc::now() + lifetime).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let keys = serde_json::json!({"AccessKeyId": key, "SecretAccessKey": secret, "Token": "a-token", "Expiration": until});
            (200, keys.to_string())
        })
    }

    fn answering(answer: impl Fn() -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head =
                    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
                assert!(head.count() > 0);
                count.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer();
                let answer = format!(
                    "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// AWS's host. The service sees another `/etc/hosts`, in which this is the strict server's address.
const AWS_HOST: &str = "s3.eu-central-1.amazonaws.com";

/// Starts the service as on AWS, with keys from this role.
// Without TLS, since no certificate of the tests is for a host of AWS.
fn on_aws(r2: &R2, role: &Role, arguments: &[&str]) -> Ended {
    let folder = Folder::new();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost {AWS_HOST}\n")).unwrap();
    let endpoint = r2.endpoint.replace("127.0.0.1", AWS_HOST);
    let variables = variables(r2)
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_CREDENTIALS", "chain")
        .with("AWS_S3_ENDPOINT", &endpoint)
        .with("AWS_S3_REGION", "eu-central-1")
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &role.url);
    let mut command = Command::new("/usr/bin/unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
    ]);
    command.arg(&hosts).arg(BINARY);
    let ended = Service::start_by(command, &variables, arguments).end(LIMIT);
    drop(folder);
    ended
}

#[test]
fn the_keys_of_a_role_are_fetched_and_fetched_again_before_they_expire() {
    let r2 = R2::start_plain();
    let role = Role::of(&r2, TimeDelta::hours(1));
    let ended = on_aws(&r2, &role, &["backup"]);
    stored(&r2, &ended);
    assert_eq!(role.asked(), 1);
    let sent = r2.seen(Operation::UploadPart).remove(0);
    assert_eq!(sent.headers["x-amz-security-token"], "a-token");

    // The lifetime of these keys is so short that they always have to be renewed soon.
    let r2 = R2::start_plain();
    let role = Role::of(&r2, TimeDelta::seconds(2));
    let ended = on_aws(&r2, &role, &["backup"]);
    stored(&r2, &ended);
    assert!(role.asked() > 1);
    assert!(!ended.text().contains(&r2.secret_key) && !ended.text().contains("a-token"));
}

#[test]
fn a_role_that_gives_no_keys_is_named_as_the_cause() {
    let r2 = R2::start_plain();
    let role = Role::answering(|| {
        (
            403,
            "{\"code\":\"AccessDenied\",\"message\":\"no\"}".to_owned(),
        )
    });
    let failed = on_aws(&r2, &role, &["backup"]).failure();
    assert_eq!(failed["kind"], "store_unavailable", "{failed}");
    assert!(
        failed["error"].as_str().unwrap().contains("no credentials")
            && failed["hint"].as_str().unwrap().contains("trust policy"),
        "{failed}"
    );
    assert!(role.asked() > 0);
    assert!(r2.seen(Operation::ListObjects).is_empty());
}

#[test]
fn the_keys_of_a_role_are_for_aws_alone_and_never_beside_others() {
    let r2 = R2::start();
    let without = variables(&r2)
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY");
    let refused = |variables: &Variables, words: &str| {
        let ended = run(variables, &["backup"]);
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        assert!(ended.text().contains(words), "{}", ended.text());
    };
    refused(
        &without.clone().with("AWS_CREDENTIALS", "chain"),
        "no other store takes the keys of AWS's roles",
    );
    refused(
        &variables(&r2).with("AWS_CREDENTIALS", "chain"),
        "AWS_ACCESS_KEY_ID is set as well",
    );
    refused(
        &without.with("AWS_CREDENTIALS", "role"),
        "is not chain, the only value there is",
    );
}
