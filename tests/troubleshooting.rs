//! Each row of the troubleshooting table, as the log says it: the cause by its kind, and a hint that names the remedy.

use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, free_port};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

/// A run that fails: its one ERROR line, after a look that no secret is in the log and nothing in the bucket.
fn failure(variables: &Variables) -> Value {
    let ended = Service::backup(variables);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    no_secret_in(&ended, variables);
    let failure = ended.event("backup failed");
    assert_eq!(failure["level"], "ERROR");
    failure
}

fn no_secret_in(ended: &Ended, variables: &Variables) {
    let text = ended.text();
    for name in ["AWS_SECRET_ACCESS_KEY", "BACKUP_DATABASE_URL"] {
        assert!(!text.contains(variables.value(name)), "{name}: {text}");
    }
    assert!(
        !text.contains("testpass") && !text.contains("wrong-password"),
        "{text}"
    );
}

fn check(failure: &Value, kind: &str, error: &str, hints: &[&str]) {
    assert_eq!(failure["kind"], kind, "{failure}");
    assert!(
        failure["error"].as_str().unwrap().contains(error),
        "{failure}"
    );
    for hint in hints {
        assert!(
            failure["hint"].as_str().unwrap().contains(hint),
            "{hint}: {failure}"
        );
    }
}

fn working() -> (Variables, String) {
    let bucket = unique("trouble");
    seaweedfs().create_bucket(&bucket);
    (
        Variables::working(seaweedfs(), &bucket, &postgres().url("postgres")),
        bucket,
    )
}

#[test]
fn access_denied_names_the_variables_to_compare_and_the_permission() {
    let (variables, bucket) = working();
    let variables = variables
        .with("AWS_ACCESS_KEY_ID", seaweedfs().read_only_access_key)
        .with("AWS_SECRET_ACCESS_KEY", seaweedfs().read_only_secret_key);
    let failure = failure(&variables);
    check(
        &failure,
        "store_denied",
        "AccessDenied",
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_S3_BUCKET",
            "AWS_S3_ENDPOINT",
            "R2 console",
            "Object Read & Write",
        ],
    );
    assert_eq!(
        (seaweedfs().list(&bucket), seaweedfs().uploads(&bucket)),
        (vec![], vec![])
    );
}

#[test]
fn bucket_not_found_names_the_endpoint_and_jurisdictions() {
    let failure = failure(&working().0.with("AWS_S3_BUCKET", "no-such-bucket"));
    check(
        &failure,
        "store_rejected",
        "NoSuchBucket",
        &[
            "AWS_S3_BUCKET",
            "AWS_S3_ENDPOINT",
            "account",
            ".eu.r2.cloudflarestorage.com",
        ],
    );
}

#[test]
fn signature_does_not_match_says_to_copy_the_secret_again() {
    let failure = failure(
        &working()
            .0
            .with("AWS_SECRET_ACCESS_KEY", "not-the-secret-at-all"),
    );
    check(
        &failure,
        "store_denied",
        "SignatureDoesNotMatch",
        &["re-copy AWS_SECRET_ACCESS_KEY from the R2 dashboard"],
    );
}

#[test]
fn an_unknown_key_names_the_key() {
    let failure = failure(&working().0.with("AWS_ACCESS_KEY_ID", "somebody-elses-key"));
    check(
        &failure,
        "store_denied",
        "InvalidAccessKeyId",
        &["AWS_ACCESS_KEY_ID"],
    );
}

#[test]
fn a_tls_handshake_that_fails_names_the_endpoint() {
    let (variables, _) = working();
    let endpoint = seaweedfs().endpoint.replace("http://", "https://");
    check(
        &failure(&variables.with("AWS_S3_ENDPOINT", &endpoint)),
        "tls",
        "",
        &["AWS_S3_ENDPOINT"],
    );
}

#[test]
fn a_host_that_does_not_resolve_names_the_endpoint() {
    let failure = failure(
        &working()
            .0
            .with("AWS_S3_ENDPOINT", "http://no-such-host.invalid"),
    );
    check(&failure, "store_unavailable", "", &["AWS_S3_ENDPOINT"]);
}

#[test]
fn a_store_that_refuses_connections_names_the_endpoint() {
    let failure = failure(&working().0.with(
        "AWS_S3_ENDPOINT",
        &format!("http://127.0.0.1:{}", free_port()),
    ));
    check(&failure, "store_unavailable", "", &["AWS_S3_ENDPOINT"]);
}

#[test]
fn a_wrong_password_names_the_url() {
    let url = postgres().url_as("postgres", "wrong-password", "postgres");
    check(
        &failure(&working().0.with("BACKUP_DATABASE_URL", &url)),
        "auth",
        "password authentication failed",
        &["BACKUP_DATABASE_URL", "${{Postgres.DATABASE_URL}}"],
    );
}

#[test]
fn a_missing_database_names_the_url() {
    let url = postgres().url("nosuchdatabase");
    check(
        &failure(&working().0.with("BACKUP_DATABASE_URL", &url)),
        "auth",
        "does not exist",
        &["BACKUP_DATABASE_URL"],
    );
}

#[test]
fn pg_hba_names_the_servers_file() {
    let server = Postgres::start(17);
    let file = server.psql("postgres", "SHOW hba_file");
    let rules = std::fs::read_to_string(&file).unwrap();
    server.psql("postgres", "CREATE ROLE outsider LOGIN PASSWORD 'testpass'");
    std::fs::write(&file, format!("host all outsider all reject\n{rules}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'reject'",
        "1",
    );
    let url = server.url_as("outsider", "testpass", "postgres");
    check(
        &failure(&working().0.with("BACKUP_DATABASE_URL", &url)),
        "auth",
        "pg_hba.conf",
        &["pg_hba.conf", "BACKUP_DATABASE_URL"],
    );
}

#[test]
fn permission_denied_for_a_table_says_what_to_grant() {
    let server = Postgres::start(17);
    server.psql(
        "postgres",
        "CREATE ROLE reader LOGIN PASSWORD 'testpass'; CREATE TABLE secret (a int)",
    );
    let url = server.url_as("reader", "testpass", "postgres");
    let (variables, bucket) = working();
    let variables = variables.with("BACKUP_DATABASE_URL", &url);
    check(
        &failure(&variables),
        "permission",
        "permission denied for table secret",
        &["GRANT pg_read_all_data"],
    );
    assert_eq!(
        (seaweedfs().list(&bucket), seaweedfs().uploads(&bucket)),
        (vec![], vec![])
    );
    // The hint is right.
    server.psql("postgres", "GRANT pg_read_all_data TO reader");
    let again = |prefix: &str| variables.clone().with("BACKUP_FILE_PREFIX", prefix);
    // Two manual runs in one second would aim at one name, so each has a prefix of its own.
    assert_eq!(Service::backup(&again("granted_")).code(), Some(0));
    // Row security would hide rows from it, which is noticed in the middle of the dump.
    server.psql(
        "postgres",
        "INSERT INTO secret VALUES (1); ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
    );
    check(
        &failure(&again("hidden_")),
        "permission",
        "row-level security",
        &["BYPASSRLS"],
    );
    server.psql("postgres", "ALTER ROLE reader BYPASSRLS");
    assert_eq!(Service::backup(&again("bypassed_")).code(), Some(0));
}

#[test]
fn too_many_connections_says_where_to_get_one() {
    let server = Postgres::start(17);
    server.psql(
        "postgres",
        "CREATE ROLE narrow LOGIN PASSWORD 'testpass' CONNECTION LIMIT 0",
    );
    let url = server.url_as("narrow", "testpass", "postgres");
    let failure = failure(&working().0.with("BACKUP_DATABASE_URL", &url));
    check(
        &failure,
        "connect",
        "too many connections",
        &["max_connections", "DATABASE_UNPOOLED_URL"],
    );
}

#[test]
fn a_refused_connection_is_waited_for_two_minutes_and_then_names_the_project_and_the_private_url() {
    let port = free_port();
    let began = std::time::Instant::now();
    let failure = failure(&working().0.with(
        "BACKUP_DATABASE_URL",
        &format!("postgres://u:testpass@127.0.0.1:{port}/d"),
    ));
    assert!(began.elapsed().as_secs() >= 120);
    check(
        &failure,
        "connect",
        "Connection refused",
        &["same project", "private URL", "BACKUP_DATABASE_URL"],
    );
}

/// What is said while a server that is away is waited for; the same words come as ERROR after two minutes.
fn not_reachable_yet(url: &str) -> Value {
    let service = Service::start(&working().0.with("BACKUP_DATABASE_URL", url), &["backup"]);
    let warning = service.wait_for("database not reachable yet");
    service.terminate();
    warning
}

#[test]
fn a_host_that_does_not_resolve_names_the_private_url() {
    let warning = not_reachable_yet("postgres://u:testpass@postgres.railway.invalid/d");
    assert!(
        warning["error"]
            .as_str()
            .unwrap()
            .contains("could not translate host name"),
        "{warning}"
    );
    assert!(
        warning["hint"].as_str().unwrap().contains("private URL"),
        "{warning}"
    );
}

#[test]
fn a_server_that_never_answers_is_a_timeout_that_names_the_project() {
    // Accepts by its backlog and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let warning = not_reachable_yet(&format!(
        "postgres://u:testpass@{}/d",
        silent.local_addr().unwrap()
    ));
    assert!(
        warning["error"]
            .as_str()
            .unwrap()
            .contains("timeout expired"),
        "{warning}"
    );
    assert!(
        warning["hint"].as_str().unwrap().contains("same project"),
        "{warning}"
    );
}

#[test]
fn a_server_that_comes_up_late_is_backed_up_all_the_same() {
    let mut server = Postgres::start(17);
    let url = server.url("postgres");
    server.stop();
    let service = Service::start(&working().0.with("BACKUP_DATABASE_URL", &url), &["backup"]);
    service.wait_for("database not reachable yet");
    server.restart();
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events("database not reachable yet").len(), 1);
}

#[test]
fn a_schedule_that_is_misread_is_refused_and_a_good_one_shows_its_next_five_due_times() {
    for schedule in ["0 3 * *", "0 25 * * *", "0 0 30 2 *", "every day"] {
        let ended = Service::daemon(&working().0.with("BACKUP_CRON_SCHEDULE", schedule)).end(LIMIT);
        assert_eq!(ended.code(), Some(2));
        let problem = ended.event("invalid configuration");
        assert_eq!(problem["variable"], "BACKUP_CRON_SCHEDULE");
        assert!(
            problem["error"]
                .as_str()
                .unwrap()
                .starts_with("BACKUP_CRON_SCHEDULE is not a schedule"),
            "{problem}"
        );
    }
    let service = Service::daemon(
        &working()
            .0
            .with("BACKUP_CRON_SCHEDULE", "0 3 * * SUN")
            .with("TZ", "Europe/Berlin")
            .with("RUST_LOG", "debug"),
    );
    service.wait_for("next backup");
    let upcoming = service.terminate().events("upcoming");
    assert_eq!(upcoming.len(), 5);
    assert!(
        upcoming
            .iter()
            .all(|due| due["local"].as_str().unwrap().starts_with("Sun ")),
        "{upcoming:?}"
    );
}
