//! The database that PostgreSQL's own regression tests leave behind, with nearly every kind of object.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;

use crate::common::postgres::{PASSWORD, Postgres, USER};
use crate::common::process::{Folder, Process, tools};
use crate::common::service::{Service, Variables};
use crate::common::{seaweedfs, unique};
use crate::round_trip::restore_by_hand;

const MAJOR: u16 = 15;

/// Tables whose columns `pg_dump` restores in another order, because their parent got a new column after them.
const REORDERED: [&str; 11] = [
    "public.b_star",
    "public.c_star",
    "public.d_star",
    "public.e_star",
    "public.f_star",
    "public.gtestxx_4",
    "public.renamecolumnanother",
    "public.renamecolumnchild",
    "public.test_type_diff2_c1",
    "public.test_type_diff2_c2",
    "public.test_type_diff_c",
];

/// The objects that no `pg_dump` restores unchanged, by the beginning of their line in the digest.
const NOT_DUMPED: [&str; 10] = [
    // A comment on an object that is gone.
    "comment||",
    // A partition's copy of its parent's foreign key gets a new name.
    "constraint|fkpart4.dropfk||dropfk_a_fkey",
    "constraint|public.fk_partitioned_fk_4",
    // A restore refreshes a view that was not refreshed for a while.
    "rows|public.mvtest_bb|",
    // A declared operator that was never defined.
    "operator|public.!==(boolean,boolean)|-|",
    // Granted and revoked again: the same rights as without an entry.
    "privilege|public.ec0|postgres|",
    "privilege|public.ec1|postgres|",
    "privilege|public.fk_notpartitioned_pk|postgres|",
    "privilege|regress_rls_schema.f_leak(text)|postgres|",
    "privilege|regress_rls_schema.f_leak(text)|public|",
];

/// Runs the test files in the order of their schedule. Some of their statements fail on purpose.
fn build(server: &Postgres, regress: &Path) {
    let folder = Folder::new();
    let results = folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    // For COPY ... TO a file, the server's account writes the file.
    std::fs::set_permissions(&results, Permissions::from_mode(0o777)).unwrap();
    server.psql(
        "postgres",
        "CREATE DATABASE regression TEMPLATE template0;
        ALTER DATABASE regression SET bytea_output TO 'hex';
        ALTER DATABASE regression SET timezone_abbreviations TO 'Default'",
    );
    let run = |name: &str| {
        let script = regress.join(format!("sql/{name}.sql"));
        let mut command = Process::command(Postgres::bin(MAJOR).join("psql"));
        command
            .args(["-X", "-q", "-d", "regression"])
            .args(["-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs([
                ("PGHOST", "127.0.0.1"),
                ("PGPORT", &server.port().to_string()),
            ])
            .envs([("PGUSER", USER), ("PGPASSWORD", PASSWORD)])
            .envs([("PGTZ", "PST8PDT"), ("PGDATESTYLE", "Postgres, MDY")])
            .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
            .env("PG_ABS_SRCDIR", regress)
            .env("PG_ABS_BUILDDIR", folder.path())
            .env("PG_LIBDIR", regress.join("lib"))
            .env("PG_DLSUFFIX", ".so")
            .current_dir(folder.path())
            .stdin(std::fs::File::open(&script).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().expect("start psql");
        assert!(status.success(), "{name}: {status}");
    };
    let schedule = std::fs::read_to_string(regress.join("parallel_schedule")).unwrap();
    for line in schedule.lines() {
        let Some(group) = line.strip_prefix("test:") else {
            continue;
        };
        let waiting = Mutex::new(group.split_whitespace());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().unwrap().next();
                        let Some(name) = next else { break };
                        run(name);
                    }
                });
            }
        });
    }
}

/// The lines of a digest that a restore must bring back.
fn facts(digest: &str) -> BTreeSet<String> {
    digest
        .lines()
        .filter(|line| !NOT_DUMPED.iter().any(|known| line.starts_with(known)))
        .map(|line| {
            let reordered = REORDERED.iter().find_map(|table| {
                let place = line.strip_prefix(&format!("column|{table}|"))?;
                Some(format!("column|{table}|{}", place.split_once('|')?.1))
            });
            reordered.unwrap_or_else(|| line.to_owned())
        })
        .collect()
}

#[test]
fn the_regression_database_of_postgresql_comes_back() {
    let regress = tools(&["regress", "aws"]).join("regress");
    let server = Postgres::start_with(MAJOR, &[("shared_buffers", "64MB")]);
    build(&server, &regress);

    let bucket = unique("regress");
    seaweedfs().create_bucket(&bucket);
    let ended = Service::backup(&Variables::working(
        seaweedfs(),
        &bucket,
        &server.url("regression"),
    ));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    server.create_database("restored", "TEMPLATE template0");
    let folder = Folder::new();
    restore_by_hand(
        folder.path(),
        MAJOR,
        &server.url("restored"),
        &bucket,
        finished["name"].as_str().unwrap(),
    );

    let digest = server.digest("regression");
    let [before, after] = [facts(&digest), facts(&server.digest("restored"))];
    let lost: Vec<_> = before.difference(&after).collect();
    let added: Vec<_> = after.difference(&before).collect();
    assert!(
        lost.is_empty() && added.is_empty(),
        "lost: {lost:#?}\nadded: {added:#?}"
    );
    // If the tests had not run, there would be little to compare.
    assert!(before.len() > 5000, "{} facts", before.len());
    let filled = digest
        .lines()
        .filter(|line| line.starts_with("rows|") && !line.contains("|0|"))
        .count();
    assert!(filled > 200, "{filled} tables with rows");
}
