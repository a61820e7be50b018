//! Each row of the troubleshooting table, as it appears in the log: the kind of the cause, and a hint that names the remedy.

use std::time::Duration;

use postgres_s3_backups::backup::BackupError;
use postgres_s3_backups::dump::Patience;
use postgres_s3_backups::fault::{Diagnosed, Kind};
use postgres_s3_backups::store::StorePatience;
use serde_json::Value;

use crate::common::job;
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, Process, free_port};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

/// Makes a run that fails. Returns its only ERROR line, and checks that no secret is in the log and nothing in the bucket.
fn failure(variables: &Variables) -> Value {
    let ended = Service::backup(variables);
    no_secret_in(&ended, variables);
    let bucket = variables.value("AWS_S3_BUCKET");
    if seaweedfs().exists(bucket) {
        let left = (seaweedfs().list(bucket), seaweedfs().uploads(bucket));
        assert_eq!(left, (vec![], vec![]), "{}", ended.text());
    }
    ended.failure()
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
    let variables = working()
        .0
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
            "the store's console",
            "list, read and write",
        ],
    );
}

#[test]
fn bucket_not_found_names_the_bucket_and_the_endpoint() {
    let failure = failure(&working().0.with("AWS_S3_BUCKET", "no-such-bucket"));
    check(
        &failure,
        "store_rejected",
        "NoSuchBucket",
        &["AWS_S3_BUCKET", "AWS_S3_ENDPOINT", "account"],
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
        &["re-copy AWS_SECRET_ACCESS_KEY from the store's console"],
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
    let plain = R2::start_plain();
    let endpoint = plain.endpoint.replace("http://", "https://");
    check(
        &failure(&working().0.with("AWS_S3_ENDPOINT", &endpoint)),
        "tls",
        "",
        &["AWS_S3_ENDPOINT", "does not speak TLS"],
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
fn a_role_that_does_not_exist_names_the_url() {
    // If a server asks for a password, its answer to a missing role is the same as to a wrong password.
    let server = Postgres::start(17);
    server.admit("host all nosuchrole all trust");
    let url = server.url_as("nosuchrole", "testpass", "postgres");
    check(
        &failure(&working().0.with("BACKUP_DATABASE_URL", &url)),
        "auth",
        "role \"nosuchrole\" does not exist",
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
    server.psql("postgres", "CREATE ROLE outsider LOGIN PASSWORD 'testpass'");
    server.admit("host all outsider all reject");
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
    check(
        &failure(&working().0.with("BACKUP_DATABASE_URL", &url)),
        "permission",
        "permission denied for table secret",
        &["GRANT pg_read_all_data"],
    );
    // The hint is right.
    server.psql("postgres", "GRANT pg_read_all_data TO reader");
    let again = || working().0.with("BACKUP_DATABASE_URL", &url);
    assert_eq!(Service::backup(&again()).code(), Some(0));
    // Row security would hide rows from this user, which is noticed in the middle of the dump.
    server.psql(
        "postgres",
        "INSERT INTO secret VALUES (1); ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
    );
    check(
        &failure(&again()),
        "permission",
        "row-level security",
        &["BYPASSRLS"],
    );
    server.psql("postgres", "ALTER ROLE reader BYPASSRLS");
    assert_eq!(Service::backup(&again()).code(), Some(0));
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
fn a_server_without_a_free_connection_says_so_too() {
    let server = Postgres::start_with(
        17,
        &[
            ("max_connections", "4"),
            ("superuser_reserved_connections", "3"),
        ],
    );
    server.psql("postgres", "CREATE ROLE late LOGIN PASSWORD 'testpass'");
    // One session takes the only slot that is not reserved.
    let mut first = Process::command(Postgres::bin(17).join("psql"));
    first.args([
        "-X",
        "-d",
        &server.url("postgres"),
        "-c",
        "SELECT pg_sleep(600)",
    ]);
    let _first = Process::spawn(first);
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'",
        "1",
    );
    let url = server.url_as("late", "testpass", "postgres");
    let warning = not_reachable_yet(&url);
    let (error, hint) = (
        warning["error"].as_str().unwrap(),
        warning["hint"].as_str().unwrap(),
    );
    assert!(error.contains("remaining connection slots"), "{warning}");
    assert!(
        hint.contains("max_connections") && hint.contains("DATABASE_UNPOOLED_URL"),
        "{warning}"
    );
}

#[test]
fn an_endpoint_that_is_no_s3_names_the_endpoint_and_the_region() {
    let r2 = R2::start();
    r2.fail(Operation::ListObjects, 0, usize::MAX, Action::Html(404));
    let ended = Service::backup(&Variables::on_r2(&r2, &postgres().url("postgres")));
    check(
        &ended.failure(),
        "store_rejected",
        "HTTP 404",
        &["AWS_S3_ENDPOINT", "AWS_S3_REGION"],
    );
}

/// Makes a run with a store that always fails in this way, and with short time limits for the store.
fn on_failing_store(operation: Operation, action: Action) -> BackupError {
    let r2 = R2::start_plain();
    let fault = r2.fail(operation, 0, usize::MAX, action);
    let patience = StorePatience {
        tries: 3,
        first_wait: Duration::from_millis(10),
        answer: Duration::from_secs(2),
        ..StorePatience::default()
    };
    let url = postgres().url("postgres");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(async {
        job::run(&job::job(&r2, &url, &[], Patience::default(), patience).await).await
    });
    assert_eq!(fault.struck(), 3, "it is tried again, and not for ever");
    let error = outcome.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!((r2.keys().len(), r2.uploads().len()), (0, 0));
    error
}

#[test]
fn a_store_that_is_overloaded_for_good_is_unavailable() {
    for (status, code) in [
        (429, "TooManyRequests"),
        (503, "SlowDown"),
        (500, "InternalError"),
    ] {
        let error = on_failing_store(Operation::UploadPart, Action::Answer(status, code));
        assert_eq!(error.kind(), Kind::StoreUnavailable);
        assert!(
            error
                .to_string()
                .contains(&format!("{code} (HTTP {status})")),
            "{error}"
        );
        assert!(error.hint().contains("overloaded"), "{}", error.hint());
    }
}

#[test]
fn a_store_that_does_not_answer_is_a_timeout() {
    let error = on_failing_store(Operation::UploadPart, Action::Hang);
    assert_eq!(error.kind(), Kind::StoreTimeout);
    assert!(
        error.to_string().contains("no answer within 2 s"),
        "{error}"
    );
    assert!(error.hint().contains("AWS_S3_ENDPOINT"), "{}", error.hint());
}

#[test]
fn bytes_that_are_changed_on_the_way_for_good_are_a_mismatch() {
    for action in [Action::Corrupt, Action::WrongEtag] {
        let error = on_failing_store(Operation::UploadPart, action);
        assert_eq!(error.kind(), Kind::StoreMismatch);
        assert!(error.hint().contains("next attempt"), "{}", error.hint());
    }
}

#[test]
fn a_dump_that_fails_shows_pg_dumps_own_words_and_stores_no_empty_file() {
    let failure = failure(&working().0.with("BACKUP_OPTIONS", "--table=nosuchtable"));
    check(
        &failure,
        "dump_exit",
        "pg_dump exited with status 1: pg_dump: error: no matching tables were found",
        &["BACKUP_DATABASE_URL"],
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

/// The line that is logged while the service waits for a server that is away. After two minutes the same words come as
/// ERROR.
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
    // The backlog accepts connections, but nothing is ever sent.
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
