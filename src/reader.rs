//! A backup read whole: the mirror of `dump`.
//!
//! Whoever acts on the end of a backup, by committing a restore or by calling it good, needs a [`ReadWhole`], and only
//! reading every byte makes one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dump::envelope::{Misfit, Opener};
use crate::dump::label::Head;
use crate::fault::{Diagnosed, Fault, Kind};
use crate::format::text::shortened;
use crate::store::download::Download;
use crate::store::{Store, StoreError};
use stream::gzip;
use stream::replay::{Needs, Omit, Replay};
use stream::script::{self, Contents, Inside, Lost, TableName, Unchecked};

/// One object as it was found; what is read later is this very one, or there is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// Whether it may have another name than its own.
    pub may_be_renamed: bool,
}

impl Found {
    /// Looks an object up.
    ///
    /// # Errors
    /// What the store answered; [`ReadError::Missing`] when it is not there.
    pub async fn look_up(store: &Store, key: &str) -> Result<Self, ReadError> {
        let head = store.head(key).await?.ok_or(ReadError::Missing)?;
        Ok(Self {
            key: key.to_owned(),
            size: head.size,
            etag: head.etag,
            may_be_renamed: false,
        })
    }

    /// The same, with leave to have another name than the one it was made under.
    #[must_use]
    pub fn perhaps_renamed(self, may_be_renamed: bool) -> Self {
        Self {
            may_be_renamed,
            ..self
        }
    }

    /// Whether it is under the name that it says is its own. The folder may be another.
    fn has_name_of(&self, head: &Head) -> bool {
        file_name(&self.key) == file_name(&head.name)
    }
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// How far reading has come, for a bar or a log line.
#[derive(Debug, Default)]
pub struct Meter {
    object_bytes: AtomicU64,
    plain_bytes: AtomicU64,
    rows: AtomicU64,
    table: Mutex<Option<TableName>>,
}

/// What a [`Meter`] shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the object that were read.
    pub object_bytes: u64,
    /// Bytes of text they held.
    pub plain_bytes: u64,
    /// Rows so far.
    pub rows: u64,
    /// The table whose rows are passing; empty outside of tables.
    pub table: String,
}

impl Meter {
    /// How far it is now.
    #[must_use]
    pub fn show(&self) -> Progress {
        Progress {
            object_bytes: self.object_bytes.load(Ordering::Relaxed),
            plain_bytes: self.plain_bytes.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            table: self
                .table
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }

    fn set(&self, object_bytes: u64, replay: &Replay) {
        let (bytes, rows) = replay.script().position();
        self.object_bytes.store(object_bytes, Ordering::Relaxed);
        self.plain_bytes.store(bytes, Ordering::Relaxed);
        self.rows.store(rows, Ordering::Relaxed);
        let now = replay.script().copying();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.as_ref() != now {
            *table = now.cloned();
        }
    }
}

/// Proof that a backup was read to its end and is whole: the announced length came, each gzip member's checksum fits, the
/// dump's end marker stands at the end, and the text is the one that the backup describes.
///
/// Only [`read`] makes one:
///
/// ```compile_fail
/// use postgres_s3_backups::reader::{ReadWhole, Summary};
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

/// What a backup says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows, tables and bytes.
    pub contents: Contents,
    /// Roles and extensions.
    pub needs: Needs,
    /// Constraints that the source had not checked against its rows (`NOT VALID`).
    pub unchecked_constraints: Vec<Unchecked>,
    /// Whether there were more of them than are kept.
    pub has_more_unchecked: bool,
    /// Statements that define something: none of rows, of settings, or of transactions.
    pub definitions: u64,
    /// Statements that begin, end or name a transaction. A dump of `pg_dump` holds none but those that a restore leaves out.
    pub transaction_statements: u64,
    /// Commands to `psql` itself, the same.
    pub client_commands: u64,
    /// The version of the server it came from.
    pub dumped_from: String,
    /// The version of the `pg_dump` that made it.
    pub dumped_by: String,
    /// Its description of itself; backups of older versions have none.
    pub head: Option<Arc<Head>>,
}

impl Summary {
    /// The major version of the server it came from.
    #[must_use]
    pub fn server_major(&self) -> Option<u16> {
        major(&self.dumped_from)
    }

    /// Says how far a backup that describes nothing of itself was found whole.
    pub fn tell_how_whole(&self, name: &str) {
        if self.head.is_none() {
            tracing::info!(
                name,
                hint = "it was made by a version of this service that bound its parts together by no checksum",
                "backup whole as far as gzip and the dump can tell"
            );
        }
    }

    /// Says what is odd about a backup that was read whole. None of it is a reason not to restore it: a restore has other
    /// means to hold statements and commands off that are not its own.
    pub fn warn(&self, name: &str) {
        if self.transaction_statements > 0 || self.client_commands > 0 {
            tracing::warn!(
                name,
                transaction_statements = self.transaction_statements,
                client_commands = self.client_commands,
                hint = "find out who wrote this object; a restore of it changes nothing, or ends with an error",
                "backup holds what no dump of pg_dump holds"
            );
        }
        if let Some(inside) = self.contents.ends_inside {
            tracing::warn!(name, inside = %inside, hint = script::ENDS_INSIDE_HINT, "backup ends inside of something");
        }
        if self.contents.has_more_tables {
            tracing::warn!(
                name,
                tables = self.contents.tables.len(),
                hint = "the rows of the others are in the sum only",
                "backup holds too many tables to count them one by one"
            );
        }
    }
}

fn major(version: &str) -> Option<u16> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

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
    #[error("{what} {place}")]
    Gzip {
        /// What is wrong.
        what: String,
        /// How far it was good.
        place: Place,
    },
    /// The gzip file is whole, and what it holds is no dump.
    #[error("the object is a gzip file, but not of a plain dump of pg_dump ({0} bytes of text)")]
    NotADump(u64),
    /// The gzip file is whole, and the dump in it is cut off.
    #[error("the dump in it has no end {0}")]
    NotWhole(Place),
    /// The gzip file is whole, and nobody can tell what `psql` would make of the text in it.
    #[error("the text in it is no dump: {0}")]
    Lost(Lost),
    /// It is not what it says of itself.
    #[error("{0} {1}")]
    Misfit(Misfit, Place),
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
pub struct Place {
    object_bytes: u64,
    size: u64,
    rows: u64,
    table: String,
}

impl std::fmt::Display for Place {
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
    let replay = Replay::new(omit);
    let (text, outcome) = run(store, found, replay, sink, meter, Extent::Whole).await?;
    judge(text, outcome, found, meter)
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
    judge(text, outcome, found, &meter)
}

/// Whether what was read is all there was.
fn judge(
    text: Text,
    outcome: io::Result<()>,
    found: &Found,
    meter: &Meter,
) -> Result<ReadWhole, ReadError> {
    let Text { replay, opener } = &text;
    let place = place(replay, found, meter);
    if let Err(error) = outcome {
        return Err(explain(error, place));
    }
    let summary = summary(&text);
    let misfit = opener.judge(replay).err();
    // A text that ends too early has no tail either; where it ends says more.
    if let Some(misfit) = misfit
        .clone()
        .filter(|misfit| *misfit != Misfit::NoTail || replay.script().is_whole())
    {
        return Err(of_misfit(misfit, place));
    }
    if !replay.script().is_whole() {
        return Err(
            if let Some(Inside::Lost(lost)) = summary.contents.ends_inside {
                ReadError::Lost(lost)
            } else if replay.script().dumped_by().is_some() || misfit.is_some() {
                ReadError::NotWhole(place)
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
    let place = place(&text.replay, found, &meter);
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(explain(error, place)),
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
        of_misfit(misfit.clone(), Place::default())
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

fn of_misfit(misfit: Misfit, place: Place) -> ReadError {
    match misfit {
        Misfit::Format(_) => ReadError::Newer(misfit),
        misfit => ReadError::Misfit(misfit, place),
    }
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

fn place(replay: &Replay, found: &Found, meter: &Meter) -> Place {
    Place {
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

/// What an error of the decompressor means, wherever it came up.
#[must_use]
pub fn cause(error: io::Error) -> ReadError {
    explain(error, Place::default())
}

/// What an error of the decompressor means.
fn explain(error: io::Error, place: Place) -> ReadError {
    let kind = error.kind();
    let text = error.to_string();
    if let Some(inner) = error.into_inner() {
        return match inner.downcast::<ReadError>() {
            Ok(error) => match *error {
                ReadError::Misfit(misfit, _) => ReadError::Misfit(misfit, place),
                error => error,
            },
            Err(inner) => match inner.downcast::<StoreError>() {
                Ok(error) => ReadError::Store(*error),
                Err(inner) => ReadError::Gzip {
                    what: format!("its compressed data is damaged: {inner}"),
                    place,
                },
            },
        };
    }
    let what = if kind == io::ErrorKind::UnexpectedEof {
        "it is cut off in the middle of its compressed data".to_owned()
    } else {
        format!("its compressed data is damaged: {text}")
    };
    ReadError::Gzip { what, place }
}
