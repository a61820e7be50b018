//! A dump between its head and its tail. They are added when a backup is made, and removed and compared with the dump when
//! it is read.
//!
//! The tail binds the members of an object together. Each member has a checksum of its own. If a member is missing, occurs
//! twice or comes from another backup, the file is still valid for every reader of gzip.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::dump::DumpOutput;
use crate::dump::label::{self, FIRST_LINE_BYTES, Head, LINE_BYTES, Line, MARK, Tail, Unread};
use crate::format::text::shortened;
use stream::replay::Replay;
use stream::script::{COUNTING, Contents, TableName};

/// How many differences are reported one by one.
const TOLD: usize = 5;

/// Counts and digests all bytes so far.
#[derive(Debug, Clone, Default)]
struct Seal {
    digest: Sha256,
    bytes: u64,
    inside_line: bool,
}

impl Seal {
    fn take(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        if let Some(last) = bytes.last() {
            self.inside_line = *last != b'\n';
        }
    }

    fn sha256(&self) -> String {
        let digest = self.digest.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn is_of(&self, tail: &Tail) -> bool {
        tail.bytes == self.bytes && tail.sha256 == self.sha256()
    }
}

/// The output of `pg_dump` after a head, read while it is written.
#[derive(Debug)]
pub(crate) struct Enveloped {
    output: DumpOutput,
    seal: Seal,
}

impl Enveloped {
    /// The output, with this line before it.
    #[must_use]
    pub(crate) fn new(output: DumpOutput, head: &[u8]) -> Self {
        let mut seal = Seal::default();
        seal.take(head);
        Self { output, seal }
    }

    /// How many bytes of the dump came so far.
    #[must_use]
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        self.output.counter()
    }

    /// How long the dump may be left alone without having to wait.
    #[must_use]
    pub(crate) const fn pause(&self) -> Duration {
        self.output.pause()
    }

    /// Ends the text with the tail, which is written after the dump.
    #[must_use]
    pub(crate) fn tail(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        // pg_dump always ends its last line. If this text does not, a line end is added, so that the tail begins a line.
        if self.seal.inside_line {
            text.push(b'\n');
            self.seal.take(&text);
        }
        let contents = self.output.contents();
        let tail = Tail::of(&contents, self.seal.bytes, self.seal.sha256());
        let lines = tail.lines(&contents.tables);
        self.seal.take(&lines);
        text.extend(lines);
        text
    }

    /// The output, after its end, and the size of the text in bytes, including its head and tail.
    #[must_use]
    pub(crate) fn into_parts(self) -> (DumpOutput, u64) {
        (self.output, self.seal.bytes)
    }
}

impl Read for Enveloped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.output.read(buffer)?;
        self.seal.take(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// How a text disagrees with its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The first line can't be read.
    Garbled,
    /// The description is of a newer format.
    Format(u32),
    /// The tail is there, and the head is not.
    NoHead,
    /// The head is there, and the tail is not.
    NoTail,
    /// The head of another backup is inside of it.
    Second(String),
    /// The beginning of another dump, without a head, is inside of it.
    SecondDump,
    /// Something follows the tail.
    Follows,
    /// The text is not what was written.
    Differs(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LOST: &str = "parts of it are lost, doubled, exchanged or of another backup";
        match self {
            Self::Garbled => f.write_str("its description can't be read"),
            Self::Format(format) => write!(
                f,
                "its description has format {format}, but this version of the service only knows formats up to {}",
                label::FORMAT
            ),
            Self::NoHead => f.write_str(
                "its beginning is lost: it has the description at the end of a backup, but not the one at the beginning",
            ),
            Self::NoTail => f.write_str(
                "its end is lost: it has the description at the beginning of a backup, but not the one at the end",
            ),
            Self::Second(name) => {
                write!(f, "another backup begins inside it: {name}")
            }
            Self::SecondDump => f.write_str("a second dump begins inside it"),
            Self::Follows => f.write_str("something follows its end"),
            Self::Differs(differences) => {
                write!(f, "it is not what was written, {LOST}: {differences}")
            }
        }
    }
}

/// Which part of a backup is being read.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Dump,
    /// After the first line of the tail, which is being compared with the dump.
    Tail(Box<Comparison>),
}

/// The comparison of the tail with the dump that was read.
#[derive(Debug)]
struct Comparison {
    tail: Tail,
    contents: Contents,
    /// Whether the bytes before the tail have the length and the digest that were written.
    is_sealed: bool,
    bytes: u64,
    /// How many tables were compared.
    tables: u64,
    /// The last of these tables.
    last: Option<TableName>,
    differences: Vec<String>,
    more: u64,
}

/// Separates the text of a backup into its head, its dump and its tail.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    bytes: u64,
    /// Covers the text before the tail.
    seal: Seal,
    /// The beginning of a line that may belong to a description.
    held: Vec<u8>,
    inside_line: bool,
    head: Option<Arc<Head>>,
    stage: Stage,
    misfit: Option<Misfit>,
}

impl Opener {
    /// Takes the next piece. The text of the dump goes into the replay, which appends to `passed` what may reach `psql`.
    pub(crate) fn read(&mut self, mut piece: &[u8], replay: &mut Replay, passed: &mut Vec<u8>) {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        while !piece.is_empty() {
            let taken = if self.inside_line {
                self.pass(piece, replay, passed)
            } else {
                self.hold(piece, replay, passed)
            };
            piece = piece.get(taken..).unwrap_or_default();
        }
    }

    /// Ends the text: what was held back is passed on.
    pub(crate) fn end(&mut self, replay: &mut Replay, passed: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if held.starts_with(MARK) {
            self.take_line(&held, replay, passed);
        } else if !held.is_empty() {
            self.take_text(&held, replay, passed);
        }
        replay.end(passed);
    }

    /// How many bytes of text there were.
    #[must_use]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The head, once it has been read.
    #[must_use]
    pub(crate) const fn head(&self) -> Option<&Arc<Head>> {
        self.head.as_ref()
    }

    /// A problem that was found already, whatever may follow.
    #[must_use]
    pub(crate) const fn misfit(&self) -> Option<&Misfit> {
        self.misfit.as_ref()
    }

    /// Whether the text was compared with its description and agrees; false if it has no description.
    ///
    /// # Errors
    /// Returns how they disagree.
    pub(crate) fn check_description(&self, replay: &Replay) -> Result<bool, Misfit> {
        if let Some(misfit) = &self.misfit {
            return Err(misfit.clone());
        }
        let begins_twice = replay.script().beginnings() > 1;
        match (&self.head, &self.stage) {
            (None, Stage::Dump) if begins_twice => Err(Misfit::SecondDump),
            (None, Stage::Dump) => Ok(false),
            (None, Stage::Tail(_)) => Err(Misfit::NoHead),
            (Some(_), Stage::Dump) => Err(Misfit::NoTail),
            (Some(head), Stage::Tail(comparison)) => {
                let differences = comparison.finish(head.counting == COUNTING, begins_twice);
                match differences.as_str() {
                    "" => Ok(true),
                    _ => Err(Misfit::Differs(differences)),
                }
            }
        }
    }

    /// Passes text on, up to a line that may belong to a description.
    fn pass(&mut self, piece: &[u8], replay: &mut Replay, passed: &mut Vec<u8>) -> usize {
        let line = memchr::memmem::find(piece, LINE_AND_MARK).or_else(|| {
            let end = memchr::memrchr(b'\n', piece)?;
            let begun = piece.get(end.saturating_add(1)..)?;
            MARK.starts_with(begun).then_some(end)
        });
        let taken = line.map_or(piece.len(), |end| end.saturating_add(1));
        self.take_text(piece.get(..taken).unwrap_or_default(), replay, passed);
        self.inside_line = line.is_none();
        taken
    }

    /// Holds the beginning of a line back as long as it may belong to a description.
    fn hold(&mut self, piece: &[u8], replay: &mut Replay, passed: &mut Vec<u8>) -> usize {
        let mark = MARK.get(self.held.len()..).unwrap_or_default();
        let more = mark.len().min(piece.len());
        if mark.get(..more) != piece.get(..more) {
            return self.release(replay, passed);
        }
        if !mark.is_empty() {
            self.held
                .extend_from_slice(piece.get(..more).unwrap_or_default());
            return more;
        }
        let most = if self.seal.bytes == 0 {
            FIRST_LINE_BYTES
        } else {
            LINE_BYTES
        };
        let room = most.saturating_sub(self.held.len()).min(piece.len());
        let fitting = piece.get(..room).unwrap_or_default();
        let end = memchr::memchr(b'\n', fitting).map(|end| end.saturating_add(1));
        let taken = end.unwrap_or(room);
        self.held
            .extend_from_slice(piece.get(..taken).unwrap_or_default());
        if end.is_some() {
            let line = std::mem::take(&mut self.held);
            self.take_line(&line, replay, passed);
        } else if self.held.len() >= most {
            self.release(replay, passed);
        }
        taken
    }

    /// Passes on what was held back, because it is a line like any other.
    fn release(&mut self, replay: &mut Replay, passed: &mut Vec<u8>) -> usize {
        let held = std::mem::take(&mut self.held);
        self.inside_line = true;
        if self.seal.bytes == 0 && held.starts_with(MARK) {
            self.fail(Misfit::Garbled);
        }
        self.take_text(&held, replay, passed);
        0
    }

    fn take_text(&mut self, text: &[u8], replay: &mut Replay, passed: &mut Vec<u8>) {
        if matches!(self.stage, Stage::Tail(_)) && !text.is_empty() {
            self.fail(Misfit::Follows);
        }
        self.seal.take(text);
        replay.read(text, passed);
    }

    /// Takes a line that begins with the mark. A row or a quoted text can hold such a line too, but not one with the digest
    /// of everything before it, because the head holds a random number.
    fn take_line(&mut self, line: &[u8], replay: &mut Replay, passed: &mut Vec<u8>) {
        let is_first = self.seal.bytes == 0;
        let is_comment = is_first || replay.script().is_outside_rows_and_quotes();
        match (&mut self.stage, label::read(line)) {
            (Stage::Dump, Ok(Line::Tail(tail))) if is_comment || self.seal.is_of(&tail) => {
                self.stage = Stage::Tail(Box::new(Comparison {
                    is_sealed: self.seal.is_of(&tail),
                    bytes: self.seal.bytes,
                    tail,
                    contents: replay.script().contents(),
                    tables: 0,
                    last: None,
                    differences: Vec::new(),
                    more: 0,
                }));
            }
            (Stage::Dump, Ok(Line::Head(head))) if is_first => {
                self.head = Some(Arc::new(*head));
                self.seal.take(line);
            }
            (Stage::Dump, _) if !is_comment => self.take_text(line, replay, passed),
            (_, Ok(Line::Head(head))) => self.fail(Misfit::Second(shortened(&head.name, 1024))),
            (_, Err(Unread::Format(format))) => self.fail(Misfit::Format(format)),
            (Stage::Dump, Err(Unread::Garbled)) => self.fail(Misfit::Garbled),
            // The line that has to come before it is lost.
            (Stage::Dump, Ok(Line::Rows(_))) => self.fail(Misfit::NoTail),
            (Stage::Tail(comparison), Ok(Line::Rows(rows))) => comparison.take(rows),
            (Stage::Tail(_) | Stage::Dump, _) => self.fail(Misfit::Follows),
        }
    }

    fn fail(&mut self, misfit: Misfit) {
        self.misfit.get_or_insert(misfit);
    }
}

/// [`MARK`] at the beginning of a line that is not the first.
const LINE_AND_MARK: &[u8] = b"\n-- postgres-s3-backups: ";

impl Comparison {
    fn take(&mut self, rows: Vec<(TableName, u64)>) {
        for (table, written) in rows {
            if self.last.as_ref().is_some_and(|last| *last >= table) {
                self.differ("its list of tables is not in order".to_owned());
            }
            match self.contents.tables.get(&table).copied() {
                Some(found) if found == written => {}
                Some(found) => {
                    self.differ(format!("{table} holds {found} rows, {written} were dumped"));
                }
                None => self.differ(format!(
                    "{table} is missing, and {written} rows of it were dumped"
                )),
            }
            self.tables = self.tables.saturating_add(1);
            self.last = Some(table);
        }
    }

    fn differ(&mut self, difference: String) {
        if self.differences.len() < TOLD {
            self.differences.push(difference);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The differences; empty if there are none. Numbers that were counted in another way are not compared.
    fn finish(&self, is_counted_alike: bool, begins_twice: bool) -> String {
        let Self { tail, contents, .. } = self;
        let mut all = Vec::new();
        let mut hold = |what: &str, found: u64, written: u64| {
            if found != written {
                all.push(format!("it holds {found} {what}, {written} were written"));
            }
        };
        hold("tables in the list at its end", self.tables, tail.tables);
        if !self.is_sealed {
            hold("bytes of text", self.bytes, tail.bytes);
        }
        if is_counted_alike {
            let tables = u64::try_from(contents.tables.len()).unwrap_or(u64::MAX);
            hold("rows", contents.rows, tail.rows);
            hold("tables", tables, tail.tables);
            hold("large objects", contents.large_objects, tail.large_objects);
            all.extend(self.differences.iter().cloned());
            if self.more > 0 {
                all.push(format!("and {} more tables", self.more));
            }
        }
        if !self.is_sealed {
            if begins_twice {
                all.push("a second dump begins inside it".to_owned());
            }
            all.push("the SHA-256 of its text is another one than was written".to_owned());
        }
        all.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream::replay::Omit;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\nCOPY public.t (a) FROM stdin;\n1\n-- postgres-s3-backups: tail {\"format\":1}\n-- postgres-s3-backups: \n-- postgres\n\\.\n\nSELECT pg_catalog.lo_open('1', 131072);\nCOPY public.\"é\" (a) FROM stdin;\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

    fn head(name: &str) -> Vec<u8> {
        let head = Head {
            format: label::FORMAT,
            name: name.to_owned(),
            counting: COUNTING,
            ..Head::default()
        };
        head.line()
    }

    fn tail(before: &[u8]) -> Vec<u8> {
        let mut seal = Seal::default();
        seal.take(before);
        let mut replay = Replay::default();
        replay.read(before, &mut Vec::new());
        let contents = replay.script().contents();
        Tail::of(&contents, seal.bytes, seal.sha256()).lines(&contents.tables)
    }

    fn whole(name: &str, dump: &str) -> Vec<u8> {
        let text = [&head(name), dump.as_bytes()].concat();
        [&text[..], &tail(&text)].concat()
    }

    fn open(text: &[u8], step: usize) -> (Result<bool, Misfit>, Vec<u8>) {
        let (mut opener, mut replay) = (Opener::default(), Replay::new(Omit::default()));
        let mut passed = Vec::new();
        for piece in text.chunks(step) {
            opener.read(piece, &mut replay, &mut passed);
        }
        opener.end(&mut replay, &mut passed);
        (opener.check_description(&replay), passed)
    }

    #[test]
    fn what_is_between_comes_out_as_it_went_in_whatever_the_pieces() {
        for step in [1, 2, 7, 24, 25, 26, 1000] {
            assert_eq!(
                open(&whole("a", DUMP), step),
                (Ok(true), DUMP.as_bytes().to_vec()),
                "{step}"
            );
            // Older versions made such backups.
            assert_eq!(
                open(DUMP.as_bytes(), step),
                (Ok(false), DUMP.as_bytes().to_vec())
            );
        }
    }

    #[test]
    fn no_byte_can_be_lost_or_changed() {
        let whole = whole("a", DUMP);
        for at in 0..whole.len() {
            let lost = [&whole[..at], &whole[at + 1..]].concat();
            // The last line end has no meaning.
            assert_eq!(
                open(&lost, 4096).0 == Ok(true),
                at == whole.len() - 1,
                "lost {at}"
            );
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_ne!(open(&changed, 4096).0, Ok(true), "changed {at}");
            let cut = open(&whole[..at], 4096).0;
            let is_dump = at == 0 || !whole[..at].starts_with(MARK);
            assert_eq!(cut == Ok(true), at == whole.len() - 1, "cut {at}");
            assert!(cut != Ok(false) || is_dump, "cut {at}");
        }
    }

    #[test]
    fn each_misfit_is_named() {
        let (one, other) = (whole("one", DUMP), whole("other", DUMP));
        let (first, last) = (head("one"), tail(&[&head("one"), DUMP.as_bytes()].concat()));
        let text = DUMP.as_bytes();
        let row = DUMP.replacen("1\n", "1\n2\n", 1);
        let newer = b"-- postgres-s3-backups: head {\"format\":9}\n";
        let cases: [(&str, Vec<u8>, Misfit); 11] = [
            ("no head", one[first.len()..].to_vec(), Misfit::NoHead),
            (
                "no tail",
                one[..one.len() - last.len()].to_vec(),
                Misfit::NoTail,
            ),
            (
                "a head twice",
                [&first[..], &one].concat(),
                Misfit::Second("one".to_owned()),
            ),
            (
                "another backup behind",
                [&one[..], &other].concat(),
                Misfit::Second("other".to_owned()),
            ),
            (
                "an old backup behind",
                [&one[..], text].concat(),
                Misfit::Follows,
            ),
            (
                "a line end behind",
                [&one[..], b"\n"].concat(),
                Misfit::Follows,
            ),
            ("a tail twice", [&one[..], &last].concat(), Misfit::Follows),
            (
                "a backup behind an old one",
                [text, &one].concat(),
                Misfit::Second("one".to_owned()),
            ),
            ("two old backups", [text, text].concat(), Misfit::SecondDump),
            ("a newer format", newer.to_vec(), Misfit::Format(9)),
            (
                "no format",
                b"-- postgres-s3-backups: head {}\n".to_vec(),
                Misfit::Garbled,
            ),
        ];
        for (what, text, misfit) in cases {
            for step in [1, 100, 10_000] {
                assert_eq!(open(&text, step).0, Err(misfit.clone()), "{what}");
            }
        }
        for (what, dump, said) in [
            (
                "a row more",
                row.as_bytes(),
                "public.t holds 5 rows, 4 were dumped",
            ),
            (
                "twice",
                &[text, text].concat(),
                "a second dump begins inside it",
            ),
            (
                "other bytes",
                DUMP.replace("1\n", "2\n").as_bytes(),
                "the SHA-256 of its text is another one than was written",
            ),
        ] {
            let Err(Misfit::Differs(differences)) = open(&[&first[..], dump, &last].concat(), 50).0
            else {
                panic!("{what}");
            };
            assert!(differences.contains(said), "{what}: {differences}");
        }
    }

    #[test]
    fn where_the_text_can_not_be_followed_its_digest_finds_the_tail() {
        // To psql, everything that follows is inside the quoted text.
        let text = [&head("a")[..], b"SELECT '1;\n"].concat();
        let sealed = [&text[..], &tail(&text)].concat();
        assert_eq!(open(&sealed, 9).0, Ok(true));
        let other = [&text[..], b"\n", &tail(&text)].concat();
        assert_eq!(open(&other, 9).0, Err(Misfit::NoTail));
    }

    #[test]
    fn other_ways_to_count_are_no_damage() {
        let line = head("a");
        let older = String::from_utf8(line)
            .unwrap()
            .replace(&format!("\"counting\":{COUNTING}"), "\"counting\":1");
        assert!(older.contains("\"counting\":1,"));
        let text = [older.as_bytes(), DUMP.as_bytes()].concat();
        let counted = Tail {
            rows: 99,
            ..match label::read(
                tail(&text)
                    .split_inclusive(|byte| *byte == b'\n')
                    .next()
                    .unwrap(),
            ) {
                Ok(Line::Tail(tail)) => tail,
                line => panic!("{line:?}"),
            }
        };
        let tables = [
            (TableName::from(b"a".to_vec()), 5),
            (TableName::from(b"b".to_vec()), 6),
        ];
        let lines = counted.lines(&tables.into());
        assert_eq!(open(&[&text[..], &lines].concat(), 100).0, Ok(true));
    }
}
