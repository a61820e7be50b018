//! A plain dump as text: how many rows of how many tables it holds, and whether it is there to its last line.
//!
//! `pg_dump` that exits 0 with half of its output unread, or never written, looks like success to everybody but the one
//! who reads the text. So the text is read as it streams by, in the manner of `psql`: what ends a statement there ends it
//! here.

use std::collections::BTreeMap;
use std::fmt;

/// The last words of every plain dump.
const END_MARKER: &[u8] = b"--\n-- PostgreSQL database dump complete\n--";

/// Enough for the end marker and the `\unrestrict` line after it, whose key has up to 63 characters in current minors
/// and any length with `--restrict-key`.
const TAIL_BYTES: usize = 1024;

/// Enough for `COPY "schema"."table"` at PostgreSQL's longest names; the column list is not kept.
const HEAD_BYTES: usize = 320;

/// Reads a dump piece by piece.
#[derive(Debug, Default)]
pub struct Script {
    bytes: u64,
    rows: u64,
    tables: BTreeMap<TableName, u64>,
    /// The table whose rows are passing, and how many of them passed.
    copying: (TableName, u64),
    tail: Vec<u8>,
    restrict_key: Option<Vec<u8>>,
    backslash_escapes: bool,
    mode: Mode,
    /// The beginning of the statement, comment or client command at hand.
    head: Vec<u8>,
    /// The last bytes of the statement at hand, blanks folded, to see how it ends.
    last: Vec<u8>,
    /// The byte before the present one, in SQL text.
    previous: u8,
    /// Open parentheses: inside them a semicolon ends nothing, as in the actions of a rule.
    parentheses: u32,
    /// The body of an SQL-standard function, whose statements end in semicolons of their own.
    body: Body,
    dumped_from: Option<String>,
    dumped_by: Option<String>,
    transaction_statements: u64,
    client_commands: u64,
    unchecked_constraints: u64,
}

/// How deep the text is in the `BEGIN ATOMIC … END` of a function. `psql` counts words to find it out, and so does this.
#[derive(Debug, Default)]
struct Body {
    /// Whether the statement is a `CREATE FUNCTION` or `CREATE PROCEDURE`.
    possible: bool,
    depth: u32,
    /// The word at hand, in lower case, as far as it can matter.
    word: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Mode {
    /// SQL text; a statement has begun if `head` is not empty.
    #[default]
    Statement,
    /// `'…'`; `escapes` says whether a backslash takes the next byte along.
    Literal { escapes: bool, escaped: bool },
    /// `"…"`
    Identifier,
    /// The tag of a dollar quote, as far as it was read.
    DollarTag(Vec<u8>),
    /// `$tag$ … $tag$`; `matched` counts the bytes of the closing tag seen so far.
    DollarQuote { tag: Vec<u8>, matched: usize },
    /// `-- …` to the end of the line.
    LineComment,
    /// `/* … */`, which nests.
    BlockComment { depth: u32 },
    /// A client command such as `\restrict KEY`, to the end of the line.
    ClientCommand,
    /// Between the semicolon of `COPY … FROM stdin;` and the first row.
    CopyBegins,
    /// Rows between `COPY … FROM stdin;` and `\.`; `line` is the present line's length so far, `dot` whether it is `\.` so far.
    CopyData { line: u64, dot: bool },
}

/// What a dump that was read to its end turned out to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of plain text.
    pub bytes: u64,
    /// Rows in all tables.
    pub rows: u64,
    /// Rows of each table with a data section, the empty ones included, under its name as SQL spells it.
    pub tables: BTreeMap<TableName, u64>,
}

/// A table's name as SQL spells it, in the encoding of the database that was dumped.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName(Vec<u8>);

impl TableName {
    /// The bytes, which need not be UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Script {
    /// Takes the next piece.
    pub fn read(&mut self, mut piece: &[u8]) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        self.keep_tail(piece);
        while !piece.is_empty() {
            let taken = self.advance(piece);
            piece = piece.get(taken..).unwrap_or_default();
        }
    }

    /// Takes the next piece up to the end of the statement or of the rows at hand, and says how much of it that was.
    pub(crate) fn read_statement(&mut self, piece: &[u8]) -> usize {
        let mut taken: usize = 0;
        while let Some(rest) = piece.get(taken..).filter(|rest| !rest.is_empty()) {
            taken = taken.saturating_add(self.advance(rest));
            if self.is_between_statements() {
                break;
            }
        }
        let piece = piece.get(..taken).unwrap_or_default();
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        self.keep_tail(piece);
        taken
    }

    /// Takes rows, or the inside of a literal, or a byte of anything else, from a piece that is not empty.
    fn advance(&mut self, piece: &[u8]) -> usize {
        let Mode::CopyData { line, dot } = &mut self.mode else {
            if let Some(skipped) = self.plain_bytes(piece) {
                return skipped;
            }
            if let Some(byte) = piece.first() {
                self.step(*byte);
            }
            return 1;
        };
        if *line == 0 && !piece.starts_with(b"\\.") {
            let rows = whole_rows(piece);
            let count = u64::try_from(memchr::memchr_iter(b'\n', rows).count()).unwrap_or(0);
            if count > 0 {
                self.rows = self.rows.saturating_add(count);
                self.copying.1 = self.copying.1.saturating_add(count);
                return rows.len();
            }
        }
        let Some(end) = memchr::memchr(b'\n', piece) else {
            *dot = still_dot(*dot, *line, piece);
            *line = line.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            return piece.len();
        };
        let row = piece.get(..end).unwrap_or_default();
        let ends = still_dot(*dot, *line, row)
            && line.saturating_add(u64::try_from(row.len()).unwrap_or(u64::MAX)) == 2;
        if ends {
            self.mode = Mode::Statement;
            self.begin_statement();
            let (table, rows) = std::mem::take(&mut self.copying);
            let counted = self.tables.entry(table).or_default();
            *counted = counted.saturating_add(rows);
        } else {
            self.rows = self.rows.saturating_add(1);
            self.copying.1 = self.copying.1.saturating_add(1);
            self.mode = Mode::CopyData { line: 0, dot: true };
        }
        end.saturating_add(1)
    }

    /// How many bytes at the beginning are the inside of a literal and change nothing. Large objects are dumped as
    /// literals.
    fn plain_bytes(&self, piece: &[u8]) -> Option<usize> {
        let Mode::Literal {
            escapes,
            escaped: false,
        } = self.mode
        else {
            return None;
        };
        let end = if escapes {
            memchr::memchr2(b'\'', b'\\', piece)
        } else {
            memchr::memchr(b'\'', piece)
        };
        Some(end.unwrap_or(piece.len())).filter(|skipped| *skipped > 0)
    }

    /// Whether the last statement, comment or row block ended and the next has not begun.
    pub(crate) fn is_between_statements(&self) -> bool {
        self.mode == Mode::Statement && self.head.is_empty()
    }

    /// Whether a quote or a block comment is open.
    pub(crate) const fn is_inside_quote(&self) -> bool {
        !matches!(
            self.mode,
            Mode::Statement | Mode::LineComment | Mode::ClientCommand
        )
    }

    /// The table whose rows are passing.
    pub(crate) fn copying(&self) -> Option<&TableName> {
        matches!(self.mode, Mode::CopyData { .. }).then_some(&self.copying.0)
    }

    /// How many bytes and rows were read so far.
    pub(crate) const fn position(&self) -> (u64, u64) {
        (self.bytes, self.rows)
    }

    /// What was read so far.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents {
            bytes: self.bytes,
            rows: self.rows,
            tables: self.tables.clone(),
        }
    }

    /// The version of the server that this came from, from its header.
    #[must_use]
    pub fn dumped_from(&self) -> Option<&str> {
        self.dumped_from.as_deref()
    }

    /// The version of `pg_dump` that wrote this, from its header.
    #[must_use]
    pub fn dumped_by(&self) -> Option<&str> {
        self.dumped_by.as_deref()
    }

    /// How many statements began, ended or named a transaction.
    pub(crate) const fn transaction_statements(&self) -> u64 {
        self.transaction_statements
    }

    /// How many constraints it adds that the source had not checked either.
    pub(crate) const fn unchecked_constraints(&self) -> u64 {
        self.unchecked_constraints
    }

    /// How many commands to `psql` itself there were.
    pub(crate) const fn client_commands(&self) -> u64 {
        self.client_commands
    }

    /// Whether the text so far ends as a whole dump ends. Since August 2025 the end marker is followed by
    /// `\unrestrict KEY` with the random key of the first lines, which no cut-off table data can imitate.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut text = self.tail.trim_ascii_end();
        if let Some(key) = &self.restrict_key {
            let Some(before) = text
                .strip_suffix(key.as_slice())
                .and_then(|text| text.strip_suffix(b"\\unrestrict "))
            else {
                return false;
            };
            text = before.trim_ascii_end();
        }
        text.strip_suffix(END_MARKER)
            .is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
    }

    fn keep_tail(&mut self, piece: &[u8]) {
        let kept = piece.len().min(TAIL_BYTES);
        let excess = self
            .tail
            .len()
            .saturating_add(kept)
            .saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail
            .extend(piece.iter().skip(piece.len().saturating_sub(kept)));
    }

    fn begin_statement(&mut self) {
        self.head.clear();
        self.last.clear();
        self.previous = 0;
        self.parentheses = 0;
        self.body.possible = false;
        self.body.depth = 0;
        self.body.word.clear();
    }

    fn remember(&mut self, byte: u8) {
        if self.head.len() < HEAD_BYTES {
            self.head.push(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        match &mut self.mode {
            Mode::Statement => self.step_statement(byte),
            Mode::Literal { escapes, escaped } => {
                if *escaped {
                    *escaped = false;
                } else if *escapes && byte == b'\\' {
                    *escaped = true;
                } else if byte == b'\'' {
                    // A doubled quote ends one literal and begins the next: the outcome is the same.
                    self.mode = Mode::Statement;
                    self.previous = byte;
                }
            }
            Mode::Identifier => {
                if byte == b'"' {
                    self.mode = Mode::Statement;
                    self.previous = byte;
                }
                self.remember(byte);
            }
            Mode::DollarTag(tag) => {
                if byte == b'$' {
                    let mut whole = std::mem::take(tag);
                    whole.push(byte);
                    self.mode = Mode::DollarQuote {
                        tag: whole,
                        matched: 0,
                    };
                } else if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 {
                    tag.push(byte);
                } else {
                    self.mode = Mode::Statement;
                    self.previous = b'$';
                    self.step_statement(byte);
                }
            }
            Mode::DollarQuote { tag, matched } => {
                if tag.get(*matched) == Some(&byte) {
                    *matched = matched.saturating_add(1);
                    if *matched == tag.len() {
                        self.mode = Mode::Statement;
                        self.previous = b'$';
                    }
                } else {
                    *matched = usize::from(byte == b'$');
                }
            }
            Mode::LineComment | Mode::ClientCommand => {
                if byte == b'\n' {
                    self.end_line();
                } else {
                    self.remember(byte);
                }
            }
            Mode::BlockComment { depth } => {
                match (self.previous, byte) {
                    (b'*', b'/') => *depth = depth.saturating_sub(1),
                    (b'/', b'*') => *depth = depth.saturating_add(1),
                    _ => {}
                }
                self.previous = if matches!((self.previous, byte), (b'*', b'/') | (b'/', b'*')) {
                    0
                } else {
                    byte
                };
                if *depth == 0 {
                    self.mode = Mode::Statement;
                }
            }
            Mode::CopyBegins => {
                if byte == b'\n' {
                    self.mode = Mode::CopyData { line: 0, dot: true };
                }
            }
            Mode::CopyData { .. } => {}
        }
    }

    fn step_statement(&mut self, byte: u8) {
        let begun = !self.head.is_empty();
        self.step_word(byte);
        match (self.previous, byte) {
            (b'-', b'-') => {
                // A comment between statements is kept for what it may say; inside one it is only passed over.
                self.mode = Mode::LineComment;
                if self.head == b"-" {
                    self.head.clear();
                    self.head.extend(b"--");
                }
            }
            (b'/', b'*') => {
                self.mode = Mode::BlockComment { depth: 1 };
                if self.head == b"/" {
                    self.head.clear();
                }
                self.previous = 0;
                return;
            }
            (_, b'\\') => {
                self.client_commands = self.client_commands.saturating_add(1);
                if !begun {
                    self.mode = Mode::ClientCommand;
                }
                self.remember(byte);
            }
            (before, b'\'') => {
                let escapes = self.backslash_escapes || matches!(before, b'e' | b'E');
                self.mode = Mode::Literal {
                    escapes,
                    escaped: false,
                };
            }
            (_, b'"') => {
                self.mode = Mode::Identifier;
                self.remember(byte);
            }
            // A dollar inside a name such as a$b is part of it.
            (before, b'$')
                if !(before.is_ascii_alphanumeric() || before == b'_' || before >= 0x80) =>
            {
                self.mode = Mode::DollarTag(vec![b'$']);
            }
            (_, b';') if self.parentheses == 0 && self.body.depth == 0 => {
                self.end_statement();
                return;
            }
            (_, blank) if blank.is_ascii_whitespace() && !begun => {}
            _ => {
                match byte {
                    b'(' => self.parentheses = self.parentheses.saturating_add(1),
                    b')' => self.parentheses = self.parentheses.saturating_sub(1),
                    _ => {}
                }
                self.remember(byte);
                self.last.push(byte);
                if self.last.len() > 64 {
                    self.last.drain(..32);
                }
            }
        }
        self.previous = byte;
    }

    /// Follows the words that open and close the body of an SQL-standard function.
    fn step_word(&mut self, byte: u8) {
        const LONGEST: usize = 16;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80 {
            if self.body.word.len() < LONGEST {
                self.body.word.push(byte.to_ascii_lowercase());
            }
            return;
        }
        if self.body.word.is_empty() {
            return;
        }
        let body = &mut self.body;
        match body.word.as_slice() {
            b"function" | b"procedure" => {
                body.possible |= matches!(
                    self.head.trim_ascii_end().to_ascii_uppercase().as_slice(),
                    b"CREATE FUNCTION"
                        | b"CREATE PROCEDURE"
                        | b"CREATE OR REPLACE FUNCTION"
                        | b"CREATE OR REPLACE PROCEDURE"
                );
            }
            b"begin" if body.possible => body.depth = body.depth.saturating_add(1),
            // CASE … END stands inside a body too.
            b"case" if body.depth > 0 => body.depth = body.depth.saturating_add(1),
            b"end" => body.depth = body.depth.saturating_sub(1),
            _ => {}
        }
        body.word.clear();
    }

    fn end_statement(&mut self) {
        if self.head.starts_with(b"COPY ") && self.last.trim_ascii_end().ends_with(b"FROM stdin") {
            self.copying = (table_name(&self.head), 0);
            self.mode = Mode::CopyBegins;
        } else if self.head.starts_with(b"INSERT INTO ") {
            self.rows = self.rows.saturating_add(1);
        } else if self.head.starts_with(b"SET standard_conforming_strings = ") {
            self.backslash_escapes = self.head.ends_with(b"off");
        } else if self.head.starts_with(b"ALTER TABLE ")
            && self.last.trim_ascii_end().ends_with(b"NOT VALID")
        {
            self.unchecked_constraints = self.unchecked_constraints.saturating_add(1);
        } else {
            let word = self
                .head
                .split(|byte| !byte.is_ascii_alphabetic())
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            if TRANSACTION_WORDS.contains(&word.as_slice()) {
                self.transaction_statements = self.transaction_statements.saturating_add(1);
            }
        }
        self.begin_statement();
    }

    fn end_line(&mut self) {
        let was_command = self.mode == Mode::ClientCommand;
        self.mode = Mode::Statement;
        self.previous = b'\n';
        if was_command {
            if let Some(key) = self.head.strip_prefix(b"\\restrict ") {
                self.restrict_key = Some(key.trim_ascii().to_vec());
            }
            self.begin_statement();
        } else if self.head.starts_with(b"--") {
            let version = |words: &[u8]| {
                let version = self.head.strip_prefix(words)?;
                Some(String::from_utf8_lossy(version).into_owned())
            };
            if let Some(version) = version(b"-- Dumped from database version ") {
                self.dumped_from.get_or_insert(version);
            } else if let Some(version) = version(b"-- Dumped by pg_dump version ") {
                self.dumped_by.get_or_insert(version);
            }
            self.begin_statement();
        }
    }
}

/// The words that begin a statement about transactions.
const TRANSACTION_WORDS: [&[u8]; 8] = [
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"END",
    b"ROLLBACK",
    b"ABORT",
    b"PREPARE",
    b"SAVEPOINT",
];

/// The table's name in `COPY name (…`, as it is spelled there.
fn table_name(head: &[u8]) -> TableName {
    let text = head.strip_prefix(b"COPY ").unwrap_or(head);
    let mut quoted = false;
    let end = text.iter().position(|byte| {
        quoted ^= *byte == b'"';
        !quoted && *byte == b' '
    });
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    TableName(name.to_vec())
}

/// The rows at the beginning of the piece that are there to their ends, up to a line that begins like the last one.
fn whole_rows(piece: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(piece, b"\n\\.").or_else(|| memchr::memrchr(b'\n', piece));
    end.and_then(|end| piece.get(..=end)).unwrap_or_default()
}

/// Whether a line that was `\.` so far still is with these bytes added.
fn still_dot(dot: bool, line: u64, added: &[u8]) -> bool {
    dot && match line {
        0 => b"\\.".starts_with(added),
        1 => b".".starts_with(added),
        _ => added.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict Abc123\n\n-- Dumped from database version 17.11\n-- Dumped by pg_dump version 17.11\n\nSET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n\nCREATE FUNCTION public.trap() RETURNS text\n    LANGUAGE sql\n    AS $_$ select $$\nCOPY public.fake (a) FROM stdin;\n1\n2\n\\.\n$$ || 'x' $_$;\n\nCREATE TABLE public.a$b (a text DEFAULT 'it''s; COPY x FROM stdin;');\n\n--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: o\n--\n\nCOPY public.\"odd;\nname\" (a, \"b\"\"c\") FROM stdin;\n1\tx\n\\\\.\ty\n--\n-- PostgreSQL database dump complete\n--\n\n\\.\n\n\nCOPY public.empty (a) FROM stdin;\n\\.\n\n\nCOMMENT ON TABLE public.empty IS 'a \\ '';COPY y FROM stdin;';\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict Abc123\n\n";

    fn read(text: &[u8], step: usize) -> Script {
        let mut script = Script::default();
        text.chunks(step).for_each(|piece| script.read(piece));
        script
    }

    #[test]
    fn rows_and_tables_are_counted_whatever_the_pieces() {
        for step in [1, 2, 3, 7, 64, 100_000] {
            let script = read(DUMP.as_bytes(), step);
            assert_eq!(
                script.contents(),
                Contents {
                    bytes: u64::try_from(DUMP.len()).unwrap(),
                    rows: 6,
                    tables: BTreeMap::from([
                        (TableName(b"public.\"odd;\nname\"".to_vec()), 6),
                        (TableName(b"public.empty".to_vec()), 0),
                    ]),
                },
                "step {step}"
            );
            assert!(script.is_whole(), "step {step}");
            assert_eq!(script.dumped_by(), Some("17.11"));
        }
    }

    #[test]
    fn a_semicolon_inside_parentheses_or_a_function_body_ends_nothing() {
        let text = "CREATE RULE r AS ON INSERT TO public.t DO ALSO ( INSERT INTO a VALUES (1);\n INSERT INTO b VALUES (2);\n);\n\
            CREATE FUNCTION public.f(\"begin\" integer) RETURNS integer\n LANGUAGE sql\n BEGIN ATOMIC\n INSERT INTO a VALUES (CASE WHEN true THEN 1 END);\n COMMIT;\n SELECT 1;\nEND;\n\
            INSERT INTO public.t VALUES (1);\nCREATE TABLE public.begin (\"end\" text);\nINSERT INTO public.t VALUES (2);\n";
        for step in [1, 5, 10_000] {
            let script = read(text.as_bytes(), step);
            assert_eq!(script.contents().rows, 2, "step {step}");
            assert_eq!(script.transaction_statements(), 0);
        }
        assert_eq!(
            read(b"begin;\nCommit work ;\nBEGINS;\n", 3).transaction_statements(),
            2
        );
        assert_eq!(
            read(b"SELECT 1 \\! true\n;\n\\restrict a\nSELECT '\\';\n", 3).client_commands(),
            2
        );
    }

    #[test]
    fn no_cut_dump_is_whole() {
        let last_word = DUMP.trim_end().len();
        for end in 0..DUMP.len() {
            assert_eq!(
                read(DUMP.get(..end).unwrap().as_bytes(), 4096).is_whole(),
                end >= last_word,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn a_dump_of_an_older_minor_has_no_key() {
        assert!(read(b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n", 5).is_whole());
        assert!(!read(b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE", 5).is_whole());
        assert!(!read(b"", 5).is_whole());
    }

    #[test]
    fn another_key_is_no_end() {
        assert!(
            !read(
                DUMP.replace("\\unrestrict Abc123", "\\unrestrict Abc124")
                    .as_bytes(),
                9
            )
            .is_whole()
        );
    }

    #[test]
    fn escapes_follow_the_servers_setting() {
        let text = "SET standard_conforming_strings = off;\nCOMMENT ON x IS 'a\\';COPY f FROM stdin;';\nCOPY t (a) FROM stdin;\n1\n\\.\n";
        assert_eq!(read(text.as_bytes(), 3).contents().rows, 1);
        let text = "SELECT E'a\\';COPY f FROM stdin;';\n/* /* ; */ ' */ INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);\n";
        assert_eq!(read(text.as_bytes(), 3).contents().rows, 2);
    }
}
