//! The rows of a table in a member of their own, with the `\.` that ends them.

/// `COPY` data as lines.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) count: u64,
    /// The length of the current line, and whether it is so far the beginning of `\.`.
    pub(super) line: usize,
    pub(super) dot: bool,
    /// What follows the line `\.`: in a whole member, two line ends.
    pub(super) after: Option<Vec<u8>>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            count: 0,
            line: 0,
            dot: true,
            after: None,
        }
    }
}

impl Rows {
    pub(super) fn read(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if let Some(after) = &mut self.after {
                after.extend(piece.iter().take(3_usize.saturating_sub(after.len())));
                return;
            }
            let end = memchr::memchr(b'\n', piece);
            let (added, rest) = piece.split_at(end.unwrap_or(piece.len()));
            self.dot &= match self.line {
                0 => b"\\.".starts_with(added),
                1 => b".".starts_with(added),
                _ => added.is_empty(),
            };
            self.line = self.line.saturating_add(added.len());
            if end.is_none() {
                return;
            }
            if self.dot && self.line == 2 {
                self.after = Some(Vec::new());
            } else {
                self.count = self.count.saturating_add(1);
            }
            (self.line, self.dot) = (0, true);
            piece = rest.split_first().map_or(&[], |(_, rest)| rest);
        }
    }

    pub(super) fn ended_well(&self) -> bool {
        self.after.as_deref() == Some(b"\n\n")
    }
}
