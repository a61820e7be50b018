//! The archives that the template left behind, made by the real `pg_dump` of 14 to 18, whole and broken.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::MultiGzDecoder;
use pretty_assertions::assert_eq;
use stream::archive::{Archive, Defect, Inventory};

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, Process, wait_until};
use crate::common::unique;

const BLOCK: usize = 512;

fn check(tar: &[u8], step: usize) -> Result<Inventory, Vec<String>> {
    let mut archive = Archive::default();
    tar.chunks(step).for_each(|piece| archive.read(piece));
    archive
        .finish()
        .map_err(|defects| defects.iter().map(Defect::to_string).collect())
}

fn defects(tar: &[u8]) -> Vec<String> {
    check(tar, 64 * 1024).expect_err("it is broken")
}

/// Runs what the template runs, in a shell without `pipefail`. Returns whether the shell reported success, and the object.
fn template(server: &Postgres, major: u16, database: &str, options: &str) -> (bool, Vec<u8>) {
    let folder = Folder::new();
    let mut command = template_command(&server.url(database), major, folder.path(), options);
    let success = command.output().expect("start sh").status.success();
    (success, std::fs::read(folder.path().join("dump")).unwrap())
}

fn template_command(url: &str, major: u16, folder: &Path, options: &str) -> Command {
    let mut command = Process::command("/bin/sh");
    let line = format!("pg_dump --dbname='{url}' --format=tar {options} | gzip > dump");
    command.args(["-c", &line]).current_dir(folder).env_clear();
    let path = format!("{}:/usr/bin:/bin", Postgres::bin(major).display());
    command.env("PATH", path);
    command
}

fn gunzip(object: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(object)
        .read_to_end(&mut tar)
        .expect("a neat gzip");
    tar
}

fn dump(server: &Postgres, major: u16, database: &str, options: &str) -> Vec<u8> {
    let (success, object) = template(server, major, database, options);
    assert!(success);
    gunzip(&object)
}

/// The members of a tar: name, where the header begins, size.
fn members(tar: &[u8]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while tar[at] != 0 {
        let text = |from: usize, to: usize| {
            let field = &tar[at + from..at + to];
            let end = field.iter().position(|byte| matches!(byte, 0 | b' '));
            String::from_utf8(field[..end.unwrap_or(field.len())].to_vec()).unwrap()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
        found.push((text(0, 100), at, size));
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    found
}

fn small(server: &Postgres) {
    server.create_database("small", "");
    server.psql(
        "small",
        r#"CREATE TABLE first (a int, b text); INSERT INTO first VALUES (1, '\.'), (2, E'x\ny'), (3, NULL);
        CREATE SCHEMA "odd one"; CREATE TABLE "odd one"."A.b" (a int); INSERT INTO "odd one"."A.b" VALUES (7);
        CREATE TABLE nothing (a int);
        SELECT lo_from_bytea(70001, 'one'); SELECT lo_from_bytea(70002, '');"#,
    );
}

/// The rows of every table, as the server counts them.
fn counted(server: &Postgres, database: &str) -> Vec<(String, u64)> {
    let query = "SELECT format('SELECT json_build_array(%L, count(*)) FROM ONLY %I.%I', n.nspname || '.' || c.relname, n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        \\gexec";
    let mut counted: Vec<_> = server
        .psql(database, query)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    counted.sort();
    counted
}

fn tables(contents: &Inventory) -> Vec<(String, u64)> {
    let mut tables: Vec<_> = contents
        .tables
        .iter()
        .map(|table| (table.to_string(), table.rows))
        .collect();
    tables.sort();
    tables
}

fn of_major(major: u16) {
    let server = Postgres::start(major);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    server.create_database("awkward", "");
    server.psql_file("awkward", data.join("awkward.sql"));
    let mut expected = counted(&server, "awkward");
    // The table of an extension is only dumped if the extension asks for it.
    let objects = server.psql("awkward", "SELECT count(*) FROM pg_largeobject_metadata");
    for options in [
        "",
        "--inserts",
        "--column-inserts --no-owner --clean --if-exists",
        "--rows-per-insert=7",
        "--data-only",
    ] {
        let tar = dump(&server, major, "awkward", options);
        let contents =
            check(&tar, 64 * 1024).unwrap_or_else(|defects| panic!("{options}: {defects:#?}"));
        let dumped = tables(&contents);
        expected.retain(|table| dumped.contains(table) || !table.0.contains("skipped"));
        assert_eq!(dumped, expected, "{options}");
        assert_eq!(contents.large_objects.to_string(), objects);
        assert_eq!(contents.database.as_deref(), Some("awkward"));
        assert!(
            contents
                .dumped_by
                .as_deref()
                .unwrap()
                .starts_with(&major.to_string())
        );
        assert!(
            contents
                .server_version
                .as_deref()
                .unwrap()
                .starts_with(&major.to_string())
        );
        assert_eq!(contents.bytes, u64::try_from(tar.len()).unwrap());
    }

    let tar = dump(&server, major, "awkward", "--schema-only --no-blobs");
    assert_eq!(check(&tar, 4096).unwrap().tables, []);
    let tar = dump(&server, major, "awkward", "--format=custom");
    assert_eq!(
        defects(&tar),
        ["not a tar: it is pg_dump's custom format, which pg_restore reads"]
    );
    let tar = dump(&server, major, "awkward", "--format=plain");
    assert_eq!(
        defects(&tar),
        ["not a tar: it is plain SQL, which psql reads"]
    );

    small(&server);
    let tar = dump(&server, major, "small", "");
    let whole = check(&tar, 1).unwrap();
    assert_eq!(whole.rows, 4);
    assert_eq!(whole.large_objects, 2);
    for step in [3, 511, 512, 513, 4096] {
        assert_eq!(check(&tar, step).as_ref(), Ok(&whole));
    }
    // For one archive, every byte is tried. For the others, some bytes and the borders of every block.
    let stride = if major == 16 { 1 } else { 17 };
    every_cut_is_seen(&tar, stride);
    every_flip_that_matters_is_seen(&tar, &whole, stride);
}

fn every_cut_is_seen(tar: &[u8], stride: usize) {
    let members = members(tar);
    for end in (0..tar.len()).filter(|end| end % stride == 0 || (end + 1) % BLOCK < 3) {
        let found = defects(&tar[..end]);
        let inside = members
            .iter()
            .rev()
            .find(|(_, at, _)| *at <= end)
            .filter(|(_, at, size)| (BLOCK..BLOCK + size).contains(&(end - at)));
        let expected = match inside {
            _ if end == 0 => "empty: ".to_owned(),
            Some((name, ..)) => format!("cut off inside {name}"),
            None if end + 2 * BLOCK >= tar.len() => {
                "cut off in the blocks of zeros at the end".to_owned()
            }
            None if members.iter().any(|(_, at, _)| *at == end) => "ends after ".to_owned(),
            None => "cut off after ".to_owned(),
        };
        assert!(
            found[0].starts_with(&expected),
            "cut at {end}: {expected}: {found:?}"
        );
        let cut_in_end = end + 2 * BLOCK >= tar.len();
        assert!(!cut_in_end || found.len() == 1, "cut at {end}: {found:?}");
        // Tables whose member was not begun are named.
        for (name, at, _) in members.iter().filter(|(name, at, _)| {
            name.ends_with(".dat") && !name.starts_with("blob") && *at > end
        }) {
            let named = found
                .iter()
                .any(|defect| defect.contains(&format!("is missing ({name})")));
            assert!(
                named || members[1].1 > end,
                "cut at {end}: {name} at {at}: {found:?}"
            );
        }
    }
}

fn every_flip_that_matters_is_seen(tar: &[u8], whole: &Inventory, stride: usize) {
    let members = members(tar);
    let mut tar = tar.to_vec();
    let mut flip = |at: usize, must: bool, what: &str| {
        if at % stride > 4 {
            return;
        }
        tar[at] ^= 1;
        let outcome = check(&tar, 64 * 1024);
        tar[at] ^= 1;
        if let Ok(contents) = outcome {
            assert!(!must, "{what}: byte {at} flipped, and not seen");
            // The only possible difference is a name.
            assert_eq!(
                (contents.rows, contents.tables.len(), contents.large_objects),
                (whole.rows, whole.tables.len(), whole.large_objects),
                "{what}: byte {at}"
            );
        }
    };
    for (name, at, size) in members {
        let data = at + BLOCK;
        (at..data).for_each(|at| flip(at, true, &format!("header of {name}")));
        let end = data + size;
        (end..end.next_multiple_of(BLOCK))
            .for_each(|at| flip(at, true, &format!("padding of {name}")));
        if name == "toc.dat" {
            (data..end).for_each(|at| flip(at, at < data + 11, &name));
        } else if name.starts_with("blobs") {
            (data..end).for_each(|at| flip(at, true, &name));
        } else if !name.starts_with("blob_") && name.ends_with(".dat") {
            (end - 5..end).for_each(|at| flip(at, true, &format!("end of {name}")));
        } else if name == "restore.sql" {
            (end - 40..end - 1).for_each(|at| flip(at, true, &format!("end of {name}")));
        }
    }
}

#[test]
fn archives_of_pg_dump_14() {
    of_major(14);
}

#[test]
fn archives_of_pg_dump_15() {
    of_major(15);
}

#[test]
fn archives_of_pg_dump_16() {
    of_major(16);
}

#[test]
fn archives_of_pg_dump_17() {
    of_major(17);
}

#[test]
fn archives_of_pg_dump_18() {
    of_major(18);
}

#[test]
fn members_that_are_gone_or_foreign_are_named() {
    let server = Postgres::start(16);
    small(&server);
    let tar = dump(&server, 16, "small", "");
    let members = members(&tar);
    let without = |gone: &str| {
        let (_, at, size) = members.iter().find(|(name, ..)| name == gone).unwrap();
        let mut tar = tar.clone();
        tar.drain(*at..at + BLOCK + size.next_multiple_of(BLOCK));
        defects(&tar)
    };
    let file = |table: &str| {
        let mut archive = Archive::default();
        archive.read(&tar[..members[1].1]);
        let missing = archive.finish().unwrap_err();
        let line = missing
            .iter()
            .map(Defect::to_string)
            .find(|line| line.contains(table))
            .unwrap();
        line.split_once('(')
            .unwrap()
            .1
            .trim_end_matches(')')
            .to_owned()
    };
    let first = file("public.first");
    assert_eq!(
        without(&first),
        [format!(
            "the data of table public.first is missing ({first})"
        )]
    );
    let odd = file("odd one.A.b");
    assert_eq!(
        without(&odd),
        [format!("the data of table odd one.A.b is missing ({odd})")]
    );
    assert_eq!(
        without("blob_70001.dat"),
        ["blobs.toc names 2 large objects, and 1 are there"]
    );
    assert_eq!(
        without("blobs.toc"),
        [
            "2 large objects are there without the list of them",
            "the list of large objects is missing (blobs.toc)"
        ]
    );
    assert_eq!(
        without("restore.sql"),
        ["restore.sql is missing, which pg_dump writes last"]
    );
    assert_eq!(
        without("toc.dat"),
        [format!(
            "not a dump of pg_dump: the first member of the tar is {}, not toc.dat",
            members[1].0
        )]
    );

    // Every whole table of a broken archive is still counted.
    let mut archive = Archive::default();
    let (_, at, size) = members.iter().find(|(name, ..)| *name == first).unwrap();
    archive.read(&tar[..at + BLOCK + size]);
    assert!(
        archive
            .contents()
            .tables
            .iter()
            .any(|table| table.to_string() == "public.first" && table.rows == 3)
    );

    let mut more = tar.clone();
    more.extend([0; 9 * BLOCK]);
    assert!(
        check(&more, 4096).is_ok(),
        "tar itself fills up to 10 KiB with zeros"
    );
    more.push(1);
    assert_eq!(
        defects(&more),
        ["more follows after the end of the archive"]
    );
}

#[test]
fn a_dump_whose_session_was_ended_is_found_out() {
    let server = Postgres::start(16);
    server.create_database("shop", "");
    // The last row is in the TOAST table. Everything else of `users` is sent before it is read.
    server.psql(
        "shop",
        "CREATE TABLE early (a int); INSERT INTO early SELECT generate_series(1, 1000);
        CREATE TABLE users (a int, b text); ALTER TABLE users ALTER b SET STORAGE EXTERNAL;
        INSERT INTO users SELECT g, 'short' FROM generate_series(1, 50000) g;
        INSERT INTO users VALUES (0, repeat('x', 100000));
        CREATE TABLE zebra (a int)",
    );
    let toast = server.psql(
        "shop",
        "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'users'",
    );
    let whole = check(&dump(&server, 16, "shop", ""), 4096).unwrap();
    assert_eq!(whole.rows, 51_001);

    // A transaction that rebuilds the index of the TOAST table blocks the reader of that row until it ends.
    let mut holder = Process::spawn({
        let mut command = Process::command(Postgres::bin(16).join("psql"));
        let script = format!("BEGIN; REINDEX TABLE {toast}; SELECT pg_sleep(600)");
        command.args(["-X", "-d", &server.url("shop"), "-c", &script]);
        command
    });
    let holds = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation >= 16384";
    wait_until("the lock", LIMIT, || {
        (server.psql("shop", holds) != "0").then_some(())
    });
    let folder = Folder::new();
    let mut template = Process::spawn(template_command(&server.url("shop"), 16, folder.path(), ""));
    server.wait_for(
        "shop",
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY public.users%'",
        "1",
    );
    server.psql("shop", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY public.users%' AND pid <> pg_backend_pid()");
    assert!(
        template.wait(LIMIT).success(),
        "the template takes it for a backup"
    );
    assert!(
        template
            .log()
            .iter()
            .any(|line| line.contains("terminating connection")),
        "{:?}",
        template.log()
    );
    holder.signal("INT");
    holder.wait(LIMIT);

    let object = std::fs::read(folder.path().join("dump")).unwrap();
    let found = defects(&gunzip(&object));
    let number = |line: &str| {
        line.split_once('(')
            .unwrap()
            .1
            .trim_end_matches(')')
            .to_owned()
    };
    let early = found[0].split_whitespace().nth(2).unwrap();
    assert_eq!(
        found,
        [
            format!(
                "ends after {early} (public.early): pg_dump was ended before it wrote the rest"
            ),
            format!(
                "the data of table public.users is missing ({})",
                number(&found[1])
            ),
            format!(
                "the data of table public.zebra is missing ({})",
                number(&found[2])
            ),
        ]
    );
}

#[test]
fn a_dump_that_never_connected_is_empty() {
    let server = Postgres::start(16);
    let (success, object) = template(&server, 16, &unique("no-such-database"), "2>/dev/null");
    assert!(success, "the template takes it for a backup");
    assert_eq!(object.len(), 20);
    assert_eq!(defects(&gunzip(&object)), ["empty: pg_dump wrote nothing"]);
}
