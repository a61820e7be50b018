//! SQL that this service writes itself. Its fixed parts are in the source. Everything that comes from elsewhere is added as a
//! name, a text or a number, in letters that have no special meaning to `psql` or in any encoding.
//!
//! A name in a database can be anything: `a;\! command` is one. So nothing that came from a server, a bucket or a dump is ever
//! pasted into a statement: the methods here are the only way to make a value of this type.

use std::fmt::Write as _;

/// One or more statements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sql(String);

impl Sql {
    /// A statement, or its beginning.
    ///
    /// Functions, operators, types and casts must be written with their schema, as in `OPERATOR(pg_catalog.=)`. Without it,
    /// PostgreSQL looks in the search path, where the owner of a database can put functions of their own. A test reads every
    /// text that is passed to this function.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Adds fixed text.
    #[must_use]
    pub fn sql(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        self
    }

    /// Adds another piece.
    #[must_use]
    pub fn piece(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Adds an identifier.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.quote(name, '"');
        self
    }

    /// Adds a literal.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.quote(text, '\'');
        self
    }

    /// Adds a literal of hexadecimal digits, for bytes in an encoding that only the server knows.
    #[must_use]
    pub fn hex(mut self, bytes: &[u8]) -> Self {
        self.0.push('\'');
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ok = write!(self.0, "{byte:02x}");
        }
        self.0.push('\'');
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        let _ok = write!(self.0, "{number}");
        self
    }

    /// The statements as bytes, for `psql`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Adds a text in quotes. Every character that is not a letter, a digit or an underscore becomes `\XXXX` or `\+XXXXXX`.
    fn quote(&mut self, text: &str, quote: char) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !text.chars().all(is_plain) {
            self.0.push_str("U&");
        }
        self.0.push(quote);
        for c in text.chars() {
            // Writing to a String cannot fail.
            let _ok = match u32::from(c) {
                _ if is_plain(c) => write!(self.0, "{c}"),
                code @ ..=0xffff => write!(self.0, "\\{code:04x}"),
                code => write!(self.0, "\\+{code:06x}"),
            };
        }
        self.0.push(quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_it_stays_inside_its_quotes() {
        let sql = Sql::new("DROP DATABASE ")
            .name("a\";\\! true\n'é😀")
            .sql(" -- ")
            .text("it's \\ $$")
            .sql(", ")
            .text("plain_1")
            .sql(", ")
            .hex(b"\x00\xff")
            .sql(", ")
            .number(7);
        assert_eq!(
            sql.as_bytes(),
            br#"DROP DATABASE U&"a\0022\003b\005c\0021\0020true\000a\0027\00e9\+01f600" -- U&'it\0027s\0020\005c\0020\0024\0024', 'plain_1', '00ff', 7"#
        );
    }
}
