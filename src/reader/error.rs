//! Why a backup could not be read whole, and how far it was good.

use std::io;

use stream::replay::Replay;
use stream::script::Lost;

use super::{Found, Meter};
use crate::dump::envelope::Misfit;
use crate::fault::{Diagnosed, Fault, Kind};
use crate::store::StoreError;

/// Why a backup could not be read whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There is no such object.
    #[error("the bucket holds no such object")]
    Missing,
    /// The store refused, or the object changed on the way.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It has no bytes.
    #[error("the object is empty")]
    Empty,
    /// It is not gzip, or not what the compressor wrote.
    #[error("{what} {position}")]
    Gzip {
        /// What is wrong.
        what: String,
        /// How far it was good.
        position: ReadPosition,
    },
    /// The gzip file is whole, and what it holds is no dump.
    #[error("the object is a gzip file, but not of a plain dump of pg_dump ({0} bytes of text)")]
    NotADump(u64),
    /// The gzip file is whole, and the dump in it is cut off.
    #[error("the dump in it has no end {0}")]
    NotWhole(ReadPosition),
    /// The gzip file is whole, and nobody can tell what `psql` would make of the text in it.
    #[error("the text in it is no dump: {0}")]
    Lost(Lost),
    /// It is not what it says of itself.
    #[error("{0} {1}")]
    Misfit(Misfit, ReadPosition),
    /// It describes itself in a way that is newer than this program.
    #[error("{0}")]
    Newer(Misfit),
    /// It has another name than its own.
    #[error("this object says that it is {own}, made for {due_at}, and lies here as {found}")]
    Renamed {
        /// The name that it was made under.
        own: String,
        /// The time that it was made for.
        due_at: String,
        /// Its name now.
        found: String,
    },
    /// Nobody wants it any more.
    #[error("reading was stopped")]
    Stopped,
    /// The thread that read it ended early.
    #[error("reading ended early: {0}")]
    Internal(String),
}

/// How far a damaged backup was good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadPosition {
    object_bytes: u64,
    size: u64,
    rows: u64,
    table: String,
}

impl ReadPosition {
    pub(super) fn of(replay: &Replay, found: &Found, meter: &Meter) -> Self {
        Self {
            object_bytes: meter.show().object_bytes,
            size: found.size,
            rows: replay.script().position().1,
            table: replay
                .script()
                .copying()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for ReadPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "(after {} of {} bytes, {} rows",
            self.object_bytes, self.size, self.rows
        )?;
        if !self.table.is_empty() {
            write!(f, ", inside {}", self.table)?;
        }
        f.write_str(")")
    }
}

impl Diagnosed for ReadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Missing
            | Self::Empty
            | Self::Gzip { .. }
            | Self::NotADump(_)
            | Self::NotWhole(_)
            | Self::Misfit(..)
            | Self::Lost(_) => Kind::Damaged,
            Self::Newer(_) | Self::Renamed { .. } => Kind::Refused,
            Self::Stopped => Kind::Cancelled,
            Self::Internal(_) => Kind::Internal,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Missing => Fault::Gone,
            Self::Store(error) if error.is_replaced() => Fault::Gone,
            // Whatever a store says, it says nothing of the bytes.
            Self::Store(_) => Fault::Surroundings,
            // Whoever looks for the backup of its name does not have it.
            Self::Renamed { .. } => Fault::Backup,
            error => error.kind().fault(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Missing => "look at the names with: postgres-s3-backups list",
            Self::Store(error) => error.hint(),
            Self::Empty | Self::Gzip { .. } | Self::NotADump(_) | Self::NotWhole(_) => {
                "this object is not a whole backup; restore an older one, and make a new one now with: postgres-s3-backups backup"
            }
            Self::Misfit(..) => {
                "somebody or something has changed this object since it was stored; restore an older one, and make a new one now with: postgres-s3-backups backup"
            }
            Self::Newer(_) => {
                "use the version of this service that made it, or a newer one; or restore it with aws, gunzip and psql alone"
            }
            Self::Renamed { .. } => {
                "somebody has copied or renamed it; if that was meant, say --renamed, and know that it holds the data of the time that it names"
            }
            Self::Lost(_) => "find out who wrote this object, and restore another one",
            Self::Stopped => "nothing was changed",
            Self::Internal(_) => "this is a defect of the service or of the machine; try again",
        }
    }
}

pub(super) fn of_misfit(misfit: Misfit, position: ReadPosition) -> ReadError {
    match misfit {
        Misfit::Format(_) => ReadError::Newer(misfit),
        misfit => ReadError::Misfit(misfit, position),
    }
}

/// What an error of the decompressor means, wherever it came up.
#[must_use]
pub fn cause(error: io::Error) -> ReadError {
    explain(error, ReadPosition::default())
}

/// What an error of the decompressor means.
pub(super) fn explain(error: io::Error, position: ReadPosition) -> ReadError {
    let kind = error.kind();
    let text = error.to_string();
    if let Some(inner) = error.into_inner() {
        return match inner.downcast::<ReadError>() {
            Ok(error) => match *error {
                ReadError::Misfit(misfit, _) => ReadError::Misfit(misfit, position),
                error => error,
            },
            Err(inner) => match inner.downcast::<StoreError>() {
                Ok(error) => ReadError::Store(*error),
                Err(inner) => ReadError::Gzip {
                    what: format!("its compressed data is damaged: {inner}"),
                    position,
                },
            },
        };
    }
    let what = if kind == io::ErrorKind::UnexpectedEof {
        "it is cut off in the middle of its compressed data".to_owned()
    } else {
        format!("its compressed data is damaged: {text}")
    };
    ReadError::Gzip { what, position }
}
