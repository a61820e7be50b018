//! Reads what the bucket holds to its end: the backups of this service, and the archives that Railway's template made under
//! the same prefix.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::fault::{Diagnosed, Fault, Kind};
use crate::reader::{self, Found, Meter, ReadError, ReadWhole};
use crate::store::download::Download;
use stream::archive::{Archive, Defect, Inventory};
use stream::gzip;
use stream::replay::Omit;

/// Why a backup could not be called good.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum VerifyError {
    /// It is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// It is one of the template's archives, and it is not whole.
    #[error("{}", .0.join("; "))]
    Archive(Vec<String>),
    /// It is too large to be examined here.
    #[error("{0}")]
    Beyond(Defect),
    /// It took too long.
    #[error("reading it took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("reading was stopped")]
    Cancelled,
}

impl Diagnosed for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Archive(_) => Kind::Damaged,
            Self::Beyond(_) => Kind::Refused,
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Read(error) => error.fault(),
            error => error.kind().fault(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Archive(_) => {
                "this archive of the old template can't be relied on; keep it only if there is no other, and make a backup now with: postgres-s3-backups backup"
            }
            Self::Beyond(_) => {
                "nothing is known to be wrong with it; have pg_restore read it: gunzip, then pg_restore --format=tar into an empty database"
            }
            Self::Deadline(_) => "find out what is slow, or raise BACKUP_TIMEOUT",
            Self::Cancelled => "nothing was changed",
        }
    }
}

/// Reads one backup to its end.
///
/// # Errors
/// When it is not whole, or could not be read in time.
pub(crate) async fn backup(
    catalog: &Catalog,
    key: &str,
    may_be_renamed: bool,
    meter: &Arc<Meter>,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<ReadWhole, VerifyError> {
    let work = async {
        let found = Found::look_up(catalog.store(), key).await?;
        let found = found.perhaps_renamed(may_be_renamed);
        let read = reader::read(catalog.store(), &found, Omit::default(), None, meter);
        let whole = read.await.map_err(VerifyError::Read)?;
        whole.summary().warn(key);
        Ok(whole)
    };
    within(limit, stop, work).await
}

/// Reads one of the template's archives to its end. `pg_restore` is not used for this, because it can loop for ever on a tar
/// that was cut off.
///
/// # Errors
/// When it is not whole, or could not be read in time.
pub(crate) async fn archive(
    catalog: &Catalog,
    key: &str,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<Inventory, VerifyError> {
    let work = async {
        let found = Found::look_up(catalog.store(), key).await?;
        if found.size == 0 {
            return Err(VerifyError::Read(ReadError::Empty));
        }
        let download = Download::start(catalog.store(), key, &found.etag, found.size);
        let ending = CancellationToken::new();
        let stopped = ending.clone();
        let _stop_when_dropped = ending.drop_guard();
        let thread = tokio::task::spawn_blocking(move || {
            let mut archive = Archive::default();
            let outcome = gzip::decompress(download, async |piece| {
                if stopped.is_cancelled() {
                    return Err(io::Error::other(ReadError::Stopped));
                }
                archive.read(piece);
                Ok(())
            });
            (archive, outcome)
        });
        let (archive, outcome) = thread
            .await
            .map_err(|join| ReadError::Internal(join.to_string()))?;
        combine(archive, outcome.map_err(reader::cause))
    };
    within(limit, stop, work).await
}

/// Combines the results. A defect of the gzip file comes before the defects of the archive in it.
fn combine(archive: Archive, outcome: Result<(), ReadError>) -> Result<Inventory, VerifyError> {
    let damage = match outcome {
        Ok(()) => None,
        Err(ReadError::Gzip { what, .. }) => Some(what),
        Err(error) => return Err(VerifyError::Read(error)),
    };
    match (damage, archive.finish()) {
        (None, Ok(contents)) => Ok(contents),
        (Some(damage), Ok(_)) => Err(VerifyError::Archive(vec![damage])),
        (damage, Err(defects)) => {
            if let Some(beyond) = defects
                .iter()
                .find(|defect| matches!(defect, Defect::Beyond(_)))
            {
                return Err(VerifyError::Beyond(beyond.clone()));
            }
            let defects = defects.iter().map(ToString::to_string);
            Err(VerifyError::Archive(
                damage.into_iter().chain(defects).collect(),
            ))
        }
    }
}

async fn within<T>(
    limit: Duration,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, VerifyError>>,
) -> Result<T, VerifyError> {
    tokio::select! {
        done = work => done,
        () = tokio::time::sleep(limit) => Err(VerifyError::Deadline(limit)),
        () = stop.cancelled() => Err(VerifyError::Cancelled),
    }
}
