//! Why a text can't be followed any further.

/// Why the text can't be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// `psql` reads lines as C strings.
    Nul,
    /// The tag of a dollar quote is too long.
    Tag,
    /// One line holds too many `COPY … FROM stdin`.
    Copies,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nul => {
                "it holds a zero byte, which no dump of pg_dump does; psql would lose what follows it on the line"
            }
            Self::Tag => {
                "it holds a dollar quote with a tag of more than 64 KiB, which no dump of pg_dump does"
            }
            Self::Copies => {
                "one line of it begins the rows of more than 64 tables, which no dump of pg_dump does"
            }
        })
    }
}
