//! The description that a backup holds of itself: a line before the text of `pg_dump`, and lines after it.
//!
//! To `psql` they are comments. Each is one line of ASCII, whatever the names in it hold: a mark, and then JSON. The first
//! line, the head, says where the backup comes from. The lines at the end, the tail, say what was written between head and
//! tail, so that a piece which was lost, doubled, swapped or inserted is noticed. A description that is read may come from a
//! stranger, so everything in it has limits.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::postgres::Identity;
use stream::script::{Contents, TableName};

/// The version of this format. New fields don't need a new version. A reader understands this version and the earlier ones.
pub const FORMAT: u32 = 1;

/// The beginning of each of these lines. In a dump, only rows and quoted text can begin so.
pub(crate) const MARK: &[u8] = b"-- postgres-s3-backups: ";

/// The longest first line that is written. It is a gzip member of its own, and so one block.
const HEAD_BYTES: usize = 1024 * 1024;

/// The longest first line that is read.
pub(crate) const FIRST_LINE_BYTES: usize = 4 * 1024 * 1024;

/// The longest other line that is read.
pub(crate) const LINE_BYTES: usize = 64 * 1024;

/// A line with rows of tables ends when it has reached this length. The last name can add up to 6 KiB.
const ROWS_BYTES: usize = 32 * 1024;

/// The most entries of a list in the head: more than honest databases have.
pub(crate) const MOST: usize = 20_000;

/// The first line: where a backup comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The version of this format.
    pub format: u32,
    /// A random number, made for this attempt only. No row of the database can hold it, because it is newer than the rows.
    pub id: String,
    /// The object's key at the time.
    pub name: String,
    /// The time that it is named after: the due time of a scheduled run, the start of a manual one.
    pub due_at: String,
    /// The version of this service.
    pub made_by: String,
    /// How rows were counted: [`COUNTING`](stream::script::COUNTING) of that version.
    pub counting: u32,
    /// The version of the server.
    pub server_version: String,
    /// The version of its `pg_dump`.
    pub client_version: String,
    /// `pg_database_size`
    pub size_bytes: u64,
    /// Which database it is, so that a restore does not overwrite it by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What the dump itself does not hold of its database.
    pub origin: Origin,
}

/// What a dump does not hold of its database, and what it needs. What the server did not answer is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The database itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Traits>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    pub settings: Option<Vec<Setting>>,
    /// Its extensions.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    pub extensions: Option<Vec<Extension>>,
    /// The roles that own something in it, are granted something, or are named in a policy.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    pub roles: Option<Vec<String>>,
    /// Tables that a crash of the server empties, as SQL spells their names.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    pub unlogged_tables: Option<Vec<String>>,
    /// The tablespaces that it uses besides the usual one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    pub tablespaces: Option<Vec<String>>,
    /// Whether something was left out because there was too much.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// How many objects it has of the kinds that take a lock each when they are restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relations: Option<Relations>,
}

/// How many objects of each kind a database has, without those of extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relations {
    /// Tables, including partitioned and foreign ones.
    pub tables: u64,
    /// Views, materialized views and composite types.
    pub views: u64,
    /// Those of them that have a table for long values.
    pub toasts: u64,
    /// Indexes that a constraint made.
    pub key_indexes: u64,
    /// Other indexes.
    pub indexes: u64,
    /// Sequences.
    pub sequences: u64,
    /// Functions and procedures.
    pub functions: u64,
    /// Large objects.
    pub large_objects: u64,
}

/// What `CREATE DATABASE` has to be told to make such a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traits {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its encoding.
    pub encoding: String,
    /// `libc`, `icu` or `builtin`
    pub provider: String,
    /// `LC_COLLATE`
    pub collate: String,
    /// `LC_CTYPE`
    pub ctype: String,
    /// The locale of the provider, if that is not libc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Rules for ICU in addition to those of the locale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The version of the collation that the database was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A setting of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// The role that it applies to. If there is none, it applies to all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema of its objects.
    pub schema: String,
}

/// The first line of the tail. It describes what is before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The version of this format.
    pub format: u32,
    /// How many bytes of text are before this line, the head included.
    pub bytes: u64,
    /// How many rows these bytes hold.
    pub rows: u64,
    /// How many tables these rows belong to.
    pub tables: u64,
    /// Whether there are more tables than were counted one by one.
    pub more_tables: bool,
    /// How many large objects have data in them.
    pub large_objects: u64,
    /// SHA-256 of all bytes before this line.
    pub sha256: String,
}

/// A line of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The first line.
    Head(Box<Head>),
    /// The first line after the dump.
    Tail(Tail),
    /// A line after that: tables in the order of their names, and how many rows each has.
    Rows(Vec<(TableName, u64)>),
}

/// Why a line that begins with the mark can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Its format is newer than this reader.
    Format(u32),
    /// It is not understood.
    Garbled,
}

impl Head {
    /// The line of this head. If there is too much, the longest lists are left out.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        const LISTS: [fn(&mut Origin); 5] = [
            |origin| origin.unlogged_tables = None,
            |origin| origin.settings = None,
            |origin| origin.roles = None,
            |origin| origin.extensions = None,
            |origin| *origin = Origin::default(),
        ];
        let mut line = written("head", self);
        let mut shorter = self.clone();
        for leave_out in LISTS {
            if line.len() <= HEAD_BYTES {
                break;
            }
            leave_out(&mut shorter.origin);
            shorter.origin.is_cut = true;
            line = written("head", &shorter);
        }
        line
    }
}

impl Origin {
    /// Cuts the lists to the length that they may have.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        fn cut<T>(list: &mut Option<Vec<T>>) -> bool {
            let is_long = list.as_ref().is_some_and(|list| list.len() > MOST);
            if let Some(list) = list {
                list.truncate(MOST);
            }
            is_long
        }
        self.is_cut |= cut(&mut self.settings);
        self.is_cut |= cut(&mut self.extensions);
        self.is_cut |= cut(&mut self.roles);
        self.is_cut |= cut(&mut self.unlogged_tables);
        self.is_cut |= cut(&mut self.tablespaces);
        self
    }
}

impl Tail {
    /// The tail for a text of this length and digest.
    #[must_use]
    pub fn of(contents: &Contents, bytes: u64, sha256: String) -> Self {
        Self {
            format: FORMAT,
            bytes,
            rows: contents.rows,
            tables: u64::try_from(contents.tables.len()).unwrap_or(u64::MAX),
            more_tables: contents.has_more_tables,
            large_objects: contents.large_objects,
            sha256,
        }
    }

    /// The line of this tail, and those with the rows of the tables.
    #[must_use]
    pub fn lines(&self, tables: &BTreeMap<TableName, u64>) -> Vec<u8> {
        let mut lines = written("tail", self);
        let mut some: Vec<(String, u64)> = Vec::new();
        let mut bytes: usize = 0;
        for (table, rows) in tables {
            let name = spelled(table);
            bytes = bytes
                .saturating_add(ascii(&quoted(&name)).len())
                .saturating_add(24);
            some.push((name, *rows));
            if bytes > ROWS_BYTES {
                lines.extend(written("rows", &some));
                some.clear();
                bytes = 0;
            }
        }
        if !some.is_empty() {
            lines.extend(written("rows", &some));
        }
        lines
    }
}

/// Reads a line that is known to begin with the mark.
///
/// # Errors
/// When it can't be read.
pub fn read(line: &[u8]) -> Result<Line, Unread> {
    let text = line.strip_prefix(MARK).ok_or(Unread::Garbled)?;
    let end = text.iter().position(|byte| *byte == b' ');
    let (kind, json) = end
        .and_then(|end| text.split_at_checked(end))
        .ok_or(Unread::Garbled)?;
    match kind {
        b"head" => {
            let head: Head = of_known_format(json)?;
            Ok(Line::Head(Box::new(head)))
        }
        b"tail" => of_known_format(json).map(Line::Tail),
        b"rows" => {
            let rows: Vec<(String, u64)> =
                serde_json::from_slice(json).map_err(|_| Unread::Garbled)?;
            let tables = rows
                .into_iter()
                .map(|(name, rows)| Some((table(&name)?, rows)));
            let tables: Option<Vec<_>> = tables.collect();
            tables.map(Line::Rows).ok_or(Unread::Garbled)
        }
        _ => Err(Unread::Garbled),
    }
}

/// The format is read first, because in a newer one everything else may be different.
fn of_known_format<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Unread> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_slice(json).map_err(|_| Unread::Garbled)?;
    match version.format {
        0 => Err(Unread::Garbled),
        FORMAT => serde_json::from_slice(json).map_err(|_| Unread::Garbled),
        newer => Err(Unread::Format(newer)),
    }
}

/// One line: the mark, the kind of line, and JSON in which every byte is a visible ASCII character.
fn written(kind: &str, value: &impl Serialize) -> Vec<u8> {
    // Only keys that are not texts could make this fail, and there are none.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line = MARK.to_vec();
    line.extend_from_slice(kind.as_bytes());
    line.push(b' ');
    line.extend_from_slice(ascii(&json).as_bytes());
    line.push(b'\n');
    line
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// JSON with the same meaning, in ASCII. Outside its texts JSON is ASCII already, and inside them line ends are escaped
/// already.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ok = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// The name of a table as a text. A name that is not UTF-8 becomes `\x` and hexadecimal digits; no name in SQL begins so.
fn spelled(table: &TableName) -> String {
    let bytes = table.as_bytes();
    if let Ok(name) = std::str::from_utf8(bytes) {
        return name.to_owned();
    }
    let mut name = String::from("\\x");
    for byte in bytes {
        let _ok = write!(name, "{byte:02x}");
    }
    name
}

/// Reads such a text back.
fn table(name: &str) -> Option<TableName> {
    let Some(digits) = name.strip_prefix("\\x") else {
        return Some(TableName::from(name.as_bytes().to_vec()));
    };
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes.map(TableName::from)
}

/// Reads a list of limited length, because an entry of a few bytes of JSON can take a hundred bytes of memory.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct Few<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST} entries")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                // One entry more than is ever written is accepted, so that a server's answer shows that there was too much.
                if list.len() > MOST {
                    return Err(serde::de::Error::custom("too many entries"));
                }
                list.push(entry);
            }
            Ok(Some(list))
        }
    }
    deserializer.deserialize_any(Few(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::tests::HOSTILE;
    use stream::script::Script;

    fn is_one_comment(line: &[u8]) -> bool {
        let (end, rest) = line.split_last().unwrap();
        *end == b'\n'
            && line.starts_with(b"-- ")
            && rest.iter().all(|byte| matches!(byte, b' '..=b'~'))
    }

    fn head() -> Head {
        let word = |what: &str| format!("{what}\u{1f600}é\u{7f}{HOSTILE}");
        Head {
            format: FORMAT,
            id: "0f".to_owned(),
            name: word("name"),
            size_bytes: u64::MAX,
            origin: Origin {
                database: Some(Traits {
                    name: word("database"),
                    rules: Some("&a < b".to_owned()),
                    ..Traits::default()
                }),
                settings: Some(vec![Setting {
                    role: None,
                    name: word("setting"),
                    value: "\\restrict x\n\\.\n'; DROP".to_owned(),
                }]),
                extensions: Some(Vec::new()),
                roles: Some(vec![word("role")]),
                unlogged_tables: None,
                ..Origin::default()
            },
            ..Head::default()
        }
    }

    #[test]
    fn whatever_is_in_it_a_head_is_one_comment_and_comes_back() {
        let line = head().line();
        assert!(is_one_comment(&line), "{}", String::from_utf8_lossy(&line));
        assert_eq!(read(&line), Ok(Line::Head(Box::new(head()))));
        // A list that is absent means that nothing is known; an empty list means that there is nothing.
        let text = String::from_utf8(line).unwrap();
        assert!(
            text.contains("\"extensions\":[]") && !text.contains("unlogged"),
            "{text}"
        );
    }

    #[test]
    fn a_head_that_is_too_long_says_that_it_was_cut() {
        let mut long = head();
        long.origin.unlogged_tables = Some(vec!["é".repeat(60); 9000]);
        let line = long.line();
        assert!(line.len() <= HEAD_BYTES);
        let Ok(Line::Head(read)) = read(&line) else {
            panic!("not read")
        };
        assert!(read.origin.is_cut && read.origin.unlogged_tables.is_none());
        assert_eq!(read.origin.roles, long.origin.roles);
        long.origin.roles = Some(vec!["r".to_owned(); MOST + 1]);
        let bounded = long.origin.bounded();
        assert_eq!(bounded.roles.map(|roles| roles.len()), Some(MOST));
        assert!(bounded.is_cut);
    }

    #[test]
    fn the_rows_of_a_quarter_of_a_million_tables_are_in_short_lines() {
        let mut tables: BTreeMap<TableName, u64> = (0..250_000_u64)
            .map(|n| (TableName::from(format!("public.t{n}").into_bytes()), n))
            .collect();
        let odd: [&[u8]; 3] = [
            b"public.\"a\n\\x00\"",
            b"public.\"\xff\xfe\"",
            "\u{1f600}".as_bytes(),
        ];
        tables.extend(odd.map(|name| (TableName::from(name.to_vec()), 7)));
        let contents = Contents {
            tables: std::sync::Arc::new(tables.clone()),
            ..Contents::default()
        };
        let lines = Tail::of(&contents, 5, "ab".to_owned()).lines(&tables);
        let mut found = Vec::new();
        for (at, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
            assert!(is_one_comment(line) && line.len() < LINE_BYTES);
            match read(line).unwrap() {
                Line::Tail(tail) if at == 0 => assert_eq!((tail.tables, tail.bytes), (250_003, 5)),
                Line::Rows(rows) if at > 0 => found.extend(rows),
                line => panic!("{line:?}"),
            }
        }
        assert_eq!(found, tables.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_longest_names_fit_into_a_line() {
        let names = (0..200).map(|n| {
            let mut name = vec![b'\x01'; 1000];
            name.extend(format!("{n:03}").into_bytes());
            (TableName::from(name), u64::MAX)
        });
        let tables: BTreeMap<TableName, u64> = names.collect();
        let lines = Tail::default().lines(&tables);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.len() < LINE_BYTES, "{}", line.len());
        }
    }

    #[test]
    fn what_is_not_understood_is_told_from_what_is_newer() {
        let read = |text: &str| read(&[MARK, text.as_bytes(), b"\n"].concat());
        assert_eq!(
            read("head {\"format\":2,\"name\":7}"),
            Err(Unread::Format(2))
        );
        assert!(read("head {\"format\":1,\"later\":[{}]}").is_ok());
        let many = vec!["{}"; MOST + 2].join(",");
        for garbled in [
            "head",
            "head {",
            "head {}",
            "head {\"format\":0}",
            "head {\"format\":-1}",
            "head {\"format\":1,\"name\":7}",
            "head {\"format\":1} x",
            "foot {\"format\":1}",
            "tail {\"format\":1,\"bytes\":1}",
            "rows [[\"\\\\xzz\",1]]",
            "rows [[\"a\",-1]]",
            &format!("head {{\"format\":1,\"origin\":{{\"extensions\":[{many}]}}}}"),
            &format!("head {{\"format\":1,\"x\":{}", "[".repeat(100_000)),
        ] {
            let short: String = garbled.chars().take(60).collect();
            assert_eq!(read(garbled), Err(Unread::Garbled), "{short}");
        }
    }

    #[test]
    fn to_the_reader_of_dumps_they_are_comments_too() {
        let mut script = Script::default();
        script.read(&head().line());
        script.read(&Tail::default().lines(&BTreeMap::new()));
        assert!(script.is_between_statements());
        assert_eq!((script.statements(), script.client_commands()), (0, 0));
    }
}
