//! What is known about a target before a restore changes it, and what is reported if a restore failed.

use crate::common::postgres;
use crate::common::postgres::Postgres;
use crate::common::service::{Ended, Service, Variables};
use crate::restore::{empty_database, on_bucket, one_error, relations, restore};

/// Creates a database with these options, and a backup of it. Returns the variables for the backup.
fn backed_up_as(server: &Postgres, options: &str, script: &str, backup_options: &str) -> Variables {
    let name = crate::common::unique("source");
    server.create_database(&name, options);
    server.psql(&name, script);
    let (_, variables) = on_bucket(server, &name);
    let variables = variables.with("BACKUP_OPTIONS", backup_options);
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    variables
}

/// Creates an empty database with these options. Returns its name and its URL.
fn made_as(server: &Postgres, options: &str) -> (String, String) {
    let name = crate::common::unique("target");
    server.create_database(&name, options);
    let url = server.url(&name);
    (name, url)
}

/// The refusal of a restore that changed nothing.
fn refused(server: &Postgres, target: &str, ended: &Ended) -> (String, String) {
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(ended);
    assert_eq!(error["message"], "restore refused", "{}", ended.text());
    assert_eq!(relations(server, target), "0");
    let text = |field: &str| error[field].as_str().unwrap().to_owned();
    (text("error"), text("hint"))
}

const BYTES: &str = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
const LATIN1: &str = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";

#[test]
fn bytes_that_could_not_be_read_in_the_target_are_refused_beforehand() {
    let server = postgres();
    let variables = backed_up_as(
        server,
        BYTES,
        "CREATE TABLE t (a text); INSERT INTO t VALUES (E'caf\\351')",
        "",
    );
    for flags in [&[][..], &["--no-verify"]] {
        let (target, url) = empty_database(server);
        let ended = restore(&variables, &[&["--to", &url], flags].concat());
        let (error, hint) = refused(server, &target, &ended);
        assert!(
            error.contains("SQL_ASCII") && error.contains("UTF8"),
            "{error}"
        );
        assert!(
            hint.contains("createdb --template=template0 --encoding=SQL_ASCII --locale=C NAME")
                && hint.contains("--create"),
            "{hint}"
        );
    }
    // The statement in the hint creates the right database.
    let (target, url) = made_as(server, BYTES);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql(&target, "SELECT a = E'caf\\351' FROM t"), "t");

    // The other way round.
    let variables = backed_up_as(
        server,
        "",
        "CREATE TABLE t (a text); INSERT INTO t VALUES ('café')",
        "",
    );
    let (target, url) = made_as(server, BYTES);
    let ended = restore(&variables, &["--to", &url]);
    let (_, hint) = refused(server, &target, &ended);
    assert!(hint.contains("--encoding=UTF8"), "{hint}");

    // Text that is only ASCII fits into every encoding.
    let variables = backed_up_as(
        server,
        BYTES,
        "CREATE TABLE t (a text); INSERT INTO t VALUES ('cafe')",
        "",
    );
    let (target, url) = empty_database(server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql(&target, "SELECT a FROM t"), "cafe");
}

#[test]
fn the_encoding_of_a_dump_is_told_from_that_of_its_database() {
    let server = postgres();
    let script = "CREATE TABLE t (a text); INSERT INTO t VALUES (E'caf\\303\\251')";
    // pg_dump made sure that the bytes are UTF-8.
    let variables = backed_up_as(server, BYTES, script, "--encoding=UTF8");
    let (target, url) = empty_database(server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql(&target, "SELECT a FROM t"), "café");
    // The dump declares no encoding, but the bytes are in the encoding of the database.
    let variables = backed_up_as(server, "", script, "--encoding=SQL_ASCII");
    let (target, url) = empty_database(server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql(&target, "SELECT a FROM t"), "café");
    let (target, url) = made_as(server, LATIN1);
    let (_, hint) = refused(server, &target, &restore(&variables, &["--to", &url]));
    assert!(hint.contains("--encoding=UTF8"), "{hint}");
}

#[test]
fn a_target_that_may_lack_letters_is_named_beforehand() {
    const MAY_LACK: &str = "the target's encoding may lack letters of the backup; one that it lacks will end the restore, with nothing changed";
    let server = postgres();
    for (letters, code) in [("café", 0), ("日本", 1)] {
        let script = format!("CREATE TABLE t (a text); INSERT INTO t VALUES ('{letters}')");
        let variables = backed_up_as(server, "", &script, "");
        let (target, url) = made_as(server, LATIN1);
        let ended = restore(&variables, &["--to", &url]);
        assert_eq!(ended.code(), Some(code), "{}", ended.text());
        let warning = ended.event(MAY_LACK);
        assert_eq!(warning["backup_encoding"], "UTF8");
        assert_eq!(warning["target_encoding"], "LATIN1");
        if code == 0 {
            let stored = "SELECT encode(convert_to(a, 'UTF8'), 'hex') FROM t";
            assert_eq!(server.psql(&target, stored), "636166c3a9");
        } else {
            let hint = one_error(&ended)["hint"].as_str().unwrap().to_owned();
            assert!(hint.contains("encoding"), "{hint}");
            assert_eq!(relations(server, &target), "0");
        }
    }
}

/// Creates a superuser with these settings, and returns its URL of a database.
fn role_with(server: &Postgres, settings: &[(&str, &str)], database: &str) -> String {
    let role = crate::common::unique("hasty").replace('-', "_");
    server.psql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'hasty'"),
    );
    for (name, value) in settings {
        server.psql(
            "postgres",
            &format!("ALTER ROLE {role} SET {name} = '{value}'"),
        );
    }
    server.url_as(&role, "hasty", database)
}

/// The index of this table takes two seconds to build, and as long to analyze.
const SLOW: &str = "CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.5); RETURN i; END';
    CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2), (3), (4); CREATE INDEX ON t (slow(a));";

#[test]
fn no_limit_of_the_targets_own_ends_a_restore_or_the_statistics_after_it() {
    let server = Postgres::start(18);
    let variables = backed_up_as(&server, "", SLOW, "");
    let (target, _) = empty_database(&server);
    let url = role_with(
        &server,
        &[
            ("statement_timeout", "900ms"),
            ("lock_timeout", "900ms"),
            ("transaction_timeout", "900ms"),
            ("idle_in_transaction_session_timeout", "900ms"),
            ("idle_session_timeout", "900ms"),
        ],
        &target,
    );
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        ended.events("statistics collected").len(),
        1,
        "{}",
        ended.text()
    );
    assert_eq!(server.psql(&target, "SELECT count(*) FROM t"), "4");
}

/// Starts a restore that stops in the middle, after everything was sent to psql, and does something then.
fn while_it_stands_still(
    server: &mut Postgres,
    meanwhile: impl FnOnce(&mut Postgres, u32),
) -> (String, Ended) {
    let variables = backed_up_as(
        server,
        "",
        "CREATE TABLE t (a int); CREATE TABLE gate (a int);
         CREATE FUNCTION wait() RETURNS int LANGUAGE plpgsql AS 'BEGIN IF pg_catalog.current_database() LIKE ''target%'' THEN PERFORM pg_catalog.pg_sleep(600); END IF; RETURN 1; END';
         CREATE MATERIALIZED VIEW m AS SELECT wait() WITH NO DATA; SET search_path TO public; REFRESH MATERIALIZED VIEW m;",
        "",
    );
    let (target, url) = empty_database(server);
    let service = Service::start(&variables, &["restore", "--to", &url]);
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postgres-s3-backups restore%' AND wait_event = 'PgSleep'";
    server.wait_for("postgres", sleeping, "1");
    let backend = server.psql(
        "postgres",
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'postgres-s3-backups restore%'",
    );
    meanwhile(server, backend.parse().unwrap());
    (target, service.end(std::time::Duration::from_secs(300)))
}

const NOTHING_CHANGED: &str =
    "its transaction was rolled back, and the target has the same objects as before";

#[test]
fn a_session_that_ends_before_the_commit_is_not_called_lost_during_it() {
    let mut server = Postgres::start(17);
    let (target, ended) = while_it_stands_still(&mut server, |server, backend| {
        server.psql(
            "postgres",
            &format!("SELECT pg_terminate_backend({backend})"),
        );
    });
    let error = one_error(&ended);
    let text = error["error"].as_str().unwrap();
    assert!(text.ends_with(NOTHING_CHANGED), "{text}");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("pg_terminate_backend"),
        "{error}"
    );
    assert_eq!(relations(&server, &target), "0");

    // The whole server crashes, and restarts by itself.
    let (target, ended) = while_it_stands_still(&mut server, |_, backend| {
        crate::common::process::signal(backend, "KILL");
    });
    let error = one_error(&ended);
    let text = error["error"].as_str().unwrap();
    assert!(text.ends_with(NOTHING_CHANGED), "{text}");
    assert_eq!(relations(&server, &target), "0");

    // The server stays away, so nobody can ask it, but nothing was committed.
    let (_, ended) = while_it_stands_still(&mut server, |server, _| server.stop());
    let error = one_error(&ended);
    let text = error["error"].as_str().unwrap();
    assert!(!text.contains("during the commit"), "{text}");
    assert!(text.contains("the server could not be asked"), "{text}");
}

/// A generated column and a CHECK whose functions name others without their schema. Indexes and materialized views are built
/// with a search path of the server's own from 17 on.
const NAMELESS: &str = "CREATE FUNCTION helper(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper(t)';
    CREATE FUNCTION loud(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN helper(t); END';
    CREATE TABLE t (a text CHECK (loud(a) <> ''), b text GENERATED ALWAYS AS (loud(a)) STORED);
    INSERT INTO t (a) VALUES ('x');";

#[test]
fn a_name_without_a_schema_is_recognised_and_found_with_a_search_path() {
    let server = postgres();
    let variables = backed_up_as(server, "", NAMELESS, "");
    let (target, url) = empty_database(server);
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(error["error"].as_str().unwrap().contains("loud"), "{error}");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("--search-path public"),
        "{error}"
    );
    assert_eq!(relations(server, &target), "0");
    let ended = restore(
        &variables,
        &["--to", &url, "--search-path", "Is \"not\" there,public"],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql(&target, "SELECT a, b FROM t"), "x|X");

    // A drill tries it by itself.
    let verify = |flags: &[&str]| {
        let url = server.url("postgres");
        let arguments = [&["verify", "--into", &url], flags].concat();
        Service::start(&variables, &arguments).end(std::time::Duration::from_secs(300))
    };
    const AGAIN: &str =
        "a function in the backup needs a search path; trying again with --search-path public";
    let ended = verify(&[]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events(AGAIN).len(), 1, "{}", ended.text());
    assert_eq!(ended.events("backup proven").len(), 1, "{}", ended.text());
    let ended = verify(&["--search-path", "public"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.events(AGAIN).len(), 0, "{}", ended.text());
}

#[test]
fn rows_that_break_a_rule_of_the_source_are_said_to_do_so() {
    let server = postgres();
    for (made, named) in [
        (
            "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (a int CONSTRAINT orphaned REFERENCES p);
             SET session_replication_role = replica; INSERT INTO c VALUES (1);",
            "orphaned",
        ),
        (
            "CREATE TABLE d (a int); CREATE UNIQUE INDEX doubled ON d (a); INSERT INTO d VALUES (1);
             UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'doubled'::regclass; INSERT INTO d VALUES (1);
             UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'doubled'::regclass;",
            "doubled",
        ),
        (
            "CREATE TABLE k (a int); INSERT INTO k VALUES (-1); ALTER TABLE k ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
             UPDATE pg_constraint SET convalidated = true WHERE conname = 'positive';",
            "positive",
        ),
    ] {
        let variables = backed_up_as(server, "", made, "");
        let (target, url) = empty_database(server);
        let ended = restore(&variables, &["--to", &url]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = one_error(&ended);
        assert!(error["error"].as_str().unwrap().contains(named), "{error}");
        assert!(
            error["hint"].as_str().unwrap().contains("Rows that break a rule"),
            "{error}"
        );
        assert_eq!(relations(server, &target), "0");
    }
}
