//! The daemon notifies people: alerts, heartbeats and unusual backups, with receivers that answer in every way.

use std::time::Instant;

use crate::common::halted::Halted;
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, free_port, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::receiver::{Answer, CANARY, Receiver};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{certificates, postgres, seaweedfs, unique};

fn name_hours_ago(hours: i64) -> String {
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(hours);
    format!("vlvt_backup_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"))
}

/// The variables of a daemon that has nothing to do until 03:00.
fn quiet(r2: &R2) -> Variables {
    Variables::on_r2(r2, &postgres().url("postgres")).with("RUST_LOG", "debug")
}

fn time(event: &serde_json::Value) -> chrono::DateTime<chrono::Utc> {
    event["timestamp"].as_str().unwrap().parse().unwrap()
}

/// Checks that the log holds nothing of an address, even at debug level.
fn keeps_its_secret(ended: &Ended) {
    assert!(!ended.text().contains("canary"), "{}", ended.text());
    assert!(!ended.text().contains("/hook"), "{}", ended.text());
}

#[test]
fn a_failing_schedule_is_told_once_and_its_recovery_always() {
    let (r2, alerts, beats) = (R2::start(), Receiver::start(), Receiver::start());
    r2.fail(
        Operation::CreateUpload,
        0,
        2,
        Action::Answer(403, "AccessDenied"),
    );
    let service = Service::daemon(
        &quiet(&r2)
            .with("BACKUP_CRON_SCHEDULE", "*/2 * * * * *")
            .with("ALERT_WEBHOOK_URL", &alerts.url())
            .with("HEARTBEAT_URL", &beats.url()),
    );
    let recovered = alerts.wait_for_event("recovered");
    let failed = service.wait_for("backup failed");
    assert_eq!(service.events("backup failed").len(), 2);
    // After two more good backups, no further message is sent.
    service.wait_for_nth("backup finished", 3);
    let ended = service.terminate();
    assert_eq!(alerts.events(), ["failing", "recovered"]);
    let failing = alerts.received()[0].json();
    for field in ["kind", "error", "hint"] {
        assert_eq!(failing[field], failed[field], "{failing}");
    }
    assert_eq!(failing["name"], failed["name"]);
    assert_eq!(failing["newest_backup"], serde_json::Value::Null);
    let text = failing["text"].as_str().unwrap();
    for words in ["Backup failed: vlvt_backup_", "AccessDenied", "To do: "] {
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(recovered["recovered_from"], serde_json::json!(["failing"]));
    assert_eq!(
        recovered["name"],
        ended.events("backup finished")[0]["name"]
    );
    assert_eq!(ended.events("alert sent").len(), 2);
    // The heartbeat got each run.
    let all = beats.received();
    assert_eq!(
        beats.beats()[..6],
        ["/start", "/fail", "/start", "/fail", "/start", ""]
    );
    assert!(all[1].body.starts_with("store_denied: "), "{all:?}");
    assert!(all[1].body.contains("AWS_ACCESS_KEY_ID"), "{all:?}");
    assert!(
        all[5].body.starts_with(recovered["name"].as_str().unwrap()),
        "{all:?}"
    );
    keeps_its_secret(&ended);
}

#[test]
fn a_newest_backup_that_grows_too_old_is_told_once_by_time_alone() {
    let (r2, alerts) = (R2::start(), Receiver::start());
    let service = Service::daemon(
        &quiet(&r2)
            .with("RUN_ON_STARTUP", "true")
            .with("BACKUP_MAX_AGE", "3s")
            .with("ALERT_WEBHOOK_URL", &alerts.url()),
    );
    let finished = service.wait_for("backup finished");
    let stale = alerts.wait_for_event("stale");
    assert_eq!(stale["newest_backup"]["name"], finished["name"]);
    assert!(stale["newest_backup"]["age_seconds"].as_u64() >= Some(3));
    assert_eq!(stale["status"], "stale");
    assert_eq!(service.health().0, 503);
    let ended = service.terminate();
    assert_eq!(alerts.events(), ["stale"]);
    keeps_its_secret(&ended);
}

#[test]
fn a_table_that_was_emptied_is_named_in_the_log_and_the_alert_and_flagged_in_health() {
    let (r2, alerts) = (R2::start(), Receiver::start());
    let database = unique("anomaly").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, "CREATE TABLE \"x <!channel> @here\" AS SELECT 1 AS a; CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g");
    let service = Service::daemon(
        &quiet(&r2)
            .with("BACKUP_DATABASE_URL", &postgres().url(&database))
            .with("BACKUP_CRON_SCHEDULE", "*/4 * * * * *")
            .with("ALERT_WEBHOOK_URL", &alerts.url()),
    );
    service.wait_for("backup finished");
    assert_eq!(service.wait_for_health("ok").1["anomaly"], false);
    postgres().psql(
        &database,
        "TRUNCATE \"x <!channel> @here\"; DELETE FROM kept WHERE g > 400",
    );
    let odd = service.wait_for("backup out of the ordinary");
    let (status, health) = wait_until("the flag", LIMIT, || {
        Some(service.health()).filter(|(_, health)| health["anomaly"] == true)
    });
    assert_eq!((status, &health["status"]), (200, &"ok".into()));
    assert!(!health.to_string().contains("channel"), "{health}");
    assert_eq!(odd["level"], "WARN");
    assert_eq!(
        odd["found"],
        "public.\"x <!channel> @here\" is empty, it had 1 row; public.kept fell from 1000 to 400 rows"
    );
    let alert = alerts.wait_for_event("anomaly");
    assert_eq!(alert["name"], odd["name"]);
    assert_eq!(alert["anomalies"].as_array().unwrap().len(), 2);
    let text = alert["text"].as_str().unwrap();
    assert!(
        !text.contains("<!channel>") && !text.contains("@here"),
        "{text}"
    );
    // The next backup is like that one.
    let over = alerts.wait_for_event("recovered");
    assert_eq!(over["recovered_from"], serde_json::json!(["anomaly"]));
    assert!(over["text"].as_str().unwrap().contains("did not come back"));
    wait_until("the flag's end", LIMIT, || {
        (service.health().1["anomaly"] == false).then_some(())
    });
    keeps_its_secret(&service.terminate());
    assert_eq!(alerts.events(), ["anomaly", "recovered"]);
}

#[test]
fn a_size_unlike_those_in_the_bucket_is_told_also_by_a_single_shot() {
    let (r2, alerts, beats) = (R2::start(), Receiver::start(), Receiver::start());
    for hours in 1..=3 {
        r2.put(&name_hours_ago(hours), &vec![b'x'; 1_000_000]);
    }
    let variables = quiet(&r2)
        .with("ALERT_WEBHOOK_URL", &alerts.url())
        .with("HEARTBEAT_URL", &beats.url());
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let odd = ended.event("backup out of the ordinary");
    assert!(
        odd["found"]
            .as_str()
            .unwrap()
            .starts_with("the size fell from 1.0 MB to "),
        "{odd}"
    );
    assert_eq!(alerts.events(), ["anomaly"]);
    assert_eq!(beats.beats(), ["/start", ""]);
    keeps_its_secret(&ended);
    // The threshold is a variable.
    let r2 = R2::start();
    for hours in 1..=3 {
        r2.put(&name_hours_ago(hours), &vec![b'x'; 1_000_000]);
    }
    let ended = Service::backup(
        &quiet(&r2)
            .with("ANOMALY_BELOW", "off")
            .with("ALERT_WEBHOOK_URL", &alerts.url()),
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events("backup out of the ordinary").len(), 0);
    assert_eq!(alerts.events(), ["anomaly"]);
}

#[test]
fn a_single_shot_that_fails_tells_so_before_it_ends() {
    let (r2, alerts, beats) = (R2::start(), Receiver::start(), Receiver::start());
    r2.make_read_only();
    let ended = Service::backup(
        &quiet(&r2)
            .with("ALERT_WEBHOOK_URL", &alerts.url())
            .with("HEARTBEAT_URL", &beats.url()),
    );
    let failure = ended.failure();
    assert_eq!(alerts.events(), ["failing"]);
    assert_eq!(alerts.received()[0].json()["error"], failure["error"]);
    assert_eq!(beats.beats(), ["/start", "/fail"]);
    keeps_its_secret(&ended);
}

#[test]
fn a_drill_that_fails_is_told_once_and_so_is_the_next_that_does_not() {
    let alerts = Receiver::start();
    let server = Postgres::start(17);
    let bucket = unique("alert");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"));
    let made = Service::backup(&variables).event("backup finished");
    // The user's own check is true as long as this role exists.
    server.psql("postgres", "CREATE ROLE witness");
    let service = Service::daemon(
        &variables
            .with("VERIFY_SCHEDULE", "* * * * * *")
            .with("VERIFY_DATABASE_URL", &server.url("postgres"))
            .with(
                "VERIFY_SQL",
                "SELECT count(*) = 1 FROM pg_roles WHERE rolname = 'witness'",
            )
            .with("ALERT_WEBHOOK_URL", &alerts.url()),
    );
    service.wait_for("backup proven");
    server.psql("postgres", "DROP ROLE witness");
    let unproven = alerts.wait_for_event("unproven");
    assert_eq!(unproven["name"], made["name"]);
    assert_eq!(unproven["kind"], "unproven");
    assert!(
        unproven["error"].as_str().unwrap().contains("VERIFY_SQL"),
        "{unproven}"
    );
    service.wait_for_nth("backup unproven", 2);
    server.psql("postgres", "CREATE ROLE witness");
    let over = alerts.wait_for_event("recovered");
    assert_eq!(over["recovered_from"], serde_json::json!(["unproven"]));
    service.terminate();
    assert_eq!(alerts.events(), ["unproven", "recovered"]);
}

#[test]
fn a_run_that_is_cut_by_a_stop_has_begun_and_tells_nothing_else() {
    let (r2, alerts, beats) = (R2::start(), Receiver::start(), Receiver::start());
    let halted = Halted::new(postgres(), 10, 10);
    let service = Service::daemon(
        &halted
            .variables(Variables::on_r2(&r2, ""))
            .with("RUN_ON_STARTUP", "true")
            .with("ALERT_WEBHOOK_URL", &alerts.url())
            .with("HEARTBEAT_URL", &beats.url()),
    );
    halted.wait();
    beats.wait_for(1);
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0));
    ended.within_five_seconds();
    assert_eq!(beats.beats(), ["/start"]);
    assert_eq!(alerts.received().len(), 0);
}

/// Makes a backup with a daemon, and stops the daemon. Alerts and heartbeats are both sent to this URL.
fn at_a_receiver(url: &str) -> Ended {
    let r2 = R2::start();
    let began = Instant::now();
    let service = Service::daemon(
        &quiet(&r2)
            .with("RUN_ON_STARTUP", "true")
            .with("BACKUP_MAX_AGE", "1s")
            .with("ALERT_WEBHOOK_URL", url)
            .with("HEARTBEAT_URL", url),
    );
    service.wait_for("backup finished");
    // The backup is stale by now, or will be in a second, so an alert and a heartbeat are being sent.
    service.wait_for_health("stale");
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0));
    ended.within_five_seconds();
    assert_eq!(ended.events("stopped").len(), 1, "{}", ended.text());
    assert_eq!(ended.events("attempt failed").len(), 0);
    let took = ended.event("backup finished")["duration_seconds"].as_f64();
    assert!(took < Some(began.elapsed().as_secs_f64()));
    assert_eq!(r2.keys().len(), 1);
    keeps_its_secret(&ended);
    ended
}

#[test]
fn a_receiver_that_hangs_or_is_down_delays_neither_a_backup_nor_the_end() {
    let hanging = Receiver::answering(&[], Answer::Hang);
    let ended = at_a_receiver(&hanging.url());
    for message in ["heartbeat not delivered", "alert not delivered"] {
        for event in ended.events(message) {
            assert_eq!(event["kind"], "ended", "{event}");
        }
    }
    let reset = Receiver::answering(&[], Answer::Reset);
    at_a_receiver(&reset.url());
    let down = format!("http://127.0.0.1:{}/hook/{CANARY}", free_port());
    at_a_receiver(&down);
    // This is a host name that does not exist.
    at_a_receiver(&format!("https://canary-host.invalid/hook/{CANARY}"));
}

#[test]
fn a_single_shot_waits_ten_seconds_at_most_for_its_messages_and_says_what_became_of_them() {
    let down = format!("http://127.0.0.1:{}/hook/{CANARY}", free_port());
    let hanging = Receiver::answering(&[], Answer::Hang);
    for url in [&hanging.url(), &down] {
        let r2 = R2::start();
        let ended = Service::backup(&quiet(&r2).with("HEARTBEAT_URL", url));
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        // The ping at the start did not arrive either, but that is only logged at debug level.
        let mut lost = ended.events("heartbeat not delivered");
        lost.retain(|event| event["level"] == "WARN");
        assert_eq!(lost.len(), 1, "{}", ended.text());
        let lost = lost.remove(0);
        assert_eq!(
            (&lost["beat"], &lost["kind"]),
            (&"success".into(), &"ended".into())
        );
        assert!(!lost["hint"].as_str().unwrap().is_empty());
        let waited = time(&lost) - time(&ended.event("backup finished"));
        assert!(waited < chrono::TimeDelta::seconds(14), "{}", ended.text());
        assert_eq!(
            lost["error"].as_str().unwrap().contains("reached"),
            url == &down
        );
        keeps_its_secret(&ended);
    }
    // The receiver that hangs at the start of a run got another ping at its end.
    assert_eq!(hanging.beats(), ["/start", ""]);
}

#[test]
fn the_end_of_a_run_does_not_wait_for_a_start_that_nobody_takes() {
    let r2 = R2::start();
    let receiver = Receiver::answering(&[Answer::Hang], Answer::Status(200, String::new()));
    let ended = Service::backup(&quiet(&r2).with("HEARTBEAT_URL", &receiver.url()));
    assert_eq!(receiver.beats(), ["/start", ""], "{}", ended.text());
    let delivered = time(&ended.event("heartbeat delivered"));
    let waited = delivered - time(&ended.event("backup finished"));
    assert!(waited < chrono::TimeDelta::seconds(8), "{}", ended.text());
}

#[test]
fn a_receiver_that_is_out_of_order_for_a_moment_gets_the_message_all_the_same() {
    let r2 = R2::start();
    let error = Answer::Status(500, String::new());
    let slow_down = Answer::Status(429, String::new());
    // The ping at the start of a run is tried only once.
    let receiver = Receiver::answering(
        &[error.clone(), slow_down, error],
        Answer::Status(204, String::new()),
    );
    let ended = Service::backup(&quiet(&r2).with("HEARTBEAT_URL", &receiver.url()));
    assert_eq!(receiver.beats(), ["/start", "", "", ""], "{}", ended.text());
    assert_eq!(ended.event("heartbeat delivered")["beat"], "success");
    keeps_its_secret(&ended);
}

#[test]
fn what_a_receiver_does_not_want_is_said_once_and_not_tried_again() {
    let said = format!("no_service: /hook/{CANARY} is unknown\u{1b}[2J");
    for (status, kind, words) in [
        (404, "refused", "no_service: "),
        (410, "refused", "HTTP 410"),
    ] {
        let r2 = R2::start();
        r2.make_read_only();
        let receiver = Receiver::answering(&[], Answer::Status(status, said.clone()));
        let ended = Service::backup(&quiet(&r2).with("ALERT_WEBHOOK_URL", &receiver.url()));
        assert_eq!(receiver.received().len(), 1);
        let lost = ended.event("alert not delivered");
        assert_eq!(lost["kind"], kind);
        assert_eq!(lost["variable"], "ALERT_WEBHOOK_URL");
        assert!(lost["error"].as_str().unwrap().contains(words), "{lost}");
        assert!(!ended.text().contains('\u{1b}'), "{lost}");
        assert!(
            lost["hint"].as_str().unwrap().contains("ALERT_WEBHOOK_URL"),
            "{lost}"
        );
        keeps_its_secret(&ended);
    }
}

#[test]
fn a_redirect_is_followed_nowhere() {
    let r2 = R2::start();
    r2.make_read_only();
    let elsewhere = Receiver::start();
    let receiver = Receiver::answering(&[], Answer::Redirect(elsewhere.url()));
    let ended = Service::backup(
        &quiet(&r2)
            .with("ALERT_WEBHOOK_URL", &receiver.url())
            .with("HEARTBEAT_URL", &receiver.url()),
    );
    assert_eq!(elsewhere.received().len(), 0);
    // These are the alert, the start and the end, each of them once.
    assert_eq!(receiver.received().len(), 3);
    for message in ["alert not delivered", "heartbeat not delivered"] {
        let lost = ended.events(message).pop().unwrap();
        assert_eq!(lost["kind"], "redirected");
        assert!(
            lost["hint"].as_str().unwrap().contains("not followed"),
            "{lost}"
        );
    }
    keeps_its_secret(&ended);
}

#[test]
fn a_receiver_is_trusted_over_tls_only_with_a_certificate_of_a_known_authority() {
    for (certificate, trusted) in [
        ("good", true),
        ("expired", false),
        ("unknown", false),
        ("elsewhere", false),
    ] {
        let r2 = R2::start();
        let receiver = Receiver::start_tls(&certificates().path(certificate));
        let ended = Service::backup(&quiet(&r2).with("HEARTBEAT_URL", &receiver.url()));
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        if trusted {
            assert_eq!(receiver.beats(), ["/start", ""], "{}", ended.text());
        } else {
            assert_eq!(receiver.received().len(), 0);
            let lost = ended.events("heartbeat not delivered").pop().unwrap();
            assert_eq!(lost["kind"], "tls", "{lost}");
            assert!(
                lost["hint"].as_str().unwrap().contains("SSL_CERT_FILE"),
                "{lost}"
            );
        }
        keeps_its_secret(&ended);
    }
}

#[test]
fn uptime_kuma_is_told_in_its_own_way() {
    let r2 = R2::start();
    let receiver = Receiver::start();
    let url = receiver.url().replace("/hook/", "/api/push/") + "?status=up&msg=OK&ping=";
    let ended = Service::backup(&quiet(&r2).with("HEARTBEAT_URL", &url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let refusing = R2::start();
    refusing.make_read_only();
    Service::backup(&quiet(&refusing).with("HEARTBEAT_URL", &url)).failure();
    let received = receiver.received();
    assert_eq!(received.len(), 2, "{received:?}");
    assert!(received.iter().all(|received| received.method == "GET"));
    let beats = receiver.beats();
    assert!(
        beats[0].starts_with("?status=up&msg=vlvt%5Fbackup%5F"),
        "{beats:?}"
    );
    let ping = beats[0].rsplit('=').next().unwrap();
    assert!(ping.parse::<u64>().unwrap() > 0, "{beats:?}");
    assert!(
        beats[1].starts_with("?status=down&msg=store%5Fdenied"),
        "{beats:?}"
    );
}

#[test]
fn the_body_of_an_alert_has_the_documented_fields_and_says_who_sends_it() {
    let (r2, alerts) = (R2::start(), Receiver::start());
    r2.make_read_only();
    Service::backup(&quiet(&r2).with("ALERT_WEBHOOK_URL", &alerts.url())).failure();
    let received = alerts.received().remove(0);
    assert_eq!(received.method, "POST");
    for header in [
        "content-type: application/json",
        "user-agent: postgres-s3-backups/",
    ] {
        assert!(received.headers.contains(header), "{received:?}");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let page = page.unwrap();
    let (_, example) = page.split_once("```json\n{\"event\":").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example: serde_json::Value =
        serde_json::from_str(&format!("{{\"event\":{example}")).unwrap();
    let fields = |json: &serde_json::Value| -> Vec<String> {
        json.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(fields(&received.json()), fields(&example));
}
