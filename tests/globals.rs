//! The roles of a server beside a backup, on real servers.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, wait_until};
use crate::common::service::{Ended, Service, Variables, gunzip};
use crate::common::{seaweedfs, unique};

/// A role with everything that a role can have, another that it is a member of, and a name that is none for a careless reader.
const ROLES: &str = r#"
CREATE ROLE readers NOINHERIT;
CREATE ROLE app LOGIN PASSWORD 'secret' CONNECTION LIMIT 5 VALID UNTIL '2099-01-01 00:00:00+00';
CREATE ROLE "Odd ""name""; é --" CREATEDB;
GRANT readers TO app;
GRANT readers TO "Odd ""name""; é --" WITH ADMIN OPTION;
ALTER ROLE app SET search_path TO 'a b', public;
ALTER ROLE app SET "my.setting" TO E'it''s \\ odd
CREATE ROLE evil SUPERUSER;';
COMMENT ON ROLE app IS 'hello;
CREATE ROLE evil SUPERUSER;';
"#;

/// A server of that major with a database, and a bucket.
fn source(major: u16) -> (Postgres, String, Variables) {
    let server = Postgres::start(major);
    server.psql("postgres", ROLES);
    server.create_database("shop", "");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO readers",
    );
    let bucket = unique("globals");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &server.url("shop"))
        .with("BACKUP_GLOBALS", "true");
    (server, bucket, variables)
}

/// The text of the one object with roles.
fn text(bucket: &str) -> String {
    let keys = keys(bucket);
    let key = keys.iter().find(|key| key.ends_with(".globals.sql.gz"));
    gunzip(&seaweedfs().get(bucket, key.unwrap_or_else(|| panic!("{keys:?}"))))
}

fn keys(bucket: &str) -> Vec<String> {
    let listed = seaweedfs().list(bucket);
    listed.into_iter().map(|(key, _)| key).collect()
}

fn made(ended: &Ended) {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("backup finished");
}

#[test]
fn roles_are_stored_beside_each_backup_and_are_none_themselves() {
    for major in [14, 17, 18] {
        let (_server, bucket, variables) = source(major);
        let ended = Service::backup(&variables);
        made(&ended);
        let stored = ended.event("globals stored");
        assert_eq!(stored["passwords"], true);
        let keys = keys(&bucket);
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert_eq!(stored["name"], keys[0].as_str());
        assert_eq!(
            keys[0].replace(".globals.sql.gz", ".sql.gz"),
            keys[1],
            "the last of the list is the backup"
        );
        let text = text(&bucket);
        let first = text.lines().next().unwrap();
        assert!(first.contains(&keys[0]), "{first}");
        for piece in [
            "CREATE ROLE app;",
            "PASSWORD 'SCRAM-SHA-256$",
            "GRANT readers TO app",
            "-- PostgreSQL database cluster dump complete",
            "-- postgres-s3-backups: tail {",
        ] {
            assert!(text.contains(piece), "{major}: {piece}\n{text}");
        }
        let listed = Service::start(&variables, &["list"]).end(LIMIT).text();
        assert!(
            listed.contains("GLOBALS") && listed.contains("yes"),
            "{listed}"
        );
        let listed = Service::start(&variables, &["list", "--json"])
            .end(LIMIT)
            .text();
        assert!(listed.contains("\"globals\": true"), "{listed}");
        assert_eq!(listed.matches("\"name\"").count(), 1, "{listed}");
        let verified = Service::start(&variables, &["verify", "--all"]).end(LIMIT);
        assert_eq!(verified.code(), Some(0), "{}", verified.text());
        assert_eq!(verified.event("verify finished")["checked"], 1);
    }
}

#[test]
fn without_the_variable_nothing_lies_beside_a_backup() {
    let (_server, bucket, variables) = source(17);
    made(&Service::backup(&variables.without("BACKUP_GLOBALS")));
    assert_eq!(keys(&bucket).len(), 1);
}

#[test]
fn a_user_who_may_not_read_passwords_stores_the_roles_without_them() {
    for major in [14, 18] {
        let (server, bucket, variables) = source(major);
        server.psql(
            "shop",
            "CREATE ROLE backup LOGIN PASSWORD 'testpass'; GRANT readers TO backup; ALTER ROLE backup INHERIT;
             REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC",
        );
        server.psql(
            "shop",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO backup",
        );
        let variables = variables.with(
            "BACKUP_DATABASE_URL",
            &server.url_as("backup", "testpass", "shop"),
        );
        let ended = Service::backup(&variables);
        made(&ended);
        assert_eq!(ended.event("globals stored")["passwords"], false);
        let warning = ended.event("globals stored without passwords");
        assert!(warning["hint"].as_str().unwrap().contains("superuser"));
        let text = text(&bucket);
        assert!(text.contains("CREATE ROLE app;"), "{text}");
        assert!(!text.contains("PASSWORD"), "{text}");
        let checked = Service::start(&variables, &["check"]).end(LIMIT).text();
        assert!(
            checked.contains("! globals") && checked.contains("without passwords"),
            "{checked}"
        );
    }
}

/// A folder of clients whose `pg_dumpall` is this script.
fn clients(script: &str) -> (Folder, String) {
    let folder = Folder::new();
    for program in ["pg_dump", "psql"] {
        let path = Postgres::bin(17).join(program);
        std::os::unix::fs::symlink(path, folder.path().join(program)).unwrap();
    }
    if !script.is_empty() {
        let path = folder.path().join("pg_dumpall");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    (folder, path)
}

#[test]
fn a_backup_whose_roles_are_not_stored_is_a_backup_with_a_warning() {
    let (_server, bucket, variables) = source(17);
    for (script, kind, piece) in [
        ("", "version", "no pg_dumpall beside"),
        (
            "echo 'pg_dumpall: error: no' >&2; exit 3",
            "dump_exit",
            "pg_dumpall exited with status 3",
        ),
        // Half of it, and a good exit code.
        (
            "echo 'CREATE ROLE app;'",
            "dump_invalid",
            "does not end like a whole dump",
        ),
        // The end of another program's output is not its end.
        (
            "printf -- '--\\n-- PostgreSQL database dump complete\\n--\\n'",
            "dump_invalid",
            "does not end like a whole dump",
        ),
        ("exec sleep 600", "deadline", "BACKUP_TIMEOUT"),
    ] {
        let (_folder, path) = clients(script);
        let mut variables = variables.clone().with("PATH", &path);
        if kind == "deadline" {
            variables = variables.with("BACKUP_TIMEOUT", "5s");
        }
        let ended = Service::backup(&variables);
        made(&ended);
        let warning = ended.event("globals not stored; the backup is whole without them");
        assert_eq!(
            (&warning["level"], &warning["kind"]),
            (&"WARN".into(), &kind.into())
        );
        let error = warning["error"].as_str().unwrap();
        assert!(error.contains(piece), "{error}");
        assert!(!keys(&bucket).iter().any(|key| key.contains("globals")));
        assert_eq!(seaweedfs().uploads(&bucket), []);
        if script.is_empty() {
            let checked = Service::start(&variables, &["check"]).end(LIMIT);
            assert_eq!(checked.code(), Some(1), "{}", checked.text());
            assert!(checked.text().contains("✗ globals"), "{}", checked.text());
        }
    }
}

#[test]
fn a_daemon_tells_of_the_roles_in_its_health_and_stops_while_it_reads_them() {
    let (_server, bucket, variables) = source(17);
    let (_folder, path) = clients("exec sleep 600");
    let service = Service::daemon(
        &variables
            .clone()
            .with("PATH", &path)
            .with("RUN_ON_STARTUP", "true"),
    );
    // The backup is told before its roles are read.
    service.wait_for_health("ok");
    wait_until("the upload of the roles", LIMIT, || {
        let uploads = seaweedfs().uploads(&bucket);
        uploads
            .iter()
            .any(|(key, _)| key.ends_with(".globals.sql.gz"))
            .then_some(())
    });
    service.signal("TERM");
    let ended = service.end(Duration::from_secs(5));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().uploads(&bucket), []);

    let service = Service::daemon(&variables.with("RUN_ON_STARTUP", "true"));
    service.wait_for("globals stored");
    let health = wait_until("the roles in /health", LIMIT, || {
        let (_, health) = service.health();
        (!health["last_globals"].is_null()).then_some(health)
    });
    assert_eq!(health["last_globals"]["stored"], true);
    assert_eq!(health["last_globals"]["passwords"], true);
    service.terminate();
}
