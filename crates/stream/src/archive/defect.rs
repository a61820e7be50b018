//! What can be wrong with an archive, and how that is said.

/// One thing that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It has no bytes.
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
    /// It ends within a header, or within the padding of the last block.
    #[error("cut off after {0}")]
    CutAfter(String),
    /// It ends where a member could begin. `pg_dump` writes a member only when it has all of it.
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
    /// The padding of a member's last block is not only zeros.
    #[error("damaged behind the data of {0}, where only zeros should be")]
    Padding(String),
    /// There is something after the end.
    #[error("more follows after the end of the archive")]
    BehindEnd,
    /// The table of contents cannot be read.
    #[error("the table of contents (toc.dat) is damaged: {0}")]
    Directory(String),
    /// It was written by a version that this program does not know.
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
    /// A table's data has its full length, but does not end as such data must.
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
    /// A member that is there a second time.
    #[error("{0} is there twice")]
    Twice(String),
    /// A list does not name the large objects before it.
    #[error("{list} names {listed} large objects, and {found} are there{}", if .listed == .found { ", but not the same ones" } else { "" })]
    LargeObjects {
        /// The member with the list.
        list: String,
        /// How many it names.
        listed: usize,
        /// How many are there.
        found: usize,
    },
    /// Large objects that no list follows.
    #[error("{0} large objects are there without the list of them")]
    NoList(usize),
    /// The last member is missing.
    #[error("restore.sql is missing, which pg_dump writes last")]
    NoScript,
    /// The last member is cut off.
    #[error("restore.sql does not end as pg_dump ends it")]
    ScriptCut,
    /// Further defects.
    #[error("and {0} more")]
    More(u64),
    /// It is larger than what can be examined here, so it is not known whether it is good.
    #[error("the table of contents (toc.dat) holds {0}, which is more than this program reads")]
    Beyond(String),
}

fn rows_text(rows: Option<u64>) -> String {
    rows.map_or_else(String::new, |rows| {
        format!(" after {rows} {}", if rows == 1 { "row" } else { "rows" })
    })
}
