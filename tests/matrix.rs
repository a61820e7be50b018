//! From every major version to every other one, newer or older: the content of a backup comes back.

use std::path::Path;
use std::thread;

use crate::common::postgres::Postgres;
use crate::common::service::{Service, Variables};
use crate::restore::{on_bucket, one_error, relations, restore};

const MAJORS: [u16; 5] = [14, 15, 16, 17, 18];

/// Loads data that is awkward to dump, as far as a server of this major version supports it.
fn load(server: &Postgres, database: &str, known_to: u16) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/awkward.sql");
    let text = std::fs::read_to_string(data).unwrap();
    let version = "current_setting('server_version_num')::int";
    let known = format!("least({version}, {known_to}9999)");
    assert!(text.contains(version));
    server.create_database(database, "");
    server.psql(database, &text.replace(version, &known));
}

/// Every row, every sequence and every large object. Definitions are left out, because major versions spell them
/// differently.
fn data(server: &Postgres, database: &str) -> Vec<String> {
    let of_data = |line: &&str| {
        ["rows|", "sequence|", "large object|"]
            .iter()
            .any(|kind| line.starts_with(kind))
    };
    let digest = server.digest(database);
    digest.lines().filter(of_data).map(str::to_owned).collect()
}

fn backed_up(server: &Postgres, database: &str) -> Variables {
    let (_, variables) = on_bucket(server, database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    variables
}

/// Each major version is restored into its neighbours, and the first and the last into each other. With PSB_MATRIX=all,
/// which `make real-databases` sets, each is restored into each.
fn is_tried(from: u16, to: u16) -> bool {
    let all = std::env::var("PSB_MATRIX").is_ok_and(|value| value == "all");
    all || from.abs_diff(to) == 1 || from.abs_diff(to) == MAJORS[4] - MAJORS[0]
}

/// Restores the databases of one server into the others. `all` holds everything that its own major version supports, and
/// `old` what every major version supports.
fn from(source: &Postgres, targets: &[Postgres]) {
    let major = source.major();
    let (all, old) = (backed_up(source, "all"), backed_up(source, "old"));
    for target in targets.iter().filter(|to| is_tried(major, to.major())) {
        let to = target.major();
        let (variables, database) = if to >= major {
            (&all, "all")
        } else {
            (&old, "old")
        };
        let name = format!("from_{major}");
        target.create_database(&name, "");
        let ended = restore(variables, &["latest", "--to", &target.url(&name)]);
        assert_eq!(ended.code(), Some(0), "{major} to {to}: {}", ended.text());
        let (here, there) = (data(source, database), data(target, &name));
        assert!(here.len() > 50, "{here:?}");
        pretty_assertions::assert_eq!(here, there, "{major} to {to}");
    }
}

#[test]
fn what_a_backup_holds_comes_back_from_every_major_in_every_major() {
    let servers: Vec<Postgres> = thread::scope(|scope| {
        let started = MAJORS.map(|major| {
            scope.spawn(move || {
                let server = Postgres::start(major);
                load(&server, "all", major);
                load(&server, "old", 14);
                server
            })
        });
        started.map(|server| server.join().unwrap()).into()
    });
    thread::scope(|scope| {
        let restored: Vec<_> = servers
            .iter()
            .map(|source| scope.spawn(|| from(source, &servers)))
            .collect();
        restored.into_iter().for_each(|one| one.join().unwrap());
    });

    // If an older server does not support something, it refuses the restore, and nothing is left of it.
    let [oldest, .., newest] = servers.as_slice() else {
        panic!("there are five");
    };
    oldest.create_database("refused", "");
    let variables = backed_up(newest, "all");
    let ended = restore(&variables, &["latest", "--to", &oldest.url("refused")]);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    let said = error["error"].as_str().unwrap();
    assert!(
        said.contains("psql:") && said.contains("rolled back"),
        "{error}"
    );
    assert_eq!(relations(oldest, "refused"), "0");
}
