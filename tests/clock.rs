//! The real daemon with a faked clock: past midnight, past changes of daylight saving time, past several due times, and with
//! jumps of the clock.

use std::path::PathBuf;

use crate::common::postgres;
use crate::common::process::{Folder, LIMIT, tools, wait_until};
use crate::common::r2::{Operation, R2};
use crate::common::service::{Service, Variables};

/// A daemon whose clock starts at a local time of its zone. Only the wall clock is faked; sleeps are real. The clock stands
/// still until the daemon has computed its first due time, however long its start takes.
fn daemon_at(r2: &R2, folder: &Folder, zone: &str, local: &str, schedule: &str) -> Service {
    let file = folder.path().join("time");
    std::fs::write(&file, local).unwrap();
    let variables = faked(r2, zone, schedule)
        .with("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .with("FAKETIME_NO_CACHE", "1");
    let service = Service::daemon(&variables);
    service.wait_for("next backup");
    let zone: chrono_tz::Tz = zone.parse().unwrap();
    let local = chrono::NaiveDateTime::parse_from_str(local, "%Y-%m-%d %H:%M:%S").unwrap();
    let from = local.and_local_timezone(zone).unwrap().to_utc();
    go_on_from(folder, from);
    service
}

/// Lets the clock of a daemon of `daemon_at` continue from this time.
fn go_on_from(folder: &Folder, time: chrono::DateTime<chrono::Utc>) {
    let offset = (time - chrono::Utc::now()).as_seconds_f64();
    // The file is renamed into place, because a file that is read while it is written could hold half a number.
    let next = folder.path().join("next");
    std::fs::write(&next, format!("{offset:+.3}")).unwrap();
    std::fs::rename(next, folder.path().join("time")).unwrap();
}

fn faked(r2: &R2, zone: &str, schedule: &str) -> Variables {
    r2.accept_any_clock();
    let library: PathBuf = tools(&["faketime"]).join("faketime/libfaketime.so.1");
    Variables::on_r2(r2, &postgres().url("postgres"))
        .with("LD_PRELOAD", library.to_str().unwrap())
        // Without this tokio's timers, which use the monotonic clock, would never end.
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with("TZ", zone)
        .with("BACKUP_CRON_SCHEDULE", schedule)
}

fn name(event: &serde_json::Value) -> String {
    event["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_backup_due_at_midnight_has_the_new_days_name() {
    let (r2, folder) = (R2::start(), Folder::new());
    let service = daemon_at(&r2, &folder, "UTC", "2026-06-30 23:59:56", "@daily");
    assert_eq!(
        service.wait_for("next backup")["due_at"],
        "2026-07-01T00:00:00Z"
    );
    assert_eq!(
        name(&service.wait_for("backup finished")),
        "vlvt_backup_2026-07-01_00-00-00.sql.gz"
    );
    assert_eq!(
        service.wait_for_nth("next backup", 2)["due_at"],
        "2026-07-02T00:00:00Z"
    );
    service.terminate();
    assert_eq!(r2.keys(), ["vlvt_backup_2026-07-01_00-00-00.sql.gz"]);
}

#[test]
fn a_time_that_is_skipped_in_spring_is_due_right_after_the_gap() {
    let (r2, folder) = (R2::start(), Folder::new());
    // At 02:00, which is 01:00 UTC, the clocks in Berlin are set to 03:00.
    let service = daemon_at(
        &r2,
        &folder,
        "Europe/Berlin",
        "2026-03-29 01:59:56",
        "30 2 * * *",
    );
    assert_eq!(
        service.wait_for("next backup")["due_at"],
        "2026-03-29T01:00:00Z"
    );
    assert_eq!(
        name(&service.wait_for("backup finished")),
        "vlvt_backup_2026-03-29_01-00-00.sql.gz"
    );
    assert_eq!(
        service.wait_for_nth("next backup", 2)["due_at"],
        "2026-03-30T00:30:00Z"
    );
    service.terminate();
}

#[test]
fn a_time_that_comes_twice_in_autumn_is_due_once() {
    let (r2, folder) = (R2::start(), Folder::new());
    let zone = "Europe/Berlin";
    // 02:30 comes at 00:30 UTC and, after the clocks were set back at 01:00 UTC, again at 01:30 UTC.
    let service = daemon_at(&r2, &folder, zone, "2026-10-25 01:59:50", "30 2 * * *");
    assert_eq!(
        service.wait_for("next backup")["due_at"],
        "2026-10-25T00:30:00Z"
    );
    go_on_from(&folder, "2026-10-25T00:29:58Z".parse().unwrap());
    assert_eq!(
        name(&service.wait_for("backup finished")),
        "vlvt_backup_2026-10-25_00-30-00.sql.gz"
    );
    wait_until("the next day's due time", LIMIT, || {
        let next = service.events("next backup").pop();
        next.filter(|next| next["due_at"] == "2026-10-26T01:30:00Z")
    });
    service.terminate();
    assert_eq!(r2.keys().len(), 1);
}

#[test]
fn three_due_times_make_three_backups_named_after_them() {
    let (r2, folder) = (R2::start(), Folder::new());
    let service = daemon_at(&r2, &folder, "UTC", "2026-12-31 23:59:46", "*/10 * * * * *");
    service.wait_for_nth("backup finished", 3);
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0));
    let names: Vec<String> = ended
        .events("backup finished")
        .iter()
        .take(3)
        .map(name)
        .collect();
    assert_eq!(
        names,
        [
            "vlvt_backup_2026-12-31_23-59-50.sql.gz",
            "vlvt_backup_2027-01-01_00-00-00.sql.gz",
            "vlvt_backup_2027-01-01_00-00-10.sql.gz"
        ],
        "{}",
        ended.text()
    );
    assert!(
        ended.events("due time missed").is_empty(),
        "{}",
        ended.text()
    );
}

#[test]
fn a_run_that_overruns_its_next_due_time_skips_it_and_says_so() {
    let (r2, folder) = (R2::start(), Folder::new());
    // Every answer to Complete takes longer than the time between two due times.
    r2.fail(
        Operation::CompleteUpload,
        0,
        1,
        crate::common::r2::Action::Delay(std::time::Duration::from_secs(5)),
    );
    let service = daemon_at(&r2, &folder, "UTC", "2026-06-30 11:59:58", "*/2 * * * * *");
    let missed = service.wait_for("due time missed");
    assert_eq!(
        (&missed["level"], &missed["reason"]),
        (&"WARN".into(), &"a run was active".into())
    );
    assert!(missed["count"].as_u64().unwrap() >= 2, "{missed}");
    let ended = service.terminate();
    // There are never two runs at once: each start is followed by its own end.
    let order: Vec<String> = ended
        .lines
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .filter(|message| {
            ["backup started", "backup finished", "backup cancelled"].contains(&message.as_str())
        })
        .collect();
    assert!(
        order.chunks(2).all(|pair| pair[0] == "backup started"
            && pair.get(1).is_none_or(|end| end != "backup started")),
        "{order:?}"
    );
}

#[test]
fn a_clock_that_jumps_ahead_over_several_due_times_makes_one_backup_and_names_the_rest() {
    let (r2, folder) = (R2::start(), Folder::new());
    let service = daemon_at(&r2, &folder, "UTC", "2026-06-30 12:00:00", "0 * * * *");
    assert_eq!(
        service.wait_for("next backup")["due_at"],
        "2026-06-30T13:00:00Z"
    );
    go_on_from(&folder, "2026-07-01T13:30:00Z".parse().unwrap());
    assert_eq!(
        name(&service.wait_for("backup finished")),
        "vlvt_backup_2026-07-01_13-00-00.sql.gz"
    );
    let ended = service.terminate();
    assert!(
        ended.events("clock jumped")[0]["seconds"].as_i64().unwrap() > 25 * 3600,
        "{}",
        ended.text()
    );
    let missed = &ended.events("due time missed")[0];
    assert_eq!(
        (&missed["count"], &missed["due_at"], &missed["last_due_at"]),
        (
            &24.into(),
            &"2026-06-30T13:00:00Z".into(),
            &"2026-07-01T12:00:00Z".into()
        )
    );
    assert_eq!(r2.keys().len(), 1);
}

#[test]
fn a_clock_that_is_set_back_runs_nothing_twice_and_waits_for_the_new_next_time() {
    let (r2, folder) = (R2::start(), Folder::new());
    let service = daemon_at(&r2, &folder, "UTC", "2026-06-30 12:59:57", "0 * * * *");
    service.wait_for("backup finished");
    // The clock is set back to ten minutes before that due time, which is too far for a small correction.
    go_on_from(&folder, "2026-06-30T12:50:00Z".parse().unwrap());
    let jumped = wait_until("the jump", LIMIT, || {
        service.events("clock jumped").first().cloned()
    });
    assert!(jumped["seconds"].as_i64().unwrap() < 0, "{jumped}");
    go_on_from(&folder, "2026-06-30T12:59:55Z".parse().unwrap());
    // The time is due again, but the bucket holds its backup already.
    assert_eq!(
        name(&service.wait_for("backup skipped: it exists already")),
        "vlvt_backup_2026-06-30_13-00-00.sql.gz"
    );
    assert_eq!(
        service.events("backup started").len(),
        1,
        "nothing is dumped twice"
    );
    service.terminate();
    assert_eq!(r2.keys().len(), 1);
}

#[test]
fn a_backup_that_fails_ends_neither_the_daemon_nor_its_schedule() {
    let (r2, folder) = (R2::start(), Folder::new());
    r2.fail(
        Operation::CreateUpload,
        0,
        2,
        crate::common::r2::Action::Answer(403, "AccessDenied"),
    );
    let service = daemon_at(&r2, &folder, "UTC", "2026-06-30 11:59:58", "*/3 * * * * *");
    let failures = [
        service.wait_for("backup failed"),
        service.wait_for_nth("backup failed", 2),
    ];
    let finished = service.wait_for("backup finished");
    service.wait_for_health("ok");
    let names = [name(&failures[0]), name(&failures[1]), name(&finished)];
    assert!(
        names.is_sorted() && names[0] != names[1] && names[1] != names[2],
        "{names:?}"
    );
    for failure in failures {
        assert_eq!(
            (&failure["level"], &failure["kind"]),
            (&"ERROR".into(), &"store_denied".into())
        );
        assert!(!failure["hint"].as_str().unwrap().is_empty());
    }
    assert_eq!(service.terminate().code(), Some(0));
}
