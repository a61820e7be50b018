//! The roles of a server beside a backup, on real servers.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, wait_until};
use crate::common::service::{BINARY, Ended, Service, Variables, gunzip};
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

/// Starts a server of this major version with a database. Returns it with a bucket and the variables.
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

/// The text of the only object with roles.
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

/// A folder of clients in which `pg_dumpall` is this script.
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
        // Half of the text, with exit code 0.
        (
            "echo 'CREATE ROLE app;'",
            "dump_invalid",
            "does not end like a whole dump",
        ),
        // The end of another program's output does not count.
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
    // The backup is reported before the roles are read.
    service.wait_for_health("ok");
    wait_until("the upload of the roles", LIMIT, || {
        let uploads = seaweedfs().uploads(&bucket);
        uploads
            .iter()
            .any(|(key, _)| key.ends_with(".globals.sql.gz"))
            .then_some(())
    });
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().uploads(&bucket), []);

    // Its folder is another one, because it may start in the second that the first backup is named after.
    let apart = variables.with("BUCKET_SUBFOLDER", "again");
    let service = Service::daemon(&apart.with("RUN_ON_STARTUP", "true"));
    service.wait_for("globals stored");
    let health = wait_until("the roles in /health", LIMIT, || {
        let (_, health) = service.health();
        (!health["last_globals"].is_null()).then_some(health)
    });
    assert_eq!(health["last_globals"]["stored"], true);
    assert_eq!(health["last_globals"]["passwords"], true);
    service.terminate();
}

/// Restores the latest backup into a new database of this server, as this user.
fn restore(
    variables: &Variables,
    target: &Postgres,
    user: Option<&str>,
    options: &[&str],
) -> Ended {
    let database = unique("back").replace('-', "_");
    target.create_database(&database, "");
    let url = match user {
        Some(user) => {
            target.psql(
                "postgres",
                &format!("ALTER DATABASE {database} OWNER TO {user}"),
            );
            target.url_as(user, "testpass", &database)
        }
        None => target.url(&database),
    };
    let arguments = [&["restore", "--to", &url][..], options].concat();
    Service::start(variables, &arguments).end(Duration::from_secs(300))
}

/// Every role except the server's own, with everything that the server stores about it except for salts.
const SHOWN: &str = r#"
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolpassword, rolvaliduntil,
    (SELECT array_agg(s ORDER BY s) FROM pg_db_role_setting, unnest(setconfig) s WHERE setrole = a.oid AND setdatabase = 0),
    (SELECT array_agg(format('%s %s', b.rolname, admin_option) ORDER BY b.rolname) FROM pg_auth_members m JOIN pg_authid b ON b.oid = roleid WHERE member = a.oid)
FROM pg_authid a WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', 'restorer') ORDER BY rolname"#;

#[test]
fn missing_roles_are_created_with_all_that_they_had_and_the_backup_follows() {
    for (from, to) in [(14, 18), (17, 14), (18, 17)] {
        let (source, _bucket, variables) = source(from);
        made(&Service::backup(&variables));
        let target = Postgres::start(to);
        let without = restore(&variables, &target, None, &[]);
        assert_eq!(without.code(), Some(1), "{}", without.text());
        assert_eq!(target.psql("postgres", SHOWN), "");
        let ended = restore(&variables, &target, None, &["--globals"]);
        assert_eq!(ended.code(), Some(0), "{from} to {to}: {}", ended.text());
        assert_eq!(ended.events("role created").len(), 3);
        let strange = ended.events("globals hold what pg_dumpall does not write");
        assert_eq!(strange, Vec::<serde_json::Value>::new());
        let line = ended.event("globals restored");
        assert_eq!(
            (&line["roles"], &line["memberships"], &line["settings"]),
            (&3.into(), &2.into(), &2.into()),
            "{line}"
        );
        assert_eq!(
            target.psql("postgres", SHOWN),
            source.psql("postgres", SHOWN)
        );
        // The old password works.
        let app = target.url_as("app", "secret", "postgres");
        let output = std::process::Command::new(Postgres::bin(17).join("psql"))
            .args(["-X", "-A", "-t", "-d", &app, "-c", "SELECT CURRENT_USER"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "app");
        // The second time, all roles exist.
        let ended = restore(&variables, &target, None, &["--globals"]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(ended.events("role created").len(), 0);
    }
}

#[test]
fn what_is_there_is_not_changed() {
    let (source, _bucket, variables) = source(17);
    source.psql(
        "postgres",
        "ALTER ROLE postgres SET work_mem TO '9MB'; GRANT postgres TO readers",
    );
    made(&Service::backup(&variables));
    let target = Postgres::start(17);
    target.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'other' CREATEDB; CREATE ROLE other; GRANT other TO app; ALTER ROLE app SET work_mem TO '3MB'",
    );
    let before = target.psql(
        "postgres",
        &format!("{} ", SHOWN.replace("NOT IN ('postgres', ", "IN ('app', ")),
    );
    let own = target.psql("postgres", "SELECT a.rolpassword, r.rolconfig FROM pg_authid a JOIN pg_roles r USING (oid) WHERE a.rolname = 'postgres'");
    let ended = restore(&variables, &target, None, &["--globals"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        target.psql(
            "postgres",
            &format!("{} ", SHOWN.replace("NOT IN ('postgres', ", "IN ('app', "))
        ),
        before
    );
    assert_eq!(target.psql("postgres", "SELECT a.rolpassword, r.rolconfig FROM pg_authid a JOIN pg_roles r USING (oid) WHERE a.rolname = 'postgres'"), own);
    // A new role that becomes a member of a superuser role is named before it is created.
    let warning = ended.event("roles with rights over the whole server are created");
    let names = warning["names"].as_str().unwrap();
    assert!(
        names.contains("readers") && !names.contains("app,"),
        "{names}"
    );
}

#[test]
fn a_user_who_is_no_superuser_creates_what_it_may_and_names_what_it_may_not() {
    for major in [14, 18] {
        let (source, _bucket, variables) = source(17);
        source.psql(
            "postgres",
            "CREATE ROLE boss SUPERUSER LOGIN; CREATE ROLE stream REPLICATION; ALTER ROLE app SET log_statement TO 'all'; GRANT pg_monitor TO readers",
        );
        made(&Service::backup(&variables));
        let target = Postgres::start(major);
        target.psql(
            "postgres",
            "CREATE ROLE restorer LOGIN PASSWORD 'testpass' CREATEROLE CREATEDB",
        );
        let ended = restore(
            &variables,
            &target,
            Some("restorer"),
            &["--globals", "--no-owner", "--no-privileges"],
        );
        assert_eq!(ended.code(), Some(0), "{major}: {}", ended.text());
        let weakened = ended.event("roles are created without some of their rights");
        assert_eq!(weakened["names"], "boss, stream");
        let refused = ended.events("setting of a role is left out");
        let is_refused = |setting: &str| refused.iter().any(|line| line["setting"] == setting);
        assert!(is_refused("log_statement"), "{refused:?}");
        assert_eq!(
            target.psql("postgres", "SELECT count(*) FROM pg_roles WHERE (rolsuper OR rolreplication OR rolbypassrls) AND rolname <> 'postgres'"),
            "0"
        );
        assert_eq!(
            target.psql(
                "postgres",
                "SELECT rolconfig[1] FROM pg_roles WHERE rolname = 'app'"
            ),
            "search_path=\"a b\", public"
        );
        assert_eq!(
            target.psql("postgres", "SELECT pg_has_role('readers', 'pg_monitor', 'MEMBER'), pg_has_role('app', 'readers', 'MEMBER')"),
            "f|t"
        );
        // Without the right to create roles, nothing is begun.
        target.psql(
            "postgres",
            "CREATE ROLE nobody LOGIN PASSWORD 'testpass'; DROP ROLE boss",
        );
        let ended = restore(&variables, &target, Some("nobody"), &["--globals"]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = ended.event("globals not restored; nothing was changed");
        assert!(
            error["error"]
                .as_str()
                .unwrap()
                .contains("may not create roles"),
            "{error}"
        );
    }
}

#[test]
fn a_strangers_object_makes_nothing_but_roles_and_a_damaged_one_makes_none() {
    let (_source, bucket, variables) = source(17);
    made(&Service::backup(&variables));
    let key = keys(&bucket)
        .into_iter()
        .find(|key| key.contains("globals"))
        .unwrap();
    let honest = seaweedfs().get(&bucket, &key);
    let target = Postgres::start(17);
    let own = "SELECT rolpassword, rolsuper FROM pg_authid WHERE rolname = 'postgres'";
    let before = target.psql("postgres", own);
    // This text has no head and no tail, as an older version or a stranger would write it.
    let hostile = "CREATE ROLE fine;
ALTER ROLE postgres PASSWORD 'mine'; ALTER ROLE postgres WITH NOSUPERUSER PASSWORD 'md5739440c5d87b2b8095b909f9d2a1bbf9';
CREATE ROLE evil SUPERUSER LOGIN PASSWORD 'x'; DROP DATABASE postgres; CREATE TABLE t (a int);
GRANT postgres TO fine; COMMENT ON ROLE fine IS 'a'';'; CREATE ROLE \"x'); DROP ROLE postgres; --\";
\\! touch /tmp/should-not-be-there
COMMIT;
DO $$ BEGIN CREATE ROLE evil SUPERUSER; END $$;
CREATE TABLESPACE ts OWNER postgres LOCATION '/nowhere';

--
-- PostgreSQL database cluster dump complete
--
";
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, hostile.as_bytes()).unwrap();
    seaweedfs().put(&bucket, &key, &encoder.finish().unwrap());
    let ended = restore(
        &variables,
        &target,
        None,
        &["--globals", "--no-owner", "--no-privileges"],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("globals hold what pg_dumpall does not write");
    assert_eq!(ended.event("tablespaces are not created")["names"], "ts");
    assert_eq!(
        ended.event("roles with rights over the whole server are created")["names"],
        "fine"
    );
    assert_eq!(target.psql("postgres", own), before);
    assert_eq!(
        target.psql("postgres", "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres' ORDER BY 1"),
        "fine\nx'); DROP ROLE postgres; --"
    );
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_tables WHERE tablename = 't'"
        ),
        "0"
    );
    // Nothing is created from an object that is cut off, has another's name, or is gone.
    let cut = &honest[..honest.len() - 30];
    for (body, piece) in [
        (cut, "cut off"),
        (&hostile.as_bytes()[..40], "gzip"),
        (&[][..], "empty"),
    ] {
        seaweedfs().put(&bucket, &key, body);
        let ended = restore(&variables, &target, None, &["--globals"]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = ended.event("globals not restored; nothing was changed");
        assert!(
            !error["hint"].as_str().unwrap().is_empty(),
            "{piece}: {error}"
        );
    }
    seaweedfs().delete(&bucket, &key);
    let ended = restore(&variables, &target, None, &["--globals"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = ended.event("globals not restored; nothing was changed");
    assert_eq!(error["kind"], "refused");
    assert!(
        error["hint"].as_str().unwrap().contains("BACKUP_GLOBALS"),
        "{error}"
    );
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_roles WHERE rolname = 'app'"
        ),
        "0"
    );
}

#[test]
fn an_image_without_a_shell_asks_pg_dump_for_its_version_and_runs_nothing_else() {
    use std::os::unix::process::CommandExt;
    let shell = |command: &str| {
        let output = std::process::Command::new(BINARY)
            .arg0("sh")
            .args(["-c", command])
            .env_clear()
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let program = Postgres::bin(17).join("pg_dump");
    let (code, text) = shell(&format!("\"{}\" -V", program.display()));
    assert_eq!(code, Some(0));
    assert!(text.starts_with("pg_dump (PostgreSQL) 17."), "{text}");
    for other in ["id", "", "\"/usr/bin/id\" -V"] {
        assert_eq!(shell(other), (Some(127), String::new()), "{other}");
    }
}
