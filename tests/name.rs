//! Names: what a run is called, and what happens when the name is taken.

use crate::common::process::{LIMIT, tools};
use crate::common::r2::{Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

fn bucket() -> String {
    let bucket = unique("name");
    seaweedfs().create_bucket(&bucket);
    bucket
}

/// The due time of a schedule that fires once a minute, as it stands in the name.
fn working(bucket: &str) -> Variables {
    Variables::working(seaweedfs(), bucket, &postgres().url("postgres"))
}

#[test]
fn the_prefix_and_the_folder_make_the_key() {
    let bucket = bucket();
    let variables = working(&bucket)
        .with("BUCKET_SUBFOLDER", "/eu/prod/")
        .with("BACKUP_FILE_PREFIX", "backup");
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let (key, _) = seaweedfs().list(&bucket).remove(0);
    let time = key
        .strip_prefix("eu/prod/backup-")
        .and_then(|rest| rest.strip_suffix(".sql.gz"))
        .unwrap_or_else(|| panic!("{key}"));
    assert!(
        chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d_%H-%M-%S").is_ok(),
        "{key}"
    );
}

#[test]
fn a_manual_run_whose_name_is_taken_is_an_error_at_once_and_overwrites_nothing() {
    let r2 = R2::start();
    r2.accept_any_clock();
    let name = "vlvt_backup_2026-06-30_12-00-00.sql.gz";
    r2.put(name, b"of a run in the same second");
    let library = tools(&["faketime"]).join("faketime/libfaketime.so.1");
    let variables = Variables::on_r2(&r2, &postgres().url("postgres"))
        .with("BACKUP_RETRIES", "3")
        .with("LD_PRELOAD", library.to_str().unwrap())
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        // The clock stands still.
        .with("FAKETIME", "2026-06-30 12:00:00");
    let ended = Service::backup(&variables);
    let failure = ended.failure();
    assert_eq!(failure["kind"], "store_conflict");
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .contains("an object of that name exists already"),
        "{failure}"
    );
    assert!(ended.events("attempt failed").is_empty() && ended.events("backup started").is_empty());
    assert_eq!(r2.objects()[name], "of a run in the same second");
    assert!(r2.seen(Operation::CreateUpload).is_empty());
}

#[test]
fn a_missed_due_time_is_made_up_for_at_start_under_its_own_name_and_once() {
    let bucket = bucket();
    seaweedfs().put(
        &bucket,
        "vlvt_backup_2020-01-01_03-00-00.sql.gz",
        &[b'x'; 500],
    );
    let first = Service::daemon(&working(&bucket));
    let finished = first.wait_for("backup finished");
    assert!(
        finished["name"]
            .as_str()
            .unwrap()
            .ends_with("_03-00-00.sql.gz"),
        "{finished}"
    );
    assert_eq!(
        first
            .events("no backup of the last due time: running it now")
            .len(),
        1
    );
    first.terminate();
    let second = Service::daemon(&working(&bucket));
    second.wait_for_health("ok");
    assert!(second.terminate().events("backup started").is_empty());
    assert_eq!(seaweedfs().list(&bucket).len(), 2);
}

#[test]
fn nothing_is_made_up_for_in_an_empty_bucket_or_when_told_not_to() {
    let empty = Service::daemon(&working(&bucket()));
    empty.wait_for_health("waiting");
    assert!(empty.terminate().events("backup started").is_empty());

    let bucket = bucket();
    seaweedfs().put(
        &bucket,
        "vlvt_backup_2020-01-01_03-00-00.sql.gz",
        &[b'x'; 500],
    );
    let told = Service::daemon(&working(&bucket).with("BACKUP_CATCH_UP", "false"));
    told.wait_for_health("ok");
    assert!(told.terminate().events("backup started").is_empty());
}

#[test]
fn what_is_no_backup_of_ours_does_not_count_as_one() {
    let bucket = bucket();
    let now = chrono::Utc::now().format("%Y-%m-%d_%H-%M-%S");
    // Nothing that gzip writes has fewer than 20 bytes.
    seaweedfs().put(&bucket, &format!("vlvt_backup_{now}.sql.gz"), &[b'x'; 19]);
    for name in [
        format!("vlvt_backup_{now}.tar.gz"),
        format!("other_{now}.sql.gz"),
        format!("folder/vlvt_backup_{now}.sql.gz"),
    ] {
        seaweedfs().put(&bucket, &name, &[b'x'; 500]);
    }
    let service = Service::daemon(&working(&bucket));
    assert_eq!(
        service.wait_for_health("waiting").1["newest_backup"],
        serde_json::Value::Null
    );
    seaweedfs().put(&bucket, &format!("vlvt_backup_{now}.sql.gz"), &[b'x'; 20]);
    service.terminate();
    let service = Service::daemon(&working(&bucket));
    service.wait_for_health("ok");
    service.terminate();
}

#[test]
fn two_daemons_at_one_due_time_store_one_object() {
    let bucket = bucket();
    // Both are due at the same seconds; the later ones need not be waited for.
    let variables = working(&bucket).with("BACKUP_CRON_SCHEDULE", "*/10 * * * * *");
    let other = variables
        .clone()
        .with("PORT", &crate::common::process::free_port().to_string());
    let daemons = [Service::daemon(&variables), Service::daemon(&other)];
    let done = |service: &Service| {
        service.events("backup finished").len()
            + service.events("backup skipped: it exists already").len()
    };
    crate::common::process::wait_until("two due times in both", LIMIT, || {
        daemons.iter().all(|daemon| done(daemon) >= 2).then_some(())
    });
    let ended = daemons.map(Service::terminate);
    let mut finished = Vec::new();
    for ended in &ended {
        assert!(ended.events("backup failed").is_empty(), "{}", ended.text());
        finished.extend(
            ended
                .events("backup finished")
                .into_iter()
                .map(|event| event["name"].as_str().unwrap().to_owned()),
        );
    }
    finished.sort();
    let mut keys: Vec<String> = seaweedfs()
        .list(&bucket)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    keys.sort();
    assert_eq!(
        finished, keys,
        "each object was finished by exactly one of them"
    );
    assert_eq!(seaweedfs().uploads(&bucket), []);
}
