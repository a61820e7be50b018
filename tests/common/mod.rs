//! The real parts that the tests use.

pub mod browser;
pub mod certificates;
pub mod connection;
pub mod cut;
pub mod doorman;
pub mod forward;
pub mod halted;
pub mod job;
pub mod network;
pub mod nginx;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod r2;
pub mod receiver;
pub mod seaweedfs;
pub mod service;

use std::sync::OnceLock;

use certificates::Certificates;
use postgres::Postgres;
use seaweedfs::SeaweedFs;

/// The certificates that all servers of this process share.
pub fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(Certificates::new)
}

/// The file of the authority that signed them, as a variable or a parameter of a URL names it.
pub fn authority() -> String {
    let path = certificates().path("known");
    path.to_str().expect("a plain path").to_owned()
}

/// The S3 server that all tests of this process share. Each test uses a bucket of its own.
pub fn seaweedfs() -> &'static SeaweedFs {
    static SERVER: OnceLock<SeaweedFs> = OnceLock::new();
    SERVER.get_or_init(SeaweedFs::start)
}

/// A PostgreSQL 17 that is shared by the tests that do not stop or lock it. Each test uses a database of its own.
pub fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start_with(17, &[("max_connections", "100")]))
}

/// A name that nobody else uses. It can be used for a bucket and for a database.
pub fn unique(what: &str) -> String {
    format!("{what}-{:x}", process::random())
}
