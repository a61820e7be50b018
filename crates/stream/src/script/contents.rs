//! The contents of a dump, as they were counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::lexer::Lost;

/// The contents of a dump that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many bytes of plain text it has.
    pub bytes: u64,
    /// How many rows all tables have together.
    pub rows: u64,
    /// Rows of each table with a data section, the empty ones included, under its name as SQL spells it.
    pub tables: Arc<BTreeMap<TableName, u64>>,
    /// Whether there were more tables than are counted one by one.
    pub has_more_tables: bool,
    /// How many large objects have their data in it.
    pub large_objects: u64,
    /// What the text breaks off in, as this service reads it. A whole dump ends between two statements.
    pub ends_inside: Option<Inside>,
}

/// The hint about a backup that breaks off in something.
pub const ENDS_INSIDE_HINT: &str = "pg_dump ended it as a whole dump, so it is kept; but psql may read it like this too: prove it with verify --into, or restore it once by hand";

/// What a text breaks off in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// The rows of a table.
    Rows,
    /// A quote or a comment.
    Quote,
    /// A statement.
    Statement,
    /// Something that this reader can't follow.
    Lost(Lost),
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "the rows of a table",
            Self::Quote => "a quote or a comment",
            Self::Statement => "a statement",
            Self::Lost(_) => "what no dump of pg_dump holds",
        })
    }
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

impl From<Vec<u8>> for TableName {
    fn from(name: Vec<u8>) -> Self {
        Self(name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
