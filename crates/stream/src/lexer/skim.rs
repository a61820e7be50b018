//! The fast way through the rest of a statement whose tokens nobody asks for.

use super::{Lexer, begins_name, is_blank, is_in_name, length_of};

/// What stands at a byte that matters.
enum Step {
    /// A whole token of this length.
    Token(usize),
    /// So many bytes that open and close nothing, but can be a part of a longer token, as in `1e-5`.
    Harmless(usize),
    /// The end of a statement, which no other token holds.
    End,
    /// Something that needs a closer look, together with the token before it.
    Unclear,
}

impl Lexer {
    /// Passes over text in which only parentheses and quotes matter, such as the values of an `INSERT`, and returns how many
    /// bytes that took. It begins and stops where no token is open, and stops before anything that is unclear or can go on
    /// behind the text.
    pub(super) fn pass_over(&mut self, text: &[u8]) -> usize {
        if !text.first().is_some_and(|byte| separates(*byte)) {
            return 0;
        }
        let (mut at, mut end): (usize, usize) = (0, text.len());
        // Where the last token ended for certain.
        let mut certain: usize = 0;
        while let Some((_, rest)) = text.split_at_checked(at)
            && let Some(length) = self.length_without_matter(rest)
        {
            at = at.saturating_add(length);
            let (before, rest) = text.split_at(at);
            match self.step(before, rest) {
                Step::Token(length) => {
                    at = at.saturating_add(length);
                    certain = at;
                }
                Step::Harmless(length) => at = at.saturating_add(length),
                Step::End => return at,
                Step::Unclear => {
                    end = at;
                    break;
                }
            }
        }
        let open = text.get(certain..end).unwrap_or_default();
        let last = open.iter().rposition(|byte| separates(*byte));
        last.map_or(certain, |last| {
            certain.saturating_add(last).saturating_add(1)
        })
    }

    /// Words and numbers matter only where the body of a function can begin or end.
    fn length_without_matter(&self, text: &[u8]) -> Option<usize> {
        if self.body.can_open() {
            text.iter()
                .position(|byte| matters(*byte) || is_in_name(*byte))
        } else {
            text.iter().position(|byte| matters(*byte))
        }
    }

    fn step(&mut self, before: &[u8], rest: &[u8]) -> Step {
        match rest {
            [b'(', ..] => {
                self.open_parenthesis();
                Step::Token(1)
            }
            [b')', ..] => {
                self.close_parenthesis();
                Step::Token(1)
            }
            [b'"', after @ ..] => quoted(b'"', after),
            [b'\'', after @ ..] if !self.settings.escapes && !ends_with_prefix(before) => {
                quoted(b'\'', after)
            }
            [b'-', next, ..] if *next != b'-' => Step::Harmless(1),
            [b'/', next, ..] if *next != b'*' => Step::Harmless(1),
            [b':', b':', ..] => Step::Harmless(2),
            [b';', ..] => Step::End,
            [b'0'..=b'9', ..] => {
                let length = length_of(rest, |byte| byte.is_ascii_digit() || byte == b'.');
                match rest.get(length) {
                    Some(next) if !begins_name(*next) => Step::Token(length),
                    _ => Step::Unclear,
                }
            }
            [first, ..] if begins_name(*first) => {
                let length = length_of(rest, is_in_name);
                match rest.split_at_checked(length) {
                    Some((word, [next, ..])) if !matches!(next, b'\'' | b'&') => {
                        self.body.take(word, self.parentheses);
                        Step::Token(length)
                    }
                    _ => Step::Unclear,
                }
            }
            _ => Step::Unclear,
        }
    }
}

/// A literal or a name in quotes. A doubled quote ends one here, and begins another at once.
fn quoted(quote: u8, after: &[u8]) -> Step {
    memchr::memchr(quote, after).map_or(Step::Unclear, |end| Step::Token(end.saturating_add(2)))
}

/// Whether a quote behind this text may begin a literal of another kind, such as `E'…'`.
fn ends_with_prefix(text: &[u8]) -> bool {
    text.last()
        .is_some_and(|last| is_in_name(*last) || *last == b'&')
}

/// Whether this byte, outside quotes, can't be a part of a longer token.
const fn separates(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b',' | b'(' | b')')
}

/// Whether this byte opens, closes or ends something, perhaps together with its neighbours.
const fn matters(byte: u8) -> bool {
    matches!(
        byte,
        b'\'' | b'"' | b'(' | b')' | b';' | b'-' | b'/' | b':' | b'$' | b'\\'
    )
}
