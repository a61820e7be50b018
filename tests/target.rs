//! What is known of a target before a restore touches it, and what is said of one that failed.

use crate::common::postgres;
use crate::common::postgres::Postgres;
use crate::common::service::{Ended, Service, Variables};
use crate::restore::{empty_database, on_bucket, one_error, relations, restore};

/// A database made so, and the variables that lead to a backup of it.
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

/// An empty database made so, and its URL.
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
    // The line of the hint makes the right one.
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

    // Where there is nothing but ASCII, every encoding has it.
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
    // It calls them mere bytes, and they are those of the database.
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
