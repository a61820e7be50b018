//! The backups of Railway's community template: `PREFIX-….tar.gz`, a gzip of `pg_dump --format=tar`.
//!
//! The template takes gzip's exit status for `pg_dump`'s, so a dump that broke off half-way has a name like any other.
//! `pg_restore` is not asked, because it can loop for ever on a cut tar. Instead the tar is read to its end here, and compared
//! with `pg_dump`'s own table of contents.
//!
//! A tar has checksums over its headers only. A byte that was changed inside a row, a large object or a definition is not
//! noticed here, but the CRC of the gzip around it covers everything.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;

use crate::script::Script;

mod defect;
mod rows;
mod tar;
mod toc;

pub use defect::Defect;
use rows::Rows;
use tar::{is_named_tar, magic, not_tar, parse_header};
use toc::{Directory, EntryKind};

/// The block of a tar: a header is one block, and a member is filled up to a whole number of blocks.
const BLOCK: usize = 512;

/// How many defects of an archive are described; the others are counted.
pub const MOST_PROBLEMS: usize = 50;

/// The end of a table's data with `--inserts`, unless it is empty.
const INSERTS_END: &[u8] = b";\n\n\n";

/// Enough bytes for the last words of `restore.sql` and a `\unrestrict` line after them.
const SCRIPT_TAIL: usize = 512;

/// The text that is used for the member before the first.
const BEGINNING: &str = "its first bytes";

/// Reads a tar of `pg_dump` piece by piece. It keeps one entry of `toc.dat` and the list of tables, both of limited size, and
/// never a member's data.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: u64,
    state: State,
    /// The current header, as far as it was read.
    block: Vec<u8>,
    directory: Directory,
    /// The last member that was complete.
    last: Option<String>,
    /// The large objects since the last list of them.
    objects: Objects,
    large_objects: u64,
    has_script: bool,
    /// Whether it is from before 9.3: the header had another magic then, and the tar ended with one block of zeros.
    of_old: bool,
    defects: Defects,
}

/// The first defects, and the number of further ones.
#[derive(Debug, Default)]
struct Defects {
    first: Vec<Defect>,
    more: u64,
}

impl Defects {
    fn push(&mut self, defect: Defect) {
        if self.first.len() < MOST_PROBLEMS {
            self.first.push(defect);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn finish(mut self) -> Vec<Defect> {
        if self.more > 0 {
            self.first.push(Defect::More(self.more));
        }
        self.first
    }
}

/// A list of large objects, of which only enough is kept to tell two lists apart.
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
    /// The first of the two blocks of zeros at the end has been read.
    HalfEnd,
    Member {
        name: String,
        size: u64,
        left: u64,
        body: MemberContent,
    },
    Padding {
        left: u64,
        clean: bool,
    },
    /// After the end; more zeros do no harm.
    End {
        clean: bool,
    },
    /// The place of the next header is not known.
    Lost,
}

/// The content of a member.
#[derive(Debug)]
enum MemberContent {
    Directory,
    /// An entry's rows, as `COPY` data.
    Rows {
        entry: usize,
        rows: Rows,
    },
    /// An entry's rows, as `INSERT` statements.
    Inserts {
        entry: usize,
        script: Box<Script>,
        tail: Vec<u8>,
    },
    LargeObject,
    /// A list of large objects, which follows the objects that it names.
    List {
        line: Vec<u8>,
        listed: Objects,
        well_formed: bool,
    },
    /// `restore.sql`, of which the last bytes are kept.
    RestoreScript(Vec<u8>),
    /// Content whose end can't be recognised.
    Opaque,
}

/// The contents of a whole archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
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

impl Archive {
    /// Takes the next piece, decompressed.
    pub fn read(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let taken = self.step(piece).clamp(1, piece.len());
            self.bytes = self.bytes.saturating_add(length(taken));
            piece = piece.split_at(taken).1;
        }
    }

    /// What was read so far; from a broken archive, whatever could still be read.
    #[must_use]
    pub fn contents(&self) -> Inventory {
        let head = self.directory.head.as_ref();
        let tables: Vec<Table> = self
            .directory
            .entries
            .iter()
            .filter(|entry| entry.whole && entry.kind.is_table())
            .map(|entry| entry.table.clone())
            .collect();
        Inventory {
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

    /// The contents of the archive, if it is whole.
    ///
    /// # Errors
    /// All defects, in the order of the archive, then what is missing.
    pub fn finish(mut self) -> Result<Inventory, Vec<Defect>> {
        let (cut, ends) = match &self.state {
            _ if self.bytes == 0 => (Some(Defect::Empty), false),
            State::Header if self.block.is_empty() && !self.has_script => {
                (Some(Defect::EndedEarly(self.after())), false)
            }
            State::Header if self.last.is_none() => (Some(not_tar(&self.block)), false),
            State::Header if self.has_script && self.block.iter().all(|byte| *byte == 0) => {
                (Some(Defect::CutInEnd(self.after())), true)
            }
            State::Header | State::Padding { .. } => (Some(Defect::CutAfter(self.after())), false),
            State::Member {
                name,
                size,
                left,
                body,
            } => {
                let rows = match body {
                    MemberContent::Rows { rows, .. } => Some(rows.count),
                    MemberContent::Inserts { script, .. } => Some(script.contents().rows),
                    _ => None,
                };
                let cut = Defect::CutInside {
                    member: self.directory.label(name),
                    rows,
                    have: size.saturating_sub(*left),
                    size: *size,
                };
                (Some(cut), false)
            }
            State::HalfEnd if self.of_old && self.block.is_empty() => (None, true),
            State::HalfEnd => (Some(Defect::CutInEnd(self.after())), true),
            State::End { .. } => (None, true),
            State::Lost => (None, false),
        };
        cut.into_iter().for_each(|defect| self.defects.push(defect));
        if ends && !self.has_script {
            self.defects.push(Defect::NoScript);
        }
        if ends && self.directory.damage.is_none() && self.objects.count > 0 {
            self.defects.push(Defect::NoList(self.objects.count));
        }
        let lost = matches!(self.state, State::Lost);
        for entry in self.directory.entries.iter().filter(|entry| !entry.seen) {
            let what = entry.kind.describe(&entry.table);
            let file = entry.file.clone();
            self.defects.push(if lost {
                Defect::Unreached { what, file }
            } else {
                Defect::Missing { what, file }
            });
        }
        if self.defects.first.is_empty() {
            Ok(self.contents())
        } else {
            Err(self.defects.finish())
        }
    }

    /// Takes at least one byte, and returns how many it took.
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
                    MemberContent::Directory => self.directory.read(data),
                    MemberContent::Rows { rows, .. } => rows.read(data),
                    MemberContent::Inserts { script, tail, .. } => {
                        script.read(data);
                        keep_tail(tail, data, INSERTS_END.len());
                    }
                    MemberContent::List {
                        line,
                        listed,
                        well_formed,
                    } => read_list(data, line, listed, well_formed),
                    MemberContent::RestoreScript(tail) => keep_tail(tail, data, SCRIPT_TAIL),
                    MemberContent::LargeObject | MemberContent::Opaque => {}
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
                        self.defects.push(Defect::Padding(self.after()));
                    }
                    self.state = State::Header;
                }
                taken
            }
            State::End { clean } => {
                if *clean && piece.iter().any(|byte| *byte != 0) {
                    *clean = false;
                    self.defects.push(Defect::BehindEnd);
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
                self.defects.push(not_tar(block));
                return State::Lost;
            }
            _ => {
                let after = self.after();
                self.defects.push(Defect::Header { at, after });
                return State::Lost;
            }
        }
        let Some((name, size)) = parse_header(block) else {
            self.defects
                .push(if self.last.is_none() && !is_named_tar(block) {
                    not_tar(block)
                } else {
                    let after = self.after();
                    Defect::Header { at, after }
                });
            return State::Lost;
        };
        if self.last.is_none() && name != "toc.dat" {
            self.defects.push(Defect::NotDump(name));
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

    fn body(&mut self, name: &str) -> MemberContent {
        if self.last.is_none() {
            return MemberContent::Directory;
        }
        if name == "restore.sql" && !self.has_script {
            self.has_script = true;
            return MemberContent::RestoreScript(Vec::new());
        }
        let object = name
            .strip_prefix("blob_")
            .and_then(|rest| rest.strip_suffix(".dat"))
            .and_then(|oid| oid.parse().ok());
        if let Some(oid) = object {
            self.objects.add(oid);
            return MemberContent::LargeObject;
        }
        let Some((index, entry)) = self.directory.find(name) else {
            if self.directory.damage.is_none() {
                self.defects.push(Defect::Unlisted(name.to_owned()));
            }
            return MemberContent::Opaque;
        };
        if std::mem::replace(&mut entry.seen, true) {
            self.defects.push(Defect::Twice(name.to_owned()));
            return MemberContent::Opaque;
        }
        match entry.kind {
            EntryKind::Rows => MemberContent::Rows {
                entry: index,
                rows: Rows::default(),
            },
            EntryKind::Inserts => MemberContent::Inserts {
                entry: index,
                script: Box::default(),
                tail: Vec::new(),
            },
            EntryKind::LargeObjects => MemberContent::List {
                line: Vec::new(),
                listed: Objects::default(),
                well_formed: true,
            },
        }
    }

    /// Closes the member if its last byte was read.
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
            MemberContent::Directory => {
                self.directory.close();
                if let Some(damage) = self.directory.damage.clone() {
                    self.defects.push(damage);
                }
            }
            MemberContent::Rows { entry, rows } => {
                if !rows.ended_well() {
                    self.defects.push(Defect::Unterminated {
                        member: member.clone(),
                        rows: rows.count,
                    });
                }
                self.directory.fill(entry, rows.count, rows.ended_well());
            }
            MemberContent::Inserts {
                entry,
                script,
                tail,
            } => {
                let rows = script.contents().rows;
                let ended = tail == INSERTS_END || tail == b"\n\n";
                if !ended {
                    self.defects.push(Defect::Unterminated {
                        member: member.clone(),
                        rows,
                    });
                }
                self.directory.fill(entry, rows, ended);
            }
            MemberContent::LargeObject => self.large_objects = self.large_objects.saturating_add(1),
            MemberContent::List {
                line,
                listed,
                well_formed,
            } => {
                let found = std::mem::take(&mut self.objects);
                let same = listed.hash.finish() == found.hash.finish();
                if !(well_formed && same && listed.count == found.count && line.is_empty()) {
                    self.defects.push(Defect::LargeObjects {
                        list: name,
                        listed: listed.count,
                        found: found.count,
                    });
                }
            }
            MemberContent::RestoreScript(tail) => {
                if !script_ends(&tail) {
                    self.defects.push(Defect::ScriptCut);
                }
            }
            MemberContent::Opaque => {}
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

/// Whether `restore.sql` is complete. The minor versions of 2025 put a `\restrict (null)` around a `\connect` in it, without a
/// counterpart at the end. [`Script`] looks for that counterpart, and would call the text cut.
fn script_ends(tail: &[u8]) -> bool {
    let mut text = tail.trim_ascii_end();
    let line = text.rsplit(|byte| *byte == b'\n').next();
    if let Some(line) = line.filter(|line| line.starts_with(b"\\unrestrict ")) {
        text = text.strip_suffix(line).unwrap_or(text).trim_ascii_end();
    }
    text.ends_with(b"\n--\n-- PostgreSQL database dump complete\n--")
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The smaller of the two numbers.
fn fit(available: usize, left: u64) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::toc::ENTRY_BYTES;
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

    fn check(pieces: &[Vec<u8>]) -> Result<Inventory, Vec<String>> {
        let mut archive = Archive::default();
        pieces.iter().for_each(|piece| archive.read(piece));
        archive
            .finish()
            .map_err(|defects| defects.iter().map(Defect::to_string).collect())
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
        let defects = archive.finish().unwrap_err();
        assert!(
            defects
                .iter()
                .any(|defect| matches!(defect, Defect::Beyond(_))),
            "{defects:?}"
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
