//! The command that checks everything before a backup is due: what it says about a database and a bucket that are in order,
//! and about each thing that is not.

use std::time::Duration;

use serde_json::Value;

use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::{PASSWORD, Postgres};
use crate::common::process::{Process, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const LIMIT: Duration = Duration::from_secs(120);

/// Sets a lifecycle rule on the bucket that deletes everything after this number of days.
fn keep(bucket: &str, days: u32) {
    let rules = format!(
        "<LifecycleConfiguration><Rule><ID>old</ID><Status>Enabled</Status><Filter><Prefix>vlvt_backup_</Prefix></Filter>\
         <Expiration><Days>{days}</Days></Expiration></Rule></LifecycleConfiguration>"
    );
    let (status, body) = seaweedfs().request(
        "PUT",
        &format!("/{bucket}?lifecycle="),
        Some(rules.as_bytes()),
    );
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

/// A database on the shared server and a bucket, with the variables for both.
fn working() -> (String, String, Variables) {
    let database = unique("check").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(
        &database,
        "CREATE TABLE notes (id serial PRIMARY KEY, text text)",
    );
    let bucket = unique("check");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url(&database));
    (database, bucket, variables)
}

fn check(variables: &Variables) -> Ended {
    Service::start(variables, &["check"]).end(LIMIT)
}

/// The line about one thing, in the text for people.
fn line(ended: &Ended, name: &str) -> String {
    let mut found: Vec<&String> = ended
        .lines
        .iter()
        .filter(|line| line.split_whitespace().nth(1) == Some(name))
        .collect();
    assert_eq!(found.len(), 1, "{name} in:\n{}", ended.text());
    found.remove(0).clone()
}

/// Checks that only this thing failed, with these words.
fn fails(ended: &Ended, name: &str, words: &[&str]) {
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let failed: Vec<&String> = ended
        .lines
        .iter()
        .filter(|line| line.starts_with('✗'))
        .collect();
    assert_eq!(failed.len(), 1, "{}", ended.text());
    let line = line(ended, name);
    assert!(line.starts_with('✗') && line.contains(" → "), "{line}");
    for words in words {
        assert!(line.contains(words), "{words}: {line}");
    }
    for secret in [PASSWORD, seaweedfs().secret_key] {
        assert!(!ended.text().contains(secret), "{}", ended.text());
    }
}

#[test]
fn where_all_is_well_each_line_says_so_and_the_bucket_is_as_before() {
    let (_, bucket, variables) = working();
    keep(&bucket, 30);
    let ended = check(&variables);
    assert!(line(&ended, "alerts").starts_with("! "), "{}", ended.text());
    let ended = check(&variables.with("HEARTBEAT_URL", "https://hc-ping.com/canary"));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(!ended.text().contains("canary"), "{}", ended.text());
    let (last, lines) = ended.lines.split_last().unwrap();
    assert!(
        lines.iter().all(|line| line.starts_with("✓ ")),
        "{}",
        ended.text()
    );
    assert_eq!(
        *last,
        format!("{} well, 0 worth knowing, 0 broken", lines.len())
    );
    assert!(line(&ended, "lifecycle").contains("after 30 days"));
    assert!(line(&ended, "schedule").contains("0 3 * * * in UTC"));
    assert!(line(&ended, "version").contains("PostgreSQL 17"));
    assert!(line(&ended, "clock").contains("agrees"));
    assert!(line(&ended, "rights").contains("every table (1) and sequence"));
    assert_eq!(
        (seaweedfs().list(&bucket), seaweedfs().uploads(&bucket)),
        (vec![], vec![])
    );
    for secret in [PASSWORD, seaweedfs().secret_key] {
        assert!(!ended.text().contains(secret), "{}", ended.text());
    }
}

#[test]
fn as_json_it_is_one_array_with_the_same_fields_for_each_thing() {
    let (_, bucket, variables) = working();
    let ended = Service::start(&variables, &["check", "--json"]).end(LIMIT);
    // A bucket without a rule is reported, but is not a failure.
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let findings: Vec<Value> = serde_json::from_str(&ended.text()).unwrap();
    let named = |name: &str| findings.iter().find(|finding| finding["name"] == name);
    assert_eq!(named("bucket").unwrap()["outcome"], "ok");
    assert_eq!(named("bucket").unwrap()["hint"], Value::Null);
    let rule = named("lifecycle").unwrap();
    assert_eq!(rule["outcome"], "warning");
    let hint = rule["hint"].as_str().unwrap();
    assert!(hint.contains("vlvt_backup_ after 30 days"), "{rule}");
    for finding in &findings {
        let fields: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["hint", "name", "outcome", "text"]);
    }
    // The newest backup and its age, and one that is too old.
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(2);
    let young = format!("vlvt_backup_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"));
    for (name, mark) in [
        ("vlvt_backup_2026-01-25_03-00-00.sql.gz", '!'),
        (young.as_str(), '✓'),
    ] {
        seaweedfs().put(&bucket, name, &[7; 30]);
        let ended = check(&variables);
        let text = line(&ended, "bucket");
        assert!(text.starts_with(mark) && text.contains(name), "{text}");
    }
}

#[test]
fn what_a_role_may_not_read_is_named_and_the_remedies_mend_it() {
    for major in [14, 18] {
        what_a_role_may_not_read(&Postgres::start_with(
            major,
            &[("max_prepared_transactions", "5")],
        ));
    }
}

fn what_a_role_may_not_read(server: &Postgres) {
    server.create_database("app", "");
    server.psql(
        "app",
        &format!(
            "CREATE ROLE \"Back up\" LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA own; CREATE TABLE own.a (id serial); CREATE TABLE b (i int);
             CREATE TABLE hidden (i int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; SELECT lo_create(4711);"
        ),
    );
    let bucket = unique("check");
    seaweedfs().create_bucket(&bucket);
    let url = server.url_as("Back up", PASSWORD, "app");
    let variables = Variables::working(seaweedfs(), &bucket, &url);
    let ended = check(&variables);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let rights = line(&ended, "rights");
    for words in [
        "✗ ",
        "1 schema (own)",
        "4 tables and sequences (own.a, own.a_id_seq, public.b, …)",
        "GRANT pg_read_all_data TO \"Back up\";",
    ] {
        assert!(rights.contains(words), "{words}: {rights}");
    }
    let rows = line(&ended, "row_security");
    assert!(
        rows.starts_with('✗') && rows.contains("1 table (public.hidden)"),
        "{rows}"
    );
    let large = line(&ended, "large_objects");
    assert!(
        large.starts_with('✗') && large.contains("1 large object (4711)"),
        "{large}"
    );
    // A backup fails for the same reason. If options leave that table out, both succeed.
    assert_eq!(Service::backup(&variables).code(), Some(1));
    let some = check(
        &variables
            .clone()
            .with("BACKUP_OPTIONS", "--exclude-schema=own"),
    );
    assert!(line(&some, "rights").starts_with('!'), "{}", some.text());

    // Each remedy is run as it is printed.
    for (text, end) in [(&rights, ';'), (&rows, ';')] {
        let remedy = text.split_once("run: ").unwrap().1;
        server.psql("app", remedy.split_once(end).unwrap().0);
    }
    let grant = large.split_once("run ").unwrap().1.replace('…', "4711");
    server.psql("app", grant.split_once(';').unwrap().0);
    let ended = check(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(Service::backup(&variables).code(), Some(0));

    // A prepared transaction that was forgotten has no process.
    server.psql(
        "app",
        "BEGIN; LOCK TABLE own.a; PREPARE TRANSACTION 'forgotten'",
    );
    let text = line(&check(&variables), "locks");
    assert!(
        text.contains("own.a by the prepared transaction 'forgotten' for ")
            && !text.contains("unknown"),
        "{text}"
    );
    server.psql("app", "ROLLBACK PREPARED 'forgotten'");
}

#[test]
fn a_table_that_is_locked_now_is_named_with_who_has_it() {
    let (database, bucket, variables) = working();
    keep(&bucket, 30);
    let mut command = Process::command(Postgres::bin(17).join("psql"));
    let url = postgres().url(&database);
    command.args(["-X", "-q", "-d", &url, "-c"]);
    command
        .arg("BEGIN; LOCK TABLE notes; SELECT pg_sleep(3600)")
        .env("PGAPPNAME", "migration");
    let holder = Process::spawn(command);
    postgres().wait_for(
        &database,
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'notes'::regclass AND granted",
        "1",
    );
    let ended = check(&variables);
    let text = line(&ended, "locks");
    assert!(
        text.starts_with('✓') && text.contains("public.notes by process "),
        "{text}"
    );
    // A role that may not see how old it is has to assume that it is old.
    let role = unique("peeker").replace('-', "_");
    postgres().psql(
        &database,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO {role}"
        ),
    );
    let url = postgres().url_as(&role, PASSWORD, &database);
    let ended = check(&variables.with("BACKUP_DATABASE_URL", &url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let text = line(&ended, "locks");
    assert!(
        text.starts_with('!') && text.contains("for an unknown time"),
        "{text}"
    );
    postgres().psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'migration'");
    drop(holder);
}

#[test]
fn what_refuses_is_named_once_each_with_its_remedy() {
    let (database, bucket, variables) = working();
    keep(&bucket, 30);
    // The bucket is checked even if the database refuses, and the other way round.
    let wrong = postgres().url_as("postgres", "not-the-password", &database);
    let ended = check(&variables.clone().with("BACKUP_DATABASE_URL", &wrong));
    fails(
        &ended,
        "database",
        &["password authentication failed", "BACKUP_DATABASE_URL"],
    );
    assert!(!ended.text().contains("not-the-password"));
    assert!(line(&ended, "upload").starts_with('✓'));

    let ended = check(&variables.clone().with("AWS_S3_BUCKET", &unique("missing")));
    fails(&ended, "bucket", &["NoSuchBucket", "AWS_S3_BUCKET"]);
    assert!(line(&ended, "rights").starts_with('✓'));

    let reader = variables
        .clone()
        .with("AWS_ACCESS_KEY_ID", seaweedfs().read_only_access_key)
        .with("AWS_SECRET_ACCESS_KEY", seaweedfs().read_only_secret_key);
    let ended = check(&reader);
    fails(&ended, "upload", &["AccessDenied", "list, read and write"]);
    assert!(!ended.text().contains(seaweedfs().read_only_secret_key));
    assert_eq!(seaweedfs().uploads(&bucket), vec![]);

    let ended = check(&variables.without("BACKUP_DATABASE_URL"));
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
}

#[test]
fn an_upload_that_fails_midway_is_aborted_and_what_a_killed_check_left_is_removed() {
    let r2 = R2::start();
    let (database, _, _) = working();
    let variables = Variables::on_r2(&r2, &postgres().url(&database));
    r2.leave_upload(
        "vlvt_backup_check-00000000deadbeef",
        chrono::Utc::now() - chrono::TimeDelta::hours(2),
    );
    // The store refuses the part.
    let part = r2.fail_checks(
        Operation::UploadPart,
        1,
        Action::Answer(403, "AccessDenied"),
    );
    let ended = check(&variables);
    assert_eq!(part.struck(), 1);
    let text = line(&ended, "upload");
    assert!(
        text.starts_with('✗') && text.contains("AccessDenied"),
        "{text}"
    );
    assert_eq!((r2.uploads_of_checks(), r2.keys()), (vec![], vec![]));
    // The check is stopped while a part is being sent.
    let part = r2.fail_checks(Operation::UploadPart, usize::MAX, Action::Hang);
    let service = Service::start(&variables, &["check"]);
    wait_until("a part", LIMIT, || (part.struck() > 0).then_some(()));
    assert_eq!(r2.uploads_of_checks().len(), 1);
    service.signal("INT");
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!((r2.uploads_of_checks(), r2.keys()), (vec![], vec![]));
}

#[test]
fn a_pooler_in_between_is_noticed() {
    let (database, bucket, variables) = working();
    keep(&bucket, 30);
    let bouncer = PgBouncer::start(postgres());
    let ended = check(&variables.with("BACKUP_DATABASE_URL", &bouncer.url(&database)));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    for (name, words) in [
        ("pooler", "${{Postgres.DATABASE_UNPOOLED_URL}}"),
        ("configuration", "looks like PgBouncer"),
    ] {
        let text = line(&ended, name);
        assert!(text.starts_with('!') && text.contains(words), "{text}");
    }
}

#[test]
fn on_railway_the_draining_time_is_looked_at() {
    let (_, bucket, variables) = working();
    keep(&bucket, 30);
    let variables = variables.with("RAILWAY_PROJECT_ID", "4711");
    let text = line(&check(&variables), "railway");
    assert!(
        text.starts_with('!') && text.contains("RAILWAY_DEPLOYMENT_DRAINING_SECONDS=10"),
        "{text}"
    );
    let text = line(
        &check(&variables.with("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "10")),
        "railway",
    );
    assert!(
        text.starts_with('✓') && text.contains("Serverless"),
        "{text}"
    );
}

#[test]
fn the_daemon_says_it_once_at_its_start_and_goes_on_whatever_it_found() {
    let (_, bucket, variables) = working();
    let reader = variables
        .with("AWS_ACCESS_KEY_ID", seaweedfs().read_only_access_key)
        .with("AWS_SECRET_ACCESS_KEY", seaweedfs().read_only_secret_key);
    let service = Service::daemon(&reader);
    let finished = service.wait_for("check finished");
    assert_eq!(finished["failed"], 1, "{finished}");
    let (status, _) = service.wait_for_health("waiting");
    assert_eq!(status, 200);
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let failed = ended.event("check failed");
    assert_eq!(
        (&failed["level"], &failed["check"]),
        (&"WARN".into(), &"upload".into())
    );
    assert!(
        failed["hint"]
            .as_str()
            .unwrap()
            .contains("list, read and write")
    );
    ended.event("check finished");
    assert_eq!(ended.errors(), Vec::<Value>::new());
    assert_eq!(seaweedfs().uploads(&bucket), vec![]);
}
