//! The words of servers and of `pg_dump` about a dump that failed.

use super::Row;
use super::Words::{Around, Begins};
use super::connecting::LOST;
use crate::postgres::Cause;

/// A server's words during a dump.
pub(super) const DUMPING: &[Row] = &[
    (
        Cause::LargeObject,
        &[Begins("permission denied for large object ")],
    ),
    (Cause::Permission, &[Begins("permission denied for ")]),
    (
        Cause::RowSecurity,
        &[Begins(
            "query would be affected by row-level security policy for table ",
        )],
    ),
    (
        Cause::Locked,
        &[
            Begins("canceling statement due to statement timeout"),
            Begins("canceling statement due to lock timeout"),
            Begins("could not obtain lock on "),
        ],
    ),
    (
        Cause::Cancelled,
        &[Begins("canceling statement due to user request")],
    ),
    (
        Cause::Standby,
        &[
            Begins("canceling statement due to conflict with recovery"),
            Begins("terminating connection due to conflict with recovery"),
        ],
    ),
    (
        Cause::Terminated,
        &[
            Begins("terminating connection "),
            Begins("the database system is "),
        ],
    ),
    (Cause::LocksExhausted, &[Begins("out of shared memory")]),
    (
        Cause::TooLarge,
        &[
            Begins("invalid memory alloc request size "),
            Begins("string buffer exceeds maximum allowed length "),
            Begins("out of memory\nDETAIL:  Cannot enlarge string buffer "),
        ],
    ),
    (Cause::ServerMemory, &[Begins("out of memory")]),
    (
        Cause::Library,
        &[
            Begins("could not access file "),
            Begins("could not load library "),
            Begins("could not find function "),
            Begins("incompatible library "),
        ],
    ),
    (
        Cause::DiskFull,
        &[
            Begins("could not extend file "),
            Begins("could not write to file "),
            Begins("could not write block "),
        ],
    ),
    (
        Cause::DamagedFiles,
        &[
            Begins("invalid page in block "),
            Begins("could not read block "),
            Begins("could not open file "),
            Begins("could not access status of transaction "),
            Begins("missing chunk number "),
            Begins("unexpected chunk number "),
            Begins("compressed pglz data is corrupt"),
            Begins("compressed lz4 data is corrupt"),
        ],
    ),
    (
        Cause::Dropped,
        &[
            Around("relation \"", "\" does not exist"),
            Begins("relation with OID "),
            Begins("could not open relation with OID "),
            Begins("cache lookup failed for "),
        ],
    ),
];

/// The words of `pg_dump` itself, and of libpq, once there is a session.
pub(super) const PG_DUMP: &[Row] = &[
    (Cause::ConnectionLost, LOST),
    (
        Cause::ClientMemory,
        &[
            Begins("out of memory"),
            Begins("cannot allocate memory for "),
            Begins("lost synchronization with server: "),
        ],
    ),
    (
        Cause::Version,
        &[Begins("aborting because of server version mismatch")],
    ),
    (Cause::NothingMatches, &[Begins("no matching ")]),
    (
        Cause::Sequence,
        &[Begins("failed to get data for sequence ")],
    ),
    (
        Cause::Options,
        &[
            Begins("options "),
            Begins("option "),
            Begins("invalid compression "),
            Begins("invalid value "),
            Begins("unrecognized compression algorithm"),
            Begins("too many command-line arguments"),
        ],
    ),
];
