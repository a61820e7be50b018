//! The client of the server's own major version is chosen. If there is none, a newer one is used with a warning, but never
//! an older one.

use crate::common::postgres::Postgres;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{seaweedfs, unique};

/// Backs up a server of one major version with clients of other versions. Clients in the system's own folders are found too,
/// so the versions here are chosen so that those don't matter.
fn backup(server: &Postgres, clients: &[u16]) -> (Ended, String) {
    let bucket = unique("versions");
    seaweedfs().create_bucket(&bucket);
    let url = server.url("postgres");
    let path = Variables::bare(clients).value("PATH").to_owned();
    (
        Service::backup(&Variables::working(seaweedfs(), &bucket, &url).with("PATH", &path)),
        bucket,
    )
}

fn major(event: &serde_json::Value, field: &str) -> String {
    event[field]
        .as_str()
        .unwrap()
        .split('.')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn the_same_major_is_chosen_among_many() {
    for number in [14, 16] {
        let (ended, _) = backup(&Postgres::start(number), &[18, 14, 17, 16]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        let finished = ended.event("backup finished");
        assert_eq!(
            (
                major(&finished, "server_version"),
                major(&finished, "client_version")
            ),
            (number.to_string(), number.to_string())
        );
        assert!(
            ended
                .events("no client of the server's major version")
                .is_empty()
        );
    }
}

#[test]
fn a_newer_client_is_used_with_a_warning_when_the_same_is_missing() {
    let (ended, _) = backup(&Postgres::start(17), &[14, 18]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let warning = ended.event("no client of the server's major version");
    assert_eq!(warning["level"], "WARN");
    assert_eq!(
        (
            major(&warning, "server_version"),
            major(&warning, "client_version")
        ),
        ("17".to_owned(), "18".to_owned())
    );
}

#[test]
fn only_older_clients_are_an_error_that_names_both_and_leaves_nothing() {
    let (ended, bucket) = backup(&Postgres::start(18), &[14, 16]);
    let failed = ended.failure();
    assert_eq!(failed["kind"], "version");
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.contains("the server is PostgreSQL 18.")
            && error.contains("14")
            && error.contains("16"),
        "{error}"
    );
    assert!(
        failed["hint"]
            .as_str()
            .unwrap()
            .contains("PostgreSQL 18 client"),
        "{failed}"
    );
    assert_eq!(
        (seaweedfs().list(&bucket), seaweedfs().uploads(&bucket)),
        (vec![], vec![])
    );
}
