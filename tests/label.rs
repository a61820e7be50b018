//! A backup describes itself: what its head says is true, and every change to its members is noticed.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::postgres::Postgres;
use crate::common::process::Folder;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};
use crate::restore::{
    backed_up, dump, empty_database, gunzip, gzip, on_bucket, one_error, relations, restore,
};

const LONG: Duration = Duration::from_secs(300);

fn verify(variables: &Variables, arguments: &[&str]) -> Ended {
    let arguments = [&["verify"], arguments].concat();
    Service::start(variables, &arguments).end(LONG)
}

/// The members of a gzip file, unchanged.
fn members(object: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut members) = (object, Vec::new());
    while !rest.is_empty() {
        let mut decoder = flate2::bufread::GzDecoder::new(rest);
        decoder.read_to_end(&mut Vec::new()).unwrap();
        let after = decoder.into_inner();
        members.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    members
}

/// The JSON of the only line of a member.
fn said(member: &[u8], kind: &str) -> Value {
    let text = String::from_utf8(gunzip(member)).unwrap();
    let line = text.lines().next().unwrap();
    let json = line.strip_prefix(&format!("-- postgres-s3-backups: {kind} "));
    serde_json::from_str(json.unwrap_or_else(|| panic!("{line}"))).unwrap()
}

/// Backs a database up. Returns the variables, the name and the object.
fn object_of(server: &Postgres, database: &str) -> (Variables, String, Vec<u8>) {
    let (bucket, variables) = on_bucket(server, database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    let name = finished["name"].as_str().unwrap().to_owned();
    let object = seaweedfs().get(&bucket, &name);
    assert_eq!(finished["uncompressed_bytes"], gunzip(&object).len());
    (variables, name, object)
}

fn a_head_is_true(major: u16, options: &str, locale: &Value) {
    let server = Postgres::start(major);
    // Names that all databases share have no encoding. In LATIN1 they would be read as other names.
    let end = if options.contains("LATIN1") {
        "d"
    } else {
        "é"
    };
    let database_name = format!("a \"b\"\n\\restrict c\n-- $x$ {end}");
    let database_name = database_name.as_str();
    server.psql(
        "postgres",
        "CREATE ROLE \"Own er\n\\.\"; CREATE ROLE granted; CREATE ROLE named; CREATE ROLE stranger; SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"fa st\" LOCATION ''; CREATE TABLESPACE unused LOCATION ''",
    );
    server.create_database(database_name, options);
    server.psql(
        database_name,
        "SET client_encoding TO 'UTF8'; CREATE SCHEMA extra; CREATE EXTENSION hstore SCHEMA extra;
         CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1234); CREATE TABLE \"T\n-- \" (b text); ALTER TABLE \"T\n-- \" OWNER TO \"Own er\n\\.\";
         GRANT SELECT ON t TO granted; CREATE POLICY p ON t TO named USING (true);
         CREATE UNLOGGED TABLE \"un logged\" (a int); CREATE TABLE far (a int) TABLESPACE \"fa st\";
         SELECT lo_from_bytea(0, 'x'), lo_from_bytea(0, 'y');
         DO $$ BEGIN
           EXECUTE format('ALTER DATABASE %I SET work_mem = ''8MB''', current_database());
           EXECUTE format('ALTER DATABASE %I SET my.words = %L', current_database(), E'a=b;\\n\\\\restrict x\\n\\\\.\\n-- é');
           EXECUTE format('ALTER ROLE granted IN DATABASE %I SET statement_timeout = ''5s''', current_database());
         END $$",
    );
    let (variables, name, object) = object_of(&server, database_name);
    let members = members(&object);
    let head = said(&members[0], "head");
    assert!(
        gunzip(&members[0]).is_ascii() && gunzip(members.last().unwrap()).is_ascii(),
        "{head}"
    );
    assert!(dump(&object).starts_with(b"--\n-- PostgreSQL database dump\n--\n"));
    let version = server.psql(database_name, "SHOW server_version");
    for (field, value) in [
        ("format", json!(1)),
        ("name", json!(name)),
        ("server_version", json!(version)),
        ("made_by", json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(head[field], value, "{head}");
    }
    let identity = server.psql(
        database_name,
        "SELECT json_build_object('system_identifier', system_identifier::text, 'database_oid', oid::text) FROM pg_control_system(), pg_database WHERE datname = current_database()",
    );
    let identity: Value = serde_json::from_str(&identity).unwrap();
    assert_eq!(head["identity"], identity);
    let due_at = head["due_at"].as_str().unwrap();
    assert!(name.contains(&due_at.replace('T', "_").replace(':', "-").replace('Z', "")));
    assert!(
        head["client_version"]
            .as_str()
            .unwrap()
            .starts_with(&major.to_string())
    );
    let size: i64 = server
        .psql(database_name, "SELECT pg_database_size(current_database())")
        .parse()
        .unwrap();
    assert!((head["size_bytes"].as_i64().unwrap() - size).abs() < 1_000_000);
    let origin = &head["origin"];
    let database = &origin["database"];
    assert_eq!(
        (&database["name"], &database["owner"]),
        (&json!(database_name), &json!("postgres"))
    );
    for (field, value) in locale.as_object().unwrap() {
        assert_eq!(&database[field], value, "{field}: {database}");
    }
    let hstore = server.psql(
        database_name,
        "SELECT extversion FROM pg_extension WHERE extname = 'hstore'",
    );
    assert_eq!(
        origin["extensions"][0],
        json!({"name": "hstore", "version": hstore, "schema": "extra"})
    );
    assert_eq!(origin["extensions"][1]["name"], "plpgsql");
    assert_eq!(
        origin["roles"],
        json!(["Own er\n\\.", "granted", "named", "postgres"])
    );
    assert_eq!(origin["unlogged_tables"], json!(["public.\"un logged\""]));
    assert_eq!(origin["tablespaces"], json!(["fa st"]));
    assert_eq!(
        origin["settings"],
        json!([
            {"name": "my.words", "value": "a=b;\n\\restrict x\n\\.\n-- é"},
            {"name": "work_mem", "value": "8MB"},
            {"role": "granted", "name": "statement_timeout", "value": "5s"},
        ])
    );
    let tail = said(members.last().unwrap(), "tail");
    assert_eq!(
        (&tail["rows"], &tail["tables"], &tail["large_objects"]),
        (&json!(1234), &json!(4), &json!(2)),
        "{tail}"
    );

    // The commands of the page can read it, and so can verify, restore and a drill.
    let folder = Folder::new();
    let file = folder.path().join("backup.sql");
    std::fs::write(&file, gunzip(&object)).unwrap();
    server.create_database("by hand", options);
    server.psql_file("by hand", &file);
    pretty_assertions::assert_eq!(server.digest("by hand"), server.digest(database_name));
    let whole = verify(&variables, &[]);
    assert_eq!(
        whole.event("backup whole")["rows"],
        1234,
        "{}",
        whole.text()
    );
    server.create_database("restored", options);
    let ended = restore(&variables, &["--to", &server.url("restored")]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    pretty_assertions::assert_eq!(server.digest("restored"), server.digest(database_name));
}

#[test]
fn the_head_of_a_backup_of_14_is_true() {
    a_head_is_true(
        14,
        "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
        &json!({"encoding": "LATIN1", "provider": "libc", "collate": "C", "ctype": "C", "locale": null, "rules": null}),
    );
}

#[test]
fn the_head_of_a_backup_of_16_is_true() {
    // These builds of PostgreSQL have no ICU. The columns are changed by hand to what they would be with it.
    a_head_is_true(
        16,
        "TEMPLATE template0; UPDATE pg_catalog.pg_database SET daticulocale = 'de-DE', daticurules = '&z < ä' WHERE datname LIKE 'a %'",
        &json!({"encoding": "UTF8", "provider": "libc", "locale": "de-DE", "rules": "&z < ä"}),
    );
}

#[test]
fn the_head_of_a_backup_of_18_is_true() {
    a_head_is_true(
        18,
        "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
        &json!({"encoding": "UTF8", "provider": "builtin", "locale": "C.UTF-8", "collate": "C"}),
    );
}

#[test]
fn what_a_server_refuses_to_tell_is_left_out_and_the_backup_is_made() {
    let server = Postgres::start(17);
    server.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'testpass'; CREATE DATABASE shut OWNER app",
    );
    server.psql("shut", "REVOKE SELECT ON pg_catalog.pg_db_role_setting, pg_catalog.pg_shdepend FROM PUBLIC; CREATE EXTENSION hstore");
    let bucket = unique("shut");
    seaweedfs().create_bucket(&bucket);
    let url = server.url_as("app", "testpass", "shut");
    let variables = Variables::working(seaweedfs(), &bucket, &url);
    let ended = Service::backup(&variables.with("RUST_LOG", "debug"));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let left_out = ended.events("left out of the backup's head");
    let facts: Vec<_> = left_out.iter().map(|line| &line["fact"]).collect();
    assert_eq!(facts, ["settings", "roles"], "{}", ended.text());
    let name = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let head = said(&members(&seaweedfs().get(&bucket, &name))[0], "head");
    let origin = &head["origin"];
    assert_eq!(origin["database"]["owner"], "app", "{origin}");
    assert_eq!(origin["extensions"][0]["name"], "hstore");
    assert!(
        origin.get("settings").is_none() && origin.get("roles").is_none(),
        "{origin}"
    );
}

/// Makes a database of several megabytes in a few tables, and a backup of it.
fn of_many_members(seed: &str) -> (Variables, String, Vec<u8>) {
    let database = unique("members");
    postgres().create_database(&database, "");
    postgres().psql(
        &database,
        &format!(
            "CREATE TABLE a (i int, t text); INSERT INTO a SELECT i, md5(i || '{seed}') FROM generate_series(1, 60000) i;
             CREATE TABLE b (i int, t text); INSERT INTO b SELECT i, md5(i || '{seed}') FROM generate_series(1, 60000) i;"
        ),
    );
    object_of(postgres(), &database)
}

#[test]
fn members_that_are_lost_doubled_swapped_or_foreign_are_noticed() {
    let (variables, name, object) = of_many_members("one");
    let (_, other_name, other) = of_many_members("two");
    let bucket = variables.value("AWS_S3_BUCKET");
    let whole = members(&object);
    let count = whole.len();
    assert!(count > 6, "{count}");
    let foreign = members(&other);
    let old = gzip(&dump(&object));
    let mut cases: Vec<(String, Vec<u8>, &str)> = Vec::new();
    for at in 0..count {
        let lost = [&whole[..at], &whole[at + 1..]].concat().concat();
        let doubled = [&whole[..=at], &whole[at..]].concat().concat();
        let mut exchanged = whole.clone();
        exchanged[at].clone_from(&foreign[at]);
        let words = |first, between, last| match at {
            0 => first,
            _ if at == count - 1 => last,
            _ => between,
        };
        let lost_says = words("its beginning is lost", "", "its end is lost");
        let doubled_says = words(
            "another backup begins inside it",
            "",
            "something follows its end",
        );
        let exchanged_says = "not what was written";
        cases.push((format!("member {at} lost"), lost, lost_says));
        cases.push((format!("member {at} doubled"), doubled, doubled_says));
        cases.push((
            format!("member {at} exchanged"),
            exchanged.concat(),
            exchanged_says,
        ));
        if at + 1 < count {
            let mut swapped = whole.clone();
            swapped.swap(at, at + 1);
            cases.push((
                format!("members {at} and the next swapped"),
                swapped.concat(),
                "",
            ));
        }
    }
    let second = format!("another backup begins inside it: {other_name}");
    cases.push((
        "another backup behind".to_owned(),
        [&object[..], &other].concat(),
        &second,
    ));
    cases.push((
        "an old backup behind".to_owned(),
        [&object[..], &old].concat(),
        "something follows",
    ));
    cases.push((
        "a backup behind an old one".to_owned(),
        [&old[..], &object].concat(),
        "another backup begins",
    ));
    cases.push((
        "two old backups".to_owned(),
        [&old[..], &old].concat(),
        "a second dump begins",
    ));
    let (target, url) = empty_database(postgres());
    for (at, (what, object, said)) in cases.iter().enumerate() {
        seaweedfs().put(bucket, &name, object);
        let mut commands = vec![vec!["verify", "--renamed"]];
        // A restore notices it before it begins or, if it is told not to look then, before the commit.
        if at % 5 == 0 || at + 4 >= cases.len() {
            commands.push(vec!["restore", "--renamed", "--to", &url]);
            commands.push(vec!["restore", "--renamed", "--no-verify", "--to", &url]);
            commands.push(vec!["verify", "--renamed", "--into", &url]);
        }
        for arguments in commands {
            let ended = Service::start(&variables, &arguments).end(LONG);
            assert_eq!(
                ended.code(),
                Some(1),
                "{what}, {arguments:?}: {}",
                ended.text()
            );
            let error = one_error(&ended);
            // If it does not look before, psql may fail first, because of a text that has lost its beginning.
            if !arguments.contains(&"--no-verify") {
                assert_eq!(error["kind"], "damaged", "{what}, {arguments:?}: {error}");
                assert!(
                    error["error"].as_str().unwrap().contains(said),
                    "{what}: {error}"
                );
            }
            assert_eq!(relations(postgres(), &target), "0", "{what}");
        }
    }
    // Empty members, and other borders between members, change nothing.
    let padded: Vec<Vec<u8>> = whole
        .iter()
        .flat_map(|member| [member.clone(), gzip(b"")])
        .collect();
    for same in [padded.concat(), gzip(&gunzip(&object)), object] {
        seaweedfs().put(bucket, &name, &same);
        assert_eq!(
            verify(&variables, &[]).event("backup whole")["rows"],
            120_000
        );
    }
}

#[test]
fn what_is_missing_is_named_table_by_table() {
    let (_, bucket, variables, name) = backed_up();
    let text = String::from_utf8(gunzip(&seaweedfs().get(&bucket, &name))).unwrap();
    let (before, after) = text.split_once("\n3000\tuser").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    seaweedfs().put(
        &bucket,
        &name,
        &gzip(format!("{before}\n{after}").as_bytes()),
    );
    let error = one_error(&verify(&variables, &[]))["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("public.users holds 4999 rows, 5000 were dumped"),
        "{error}"
    );
    assert!(
        error.contains("bytes of text") && error.contains("it holds 6999 rows, 7000 were written"),
        "{error}"
    );
}

#[test]
fn a_backup_of_an_older_version_is_read_as_before() {
    let (_, bucket, variables, name) = backed_up();
    let old = gzip(&dump(&seaweedfs().get(&bucket, &name)));
    seaweedfs().put(&bucket, &name, &old);
    let ended = verify(&variables, &[]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let whole = ended.event("backup whole as far as gzip and the dump can tell");
    assert_eq!(whole["rows"], 7000);
    let (target, url) = empty_database(postgres());
    let ended = restore(&variables, &["--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        postgres().psql(&target, "SELECT count(*) FROM users"),
        "5000"
    );
    let ended = verify(&variables, &["--into", &url]);
    assert_eq!(
        ended.event("backup proven")["rows"],
        7000,
        "{}",
        ended.text()
    );
    // It does not hold its own name, so it may have any name.
    let other = "vlvt_backup_2026-01-01_03-00-00.sql.gz";
    seaweedfs().put(&bucket, other, &old);
    assert_eq!(verify(&variables, &[other]).code(), Some(0));
}

#[test]
fn a_text_that_ends_inside_rows_or_has_rows_of_no_table_is_not_whole() {
    let (_, bucket, variables, name) = backed_up();
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, &name))).unwrap();
    let last = text.rfind("\n\\.\n").unwrap();
    let open = format!("{}{}", &text[..=last], &text[last + 4..]);
    let header = text.find("COPY public.users").unwrap();
    let rows = text[header..].find('\n').unwrap();
    let headless = format!("{}{}", &text[..header], &text[header + rows + 1..]);
    let (target, url) = empty_database(postgres());
    for (what, text) in [("no end of rows", open), ("rows of no table", headless)] {
        seaweedfs().put(&bucket, &name, &gzip(text.as_bytes()));
        let ended = verify(&variables, &[]);
        assert_eq!(
            (ended.code(), &one_error(&ended)["kind"]),
            (Some(1), &"damaged".into()),
            "{what}"
        );
        for arguments in [&["--to", &url][..], &["--to", &url, "--no-verify"]] {
            let ended = restore(&variables, arguments);
            assert_eq!(ended.code(), Some(1), "{what}: {}", ended.text());
            assert!(ended.events("restore finished").is_empty(), "{what}");
            assert_eq!(relations(postgres(), &target), "0", "{what}");
        }
    }
}

#[test]
fn a_backup_under_another_name_than_its_own_is_refused_unless_that_was_meant() {
    let (_, bucket, variables, name) = backed_up();
    let object = seaweedfs().get(&bucket, &name);
    let other = "vlvt_backup_2026-01-01_03-00-00.sql.gz";
    let other_prefix = name.replace("vlvt_backup_", "shop_");
    seaweedfs().put(&bucket, other, &object);
    seaweedfs().put(&bucket, &other_prefix, &object);
    let shop = variables.clone().with("BACKUP_FILE_PREFIX", "shop_");
    let (target, url) = empty_database(postgres());
    for (variables, found) in [(&variables, other), (&shop, other_prefix.as_str())] {
        let ended = verify(variables, &[found]);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = one_error(&ended);
        assert_eq!(
            (&error["kind"], &error["message"]),
            (&"refused".into(), &"backup not good".into())
        );
        let words = error["error"].as_str().unwrap();
        assert!(words.contains(&name) && words.contains(found), "{words}");
        assert!(
            error["hint"].as_str().unwrap().contains("--renamed"),
            "{error}"
        );
        for arguments in [
            &["restore", found, "--to", &url][..],
            &["restore", found, "--to", &url, "--no-verify"],
            &["verify", found, "--into", &url],
        ] {
            let ended = Service::start(variables, arguments).end(LONG);
            assert_eq!(ended.code(), Some(1), "{}", ended.text());
            assert_eq!(one_error(&ended)["kind"], "refused");
            assert_eq!(relations(postgres(), &target), "0");
        }
        let ended = restore(variables, &[found, "--to", &url]);
        assert_eq!(ended.errors()[0]["message"], "restore refused");
        for arguments in [
            &["verify", found, "--renamed"][..],
            &["verify", found, "--renamed", "--into", &url],
        ] {
            let ended = Service::start(variables, arguments).end(LONG);
            assert_eq!(ended.code(), Some(0), "{}", ended.text());
        }
    }
    // Two of these backups are not what their names say.
    let ended = verify(&variables, &["--all"]);
    assert_eq!(
        ended.event("verify finished")["damaged"],
        1,
        "{}",
        ended.text()
    );
    assert_eq!(verify(&variables, &["--all", "--renamed"]).code(), Some(0));
    // It may be moved into another folder.
    let folder = variables.clone().with("BUCKET_SUBFOLDER", "copies/of 2026");
    seaweedfs().put(&bucket, &format!("copies/of 2026/{name}"), &object);
    assert_eq!(verify(&folder, &[]).code(), Some(0));
    let ended = restore(&variables, &[other, "--renamed", "--to", &url]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(
        postgres().psql(&target, "SELECT count(*) FROM users"),
        "5000"
    );
}

#[test]
fn a_head_that_somebody_else_wrote_is_read_within_bounds() {
    let (_, bucket, variables, name) = backed_up();
    let object = seaweedfs().get(&bucket, &name);
    let text = dump(&object);
    let put = |head: &str| {
        let line = format!("-- postgres-s3-backups: head {head}\n");
        seaweedfs().put(&bucket, &name, &gzip(&[line.as_bytes(), &text].concat()));
        let (ended, peak) = Service::start(&variables, &["verify"]).end_with_peak(LONG);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        assert!(
            !ended.text().contains(['\u{1b}', '\u{202e}']),
            "{}",
            ended.text()
        );
        (one_error(&ended), peak)
    };
    let (error, _) = put("{\"format\":2,\"name\":[]}");
    assert_eq!(error["kind"], "refused", "{error}");
    assert!(
        error["error"].as_str().unwrap().contains("format 2"),
        "{error}"
    );
    assert_eq!(error["message"], "backup could not be read");
    let many = format!(
        "{{\"format\":1,\"origin\":{{\"extensions\":[{}{{}}]}}}}",
        "{},".repeat(1_300_000)
    );
    let deep = format!("{{\"format\":1,\"later\":{}", "[".repeat(3_000_000));
    for head in ["{", "{\"format\":1,\"size_bytes\":-1}", &many, &deep] {
        let (error, peak) = put(head);
        assert!(
            error["error"].as_str().unwrap().contains("can't be read"),
            "{error}"
        );
        assert!(peak < 64 * 1024, "{peak} KiB");
    }
    // A first line without an end is not the head of a backup, however long it is.
    let (error, peak) = put(&"x".repeat(60_000_000));
    assert_eq!(error["kind"], "damaged", "{error}");
    assert!(peak < 64 * 1024, "{peak} KiB");
    // This name has to be escaped and cut before it is shown.
    let name = format!(
        "{{\"format\":1,\"name\":\"a\\u001b[2J\\u202e{}\"}}",
        "x".repeat(1_000_000)
    );
    let (error, _) = put(&name);
    let words = error["error"].as_str().unwrap();
    assert!(
        words.contains("a\u{1b}[2J\u{202e}x") && words.len() < 2000,
        "{words}"
    );
}

#[test]
fn psql_of_each_major_takes_a_description_for_comments() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for major in [14, 18] {
        let server = Postgres::start(major);
        server.create_database("awkward", "");
        server.psql_file("awkward", data.join("awkward.sql"));
        let (_, _, object) = object_of(&server, "awkward");
        let folder = Folder::new();
        let file = folder.path().join("backup.sql");
        std::fs::write(&file, gunzip(&object)).unwrap();
        server.create_database("by hand", "");
        server.psql_file("by hand", &file);
        pretty_assertions::assert_eq!(server.digest("by hand"), server.digest("awkward"));
    }
}

/// The names of all fields, at any depth.
fn fields(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn the_page_on_the_format_names_every_field_and_no_other() {
    use postgres_s3_backups::dump::label::{
        Extension, Head, Origin, Relations, Setting, Tail, Traits,
    };
    use postgres_s3_backups::postgres::Identity;
    let text = || Some(String::new());
    let head = Head {
        identity: Some(Identity {
            system_identifier: text(),
            database_oid: String::new(),
        }),
        origin: Origin {
            database: Some(Traits {
                locale: text(),
                rules: text(),
                version: text(),
                ..Traits::default()
            }),
            settings: Some(vec![Setting {
                role: text(),
                ..Setting::default()
            }]),
            extensions: Some(vec![Extension::default()]),
            roles: Some(Vec::new()),
            unlogged_tables: Some(Vec::new()),
            tablespaces: Some(Vec::new()),
            is_cut: true,
            relations: Some(Relations::default()),
        },
        ..Head::default()
    };
    let mut written = std::collections::BTreeSet::new();
    fields(&serde_json::to_value(head).unwrap(), &mut written);
    fields(
        &serde_json::to_value(Tail::default()).unwrap(),
        &mut written,
    );
    let page = include_str!("../docs/format.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.flat_map(|row| {
        let cell = row.split(" |").next().unwrap().trim_end_matches('`');
        cell.split("`, `")
            .flat_map(|path| path.split('.'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    pretty_assertions::assert_eq!(listed.collect::<std::collections::BTreeSet<_>>(), written);
}
