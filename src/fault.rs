//! The closed set of names for what can go wrong.
//!
//! Operators filter logs by them and monitors read them from `/health`, so a name never carries a value.

pub mod chain;

/// What a failure to read or to prove a backup says of that backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not good.
    Backup,
    /// Nothing: the store, a server, the network, the disk or time was in the way.
    Surroundings,
    /// Nothing: where it was to be proven it can't be, until somebody sets something.
    Unprovable,
    /// It is not there any more, or another one has its name.
    Gone,
    /// Nothing: the service was told to stop.
    Stopped,
}

/// What kind of failure ended an attempt, a restore or a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The database could not be reached: refused, timed out, unknown host.
    Connect,
    /// The database and this service could not agree on TLS.
    Tls,
    /// The database refused the user, the password or the database's name.
    Auth,
    /// No client here can dump that server's version.
    Version,
    /// A table, schema or large object may not be read by this user.
    Permission,
    /// Another session held a lock for longer than the dump waits.
    LockWait,
    /// `pg_dump` ended with an error of its own.
    DumpExit,
    /// `pg_dump` was ended by a signal.
    DumpSignal,
    /// `pg_dump` gave no byte for too long.
    DumpStalled,
    /// `pg_dump` said it ended well, but its output is not a whole dump.
    DumpInvalid,
    /// The compressor failed.
    Compress,
    /// The store refused the credentials or the right.
    StoreDenied,
    /// The store refused the request itself: no such bucket, a rule broken.
    StoreRejected,
    /// Somebody else's object already holds the name.
    StoreConflict,
    /// The store could not be reached or answered with an error of its own.
    StoreUnavailable,
    /// The store did not answer in time.
    StoreTimeout,
    /// What the store says it holds is not what was sent.
    StoreMismatch,
    /// This machine's clock differs too much from the store's.
    Clock,
    /// An object in the bucket is not a whole backup.
    Damaged,
    /// Something was asked that could destroy data, or that can't work; nothing was changed.
    Refused,
    /// `psql` ended with an error of its own during a restore.
    Restore,
    /// What was restored is not what was dumped.
    Unproven,
    /// A drill where this backup can't be proven: an extension, a locale or a right is missing there.
    Unprovable,
    /// The attempt ran into `BACKUP_TIMEOUT`.
    Deadline,
    /// The service was told to stop.
    Cancelled,
    /// A defect of this program or of the machine under it.
    Internal,
}

impl Kind {
    /// Every one, in the order above.
    pub const ALL: [Self; 26] = [
        Self::Connect,
        Self::Tls,
        Self::Auth,
        Self::Version,
        Self::Permission,
        Self::LockWait,
        Self::DumpExit,
        Self::DumpSignal,
        Self::DumpStalled,
        Self::DumpInvalid,
        Self::Compress,
        Self::StoreDenied,
        Self::StoreRejected,
        Self::StoreConflict,
        Self::StoreUnavailable,
        Self::StoreTimeout,
        Self::StoreMismatch,
        Self::Clock,
        Self::Damaged,
        Self::Refused,
        Self::Restore,
        Self::Unproven,
        Self::Unprovable,
        Self::Deadline,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The name as it appears in logs and in `/health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Version => "version",
            Self::Permission => "permission",
            Self::LockWait => "lock_wait",
            Self::DumpExit => "dump_exit",
            Self::DumpSignal => "dump_signal",
            Self::DumpStalled => "dump_stalled",
            Self::DumpInvalid => "dump_invalid",
            Self::Compress => "compress",
            Self::StoreDenied => "store_denied",
            Self::StoreRejected => "store_rejected",
            Self::StoreConflict => "store_conflict",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreTimeout => "store_timeout",
            Self::StoreMismatch => "store_mismatch",
            Self::Clock => "clock",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Restore => "restore",
            Self::Unproven => "unproven",
            Self::Unprovable => "unprovable",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// What it says of a backup that was to be read or proven.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Damaged | Self::Restore | Self::Unproven => Fault::Backup,
            Self::Unprovable => Fault::Unprovable,
            Self::Cancelled => Fault::Stopped,
            _ => Fault::Surroundings,
        }
    }

    /// Whether another attempt a few minutes later can end better; waiting mends no password.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Connect
            | Self::LockWait
            | Self::DumpExit
            | Self::DumpSignal
            | Self::DumpStalled
            | Self::DumpInvalid
            | Self::Compress
            | Self::StoreConflict
            | Self::StoreUnavailable
            | Self::StoreTimeout
            | Self::StoreMismatch
            | Self::Internal => true,
            Self::Tls
            | Self::Auth
            | Self::Version
            | Self::Permission
            | Self::StoreDenied
            | Self::StoreRejected
            | Self::Clock
            | Self::Damaged
            | Self::Refused
            | Self::Restore
            | Self::Unproven
            | Self::Unprovable
            | Self::Deadline
            | Self::Cancelled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_the_list_of_all() {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let written = include_str!("fault.rs").lines().filter_map(|line| {
            let (_, name) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
            name.strip_suffix("\",")
        });
        assert_eq!(names, written.collect::<Vec<_>>());
    }
}
