//! The body of a function that is written in SQL, without quotes.

/// How deep the text is inside the `BEGIN ATOMIC … END` of a function. `psql` counts words to find that out. The initials of
/// the first four words show whether the statement is a `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
#[derive(Debug, Default)]
pub(super) struct FunctionBody {
    pub(super) initials: [u8; 4],
    /// How many of the first words there were so far.
    pub(super) words: usize,
    pub(super) depth: u32,
}

impl FunctionBody {
    /// In a statement whose first words show that it defines no function.
    pub(super) fn impossible() -> Self {
        let initials = [0; 4];
        Self {
            initials,
            words: initials.len(),
            depth: 0,
        }
    }

    /// Whether this statement can still open a body.
    pub(super) const fn can_open(&self) -> bool {
        let [first, second, third, _] = self.initials;
        match self.words {
            0 => true,
            1 => first == b'c',
            2 => first == b'c' && matches!(second, b'f' | b'p' | b'o'),
            3 => {
                first == b'c' && (matches!(second, b'f' | b'p') || second == b'o' && third == b'r')
            }
            _ => self.defines(),
        }
    }

    pub(super) const fn defines(&self) -> bool {
        matches!(
            self.initials,
            [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']
        )
    }

    pub(super) fn take(&mut self, word: &[u8], parentheses: u32) {
        if self.words < self.initials.len() {
            self.take_first(word);
        }
        if !self.defines() || parentheses > 0 {
            return;
        }
        // A body can also hold CASE … END.
        let opens = word.eq_ignore_ascii_case(b"begin")
            || self.depth > 0 && word.eq_ignore_ascii_case(b"case");
        if opens {
            self.depth = self.depth.saturating_add(1);
        } else if word.eq_ignore_ascii_case(b"end") {
            self.depth = self.depth.saturating_sub(1);
        }
    }

    fn take_first(&mut self, word: &[u8]) {
        const FIRST: [&[u8]; 5] = [b"create", b"function", b"procedure", b"or", b"replace"];
        if self.words == 0 {
            self.initials = [0; 4];
        }
        if FIRST.iter().any(|first| word.eq_ignore_ascii_case(first))
            && let Some(initial) = self.initials.get_mut(self.words)
        {
            *initial = word.first().map_or(0, u8::to_ascii_lowercase);
        }
        self.words = self.words.saturating_add(1);
    }
}
