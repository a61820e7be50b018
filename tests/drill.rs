//! Drills with databases that are unusual but good: a drill must neither report a fault that is none, nor prove what it did
//! not check.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::common::postgres::Postgres;
use crate::common::process::Folder;
use crate::common::seaweedfs;
use crate::common::service::{Ended, Service, Variables};
use crate::restore::{dump, gunzip, gzip, on_bucket, one_error, restore};

const LONG: Duration = Duration::from_secs(300);

fn drill(variables: &Variables, place: &str) -> Ended {
    Service::start(variables, &["verify", "--into", place]).end(LONG)
}

/// Backs up a database of this server. Returns the variables, the bucket and the name of the backup.
fn backed_up(server: &Postgres, database: &str) -> (Variables, String, String) {
    let (bucket, variables) = on_bucket(server, database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let name = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    (variables, bucket, name)
}

fn is_proven(ended: &Ended) -> serde_json::Value {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("backup proven")
}

/// Constraints that are not valid, in every place where a server allows one.
const NOT_VALID: &str = r#"
    CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (a);
    CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
    CREATE TABLE parent (a int);
    CREATE TABLE "Chi""ld x" () INHERITS (parent);
    CREATE TABLE grandchild (CONSTRAINT own CHECK (a < 1000)) INHERITS ("Chi""ld x");
    CREATE DOMAIN "My ""dom" AS int;
    CREATE TABLE t (a "My ""dom");
    CREATE TABLE ref (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE ref1 PARTITION OF ref FOR VALUES FROM (0) TO (10);
    CREATE TABLE child (r int);
    INSERT INTO p VALUES (1, 1);
    INSERT INTO grandchild VALUES (-1);
    INSERT INTO t VALUES (-1);
    INSERT INTO child VALUES (77);
    ALTER TABLE p ADD CONSTRAINT c CHECK (b > 5) NOT VALID;
    ALTER TABLE parent ADD CONSTRAINT "Weird "" (NOT VALID é" CHECK (a > 5) NOT VALID;
    ALTER DOMAIN "My ""dom" ADD CONSTRAINT pos CHECK (value > 0) NOT VALID;
    ALTER TABLE child ADD CONSTRAINT fk FOREIGN KEY (r) REFERENCES ref NOT VALID;
"#;

const NOT_VALID_SINCE_18: &str = "
    CREATE TABLE pp (a int, b int) PARTITION BY RANGE (a);
    CREATE TABLE pp1 PARTITION OF pp FOR VALUES FROM (0) TO (10);
    CREATE TABLE rr (id int PRIMARY KEY);
    CREATE TABLE i (a int);
    CREATE TABLE i2 () INHERITS (i);
    INSERT INTO pp VALUES (1, NULL);
    INSERT INTO i2 VALUES (NULL);
    ALTER TABLE pp ADD CONSTRAINT fk2 FOREIGN KEY (a) REFERENCES rr NOT VALID;
    ALTER TABLE pp ADD CONSTRAINT nn NOT NULL b NOT VALID;
    ALTER TABLE i ADD CONSTRAINT mine NOT NULL a NOT VALID;
    CREATE TABLE lax (a int, CONSTRAINT x CHECK (a > 0) NOT ENFORCED);
    INSERT INTO lax VALUES (-1);
";

fn what_was_not_checked_is_no_fault(major: u16) {
    let server = Postgres::start(major);
    server.psql("postgres", "CREATE DATABASE lax");
    server.psql("lax", NOT_VALID);
    if major >= 18 {
        server.psql("lax", NOT_VALID_SINCE_18);
    }
    let (variables, bucket, name) = backed_up(&server, "lax");
    for place in [server.url("postgres"), "embedded".to_owned()] {
        is_proven(&drill(&variables, &place));
    }
    // A constraint of the same name on another table is not accepted, and neither is one that is not declared NOT VALID.
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, &name))).unwrap();
    let end = "--\n-- PostgreSQL database dump complete";
    let more = "ALTER TABLE public.ref1 ADD CONSTRAINT c CHECK (id > 0);\nALTER TABLE public.grandchild ADD CONSTRAINT fk CHECK (a < 7);\n\
        UPDATE pg_catalog.pg_constraint SET convalidated = false WHERE conrelid IN ('public.ref1'::regclass, 'public.grandchild'::regclass) AND conname IN ('c', 'fk', 'own');\n\n";
    let text = text.replacen(end, &format!("{more}{end}"), 1);
    seaweedfs().put(&bucket, &name, &gzip(text.as_bytes()));
    let ended = drill(&variables, &server.url("postgres"));
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert_eq!(error["kind"], "unproven");
    let said = error["error"].as_str().unwrap();
    assert!(
        said.ends_with("constraints that are not valid: public.grandchild.fk, public.grandchild.own, public.ref1.c"),
        "{said}"
    );
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_14() {
    what_was_not_checked_is_no_fault(14);
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_17() {
    what_was_not_checked_is_no_fault(17);
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_18() {
    what_was_not_checked_is_no_fault(18);
}

/// Creates a user who may only create databases, and returns its URL.
fn plain_user(server: &Postgres) -> String {
    server.psql(
        "postgres",
        "CREATE ROLE driller LOGIN CREATEDB PASSWORD 'secret-of-driller'",
    );
    server.url_as("driller", "secret-of-driller", "postgres")
}

#[test]
fn rows_behind_row_level_security_are_counted_by_their_owner() {
    let server = Postgres::start(17);
    let url = plain_user(&server);
    server.psql("postgres", "CREATE DATABASE secured");
    server.psql(
        "secured",
        "CREATE TABLE notes (id int, owner text);
         INSERT INTO notes SELECT i, 'somebody' FROM generate_series(1, 30) i;
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
         ALTER TABLE notes FORCE ROW LEVEL SECURITY;
         CREATE POLICY own ON notes USING (owner = current_setting('app.user', true));
         CREATE TABLE parts (id int) PARTITION BY LIST (id);
         CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
         INSERT INTO parts VALUES (1);
         ALTER TABLE part ENABLE ROW LEVEL SECURITY;
         ALTER TABLE part FORCE ROW LEVEL SECURITY;",
    );
    let (bucket, variables) = on_bucket(&server, "secured");
    let variables = variables.with("BACKUP_OPTIONS", "--no-owner");
    let ended = Service::backup(&variables);
    let name = ended.event("backup finished")["name"].clone();
    let name = name.as_str().unwrap();
    let proven = is_proven(&drill(&variables, &url));
    assert_eq!(
        (&proven["rows"], &proven["tables_compared"]),
        (&31.into(), &2.into())
    );
    // A wrong count is still noticed.
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, name))).unwrap();
    let text = text.replacen(
        "ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;",
        "DELETE FROM public.notes WHERE id OPERATOR(pg_catalog.=) 7;\nALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;",
        1,
    );
    seaweedfs().put(&bucket, name, &gzip(text.as_bytes()));
    let ended = drill(&variables, &url);
    assert!(
        ended
            .text()
            .contains("public.notes holds 29 rows, 30 were dumped"),
        "{}",
        ended.text()
    );
}

/// Checks the only error of a drill that could find out nothing. It must say what is missing and what to set.
fn is_unprovable(ended: &Ended, reason: &str, hint: &str) {
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(ended);
    assert_eq!(error["message"], "backup can't be proven there", "{error}");
    assert_eq!(error["kind"], "unprovable");
    let said = error["error"].as_str().unwrap();
    assert!(said.contains(reason), "{said}");
    let told = error["hint"].as_str().unwrap();
    assert!(told.contains(hint) && !told.contains("rely"), "{told}");
}

#[test]
fn an_extension_that_the_drills_server_lacks_makes_no_backup_bad() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    let (variables, bucket, name) = backed_up(&server, "shop");
    let whole = seaweedfs().get(&bucket, &name);
    let text = String::from_utf8(dump(&whole)).unwrap();
    let text = text.replacen(
        "SET default_tablespace",
        "CREATE EXTENSION IF NOT EXISTS not_here WITH SCHEMA public;\n\nSET default_tablespace",
        1,
    );
    seaweedfs().put(&bucket, &name, &gzip(text.as_bytes()));
    for place in [server.url("postgres"), "embedded".to_owned()] {
        let ended = drill(&variables, &place);
        is_unprovable(
            &ended,
            "does not have these extensions: not_here",
            "SERVER_EXTENSIONS",
        );
        is_unprovable(&ended, "not_here", "VERIFY_DATABASE_URL");
    }
    // Nothing is wrong, so nobody is woken up, but nothing is proven either.
    let drilling = variables
        .with("VERIFY_SCHEDULE", "* * * * * *")
        .with("VERIFY_DATABASE_URL", &server.url("postgres"))
        .with("STATUS_TOKEN", "a-token-of-24-characters");
    let service = Service::daemon(&drilling);
    service.wait_for("backup can't be proven there");
    let (status, health) = service.wait_for_health("unprovable");
    assert_eq!(status, 200, "{health}");
    assert_eq!(
        (
            &health["last_drill"]["outcome"],
            &health["last_drill"]["kind"]
        ),
        (&"unprovable".into(), &"unprovable".into())
    );
    let (_, _, page) = service.get_with("a-token-of-24-characters", "/");
    assert!(page.contains("can\u{2019}t prove it"), "{page}");
    let (_, _, metrics) = service.get_with("a-token-of-24-characters", "/metrics");
    assert!(
        !metrics.contains("drills_total{outcome=\"unprovable\"} 0"),
        "{metrics}"
    );
    assert!(!metrics.contains("last_drill_proven "), "{metrics}");
    // The state ends when a drill finds something out.
    seaweedfs().put(&bucket, &name, &whole);
    service.wait_for_health("ok");
    assert_eq!(service.terminate().code(), Some(0));
}

/// A server of version 18, which can look for extensions in any folder, with an extension of this name.
fn server_with_extension(name: &str, control: &str, script: &str) -> (Folder, Postgres) {
    let folder = Folder::new();
    let extensions = folder.path().join("extension");
    std::fs::create_dir(&extensions).unwrap();
    let control = format!("default_version = '1'\n{control}");
    std::fs::write(extensions.join(format!("{name}.control")), control).unwrap();
    std::fs::write(extensions.join(format!("{name}--1.sql")), script).unwrap();
    for path in [folder.path(), &extensions] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("$system:{}", folder.path().display());
    let server = Postgres::start_with(18, &[("extension_control_path", &path)]);
    (folder, server)
}

#[test]
fn an_extension_that_can_be_in_one_database_only_makes_no_backup_bad() {
    // This extension takes the place of pg_cron.
    let (_folder, server) = server_with_extension(
        "one_place",
        "relocatable = false\nschema = pg_catalog\n",
        "DO $$ BEGIN IF current_database() <> 'jobs' THEN RAISE EXCEPTION 'can only create extension in database jobs'; END IF; END $$;",
    );
    server.psql("postgres", "CREATE DATABASE jobs");
    server.psql(
        "jobs",
        "CREATE EXTENSION one_place; CREATE TABLE t AS SELECT 1 AS a",
    );
    let (variables, _, _) = backed_up(&server, "jobs");
    let ended = drill(&variables, &server.url("postgres"));
    is_unprovable(
        &ended,
        "can't create the extension one_place",
        "in one database of a server only",
    );
    let left = server.psql(
        "postgres",
        "SELECT count(*) FROM pg_database WHERE datname ~ '^psb_'",
    );
    assert_eq!(left, "0");
}

#[test]
fn a_right_that_the_drills_user_lacks_makes_no_backup_bad() {
    let server = Postgres::start(17);
    let url = plain_user(&server);
    server.psql("postgres", "CREATE DATABASE low");
    server.psql("low", "CREATE FUNCTION f(int) RETURNS int LANGUAGE internal IMMUTABLE AS 'int4abs'; CREATE TABLE t AS SELECT 1 AS a");
    let (variables, _, _) = backed_up(&server, "low");
    is_unprovable(&drill(&variables, &url), "lacks a right", "superuser");
    is_proven(&drill(&variables, &server.url("postgres")));
}

#[test]
fn what_nobody_counted_is_never_proven() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 20) i",
    );
    let (_, variables) = on_bucket(&server, "shop");
    for options in ["--inserts", "--rows-per-insert=7", "--column-inserts"] {
        let variables = variables.clone().with("BACKUP_OPTIONS", options);
        assert_eq!(Service::backup(&variables).code(), Some(0));
        let ended = drill(&variables, &server.url("postgres"));
        if ended.code() == Some(0) {
            let proven = is_proven(&ended);
            assert_eq!(
                (&proven["rows"], &proven["tables_compared"]),
                (&20.into(), &1.into())
            );
        } else {
            is_unprovable(&ended, "no table that is counted", "--inserts");
        }
    }
}

#[test]
fn the_scratch_database_has_the_sources_locale() {
    let server = Postgres::start(17);
    for (name, options, content) in [
        (
            "letters",
            "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
            "CREATE TABLE t (name text CHECK (name ~ '^[[:alpha:]]+$')); INSERT INTO t VALUES ('Zoë');",
        ),
        (
            "capitals",
            "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'",
            "CREATE TABLE t (n text CHECK (n = initcap(n))); INSERT INTO t VALUES ('Élan Vital');",
        ),
    ] {
        server.create_database(
            name,
            &format!("TEMPLATE template0 ENCODING 'UTF8' {options}"),
        );
        server.psql(name, content);
        let (variables, _, _) = backed_up(&server, name);
        for place in [server.url("postgres"), "embedded".to_owned()] {
            is_proven(&drill(&variables, &place));
        }
    }
}

#[test]
fn a_locale_that_the_drills_server_lacks_is_named() {
    let server = Postgres::start(17);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    let (variables, bucket, name) = backed_up(&server, "shop");
    let text = String::from_utf8(gunzip(&seaweedfs().get(&bucket, &name))).unwrap();
    let (head, rest) = text.split_once('\n').unwrap();
    let head = head.replacen("\"collate\":\"C\"", "\"collate\":\"xx_XX.utf8\"", 1);
    assert!(head.contains("xx_XX.utf8"), "{head}");
    // This is the backup that a server with that locale would have made.
    let foreign = |more: &str| {
        let dump: String = rest
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("-- postgres-s3-backups: "))
            .collect();
        let end = "--\n-- PostgreSQL database dump complete";
        let dump = dump.replacen(end, &format!("{more}{end}"), 1);
        let before = format!("{head}\n{dump}");
        let digest: String = Sha256::digest(before.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tail = format!(
            "-- postgres-s3-backups: tail {{\"format\":1,\"bytes\":{},\"rows\":1,\"tables\":1,\"more_tables\":false,\"large_objects\":0,\"sha256\":\"{digest}\"}}\n-- postgres-s3-backups: rows [[\"public.t\",1]]\n",
            before.len()
        );
        [gzip(before.as_bytes()), gzip(tail.as_bytes())].concat()
    };
    for place in [server.url("postgres"), "embedded".to_owned()] {
        seaweedfs().put(&bucket, &name, &foreign(""));
        let ended = drill(&variables, &place);
        is_proven(&ended);
        let told = ended
            .event("the drill's server lacks the backup's locale, so the nearest took its place");
        assert!(
            told["locale"].as_str().unwrap().contains("xx_XX.utf8"),
            "{told}"
        );
        let failing = "ALTER TABLE public.t ADD CONSTRAINT c CHECK (a > 1);\n\n";
        seaweedfs().put(&bucket, &name, &foreign(failing));
        is_unprovable(
            &drill(&variables, &place),
            "lacks the locale xx_XX.utf8",
            "has this locale",
        );
    }
}

#[test]
fn login_event_triggers_stay_off() {
    let server = Postgres::start(17);
    server.create_database("watched", "");
    server.psql(
        "watched",
        "CREATE TABLE logins (at timestamptz);
         CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.logins VALUES (now()); END';
         CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION note();
         ALTER EVENT TRIGGER note ENABLE ALWAYS;",
    );
    let (variables, _, _) = backed_up(&server, "watched");
    for place in [server.url("postgres"), "embedded".to_owned()] {
        let proven = is_proven(&drill(&variables, &place));
        assert_eq!(proven["tables_compared"], 1);
    }
}

#[test]
fn timescaledb_is_told_before_and_after_a_restore() {
    // A fake extension of that name has functions that record when they are called, and whether the table exists then.
    let told = |when: &str| {
        format!(
            "CREATE FUNCTION timescaledb_{when}_restore() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO @extschema@.told SELECT '{when} ' || count(*) FROM pg_catalog.pg_class WHERE relname = 'readings'; RETURN true; END $$;\n"
        )
    };
    let script = format!(
        "CREATE TABLE told (what text);\n{}{}",
        told("pre"),
        told("post")
    );
    let (_folder, server) = server_with_extension("timescaledb", "relocatable = false\n", &script);
    server.create_database("series", "");
    server.psql(
        "series",
        "CREATE SCHEMA \"time series\"; CREATE EXTENSION timescaledb SCHEMA \"time series\"; CREATE TABLE readings AS SELECT 1 AS a",
    );
    let (variables, _, _) = backed_up(&server, "series");
    let sql =
        "SELECT string_agg(what, ', ' ORDER BY what) = 'post 1, pre 0' FROM \"time series\".told";
    let checked = variables.clone().with("VERIFY_SQL", sql);
    let proven = is_proven(&drill(&checked, &server.url("postgres")));
    assert_eq!(proven["checks_passed"], 1);
    server.create_database("target", "");
    let ended = restore(&variables, &["--to", &server.url("target")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql("target", sql), "t");
}
