//! Names: how backups are named, and what happens if the name exists already.

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::process::{LIMIT, tools, wait_until};
use crate::common::r2::{Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

fn bucket() -> String {
    let bucket = unique("name");
    seaweedfs().create_bucket(&bucket);
    bucket
}

/// The variables of a working service with this bucket.
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
    // However late it was stored, its age comes from its name.
    told.wait_for_health("stale");
    assert!(told.terminate().events("backup started").is_empty());
}

#[test]
fn what_is_no_backup_of_ours_does_not_count_as_one() {
    let bucket = bucket();
    let now = Utc::now().format("%Y-%m-%d_%H-%M-%S");
    // gzip never writes fewer than 20 bytes.
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
    // Both are due in the same seconds. The test does not have to wait for the later ones.
    let variables = working(&bucket).with("BACKUP_CRON_SCHEDULE", "*/10 * * * * *");
    let other = variables
        .clone()
        .with("PORT", &crate::common::process::free_port().to_string());
    let daemons = [Service::daemon(&variables), Service::daemon(&other)];
    let done = |service: &Service| {
        service.events("backup finished").len()
            + service.events("backup skipped: it exists already").len()
    };
    wait_until("two due times in both", LIMIT, || {
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

/// The name of a backup of this time.
fn named(at: DateTime<Utc>) -> String {
    format!("vlvt_backup_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"))
}

const FAR: &str = "vlvt_backup_9999-12-31_23-59-59.sql.gz";

fn without_database(r2: &R2) -> Variables {
    Variables::on_r2(r2, "postgres://nobody@127.0.0.1:1/none")
}

#[test]
fn a_name_that_cannot_be_true_is_shown_and_never_taken_for_the_newest() {
    let r2 = R2::start();
    let variables = Variables::on_r2(&r2, &postgres().url("postgres"));
    assert_eq!(Service::backup(&variables).code(), Some(0));
    let real = r2.keys().remove(0);
    let body = r2.objects()[&real].clone();
    let now = Utc::now();
    // One backup was made by a container whose clock was years ahead, and one a month ago by a clock that was a week ahead.
    let week = named(now - TimeDelta::days(23));
    r2.put_at(FAR, &body, now);
    r2.put_at(&week, &body, now - TimeDelta::days(30));

    let ended = Service::start(&variables, &["list"]).end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    for name in [FAR, &week, &real] {
        let line = ended.lines.iter().find(|line| line.starts_with(name));
        let marked = line.unwrap().contains("dated ahead");
        assert_eq!(marked, name != real, "{}", ended.text());
    }
    let ended = Service::start(&variables, &["list", "--json"]).end(LIMIT);
    let listed: serde_json::Value = serde_json::from_str(&ended.text()).unwrap();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["dated_ahead"]),
        (&FAR.into(), &true.into())
    );
    assert_eq!(listed[0]["age_seconds"], serde_json::Value::Null);
    assert_eq!(listed[1]["dated_ahead"], false);

    // `latest` is the real one. The other one can be verified and restored under its full name.
    let verify = |arguments: &[&str]| {
        let ended = Service::start(&variables, arguments).end(LIMIT);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        ended.event("backup whole")["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(verify(&["verify"]), real);
    assert_eq!(verify(&["verify", FAR, "--renamed"]), FAR);
    let ended = Service::start(&variables, &["verify", "--all"]).end(LIMIT);
    assert_eq!(ended.event("verify finished")["checked"], 3);
    let check = Service::start(&variables, &["check"]).end(LIMIT).text();
    let line = check
        .lines()
        .find(|line| line.contains("dated_ahead"))
        .unwrap();
    assert!(
        line.starts_with('!')
            && line.contains(FAR)
            && line.contains("and 1 more")
            && line.contains("delete it"),
        "{line}"
    );

    let service = Service::daemon(&variables.with("STATUS_TOKEN", "a-token-of-24-characters"));
    let (status, health) = service.wait_for_health("ok");
    assert_eq!(status, 200);
    assert_eq!(health["newest_backup"]["name"], *real);
    let warned = service.wait_for("backups dated ahead count for nothing");
    assert_eq!(
        (&warned["level"], &warned["count"]),
        (&"WARN".into(), &2.into())
    );
    let (_, _, page) = service.get_with("a-token-of-24-characters", "/");
    assert!(page.contains("2 objects dated ahead") && page.contains(FAR));
    let (_, _, metrics) = service.get_with("a-token-of-24-characters", "/metrics");
    assert!(metrics.contains("postgres_s3_backups_bucket_backups_dated_ahead 2"));
    assert!(metrics.contains("postgres_s3_backups_bucket_backups 1"));
    let ended = service.terminate();
    assert_eq!(
        ended.events("backups dated ahead count for nothing").len(),
        1
    );
}

#[test]
fn a_name_that_cannot_be_true_hides_neither_a_missed_due_time_nor_that_there_is_no_backup() {
    let r2 = R2::start();
    r2.put_at(FAR, &[7; 500], Utc::now());
    // The age of none of the backups is known.
    let service = Service::daemon(&without_database(&r2));
    assert_eq!(service.wait_for_health("unknown").0, 503);
    let ended = service.terminate();
    assert!(ended.events("backup started").is_empty());
    let ended = Service::start(&without_database(&r2), &["verify"]).end(LIMIT);
    assert_eq!(ended.event("no such backup")["name"], "latest");
    // If there is an old backup as well, the last due time is made up for, and the new backup is the newest.
    r2.put_at(
        "vlvt_backup_2020-01-01_03-00-00.sql.gz",
        &[7; 500],
        Utc::now() - TimeDelta::days(900),
    );
    let service = Service::daemon(&Variables::on_r2(&r2, &postgres().url("postgres")));
    let made = service.wait_for("backup finished")["name"].clone();
    let (_, health) = service.wait_for_health("ok");
    assert_eq!(health["newest_backup"]["name"], made);
    service.terminate();
}

#[test]
fn a_store_whose_clock_is_ahead_makes_no_backup_fresh() {
    for ahead in [TimeDelta::minutes(20), TimeDelta::days(4_000_000)] {
        let r2 = R2::start();
        let now = Utc::now();
        let ahead = (now + ahead).min("9999-12-31T23:59:59Z".parse().unwrap());
        r2.put_at(&named(now), &[7; 500], ahead);
        let service = Service::daemon(&without_database(&r2));
        // Before the bucket is read it is unknown, too.
        let (status, health) = wait_until("the list", LIMIT, || {
            Some(service.health()).filter(|(_, health)| !health["newest_backup"].is_null())
        });
        assert_eq!(
            (status, &health["status"]),
            (503, &"unknown".into()),
            "{health}"
        );
        assert_eq!(
            health["newest_backup"]["age_seconds"],
            serde_json::Value::Null
        );
        let warned = service
            .wait_for("age of the newest backup not known: it was stored ahead of this clock");
        assert!(warned["hint"].as_str().unwrap().contains("NTP"), "{warned}");
        service.terminate();
        let check = Service::start(&without_database(&r2), &["check"])
            .end(LIMIT)
            .text();
        assert!(check.contains("ahead of this clock"), "{check}");
    }
}

#[test]
fn a_bucket_that_was_copied_today_is_as_old_as_its_names() {
    let r2 = R2::start();
    let now = Utc::now();
    for days in 3..6 {
        r2.put_at(&named(now - TimeDelta::days(days)), &[7; 500], now);
    }
    let service = Service::daemon(
        &without_database(&r2)
            .with("BACKUP_CATCH_UP", "false")
            .with("STATUS_TOKEN", "b7e1c0ffee-b7e1c0ffee-b7e1"),
    );
    let (status, health) = service.wait_for_health("stale");
    assert_eq!(status, 503);
    let age = health["newest_backup"]["age_seconds"].as_u64().unwrap();
    assert!((259_200..259_500).contains(&age), "{health}");
    // So do the page and the metrics.
    let asked = |target: &str| {
        service.raw(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer b7e1c0ffee-b7e1c0ffee-b7e1\r\nConnection: close\r\n\r\n"))
    };
    let metrics = asked("/metrics");
    let told = metrics
        .lines()
        .find_map(|line| line.strip_prefix("postgres_s3_backups_newest_backup_age_seconds "));
    let told: f64 = told.unwrap().parse().unwrap();
    assert!((259_200.0..259_500.0).contains(&told), "{metrics}");
    let page = asked("/");
    assert!(page.contains("The newest backup is 3 days old."), "{page}");
    service.terminate();
    // The list says the same.
    let ended = Service::start(&without_database(&r2), &["list"]).end(LIMIT);
    assert!(ended.lines[1].contains(" 3 d "), "{}", ended.text());
}
