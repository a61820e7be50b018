//! Whatever a store sends has limits. An answer that is too long, cut off or contradictory is an error and takes no memory,
//! and no part of it is taken for the whole.

use std::time::Duration;

use postgres_s3_backups::fault::{Diagnosed, Kind};
use postgres_s3_backups::store::{Rules, Store, StoreError, StorePatience};
use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::LIMIT;
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{job, postgres};
use crate::restore::gzip;
use crate::speed::MOST_RSS_KIB;

const NAME: &str = "vlvt_backup_2026-01-25_03-00-00.sql.gz";

/// This is more memory than the service may ever take.
const FLOOD: u64 = 700 << 20;

fn variables(r2: &R2) -> Variables {
    Variables::on_r2(r2, "postgres://nobody@127.0.0.1:1/none")
}

fn list(r2: &R2) -> Ended {
    Service::start(&variables(r2), &["list"]).end(LIMIT)
}

/// The only line of level ERROR. Checks that the command failed.
fn one_error(ended: &Ended) -> Value {
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let mut errors = ended.errors();
    assert_eq!(errors.len(), 1, "{}", ended.text());
    errors.remove(0)
}

fn said(error: &Value) -> &str {
    error["error"].as_str().unwrap()
}

/// Asks the store one question, and returns the answer.
fn ask<T>(r2: &R2, question: impl AsyncFnOnce(Store) -> T) -> T {
    let patience = StorePatience {
        tries: 1,
        ..StorePatience::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(question(job::store(r2, patience)))
}

async fn keys(store: Store) -> Result<Vec<String>, StoreError> {
    let mut keys = Vec::new();
    let listed = store.list("vlvt_backup_", |object| keys.push(object.key));
    listed.await.map(|_| keys)
}

#[test]
fn a_list_that_contradicts_itself_or_is_none_is_an_error_and_never_an_empty_bucket() {
    let root = |inner: &str| format!("<ListBucketResult>{inner}</ListBucketResult>");
    for (body, words) in [
        (
            root("<IsTruncated>true</IsTruncated>"),
            "says that there is more of it",
        ),
        (
            root("<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>"),
            "says that there is more of it",
        ),
        (
            root(
                "<IsTruncated>false</IsTruncated><NextContinuationToken>a</NextContinuationToken>",
            ),
            "does not say that there is more",
        ),
        (
            root("<NextContinuationToken>a</NextContinuationToken>"),
            "does not say that there is more",
        ),
        (
            root("<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>"),
            "leads back to a page",
        ),
        (root("<Name>vlvt-backups</Name>"), "IsTruncated"),
        (
            root("<IsTruncated>false</IsTruncated><Contents><Size>7</Size></Contents>"),
            "without a key",
        ),
        (
            root(&format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                "a".repeat(9000)
            )),
            "longer than 8192 bytes",
        ),
        (
            "<IsTruncated>false</IsTruncated>".to_owned(),
            "not what S3 sends",
        ),
        ("<ListAllMyBucketsResult/>".to_owned(), "not what S3 sends"),
        (
            "<!doctype html><title>Sign in</title>".to_owned(),
            "not what S3 sends",
        ),
        ("{}".to_owned(), "not what S3 sends"),
        (String::new(), "not what S3 sends"),
        (" \n".to_owned(), "not what S3 sends"),
    ] {
        let r2 = R2::start();
        r2.put(NAME, &[7; 100]);
        r2.fail(
            Operation::ListObjects,
            0,
            usize::MAX,
            Action::Body(200, body.clone()),
        );
        let error = one_error(&list(&r2));
        assert_eq!(error["message"], "could not read the bucket", "{body}");
        assert_eq!(error["kind"], "store_rejected", "{body}: {error}");
        assert!(said(&error).contains(words), "{body}: {error}");
        assert!(
            error["hint"].as_str().unwrap().contains("AWS_S3_ENDPOINT"),
            "{error}"
        );
    }
}

#[test]
fn a_list_that_is_cut_anywhere_is_asked_for_again_and_never_taken_for_whole() {
    let r2 = R2::start_plain();
    let names = [NAME, "vlvt_backup_2026-01-26_03-00-00.sql.gz"];
    for name in names {
        r2.put(name, &[7; 100]);
    }
    assert_eq!(ask(&r2, keys).unwrap(), names);
    let mut cuts = 0;
    for bytes in 1.. {
        let cut = r2.fail(Operation::ListObjects, 0, 1, Action::Cut(bytes));
        let Err(error) = ask(&r2, keys) else {
            panic!("without its last {bytes} bytes it was taken for whole");
        };
        assert_eq!(cut.struck(), 1);
        if error.kind() == Kind::StoreRejected {
            // What is left can't be recognized as a list any more.
            break;
        }
        assert_eq!(error.kind(), Kind::StoreUnavailable, "{bytes}: {error}");
        cuts += 1;
    }
    assert!(cuts > 400, "{cuts}");
    // A client that tries again gets all of it.
    r2.fail(Operation::ListObjects, 0, 1, Action::Cut(200));
    let ended = list(&r2);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    for name in names {
        assert!(ended.text().contains(name), "{}", ended.text());
    }
}

#[test]
fn the_other_answers_are_not_taken_for_whole_either() {
    let r2 = R2::start_plain();
    let uploads = async |store: Store| {
        let mut count = 0;
        let listed = store.list_uploads("vlvt_backup_", |_| count += 1);
        listed.await.map(|()| count)
    };
    let age = chrono::TimeDelta::hours(1);
    r2.leave_upload(NAME, chrono::Utc::now() - age);
    assert_eq!(ask(&r2, uploads).unwrap(), 1);
    for action in [
        Action::Cut(1),
        Action::Cut(50),
        Action::Body(200, String::new()),
        Action::Body(200, "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>".to_owned()),
    ] {
        r2.fail(Operation::ListUploads, 0, 1, action.clone());
        assert!(ask(&r2, uploads).is_err(), "{action:?}");
    }
    // SeaweedFS does not say whether there is more if there is nothing more, and names only the upload for the next page.
    r2.fail(
        Operation::ListUploads,
        0,
        // An empty list is asked for again without a prefix.
        2,
        Action::Body(200, "<ListMultipartUploadsResult/>".to_owned()),
    );
    assert_eq!(ask(&r2, uploads).unwrap(), 0);
    r2.fail(Operation::ListUploads, 0, 1, Action::Body(200, "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextUploadIdMarker>a</NextUploadIdMarker></ListMultipartUploadsResult>".to_owned()));
    assert_eq!(ask(&r2, uploads).unwrap(), 1);
    r2.fail(Operation::ListUploads, 0, usize::MAX, Action::Body(200, "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker></ListMultipartUploadsResult>".to_owned()));
    let error = ask(&r2, uploads).unwrap_err();
    assert!(error.to_string().contains("leads back"), "{error}");

    for action in [
        Action::Cut(1),
        Action::Body(200, String::new()),
        Action::Html(200),
    ] {
        r2.fail(Operation::CreateUpload, 0, 1, action.clone());
        let begun = ask(&r2, async |store| store.create_upload(NAME, "mark").await);
        assert!(begun.is_err(), "{action:?}");
        let id = ask(&r2, async |store| store.create_upload(NAME, "mark").await).unwrap();
        r2.fail(Operation::CompleteUpload, 0, 1, action.clone());
        let completed = ask(&r2, async |store| {
            store.complete_upload(NAME, &id, &["x".to_owned()]).await
        });
        assert!(completed.is_err(), "{action:?}");
        r2.fail(Operation::Lifecycle, 0, 1, action.clone());
        // An answer that is not S3's is not repeated, and is not taken for a bucket without rules.
        let rules = ask(&r2, async |store| store.rules().await);
        assert!(
            matches!(rules, Err(_) | Ok(Rules::Unknown)),
            "{action:?}: {rules:?}"
        );
    }
    r2.fail(
        Operation::Lifecycle,
        0,
        1,
        Action::Body(
            200,
            "<LifecycleConfiguration><Rule><Status>Enabled</Status>".to_owned(),
        ),
    );
    assert!(ask(&r2, async |store| store.rules().await).is_err());
}

#[test]
fn a_backup_whose_complete_is_cut_is_looked_at_and_found_to_be_there() {
    let r2 = R2::start();
    let cut = r2.fail(Operation::CompleteUpload, 0, 1, Action::Cut(20));
    let ended = Service::backup(&Variables::on_r2(&r2, &postgres().url("postgres")));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(cut.struck(), 1);
    ended.event("the answer to Complete was lost, but the object is there and is ours");
    assert_eq!((r2.keys().len(), r2.uploads().len()), (1, 0));
}

#[test]
fn an_object_that_is_longer_than_what_was_asked_for_costs_no_memory() {
    // Five megabytes are requested in two pieces.
    let flood = |status, sized| Action::Flood {
        status,
        start: "",
        bytes: FLOOD,
        sized,
    };
    for (skip, action, words) in [
        (
            0,
            flood(200, true),
            "no range came instead of bytes 0-4194303",
        ),
        (0, flood(200, false), "more bytes came than the 4194304"),
        (
            1,
            flood(206, true),
            "no range came instead of bytes 4194304-",
        ),
        (
            1,
            flood(206, false),
            "no range came instead of bytes 4194304-",
        ),
        (0, Action::OtherRange, "bytes 10-4194303/"),
        (
            0,
            Action::OtherTotal,
            "bytes 0-4194303/50000000 came instead of",
        ),
    ] {
        let r2 = R2::start();
        r2.put(NAME, &vec![0x1f; 5_000_000]);
        let fault = r2.fail(Operation::GetObject, skip, usize::MAX, action.clone());
        let service = Service::start(&variables(&r2), &["verify"]);
        let (ended, peak) = service.end_with_peak(LIMIT);
        let error = one_error(&ended);
        if skip == 0 {
            assert_eq!(error["message"], "backup could not be read", "{action:?}");
            assert_eq!(error["kind"], "store_rejected", "{error}");
            assert!(said(&error).contains(words), "{action:?}: {error}");
            assert_eq!(fault.struck(), 1);
        }
        assert!(peak <= MOST_RSS_KIB, "{peak} KiB: {action:?}");
    }
}

#[test]
fn answers_without_end_cost_no_memory() {
    const START: &str = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>";
    let flood = |status, sized| Action::Flood {
        status,
        start: START,
        bytes: FLOOD,
        sized,
    };
    let empty = format!(
        "{START}{}</ListBucketResult>",
        "<Contents/>".repeat(700_000)
    );
    for (action, kind, words) in [
        (flood(200, true), "store_rejected", "longer than 8 MiB"),
        (flood(200, false), "store_rejected", "longer than 8 MiB"),
        (flood(403, true), "store_denied", "HTTP 403"),
        (flood(403, false), "store_denied", "HTTP 403"),
        (
            Action::Body(200, empty),
            "store_rejected",
            "more elements than a page",
        ),
    ] {
        let r2 = R2::start();
        r2.fail(Operation::ListObjects, 0, usize::MAX, action);
        let service = Service::daemon(&variables(&r2));
        let error = service.wait_for("could not read the bucket");
        let peak = service.peak_kib().unwrap();
        assert_eq!(error["kind"], kind, "{error}");
        assert!(said(&error).contains(words), "{error}");
        assert!(peak <= MOST_RSS_KIB, "{peak} KiB: {error}");
        assert_eq!(service.terminate().code(), Some(0));
    }
}

#[test]
fn somebody_elses_objects_cost_no_memory_however_many_there_are() {
    let r2 = R2::start();
    r2.crowd(60);
    r2.put_at(NAME, &[7; 100], chrono::Utc::now());
    let service = Service::daemon(&variables(&r2).with("BACKUP_CATCH_UP", "false"));
    let (_, health) = crate::common::process::wait_until("the list", LIMIT, || {
        Some(service.health()).filter(|(_, health)| !health["newest_backup"].is_null())
    });
    assert_eq!(health["newest_backup"]["name"], NAME);
    // Their names alone have sixty megabytes.
    let peak = service.peak_kib().unwrap();
    assert!(peak <= MOST_RSS_KIB, "{peak} KiB");
    assert_eq!(service.terminate().code(), Some(0));
}

#[test]
fn a_stores_own_words_are_kept_short_and_no_piece_of_a_secret_is_among_them() {
    let r2 = R2::start_plain();
    // Wherever the text is cut, there is a secret.
    let words = format!("{}{}", "y".repeat(13), r2.secret_key).repeat(500);
    assert!(words.len() > 30_000);
    for (status, words) in [
        (403, words.clone()),
        (500, words),
        (403, "z".repeat(3_000_000)),
    ] {
        r2.fail(
            Operation::ListObjects,
            0,
            1,
            Action::Say(status, "AccessDenied", words),
        );
        let error = ask(&r2, keys).unwrap_err().to_string();
        assert!(error.len() < 1300, "{} bytes", error.len());
        assert!(error.contains(&format!("HTTP {status}")), "{error}");
        assert!(!error.contains(&r2.secret_key[..4]), "{error}");
    }
    let odd = format!("{}\u{1b}[2J\n{{\"level\":\"ERROR\"}}", r2.access_key);
    let body = format!("<Error><Code>{odd}{}</Code></Error>", "c".repeat(5000));
    r2.fail(Operation::ListObjects, 0, 1, Action::Body(403, body));
    let error = ask(&r2, keys).unwrap_err().to_string();
    assert!(
        error.len() < 300 && !error.contains(&r2.access_key),
        "{error}"
    );
    assert!(!error.contains(['\u{1b}', '\n']), "{error}");
}

#[test]
fn what_a_store_wants_back_is_not_kept_when_it_is_too_long() {
    let r2 = R2::start_plain();
    let id = format!(
        "<InitiateMultipartUploadResult><UploadId>{}</UploadId></InitiateMultipartUploadResult>",
        "i".repeat(9000)
    );
    r2.fail(Operation::CreateUpload, 0, 1, Action::Body(200, id));
    let error = ask(&r2, async |store| store.create_upload(NAME, "mark").await).unwrap_err();
    assert_eq!(error.kind(), Kind::StoreRejected, "{error}");
}

#[test]
fn an_answer_that_trickles_ends_at_the_limit_of_one_try() {
    // `troubleshooting` covers this for every request. Here, the body of an object never comes.
    let r2 = R2::start_plain();
    r2.put(NAME, &[7; 100]);
    r2.fail(Operation::GetObject, 0, 1, Action::Hang);
    let patience = StorePatience {
        tries: 1,
        answer: Duration::from_secs(3),
        ..StorePatience::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(async {
        let store = job::store(&r2, patience);
        let head = store.head(NAME).await.unwrap().unwrap();
        store
            .get(NAME, &head.etag, 0, head.size, head.size)
            .await
            .unwrap_err()
    });
    assert_eq!(error.kind(), Kind::StoreTimeout, "{error}");
}

/// An empty member of a tar, as `pg_dump` writes one.
fn empty_member(name: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(b"00000000000 ");
    block[148..156].copy_from_slice(b"        ");
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o} ").as_bytes());
    block
}

#[test]
fn an_archive_in_which_everything_is_wrong_costs_neither_memory_nor_a_long_log() {
    let tar = std::process::Command::new(Postgres::bin(17).join("pg_dump"))
        .args(["--format=tar", &postgres().url("postgres")])
        .output()
        .unwrap()
        .stdout;
    let size = std::str::from_utf8(&tar[124..135]).unwrap();
    let contents = usize::from_str_radix(size.trim_matches([' ', '\0']), 8).unwrap();
    let (contents, rest) = tar.split_at(512 + contents.next_multiple_of(512));
    let unlisted = (0..300_000).flat_map(|number| empty_member(&format!("{number}.unlisted")));
    let tar = [contents, &unlisted.collect::<Vec<u8>>(), rest].concat();
    let r2 = R2::start();
    let name = "vlvt_backup_-2026-01-20T05-00-00-123Z.tar.gz";
    r2.put(name, &gzip(&tar));
    let (ended, peak) = Service::start(&variables(&r2), &["verify", name]).end_with_peak(LIMIT);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let told = ended.events("backup not good");
    assert_eq!(told.len(), 51);
    assert_eq!(told[50]["error"], "and 299950 more");
    assert!(peak <= MOST_RSS_KIB, "{peak} KiB");
}
