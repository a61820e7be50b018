//! Users who are not superusers: what they may not do is reported before anything is changed, or left out.

use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::service::{Ended, Service, Variables};
use crate::restore::{on_bucket, one_error, restore};

/// A dump that needs everything that a plain user may not do.
const DEMANDING: &str = "
    CREATE ROLE app; CREATE ROLE \"Read er\"; CREATE ROLE maker;
    CREATE SCHEMA shop AUTHORIZATION app;
    CREATE TABLE shop.orders (id int PRIMARY KEY, owner text, a text DEFAULT 'x');
    ALTER TABLE shop.orders OWNER TO app;
    INSERT INTO shop.orders SELECT i, 'x' FROM generate_series(1, 30) i;
    CREATE TABLE \"odd
name\" (a int); ALTER TABLE \"odd
name\" OWNER TO app;
    GRANT SELECT ON shop.orders TO \"Read er\" WITH GRANT OPTION;
    GRANT USAGE ON SCHEMA shop TO \"Read er\"; SET ROLE \"Read er\"; GRANT SELECT ON shop.orders TO maker; RESET ROLE;
    ALTER DEFAULT PRIVILEGES FOR ROLE maker GRANT SELECT ON TABLES TO app;
    ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON shop.orders TO app USING (true);
    CREATE EXTENSION pgcrypto; COMMENT ON EXTENSION pgcrypto IS 'it''s
on two lines;
COMMIT;';
    CREATE EXTENSION hstore;
    CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER noted ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION noted();
    COMMENT ON EVENT TRIGGER noted IS 'on
two lines';
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE PUBLICATION orders FOR TABLE shop.orders;
    CREATE SUBSCRIPTION \"from afar\" CONNECTION 'host=127.0.0.1 port=1 password=x' PUBLICATION x WITH (connect = false, slot_name = none);";

/// A server with a database `source`, its backup, and a user `plain` with these rights, who owns a database `target`.
fn server(major: u16, source: &str, rights: &str, options: &str) -> (Postgres, Variables, Ended) {
    let server = Postgres::start_with(major, &[("wal_level", "logical")]);
    server.create_database("source", "");
    server.psql("source", source);
    server.psql(
        "postgres",
        &format!("CREATE ROLE plain LOGIN {rights} PASSWORD 'plain'"),
    );
    server.create_database("target", "OWNER plain");
    let (_, variables) = on_bucket(&server, "source");
    let variables = variables.with("BACKUP_OPTIONS", options);
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    (server, variables, backup)
}

fn plain(server: &Postgres, database: &str) -> String {
    server.url_as("plain", "plain", database)
}

fn refusals(ended: &Ended) -> Vec<String> {
    ended
        .events("restore refused")
        .iter()
        .map(|event| {
            format!(
                "{} / {}",
                event["error"].as_str().unwrap(),
                event["hint"].as_str().unwrap()
            )
        })
        .collect()
}

fn left_out(ended: &Ended) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ended
        .events("left out of the restore")
        .iter()
        .map(|event| (text(&event["what"]), text(&event["names"])))
        .collect()
}

fn a_role_with_createdb_proves_a_demanding_dump(major: u16) {
    let (server, variables, backup) = server(major, DEMANDING, "CREATEDB", "");
    let arguments = ["verify", "--into", &plain(&server, "postgres")];
    let ended = Service::start(&variables, &arguments).end(crate::common::process::LIMIT * 10);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let proven = ended.event("backup proven");
    assert_eq!(proven["rows"], backup.event("backup finished")["rows"]);
    assert_eq!(proven["tables_compared"], 2);
    assert_eq!(
        server.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname LIKE 'psb_drill%'"
        ),
        "0"
    );
}

#[test]
fn a_role_with_createdb_is_enough_for_a_drill_on_14() {
    a_role_with_createdb_proves_a_demanding_dump(14);
}

#[test]
fn a_role_with_createdb_is_enough_for_a_drill_on_15() {
    a_role_with_createdb_proves_a_demanding_dump(15);
}

#[test]
fn a_role_with_createdb_is_enough_for_a_drill_on_17() {
    a_role_with_createdb_proves_a_demanding_dump(17);
}

fn everything_in_the_way_is_named(major: u16) {
    let (server, variables, _) = server(major, DEMANDING, "", "");
    let url = plain(&server, "target");
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let all = refusals(&ended);
    for (piece, hint) in [
        (
            "Read er, app, maker, postgres",
            "--no-owner --no-privileges",
        ),
        ("event triggers: noted", "--skip event-triggers"),
        ("everything", "--skip publications"),
        ("subscriptions: from afar", "--skip subscriptions"),
    ] {
        assert!(
            all.iter()
                .any(|line| line.contains(piece) && line.contains(hint)),
            "{piece}: {all:#?}"
        );
    }
    assert_eq!(all.len(), 4, "{all:#?}");
    assert_eq!(ended.events("restore started").len(), 0);

    // Each hint leads one step further, and none leads back.
    let ended = restore(
        &variables,
        &[
            "--to",
            &url,
            "--no-owner",
            "--skip",
            "event-triggers,publications",
            "--skip",
            "subscriptions",
        ],
    );
    let all = refusals(&ended);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].contains("--no-privileges too"), "{all:#?}");
    assert!(!all[0].contains("--no-owner"), "{all:#?}");
    let ended = restore(
        &variables,
        &[
            "--to",
            &url,
            "--no-privileges",
            "--skip",
            "event-triggers,publications,subscriptions",
        ],
    );
    let all = refusals(&ended);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].contains("--no-owner too"), "{all:#?}");

    let arguments = [
        "--to",
        &url,
        "--no-owner",
        "--no-privileges",
        "--skip",
        "event-triggers,publications,subscriptions",
    ];
    let ended = restore(&variables, &arguments);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        left_out(&ended),
        [
            ("event triggers", "noted"),
            ("publications", "everything, orders"),
            ("subscriptions", "from afar"),
        ]
        .map(|(what, names)| (what.to_owned(), names.to_owned()))
    );
    assert_eq!(
        server.psql("target", "SELECT count(*), min(pg_get_userbyid(relowner)) FROM shop.orders, pg_class WHERE relname = 'orders'"),
        "30|plain"
    );
    assert_eq!(
        server.psql(
            "target",
            "SELECT count(*) FROM pg_extension WHERE extname IN ('hstore', 'pgcrypto')"
        ),
        "2"
    );
    assert_eq!(
        server.psql(
            "target",
            "SELECT (SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_publication)"
        ),
        "0"
    );
}

#[test]
fn what_a_plain_owner_may_not_restore_is_named_beforehand_on_14() {
    everything_in_the_way_is_named(14);
}

#[test]
fn what_a_plain_owner_may_not_restore_is_named_beforehand_on_16() {
    everything_in_the_way_is_named(16);
}

#[test]
fn a_guarded_extension_is_named_beforehand_unless_it_is_there() {
    let source = "CREATE EXTENSION pageinspect; CREATE TABLE t (a int); COMMENT ON EXTENSION pageinspect IS 'other'";
    let (server, variables, _) = server(17, source, "", "");
    let url = plain(&server, "target");
    let flags = ["--no-owner", "--no-privileges"];
    let ended = restore(&variables, &[&["--to", &url], &flags[..]].concat());
    let all = refusals(&ended);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(
        all[0].contains("pageinspect") && all[0].contains("--skip extensions"),
        "{all:#?}"
    );
    // If it is left out, it is not restored.
    let skip = ["--skip", "extensions"];
    let ended = restore(&variables, &[&["--to", &url], &flags[..], &skip].concat());
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        left_out(&ended),
        [("extensions".to_owned(), "pageinspect".to_owned())]
    );
    assert_eq!(
        server.psql(
            "target",
            "SELECT count(*) FROM pg_extension WHERE extname = 'pageinspect'"
        ),
        "0"
    );
    // If the superuser created it beforehand, it is used unchanged, also with --clean.
    server.create_database("prepared", "OWNER plain");
    server.psql("prepared", "CREATE EXTENSION pageinspect");
    let url = plain(&server, "prepared");
    for more in [&[][..], &["--clean", "--yes"]] {
        let ended = restore(&variables, &[&["--to", &url], &flags[..], more].concat());
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(
            server.psql(
                "prepared",
                "SELECT count(*) FROM pg_extension WHERE extname = 'pageinspect'"
            ),
            "1"
        );
        assert_eq!(server.psql("prepared", "SELECT count(*) FROM t"), "0");
    }
}

/// A provider's schemas, extension, event trigger and publication, in a database of the user.
const PROVIDED: &str = "
    CREATE ROLE provider;
    CREATE SCHEMA auth AUTHORIZATION provider; CREATE TABLE auth.users (id int); ALTER TABLE auth.users OWNER TO provider;
    CREATE ROLE supabase_storage_admin; GRANT supabase_storage_admin TO plain;
    CREATE SCHEMA storage AUTHORIZATION supabase_storage_admin; CREATE TABLE storage.objects (id int); ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
    CREATE SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions; CREATE EXTENSION pageinspect SCHEMA public;
    CREATE FUNCTION auth.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION auth.watch();
    CREATE PUBLICATION realtime;
    INSERT INTO auth.users VALUES (7);
    GRANT USAGE ON SCHEMA auth TO plain;";

/// Objects of every kind that the user has made there.
const OWN: &str = "
    SET ROLE plain;
    CREATE TABLE mine (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial); CREATE VIEW mine_too AS SELECT * FROM mine;
    CREATE TABLE part (a int) PARTITION BY RANGE (a); CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (2);
    CREATE MATERIALIZED VIEW seen AS SELECT 1; CREATE SEQUENCE counter; CREATE TYPE pair AS (a int, b int);
    CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN positive AS int CHECK (value > 0); CREATE TYPE span AS RANGE (subtype = int);
    CREATE FUNCTION f(a mood, VARIADIC b int[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE proc(INOUT a int) LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
    CREATE FUNCTION same(mood, mood) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
    CREATE STATISTICS stat ON id, s FROM mine; CREATE COLLATION here FROM \"C\";
    CREATE TEXT SEARCH CONFIGURATION conf (COPY = simple); CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
    SELECT lo_create(4711); CREATE PUBLICATION own; CREATE EXTENSION hstore;
    RESET ROLE;";

fn clean_leaves_what_is_not_the_users(major: u16) {
    let source = "CREATE TABLE mine (a text); INSERT INTO mine VALUES ('restored'); CREATE SCHEMA later; CREATE TABLE later.t (a int); COMMENT ON SCHEMA public IS 'ours'";
    let (server, variables, _) = server(major, source, "", "");
    server.psql(
        "target",
        &format!(
            "{}; {PROVIDED} {OWN}",
            if major < 15 {
                ""
            } else {
                "GRANT CREATE ON SCHEMA public TO plain"
            }
        ),
    );
    let url = plain(&server, "target");
    let flags = ["--to", &url, "--no-owner", "--no-privileges"];
    let ended = restore(&variables, &flags);
    let error = one_error(&ended);
    assert!(
        error["hint"].as_str().unwrap().contains("--clean"),
        "{error}"
    );
    let ended = restore(&variables, &[&flags[..], &["--clean", "--yes"]].concat());
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let stays = ended.event("what the target's user may not drop stays in the target");
    let names = stays["names"].as_str().unwrap();
    for name in [
        "schema auth",
        "schema storage",
        "schema extensions",
        "extension pgcrypto",
        "extension pageinspect",
        "event trigger watch",
        "publication realtime",
    ] {
        assert!(names.contains(name), "{name}: {names}");
    }
    assert!(
        !names.contains("hstore") && !names.contains("mine"),
        "{names}"
    );
    for (query, expected) in [
        ("SELECT a FROM mine", "restored"),
        ("SELECT id FROM auth.users", "7"),
        ("SELECT count(*) FROM storage.objects", "0"),
        (
            "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension",
            "pageinspect,pgcrypto,plpgsql",
        ),
        (
            "SELECT string_agg(pubname, ',') FROM pg_publication",
            "realtime",
        ),
        ("SELECT count(*) FROM pg_largeobject_metadata", "0"),
        (
            "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND deptype = 'e')",
            "mine",
        ),
        (
            "SELECT count(*) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND deptype = 'e')",
            "0",
        ),
        (
            "SELECT (SELECT count(*) FROM pg_operator WHERE oid >= 16384) + (SELECT count(*) FROM pg_statistic_ext) + (SELECT count(*) FROM pg_ts_config WHERE oid >= 16384) + (SELECT count(*) FROM pg_ts_dict WHERE oid >= 16384) + (SELECT count(*) FROM pg_collation WHERE oid >= 16384)",
            "0",
        ),
        ("SELECT count(*) FROM later.t", "0"),
    ] {
        assert_eq!(server.psql("target", query), expected, "{query}");
    }
    // It is restored over itself once more.
    let ended = restore(&variables, &[&flags[..], &["--clean", "--yes"]].concat());
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
fn clean_leaves_what_is_not_the_users_on_14() {
    clean_leaves_what_is_not_the_users(14);
}

#[test]
fn clean_leaves_what_is_not_the_users_on_15() {
    clean_leaves_what_is_not_the_users(15);
}

#[test]
fn clean_leaves_what_is_not_the_users_on_17() {
    clean_leaves_what_is_not_the_users(17);
}

#[test]
fn a_schema_that_stays_and_that_the_backup_creates_is_named_beforehand() {
    let (server, variables, _) = server(
        16,
        "CREATE SCHEMA auth; CREATE SCHEMA \"Odd one\"; CREATE SCHEMA own; CREATE TABLE auth.users (id int)",
        "",
        "",
    );
    server.psql("target", "CREATE ROLE provider; CREATE SCHEMA auth AUTHORIZATION provider; CREATE SCHEMA \"Odd one\" AUTHORIZATION provider; CREATE SCHEMA own AUTHORIZATION plain");
    let before = server.digest("target");
    let url = plain(&server, "target");
    let ended = restore(
        &variables,
        &[
            "--to",
            &url,
            "--no-owner",
            "--no-privileges",
            "--clean",
            "--yes",
        ],
    );
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let all = refusals(&ended);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].contains("may not drop: Odd one, auth"), "{all:#?}");
    assert!(all[0].contains("--exclude-schema"), "{all:#?}");
    assert_eq!(server.digest("target"), before);
}

fn a_dump_of_one_schema_comes_back(major: u16) {
    let source = "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE SCHEMA other; CREATE TABLE other.t (a int)";
    let (server, variables, _) = server(major, source, "CREATEDB", "--schema=public");
    let url = plain(&server, "target");
    for more in [&[][..], &["--clean", "--yes"]] {
        let ended = restore(
            &variables,
            &[&["--to", &url, "--no-owner", "--no-privileges"], more].concat(),
        );
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(server.psql("target", "SELECT a FROM t"), "1");
    }
    server.create_database("by_superuser", "");
    let ended = restore(&variables, &["--to", &server.url("by_superuser")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    // If it does not exist, it is created.
    server.create_database("without", "");
    server.psql("without", "DROP SCHEMA public");
    let ended = restore(&variables, &["--to", &server.url("without")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql("without", "SELECT a FROM public.t"), "1");
    let arguments = ["verify", "--into", &plain(&server, "postgres")];
    let ended = Service::start(&variables, &arguments).end(crate::common::process::LIMIT * 10);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
fn a_dump_of_the_schema_public_comes_back_into_14() {
    a_dump_of_one_schema_comes_back(14);
}

#[test]
fn a_dump_of_the_schema_public_comes_back_into_17() {
    a_dump_of_one_schema_comes_back(17);
}

#[test]
fn tablespaces_that_the_target_lacks_are_left_out_and_said() {
    let source = Postgres::start_with(17, &[("allow_in_place_tablespaces", "on")]);
    source.psql("postgres", "CREATE TABLESPACE fast LOCATION ''");
    source.psql("postgres", "CREATE TABLESPACE \"Slow er\" LOCATION ''");
    source.create_database("source", "");
    source.psql("source", "CREATE TABLE a (a int PRIMARY KEY USING INDEX TABLESPACE \"Slow er\") TABLESPACE fast; CREATE TABLE b (a int); INSERT INTO a VALUES (1)");
    let (_, variables) = on_bucket(&source, "source");
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    let target = Postgres::start_with(17, &[("allow_in_place_tablespaces", "on")]);
    target.psql("postgres", "CREATE TABLESPACE \"Slow er\" LOCATION ''");
    target.psql(
        "postgres",
        "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'plain'",
    );
    target.create_database("target", "OWNER plain");
    let spaces = "SELECT string_agg(relname || ':' || COALESCE(spcname, ''), ' ' ORDER BY relname) FROM pg_class c LEFT JOIN pg_tablespace t ON t.oid = reltablespace WHERE relnamespace = 'public'::regnamespace";
    target.create_database("by_superuser", "");
    let ended = restore(&variables, &["--to", &target.url("by_superuser")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        left_out(&ended),
        [("tablespaces".to_owned(), "fast".to_owned())]
    );
    assert_eq!(target.psql("by_superuser", spaces), "a: a_pkey:Slow er b:");
    // A role that the user may not use counts as missing.
    let ended = restore(
        &variables,
        &[
            "--to",
            &plain(&target, "target"),
            "--no-owner",
            "--no-privileges",
        ],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        left_out(&ended),
        [("tablespaces".to_owned(), "Slow er, fast".to_owned())]
    );
    assert_eq!(target.psql("target", spaces), "a: a_pkey: b:");
    let arguments = ["verify", "--into", &plain(&target, "postgres")];
    let ended = Service::start(&variables, &arguments).end(crate::common::process::LIMIT * 10);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}
