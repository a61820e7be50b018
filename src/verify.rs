//! Backups read whole, with one line on each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::kind::Kind;
use crate::reader::{self, Found, Meter, ReadError, ReadWhole};
use crate::replay::Omit;

/// Why a backup was not found good.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// It is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// It took too long.
    #[error("reading it took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("reading was stopped")]
    Cancelled,
}

impl VerifyError {
    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Deadline(_) => "find out what is slow, or raise BACKUP_TIMEOUT",
            Self::Cancelled => "nothing was changed",
        }
    }
}

/// Reads one backup to its end.
///
/// # Errors
/// When it is not whole, or could not be read in time.
pub async fn backup(
    catalog: &Catalog,
    key: &str,
    meter: &Arc<Meter>,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<ReadWhole, VerifyError> {
    let work = async {
        let found = Found::look_up(catalog.store(), key).await?;
        let read = reader::read(catalog.store(), &found, Omit::default(), None, meter);
        read.await.map_err(VerifyError::Read)
    };
    tokio::select! {
        read = work => read,
        () = tokio::time::sleep(limit) => Err(VerifyError::Deadline(limit)),
        () = stop.cancelled() => Err(VerifyError::Cancelled),
    }
}
