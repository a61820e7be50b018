//! Restoring the data: all of it or nothing, and never over existing data without being asked to.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::cut::Cut;
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, signal, wait_until};
use crate::common::service::{BINARY, Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const LONG: Duration = Duration::from_secs(300);

/// A bucket, and the variables to back this database up into it.
pub fn on_bucket(server: &Postgres, database: &str) -> (String, Variables) {
    let bucket = unique("restore");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &server.url(database));
    (bucket, variables)
}

/// A new empty database of the shared server, and its URL.
pub fn empty_database(server: &Postgres) -> (String, String) {
    let name = unique("target");
    server.create_database(&name, "");
    let url = server.url(&name);
    (name, url)
}

pub fn restore(variables: &Variables, arguments: &[&str]) -> Ended {
    let arguments = [&["restore"], arguments].concat();
    Service::start(variables, &arguments).end(LONG)
}

/// How many relations a database holds.
pub fn relations(server: &Postgres, database: &str) -> String {
    server.psql(
        database,
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    )
}

/// The only line of level ERROR.
pub fn one_error(ended: &Ended) -> serde_json::Value {
    let errors: Vec<serde_json::Value> = ended
        .lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{}", ended.text());
    errors[0].clone()
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text).unwrap();
    text
}

/// The dump in a backup, without the description around it, as an older version would have stored it.
pub fn dump(object: &[u8]) -> Vec<u8> {
    let text = gunzip(object);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.starts_with(b"-- postgres-s3-backups: "));
    lines.collect::<Vec<_>>().concat()
}

/// A database with some thousand rows in two tables, an index and a view.
pub fn source() -> (String, String) {
    let name = unique("source");
    postgres().create_database(&name, "");
    postgres().psql(
        &name,
        "CREATE TABLE users (id int PRIMARY KEY, name text, joined timestamptz DEFAULT now());
         INSERT INTO users SELECT i, 'user ' || md5(i::text) FROM generate_series(1, 5000) i;
         CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY, user_id int REFERENCES users, body text);
         INSERT INTO notes (user_id, body) SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 2000) i;
         CREATE VIEW recent AS SELECT * FROM users WHERE joined > now() - interval '1 day';",
    );
    let url = postgres().url(&name);
    (name, url)
}

/// A source, its bucket with one backup, the variables, and the name of the backup.
pub fn backed_up() -> (String, String, Variables, String) {
    let (database, _) = source();
    let (bucket, variables) = on_bucket(postgres(), &database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let name = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    (database, bucket, variables, name)
}

fn awkward_comes_back(major: u16) {
    let server = Postgres::start(major);
    let data = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name)
    };
    server.create_database("awkward", "");
    server.psql_file("awkward", data("awkward.sql"));
    let (_, variables) = on_bucket(&server, "awkward");
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    let backup = backup.event("backup finished");

    server.create_database("restored", "");
    let ended = restore(&variables, &["latest", "--to", &server.url("restored")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("restore finished");
    assert_eq!(finished["rows"], backup["rows"]);
    assert_eq!(finished["tables"], backup["tables"]);
    assert_eq!(ended.events("statistics collected").len(), 1);
    pretty_assertions::assert_eq!(server.digest("awkward"), server.digest("restored"));

    // Restored over the changed source, it replaces everything, and nothing is left of the change.
    server.psql(
        "restored",
        "CREATE SCHEMA later; CREATE TABLE later.t (a int); DROP VIEW IF EXISTS awkward.v CASCADE; SELECT lo_from_bytea(0, 'x');",
    );
    let ended = restore(
        &variables,
        &[
            "latest",
            "--to",
            &server.url("restored"),
            "--clean",
            "--yes",
        ],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    pretty_assertions::assert_eq!(server.digest("awkward"), server.digest("restored"));
}

#[test]
fn every_awkward_thing_comes_back_into_14() {
    awkward_comes_back(14);
}

#[test]
fn every_awkward_thing_comes_back_into_18() {
    awkward_comes_back(18);
}

#[test]
fn a_target_that_holds_something_is_refused_and_left_alone() {
    let (_, _, variables, _) = backed_up();
    for (made, named) in [
        ("CREATE TABLE kept (a int)", "table public.kept"),
        ("CREATE VIEW kept AS SELECT 1", "view public.kept"),
        (
            "CREATE FUNCTION kept() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "function public.kept",
        ),
        ("CREATE TYPE kept AS ENUM ('a')", "type public.kept"),
        ("CREATE SEQUENCE kept", "sequence public.kept"),
        ("CREATE SCHEMA kept", "schema kept"),
        ("SELECT lo_create(4711)", "large object 4711"),
    ] {
        let (target, url) = empty_database(postgres());
        postgres().psql(&target, made);
        let before = postgres().digest(&target);
        let ended = restore(&variables, &["--to", &url]);
        assert_eq!(ended.code(), Some(1), "{made}: {}", ended.text());
        let error = one_error(&ended);
        assert_eq!(error["kind"], "refused");
        assert!(error["error"].as_str().unwrap().contains(named), "{error}");
        assert!(
            error["hint"].as_str().unwrap().contains("--clean"),
            "{error}"
        );
        assert_eq!(postgres().digest(&target), before);
    }
    // The objects of an extension, for example one from template1, are not data.
    let (target, url) = empty_database(postgres());
    postgres().psql(&target, "CREATE EXTENSION pgcrypto");
    assert_eq!(restore(&variables, &["--to", &url]).code(), Some(0));
}

#[test]
fn the_source_is_refused_under_any_name() {
    let (database, _, variables, _) = backed_up();
    let before = postgres().digest(&database);
    let same = variables.value("BACKUP_DATABASE_URL").to_owned();
    let other_name = same.replace("127.0.0.1", "localhost");
    for (url, flags) in [
        (&same, &["--clean", "--yes"][..]),
        (&other_name, &["--clean", "--yes"]),
    ] {
        let ended = restore(&variables, &[&["--to", url], flags].concat());
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = one_error(&ended);
        assert!(
            error["error"].as_str().unwrap().contains("is backed up"),
            "{error}"
        );
        assert!(
            error["hint"]
                .as_str()
                .unwrap()
                .contains("--yes-overwrite-source"),
            "{error}"
        );
    }
    let ended = restore(&variables, &["--to", &same, "--yes-overwrite-source"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(postgres().digest(&database), before);
    // This is the emergency: rows were lost in the source itself.
    postgres().psql(&database, "DELETE FROM notes; DROP VIEW recent;");
    let ended = restore(
        &variables,
        &["--to", &same, "--clean", "--yes", "--yes-overwrite-source"],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(postgres().digest(&database), before);
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_missing() {
    let (_, url) = empty_database(postgres());
    let variables = Variables::working(seaweedfs(), "unused", &url);
    for (arguments, named) in [
        (&[][..], "RESTORE_DATABASE_URL"),
        (&["--to", "mysql://u@h/d"], "--to is not a postgres://"),
        (&["--to", &url, "--clean"], "--yes"),
    ] {
        let ended = restore(&variables, arguments);
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        assert!(
            one_error(&ended)["error"].as_str().unwrap().contains(named),
            "{}",
            ended.text()
        );
    }
    // A wrong schedule does not prevent a restore, but a wrong bucket does.
    let wrong = variables
        .with("BACKUP_CRON_SCHEDULE", "x")
        .with("AWS_S3_BUCKET", "a/b");
    let ended = restore(&wrong, &["--to", &url]);
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
    assert_eq!(one_error(&ended)["variable"], "AWS_S3_BUCKET");
}

#[test]
fn the_target_can_come_from_a_variable_and_never_shows_its_password() {
    let (_, _, variables, name) = backed_up();
    let (target, url) = empty_database(postgres());
    let variables = variables
        .with("RESTORE_DATABASE_URL", &url)
        .with("RUST_LOG", "trace");
    let ended = restore(&variables, &[&name]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_ne!(relations(postgres(), &target), "0");
    assert!(!ended.text().contains("testpass"), "{}", ended.text());
    let ended = restore(&variables, &["vlvt_backup_2001-01-01_00-00-00.sql.gz"]);
    assert_eq!(ended.code(), Some(1));
    assert_eq!(one_error(&ended)["message"], "no such backup");
}

#[test]
fn rows_are_counted_table_by_table() {
    let (_, _, variables, _) = backed_up();
    let (_, url) = empty_database(postgres());
    let ended = restore(&variables, &["--to", &url, "--no-analyze"]);
    let mut rows: Vec<(String, u64)> = ended
        .events("rows restored")
        .iter()
        .map(|event| {
            (
                event["table"].as_str().unwrap().to_owned(),
                event["rows"].as_u64().unwrap(),
            )
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            ("public.notes".to_owned(), 2000),
            ("public.users".to_owned(), 5000)
        ]
    );
    assert_eq!(ended.events("statistics collected").len(), 0);
}

/// Asks at a terminal, answers, and returns the exit code and what was on the screen.
pub fn at_a_terminal(
    variables: &Variables,
    arguments: &str,
    answer: &str,
) -> (Option<i32>, String) {
    let line = format!("{BINARY} restore {arguments}");
    let mut command = std::process::Command::new("/usr/bin/script");
    command.args(["-qec", &line, "/dev/null"]);
    command.env_clear().envs(variables.all());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    keyboard
        .write_all(format!("{answer}\n").as_bytes())
        .unwrap();
    let output = terminal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code(), text)
}

#[test]
fn at_a_terminal_clean_asks_and_anything_but_yes_changes_nothing() {
    let (_, _, variables, _) = backed_up();
    let (target, url) = empty_database(postgres());
    postgres().psql(&target, "CREATE TABLE kept (a int)");
    let answered = |answer: &str| {
        let (code, text) = at_a_terminal(&variables, &format!("--to '{url}' --clean"), answer);
        assert!(
            text.contains("Replace everything in it? [yes/no]"),
            "{text}"
        );
        (code, text)
    };
    let (code, text) = answered("y");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not confirmed"), "{text}");
    assert_eq!(relations(postgres(), &target), "1");
    let (code, text) = answered("yes");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        postgres().psql(&target, "SELECT count(*) FROM users"),
        "5000"
    );
}

#[test]
fn missing_roles_and_extensions_are_named_before_anything_is_done() {
    let (database, _) = source();
    let server = postgres();
    let role = unique("role").replace('-', "_");
    server.psql(
        &database,
        &format!("CREATE ROLE {role}; ALTER TABLE notes OWNER TO {role}; GRANT SELECT ON users TO {role}; CREATE EXTENSION pgcrypto;"),
    );
    let (bucket, variables) = on_bucket(server, &database);
    let backup = Service::backup(&variables);
    let name = backup.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // Another server does not have the role.
    let other = Postgres::start(18);
    let (target, url) = empty_database(&other);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(error["error"].as_str().unwrap().contains(&role), "{error}");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("--no-owner --no-privileges"),
        "{error}"
    );
    assert_eq!(ended.events("restore started").len(), 0);
    assert_eq!(relations(&other, &target), "0");
    let ended = restore(&variables, &["--to", &url, "--no-owner", "--no-privileges"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(other.psql(&target, "SELECT count(*) FROM notes"), "2000");

    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, &name))).unwrap();
    let text = text.replace(
        "CREATE EXTENSION IF NOT EXISTS pgcrypto",
        "CREATE EXTENSION IF NOT EXISTS never_heard_of_it",
    );
    seaweedfs().put(&bucket, &name, &gzip(text.as_bytes()));
    let (target, url) = empty_database(server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(
        one_error(&ended)["error"]
            .as_str()
            .unwrap()
            .contains("never_heard_of_it")
    );
    assert_eq!(relations(server, &target), "0");
}

#[test]
fn a_user_without_rights_is_told_so_before_anything_is_done() {
    let (_, _, variables, _) = backed_up();
    let (target, _) = empty_database(postgres());
    let role = unique("guest").replace('-', "_");
    postgres().psql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'guest'"),
    );
    let ended = restore(
        &variables,
        &["--to", &postgres().url_as(&role, "guest", &target)],
    );
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains(&format!("{role} may not create")),
        "{error}"
    );
    assert_eq!(relations(postgres(), &target), "0");
}

#[test]
fn limits_that_are_set_for_the_role_end_no_restore() {
    let (_, _, variables, _) = backed_up();
    let (target, _) = empty_database(postgres());
    let role = unique("hasty").replace('-', "_");
    postgres().psql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'hasty'; ALTER ROLE {role} SET statement_timeout = '1ms'; ALTER ROLE {role} SET idle_in_transaction_session_timeout = '1ms'"),
    );
    let url = postgres().url_as(&role, "hasty", &target);
    for _ in 0..2 {
        let ended = restore(&variables, &["--to", &url, "--clean", "--yes"]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(
            ended.events("statistics collected").len(),
            1,
            "{}",
            ended.text()
        );
    }
}

#[test]
fn a_dump_of_17_goes_into_16() {
    let (_, _, variables, _) = backed_up();
    let older = Postgres::start(16);
    let (target, url) = empty_database(&older);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events("the target is older than the server this came from; what it does not know will end the restore, with nothing changed").len(), 1);
    assert_eq!(older.psql(&target, "SELECT count(*) FROM users"), "5000");
}

#[test]
fn a_dump_made_with_create_goes_into_the_target_alone() {
    let (database, _) = source();
    let (_, variables) = on_bucket(postgres(), &database);
    let backup = Service::backup(
        &variables
            .clone()
            .with("BACKUP_OPTIONS", "--create --clean --if-exists"),
    );
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    let before = postgres().digest(&database);
    let (target, url) = empty_database(postgres());
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(postgres().digest(&database), before);
    assert_eq!(postgres().digest(&target), before);
}

/// A backup with this number of megabytes that can hardly be compressed, in tables that are filled one after the other.
fn large(server: &Postgres, megabytes: u32) -> (String, Variables, String) {
    let database = unique("large");
    server.create_database(&database, "");
    for table in 1..=2 {
        server.psql(
            &database,
            &format!(
                "CREATE TABLE t{table} AS SELECT i, (SELECT string_agg(md5(random()::text || j), '') FROM generate_series(i, i + 31) j) AS a FROM generate_series(1, {}) i",
                megabytes * 512
            ),
        );
    }
    let (bucket, variables) = on_bucket(server, &database);
    let backup = Service::backup(&variables);
    let finished = backup.event("backup finished");
    assert!(
        finished["size_bytes"].as_u64().unwrap() > u64::from(megabytes) * 500_000,
        "{finished}"
    );
    (
        bucket,
        variables,
        finished["name"].as_str().unwrap().to_owned(),
    )
}

/// The process number of the restore's session, once it loads rows.
fn backend_of(server: &Postgres) -> u32 {
    wait_until("a COPY", LIMIT, || {
        let id = server.psql(
            "postgres",
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'postgres-s3-backups restore%' AND query LIKE 'COPY%' LIMIT 1",
        );
        id.parse().ok()
    })
}

/// Stops the session of a restore in the middle of its rows, does something, and lets it continue.
fn in_the_middle(
    server: &Postgres,
    variables: &Variables,
    arguments: &[&str],
    act: impl FnOnce(&Service, u32),
) -> Ended {
    let arguments = [&["restore"], arguments].concat();
    let service = Service::start(variables, &arguments);
    let backend = backend_of(server);
    signal(backend, "STOP");
    act(&service, backend);
    signal(backend, "CONT");
    service.end(LONG)
}

#[test]
fn an_object_replaced_or_deleted_while_it_is_read_is_noticed() {
    let server = Postgres::start(17);
    let (bucket, variables, name) = large(&server, 40);
    let whole = seaweedfs().get(&bucket, &name);
    for replacement in [Some(whole.as_slice()), Some(&gzip(b"x")[..]), None] {
        let (target, url) = empty_database(&server);
        let ended = in_the_middle(
            &server,
            &variables,
            &["--to", &url, "--no-verify"],
            |_, _| {
                match replacement {
                    // The same bytes under the same name are the same backup.
                    Some(body) if body.len() == whole.len() => {
                        let mut other = body.to_vec();
                        *other.last_mut().unwrap() ^= 1;
                        seaweedfs().put(&bucket, &name, &other);
                    }
                    Some(body) => seaweedfs().put(&bucket, &name, body),
                    None => seaweedfs().delete(&bucket, &name),
                }
            },
        );
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = one_error(&ended);
        assert!(
            error["error"]
                .as_str()
                .unwrap()
                .contains("removed or replaced"),
            "{error}"
        );
        assert_eq!(relations(&server, &target), "0");
        seaweedfs().put(&bucket, &name, &whole);
    }
}

#[test]
fn a_restore_that_is_told_to_stop_rolls_back_and_says_so() {
    let server = Postgres::start(17);
    let (_, variables, _) = large(&server, 40);
    for name in ["TERM", "INT"] {
        let (target, url) = empty_database(&server);
        let ended = in_the_middle(&server, &variables, &["--to", &url], |service, backend| {
            service.signal(name);
            signal(backend, "CONT");
        });
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let line = ended.event("restore cancelled");
        assert!(
            line["error"]
                .as_str()
                .unwrap()
                .contains("its transaction was rolled back"),
            "{line}"
        );
        assert_eq!(relations(&server, &target), "0");
    }
}

#[test]
fn whatever_dies_in_the_middle_leaves_the_target_as_it_was() {
    let mut server = Postgres::start(17);
    let (_, variables, _) = large(&server, 40);
    let (target, url) = empty_database(&server);
    let nothing_of_it = |server: &Postgres| {
        server.wait_for("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postgres-s3-backups restore%'", "0");
        assert_eq!(relations(server, &target), "0");
    };

    // Here psql dies.
    let ended = in_the_middle(&server, &variables, &["--to", &url], |service, backend| {
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", service.id())).unwrap();
        let psql: Vec<u32> = children
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect();
        assert_eq!(psql.len(), 1, "{children}");
        signal(psql[0], "KILL");
        signal(backend, "CONT");
    });
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    one_error(&ended);
    nothing_of_it(&server);

    // Here the server's side of the connection dies.
    let ended = in_the_middle(&server, &variables, &["--to", &url], |_, backend| {
        server.psql(
            "postgres",
            &format!("SELECT pg_terminate_backend({backend})"),
        );
    });
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(
        one_error(&ended)["error"]
            .as_str()
            .unwrap()
            .contains("terminating connection")
    );
    nothing_of_it(&server);

    // Here the service dies, without a chance to clean up.
    let service = Service::start(&variables, &["restore", "--to", &url]);
    backend_of(&server);
    service.signal("KILL");
    service.end(LONG);
    nothing_of_it(&server);

    // Here the whole server dies.
    let service = Service::start(&variables, &["restore", "--to", &url]);
    backend_of(&server);
    server.stop();
    let ended = service.end(LONG);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    one_error(&ended);
    server.restart();
    nothing_of_it(&server);
}

#[test]
fn a_full_disk_on_the_target_is_named() {
    // A limit on the size of files has the effect of a full disk: the server can't extend a table.
    let server = Postgres::start_limited(17, "--fsize=17000000");
    let (_, variables, _) = large(postgres(), 50);
    let (target, url) = empty_database(&server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(
        error["hint"].as_str().unwrap().contains("disk is full"),
        "{error}"
    );
    assert_eq!(relations(&server, &target), "0");
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let (bucket, variables, _) = large(postgres(), 30);
    let limits: Vec<u64> = [1, 200, 70_000, 1_000_000, 3_000_000, 4_500_000, 10_000].into();
    let broken = Cut::start(&seaweedfs().endpoint, limits.clone());
    let variables = variables.with("AWS_S3_ENDPOINT", &broken.endpoint);
    let (target, url) = empty_database(postgres());
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{bucket}: {}", ended.text());
    assert_eq!(broken.cuts(), limits.len());
    assert_eq!(
        postgres().psql(
            &target,
            "SELECT count(*) FROM t1, LATERAL (SELECT count(*) FROM t2) x"
        ),
        (30 * 512).to_string()
    );
}

#[test]
fn the_backups_are_listed_newest_first() {
    let bucket = unique("list");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, "postgres://u:p@127.0.0.1:1/d")
        .without("BACKUP_DATABASE_URL");
    let list =
        |arguments: &[&str]| Service::start(&variables, &[&["list"], arguments].concat()).end(LONG);
    // The answer is on standard output, and what to do is in the log.
    for arguments in [
        &["list"][..],
        &["restore", "--to", "postgres://u:p@127.0.0.1:1/d"],
        &["verify"],
        &["verify", "--all"],
    ] {
        let ended = Service::start(&variables, arguments).end(LONG);
        let line = ended
            .lines
            .iter()
            .find(|line| line.contains("there are no backups yet"));
        let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
        assert!(
            line["hint"]
                .as_str()
                .unwrap()
                .contains("postgres-s3-backups backup"),
            "{line}"
        );
        assert_eq!(
            (&line["bucket"], &line["prefix"]),
            (&bucket.as_str().into(), &"vlvt_backup_".into())
        );
        let is_list = arguments[0] == "list";
        assert_eq!(ended.code(), Some(i32::from(!is_list)), "{}", ended.text());
        assert_eq!(
            ended
                .lines
                .contains(&"There are no backups yet.".to_owned()),
            is_list
        );
    }
    for (time, size) in [("2026-01-24_03-00-00", 1000), ("2026-01-25_03-00-00", 1100)] {
        let name = format!("vlvt_backup_{time}.sql.gz");
        seaweedfs().put(&bucket, &name, &vec![0; size]);
    }
    seaweedfs().put(
        &bucket,
        "vlvt_backup_notes.txt",
        b"not a backup of any kind, and long enough",
    );
    let text = list(&[]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("NAME "), "{text}");
    assert_eq!(lines[3], "2 backups, 2.1 kB in all.");
    assert!(
        lines[1].starts_with("vlvt_backup_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00")
            && lines[1].contains("1.1 kB")
            && lines[1].ends_with("+10.0 %"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&list(&["--json", "--limit", "1"]).text()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["name"], "vlvt_backup_2026-01-25_03-00-00.sql.gz");
    assert_eq!(json[0]["taken_at"], "2026-01-25T03:00:00Z");
    assert_eq!(json[0]["size_bytes"], 1100);
    assert_eq!(json[0]["size_change_percent"], 10.0);
}
