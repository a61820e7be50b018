//! All tests that run with real parts, in one program: it is linked once, and its tests share the servers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    reason = "tests fail by panicking, and read their own environment"
)]

mod common;

mod alert;
mod archive;
mod bounds;
mod causes;
mod check;
mod clock;
mod config;
mod connections;
mod create;
mod cut;
mod docs;
mod drill;
mod dump;
mod edge;
mod globals;
mod http;
mod inserts;
mod label;
mod lexer;
mod lifecycle;
mod matrix;
mod metrics;
mod name;
mod network;
mod page;
mod panics;
mod paste;
mod proxy;
mod regress;
mod remedies;
mod restore;
mod rights;
mod rotation;
mod round_trip;
mod series;
mod source;
mod speed;
mod store;
mod stores;
mod strings;
mod target;
mod terminal;
mod tidy;
mod tls;
mod troubleshooting;
mod trust;
mod variables;
mod verify;
mod versions;
mod words;
