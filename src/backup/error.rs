//! Why an attempt to make a backup failed.

use std::time::Duration;

use stream::pipeline::PipelineError;

use crate::dump::DumpError;
use crate::fault::{Diagnosed, Kind};
use crate::postgres::PostgresError;
use crate::store::StoreError;

/// Why an attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// The database could not be asked, or no client fits it.
    #[error("the database could not be asked: {0}")]
    Postgres(#[from] PostgresError),
    /// The dump is not whole.
    #[error("the dump failed: {0}")]
    Dump(#[from] DumpError),
    /// The store refused, or holds something else than was sent.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A manual run's name exists: a collision is an error, never an overwrite.
    #[error("begin {0}: an object of that name exists already")]
    NameTaken(String),
    /// An object of that name was there long before the time in it, so no run of this service wrote it then.
    #[error("begin {0}: an object of that name was there more than a day before its time")]
    NamePlanted(String),
    /// The compressor or its thread failed.
    #[error("compress the dump: {0}")]
    Compress(String),
    /// It took too long.
    #[error("the attempt took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("the service was told to stop")]
    Cancelled,
}

impl Diagnosed for BackupError {
    fn kind(&self) -> Kind {
        match self {
            Self::Postgres(error) => error.kind,
            Self::Dump(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::NameTaken(_) | Self::NamePlanted(_) => Kind::StoreConflict,
            Self::Compress(_) => Kind::Compress,
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::NameTaken(_) | Self::NamePlanted(_) => false,
            Self::Postgres(error) => error.is_retryable(),
            Self::Dump(error) => error.is_retryable(),
            error => error.kind().is_retryable(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Postgres(error) => &error.hint,
            Self::Dump(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NameTaken(_) => "nothing was overwritten; start the run again a second later",
            Self::NamePlanted(_) => {
                "nothing was overwritten; find out who wrote that object (a clock that was wrong, or somebody with the bucket's token), remove it, and run the command backup"
            }
            Self::Compress(_) => {
                "this is a defect of the service or of the machine; the next attempt starts from the beginning"
            }
            Self::Deadline(_) => {
                "find out what is slow (the progress lines tell), or raise BACKUP_TIMEOUT"
            }
            Self::Cancelled => "nothing was stored; the next start runs what is due",
        }
    }
}

impl From<PipelineError> for BackupError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Read(error) => {
                let dump_error = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<DumpError>());
                Self::Dump(
                    dump_error.map_or_else(|| DumpError::Read(error.to_string()), Clone::clone),
                )
            }
            PipelineError::Compress(said) => Self::Compress(said),
            PipelineError::Stopped => Self::Compress("it was stopped".to_owned()),
        }
    }
}
