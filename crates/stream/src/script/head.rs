//! What the statements of one table's rows begin with.

/// The longest beginning that is kept: the names of a table's columns stand in it too.
const HEAD_BYTES: usize = 16 * 1024;

/// What the last `INSERT` began with, up to its values. A statement that begins with the same bytes is read alike, so they
/// are compared and not read again.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The text up to `VALUES`, and the byte behind it, which shows that the word has ended.
    text: Vec<u8>,
    table: Vec<u8>,
}

impl Head {
    /// Keeps the beginning of a statement, unless it holds a second statement or a client command.
    pub(super) fn keep(&mut self, text: &[u8], table: &[u8]) {
        self.forget();
        if text.len() <= HEAD_BYTES && memchr::memchr2(b';', b'\\', text).is_none() {
            self.text.extend_from_slice(text);
            self.table.extend_from_slice(table);
        }
    }

    pub(super) fn forget(&mut self) {
        self.text.clear();
        self.table.clear();
    }

    /// If a text begins in the same way: the length of that beginning, and the table.
    pub(super) fn of(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let length = self.text.len().checked_sub(1)?;
        text.starts_with(&self.text)
            .then_some((length, &self.table))
    }
}
