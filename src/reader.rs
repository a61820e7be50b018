//! A backup read whole: the mirror of `dump`.
//!
//! Whoever acts on the end of a backup, by committing a restore or by calling it good, needs a [`ReadWhole`], and only
//! reading every byte makes one.

mod error;
mod found;
mod meter;
mod summary;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use stream::gzip;
use stream::replay::{Omit, Replay};
use stream::script::{Contents, Inside};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use error::{ReadError, ReadPosition, cause};
pub use found::Found;
pub use meter::{Meter, Pass, Progress};
pub use summary::Summary;

use self::error::{explain, of_misfit};
use crate::dump::envelope::{Misfit, Opener};
use crate::format::text::shortened;
use crate::store::Store;
use crate::store::download::Download;

/// Proof that a backup was read to its end and is whole: the announced length came, each gzip member's checksum fits, the
/// dump's end marker stands at the end, and the text is the one that the backup describes.
///
/// Only [`read`] makes one. Others can read it:
///
/// ```
/// use postgres_s3_backups::reader::{ReadWhole, Summary};
///
/// fn summary(proof: &ReadWhole) -> &Summary {
///     proof.summary()
/// }
/// ```
///
/// But they can't forge it:
///
/// ```compile_fail
/// use postgres_s3_backups::reader::{ReadWhole, Summary};
///
/// let forged = ReadWhole { summary: Summary::default() };
/// ```
#[derive(Debug)]
#[must_use]
pub struct ReadWhole {
    summary: Summary,
}

impl ReadWhole {
    /// What it holds.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// Reads an object to its end on a thread of its own. What may reach `psql` goes to `sink`, which holds the reading up when
/// it is full; without one the object is only looked at. Dropped, it ends within a piece.
///
/// # Errors
/// Unless every byte was read and the backup is whole.
pub async fn read(
    store: &Store,
    found: &Found,
    omit: Omit,
    sink: Option<mpsc::Sender<Bytes>>,
    meter: &Arc<Meter>,
) -> Result<ReadWhole, ReadError> {
    meter.begin(sink.is_some());
    let replay = Replay::new(omit);
    let (text, outcome) = run(store, found, replay, sink, meter, Extent::Whole).await?;
    check_whole(text, outcome, found, meter)
}

/// Reads what `pg_dumpall` wrote beside a backup, in the same way.
///
/// # Errors
/// Unless every byte was read and it is whole.
pub async fn read_globals(
    store: &Store,
    found: &Found,
    sink: mpsc::Sender<Bytes>,
) -> Result<ReadWhole, ReadError> {
    let (meter, replay) = (Arc::default(), Replay::of_globals());
    let (text, outcome) = run(store, found, replay, Some(sink), &meter, Extent::Whole).await?;
    check_whole(text, outcome, found, &meter)
}

/// Whether what was read is all there was.
fn check_whole(
    text: Text,
    outcome: io::Result<()>,
    found: &Found,
    meter: &Meter,
) -> Result<ReadWhole, ReadError> {
    let Text { replay, opener } = &text;
    let position = ReadPosition::of(replay, found, meter);
    if let Err(error) = outcome {
        return Err(explain(error, position));
    }
    let summary = summary(&text);
    let misfit = opener.check_description(replay).err();
    // A text that ends too early has no tail either; where it ends says more.
    if let Some(misfit) = misfit
        .clone()
        .filter(|misfit| *misfit != Misfit::NoTail || replay.script().is_whole())
    {
        return Err(of_misfit(misfit, position));
    }
    if !replay.script().is_whole() {
        return Err(
            if let Some(Inside::Lost(lost)) = summary.contents.ends_inside {
                ReadError::Lost(lost)
            } else if replay.script().dumped_by().is_some() || misfit.is_some() {
                ReadError::NotWhole(position)
            } else {
                ReadError::NotADump(summary.contents.bytes)
            },
        );
    }
    Ok(ReadWhole { summary })
}

/// Reads an object up to its first rows: its versions and extensions, the roles that own something. It proves nothing.
///
/// # Errors
/// When the beginning can't be read.
pub async fn read_head(store: &Store, found: &Found) -> Result<Summary, ReadError> {
    let meter = Arc::default();
    let (text, outcome) = run(store, found, Replay::default(), None, &meter, Extent::Head).await?;
    let position = ReadPosition::of(&text.replay, found, &meter);
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(explain(error, position)),
    }
    let mut summary = summary(&text);
    // What follows was not read.
    summary.needs.has_letters_beyond_ascii = true;
    if summary.dumped_by.is_empty() {
        return Err(ReadError::NotADump(summary.contents.bytes));
    }
    Ok(summary)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Head,
}

/// A backup's text as far as it was read.
struct Text {
    opener: Opener,
    replay: Replay,
}

async fn run(
    store: &Store,
    found: &Found,
    mut replay: Replay,
    sink: Option<mpsc::Sender<Bytes>>,
    meter: &Arc<Meter>,
    extent: Extent,
) -> Result<(Text, io::Result<()>), ReadError> {
    if found.size == 0 {
        return Err(ReadError::Empty);
    }
    let download = Download::start(store, &found.key, &found.etag, found.size);
    let received = download.counter();
    let stop = CancellationToken::new();
    let (meter, stopped) = (Arc::clone(meter), stop.clone());
    let _stop_when_dropped = stop.drop_guard();
    let named = found.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let mut opener = Opener::default();
        let mut passed = Vec::new();
        let outcome = gzip::decompress(download, async |piece| {
            if stopped.is_cancelled() {
                return Err(io::Error::other(ReadError::Stopped));
            }
            opener.read(piece, &mut replay, &mut passed);
            meter.set(received.load(Ordering::Relaxed), &replay);
            look(&opener, &named)?;
            if extent == Extent::Head && replay.script().copying().is_some() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            send(sink.as_ref(), &mut passed).await
        });
        let outcome = outcome.and_then(|()| {
            opener.end(&mut replay, &mut passed);
            look(&opener, &named)?;
            tokio::runtime::Handle::current().block_on(send(sink.as_ref(), &mut passed))
        });
        meter.set(received.load(Ordering::Relaxed), &replay);
        (Text { opener, replay }, outcome)
    });
    thread
        .await
        .map_err(|join| ReadError::Internal(join.to_string()))
}

/// A key has 1,024 bytes at most.
const NAME_CHARS: usize = 1024;

/// What ends the reading at once: the name is another's, or something is wrong whatever may follow.
fn look(opener: &Opener, found: &Found) -> io::Result<()> {
    let error = if let Some(misfit) = opener.misfit() {
        // Where, is told by who has the meter.
        of_misfit(misfit.clone(), ReadPosition::default())
    } else if let Some(head) = opener.head()
        && !(found.may_be_renamed || found.has_name_of(head))
    {
        ReadError::Renamed {
            own: shortened(&head.name, NAME_CHARS),
            due_at: shortened(&head.due_at, NAME_CHARS),
            found: found.key.clone(),
        }
    } else {
        return Ok(());
    };
    Err(io::Error::other(error))
}

async fn send(sink: Option<&mpsc::Sender<Bytes>>, passed: &mut Vec<u8>) -> io::Result<()> {
    let piece = std::mem::take(passed);
    match sink {
        Some(sink) if !piece.is_empty() => sink
            .send(piece.into())
            .await
            .map_err(|_| io::Error::other(ReadError::Stopped)),
        Some(_) => Ok(()),
        None => {
            *passed = piece;
            passed.clear();
            Ok(())
        }
    }
}

fn summary(Text { opener, replay }: &Text) -> Summary {
    Summary {
        contents: Contents {
            bytes: opener.bytes(),
            ..replay.script().contents()
        },
        needs: replay.needs().clone(),
        unchecked_constraints: replay.script().unchecked_constraints().to_vec(),
        has_more_unchecked: replay.script().has_more_unchecked(),
        definitions: replay.script().definitions(),
        transaction_statements: replay.transaction_statements(),
        client_commands: replay.client_commands(),
        dumped_from: replay.script().dumped_from().unwrap_or_default().to_owned(),
        dumped_by: replay.script().dumped_by().unwrap_or_default().to_owned(),
        head: opener.head().cloned(),
    }
}
