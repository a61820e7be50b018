//! Every kind of damage, with every command that reads a backup: it is always reported, and never restored in part.

use std::thread;
use std::time::Duration;

use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs};
use crate::restore::{
    backed_up, dump, empty_database, gunzip, gzip, on_bucket, one_error, relations, restore, source,
};

const LONG: Duration = Duration::from_secs(300);

fn verify(variables: &Variables, arguments: &[&str]) -> Ended {
    let arguments = [&["verify"], arguments].concat();
    Service::start(variables, &arguments).end(LONG)
}

/// A text that is cut off `more` bytes after the beginning of this piece.
fn cut_in(text: &[u8], piece: &[u8], more: usize) -> Vec<u8> {
    let at = memchr::memmem::find(text, piece).unwrap();
    text[..at + more].to_vec()
}

/// Damaged forms of a backup, and what must be reported about each.
fn damages(object: &[u8]) -> Vec<(String, Vec<u8>, &'static str)> {
    const COMPRESSED: &str = "compressed data";
    const NO_END: &str = "has no end";
    const NO_DUMP: &str = "not of a plain dump";
    let text = gunzip(object);
    let mut damages = Vec::new();
    let length = object.len();
    for end in [
        21,
        30,
        length / 4,
        length / 2,
        length - 9,
        length - 8,
        length - 4,
        length - 1,
    ] {
        damages.push((
            format!("cut after {end} of {length} bytes"),
            object[..end].to_vec(),
            COMPRESSED,
        ));
    }
    for at in [0, 1, 2, 3, length / 3, length / 2, length - 8, length - 1] {
        let mut flipped = object.to_vec();
        flipped[at] ^= 0x10;
        damages.push((format!("a bit flipped in byte {at}"), flipped, COMPRESSED));
    }
    let cuts: [(&str, Vec<u8>); 7] = [
        ("in a row", cut_in(&text, b"\t2000\t", 3)),
        ("between two rows", cut_in(&text, b"\n3000\tuser", 1)),
        ("before the end of the rows", cut_in(&text, b"\\.\n", 0)),
        ("after the rows", cut_in(&text, b"\\.\n", 3)),
        ("in a statement", cut_in(&text, b"ADD CONSTRAINT", 5)),
        (
            "before the end marker",
            cut_in(&text, b"-- PostgreSQL database dump complete", 0),
        ),
        (
            "in the end marker",
            cut_in(&text, b"-- PostgreSQL database dump complete", 30),
        ),
    ];
    for (place, text) in cuts {
        damages.push((format!("cut {place}, in a neat gzip"), gzip(&text), NO_END));
    }
    let unrestrict = cut_in(&text, b"\\unrestrict ", 0);
    damages.push((
        "cut before \\unrestrict".to_owned(),
        gzip(&unrestrict),
        NO_END,
    ));
    let marker_in_the_middle = [
        &cut_in(&text, b"\n3000\tuser", 1)[..],
        b"--\n-- PostgreSQL database dump complete\n--\n\n3001\tx\n",
    ]
    .concat();
    damages.push((
        "the end marker in the middle only".to_owned(),
        gzip(&marker_in_the_middle),
        NO_END,
    ));
    damages.push((
        "a foreign gzip".to_owned(),
        gzip(b"hello, this is no dump at all"),
        NO_DUMP,
    ));
    damages.push(("a gzip of nothing".to_owned(), gzip(b""), NO_DUMP));
    damages.push(("no gzip".to_owned(), text[..2000].to_vec(), COMPRESSED));
    damages.push((
        "something behind the end".to_owned(),
        [object, b"tail of another"].concat(),
        COMPRESSED,
    ));
    damages
}

#[test]
fn no_damage_is_silent_and_none_is_restored() {
    let (_, bucket, variables, name) = backed_up();
    let whole = seaweedfs().get(&bucket, &name);
    let (target, url) = empty_database(postgres());
    for (damage, object, said) in damages(&whole) {
        seaweedfs().put(&bucket, &name, &object);
        let commands = [
            &["verify"][..],
            &["verify", "--all"],
            &["verify", "--into", &url],
            &["restore", "--to", &url],
            &["restore", "--to", &url, "--no-verify"],
        ];
        thread::scope(|scope| {
            for arguments in commands {
                let (damage, variables, target) = (&damage, &variables, &target);
                scope.spawn(move || {
                    let ended = Service::start(variables, arguments).end(LONG);
                    let context = format!("{damage}, {arguments:?}: {}", ended.text());
                    assert_eq!(ended.code(), Some(1), "{context}");
                    let error = one_error(&ended);
                    assert!(error["error"].as_str().unwrap().contains(said), "{context}");
                    assert_eq!(error["kind"], "damaged", "{context}");
                    assert_eq!(relations(postgres(), target), "0", "{context}");
                });
            }
        });
    }
    // Now the object under this name is whole again.
    seaweedfs().put(&bucket, &name, &whole);
    assert_eq!(verify(&variables, &[]).code(), Some(0));
}

#[test]
fn an_object_too_small_to_be_a_backup_is_seen_and_never_the_newest() {
    let (_, bucket, variables, name) = backed_up();
    let later = "vlvt_backup_2999-01-01_00-00-00.sql.gz";
    let (target, url) = empty_database(postgres());
    for (object, said) in [
        (&b""[..], "the object is empty"),
        (b"short", "compressed data"),
    ] {
        seaweedfs().put(&bucket, later, object);
        for arguments in [
            &["verify", later][..],
            &["verify", "--all"],
            &["restore", later, "--to", &url],
            &["restore", later, "--to", &url, "--no-verify"],
            &["verify", later, "--into", &url],
        ] {
            let ended = Service::start(&variables, arguments).end(LONG);
            assert_eq!(ended.code(), Some(1), "{arguments:?}: {}", ended.text());
            let error = one_error(&ended);
            assert_eq!(error["name"], later, "{arguments:?}");
            assert_eq!(error["kind"], "damaged", "{arguments:?}");
            assert!(error["error"].as_str().unwrap().contains(said), "{error}");
            assert_eq!(relations(postgres(), &target), "0");
        }
        assert_eq!(verify(&variables, &[]).event("backup whole")["name"], name);
    }
}

#[test]
fn a_whole_backup_is_told_table_by_table() {
    let (_, _, variables, name) = backed_up();
    let ended = verify(&variables, &[&name]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let whole = ended.event("backup whole");
    assert_eq!(whole["rows"], 7000);
    assert_eq!(whole["tables"], 2);
    assert_eq!(
        whole["server_version"].as_str().unwrap().split('.').next(),
        Some("17")
    );
    assert_eq!(ended.events("rows in the backup").len(), 2);
    // A gzip file can have many members: a backup that is split into more of them is the same backup.
}

#[test]
fn members_of_a_gzip_file_are_read_to_the_last() {
    let (_, bucket, variables, name) = backed_up();
    let text = gunzip(&seaweedfs().get(&bucket, &name));
    let members: Vec<u8> = text.chunks(10_000).flat_map(gzip).collect();
    seaweedfs().put(&bucket, &name, &members);
    assert_eq!(verify(&variables, &[]).event("backup whole")["rows"], 7000);
    let cut: Vec<u8> = text.chunks(10_000).take(20).flat_map(gzip).collect();
    seaweedfs().put(&bucket, &name, &cut);
    let ended = verify(&variables, &[]);
    assert!(
        one_error(&ended)["error"]
            .as_str()
            .unwrap()
            .contains("has no end"),
        "{}",
        ended.text()
    );
}

#[test]
fn all_backups_are_verified_and_the_bad_ones_named() {
    let (_, bucket, variables, name) = backed_up();
    let whole = seaweedfs().get(&bucket, &name);
    let older = "vlvt_backup_2026-01-01_03-00-00.sql.gz";
    seaweedfs().put(&bucket, older, &whole[..whole.len() / 2]);
    let ended = verify(&variables, &["--all"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(one_error(&ended)["name"], older);
    assert_eq!(ended.event("backup whole")["name"], name);
    let summary = ended.event("verify finished");
    assert_eq!(
        (summary["checked"].as_u64(), summary["damaged"].as_u64()),
        (Some(2), Some(1))
    );
    seaweedfs().delete(&bucket, older);
    assert_eq!(verify(&variables, &["--all"]).code(), Some(0));
}

#[test]
fn the_templates_archives_are_read_too_and_the_dead_ones_named() {
    let (database, bucket, variables, _) = backed_up();
    let output = std::process::Command::new(Postgres::bin(17).join("pg_dump"))
        .args(["--format=tar", &postgres().url(&database)])
        .output()
        .unwrap();
    assert!(output.status.success());
    let tar = output.stdout;
    let whole = "vlvt_backup_-2026-01-20T05-00-00-123Z.tar.gz";
    let half = "vlvt_backup_-2026-01-21T05-00-00-000Z.tar.gz";
    let torn = "vlvt_backup_-2026-01-22T05-00-00-000Z.tar.gz";
    seaweedfs().put(&bucket, whole, &gzip(&tar));
    let in_users = memchr::memmem::find(&tar, b"\n3000\tuser").unwrap();
    seaweedfs().put(&bucket, half, &gzip(&tar[..in_users]));
    let object = gzip(&tar);
    seaweedfs().put(&bucket, torn, &object[..object.len() / 2]);
    let ended = verify(&variables, &["--all"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let good = ended.event("archive of the old template whole");
    assert_eq!(
        (good["name"].as_str(), good["rows"].as_u64()),
        (Some(whole), Some(7000))
    );
    let said = |name: &str| {
        let lines = ended.events("backup not good");
        let lines = lines.iter().filter(|line| line["name"] == name);
        lines
            .map(|line| line["error"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert!(
        said(half).contains("cut off inside") && said(half).contains("public.users"),
        "{}",
        said(half)
    );
    assert!(
        said(torn).contains("cut off in the middle of its compressed data"),
        "{}",
        said(torn)
    );
    let summary = ended.event("verify finished");
    assert_eq!(
        (summary["checked"].as_u64(), summary["damaged"].as_u64()),
        (Some(4), Some(2))
    );
    // A single backup is verified by its name.
    assert_eq!(verify(&variables, &[whole]).code(), Some(0));
    assert_eq!(verify(&variables, &[half]).code(), Some(1));
}

/// The scratch databases that drills left on a server.
fn scratch_databases(server: &Postgres) -> String {
    server.psql(
        "postgres",
        "SELECT count(*) FROM pg_database WHERE datname LIKE 'psb_drill_%'",
    )
}

/// How many folders of throwaway servers are in a temporary folder.
fn drill_folders(temporary: &std::path::Path) -> usize {
    std::fs::read_dir(temporary)
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("psb-drill-")
        })
        .count()
}

#[test]
fn a_drill_proves_the_awkward_database_on_a_server_and_on_a_throwaway_one() {
    let server = Postgres::start(17);
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    server.create_database("awkward", "");
    server.psql_file("awkward", data.join("awkward.sql"));
    server.create_database(
        "latin1",
        "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    server.psql_file("latin1", data.join("latin1.sql"));
    let temporary = crate::common::process::Folder::new();
    for database in ["awkward", "latin1"] {
        let (_, variables) = on_bucket(&server, database);
        let variables = variables.with("TMPDIR", &temporary.path().display().to_string());
        assert_eq!(Service::backup(&variables).code(), Some(0));
        for place in [server.url("postgres"), "embedded".to_owned()] {
            let ended = verify(&variables, &["--into", &place]);
            assert_eq!(ended.code(), Some(0), "{}", ended.text());
            let proven = ended.event("backup proven");
            assert_eq!(proven["tables_compared"], proven["tables"], "{proven}");
        }
    }
    assert_eq!(scratch_databases(&server), "0");
    assert_eq!(drill_folders(temporary.path()), 0);
}

/// The variables for a bucket with a backup whose text was changed.
fn doctored(change: impl Fn(&str) -> String) -> Variables {
    let (_, bucket, variables, name) = backed_up();
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, &name))).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed);
    seaweedfs().put(&bucket, &name, &gzip(changed.as_bytes()));
    variables
}

#[test]
fn a_drill_notices_what_a_restore_alone_does_not() {
    let server = Postgres::start(17);
    let url = server.url("postgres");
    let before_the_end = |text: &str, sql: &str| {
        let end = "--\n-- PostgreSQL database dump complete";
        text.replacen(end, &format!("{sql}\n\n{end}"), 1)
    };
    let swallowing = "CREATE FUNCTION public.none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 7 THEN RETURN NULL; END IF; RETURN NEW; END';\nCREATE TRIGGER none BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.none();\n\nCOPY public.users ";
    let cases: [(Variables, &str); 3] = [
        (
            doctored(|text| {
                text.replacen("COPY public.users ", swallowing, 1).replace("ADD CONSTRAINT notes_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id)", "ADD CONSTRAINT c CHECK (id > 0)")
            }),
            "public.users holds 4999 rows, 5000 were dumped",
        ),
        (
            doctored(|text| {
                before_the_end(
                    text,
                    "UPDATE pg_catalog.pg_constraint SET convalidated = false WHERE conname = 'notes_user_id_fkey';",
                )
            }),
            "constraints that are not valid: public.notes.notes_user_id_fkey",
        ),
        (
            doctored(|text| {
                before_the_end(
                    text,
                    "UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = 'public.users_pkey'::regclass;",
                )
            }),
            "indexes that are not valid: public.users_pkey",
        ),
    ];
    for (variables, said) in cases {
        let (_, target) = empty_database(postgres());
        assert_eq!(restore(&variables, &["--to", &target]).code(), Some(0));
        let ended = verify(&variables, &["--into", &url]);
        assert_eq!(ended.code(), Some(1), "{said}: {}", ended.text());
        let error = one_error(&ended);
        assert_eq!(error["kind"], "unproven");
        assert!(error["error"].as_str().unwrap().contains(said), "{error}");
        assert_eq!(scratch_databases(&server), "0");
    }
    // A constraint that was not validated in the source either is not a fault of the backup.
    let (database, _) = source();
    postgres().psql(
        &database,
        "ALTER TABLE users ADD CONSTRAINT old CHECK (id > 10) NOT VALID",
    );
    let (_, variables) = on_bucket(postgres(), &database);
    assert_eq!(Service::backup(&variables).code(), Some(0));
    let ended = verify(&variables, &["--into", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
fn the_users_own_check_decides_too() {
    let (_, _, variables, _) = backed_up();
    let server = Postgres::start(17);
    let url = server.url("postgres");
    for (sql, outcome) in [
        (
            "SELECT count(*) = 5000 FROM users; SELECT max(id) = 5000 FROM users",
            Ok(2),
        ),
        (
            "SELECT true; SELECT count(*) > 5000 FROM users;",
            Err("statement 2 returned \"f\""),
        ),
        (
            "SELECT true FROM users WHERE false",
            Err("statement 1 returned \"\""),
        ),
        (
            "SELECT count(*) FROM never_there",
            Err("statement 1 failed"),
        ),
    ] {
        let ended = verify(
            &variables.clone().with("VERIFY_SQL", sql),
            &["--into", &url],
        );
        match outcome {
            Ok(passed) => assert_eq!(
                ended.event("backup proven")["checks_passed"],
                passed,
                "{sql}"
            ),
            Err(said) => {
                assert_eq!(ended.code(), Some(1), "{sql}");
                let error = one_error(&ended);
                assert!(
                    error["error"].as_str().unwrap().contains(said),
                    "{sql}: {error}"
                );
            }
        }
        assert_eq!(scratch_databases(&server), "0");
    }
}

#[test]
fn what_a_killed_drill_leaves_is_gone_after_the_next() {
    let (_, _, variables, _) = backed_up();
    let server = Postgres::start(17);
    let temporary = crate::common::process::Folder::new();
    // The user's check in this drill does not end before the drill is killed.
    let variables = variables.with("TMPDIR", &temporary.path().display().to_string());
    let stuck = variables
        .clone()
        .with("VERIFY_SQL", "SELECT pg_sleep(600) IS NULL");
    for place in [server.url("postgres"), "embedded".to_owned()] {
        let service = Service::start(&stuck, &["verify", "--into", &place]);
        service.wait_for("restored, comparing");
        service.signal("KILL");
        service.end(LONG);
        let left = scratch_databases(&server) == "1" || drill_folders(temporary.path()) == 1;
        assert!(left, "{place}");
        if place != "embedded" {
            // The server ends the sessions of the dead drill when it notices.
            server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'psb_drill_%'");
            server.wait_for(
                "postgres",
                "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'psb_drill_%'",
                "0",
            );
        }
        let ended = verify(&variables, &["--into", &place]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_eq!(scratch_databases(&server), "0");
        assert_eq!(drill_folders(temporary.path()), 0);
    }
}

#[test]
fn a_drill_that_is_told_to_stop_drops_its_database() {
    let (_, _, variables, _) = backed_up();
    let server = Postgres::start(17);
    let stuck = variables.with("VERIFY_SQL", "SELECT pg_sleep(600) IS NULL");
    let service = Service::start(&stuck, &["verify", "--into", &server.url("postgres")]);
    service.wait_for("restored, comparing");
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(ended.events("drill cancelled").len(), 1, "{}", ended.text());
    assert_eq!(scratch_databases(&server), "0");
}

#[test]
fn an_embedded_drill_says_what_it_lacks() {
    let (_, _, variables, _) = backed_up();
    // These clients have no server in their folder: they are links to the programs, in a folder of their own.
    let folder = crate::common::process::Folder::new();
    for program in ["pg_dump", "psql"] {
        std::os::unix::fs::symlink(Postgres::bin(17).join(program), folder.path().join(program))
            .unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let ended = verify(
        &variables.clone().with("PATH", &path),
        &["--into", "embedded"],
    );
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert!(
        error["hint"].as_str().unwrap().contains("with-server"),
        "{error}"
    );
    let ended = verify(
        &variables.with("TMPDIR", "/nowhere"),
        &["--into", "embedded"],
    );
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert!(
        one_error(&ended)["hint"]
            .as_str()
            .unwrap()
            .contains("temporary folder")
    );
}

#[test]
fn the_daemon_drills_on_schedule_and_health_tells() {
    let (_, bucket, variables, name) = backed_up();
    let server = Postgres::start(17);
    let drilling = variables
        .with("VERIFY_SCHEDULE", "* * * * * *")
        .with("VERIFY_DATABASE_URL", &server.url("postgres"));
    let service = Service::daemon(&drilling);
    let proven = service.wait_for("backup proven");
    assert_eq!(proven["name"], name);
    let (status, health) = service.wait_for_health("ok");
    assert_eq!(status, 200);
    assert_eq!(health["last_drill"]["outcome"], "proven");
    assert_eq!(health["last_drill"]["name"], name);
    // From now on the newest backup is damaged.
    let whole = seaweedfs().get(&bucket, &name);
    seaweedfs().put(&bucket, &name, &whole[..whole.len() / 2]);
    // A drill that was reading it at that moment reports that it was replaced.
    let (status, health) = wait_until("the damage", LIMIT, || {
        Some(service.health()).filter(|(_, health)| health["last_drill"]["kind"] == "damaged")
    });
    assert_eq!((status, &health["status"]), (503, &"unproven".into()));
    assert_eq!(service.events("backup unproven")[0]["level"], "ERROR");
    // The log of a daemon must not say that a restore was started, because that would alarm its readers.
    assert_eq!(service.events("restore started").len(), 0);
    // Now it is good again.
    seaweedfs().put(&bucket, &name, &whole);
    service.wait_for_health("ok");
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(scratch_databases(&server), "0");
}

#[test]
fn neither_a_drill_nor_a_backup_waits_for_the_other() {
    let (_, _, variables, _) = backed_up();
    let server = Postgres::start(17);
    let both = variables
        .with("BACKUP_CRON_SCHEDULE", "* * * * * *")
        .with("VERIFY_SCHEDULE", "* * * * * *")
        .with("VERIFY_DATABASE_URL", &server.url("postgres"))
        .with("VERIFY_SQL", "SELECT pg_sleep(600) IS NULL");
    let service = Service::daemon(&both);
    // While the drill is in its endless check, backups are still made.
    service.wait_for("restored, comparing");
    let made = service.events("backup finished").len();
    service.wait_for_nth("backup finished", made + 2);
    assert_eq!(
        service.events("backup unproven").len() + service.events("backup proven").len(),
        0
    );
    let ended = service.terminate();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.within_five_seconds();
    assert_eq!(scratch_databases(&server), "0");
}

#[test]
fn a_drill_has_a_time_limit() {
    let (_, _, variables, _) = backed_up();
    let server = Postgres::start(17);
    let stuck = variables
        .with("VERIFY_SQL", "SELECT pg_sleep(600) IS NULL")
        .with("BACKUP_TIMEOUT", "5s");
    let ended = verify(&stuck, &["--into", &server.url("postgres")]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(one_error(&ended)["kind"], "deadline");
    assert_eq!(scratch_databases(&server), "0");
}

/// The strict server with a real backup, the variables, and the name of the backup.
fn on_strict_store() -> (R2, Variables, String) {
    let r2 = R2::start();
    let variables = Variables::on_r2(&r2, &postgres().url("postgres"));
    assert_eq!(Service::backup(&variables).code(), Some(0));
    let name = r2.keys().remove(0);
    (r2, variables, name)
}

#[test]
fn a_backup_that_could_not_be_read_is_not_called_damaged() {
    let (r2, variables, name) = on_strict_store();
    for (operation, action, kind) in [
        (
            Operation::GetObject,
            Action::Answer(403, "AccessDenied"),
            "store_denied",
        ),
        (
            Operation::HeadObject,
            Action::Answer(403, "AccessDenied"),
            "store_denied",
        ),
        (
            Operation::GetObject,
            Action::Answer(400, "InvalidRequest"),
            "store_rejected",
        ),
        // This lasts until the service gives up.
        (Operation::GetObject, Action::Reset, "store_unavailable"),
    ] {
        let fault = r2.fail(operation, 0, 8, action.clone());
        let ended = verify(&variables, &[]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = one_error(&ended);
        assert_eq!(error["message"], "backup could not be read", "{error}");
        assert_eq!(
            (&error["name"], &error["kind"]),
            (&name.as_str().into(), &kind.into())
        );
        let hint = error["hint"].as_str().unwrap();
        for wrong in ["older", "whole", "delete", "rely", "choose another"] {
            assert!(!hint.contains(wrong), "{hint}");
        }
        assert!(fault.struck() > 0);
        // The rest of this fault must not affect the next one.
        while fault.struck() < 8 {
            verify(&variables, &[]);
        }
    }
    assert_eq!(verify(&variables, &[]).code(), Some(0));
}

#[test]
fn all_that_is_verified_is_counted_by_what_was_found() {
    let (r2, variables, name) = on_strict_store();
    let whole = r2.objects()[&name].clone();
    // Newest first: the last four are whole, damaged, unread and gone.
    let day = |day: u32| format!("vlvt_backup_2026-01-{day:02}_03-00-00.sql.gz");
    r2.put(&day(24), &whole);
    r2.put(&day(23), &whole[..whole.len() / 2]);
    r2.put(&day(22), &whole);
    r2.put(&day(21), &whole);
    // The newest one is looked up and read, then days 24 to 21 in this order.
    r2.fail(
        Operation::GetObject,
        3,
        1,
        Action::Answer(403, "AccessDenied"),
    );
    r2.fail(
        Operation::HeadObject,
        4,
        1,
        Action::Answer(404, "NoSuchKey"),
    );
    let ended = verify(&variables, &["--all", "--renamed"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let finished = ended.event("verify finished");
    let counts = ["checked", "damaged", "unread", "gone"].map(|count| finished[count].as_u64());
    assert_eq!(counts, [5, 1, 1, 1].map(Some), "{}", ended.text());
    assert_eq!(ended.event("backup not good")["name"], day(23));
    assert_eq!(ended.event("backup could not be read")["name"], day(22));
    let gone = ended.event("backup gone meanwhile");
    assert_eq!(
        (&gone["name"], &gone["level"]),
        (&day(21).into(), &"WARN".into())
    );
    assert_eq!(ended.events("backup whole").len(), 2);
    // A backup that a lifecycle rule removed in the meantime is not an error.
    r2.remove(&day(23));
    r2.fail(Operation::GetObject, 1, 1, Action::Answer(404, "NoSuchKey"));
    let ended = verify(&variables, &["--all", "--renamed"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.event("verify finished")["gone"], 1);
}

#[test]
fn a_drill_that_could_not_be_carried_out_accuses_no_backup() {
    let (r2, variables, name) = on_strict_store();
    let server = Postgres::start(17);
    let drilling = variables
        .with("VERIFY_SCHEDULE", "* * * * * *")
        .with("VERIFY_DATABASE_URL", &server.url("postgres"))
        .with("STATUS_TOKEN", "a-token-of-24-characters");
    let service = Service::daemon(&drilling);
    service.wait_for("backup proven");
    let fault = r2.fail(
        Operation::GetObject,
        0,
        usize::MAX,
        Action::Answer(403, "AccessDenied"),
    );
    let (status, health) = wait_until("a drill that fails", LIMIT, || {
        Some(service.health()).filter(|(_, health)| health["last_drill"]["outcome"] == "unread")
    });
    // What was proven before stays proven.
    assert_eq!((status, &health["status"]), (200, &"ok".into()), "{health}");
    assert_eq!(health["last_drill"]["kind"], "store_denied");
    assert_eq!(health["last_drill"]["name"], *name);
    assert!(fault.struck() > 0);
    let error = service.wait_for_nth("drill could not be carried out", 2);
    assert_eq!(error["level"], "ERROR");
    assert!(service.events("backup unproven").is_empty());
    let (_, _, page) = service.get_with("a-token-of-24-characters", "/");
    assert!(page.contains("The drill could not be carried out."));
    let (_, _, metrics) = service.get_with("a-token-of-24-characters", "/metrics");
    assert!(
        metrics.contains("postgres_s3_backups_last_drill_proven 1"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("drills_total{outcome=\"unread\"} 0"),
        "{metrics}"
    );
    assert_eq!(service.terminate().code(), Some(0));
}

#[test]
fn a_drills_server_that_is_away_or_lacks_something_accuses_no_backup() {
    let (_r2, variables, _) = on_strict_store();
    let server = Postgres::start(17);
    let wrong = server.url_as("postgres", "not-the-password", "postgres");
    for into in ["postgres://nobody@127.0.0.1:1/none", &wrong] {
        let ended = verify(&variables, &["--into", into]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        assert_eq!(
            one_error(&ended)["message"],
            "drill could not be carried out"
        );
    }
}
