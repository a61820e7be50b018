//! Packets vanish between the service and its servers, as they do when a router loses its state or a machine loses its
//! power. These tests make networks, and have to run as root for that.

use std::time::{Duration, Instant};

use crate::common::halted::Halted;
use crate::common::network::{Network, Wire};
use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, wait_until};
use crate::common::r2::{Operation, R2};
use crate::common::service::{BINARY, Service, Variables};

/// A number of rows whose compressed text is larger than a part.
const A_PART: u32 = 260_000;

fn at(url: &str, wire: &Wire) -> String {
    url.replace("127.0.0.1", &wire.here.to_string())
}

/// A server that the service reaches over a wire, and the test over the loopback of this machine.
fn server_on(wire: &Wire) -> Postgres {
    let addresses = format!("127.0.0.1,{}", wire.here);
    let server = Postgres::start_with(17, &[("listen_addresses", &addresses)]);
    server.admit(&format!("host all all {}/30 scram-sha-256", wire.here));
    server
}

/// A service in a separate network, with one wire to its database and one to its store.
struct Apart {
    network: Network,
    to_database: Wire,
    to_store: Wire,
    r2: R2,
    server: Postgres,
}

fn nothing_left(r2: &R2) {
    assert_eq!(
        (r2.keys(), r2.uploads()),
        (Vec::<String>::new(), Vec::<String>::new())
    );
}

impl Apart {
    fn new() -> Self {
        let network = Network::new();
        let (to_database, to_store) = (network.wire(), network.wire());
        Self {
            r2: R2::start_at(to_store.here),
            server: server_on(&to_database),
            network,
            to_database,
            to_store,
        }
    }

    fn start(&self, variables: &Variables) -> Service {
        let url = at(variables.value("BACKUP_DATABASE_URL"), &self.to_database);
        let variables = variables.clone().with("BACKUP_DATABASE_URL", &url);
        Service::start_by(self.network.command(BINARY), &variables, &["backup"])
    }
}

#[test]
fn a_cut_connection_to_the_database_ends_the_attempt_and_gives_the_locks_up() {
    let apart = Apart::new();
    let halted = Halted::new(&apart.server, 1000, 200_000);
    let service = apart.start(&halted.variables(Variables::on_r2(&apart.r2, "")));
    halted.wait();
    apart.to_database.cut();
    let cut_at = Instant::now();
    // Now the server sends rows that are not acknowledged.
    halted.release();
    let began = Instant::now();
    wait_until("the end of the session at the server", 2 * LIMIT, || {
        (halted.sessions() == "0").then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(90),
        "the server held the locks for {:?}",
        began.elapsed()
    );
    let ended = service.end(3 * LIMIT);
    assert!(cut_at.elapsed() < Duration::from_secs(150));
    let failure = ended.failure();
    assert_eq!(failure["kind"], "dump_exit", "{failure}");
    assert!(
        failure["hint"].as_str().unwrap().contains("broke off"),
        "{failure}"
    );
    nothing_left(&apart.r2);
}

#[test]
fn a_session_whose_client_vanished_while_the_server_waited_gives_its_locks_up_too() {
    let apart = Apart::new();
    let halted = Halted::new(&apart.server, 1000, 1000);
    let service = apart.start(&halted.variables(Variables::on_r2(&apart.r2, "")));
    halted.wait();
    apart.to_database.cut();
    // Neither side sends anything. Only keepalives, which begin after 30 s, can notice that.
    let failure = service.end(3 * LIMIT).failure();
    assert_eq!(failure["kind"], "dump_exit", "{failure}");
    // The server's own keepalives have noticed it too: as soon as the session wakes up, it sees that the connection is gone.
    halted.release();
    wait_until("the end of the session at the server", LIMIT, || {
        (halted.sessions() == "0").then_some(())
    });
    nothing_left(&apart.r2);
}

#[test]
fn sigterm_while_the_database_is_cut_off_still_aborts_the_upload_within_five_seconds() {
    let apart = Apart::new();
    let halted = Halted::new(&apart.server, 1000, 1000);
    let service = apart.start(&halted.variables(Variables::on_r2(&apart.r2, "")));
    halted.wait();
    assert_eq!(apart.r2.uploads().len(), 1);
    apart.to_database.cut();
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(ended.event("backup cancelled")["kind"], "cancelled");
    nothing_left(&apart.r2);
}

#[test]
fn a_cut_connection_to_the_store_costs_retries_and_nothing_else() {
    let apart = Apart::new();
    let halted = Halted::new(&apart.server, 2 * A_PART, 2 * A_PART);
    let variables = Variables::on_r2(&apart.r2, "").with("RUST_LOG", "debug");
    let service = apart.start(&halted.variables(variables));
    halted.wait();
    wait_until("a part in the store", LIMIT, || {
        (!apart.r2.seen(Operation::UploadPart).is_empty()).then_some(())
    });
    apart.to_store.cut();
    halted.release();
    wait_until("a retry", 2 * LIMIT, || {
        (!service.events("store request retried").is_empty()).then_some(())
    });
    apart.to_store.mend();
    let ended = service.end(5 * LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    assert_eq!(finished["rows"], 4 * A_PART + 1);
    assert!(finished["parts"].as_u64().unwrap() >= 3, "{finished}");
    assert_eq!(apart.r2.keys(), [finished["name"].as_str().unwrap()]);
    assert_eq!(apart.r2.uploads(), Vec::<String>::new());
}

#[test]
fn sigterm_while_the_store_is_cut_off_exits_within_five_seconds_and_says_what_is_left() {
    let apart = Apart::new();
    let halted = Halted::new(&apart.server, 1000, 1000);
    let service = apart.start(&halted.variables(Variables::on_r2(&apart.r2, "")));
    halted.wait();
    apart.to_store.cut();
    service.signal("TERM");
    let ended = service.end(LIMIT);
    ended.within_five_seconds();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    assert_eq!(
        ended.event("stopped before the run could clean up; the next start aborts what is left")["level"],
        "WARN"
    );
    assert_eq!(apart.r2.keys(), Vec::<String>::new());
}
