//! The rows of a `COPY`.

use super::TableName;

/// The rows of one table, up to the line `\.`.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) table: Option<TableName>,
    /// Whether they are binary: then they have no lines, and end only with the text.
    pub(super) binary: bool,
    pub(super) count: u64,
    /// The length of the current line so far, and whether it is so far the beginning of `\.` and a carriage return.
    pub(super) line: u64,
    pub(super) dot: bool,
}

impl Rows {
    pub(super) fn of(table: Option<TableName>, binary: bool) -> Self {
        Self {
            table,
            binary,
            count: 0,
            line: 0,
            dot: true,
        }
    }

    /// Takes rows from a piece that is not empty. Returns how many bytes that took, and whether the rows have ended.
    pub(super) fn advance(&mut self, piece: &[u8], all: &mut u64) -> (usize, bool) {
        if self.binary {
            self.line = 1;
            return (piece.len(), false);
        }
        let mut found = |rows: &mut u64, count: u64| {
            *rows = rows.saturating_add(count);
            *all = all.saturating_add(count);
        };
        if self.line == 0 && !piece.starts_with(b"\\.") {
            let rows = whole_rows(piece);
            let count = u64::try_from(memchr::memchr_iter(b'\n', rows).count()).unwrap_or(0);
            if count > 0 {
                found(&mut self.count, count);
                return (rows.len(), false);
            }
        }
        let end = memchr::memchr(b'\n', piece);
        let row = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        self.dot = self.dot && still_dot(self.line, row);
        self.line = self
            .line
            .saturating_add(u64::try_from(row.len()).unwrap_or(u64::MAX));
        let Some(end) = end else {
            return (piece.len(), false);
        };
        let ended = self.dot && self.line >= 2;
        if !ended {
            found(&mut self.count, 1);
            (self.line, self.dot) = (0, true);
        }
        (end.saturating_add(1), ended)
    }

    /// Whether the current line ends the rows if nothing follows it.
    pub(super) const fn is_at_end(&self) -> bool {
        !self.binary && self.dot && self.line >= 2
    }
}

/// The whole rows at the beginning of the piece, up to a line that begins like the end of the rows.
pub(super) fn whole_rows(piece: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(piece, b"\n\\.").or_else(|| memchr::memrchr(b'\n', piece));
    end.and_then(|end| piece.get(..=end)).unwrap_or_default()
}

/// Whether a line that was so far the beginning of `\.` and a carriage return still is with these bytes added.
pub(super) fn still_dot(line: u64, added: &[u8]) -> bool {
    const LAST: &[u8] = b"\\.\r";
    let rest = usize::try_from(line).ok().and_then(|line| LAST.get(line..));
    rest.is_some_and(|rest| rest.starts_with(added))
}
