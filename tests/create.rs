//! A restore into a database that it creates, which then takes the place of the old one.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, signal, wait_until};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};
use crate::restore::{backed_up, dump, gzip, on_bucket, one_error, restore};

const LONG: Duration = Duration::from_secs(300);

/// Backs a database up, and returns the bucket, the variables and the name of the backup.
fn back_up(server: &Postgres, database: &str) -> (String, Variables, String) {
    let (bucket, variables) = on_bucket(server, database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let name = ended.event("backup finished")["name"].clone();
    (bucket, variables, name.as_str().unwrap().to_owned())
}

/// Replaces a backup with a text without a description, as an older version wrote it.
fn replace(bucket: &str, name: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(dump(&seaweedfs().get(bucket, name))).unwrap();
    seaweedfs().put(bucket, name, &gzip(change(text).as_bytes()));
}

/// Inserts statements before the end of a dump.
fn with_statements(bucket: &str, name: &str, statements: &str) {
    replace(bucket, name, |text| {
        let end = "--\n-- PostgreSQL database dump complete\n";
        assert!(text.contains(end));
        text.replace(end, &format!("{statements}\n{end}"))
    });
}

fn done(ended: &Ended) -> Value {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("restore finished")
}

/// The databases whose names begin with this text.
fn databases(server: &Postgres, begin: &str) -> String {
    server.psql(
        "postgres",
        &format!("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE starts_with(datname, '{begin}')"),
    )
}

/// The settings of a database, as the server keeps them.
fn settings(server: &Postgres, database: &str) -> String {
    server.psql(
        "postgres",
        &format!("SELECT string_agg(coalesce(rolname, '') || ': ' || setting, E'\\n' ORDER BY rolname NULLS FIRST, setting) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) c (setting) WHERE datname = '{database}'"),
    )
}

const LOCALE: &str = "concat_ws('|', pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d)->>'datlocprovider', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'), to_jsonb(d)->>'daticurules')";

fn locale(server: &Postgres, database: &str) -> String {
    server.psql(
        "postgres",
        &format!("SELECT {LOCALE} FROM pg_database d WHERE datname = '{database}'"),
    )
}

/// A session with this name for its application. It stays until it is killed, or until its command has ended.
fn session(application: &str, arguments: &[&str]) -> Child {
    Command::new(Postgres::bin(17).join("psql"))
        .env("PGAPPNAME", application)
        .arg("-X")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_new_database_gets_everything_that_the_old_one_had() {
    let server = Postgres::start(18);
    server.psql(
        "postgres",
        "CREATE ROLE \"app's \"\"owner\"\"\"; CREATE ROLE away; CREATE ROLE here;",
    );
    server.create_database(
        "shop",
        "OWNER \"app's \"\"owner\"\"\" TEMPLATE template0 ENCODING UTF8 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'",
    );
    server.psql_file(
        "shop",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/awkward.sql"),
    );
    server.psql(
        "postgres",
        r#"ALTER DATABASE shop SET search_path TO "we""ird, one", "$user", public;
           ALTER DATABASE shop SET datestyle TO 'ISO, DMY';
           ALTER DATABASE shop SET app.motto TO E'it''s "so"; \\! echo $psb$ \n';
           ALTER ROLE here IN DATABASE shop SET work_mem TO '5MB';
           ALTER ROLE away IN DATABASE shop SET search_path TO '';"#,
    );
    let (_, variables, name) = back_up(&server, "shop");
    let before = settings(&server, "shop");
    server.psql(
        "postgres",
        "DROP OWNED BY away; ALTER ROLE away IN DATABASE shop RESET ALL; DROP ROLE away;",
    );
    let ended = restore(&variables, &["--to", &server.url("shop"), "--create"]);
    let finished = done(&ended);
    // The backup's name ends in its time.
    let time: String = name.chars().filter(char::is_ascii_digit).collect();
    let made = format!("shop_{}_{}", &time[..8], &time[8..14]);
    assert_eq!(finished["database"], *made);
    let url = finished["url"].as_str().unwrap();
    assert!(url.contains(&made) && !url.contains("testpass"), "{url}");
    pretty_assertions::assert_eq!(server.digest("shop"), server.digest(&made));
    assert_eq!(locale(&server, "shop"), locale(&server, &made));
    let kept: Vec<&str> = before
        .lines()
        .filter(|line| !line.starts_with("away"))
        .collect();
    assert_eq!(settings(&server, &made), kept.join("\n"));
    assert!(kept.len() >= 4, "{before}");
    assert_eq!(
        ended.events("further settings not applied")[0]["of_missing_roles"],
        1
    );
    let facts = format!(
        "SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{made}'"
    );
    assert_eq!(server.psql("postgres", &facts), "app's \"owner\"|");
    assert_eq!(databases(&server, "psb_"), "");
    assert_eq!(ended.events("statistics collected").len(), 1);

    // The same name is refused the second time, whatever the database holds. Another name is not.
    let ended = restore(&variables, &["--to", &server.url("shop"), "--create"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(error["error"].as_str().unwrap().contains(&made), "{error}");
    assert!(
        error["hint"].as_str().unwrap().contains("--create=NAME"),
        "{error}"
    );
    let odd = "odd \"name'; $psb$ ü";
    let ended = restore(
        &variables,
        &[
            "--to",
            &server.url("postgres"),
            &format!("--create={odd}"),
            "--no-settings",
        ],
    );
    assert_eq!(done(&ended)["database"], odd);
    pretty_assertions::assert_eq!(server.digest("shop"), server.digest(odd));
    assert_eq!(settings(&server, &odd.replace('\'', "''")), "");
    let said: Vec<String> = ended
        .events("setting not applied")
        .iter()
        .map(|line| line["statement"].as_str().unwrap().to_owned())
        .collect();
    // One of these statements has a line end in it.
    assert_eq!(said.len(), 4, "{said:?}");
    // What is printed can be pasted into psql.
    server.psql("postgres", &said.join("\n"));
    assert_eq!(settings(&server, &odd.replace('\'', "''")), kept.join("\n"));
}

#[test]
fn each_locale_comes_back_where_it_can_and_is_named_where_not() {
    let old = Postgres::start(15);
    let new = Postgres::start(17);
    // These builds of PostgreSQL have no ICU.
    old.create_database(
        "letters",
        "TEMPLATE template0 ENCODING UTF8 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
    );
    old.create_database("latin", "TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'");
    new.create_database(
        "builtin",
        "TEMPLATE template0 ENCODING UTF8 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
    );
    for (from, database, into, expected) in [
        (&old, "letters", &new, "UTF8|C|C.UTF-8|c"),
        (&old, "latin", &new, "LATIN1|C|C|c"),
        (&new, "builtin", &new, "UTF8|C|C|b|C.UTF-8"),
    ] {
        from.psql(
            database,
            "CREATE TABLE t (a text); INSERT INTO t VALUES ('x')",
        );
        let (_, variables, _) = back_up(from, database);
        let ended = restore(
            &variables,
            &["--to", &into.url("postgres"), "--create=made"],
        );
        done(&ended);
        assert_eq!(locale(into, "made"), expected);
        into.psql("postgres", "DROP DATABASE made");
    }
    // An older server does not have this provider.
    let (_, variables, _) = back_up(&new, "builtin");
    let ended = restore(&variables, &["--to", &old.url("postgres"), "--create=made"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains("C.UTF-8 of the builtin"),
        "{error}"
    );
    assert!(error["hint"].as_str().unwrap().contains("sort"), "{error}");
    assert_eq!(databases(&old, "psb_") + &databases(&old, "made"), "");
}

#[test]
fn what_fails_leaves_nothing_behind() {
    for (statements, kind, said) in [
        ("SELECT 1/0;", "restore", "division by zero"),
        ("COMMIT;\nSELECT 1/0;", "restore", "division by zero"),
        // Nothing after this is ever committed.
        ("BEGIN READ WRITE;", "damaged", "inside a statement"),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false);\nSELECT 1/0;",
            "restore",
            "division by zero",
        ),
        ("\\! touch /tmp/psb-never", "restore", "restricted"),
    ] {
        let (_, bucket, variables, name) = backed_up();
        with_statements(&bucket, &name, statements);
        let database = unique("made");
        let ended = restore(
            &variables,
            &[
                "--to",
                &postgres().url("postgres"),
                &format!("--create={database}"),
            ],
        );
        assert_eq!(ended.code(), Some(1), "{statements}: {}", ended.text());
        let error = one_error(&ended);
        assert_eq!(error["kind"], kind, "{error}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains(said), "{statements}: {error}");
        assert!(text.contains("the new database was dropped"), "{error}");
        assert_eq!(databases(postgres(), &database), "");
    }
    // A COMMIT in the text does no harm, because there is no transaction that it could split.
    let (source, bucket, variables, name) = backed_up();
    with_statements(&bucket, &name, "COMMIT;");
    let database = unique("made");
    let ended = restore(
        &variables,
        &[
            "--to",
            &postgres().url("postgres"),
            &format!("--create={database}"),
        ],
    );
    done(&ended);
    pretty_assertions::assert_eq!(postgres().digest(&source), postgres().digest(&database));
}

#[test]
fn what_a_killed_restore_left_is_dropped_by_the_next_one() {
    let server = Postgres::start(14);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let (bucket, variables, name) = back_up(&server, "shop");
    let whole = seaweedfs().get(&bucket, &name);
    // These are somebody else's database, and one that is in use.
    server.psql("postgres", "CREATE DATABASE psb_restore_mine");
    with_statements(&bucket, &name, "SELECT pg_sleep(1000);");
    let arguments = ["restore", "--to", &server.url("postgres"), "--create=made"];
    let service = Service::start(&variables, &arguments);
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^psb_restore_' AND query ~ 'pg_sleep'",
        "1",
    );
    signal(service.id(), "KILL");
    service.end(LIMIT);
    assert_ne!(databases(&server, "psb_restore_"), "psb_restore_mine");
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ~ '^psb_restore_'",
    );
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^psb_restore_'",
        "0",
    );
    seaweedfs().put(&bucket, &name, &whole);
    let ended = Service::start(&variables, &arguments).end(LONG);
    done(&ended);
    assert_eq!(
        ended
            .events("unfinished database of a killed restore dropped")
            .len(),
        1
    );
    assert_eq!(databases(&server, "psb_restore_"), "psb_restore_mine");

    // A restore that is told to stop drops its own database.
    with_statements(&bucket, &name, "SELECT pg_sleep(1000);");
    let arguments = ["restore", "--to", &server.url("postgres"), "--create=other"];
    let service = Service::start(&variables, &arguments);
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^psb_restore_' AND query ~ 'pg_sleep'",
        "1",
    );
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let cancelled = ended.event("restore cancelled");
    assert!(
        cancelled["error"]
            .as_str()
            .unwrap()
            .contains("the new database was dropped"),
        "{cancelled}"
    );
    assert_eq!(databases(&server, "psb_restore_"), "psb_restore_mine");
}

#[test]
fn a_role_that_may_create_databases_and_nothing_else_is_enough() {
    let server = Postgres::start(17);
    server.psql(
        "postgres",
        "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'testpass'; CREATE ROLE plain LOGIN PASSWORD 'testpass';",
    );
    server.psql("postgres", "CREATE DATABASE shop OWNER maker; ALTER DATABASE shop SET work_mem TO '7MB'; ALTER DATABASE shop SET log_statement TO 'ddl'");
    server.psql(
        "shop",
        "SET ROLE maker; CREATE TABLE t (a int); INSERT INTO t VALUES (1)",
    );
    let (_, variables, _) = back_up(&server, "shop");
    let arguments = |user: &str| {
        let url = server.url_as(user, "testpass", "postgres");
        restore(
            &variables,
            &[
                "--to",
                &url,
                "--create=made",
                "--no-owner",
                "--no-privileges",
            ],
        )
    };
    let refused = arguments("plain");
    assert_eq!(refused.code(), Some(1), "{}", refused.text());
    let error = one_error(&refused);
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains("may not create databases"),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("CREATEDB"),
        "{error}"
    );
    let ended = arguments("maker");
    done(&ended);
    pretty_assertions::assert_eq!(server.digest("shop"), server.digest("made"));
    // Settings that only a superuser may change are reported.
    assert_eq!(settings(&server, "made"), ": work_mem=7MB");
    let said = ended.event("setting not applied");
    assert_eq!(
        said["statement"],
        "ALTER DATABASE made SET log_statement TO 'ddl';"
    );
}

#[test]
fn more_tables_than_one_transaction_may_lock_come_back() {
    let server = Postgres::start_with(
        17,
        &[
            ("max_connections", "10"),
            ("max_locks_per_transaction", "10"),
        ],
    );
    // A dump locks every table.
    let locks = &[
        ("max_connections", "10"),
        ("max_locks_per_transaction", "256"),
    ];
    let whole = Postgres::start_with(17, locks);
    whole.create_database("shop", "");
    whole.psql("shop", "DO $$ BEGIN FOR i IN 1..700 LOOP EXECUTE format('CREATE TABLE t_%s (a int PRIMARY KEY)', i); END LOOP; END $$");
    let (_, variables, _) = back_up(&whole, "shop");

    // A restore in one transaction is refused before anything is changed, and the value that is enough is named.
    server.create_database("target", "");
    let ended = restore(&variables, &["--to", &server.url("target")]);
    let refused = one_error(&ended);
    assert_eq!(refused["message"], "restore refused", "{refused}");
    let hint = refused["hint"].as_str().unwrap();
    assert!(hint.contains("--create"), "{refused}");
    let enough = hint.split_once("max_locks_per_transaction to ").unwrap().1;
    let enough = enough.split(' ').next().unwrap();
    let larger = Postgres::start_with(
        17,
        &[
            ("max_connections", "10"),
            ("max_locks_per_transaction", enough),
        ],
    );
    larger.create_database("target", "");
    done(&restore(&variables, &["--to", &larger.url("target")]));

    let ended = restore(
        &variables,
        &["--to", &server.url("postgres"), "--create=made"],
    );
    done(&ended);
    pretty_assertions::assert_eq!(whole.digest("shop"), server.digest("made"));
}

#[test]
fn a_swap_puts_the_old_database_aside_and_loses_nothing() {
    let server = Postgres::start(15);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE ROLE app LOGIN PASSWORD 'testpass'");
    let (_, variables, _) = back_up(&server, "shop");
    let backed_up = server.digest("shop");
    server.psql("shop", "INSERT INTO t VALUES (2)");
    let lost = server.digest("shop");
    let url = server.url("shop");

    // Nobody can be asked, because this is not a terminal.
    let ended = restore(&variables, &["--to", &url, "--swap"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.text());

    // A connected application prevents it.
    let mut application = session(
        "the shop\u{202e}",
        &[&server.url_as("app", "testpass", "shop")],
    );
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'",
        "1",
    );
    let ended = restore(&variables, &["--to", &url, "--create", "--swap", "--yes"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    let text = error["error"].as_str().unwrap();
    assert!(
        text.contains("the shop") && text.contains("user app") && text.contains("127.0.0.1"),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--disconnect"),
        "{error}"
    );
    assert_eq!(databases(&server, "shop"), "shop");
    assert_eq!(server.digest("shop"), lost);

    let ended = restore(
        &variables,
        &["--to", &url, "--create", "--swap", "--yes", "--disconnect"],
    );
    assert_eq!(done(&ended)["database"], "shop");
    let swapped = ended.event("databases swapped");
    let old = swapped["old_database"].as_str().unwrap();
    assert!(old.starts_with("shop_before_2"), "{swapped}");
    assert_eq!(databases(&server, "shop"), format!("shop,{old}"));
    pretty_assertions::assert_eq!(server.digest("shop"), backed_up);
    pretty_assertions::assert_eq!(server.digest(old), lost);
    application.wait().unwrap();

    // The statements in the hint lead back.
    let hint = swapped["hint"].as_str().unwrap();
    let statements: Vec<&str> = hint
        .split("ALTER DATABASE ")
        .skip(1)
        .map(|text| text.split(';').next().unwrap())
        .collect();
    assert_eq!(statements.len(), 2, "{hint}");
    for statement in statements {
        server.psql("postgres", &format!("ALTER DATABASE {statement}"));
    }
    pretty_assertions::assert_eq!(server.digest("shop"), lost);
}

#[test]
fn a_session_that_is_about_to_end_does_not_prevent_a_swap() {
    let server = Postgres::start(14);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let (_, variables, _) = back_up(&server, "shop");
    // It ends when it has seen the restore ask twice who is connected.
    let until_asked_twice = "DO $$ DECLARE seen timestamptz[] := '{}'; BEGIN LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT array_agg(DISTINCT start) INTO seen FROM (SELECT unnest(seen) AS start
            UNION SELECT backend_start FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND query ~ 'pg_stat_activity WHERE datname') AS all_seen;
        EXIT WHEN cardinality(seen) >= 2;
        PERFORM pg_sleep(0.002);
    END LOOP; END $$";
    let mut leaving = session("leaving", &[&server.url("shop"), "-c", until_asked_twice]);
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaving' AND query ~ '^DO'",
        "1",
    );
    let ended = restore(
        &variables,
        &["--to", &server.url("shop"), "--swap", "--yes"],
    );
    leaving.kill().unwrap();
    leaving.wait().unwrap();
    assert_eq!(done(&ended)["database"], "shop");
    ended.event("databases swapped");
}

#[test]
fn a_renaming_that_fails_leaves_the_old_name_and_the_new_data() {
    let server = Postgres::start(14);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let (bucket, variables, name) = back_up(&server, "shop");
    let before = server.digest("shop");
    // After its sessions have been examined, a prepared transaction appears, which can't be ended like a session.
    let statement = "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = 'late') LOOP PERFORM pg_catalog.pg_stat_clear_snapshot(), pg_catalog.pg_sleep(0.02); END LOOP; END $$;";
    with_statements(&bucket, &name, statement);
    let arguments = ["restore", "--to", &server.url("shop"), "--swap", "--yes"];
    let mut service = Service::start(&variables, &arguments);
    wait_until("the statement that waits", LIMIT, || {
        assert!(service.running(), "{:?}", service.lines());
        let count = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO .*late'";
        (server.psql("postgres", count) == "1").then_some(())
    });
    let mut late = session("late", &[&server.url("shop")]);
    let ended = service.end(LONG);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    let text = error["error"].as_str().unwrap();
    let new = text
        .split("in the database ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    assert!(new.starts_with("shop_2"), "{error}");
    late.kill().unwrap();
    late.wait().unwrap();
    wait_until("the end of its session", LIMIT, || {
        (server.psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'",
        ) == "0")
            .then_some(())
    });
    pretty_assertions::assert_eq!(server.digest("shop"), before);
    pretty_assertions::assert_eq!(server.digest(new), before);
    assert_eq!(databases(&server, "shop"), format!("shop,{new}"));
}

#[test]
fn the_right_to_create_in_public_is_said_and_given_back() {
    let old = Postgres::start(14);
    let new = Postgres::start(18);
    old.create_database("shop", "");
    old.psql("shop", "CREATE TABLE t (a int)");
    old.create_database("strict", "");
    old.psql(
        "strict",
        "CREATE TABLE t (a int); REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let (_, open, _) = back_up(&old, "shop");
    let (_, strict, _) = back_up(&old, "strict");
    let may = |database: &str| {
        new.psql(database, "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'")
    };
    let said = "everybody could create in the schema public before, and only the owner can now";
    let url = new.url("postgres");
    let ended = restore(&open, &["--to", &url, "--create=a"]);
    done(&ended);
    assert_eq!(
        (ended.events(said).len(), may("a").as_str()),
        (1, "0"),
        "{}",
        ended.text()
    );
    let ended = restore(&open, &["--to", &url, "--create=b", "--public-create"]);
    done(&ended);
    assert_eq!(
        (ended.events(said).len(), may("b").as_str()),
        (0, "1"),
        "{}",
        ended.text()
    );
    for (to, flags) in [("c", &[][..]), ("d", &["--public-create"])] {
        let ended = restore(
            &strict,
            &[&["--to", &url, &format!("--create={to}")], flags].concat(),
        );
        done(&ended);
        assert_eq!(
            (ended.events(said).len(), may(to).as_str()),
            (0, "0"),
            "{}",
            ended.text()
        );
    }
    // The same into an existing database, in one transaction.
    new.create_database("e", "");
    let ended = restore(&open, &["--to", &new.url("e"), "--public-create"]);
    done(&ended);
    assert_eq!(may("e"), "1");
}

#[test]
fn settings_come_back_into_a_database_that_is_there() {
    let server = Postgres::start(16);
    server.psql(
        "postgres",
        "CREATE ROLE here; CREATE ROLE plain LOGIN PASSWORD 'testpass'",
    );
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int)");
    server.psql(
        "postgres",
        r#"ALTER DATABASE shop SET search_path TO "a, b", public;
           ALTER DATABASE shop SET log_statement TO 'ddl';
           ALTER ROLE here IN DATABASE shop SET app.x TO '$psb$; it''s';"#,
    );
    let (_, variables, _) = back_up(&server, "shop");
    let variables = variables.with("BACKUP_OPTIONS", "--create");
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    server.create_database("full", "");
    let ended = restore(&variables, &["--to", &server.url("full")]);
    done(&ended);
    assert_eq!(settings(&server, "full"), settings(&server, "shop"));
    assert_eq!(ended.event("settings applied")["settings"], 3);
    server.create_database("none", "");
    let ended = restore(&variables, &["--to", &server.url("none"), "--no-settings"]);
    done(&ended);
    assert_eq!(settings(&server, "none"), "");
    assert_eq!(ended.events("setting not applied").len(), 3);
    // Settings that this user may not change are reported, and nothing stops because of them.
    server.create_database("some", "OWNER plain");
    let url = server.url_as("plain", "testpass", "some");
    let ended = restore(&variables, &["--to", &url, "--no-owner", "--no-privileges"]);
    done(&ended);
    assert_eq!(settings(&server, "some"), ": search_path=\"a, b\", public");
    assert_eq!(ended.events("setting not applied").len(), 2);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let variables = Variables::working(seaweedfs(), "unused", &postgres().url("postgres"));
    let url = postgres().url("postgres");
    for arguments in [
        &["--create", "--clean"][..],
        &["--swap", "--clean"],
        &["--disconnect"],
        &["--create="],
    ] {
        let arguments = [&["restore", "--to", &url], arguments].concat();
        let ended = Service::start(&variables, &arguments).end(LIMIT);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {}", ended.text());
    }
}

#[test]
fn the_help_and_the_page_use_the_same_words() {
    let help = Command::new(crate::common::service::BINARY)
        .args(["restore", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let page = |name: &str| {
        std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let pages = page("restore.md");
    let options: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split(['[', '=', ',', '`']).next().unwrap())
        .collect();
    assert!(options.contains(&"--swap"), "{help}");
    for option in options.iter().filter(|option| **option != "--help") {
        assert!(
            pages.contains(&format!("`{option}")) || pages.contains(&format!(" {option}")),
            "{option}"
        );
    }
    let page = page("restore.md");
    // The options of a dump are not options of a restore.
    for word in page
        .split(['`', ' ', '\n'])
        .filter(|word| !word.starts_with("BACKUP_OPTIONS="))
        .flat_map(|word| word.split(['=', '[']))
        .filter(|word| word.starts_with("--"))
    {
        assert!(
            options.contains(&word),
            "{word} is on the page and not in the help"
        );
    }
    assert!(help.contains("--create[=<NAME>]"), "{help}");
}
