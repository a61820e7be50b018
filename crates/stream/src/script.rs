//! A plain dump as text: how many rows of how many tables it holds, and whether it is complete.
//!
//! If `pg_dump` exits with 0 and half of its output was lost or never written, only the text shows that. So the text is read as
//! it streams by, in the way of `psql`: a statement ends here where it ends there. Whatever the text is, only a limited amount
//! of it is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

mod contents;
mod head;
mod rows;

pub use contents::{Contents, ENDS_INSIDE_HINT, Inside, TableName};
use head::Head;
use rows::Rows;

pub use crate::lexer::Lost;
use crate::lexer::{COMMAND_BYTES, Lexer, Settings, Token};
use crate::statement::{Meaning, Setting, Statement};

/// The last words of every plain dump.
const END_MARKER: &[u8] = b"--\n-- PostgreSQL database dump complete\n--";

/// The last words of what `pg_dumpall` writes.
const END_OF_GLOBALS: &[u8] = b"--\n-- PostgreSQL database cluster dump complete\n--";

/// How many of the last bytes are kept: enough for the end marker and the `\unrestrict` line after it. Its key has up to 63
/// characters in current minor versions, and any length with `--restrict-key`; it may be as long as a client command whose text
/// is kept.
const TAIL_BYTES: usize = COMMAND_BYTES + 512;

/// The memory for names of tables, which is enough for about 500,000. Without a limit, a text of nothing but `COPY` headers
/// would take a hundred times its compressed size.
const TABLES_BYTES: usize = 64 * 1024 * 1024;

/// The memory for names of constraints that the source had not checked.
const UNCHECKED_BYTES: usize = 2 * 1024 * 1024;

/// The memory that a table takes besides its name, in the map and in the allocator.
const TABLE_BYTES: usize = 96;

/// How many `COPY … FROM stdin` may stand on one line. `pg_dump` writes one.
const COPIES: usize = 64;

/// How tables, rows and large objects are counted. Raise this number whenever this reader would count the same dump
/// differently, so that a backup is never compared with numbers that were counted in another way.
pub const COUNTING: u32 = 2;

/// The first words of every plain dump.
const BEGINNING: &[u8] = b" PostgreSQL database dump";

/// The longest version that is kept; a distribution's has about 40 characters.
const VERSION_CHARS: usize = 100;

/// Reads a dump piece by piece.
#[derive(Debug, Default)]
pub struct Script {
    bytes: u64,
    rows: u64,
    statements: u64,
    tables: Arc<BTreeMap<TableName, u64>>,
    tables_bytes: usize,
    has_more_tables: bool,
    large_objects: u64,
    /// The table of the last `INSERT`, and its rows that are not counted in `tables` yet, because a search for each statement
    /// would take too long.
    inserted: Option<(TableName, u64)>,
    /// What the statements of one table's rows begin with.
    head: Head,
    /// Whether there were rows of a table whose name was not kept, or rows without a `COPY` before them.
    has_nameless_rows: bool,
    /// How many dumps have begun in this text.
    beginnings: u64,
    lexer: Lexer,
    statement: Statement,
    /// Tables whose rows begin with the next line.
    waiting: VecDeque<Rows>,
    /// The rows of the current `COPY`.
    copying: Option<Rows>,
    tail: Vec<u8>,
    restrict_key: Option<Vec<u8>>,
    dumped_from: Option<String>,
    dumped_by: Option<String>,
    transaction_statements: u64,
    client_commands: u64,
    /// Whether `pg_dumpall` wrote it.
    is_of_globals: bool,
    definitions: u64,
    unchecked: Vec<Unchecked>,
    unchecked_bytes: usize,
    has_more_unchecked: bool,
}

/// A constraint that the source had not checked against its rows (`NOT VALID`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// The table or domain that it belongs to.
    pub of: TableName,
    /// Whether `of` is a domain.
    pub is_of_domain: bool,
    /// Its name, in the encoding of the database that was dumped.
    pub name: Vec<u8>,
}

impl Script {
    /// A reader for the output of `pg_dumpall --globals-only`, which ends with other words.
    #[must_use]
    pub fn of_globals() -> Self {
        Self {
            is_of_globals: true,
            ..Self::default()
        }
    }

    /// Takes the next piece.
    pub fn read(&mut self, piece: &[u8]) {
        let mut at: usize = 0;
        // Where the current statement began, if that is in this piece.
        let mut began = None;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            if self.is_between_statements() {
                began = Some(at);
                if let Some(taken) = self.begin_as_before(rest) {
                    at = at.saturating_add(taken);
                    continue;
                }
            }
            let had_values = self.statement.has_values();
            at = at.saturating_add(self.advance(rest));
            if !had_values
                && self.statement.has_values()
                && let Some(table) = self.statement.name()
                && let Some(head) = began.and_then(|began| piece.get(began..=at))
            {
                self.head.keep(head, table);
            }
        }
        self.taken(piece);
    }

    /// Takes the next piece up to the end of the current statement or rows, and returns how much of it that was.
    pub fn read_statement(&mut self, piece: &[u8]) -> usize {
        let mut taken: usize = 0;
        while let Some(rest) = piece.get(taken..).filter(|rest| !rest.is_empty()) {
            let more = self.advance(rest);
            taken = taken.saturating_add(more);
            if more > 0 && self.is_between_statements() {
                break;
            }
        }
        self.taken(piece.get(..taken).unwrap_or_default());
        taken
    }

    /// Begins a statement that begins as the last `INSERT` did, and returns how much of the piece that took.
    fn begin_as_before(&mut self, piece: &[u8]) -> Option<usize> {
        let (taken, table) = self.head.of(piece).filter(|_| !self.lexer.turns())?;
        self.statement.begin_values(table);
        self.lexer.begin_skimming();
        Some(taken)
    }

    /// Notes how much was taken, and keeps the last bytes.
    fn taken(&mut self, piece: &[u8]) {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        if memchr::memchr(0, piece).is_some() && self.lexer.lost().is_none() {
            self.lose(Lost::Nul);
        }
        // The tail is cut only now and then, because a piece can be a short statement.
        let excess = piece.len().saturating_sub(TAIL_BYTES);
        if self.tail.len() > TAIL_BYTES || excess > 0 {
            let old = self.tail.len().saturating_sub(TAIL_BYTES);
            self.tail
                .drain(..if excess > 0 { self.tail.len() } else { old });
        }
        self.tail
            .extend_from_slice(piece.get(excess..).unwrap_or_default());
    }

    fn lose(&mut self, lost: Lost) {
        self.lexer.lose(lost);
        self.waiting.clear();
        if let Some(rows) = self.copying.take() {
            self.count(rows.table, rows.count);
        }
    }

    /// Takes rows, a token or a part of a token from a piece that is not empty.
    fn advance(&mut self, piece: &[u8]) -> usize {
        if let Some(rows) = &mut self.copying {
            let (taken, ended) = rows.advance(piece, &mut self.rows);
            if ended {
                self.end_rows();
            }
            return taken;
        }
        // Whether something changes at the end of this line.
        let turns = self.lexer.turns() || !self.waiting.is_empty();
        let line = turns.then(|| memchr::memchr(b'\n', piece)).flatten();
        let piece = line.map_or(piece, |end| piece.get(..=end).unwrap_or_default());
        let (taken, token) = self.lexer.advance(piece);
        self.take(token);
        if turns && line.is_some() && taken == piece.len() {
            self.lexer.begin_line();
            self.head.forget();
            self.copying = self.waiting.pop_front();
        }
        taken
    }

    /// Counts the rows that have ended, and begins those of the next `COPY` of the line.
    fn end_rows(&mut self) {
        let next = self.waiting.pop_front();
        if let Some(rows) = std::mem::replace(&mut self.copying, next) {
            self.count(rows.table, rows.count);
        }
    }

    fn take(&mut self, token: Token) {
        match token {
            Token::Nothing => {}
            Token::End => {
                self.end_statement();
                self.statement.begin();
                self.lexer.skim(false);
                self.statements = self.statements.saturating_add(1);
            }
            Token::Separator => {
                let is_part = !self.lexer.is_at_the_top();
                self.end_statement();
                self.statement.go_on(is_part);
                self.lexer.skim(false);
            }
            Token::Comment => self.note_version(),
            Token::Command => self.take_command(),
            token => {
                self.statement.take(token, self.lexer.text());
                self.lexer.skim(self.statement.is_known());
            }
        }
    }

    fn end_statement(&mut self) {
        let meaning = self.statement.meaning();
        if !matches!(meaning, Meaning::Insert | Meaning::InsertDefault)
            && let Some((table, rows)) = self.inserted.take()
        {
            self.count(Some(table), rows);
        }
        match meaning {
            Meaning::Copy { table, binary } => {
                if self.waiting.len() < COPIES {
                    self.waiting.push_back(Rows::of(table, binary));
                } else {
                    self.lose(Lost::Copies);
                }
            }
            Meaning::Insert => self.insert(self.lexer.groups()),
            Meaning::InsertDefault => self.insert(1),
            Meaning::Set(setting) => {
                let next = self.lexer.next_settings();
                match setting {
                    Setting::Escapes(escapes) => next.escapes = escapes,
                    Setting::Encoding(encoding) => next.encoding = encoding,
                    Setting::Reset => *next = Settings::default(),
                }
            }
            Meaning::Unchecked(unchecked) => self.note_unchecked(unchecked),
            Meaning::Transaction => {
                self.transaction_statements = self.transaction_statements.saturating_add(1);
            }
            Meaning::LargeObject => self.large_objects = self.large_objects.saturating_add(1),
            Meaning::Other => self.definitions = self.definitions.saturating_add(1),
        }
    }

    fn note_unchecked(&mut self, unchecked: Option<Unchecked>) {
        let weight = unchecked.as_ref().map_or(0, |unchecked| {
            let names = unchecked
                .of
                .as_bytes()
                .len()
                .saturating_add(unchecked.name.len());
            names.saturating_add(TABLE_BYTES)
        });
        let bytes = self.unchecked_bytes.saturating_add(weight);
        match unchecked {
            Some(unchecked) if bytes <= UNCHECKED_BYTES => {
                self.unchecked_bytes = bytes;
                self.unchecked.push(unchecked);
            }
            _ => self.has_more_unchecked = true,
        }
    }

    fn take_command(&mut self) {
        self.client_commands = self.client_commands.saturating_add(1);
        if let Some(command) = self.lexer.text()
            && let Some(key) = command.strip_prefix(b"\\restrict ")
        {
            self.restrict_key = Some(key.trim_ascii().to_vec());
        }
        // This is the end of rows whose beginning is missing.
        if self
            .lexer
            .text()
            .is_some_and(|text| text.trim_ascii() == b"\\.")
        {
            self.has_nameless_rows = true;
        }
    }

    /// Looks whether a comment between two statements tells a version or begins a dump.
    fn note_version(&mut self) {
        let comment = self.lexer.text().unwrap_or_default();
        if comment.is_empty() || self.statement.is_begun() {
            return;
        }
        let version = |words: &[u8]| {
            let version = comment.strip_prefix(words)?;
            let version = String::from_utf8_lossy(version);
            Some(version.trim_end().chars().take(VERSION_CHARS).collect())
        };
        if let Some(version) = version(b" Dumped from database version ") {
            self.dumped_from.get_or_insert(version);
        } else if let Some(version) = version(b" Dumped by pg_dump version ") {
            self.dumped_by.get_or_insert(version);
        } else if comment.trim_ascii_end() == BEGINNING {
            self.beginnings = self.beginnings.saturating_add(1);
        }
    }

    /// Counts the rows of an `INSERT`.
    fn insert(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        let name = self.statement.name();
        if let Some((table, count)) = &mut self.inserted
            && name.is_some_and(|name| name == table.as_bytes())
        {
            *count = count.saturating_add(rows);
            return;
        }
        let Some(table) = name.map(|name| TableName::from(name.to_vec())) else {
            self.has_nameless_rows = true;
            return;
        };
        if let Some((before, count)) = self.inserted.replace((table, rows)) {
            self.count(Some(before), count);
        }
    }

    /// Counts the rows of a table under its name.
    fn count(&mut self, table: Option<TableName>, rows: u64) {
        let Some(table) = table else {
            self.has_nameless_rows = true;
            return;
        };
        let tables = Arc::make_mut(&mut self.tables);
        if let Some(counted) = tables.get_mut(&table) {
            *counted = counted.saturating_add(rows);
            return;
        }
        let weight = table.as_bytes().len().saturating_add(TABLE_BYTES);
        let bytes = self.tables_bytes.saturating_add(weight);
        if bytes > TABLES_BYTES {
            self.has_more_tables = true;
        } else {
            self.tables_bytes = bytes;
            tables.insert(table, rows);
        }
    }

    /// Whether the last statement, comment or block of rows has ended and the next has not begun.
    #[must_use]
    pub fn is_between_statements(&self) -> bool {
        self.copying.is_none()
            && self.waiting.is_empty()
            && !self.statement.is_begun()
            && self.lexer.is_between_tokens()
    }

    /// Whether a quote or a block comment is open.
    pub const fn is_inside_quote(&self) -> bool {
        self.copying.is_some() || self.lexer.is_inside_quote()
    }

    /// Whether a line that begins here is a comment if it looks like one.
    pub fn is_outside_rows_and_quotes(&self) -> bool {
        self.waiting.is_empty() && !self.is_inside_quote()
    }

    /// How many dumps have begun in this text. If there is more than one, somebody has joined them.
    pub const fn beginnings(&self) -> u64 {
        self.beginnings
    }

    /// The table whose rows are being read.
    pub fn copying(&self) -> Option<&TableName> {
        self.copying.as_ref()?.table.as_ref()
    }

    /// How many bytes and rows were read so far.
    pub const fn position(&self) -> (u64, u64) {
        (self.bytes, self.rows)
    }

    /// What was read so far.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let mut tables = Arc::clone(&self.tables);
        if let Some(rows) = &self.copying
            && rows.is_at_end()
            && let Some(table) = &rows.table
        {
            *Arc::make_mut(&mut tables).entry(table.clone()).or_default() += rows.count;
        }
        if let Some((table, rows)) = &self.inserted {
            *Arc::make_mut(&mut tables).entry(table.clone()).or_default() += rows;
        }
        Contents {
            bytes: self.bytes,
            rows: self.rows,
            tables,
            has_more_tables: self.has_more_tables,
            large_objects: self.large_objects,
            ends_inside: self.ends_inside(),
        }
    }

    /// What the text so far would break off in, if it ended here.
    #[must_use]
    pub fn ends_inside(&self) -> Option<Inside> {
        if let Some(lost) = self.lexer.lost() {
            return Some(Inside::Lost(lost));
        }
        if let Some(rows) = &self.copying
            && !(rows.is_at_end() && self.waiting.is_empty())
        {
            return Some(Inside::Rows);
        }
        if !self.waiting.is_empty() && self.copying.is_none() {
            return Some(Inside::Rows);
        }
        if self.lexer.is_inside_quote() {
            return Some(Inside::Quote);
        }
        let is_open = self.statement.is_begun()
            || !(self.lexer.is_between_tokens() || self.lexer.is_inside_line());
        is_open.then_some(Inside::Statement)
    }

    /// The version of the server that was dumped, from the dump's header.
    #[must_use]
    pub fn dumped_from(&self) -> Option<&str> {
        self.dumped_from.as_deref()
    }

    /// The version of `pg_dump` that wrote this, from the dump's header.
    #[must_use]
    pub fn dumped_by(&self) -> Option<&str> {
        self.dumped_by.as_deref()
    }

    /// How many statements have ended.
    #[must_use]
    pub const fn statements(&self) -> u64 {
        self.statements
    }

    /// How many statements began, ended or named a transaction.
    #[must_use]
    pub const fn transaction_statements(&self) -> u64 {
        self.transaction_statements
    }

    /// How many statements define or change something, or do anything else that is not counted separately.
    pub const fn definitions(&self) -> u64 {
        self.definitions
    }

    /// The constraints in it that the source had not checked.
    pub fn unchecked_constraints(&self) -> &[Unchecked] {
        &self.unchecked
    }

    /// Whether there are more of them than are kept.
    pub const fn has_more_unchecked(&self) -> bool {
        self.has_more_unchecked
    }

    /// How many commands to `psql` itself there were.
    #[must_use]
    pub const fn client_commands(&self) -> u64 {
        self.client_commands
    }

    /// Whether the text so far ends as a whole dump ends. Since August 2025 the end marker is followed by `\unrestrict KEY`
    /// with the random key from the first lines, which data that was cut off can't imitate.
    #[must_use]
    pub fn has_end(&self) -> bool {
        let mut text = self.tail.trim_ascii_end();
        // pg_dumpall ends with these words; its \unrestrict comes before them.
        if let Some(key) = self.restrict_key.as_ref().filter(|_| !self.is_of_globals) {
            let Some(before) = text
                .strip_suffix(key.as_slice())
                .and_then(|text| text.strip_suffix(b"\\unrestrict "))
            else {
                return false;
            };
            text = before.trim_ascii_end();
        }
        let marker = if self.is_of_globals {
            END_OF_GLOBALS
        } else {
            END_MARKER
        };
        text.strip_suffix(marker)
            .is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
    }

    /// Whether the text so far is a whole dump: it [has its end](Self::has_end), that end is not one of a table's rows, and
    /// `psql` would read all of it.
    ///
    /// A text that breaks off inside a statement or a quote can count as whole too: only `psql` can decide that for certain,
    /// because this reader can be wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let reaches_its_end = !matches!(self.ends_inside(), Some(Inside::Rows | Inside::Lost(_)));
        self.has_end() && reaches_its_end && !self.has_nameless_rows
    }
}

#[cfg(test)]
mod pieces;

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
                    tables: Arc::new(BTreeMap::from([
                        (TableName::from(b"public.\"odd;\nname\"".to_vec()), 6),
                        (TableName::from(b"public.empty".to_vec()), 0),
                    ])),
                    has_more_tables: false,
                    large_objects: 0,
                    ends_inside: None,
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
    fn rows_of_inserts_are_counted_however_many_a_statement_has() {
        let text = "INSERT INTO public.t VALUES (1, 'it''s (a) VALUES (', NULL);\nINSERT INTO public.t VALUES (2, 'two\n\t(lines), (;\n', -1.5e3);\n\
            INSERT INTO public.\"T (\"\"x\"\", VALUES\" (a, \"b ) VALUES (\") OVERRIDING SYSTEM VALUE VALUES\n\t(1, B'101'),\n\t(DEFAULT, '('),\n\t(3, 'C:\\') ON CONFLICT DO NOTHING;\n\
            insert into only_here values ((1), (2)), (3, array[4, 5]), ($$($$, E'\\'(');\n\
            INSERT INTO public.none DEFAULT VALUES;\nINSERT INTO public.none DEFAULT VALUES;\nSELECT 1;\nINSERT INTO public.t VALUES\n\t(3),\n\t(4);\n\
            INSERT INTO public.copied SELECT (1);\nCOPY public.last (a) FROM stdin;\n1\n\\.\nINSERT INTO public.last VALUES (true), (false), (-- (\n1), /* ( */ ('x'\n);\n";
        let tables: BTreeMap<TableName, u64> = [
            ("public.t", 4),
            ("public.\"T (\"\"x\"\", VALUES\"", 3),
            ("only_here", 3),
            ("public.none", 2),
            ("public.last", 5),
        ]
        .map(|(name, rows)| (TableName::from(name.as_bytes().to_vec()), rows))
        .into();
        for step in [1, 2, 3, 7, 64, 100_000] {
            for text in [
                text.to_owned(),
                text.to_lowercase()
                    .replace("t (\"", "T (\"")
                    .replace("values\" (", "VALUES\" ("),
            ] {
                let script = read(text.as_bytes(), step);
                let contents = script.contents();
                assert_eq!(
                    (contents.rows, contents.ends_inside),
                    (17, None),
                    "step {step}"
                );
                assert_eq!(*contents.tables, tables, "step {step}: {text}");
            }
            let settings =
                "SET standard_conforming_strings = off;\nSET client_encoding = 'SJIS';\n";
            let text = [
                settings.as_bytes(),
                b"INSERT INTO t VALUES\n\t('\x81\\'', ('),\n\t('\\'), (', 2);\n",
            ]
            .concat();
            let contents = read(&text, step).contents();
            assert_eq!(
                (contents.rows, contents.tables.len()),
                (2, 1),
                "step {step}"
            );
        }
        let long = format!("INSERT INTO {} VALUES (1), (2);\n", "x".repeat(2000));
        let script = read(long.as_bytes(), 9);
        assert!(script.has_nameless_rows && script.contents().rows == 2);
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

    #[test]
    fn a_text_that_ends_in_rows_or_that_psql_would_lose_is_not_whole() {
        let end = "--\n-- PostgreSQL database dump complete\n--\n\n";
        for (text, inside, whole) in [
            ("SELECT 1;\n", None, true),
            ("-- x\n/* y */\n", None, true),
            ("COPY t (a) FROM stdin;\n1\n", Some(Inside::Rows), false),
            ("COPY t (a) FROM stdin;\n", Some(Inside::Rows), false),
            (
                "COPY t FROM stdin (FORMAT binary);\n\\.\n",
                Some(Inside::Rows),
                false,
            ),
            ("SELECT 1\0;\n", Some(Inside::Lost(Lost::Nul)), false),
            (
                "COPY t (a) FROM stdin;\n1\0\n\\.\n",
                Some(Inside::Lost(Lost::Nul)),
                false,
            ),
            // psql has the last word on these.
            ("SELECT '1;\n", Some(Inside::Quote), true),
            ("/* \n", Some(Inside::Quote), true),
            ("SELECT $$1;\n", Some(Inside::Quote), true),
            ("SELECT (1;\n", Some(Inside::Statement), true),
            (
                "CREATE FUNCTION begin() RETURNS int RETURN 1;\n",
                Some(Inside::Statement),
                true,
            ),
            ("SELECT 1\n", Some(Inside::Statement), true),
        ] {
            for step in [1, 7, 1000] {
                let script = read(format!("{text}{end}").as_bytes(), step);
                assert_eq!(script.ends_inside(), inside, "{text:?}");
                assert!(script.has_end(), "{text:?}");
                assert_eq!(script.is_whole(), whole, "{text:?}");
            }
        }
        let nameless = format!("COPY {} (a) FROM stdin;\n1\n\\.\n{end}", "x".repeat(2000));
        let script = read(nameless.as_bytes(), 100);
        assert_eq!((script.ends_inside(), script.is_whole()), (None, false));
        assert_eq!(script.contents().rows, 1);
    }

    #[test]
    fn the_last_row_mark_needs_no_line_end() {
        for end in ["\\.", "\\.\r", "\\.\n", "\\.\r\n"] {
            let script = read(format!("COPY t (a) FROM stdin;\n1\n{end}").as_bytes(), 1);
            let contents = script.contents();
            assert_eq!((contents.rows, contents.ends_inside), (1, None), "{end:?}");
            assert_eq!(contents.tables.values().copied().collect::<Vec<_>>(), [1]);
        }
    }

    #[test]
    fn a_key_of_any_length_is_held_against_the_end() {
        for length in [63, 400, 4000] {
            let text = DUMP.replace("Abc123", &"k".repeat(length));
            let other = text.replace("\\unrestrict k", "\\unrestrict K");
            for step in [1, 100, 100_000] {
                assert!(read(text.as_bytes(), step).is_whole(), "{length}");
                assert!(!read(other.as_bytes(), step).is_whole(), "{length}");
            }
        }
    }

    #[test]
    fn a_line_that_begins_too_many_copies_is_no_dump() {
        let line = |copies: usize| "COPY t FROM stdin;".repeat(copies);
        assert_eq!(read(line(COPIES).as_bytes(), 9).lexer.lost(), None);
        assert_eq!(
            read(line(COPIES + 1).as_bytes(), 9).lexer.lost(),
            Some(Lost::Copies)
        );
    }

    #[test]
    fn constraints_that_were_not_checked_are_kept_by_their_names() {
        let text = "ALTER TABLE public.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;\nALTER DOMAIN public.\"My \"\"dom\"\n    ADD CONSTRAINT \"it\"\"s\" CHECK ((VALUE > 0)) NOT VALID;\nALTER TABLE ONLY t ADD CONSTRAINT \"NOT VALID\" CHECK (NOT valid);\nALTER FOREIGN TABLE s.f ADD CONSTRAINT n NOT NULL a NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT c;\n";
        for step in [1, 5, 1000] {
            let script = read(text.as_bytes(), step);
            let found: Vec<(String, bool, String)> = script
                .unchecked_constraints()
                .iter()
                .map(|one| {
                    let name = String::from_utf8(one.name.clone()).unwrap();
                    (one.of.to_string(), one.is_of_domain, name)
                })
                .collect();
            let expected = [
                ("public.t", false, "c"),
                ("public.\"My \"\"dom\"", true, "it\"s"),
                ("s.f", false, "n"),
            ];
            let expected =
                expected.map(|(of, domain, name)| (of.to_owned(), domain, name.to_owned()));
            assert_eq!(found, expected);
            assert!(!script.has_more_unchecked());
        }
    }

    #[test]
    fn the_names_of_constraints_are_kept_up_to_a_limit() {
        let text = "ALTER TABLE t ADD CONSTRAINT c CHECK (a) NOT VALID;\n".repeat(30_000);
        let script = read(text.as_bytes(), 10_000);
        assert!(script.has_more_unchecked());
        assert!(script.unchecked_constraints().len() < 30_000);
        let text = format!(
            "ALTER TABLE t ADD CONSTRAINT {} CHECK (a) NOT VALID;\n",
            "c".repeat(5000)
        );
        assert!(read(text.as_bytes(), 10_000).has_more_unchecked());
    }
}
