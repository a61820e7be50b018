//! The table of contents of an archive, `toc.dat`, read entry by entry.

use std::collections::HashMap;

use super::{Defect, Table};

/// How much of `toc.dat` is kept at a time: one entry, which may hold the text of a large function.
pub(super) const ENTRY_BYTES: usize = 64 << 20;

/// The most entries with data that are kept, which takes about a hundred megabytes. `pg_dump` itself needs gigabytes for so
/// many tables.
const MOST_ENTRIES: usize = 250_000;

/// The longest name of a table or schema, or version, that is kept. PostgreSQL's names have at most 63 bytes.
const NAME_BYTES: usize = 1024;

/// Versions of `toc.dat` that `pg_dump` 9.0 to 18 write, by their minor number.
const TOC_VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;

/// The format byte of an archive in a tar.
const TOC_TAR: u8 = 3;

/// The table of contents, `toc.dat`: a header, then entries of integers and counted strings.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// The bytes read that are not yet a whole entry.
    pub(super) pending: Vec<u8>,
    pub(super) head: Option<TocHeader>,
    pub(super) read: u64,
    pub(super) damage: Option<Defect>,
    /// The entries that have data.
    pub(super) entries: Vec<Entry>,
    pub(super) files: HashMap<String, usize>,
}

#[derive(Debug)]
pub(super) struct TocHeader {
    pub(super) version: u8,
    pub(super) int_size: usize,
    pub(super) entries: u64,
    pub(super) dumped_by: Option<String>,
    pub(super) server_version: Option<String>,
    pub(super) database: Option<String>,
}

/// An entry with data of its own.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) kind: EntryKind,
    pub(super) table: Table,
    pub(super) seen: bool,
    pub(super) whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Rows,
    Inserts,
    LargeObjects,
}

impl EntryKind {
    pub(super) const fn is_table(self) -> bool {
        matches!(self, Self::Rows | Self::Inserts)
    }

    pub(super) fn describe(self, table: &Table) -> String {
        match self {
            Self::Rows | Self::Inserts => format!("the data of table {table}"),
            Self::LargeObjects => "the list of large objects".to_owned(),
        }
    }
}

/// Why an entry was not read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes so far end within the entry.
    Early,
    Bad(Defect),
}

pub(super) fn bad<T>(what: &str) -> Result<T, Stop> {
    Err(Stop::Bad(Defect::Directory(what.to_owned())))
}

impl Directory {
    pub(super) fn read(&mut self, piece: &[u8]) {
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
                        self.damage = Some(Defect::Beyond(what));
                    }
                    break;
                }
                Err(Stop::Bad(Defect::Directory(what))) => {
                    self.damage = Some(self.at_entry(&what));
                    break;
                }
                Err(Stop::Bad(defect)) => {
                    self.damage = Some(defect);
                    break;
                }
            }
        }
        if self.damage.is_none() {
            if self.is_complete() && !rest.is_empty() {
                self.damage = Some(Defect::Directory(
                    "more follows after its last entry".to_owned(),
                ));
            }
            let used = pending.len().saturating_sub(rest.len());
            pending.drain(..used);
            self.pending = pending;
        }
    }

    pub(super) fn at_entry(&self, what: &str) -> Defect {
        Defect::Directory(self.head.as_ref().map_or_else(
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

    pub(super) fn is_complete(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.entries == self.read)
    }

    /// Notes that the member has ended.
    pub(super) fn close(&mut self) {
        if self.damage.is_none() && !self.is_complete() {
            self.damage = Some(self.at_entry("it ends early"));
        }
        self.pending = Vec::new();
    }

    /// Reads the header or an entry, and returns the bytes that are left.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Stop> {
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
                return Err(Stop::Bad(Defect::Beyond(what)));
            }
            if self.files.insert(entry.file.clone(), index).is_some() {
                return bad("it names the file of another");
            }
            self.entries.push(entry);
        }
        Ok(cursor.rest)
    }

    pub(super) fn find(&mut self, name: &str) -> Option<(usize, &mut Entry)> {
        let index = *self.files.get(name)?;
        Some((index, self.entries.get_mut(index)?))
    }

    pub(super) fn fill(&mut self, index: usize, rows: u64, whole: bool) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.table.rows = rows;
            entry.whole = whole;
        }
    }

    /// A member's name, with the table whose data it holds.
    pub(super) fn label(&self, name: &str) -> String {
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
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
    pub(super) int_size: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Stop::Early)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        self.bytes(1)?.first().copied().ok_or(Stop::Early)
    }

    /// Reads a sign byte, then the magnitude, lowest byte first.
    pub(super) fn int(&mut self) -> Result<i64, Stop> {
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

    pub(super) fn int_within(&mut self, range: std::ops::RangeInclusive<i64>) -> Result<i64, Stop> {
        let number = self.int()?;
        if range.contains(&number) {
            Ok(number)
        } else {
            bad("a number is out of range")
        }
    }

    /// Reads a length, then that many bytes. A length of -1 means no string.
    pub(super) fn string(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        match self.int()? {
            -1 => Ok(None),
            size => match usize::try_from(size) {
                Ok(size) if size <= ENTRY_BYTES => self.bytes(size).map(Some),
                _ => bad("a length is out of range"),
            },
        }
    }

    pub(super) fn text(&mut self) -> Result<Option<String>, Stop> {
        Ok(self
            .string()?
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Reads a text that is kept.
    pub(super) fn name(&mut self) -> Result<Option<String>, Stop> {
        match self.text()? {
            Some(name) if name.len() > NAME_BYTES => bad("a name in it is too long"),
            name => Ok(name),
        }
    }

    pub(super) fn digits(&mut self) -> Result<(), Stop> {
        match self.string()? {
            Some(digits) if is_number(digits) => Ok(()),
            _ => bad("a number cannot be read"),
        }
    }

    /// Reads an entry, as `pg_dump` has written it since 9.0. Returns it only if it has data.
    pub(super) fn entry(&mut self, version: u8) -> Result<Option<Entry>, Stop> {
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
            "TABLE DATA" if copy => (EntryKind::Rows, format!("{id}.dat")),
            "TABLE DATA" => (EntryKind::Inserts, format!("{id}.dat")),
            // Since version 17 there is a list for each thousand objects, named after its entry. Before that, the entry did not
            // name a real file.
            "BLOBS" if version >= 16 => (EntryKind::LargeObjects, format!("blobs_{id}.toc")),
            "BLOBS" => (EntryKind::LargeObjects, "blobs.toc".to_owned()),
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

pub(super) fn parse_head(bytes: &[u8]) -> Result<(TocHeader, &[u8]), Stop> {
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
        return Err(Stop::Bad(Defect::Version(version)));
    }
    cursor.int_size = cursor.byte()?.into();
    // The second number is the size of a file offset, which a tar does not have.
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
    let head = TocHeader {
        version,
        int_size: cursor.int_size,
        entries: u64::try_from(entries).unwrap_or_default(),
        dumped_by,
        server_version,
        database,
    };
    Ok((head, cursor.rest))
}

pub(super) fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
