//! What is restored with the runbook's own commands equals what was dumped, row by row.

use std::path::Path;
use std::process::Command;

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, tools};
use crate::common::service::{Service, Variables};
use crate::common::{authority, seaweedfs, unique};

/// Restores an object as the operator would who has nothing of this service: in a folder, with the AWS CLI, `gunzip` and one
/// major's `psql`.
pub fn restore_by_hand(folder: &Path, major: u16, database_url: &str, bucket: &str, key: &str) {
    let endpoint = &seaweedfs().endpoint;
    let line = format!(
        "aws s3 cp s3://{bucket}/{key} ./backup.sql.gz --endpoint-url {endpoint} && gunzip backup.sql.gz \
         && psql -X -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f backup.sql"
    );
    let tools = tools(&["aws", &format!("pg:{major}")]);
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        tools.join("venv/bin").display(),
        Postgres::bin(major).display()
    );
    let mut command = Command::new("/bin/bash");
    command
        .args(["-euo", "pipefail", "-c", &line])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path);
    command.envs([
        ("AWS_ACCESS_KEY_ID", seaweedfs().access_key),
        ("AWS_SECRET_ACCESS_KEY", seaweedfs().secret_key),
        ("AWS_DEFAULT_REGION", "auto"),
        ("DATABASE_URL", database_url),
        ("AWS_CA_BUNDLE", &authority()),
    ]);
    command.env("HOME", folder);
    let output = command.output().expect("start bash");
    assert!(
        output.status.success(),
        "{line}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How many tables of their own rows there are, and how many rows in all of them. What belongs to an extension is its own.
const COUNTS: &str = "
    SELECT count(*), coalesce(sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM ONLY %s', c.oid::regclass), false, true, '')))[1]::text::bigint), 0)
    FROM pg_class c
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

/// Backs a database up, restores it by hand, and compares.
fn round_trip(server: &Postgres, major: u16, database: &str, encoding: &str) {
    let bucket = unique("round-trip");
    seaweedfs().create_bucket(&bucket);
    let ended = Service::backup(&Variables::working(
        seaweedfs(),
        &bucket,
        &server.url(database),
    ));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    assert!(
        finished["client_version"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{major}.")),
        "{finished}"
    );
    assert!(
        finished["server_version"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{major}.")),
        "{finished}"
    );

    let restored = format!("{database}_restored");
    server.create_database(&restored, encoding);
    let folder = Folder::new();
    restore_by_hand(
        folder.path(),
        major,
        &server.url(&restored),
        &bucket,
        finished["name"].as_str().unwrap(),
    );
    pretty_assertions::assert_eq!(server.digest(database), server.digest(&restored));

    let counted = server.psql(database, COUNTS);
    assert_eq!(
        format!("{}|{}", finished["tables"], finished["rows"]),
        counted,
        "tables and rows that the log names, and those that are there"
    );
    assert_eq!(seaweedfs().uploads(&bucket), []);
    assert_eq!(
        seaweedfs().list(&bucket),
        [(
            finished["name"].as_str().unwrap().to_owned(),
            finished["size_bytes"].as_u64().unwrap()
        )]
    );
}

fn of_major(major: u16) {
    let server = Postgres::start(major);
    let data = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name)
    };
    server.create_database("awkward", "");
    server.psql_file("awkward", data("awkward.sql"));
    round_trip(&server, major, "awkward", "");

    server.create_database("void", "");
    round_trip(&server, major, "void", "");

    for (name, encoding) in [("latin1", "LATIN1"), ("sql_ascii", "SQL_ASCII")] {
        let options =
            format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        server.create_database(name, &options);
        server.psql_file(name, data(&format!("{name}.sql")));
        round_trip(&server, major, name, &options);
    }
}

#[test]
fn every_awkward_thing_comes_back_from_14() {
    of_major(14);
}

#[test]
fn every_awkward_thing_comes_back_from_16() {
    of_major(16);
}

#[test]
fn every_awkward_thing_comes_back_from_18() {
    of_major(18);
}
