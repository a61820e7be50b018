//! What the community template left in the bucket: `PREFIX-….tar.gz`, a gzip of `pg_dump --format=tar`.
//!
//! The template takes gzip's exit status for `pg_dump`'s, so a dump that broke off half-way lies in the bucket under a
//! name like any other. `pg_restore` is not asked, because on a cut tar it can loop for ever: the tar is walked to its
//! end here, and `pg_dump`'s own table of contents is held against what follows it.
//!
//! A tar has checksums over its headers only. A byte changed inside a row, a large object or a definition cannot be
//! seen here; the CRC of the gzip around it covers the whole.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;

use crate::script::Script;

/// The unit of a tar: a header is one, and a member is filled up to a multiple.
const BLOCK: usize = 512;

/// The most that is kept of `toc.dat` at once: one entry, which may hold the text of a large function.
const ENTRY_BYTES: usize = 64 << 20;

/// The most entries with data that are kept in mind, in some hundred megabytes: `pg_dump` itself needs gigabytes for so many
/// tables.
const MOST_ENTRIES: usize = 250_000;

/// The longest name of a table, of a schema or of a version that is kept; PostgreSQL's own have 63 bytes.
const NAME_BYTES: usize = 1024;

/// How many things that are wrong with an archive are told; the others are counted.
pub const MOST_PROBLEMS: usize = 50;

/// Versions of `toc.dat` that `pg_dump` 9.0 to 18 write, by their minor number.
const TOC_VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;

/// The format byte of an archive in a tar.
const TOC_TAR: u8 = 3;

/// The end of a table's data with `--inserts`, unless it is empty.
const INSERTS_END: &[u8] = b";\n\n\n";

/// Enough for the last words of `restore.sql` and a `\unrestrict` line after them.
const SCRIPT_TAIL: usize = 512;

/// What stands for the member before the first.
const BEGINNING: &str = "its first bytes";

/// Reads a tar of `pg_dump` piece by piece. What it keeps is one entry of `toc.dat` and the list of tables, both of limited
/// size: never a member's data.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: u64,
    state: State,
    /// The header at hand, as far as it was read.
    block: Vec<u8>,
    directory: Directory,
    /// The last member that was there to its last byte.
    last: Option<String>,
    /// The large objects since the last list of them.
    objects: Objects,
    large_objects: u64,
    has_script: bool,
    /// Before 9.3 the header had another magic, and one block of zeros was the end.
    of_old: bool,
    problems: Problems,
}

/// What is wrong: the first things, and how many more.
#[derive(Debug, Default)]
struct Problems {
    first: Vec<Problem>,
    more: u64,
}

impl Problems {
    fn push(&mut self, problem: Problem) {
        if self.first.len() < MOST_PROBLEMS {
            self.first.push(problem);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        if self.more > 0 {
            self.first.push(Problem::More(self.more));
        }
        self.first
    }
}

/// A sequence of large objects, of which only so much is kept that two can be told apart.
#[derive(Debug, Clone, Default)]
struct Objects {
    count: usize,
    hash: DefaultHasher,
}

impl Objects {
    fn add(&mut self, oid: u32) {
        self.count = self.count.saturating_add(1);
        self.hash.write_u32(oid);
    }
}

/// What the next byte belongs to.
#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// The first of the two blocks of zeros at the end was read.
    HalfEnd,
    Member {
        name: String,
        size: u64,
        left: u64,
        body: Body,
    },
    Padding {
        left: u64,
        clean: bool,
    },
    /// Behind the end; more zeros do no harm.
    End {
        clean: bool,
    },
    /// The place of the next header is not known.
    Lost,
}

/// What the bytes of a member are.
#[derive(Debug)]
enum Body {
    Directory,
    /// `COPY` data of an entry.
    Rows {
        entry: usize,
        rows: Rows,
    },
    /// `INSERT` statements of an entry.
    Inserts {
        entry: usize,
        script: Box<Script>,
        tail: Vec<u8>,
    },
    LargeObject,
    /// The list that follows the large objects it names.
    List {
        line: Vec<u8>,
        listed: Objects,
        well_formed: bool,
    },
    /// The last bytes of the script.
    RestoreScript(Vec<u8>),
    /// Of a kind that says nothing about its own end.
    Opaque,
}

/// What an archive that is whole turned out to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of the tar.
    pub bytes: u64,
    /// The version of `pg_dump` that wrote it, such as `16.3`.
    pub dumped_by: Option<String>,
    /// The version of the server it was dumped from.
    pub server_version: Option<String>,
    /// The name of the database.
    pub database: Option<String>,
    /// Tables with a data section, the empty ones included, in the order of the archive.
    pub tables: Vec<Table>,
    /// Rows in all tables.
    pub rows: u64,
    /// Large objects.
    pub large_objects: u64,
}

/// A table's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema, not quoted.
    pub schema: String,
    /// Its name, not quoted.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

/// One thing that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is not one byte.
    #[error("empty: pg_dump wrote nothing")]
    Empty,
    /// The first block is no header.
    #[error("not a tar: {0}")]
    NotTar(&'static str),
    /// A tar, but not one of `pg_dump`.
    #[error("not a dump of pg_dump: the first member of the tar is {0}, not toc.dat")]
    NotDump(String),
    /// It ends within a member's data.
    #[error("cut off inside {member}{}, {have} of {size} bytes", rows_text(*.rows))]
    CutInside {
        /// The member and its table.
        member: String,
        /// Whole rows before the cut, in a table's data.
        rows: Option<u64>,
        /// Bytes that are there.
        have: u64,
        /// Bytes that its header announced.
        size: u64,
    },
    /// It ends within a header or the filling of the last block.
    #[error("cut off after {0}")]
    CutAfter(String),
    /// It ends where a member could begin: `pg_dump` writes each member only when it has all of it.
    #[error("ends after {0}: pg_dump was ended before it wrote the rest")]
    EndedEarly(String),
    /// Only zeros are missing.
    #[error("cut off in the blocks of zeros at the end, after {0}: no data is missing")]
    CutInEnd(String),
    /// A header's checksum or size is wrong.
    #[error("damaged header at byte {at}, after {after}: what follows cannot be read")]
    Header {
        /// Where it begins.
        at: u64,
        /// The member before.
        after: String,
    },
    /// A member's last block is filled with something else than zeros.
    #[error("damaged behind the data of {0}, where only zeros should be")]
    Padding(String),
    /// There is something after the end.
    #[error("more follows after the end of the archive")]
    BehindEnd,
    /// The table of contents cannot be read.
    #[error("the table of contents (toc.dat) is damaged: {0}")]
    Directory(String),
    /// Written by a version this program does not know.
    #[error(
        "the table of contents (toc.dat) has version 1.{0}, and this program reads 1.12 to 1.16"
    )]
    Version(u8),
    /// An entry's data is not there.
    #[error("{what} is missing ({file})")]
    Missing {
        /// What the entry stands for.
        what: String,
        /// The member that should hold it.
        file: String,
    },
    /// An entry's data may be there, but cannot be found.
    #[error("{what} lies behind the damage, or is missing ({file})")]
    Unreached {
        /// What the entry stands for.
        what: String,
        /// The member that should hold it.
        file: String,
    },
    /// A table's data is there in full length but does not end as such data ends.
    #[error("{member} does not end as the data of a table does ({rows} rows read)")]
    Unterminated {
        /// The member and its table.
        member: String,
        /// The rows read.
        rows: u64,
    },
    /// A member that no entry names.
    #[error("{0} is in the tar but not in its table of contents")]
    Unlisted(String),
    /// A member that came before.
    #[error("{0} is there twice")]
    Twice(String),
    /// A list does not name the large objects before it.
    #[error("{list} names {listed} large objects, and {found} are there{}", if .listed == .found { ", but not the same ones" } else { "" })]
    LargeObjects {
        /// The member with the list.
        list: String,
        /// Those it names.
        listed: usize,
        /// Those that are there.
        found: usize,
    },
    /// Large objects after which no list came.
    #[error("{0} large objects are there without the list of them")]
    NoList(usize),
    /// The last member is not there.
    #[error("restore.sql is missing, which pg_dump writes last")]
    NoScript,
    /// The last member is cut.
    #[error("restore.sql does not end as pg_dump ends it")]
    ScriptCut,
    /// Further ones.
    #[error("and {0} more")]
    More(u64),
    /// It is larger than what can be looked at here, which says nothing about it.
    #[error("the table of contents (toc.dat) holds {0}, which is more than this program reads")]
    Beyond(String),
}

fn rows_text(rows: Option<u64>) -> String {
    rows.map_or_else(String::new, |rows| {
        format!(" after {rows} {}", if rows == 1 { "row" } else { "rows" })
    })
}

impl Archive {
    /// Takes the next piece, decompressed.
    pub fn read(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let taken = self.step(piece).clamp(1, piece.len());
            self.bytes = self.bytes.saturating_add(length(taken));
            piece = piece.split_at(taken).1;
        }
    }

    /// What was read so far. Of a broken archive: what could still be got out of it.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let head = self.directory.head.as_ref();
        let tables: Vec<Table> = self
            .directory
            .entries
            .iter()
            .filter(|entry| entry.whole && entry.kind.is_table())
            .map(|entry| entry.table.clone())
            .collect();
        Contents {
            bytes: self.bytes,
            dumped_by: head.and_then(|head| head.dumped_by.clone()),
            server_version: head.and_then(|head| head.server_version.clone()),
            database: head.and_then(|head| head.database.clone()),
            rows: tables
                .iter()
                .fold(0, |sum, table| table.rows.saturating_add(sum)),
            tables,
            large_objects: self.large_objects,
        }
    }

    /// What the archive holds, if it is there to its end.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the archive, then what is missing.
    pub fn finish(mut self) -> Result<Contents, Vec<Problem>> {
        let (cut, ends) = match &self.state {
            _ if self.bytes == 0 => (Some(Problem::Empty), false),
            State::Header if self.block.is_empty() && !self.has_script => {
                (Some(Problem::EndedEarly(self.after())), false)
            }
            State::Header if self.last.is_none() => (Some(not_tar(&self.block)), false),
            State::Header if self.has_script && self.block.iter().all(|byte| *byte == 0) => {
                (Some(Problem::CutInEnd(self.after())), true)
            }
            State::Header | State::Padding { .. } => (Some(Problem::CutAfter(self.after())), false),
            State::Member {
                name,
                size,
                left,
                body,
            } => {
                let rows = match body {
                    Body::Rows { rows, .. } => Some(rows.count),
                    Body::Inserts { script, .. } => Some(script.contents().rows),
                    _ => None,
                };
                let cut = Problem::CutInside {
                    member: self.directory.label(name),
                    rows,
                    have: size.saturating_sub(*left),
                    size: *size,
                };
                (Some(cut), false)
            }
            State::HalfEnd if self.of_old && self.block.is_empty() => (None, true),
            State::HalfEnd => (Some(Problem::CutInEnd(self.after())), true),
            State::End { .. } => (None, true),
            State::Lost => (None, false),
        };
        cut.into_iter()
            .for_each(|problem| self.problems.push(problem));
        if ends && !self.has_script {
            self.problems.push(Problem::NoScript);
        }
        if ends && self.directory.damage.is_none() && self.objects.count > 0 {
            self.problems.push(Problem::NoList(self.objects.count));
        }
        let lost = matches!(self.state, State::Lost);
        for entry in self.directory.entries.iter().filter(|entry| !entry.seen) {
            let what = entry.kind.describe(&entry.table);
            let file = entry.file.clone();
            self.problems.push(if lost {
                Problem::Unreached { what, file }
            } else {
                Problem::Missing { what, file }
            });
        }
        if self.problems.first.is_empty() {
            Ok(self.contents())
        } else {
            Err(self.problems.finish())
        }
    }

    /// Takes some of the bytes, at least one, and says how many.
    fn step(&mut self, piece: &[u8]) -> usize {
        match &mut self.state {
            State::Header | State::HalfEnd => {
                let taken = piece.len().min(BLOCK.saturating_sub(self.block.len()));
                self.block.extend(piece.iter().take(taken));
                if self.block.len() == BLOCK {
                    let at = self
                        .bytes
                        .saturating_add(length(taken))
                        .saturating_sub(length(BLOCK));
                    let block = std::mem::take(&mut self.block);
                    self.state = self.header(at, &block);
                    self.end_if_complete();
                }
                taken
            }
            State::Member { left, body, .. } => {
                let taken = fit(piece.len(), *left);
                *left = left.saturating_sub(length(taken));
                let data = piece.split_at(taken).0;
                match body {
                    Body::Directory => self.directory.read(data),
                    Body::Rows { rows, .. } => rows.read(data),
                    Body::Inserts { script, tail, .. } => {
                        script.read(data);
                        keep_tail(tail, data, INSERTS_END.len());
                    }
                    Body::List {
                        line,
                        listed,
                        well_formed,
                    } => read_list(data, line, listed, well_formed),
                    Body::RestoreScript(tail) => keep_tail(tail, data, SCRIPT_TAIL),
                    Body::LargeObject | Body::Opaque => {}
                }
                self.end_if_complete();
                taken
            }
            State::Padding { left, clean } => {
                let taken = fit(piece.len(), *left);
                *left = left.saturating_sub(length(taken));
                *clean &= piece.iter().take(taken).all(|byte| *byte == 0);
                if *left == 0 {
                    if !*clean {
                        self.problems.push(Problem::Padding(self.after()));
                    }
                    self.state = State::Header;
                }
                taken
            }
            State::End { clean } => {
                if *clean && piece.iter().any(|byte| *byte != 0) {
                    *clean = false;
                    self.problems.push(Problem::BehindEnd);
                }
                piece.len()
            }
            State::Lost => piece.len(),
        }
    }

    fn after(&self) -> String {
        self.last.clone().unwrap_or_else(|| BEGINNING.to_owned())
    }

    fn header(&mut self, at: u64, block: &[u8]) -> State {
        let zeros = block.iter().all(|byte| *byte == 0);
        match (&self.state, zeros) {
            (State::HalfEnd, true) => return State::End { clean: true },
            (State::Header, true) if self.last.is_some() => return State::HalfEnd,
            (State::Header, false) => {}
            _ if self.last.is_none() => {
                self.problems.push(not_tar(block));
                return State::Lost;
            }
            _ => {
                let after = self.after();
                self.problems.push(Problem::Header { at, after });
                return State::Lost;
            }
        }
        let Some((name, size)) = parse_header(block) else {
            self.problems
                .push(if self.last.is_none() && !is_named_tar(block) {
                    not_tar(block)
                } else {
                    let after = self.after();
                    Problem::Header { at, after }
                });
            return State::Lost;
        };
        if self.last.is_none() && name != "toc.dat" {
            self.problems.push(Problem::NotDump(name));
            return State::Lost;
        }
        self.of_old = magic(block) == Some(b"ustar00\0");
        let body = self.body(&name);
        State::Member {
            name,
            size,
            left: size,
            body,
        }
    }

    fn body(&mut self, name: &str) -> Body {
        if self.last.is_none() {
            return Body::Directory;
        }
        if name == "restore.sql" && !self.has_script {
            self.has_script = true;
            return Body::RestoreScript(Vec::new());
        }
        let object = name
            .strip_prefix("blob_")
            .and_then(|rest| rest.strip_suffix(".dat"))
            .and_then(|oid| oid.parse().ok());
        if let Some(oid) = object {
            self.objects.add(oid);
            return Body::LargeObject;
        }
        let Some((index, entry)) = self.directory.find(name) else {
            if self.directory.damage.is_none() {
                self.problems.push(Problem::Unlisted(name.to_owned()));
            }
            return Body::Opaque;
        };
        if std::mem::replace(&mut entry.seen, true) {
            self.problems.push(Problem::Twice(name.to_owned()));
            return Body::Opaque;
        }
        match entry.kind {
            Kind::Rows => Body::Rows {
                entry: index,
                rows: Rows::default(),
            },
            Kind::Inserts => Body::Inserts {
                entry: index,
                script: Box::default(),
                tail: Vec::new(),
            },
            Kind::LargeObjects => Body::List {
                line: Vec::new(),
                listed: Objects::default(),
                well_formed: true,
            },
        }
    }

    /// Closes a member whose last byte was read.
    fn end_if_complete(&mut self) {
        if !matches!(&self.state, State::Member { left: 0, .. }) {
            return;
        }
        let State::Member {
            name, size, body, ..
        } = std::mem::take(&mut self.state)
        else {
            return;
        };
        let member = self.directory.label(&name);
        match body {
            Body::Directory => {
                self.directory.close();
                if let Some(damage) = self.directory.damage.clone() {
                    self.problems.push(damage);
                }
            }
            Body::Rows { entry, rows } => {
                if !rows.ended_well() {
                    self.problems.push(Problem::Unterminated {
                        member: member.clone(),
                        rows: rows.count,
                    });
                }
                self.directory.fill(entry, rows.count, rows.ended_well());
            }
            Body::Inserts {
                entry,
                script,
                tail,
            } => {
                let rows = script.contents().rows;
                let ended = tail == INSERTS_END || tail == b"\n\n";
                if !ended {
                    self.problems.push(Problem::Unterminated {
                        member: member.clone(),
                        rows,
                    });
                }
                self.directory.fill(entry, rows, ended);
            }
            Body::LargeObject => self.large_objects = self.large_objects.saturating_add(1),
            Body::List {
                line,
                listed,
                well_formed,
            } => {
                let found = std::mem::take(&mut self.objects);
                let same = listed.hash.finish() == found.hash.finish();
                if !(well_formed && same && listed.count == found.count && line.is_empty()) {
                    self.problems.push(Problem::LargeObjects {
                        list: name,
                        listed: listed.count,
                        found: found.count,
                    });
                }
            }
            Body::RestoreScript(tail) => {
                if !script_ends(&tail) {
                    self.problems.push(Problem::ScriptCut);
                }
            }
            Body::Opaque => {}
        }
        self.last = Some(member);
        let over = size % length(BLOCK);
        if over > 0 {
            self.state = State::Padding {
                left: length(BLOCK).saturating_sub(over),
                clean: true,
            };
        }
    }
}

/// `COPY` data as lines.
#[derive(Debug)]
struct Rows {
    count: u64,
    /// The length of the line at hand, and whether it is the beginning of `\.` so far.
    line: usize,
    dot: bool,
    /// What followed the line `\.`; two line ends in a whole member.
    after: Option<Vec<u8>>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            count: 0,
            line: 0,
            dot: true,
            after: None,
        }
    }
}

impl Rows {
    fn read(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if let Some(after) = &mut self.after {
                after.extend(piece.iter().take(3_usize.saturating_sub(after.len())));
                return;
            }
            let end = memchr::memchr(b'\n', piece);
            let (added, rest) = piece.split_at(end.unwrap_or(piece.len()));
            self.dot &= match self.line {
                0 => b"\\.".starts_with(added),
                1 => b".".starts_with(added),
                _ => added.is_empty(),
            };
            self.line = self.line.saturating_add(added.len());
            if end.is_none() {
                return;
            }
            if self.dot && self.line == 2 {
                self.after = Some(Vec::new());
            } else {
                self.count = self.count.saturating_add(1);
            }
            (self.line, self.dot) = (0, true);
            piece = rest.split_first().map_or(&[], |(_, rest)| rest);
        }
    }

    fn ended_well(&self) -> bool {
        self.after.as_deref() == Some(b"\n\n")
    }
}

/// The table of contents, `toc.dat`: a header, then entries of integers and counted strings.
#[derive(Debug, Default)]
struct Directory {
    /// What was read and is not yet a whole entry.
    pending: Vec<u8>,
    head: Option<Head>,
    read: u64,
    damage: Option<Problem>,
    /// Only those with data.
    entries: Vec<Entry>,
    files: HashMap<String, usize>,
}

#[derive(Debug)]
struct Head {
    version: u8,
    int_size: usize,
    entries: u64,
    dumped_by: Option<String>,
    server_version: Option<String>,
    database: Option<String>,
}

/// An entry with data of its own.
#[derive(Debug)]
struct Entry {
    file: String,
    kind: Kind,
    table: Table,
    seen: bool,
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rows,
    Inserts,
    LargeObjects,
}

impl Kind {
    const fn is_table(self) -> bool {
        matches!(self, Self::Rows | Self::Inserts)
    }

    fn describe(self, table: &Table) -> String {
        match self {
            Self::Rows | Self::Inserts => format!("the data of table {table}"),
            Self::LargeObjects => "the list of large objects".to_owned(),
        }
    }
}

/// Why an entry was not read.
#[derive(Debug)]
enum Stop {
    /// The bytes so far end within it.
    Early,
    Bad(Problem),
}

fn bad<T>(what: &str) -> Result<T, Stop> {
    Err(Stop::Bad(Problem::Directory(what.to_owned())))
}

impl Directory {
    fn read(&mut self, piece: &[u8]) {
        if self.damage.is_some() {
            return;
        }
        self.pending.extend_from_slice(piece);
        let mut pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while !self.is_complete() {
            match self.next(rest) {
                Ok(after) => rest = after,
                Err(Stop::Early) => {
                    if rest.len() > ENTRY_BYTES {
                        let what = format!("an entry of more than {} MiB", ENTRY_BYTES >> 20);
                        self.damage = Some(Problem::Beyond(what));
                    }
                    break;
                }
                Err(Stop::Bad(Problem::Directory(what))) => {
                    self.damage = Some(self.at_entry(&what));
                    break;
                }
                Err(Stop::Bad(problem)) => {
                    self.damage = Some(problem);
                    break;
                }
            }
        }
        if self.damage.is_none() {
            if self.is_complete() && !rest.is_empty() {
                self.damage = Some(Problem::Directory(
                    "more follows after its last entry".to_owned(),
                ));
            }
            let used = pending.len().saturating_sub(rest.len());
            pending.drain(..used);
            self.pending = pending;
        }
    }

    fn at_entry(&self, what: &str) -> Problem {
        Problem::Directory(self.head.as_ref().map_or_else(
            || format!("in its header, {what}"),
            |head| {
                format!(
                    "in entry {} of {}, {what}",
                    self.read.saturating_add(1),
                    head.entries
                )
            },
        ))
    }

    fn is_complete(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.entries == self.read)
    }

    /// The member is at its end.
    fn close(&mut self) {
        if self.damage.is_none() && !self.is_complete() {
            self.damage = Some(self.at_entry("it ends early"));
        }
        self.pending = Vec::new();
    }

    /// Reads the header or an entry, and says what is left.
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Stop> {
        let Some(head) = &self.head else {
            let (head, rest) = parse_head(bytes)?;
            self.head = Some(head);
            return Ok(rest);
        };
        let mut cursor = Cursor {
            rest: bytes,
            int_size: head.int_size,
        };
        let entry = cursor.entry(head.version)?;
        self.read = self.read.saturating_add(1);
        if let Some(entry) = entry {
            let index = self.entries.len();
            if index >= MOST_ENTRIES {
                let what = format!("more than {MOST_ENTRIES} tables");
                return Err(Stop::Bad(Problem::Beyond(what)));
            }
            if self.files.insert(entry.file.clone(), index).is_some() {
                return bad("it names the file of another");
            }
            self.entries.push(entry);
        }
        Ok(cursor.rest)
    }

    fn find(&mut self, name: &str) -> Option<(usize, &mut Entry)> {
        let index = *self.files.get(name)?;
        Some((index, self.entries.get_mut(index)?))
    }

    fn fill(&mut self, index: usize, rows: u64, whole: bool) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.table.rows = rows;
            entry.whole = whole;
        }
    }

    /// A member's name, with the table whose data it holds.
    fn label(&self, name: &str) -> String {
        let entry = self
            .files
            .get(name)
            .and_then(|index| self.entries.get(*index));
        match entry {
            Some(entry) if entry.kind.is_table() => format!("{name} ({})", entry.table),
            _ => name.to_owned(),
        }
    }
}

/// Reads the integers and counted strings of a `toc.dat`.
#[derive(Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
    int_size: usize,
}

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Stop::Early)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.bytes(1)?.first().copied().ok_or(Stop::Early)
    }

    /// A sign byte, then the magnitude, lowest byte first.
    fn int(&mut self) -> Result<i64, Stop> {
        let sign = self.byte()?;
        let magnitude = self
            .bytes(self.int_size)?
            .iter()
            .rev()
            .try_fold(0_i64, |sum, byte| {
                sum.checked_mul(256)?.checked_add(i64::from(*byte))
            });
        match (sign, magnitude) {
            (0, Some(magnitude)) => Ok(magnitude),
            (1, Some(magnitude)) => Ok(magnitude.saturating_neg()),
            _ => bad("a number cannot be read"),
        }
    }

    fn int_within(&mut self, range: std::ops::RangeInclusive<i64>) -> Result<i64, Stop> {
        let number = self.int()?;
        if range.contains(&number) {
            Ok(number)
        } else {
            bad("a number is out of range")
        }
    }

    /// A length, then so many bytes; a length of -1 stands for no string.
    fn string(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        match self.int()? {
            -1 => Ok(None),
            size => match usize::try_from(size) {
                Ok(size) if size <= ENTRY_BYTES => self.bytes(size).map(Some),
                _ => bad("a length is out of range"),
            },
        }
    }

    fn text(&mut self) -> Result<Option<String>, Stop> {
        Ok(self
            .string()?
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A text that is kept.
    fn name(&mut self) -> Result<Option<String>, Stop> {
        match self.text()? {
            Some(name) if name.len() > NAME_BYTES => bad("a name in it is too long"),
            name => Ok(name),
        }
    }

    fn digits(&mut self) -> Result<(), Stop> {
        match self.string()? {
            Some(digits) if is_number(digits) => Ok(()),
            _ => bad("a number cannot be read"),
        }
    }

    /// An entry, as `pg_dump` has written it since 9.0; some only if it has data.
    fn entry(&mut self, version: u8) -> Result<Option<Entry>, Stop> {
        let id = self.int_within(1..=i64::from(i32::MAX))?;
        let has_data = self.int_within(0..=1)? == 1;
        self.digits()?; // the catalog's OID
        self.digits()?; // the object's
        let (Some(tag), Some(description)) = (self.text()?, self.text()?) else {
            return bad("it has no name");
        };
        self.int_within(1..=4)?; // the section
        self.string()?; // its definition
        self.string()?; // the statement that drops it
        let copy = self
            .string()?
            .is_some_and(|statement| !statement.is_empty());
        let schema = self.text()?.unwrap_or_default();
        self.string()?; // the tablespace
        if version >= 14 {
            self.string()?; // the table access method
        }
        if version >= 16 {
            self.int()?; // the kind of relation
        }
        self.string()?; // the owner
        if !matches!(self.string()?, Some(b"true" | b"false")) {
            return bad("it cannot be read");
        }
        while let Some(dependency) = self.string()? {
            if !is_number(dependency) {
                return bad("a number cannot be read");
            }
        }
        let file = self.text()?.unwrap_or_default();
        if file.is_empty() == has_data {
            return bad("its file is not named");
        }
        if !has_data {
            return Ok(None);
        }
        if tag.len() > NAME_BYTES || schema.len() > NAME_BYTES {
            return bad("a name in it is too long");
        }
        let (kind, expected) = match description.as_str() {
            "TABLE DATA" if copy => (Kind::Rows, format!("{id}.dat")),
            "TABLE DATA" => (Kind::Inserts, format!("{id}.dat")),
            // Since 17 there is a list for each thousand, named after its entry; before, the entry named no real file.
            "BLOBS" if version >= 16 => (Kind::LargeObjects, format!("blobs_{id}.toc")),
            "BLOBS" => (Kind::LargeObjects, "blobs.toc".to_owned()),
            _ => return bad("what it holds data of is not known"),
        };
        if kind.is_table() && file != expected {
            return bad("its file is not named after it");
        }
        Ok(Some(Entry {
            file: expected,
            kind,
            table: Table {
                schema,
                name: tag,
                rows: 0,
            },
            seen: false,
            whole: false,
        }))
    }
}

fn parse_head(bytes: &[u8]) -> Result<(Head, &[u8]), Stop> {
    let mut cursor = Cursor {
        rest: bytes,
        int_size: 4,
    };
    if cursor.bytes(5)? != b"PGDMP" {
        return bad("the first bytes are not PGDMP");
    }
    let (major, version, revision) = (cursor.byte()?, cursor.byte()?, cursor.byte()?);
    if (major, revision) != (1, 0) {
        return bad("the version cannot be read");
    }
    if !TOC_VERSIONS.contains(&version) {
        return Err(Stop::Bad(Problem::Version(version)));
    }
    cursor.int_size = cursor.byte()?.into();
    // The second is the size of a file offset, of which a tar has none.
    if !matches!((cursor.int_size, cursor.byte()?), (4 | 8, 4 | 8)) {
        return bad("the size of a number is out of range");
    }
    if cursor.byte()? != TOC_TAR {
        return bad("the format is not that of a tar");
    }
    if version >= 15 {
        cursor.byte()?; // the compression's algorithm
    } else {
        cursor.int()?; // the compression's level
    }
    for range in [0..=60, 0..=59, 0..=23, 1..=31, 0..=11, 70..=1000, -1..=1] {
        cursor.int_within(range)?; // second, minute, hour, day, month, year since 1900, daylight saving
    }
    let database = cursor.name()?;
    let server_version = cursor.name()?;
    let dumped_by = cursor.name()?;
    let entries = cursor.int_within(0..=i64::from(i32::MAX))?;
    let head = Head {
        version,
        int_size: cursor.int_size,
        entries: u64::try_from(entries).unwrap_or_default(),
        dumped_by,
        server_version,
        database,
    };
    Ok((head, cursor.rest))
}

fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Reads the lines of a list of large objects, `16400 blob_16400.dat`.
fn read_list(data: &[u8], line: &mut Vec<u8>, listed: &mut Objects, well_formed: &mut bool) {
    for byte in data {
        if *byte != b'\n' {
            // The longest line of a list has 30 bytes.
            if line.len() < 40 {
                line.push(*byte);
            }
            continue;
        }
        let number = line.split(|byte| *byte == b' ').next();
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        let oid: Option<u32> = number.and_then(|digits| digits.parse().ok());
        *well_formed &= oid.is_some_and(|oid| *line == format!("{oid} blob_{oid}.dat").as_bytes());
        listed.add(oid.unwrap_or_default());
        line.clear();
    }
}

/// Keeps the last bytes.
fn keep_tail(tail: &mut Vec<u8>, data: &[u8], size: usize) {
    tail.extend(data.iter().skip(data.len().saturating_sub(size)));
    tail.drain(..tail.len().saturating_sub(size));
}

/// Whether `restore.sql` is there to its last line. The `\restrict (null)` that 2025's minors put around a `\connect` in
/// it has no counterpart at the end, so [`Script`], which looks for one, would call it cut.
fn script_ends(tail: &[u8]) -> bool {
    let mut text = tail.trim_ascii_end();
    let line = text.rsplit(|byte| *byte == b'\n').next();
    if let Some(line) = line.filter(|line| line.starts_with(b"\\unrestrict ")) {
        text = text.strip_suffix(line).unwrap_or(text).trim_ascii_end();
    }
    text.ends_with(b"\n--\n-- PostgreSQL database dump complete\n--")
}

/// A member's name and size; none if the header is not one.
fn parse_header(block: &[u8]) -> Option<(String, u64)> {
    magic(block)?;
    let field = block.get(148..156)?;
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = field.iter().map(|byte| u64::from(*byte)).sum();
    // The checksum's own field counts as eight blanks.
    let expected = sum.saturating_sub(own).saturating_add(8 * 0x20);
    if number(field)? != expected {
        return None;
    }
    let name = block.get(..100)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some((
        String::from_utf8_lossy(name).into_owned(),
        number(block.get(124..136)?)?,
    ))
}

/// POSIX's magic and version, GNU's, or that of `pg_dump` before 9.3.
fn magic(block: &[u8]) -> Option<&[u8]> {
    let magic = block.get(257..265)?;
    let known: [&[u8]; 3] = [b"ustar\x0000", b"ustar  \0", b"ustar00\0"];
    known.contains(&magic).then_some(magic)
}

/// An octal number, or from 8 GiB on one of base 256, whose first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        return rest.iter().try_fold(0_u64, |sum, byte| {
            sum.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let text = field
        .trim_ascii_start()
        .split(|byte| matches!(byte, 0 | b' '))
        .next()?;
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// Whether a block that is no good header was one.
fn is_named_tar(block: &[u8]) -> bool {
    magic(block).is_some() || block.starts_with(b"toc.dat\0")
}

fn not_tar(block: &[u8]) -> Problem {
    let what = if is_named_tar(block) || b"toc.dat\0".starts_with(block) {
        return Problem::CutAfter(BEGINNING.to_owned());
    } else if block.starts_with(b"PGDMP") {
        "it is pg_dump's custom format, which pg_restore reads"
    } else if block.starts_with(b"--\n-- PostgreSQL database") {
        "it is plain SQL, which psql reads"
    } else if block.starts_with(b"\x1f\x8b") {
        "it is compressed once more"
    } else {
        "its first bytes are no header of a tar"
    };
    Problem::NotTar(what)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The lesser of the two.
fn fit(available: usize, left: u64) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: &[u8], magic: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..124 + size.len()].copy_from_slice(size);
        block[148..156].copy_from_slice(b"        ");
        block[257..265].copy_from_slice(magic);
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o} ").as_bytes());
        block
    }

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = header(
            name,
            format!("{:011o} ", data.len()).as_bytes(),
            b"ustar00\0",
        );
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn int(number: i32) -> Vec<u8> {
        let mut bytes = vec![u8::from(number < 0)];
        bytes.extend(number.unsigned_abs().to_le_bytes());
        bytes
    }

    fn string(text: &str) -> Vec<u8> {
        [
            int(i32::try_from(text.len()).unwrap()),
            text.as_bytes().to_vec(),
        ]
        .concat()
    }

    /// A table of contents as 9.6 (version 1.12) writes it, without a table access method.
    fn toc(version: u8) -> Vec<u8> {
        let mut toc = b"PGDMP\x01".to_vec();
        toc.extend([version, 0, 4, 8, 3]);
        toc.extend(int(-1));
        [1, 2, 3, 4, 5, 116, 0]
            .iter()
            .for_each(|n| toc.extend(int(*n)));
        ["shop", "9.6.24", "9.6.24"]
            .iter()
            .for_each(|text| toc.extend(string(text)));
        toc.extend(int(2));
        let kinds = [
            (7, "TABLE DATA", "users", "COPY users FROM stdin;", "7.dat"),
            (8, "BLOBS", "BLOBS", "", "8.dat"),
        ];
        for (id, kind, tag, copy, file) in kinds {
            toc.extend(int(id));
            toc.extend(int(1));
            ["1259", "16400", tag, kind]
                .iter()
                .for_each(|text| toc.extend(string(text)));
            toc.extend(int(3));
            ["", "", copy, "public", "", "owner", "false", "6"]
                .iter()
                .for_each(|text| toc.extend(string(text)));
            toc.extend(int(-1));
            toc.extend(string(file));
        }
        toc
    }

    const SCRIPT: &[u8] = b"--\n-- NOTE:\n--\n--\n-- PostgreSQL database dump complete\n--\n\n";

    fn old() -> Vec<Vec<u8>> {
        vec![
            member("toc.dat", &toc(12)),
            member("7.dat", b"1\n\\\\.\n2\n\\.\n\n\n"),
            member("blob_9.dat", b"\\.\n"),
            member("blobs.toc", b"9 blob_9.dat\n"),
            member("restore.sql", SCRIPT),
            vec![0; BLOCK],
        ]
    }

    fn check(pieces: &[Vec<u8>]) -> Result<Contents, Vec<String>> {
        let mut archive = Archive::default();
        pieces.iter().for_each(|piece| archive.read(piece));
        archive
            .finish()
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn archives_of_9_x_are_read() {
        let contents = check(&old()).unwrap();
        assert_eq!(contents.tables[0].to_string(), "public.users");
        assert_eq!((contents.rows, contents.large_objects), (3, 1));
        assert_eq!(contents.dumped_by.as_deref(), Some("9.6.24"));
        assert_eq!(
            check(&old()[..5]),
            Err(vec![
                "cut off in the blocks of zeros at the end, after restore.sql: no data is missing"
                    .to_owned()
            ])
        );
    }

    #[test]
    fn one_block_of_zeros_inside_is_no_end() {
        let mut pieces = old();
        pieces.insert(4, vec![0; BLOCK]);
        assert_eq!(
            check(&pieces).unwrap_err(),
            ["damaged header at byte 4608, after blobs.toc: what follows cannot be read"]
        );
    }

    #[test]
    fn a_version_of_the_future_is_not_guessed_at() {
        assert_eq!(
            check(&[member("toc.dat", &toc(17))]).unwrap_err()[0],
            "the table of contents (toc.dat) has version 1.17, and this program reads 1.12 to 1.16"
        );
    }

    #[test]
    fn what_is_larger_than_can_be_looked_at_is_not_called_damaged() {
        let mut text = toc(12);
        // The definition of the first entry comes after its section, and then the statement that drops it.
        let empty = [int(3), string(""), string("")].concat();
        let at = memchr::memmem::find(&text, &empty).unwrap();
        let half = string(&" ".repeat(ENTRY_BYTES / 8 * 5));
        let large = [int(3), half.clone(), half].concat();
        text.splice(at..at + empty.len(), large);
        let mut archive = Archive::default();
        let whole = member("toc.dat", &text);
        whole.chunks(1 << 20).for_each(|piece| archive.read(piece));
        let problems = archive.finish().unwrap_err();
        assert!(
            problems
                .iter()
                .any(|problem| matches!(problem, Problem::Beyond(_))),
            "{problems:?}"
        );
    }

    #[test]
    fn large_objects_are_held_against_their_list_in_any_number() {
        let numbers = 1..=5000_u32;
        let list: String = numbers
            .clone()
            .map(|oid| format!("{oid} blob_{oid}.dat\n"))
            .collect();
        let objects: Vec<u8> = numbers
            .flat_map(|oid| member(&format!("blob_{oid}.dat"), b"x"))
            .collect();
        let with = |list: &str| {
            let mut pieces = old();
            pieces[2] = objects.clone();
            pieces[3] = member("blobs.toc", list.as_bytes());
            check(&pieces)
        };
        assert_eq!(with(&list).unwrap().large_objects, 5000);
        let swapped = list.replacen(
            "17 blob_17.dat\n18 blob_18.dat",
            "18 blob_18.dat\n17 blob_17.dat",
            1,
        );
        let other = list.replacen("17 blob_17.dat", "17 blob_16.dat", 1);
        for (list, counts) in [
            (&swapped, "5000 large objects, and 5000"),
            (&other, "5000 large objects, and 5000"),
            (&list[15..].to_owned(), "4999 large objects, and 5000"),
        ] {
            assert!(with(list).unwrap_err()[0].contains(counts));
        }
    }

    #[test]
    fn a_member_of_nine_gib_is_walked_over() {
        let mut archive = Archive::default();
        let size: u64 = 9 << 30;
        let mut field = vec![0x80, 0, 0, 0];
        field.extend(size.to_be_bytes());
        let large = header("blob_9.dat", &field, b"ustar\x0000");
        let mut pieces = old();
        pieces[2] = large;
        for (index, piece) in pieces.iter().enumerate() {
            archive.read(piece);
            if index == 2 {
                let zeros = vec![0; 64 << 20];
                (0..size / (64 << 20)).for_each(|_| archive.read(&zeros));
            }
        }
        assert_eq!(archive.finish().unwrap().large_objects, 1);
    }

    #[test]
    fn what_is_wrong_with_a_member_is_said() {
        let with = |index: usize, piece: Vec<u8>| {
            let mut pieces = old();
            pieces[index] = piece;
            check(&pieces).unwrap_err()
        };
        assert_eq!(
            with(1, member("7.dat", b"1\n2\n")),
            ["7.dat (public.users) does not end as the data of a table does (2 rows read)"]
        );
        assert_eq!(
            with(3, member("blobs.toc", b"8 blob_8.dat\n")),
            ["blobs.toc names 1 large objects, and 1 are there, but not the same ones"]
        );
        assert_eq!(
            with(4, member("restore.sql", &SCRIPT[..SCRIPT.len() - 5])),
            ["restore.sql does not end as pg_dump ends it"]
        );
        assert_eq!(
            with(1, [old()[1].clone(), old()[1].clone()].concat()),
            ["7.dat is there twice"]
        );
        assert_eq!(
            with(1, [old()[1].clone(), member("x", b"")].concat()),
            ["x is in the tar but not in its table of contents"]
        );
        // However much is wrong, so much is told.
        let unlisted: Vec<u8> = (0..70_000)
            .flat_map(|number| member(&format!("x{number}"), b""))
            .collect();
        let told = with(1, [old()[1].clone(), unlisted].concat());
        assert_eq!(told.len(), MOST_PROBLEMS + 1);
        assert_eq!(told[0], "x0 is in the tar but not in its table of contents");
        assert_eq!(told[MOST_PROBLEMS], "and 69950 more");
        let mut damaged = old()[1].clone();
        damaged[3] ^= 1;
        assert_eq!(
            with(1, damaged),
            [
                "damaged header at byte 1024, after toc.dat: what follows cannot be read",
                "the data of table public.users lies behind the damage, or is missing (7.dat)",
                "the list of large objects lies behind the damage, or is missing (blobs.toc)"
            ]
        );
        assert_eq!(
            with(0, b"<html>not found</html>".repeat(100)),
            ["not a tar: its first bytes are no header of a tar"]
        );
    }
}
