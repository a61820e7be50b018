//! What the service reads may come from a stranger: names in a database, bytes in a bucket, the code in a backup.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::common::postgres::{Account, Postgres};
use crate::common::process::{Folder, Process, wait_until};
use crate::common::service::{BINARY, Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};
use crate::restore::{backed_up, empty_database, gzip, on_bucket, one_error, relations, restore};

const LONG: Duration = Duration::from_secs(300);

fn verify(variables: &Variables, arguments: &[&str]) -> Ended {
    Service::start(variables, &[&["verify"], arguments].concat()).end(LONG)
}

/// Puts a trap of the name of every operator and function that PostgreSQL has into the schema `public`, and the schema
/// before PostgreSQL's own. Whoever names one without its schema ends with the error `trapped`.
const TRAPS: &str = r"
DO $traps$
DECLARE
    it record;
    number int := 0;
BEGIN
    FOR it IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
              FROM pg_operator WHERE oprleft <> 0 AND oprnamespace = 'pg_catalog'::regnamespace
    LOOP
        number := number + 1;
        BEGIN
            EXECUTE format('CREATE FUNCTION public.trap_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $x$trapped$x$; END''', number, it.l, it.r, it.result);
            EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap_%s)', it.oprname, it.l, it.r, number);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    -- There are no such operators, so PostgreSQL takes those of text; somebody else can make them.
    FOREACH it.oprname IN ARRAY ARRAY['~', '!~', '~*', '=', '<>', '~~', '!~~', '||'] LOOP
        number := number + 1;
        EXECUTE format('CREATE FUNCTION public.trap_%s(name, name) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $x$trapped$x$; END''', number);
        BEGIN
            EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = name, RIGHTARG = name, FUNCTION = public.trap_%s)', it.oprname, number);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR it IN SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, prorettype::regtype AS result
              FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $x$trapped$x$; END''', it.proname, it.arguments, it.result);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END
$traps$;
";

/// Makes a database that the role `app` owns and has filled with traps.
fn trapped(server: &Postgres, name: &str) {
    server.create_database(name, "");
    server.psql(name, &format!("ALTER DATABASE \"{name}\" OWNER TO app; ALTER SCHEMA public OWNER TO app; SET ROLE app; {TRAPS}"));
    server.psql(
        name,
        &format!("ALTER DATABASE \"{name}\" SET search_path = public, pg_catalog"),
    );
    let sprung = server
        .try_psql(name, "SELECT current_setting('server_version')")
        .unwrap_err();
    assert!(sprung.contains("trapped"), "{sprung}");
    let sprung = server
        .try_psql(name, "SELECT 'a'::name !~ 'b'")
        .unwrap_err();
    assert!(sprung.contains("trapped"), "{sprung}");
}

fn what_a_database_holds_is_never_run(major: u16) {
    let server = Postgres::start(major);
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'app'");
    trapped(&server, "source");
    server.psql("source", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let (_, variables) = on_bucket(&server, "source");

    let checked = Service::start(&variables, &["check"]).end(LONG);
    assert_eq!(checked.code(), Some(0), "{}", checked.text());
    assert!(!checked.text().contains("trapped"), "{}", checked.text());
    let daemon = Service::daemon(&variables.clone().with("RUN_ON_STARTUP", "true"));
    daemon.wait_for("backup finished");
    daemon.wait_for("check finished");
    let ended = daemon.terminate();
    assert!(!ended.text().contains("trapped"), "{}", ended.text());

    // A target that is not empty is recognized as such.
    trapped(&server, "full");
    server.psql("full", "CREATE TABLE kept (a int)");
    let refused = restore(&variables, &["--to", &server.url("full")]);
    assert_eq!(refused.code(), Some(1), "{}", refused.text());
    assert_eq!(one_error(&refused)["kind"], "refused", "{}", refused.text());
    assert!(!refused.text().contains("trapped"), "{}", refused.text());
    // Only databases that drills made are dropped, whatever the database that they connect to says.
    server.psql("postgres", "CREATE DATABASE \"psb_drill_x\"");
    server.psql(
        "postgres",
        "CREATE DATABASE \"psb_drill_0123456789abcdef\" OWNER app",
    );
    server.psql("postgres", "CREATE DATABASE \"psb_drill_0123456789abcde0\"");
    let folder = Folder::new();
    let touched = folder.path().join("touched");
    server.create_database(&format!("a;\\! touch {}", touched.display()), "");
    server.create_database(&format!("psb_drill_\n\\! touch {}", touched.display()), "");
    let before = server.psql("postgres", "SELECT count(*) FROM pg_database");
    trapped(&server, "connected");
    let proven = verify(&variables, &["--into", &server.url("connected")]);
    assert_eq!(proven.code(), Some(0), "{}", proven.text());
    assert!(!proven.text().contains("trapped"), "{}", proven.text());
    server.psql("postgres", "DROP DATABASE connected");
    let after = server.psql("postgres", "SELECT count(*) FROM pg_database");
    assert_eq!(
        after.parse::<u32>().unwrap(),
        before.parse::<u32>().unwrap() - 1
    );
    assert!(!touched.exists());
    assert_eq!(
        server.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname = 'psb_drill_0123456789abcde0'"
        ),
        "0"
    );
}

#[test]
fn what_a_database_holds_is_never_run_on_14() {
    what_a_database_holds_is_never_run(14);
}

#[test]
fn what_a_database_holds_is_never_run_on_18() {
    what_a_database_holds_is_never_run(18);
}

/// A dump that holds the lines of somebody who can write to the bucket.
fn crafted(lines: &str) -> Vec<u8> {
    let text = format!(
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 14.23\n-- Dumped by pg_dump version 14.23\n\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n\nCREATE TABLE public.first (i integer);\nCOPY public.first (i) FROM stdin;\n1\n\\.\n\n{lines}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
    );
    gzip(text.as_bytes())
}

/// Restores crafted lines into a new database. Returns how that ended, and which tables exist afterwards.
fn restore_crafted(server: &Postgres, variables: &Variables, lines: &str) -> (Ended, String) {
    const NAME: &str = "vlvt_backup_2026-01-01_03-00-00.sql.gz";
    seaweedfs().put(variables.value("AWS_S3_BUCKET"), NAME, &crafted(lines));
    let (target, url) = empty_database(server);
    let ended = restore(
        variables,
        &[NAME, "--no-verify", "--no-analyze", "--to", &url],
    );
    let tables = server.psql(&target, "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace");
    server.psql("postgres", &format!("DROP DATABASE \"{target}\""));
    (ended, tables)
}

fn crafted_backups_reach_nothing(server: &Postgres) {
    let source = unique("source");
    server.create_database(&source, "");
    let (_, variables) = on_bucket(server, &source);
    let folder = Folder::new();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let shell = format!("\\! touch {}/ran", folder.path().display());
    let set_shell = format!("\\set x `touch {}/ran`", folder.path().display());
    let connect = format!("\\connect '{}'", server.url(&source));

    let (ended, tables) = restore_crafted(server, &variables, "");
    assert_eq!(
        (ended.code(), tables.as_str()),
        (Some(0), "first"),
        "{}",
        ended.text()
    );

    let rolled_back = "rolled back, and the target has the same objects";
    let escape = "ends the transaction of its own restore";
    let read_only = "read-only transaction";
    let restricted = "restricted";
    for (lines, named) in [
        // These are commands for psql in unexpected places.
        (shell.as_str(), restricted),
        (&set_shell, restricted),
        (&format!("SELECT 1\n{shell}\n;"), restricted),
        (&format!("SELECT type'\\';\n{shell}\n--';"), ""),
        (
            &format!("copy public.first (i) from stdin;\n2\n\\.\n{shell}"),
            restricted,
        ),
        (
            &format!("COPY public.first (i) FROM stdin;\r\n2\r\n\\.\r\n{shell}"),
            "",
        ),
        (&format!("SELECT 1 AS a$b$;\n{shell}\n-- $b$"), restricted),
        (
            &format!("PREPARE p (int) AS SELECT $1$;\n{shell}\n-- $1$"),
            "",
        ),
        (&format!("\\unrestrict abc\n{shell}"), restricted),
        (&format!("SELECT 1 \\unrestrict abc\n{shell}"), ""),
        (&format!("SELECT '\0';\n{shell}\n';"), ""),
        (
            &format!("SET client_encoding = 'SJIS';\nSELECT '\u{0}';\n{shell}\n';"),
            "",
        ),
        ("SELECT 'DROP TABLE public.first' \\gexec", restricted),
        ("\\q", restricted),
        // These end the transaction.
        ("COMMIT WORK;", escape),
        ("select 1; commit work;", escape),
        ("COMMIT AND CHAIN;\nCREATE TABLE public.second ();", escape),
        ("END;\nCREATE TABLE public.second ();", escape),
        (
            "COMMIT WORK;\nCREATE TABLE public.second ();\nSELECT 1/0;",
            escape,
        ),
        ("SAVEPOINT s;\nROLLBACK TO s;\nCOMMIT WORK;", escape),
        (
            "DO $x$ BEGIN SET CONSTRAINTS ALL IMMEDIATE; EXCEPTION WHEN OTHERS THEN NULL; END $x$;\nCOMMIT WORK;",
            escape,
        ),
        ("PREPARE TRANSACTION 'x';", ""),
        (
            "ROLLBACK;\nCREATE TABLE public.second ();\nCOMMIT WORK;",
            read_only,
        ),
        (
            "ROLLBACK;\nBEGIN WORK;\nCREATE TABLE public.second ();\nCOMMIT WORK;",
            read_only,
        ),
        ("ROLLBACK;\nCREATE DATABASE second;", ""),
        ("ROLLBACK;", escape),
        ("DROP TABLE pg_temp.psb_wall;\nCOMMIT WORK;", ""),
        // This text ends in the middle of a statement.
        (
            "CREATE TABLE public.second (t text);\nCOPY public.second (t) FROM stdin;\n2",
            "not whole|ends inside|has no end",
        ),
        ("SELECT 'x", ""),
        ("SELECT $x$y", ""),
    ] {
        let (ended, tables) = restore_crafted(server, &variables, lines);
        assert_eq!(ended.code(), Some(1), "{lines}: {}", ended.text());
        assert_eq!(tables, "", "{lines}: {}", ended.text());
        assert!(
            !folder.path().join("ran").exists(),
            "{lines}: {}",
            ended.text()
        );
        let error = one_error(&ended)["error"].as_str().unwrap().to_owned();
        assert!(
            named.split('|').any(|named| error.contains(named)),
            "{lines}: {error}"
        );
        let from_psql = error.contains("psql:") || error.contains("rolled back");
        assert!(
            !from_psql || error.contains(rolled_back),
            "{lines}: {error}"
        );
    }
    // The protection works whatever the settings of the target are.
    for setting in [
        "session_replication_role = replica",
        "standard_conforming_strings = off",
    ] {
        server.psql("postgres", &format!("ALTER ROLE postgres SET {setting}"));
        let (ended, tables) = restore_crafted(server, &variables, "COMMIT WORK;\nSELECT 1/0;");
        server.psql("postgres", "ALTER ROLE postgres RESET ALL");
        assert_eq!(
            (ended.code(), tables.as_str()),
            (Some(1), ""),
            "{}",
            ended.text()
        );
        assert!(ended.text().contains(escape), "{}", ended.text());
    }
    // What psql takes for a literal does no harm, and is restored.
    for lines in [
        format!("COPY public.first (i) FROM stdin; SELECT 'x\n2\n\\.\n{shell}\n';"),
        format!("SET standard_conforming_strings = 'off';\nSELECT '\\';\n{shell}\n';"),
        format!("set standard_conforming_strings to off;\nSELECT '\\';\n{shell}\n';"),
    ] {
        restore_crafted(server, &variables, &lines);
        assert!(!folder.path().join("ran").exists(), "{lines}");
    }
    // In no form does this command make psql connect to the source, so nothing is created there.
    for lines in [
        format!("{connect}\nCREATE TABLE public.second ();"),
        format!("SELECT 1\n{connect}\nCREATE TABLE public.second ();"),
        format!("ROLLBACK;\n{connect}\nCREATE TABLE public.second ();"),
    ] {
        restore_crafted(server, &variables, &lines);
        assert_eq!(relations(server, &source), "0", "{lines}");
    }
    // A text that is written against these measures can undo them with the rights of the target's user. Then the report says
    // what really happened.
    for (lines, tables_then, told) in [
        (
            "ROLLBACK;\nSET default_transaction_read_only TO off;\nCOMMIT WORK;\nBEGIN READ WRITE;\nCREATE TABLE public.second ();\nCOMMIT WORK;\nSELECT 1/0;",
            "second",
            "the target has changed: it had 0 objects and has 1",
        ),
        (
            "ROLLBACK;\nSET default_transaction_read_only TO off;\nCOMMIT WORK;\nBEGIN READ WRITE;\nCREATE TABLE public.second ();\nCOMMIT WORK;",
            "second",
            "the target has changed: it had 0 objects and has 1",
        ),
        (
            "CREATE OR REPLACE FUNCTION pg_temp.psb_wall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';\nCOMMIT WORK;\nSELECT 1/0;",
            "first",
            "IS COMMITTED",
        ),
        (
            "CREATE OR REPLACE FUNCTION pg_temp.psb_wall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';\nCOMMIT WORK;",
            "first",
            "IS COMMITTED",
        ),
        // This text ends its own connection at the point where the service's own commit would lose it.
        (
            "CREATE OR REPLACE FUNCTION pg_temp.psb_wall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';\nCOMMIT WORK;\nSELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());",
            "first",
            "IS COMMITTED",
        ),
        // This text finds the secrets that can be found, and uses them to print what would mean success.
        (
            "DO $x$ BEGIN PERFORM pg_catalog.set_config('x.alarm', (SELECT pg_catalog.substring(prosrc, 'EXCEPTION ''([0-9a-f]+)''') FROM pg_catalog.pg_proc WHERE proname = 'psb_wall'), false); END $x$;\nSELECT pg_catalog.current_setting('x.alarm'), 'committed';\nSELECT 1/0;",
            "",
            rolled_back,
        ),
    ] {
        let (ended, tables) = restore_crafted(server, &variables, lines);
        assert_eq!(ended.code(), Some(1), "{lines}: {}", ended.text());
        assert_eq!(tables, tables_then, "{lines}: {}", ended.text());
        let error = one_error(&ended)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(told), "{lines}: {error}");
    }
}

#[test]
fn crafted_backups_reach_nothing_on_14() {
    crafted_backups_reach_nothing(&Postgres::start(14));
}

#[test]
fn crafted_backups_reach_nothing_on_17() {
    crafted_backups_reach_nothing(&Postgres::start(17));
}

#[test]
fn crafted_backups_reach_nothing_on_18() {
    crafted_backups_reach_nothing(&Postgres::start(18));
}

#[test]
fn a_restore_that_is_stopped_ends_its_session_whatever_that_calls_itself() {
    const NAME: &str = "vlvt_backup_2026-01-01_03-00-00.sql.gz";
    let server = Postgres::start(17);
    server.create_database("source", "");
    let (bucket, variables) = on_bucket(&server, "source");
    let lines = "ROLLBACK;\nSET default_transaction_read_only TO off;\nCOMMIT WORK;\nBEGIN READ WRITE;\nSET application_name = 'x';\nCREATE TABLE public.late ();\nSELECT pg_sleep(600) \\; COMMIT WORK;";
    seaweedfs().put(&bucket, NAME, &crafted(lines));
    let (target, url) = empty_database(&server);
    let service = Service::start(&variables, &["restore", NAME, "--no-verify", "--to", &url]);
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'x' AND query LIKE '%pg_sleep(600)%'";
    server.wait_for("postgres", sleeping, "1");
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = ended.event("restore cancelled")["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("rolled back, and the target has the same objects"),
        "{error}"
    );
    assert_eq!(server.psql("postgres", sleeping), "0");
    assert_eq!(relations(&server, &target), "0");
}

#[test]
fn a_login_trigger_that_writes_is_in_no_restores_way() {
    let (_, _, variables, _) = backed_up();
    let (target, url) = empty_database(postgres());
    postgres().psql(&target, "CREATE TABLE seen (at timestamptz); CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (now()); END'; CREATE EVENT TRIGGER see ON login EXECUTE FUNCTION see()");
    let ended = restore(&variables, &["--to", &url, "--clean", "--yes"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
fn a_dump_in_an_encoding_that_no_database_can_have_is_proven() {
    let (_, _, variables, _) = backed_up();
    let variables = variables
        .with("BACKUP_OPTIONS", "--encoding=SJIS")
        .with("BACKUP_FILE_PREFIX", "sjis_");
    assert_eq!(Service::backup(&variables).code(), Some(0));
    for place in ["embedded".to_owned(), postgres().url("postgres")] {
        let ended = verify(&variables, &["--into", &place]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
    }
}

/// Code that reports as warnings what it could reach. It runs when the table that has it in a check is restored.
fn probing(port: u16, secret: &std::path::Path) -> String {
    let attempts = [
        (
            "own parent",
            "perform pg_catalog.pg_read_file('/proc/1/environ')".to_owned(),
        ),
        (
            "processes",
            "perform pg_catalog.pg_ls_dir('/proc')".to_owned(),
        ),
        (
            "etc",
            "perform pg_catalog.pg_read_file('/etc/hostname')".to_owned(),
        ),
        ("root", "perform pg_catalog.pg_ls_dir('/')".to_owned()),
        ("tmp", "perform pg_catalog.pg_ls_dir('/tmp')".to_owned()),
        (
            "secret file",
            format!("perform pg_catalog.pg_read_file('{}')", secret.display()),
        ),
        (
            "write",
            format!(
                "execute 'copy (select 1) to ''{}''; '",
                secret.with_file_name("written").display()
            ),
        ),
        (
            "program",
            format!(
                "execute 'copy (select 1) to program ''cat > {}'' '",
                secret.with_file_name("written").display()
            ),
        ),
        (
            "environ by program",
            format!(
                "execute 'copy (select 1) to program ''cat /proc/[0-9]*/environ > {}'' '",
                secret.with_file_name("written").display()
            ),
        ),
        (
            "signal",
            "execute 'copy (select 1) to program ''kill -0 1'' '".to_owned(),
        ),
        (
            "network",
            format!(
                "perform public.dblink_connect('host=127.0.0.1 port={port} user=x password=x dbname=x connect_timeout=2')"
            ),
        ),
    ];
    let attempts = attempts.map(|(name, attempt)| {
        format!("begin {attempt}; raise warning 'REACHED {name}'; exception when others then raise warning 'kept from {name}: %', sqlerrm; end;\n")
    });
    format!(
        "CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;\nCREATE FUNCTION public.ok(i int) RETURNS boolean LANGUAGE plpgsql AS $ok$\nBEGIN\n{}RETURN true;\nEND\n$ok$;\n",
        attempts.concat()
    )
}

/// A listener on this machine that closes every connection, and counts them.
struct Callers {
    port: u16,
    count: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
}

impl Callers {
    fn listen() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let callers = Self {
            port: listener.local_addr().unwrap().port(),
            count: Arc::default(),
            over: Arc::default(),
        };
        let (count, over) = (Arc::clone(&callers.count), Arc::clone(&callers.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(_) => std::thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        callers
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_code_in_a_backup_reaches_nothing_of_ours_in_an_embedded_drill() {
    let folder = Folder::new();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, seaweedfs().secret_key).unwrap();
    for path in [folder.path(), &secret] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
    }
    let callers = Callers::listen();
    let database = unique("probing");
    postgres().create_database(&database, "");
    postgres().psql(&database, &probing(callers.port, &secret));
    // The table is made without the check, because this server would run it.
    postgres().psql(&database, "CREATE TABLE c (i int); INSERT INTO c VALUES (1); ALTER TABLE c ADD CHECK (public.ok(i)) NOT VALID");
    postgres().psql(
        &database,
        "UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'c'::regclass",
    );
    let (_, variables) = on_bucket(postgres(), &database);
    let variables = variables
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_SECRET_ACCESS_KEY_FILE", &secret.display().to_string());
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    let ended = verify(&variables, &["--into", "embedded"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let said = ended.text();
    assert!(!said.contains("REACHED"), "{said}");
    for name in [
        "own parent",
        "secret file",
        "write",
        "program",
        "signal",
        "network",
    ] {
        assert!(
            said.contains(&format!("kept from {name}")),
            "{name}: {said}"
        );
    }
    assert_eq!(callers.count(), 0, "it reached the network");
    assert!(!folder.path().join("written").exists());
    // The test can fail: without the kernel's help, the same code reaches some of this.
    let ended = without_landlock(
        &variables.with("VERIFY_UNCONFINED", "true"),
        &["verify", "--into", "embedded"],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(
        ended.text().contains("REACHED secret file"),
        "{}",
        ended.text()
    );
    assert_eq!(callers.count(), 1);
    assert_eq!(
        ended
            .events("drill not confined: the code in the backup can read this service's keys")
            .len(),
        1,
        "{}",
        ended.text()
    );
}

/// How many processes have this word in their command line.
fn processes_with(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines =
        processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    command_lines
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

#[test]
fn what_the_code_in_a_backup_starts_ends_with_the_drill_and_with_the_daemon() {
    let word = unique("outlive");
    let database = unique("starting");
    postgres().create_database(&database, "");
    // The program reads what COPY writes before it ends. Otherwise COPY could fail because nobody reads.
    let start = format!(
        "CREATE FUNCTION public.ok(i int) RETURNS boolean LANGUAGE plpgsql AS $ok$ BEGIN COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; trap \"\" QUIT TERM HUP; (: {word}; while :; do read x </dev/zero; done) >/dev/null 2>&1 &'; RETURN true; END $ok$; CREATE TABLE c (i int); INSERT INTO c VALUES (1); ALTER TABLE c ADD CHECK (public.ok(i)) NOT VALID"
    );
    postgres().psql(&database, &start);
    postgres().psql(
        &database,
        "UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'c'::regclass",
    );
    let (_, variables) = on_bucket(postgres(), &database);
    let temporary = Folder::new();
    let variables = variables.with("TMPDIR", &temporary.path().display().to_string());
    assert_eq!(Service::backup(&variables).code(), Some(0));

    let ended = verify(&variables, &["--into", "embedded"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(processes_with(&word), 0);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);

    let stuck = variables
        .clone()
        .with("VERIFY_SQL", "SELECT pg_sleep(600) IS NULL");
    let service = Service::start(&stuck, &["verify", "--into", "embedded"]);
    service.wait_for("restored, comparing");
    assert_ne!(processes_with(&word), 0, "the test can fail");
    service.signal("KILL");
    service.end(LONG);
    wait_until("the end of all of it", LONG, || {
        (processes_with(&word) == 0).then_some(())
    });
    let ended = verify(&variables, &["--into", "embedded"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// Runs the program in such a way that its kernel seems to have no Landlock.
fn without_landlock(variables: &Variables, arguments: &[&str]) -> Ended {
    // A filter of the kernel answers the system call that creates a set of rules with ENOSYS.
    const SCRIPT: &str = "
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
program = struct.pack('HL', len(code), ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";
    let mut command = Process::command("/usr/bin/python3");
    command.args(["-c", SCRIPT, BINARY]);
    Service::start_by(command, variables, arguments).end(LONG)
}

#[test]
fn a_kernel_that_cannot_confine_gets_no_embedded_drill_unless_the_operator_says_so() {
    let (_, _, variables, _) = backed_up();
    let ended = without_landlock(&variables, &["verify", "--into", "embedded"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert_eq!(error["kind"], "refused");
    assert!(
        error["error"].as_str().unwrap().contains("Landlock"),
        "{error}"
    );
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("VERIFY_UNCONFINED=true"),
        "{error}"
    );

    // `check` says which of the two is the case.
    let drilling = variables
        .clone()
        .with("VERIFY_SCHEDULE", "0 5 * * 0")
        .with("VERIFY_DATABASE_URL", "embedded");
    let line = |ended: &Ended| {
        let lines = ended.lines.iter().find(|line| line.contains(" drills "));
        lines
            .unwrap_or_else(|| panic!("{}", ended.text()))
            .to_owned()
    };
    let ended = without_landlock(&drilling, &["check"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(line(&ended).starts_with('✗'), "{}", ended.text());
    let ended = without_landlock(
        &drilling.clone().with("VERIFY_UNCONFINED", "true"),
        &["check"],
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(line(&ended).starts_with('!'), "{}", ended.text());
    let ended = Service::start(&drilling, &["check"]).end(LONG);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(line(&ended).contains("confines"), "{}", ended.text());

    // Here the drill is on the server that is backed up, as its superuser.
    let by_url = drilling.with(
        "VERIFY_DATABASE_URL",
        variables.value("BACKUP_DATABASE_URL"),
    );
    let ended = Service::start(&by_url, &["check"]).end(LONG);
    assert!(line(&ended).contains("superuser"), "{}", ended.text());
    assert!(
        line(&ended).contains("the server that is backed up"),
        "{}",
        ended.text()
    );
    let daemon = Service::daemon(&by_url);
    daemon.wait_for("check finished");
    let told = daemon.events("check warning");
    assert!(
        told.iter().any(|event| event["check"] == "drills"),
        "{told:?}"
    );
    daemon.terminate();
}

/// Other processes of the same user can read neither the environment nor the memory.
#[test]
fn no_process_of_the_same_user_can_look_into_the_daemon() {
    let (_, _, variables, _) = backed_up();
    let mut command = match Account::unprivileged() {
        Some(account) => {
            let mut options = account.options();
            options.insert(0, "--pdeathsig=KILL".to_owned());
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(options).arg(BINARY);
            command
        }
        None => Process::command(BINARY),
    };
    command.current_dir("/");
    let daemon = Service::start_by(command, &variables, &[]);
    daemon.wait_for("next backup");
    let environment = format!("/proc/{}/environ", daemon.id());
    // Its files in /proc belong to root, whatever user it runs as.
    assert_eq!(std::fs::metadata(&environment).unwrap().uid(), 0);
    if Account::unprivileged().is_none() {
        assert!(std::fs::read(&environment).is_err());
    }
    daemon.terminate();
}

#[test]
fn a_subscription_in_a_backup_keeps_no_scratch_database() {
    let server = Postgres::start(17);
    server.create_database("subscribed", "");
    server.psql("subscribed", "CREATE TABLE t (a int); CREATE SUBSCRIPTION \"odd \"\"name\" CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'kept')");
    let (_, variables) = on_bucket(&server, "subscribed");
    assert_eq!(Service::backup(&variables).code(), Some(0));
    let scratch = "SELECT count(*) FROM pg_database WHERE datname LIKE 'psb_drill_%'";
    for place in [server.url("postgres"), "embedded".to_owned()] {
        let ended = verify(&variables, &["--into", &place]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(
            ended
                .events("could not drop scratch database; the next drill drops it")
                .len(),
            0,
            "{}",
            ended.text()
        );
        assert_eq!(server.psql("postgres", scratch), "0");
    }
    // The same for one that a killed drill left behind.
    server.psql(
        "postgres",
        "CREATE DATABASE psb_drill_00000000000000ff TEMPLATE template0",
    );
    server.psql("psb_drill_00000000000000ff", "CREATE SUBSCRIPTION left_over CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)");
    let ended = verify(&variables, &["--into", &server.url("postgres")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(server.psql("postgres", scratch), "0");
}

/// The most memory that a process has used so far.
fn peak_mib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// Runs the service to its end, and returns how much memory it used.
fn measured(variables: &Variables, arguments: &[&str]) -> (Ended, u64) {
    let mut service = Service::start(variables, arguments);
    let mut peak = 0;
    wait_until("its end", LONG, || {
        peak = peak.max(peak_mib(service.id()));
        (!service.running()).then_some(())
    });
    (service.end(LONG), peak)
}

#[test]
fn an_answer_of_any_length_takes_no_memory() {
    let (_, _, variables, _) = backed_up();
    let huge = variables
        .clone()
        .with("VERIFY_SQL", "SELECT repeat('x', 300000000)");
    let (ended, peak) = measured(&huge, &["verify", "--into", &postgres().url("postgres")]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended)["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("VERIFY_SQL: statement 1 failed"),
        "{error}"
    );
    assert!(peak < 120, "{peak} MiB");

    // This is a notice from the server, which comes before any answer.
    let server = Postgres::start(17);
    server.create_database("talkative", "");
    server.psql("talkative", "CREATE FUNCTION talk() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''%'', repeat(''x'', 300000000); END'; CREATE EVENT TRIGGER talk ON login EXECUTE FUNCTION talk(); ALTER EVENT TRIGGER talk ENABLE ALWAYS");
    let (_, variables) = on_bucket(&server, "talkative");
    let (ended, peak) = measured(&variables, &["check"]);
    assert!(peak < 120, "{peak} MiB: {}", ended.text());
    assert!(ended.text().len() < 100_000);
}
