//! The closed list of names for what can go wrong, and what every failure says about itself.
//!
//! Operators filter logs by these names and monitors read them from `/health`, so a name never holds a value.

pub(crate) mod chain;
mod wrong;

pub use wrong::Wrong;

/// What a failure to read or to prove a backup says about that backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The backup is not good.
    Backup,
    /// Nothing: the store, a server, the network, the disk or the time limit was in the way.
    Surroundings,
    /// Nothing: it can't be proven in that place until somebody changes a setting there.
    Unprovable,
    /// The backup is not there any more, or another object has its name.
    Gone,
    /// Nothing: the service was told to stop.
    Stopped,
}

/// What every failure says about itself, besides its text.
pub trait Diagnosed: std::error::Error {
    /// The name of its kind. This is all that `/health` and the labels of metrics show of it.
    fn kind(&self) -> Kind;

    /// What to do about it.
    fn hint(&self) -> &str;

    /// Whether another attempt some minutes later may succeed.
    fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// What it says about a backup that was to be read or proven.
    fn fault(&self) -> Fault {
        self.kind().fault()
    }
}

/// Logs a failure at a level, with its `kind`, its text as `error`, and its `hint`. The other fields of the line and its message
/// follow, as in the macros of `tracing`.
macro_rules! log_failure {
    ($level:ident, $failure:expr, $($rest:tt)+) => {{
        use $crate::fault::Diagnosed as _;
        let failure = &$failure;
        tracing::$level!(
            kind = failure.kind().as_str(),
            error = %failure,
            hint = failure.hint(),
            $($rest)+
        );
    }};
}
pub(crate) use log_failure;

/// Makes [`Kind`] of one table: its variants, their names, and whether a failure of the kind is worth another attempt.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, retryable = $retryable:literal;)+) => {
        /// What kind of failure ended an attempt, a restore or a drill.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
        pub enum Kind {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name as it appears in logs and in `/health`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Whether another attempt some minutes later may succeed. A wrong password is still wrong then.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(Self::$variant => $retryable,)+
                }
            }
        }
    };
}

kinds! {
    /// The database could not be reached: refused, timed out, unknown host.
    Connect = "connect", retryable = true;
    /// The database and this service could not agree on TLS.
    Tls = "tls", retryable = false;
    /// The database refused the user, the password or the database's name.
    Auth = "auth", retryable = false;
    /// No client here can dump that server's version.
    Version = "version", retryable = false;
    /// A table, schema or large object may not be read by this user.
    Permission = "permission", retryable = false;
    /// Another session held a lock for longer than a dump waits.
    LockWait = "lock_wait", retryable = true;
    /// `pg_dump` ended with an error of its own.
    DumpExit = "dump_exit", retryable = true;
    /// `pg_dump` was ended by a signal.
    DumpSignal = "dump_signal", retryable = true;
    /// `pg_dump` wrote nothing for too long.
    DumpStalled = "dump_stalled", retryable = true;
    /// `pg_dump` reported success, but its output is not a whole dump.
    DumpInvalid = "dump_invalid", retryable = true;
    /// The compressor failed.
    Compress = "compress", retryable = true;
    /// The store refused the credentials, or the right to do something.
    StoreDenied = "store_denied", retryable = false;
    /// The store refused the request itself: the bucket does not exist, or a rule was broken.
    StoreRejected = "store_rejected", retryable = false;
    /// Somebody else's object already holds the name.
    StoreConflict = "store_conflict", retryable = true;
    /// The store could not be reached, or answered with an error of its own.
    StoreUnavailable = "store_unavailable", retryable = true;
    /// The store did not answer in time.
    StoreTimeout = "store_timeout", retryable = true;
    /// What the store says it holds is not what was sent.
    StoreMismatch = "store_mismatch", retryable = true;
    /// This machine's clock differs too much from the store's.
    Clock = "clock", retryable = false;
    /// An object in the bucket is not a whole backup.
    Damaged = "damaged", retryable = false;
    /// The request could destroy data, or can't work. Nothing was changed.
    Refused = "refused", retryable = false;
    /// `psql` ended with an error of its own during a restore.
    Restore = "restore", retryable = false;
    /// What was restored is not what was dumped.
    Unproven = "unproven", retryable = false;
    /// The backup can't be proven where the drill took place: an extension, a locale or a right is missing there.
    Unprovable = "unprovable", retryable = false;
    /// The attempt ran into `BACKUP_TIMEOUT`.
    Deadline = "deadline", retryable = false;
    /// The service was told to stop.
    Cancelled = "cancelled", retryable = false;
    /// A defect of this program or of the machine under it.
    Internal = "internal", retryable = true;
}

impl Kind {
    /// What it says about a backup that was to be read or proven.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Damaged | Self::Restore | Self::Unproven => Fault::Backup,
            Self::Unprovable => Fault::Unprovable,
            Self::Cancelled => Fault::Stopped,
            _ => Fault::Surroundings,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own_which_json_shows_too() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                serde_json::json!(kind.as_str())
            );
        }
    }
}
