//! What dashboards, files and vendors put into variables, given to the real binary.

use std::collections::BTreeSet;

use postgres_s3_backups::config::VARIABLES;

use crate::common::process::LIMIT;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

fn working() -> Variables {
    Variables::working(
        seaweedfs(),
        "some-bucket",
        "postgres://u:testpass@127.0.0.1:1/d",
    )
}

fn refused(ended: &Ended) -> BTreeSet<String> {
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
    let events = ended.events("invalid configuration");
    let names = events.iter().map(|event| event["variable"].as_str());
    names.map(|name| name.unwrap().to_owned()).collect()
}

#[test]
fn what_belongs_to_a_file_or_dashboard_is_refused_in_every_variable_alike() {
    for (value, word, not_in_sql) in [
        ("\"canary value\"", "quotes around its value", false),
        ("'canary'", "quotes around its value", false),
        ("a-${{canary.VALUE}}", "not resolved", true),
        ("$(CANARY)", "not resolved", true),
        ("canary # comment", "holds a comment", true),
        ("canary\u{200b}value", "nobody can see", true),
    ] {
        let expected: BTreeSet<String> = VARIABLES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| !(not_in_sql && name == "VERIFY_SQL"))
            .collect();
        let every = VARIABLES
            .iter()
            .fold(working(), |set, (name, _)| set.with(name, value));
        let ended = Service::daemon(&every).end(LIMIT);
        let events = ended.events("invalid configuration");
        let told: BTreeSet<String> = events
            .iter()
            .filter(|event| event["error"].as_str().unwrap().contains(word))
            .map(|event| event["variable"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ended.code(), Some(2));
        assert_eq!(told, expected, "{value}: {}", ended.text());
        let text = ended.text().to_lowercase();
        assert!(!text.contains("canary"), "{text}");
    }
    let kubernetes = working()
        .with("PORT", "0")
        .with("BACKUP_SERVICE_HOST", "10.0.0.1")
        .with("BACKUP_PORT", "tcp://10.0.0.1:80")
        .with("BACKUP_PORT_80_TCP_ADDR", "10.0.0.1");
    let ended = Service::daemon(&kubernetes).end(LIMIT);
    assert_eq!(refused(&ended), BTreeSet::from(["PORT".to_owned()]));
    assert!(ended.events("configuration").is_empty(), "{}", ended.text());
}

#[test]
fn options_that_one_pair_of_quotes_would_make_one_word_are_no_backup() {
    let (store, server) = (seaweedfs(), postgres());
    let (bucket, database) = (unique("strings"), unique("strings"));
    store.create_bucket(&bucket);
    server.create_database(&database, "");
    let variables = Variables::working(store, &bucket, &server.url(&database));
    for options in [
        "\"--exclude-table-data=logs --no-owner\"",
        "\"--exclude-table-data=logs --no-owner\" --no-acl",
    ] {
        let ended = Service::backup(&variables.clone().with("BACKUP_OPTIONS", options));
        assert_eq!(
            refused(&ended),
            BTreeSet::from(["BACKUP_OPTIONS".to_owned()]),
            "{options}"
        );
    }
    assert!(store.list(&bucket).is_empty());
}

#[test]
fn schedules_of_other_programs_are_read_or_get_their_word() {
    for (schedule, word) in [
        ("TZ=Europe/Berlin 0 3 * * *", "set TZ to Europe/Berlin"),
        ("@every 6h", "write 0 */6 * * *"),
        ("rate(1 day)", "write 0 3 * * *"),
        ("*/90 * * * *", "goes beyond the field"),
        ("0 0 3 ? * 2 *", "write names such as MON"),
    ] {
        let variables = working().with("BACKUP_CRON_SCHEDULE", schedule);
        let ended = Service::daemon(&variables).end(LIMIT);
        assert_eq!(
            refused(&ended),
            BTreeSet::from(["BACKUP_CRON_SCHEDULE".to_owned()])
        );
        assert!(ended.text().contains(word), "{}", ended.text());
    }
    for schedule in ["0 0 3 ? * * *", "cron(0 3 * * ? *)"] {
        // Another variable is wrong, so that the service ends.
        let variables = working()
            .with("BACKUP_CRON_SCHEDULE", schedule)
            .with("PORT", "0");
        let ended = Service::daemon(&variables).end(LIMIT);
        assert_eq!(refused(&ended), BTreeSet::from(["PORT".to_owned()]));
    }
}
