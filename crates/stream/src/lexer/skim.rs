//! The fast way through the rest of a statement whose tokens nobody asks for.

use super::{Lexer, begins_name, is_blank, is_in_name, length_of};

impl Lexer {
    /// Skips tokens that change nothing, such as the values of an `INSERT`, and returns how many bytes that took. It stops
    /// before anything that needs a closer look.
    pub(super) fn pass_over(&mut self, text: &[u8]) -> usize {
        let mut at: usize = 0;
        while let Some(rest) = text.get(at..)
            && let [byte, after @ ..] = rest
        {
            let length = match byte {
                b'.' if after.first().is_some_and(|next| begins_name(*next)) => 1,
                b'(' => {
                    self.open_parenthesis();
                    1
                }
                b')' => {
                    self.parentheses = self.parentheses.saturating_sub(1);
                    1
                }
                b',' | b'=' | b'[' | b']' => 1,
                b'\'' if !self.settings.escapes => {
                    let end = memchr::memchr(b'\'', after).unwrap_or(after.len());
                    match after.get(end.saturating_add(1)) {
                        Some(b',' | b')' | b':' | b';') => end.saturating_add(2),
                        _ => 0,
                    }
                }
                b'0'..=b'9' => match length_of(rest, |byte| byte.is_ascii_digit()) {
                    length if matches!(rest.get(length), Some(b',' | b')' | b';' | b' ')) => length,
                    _ => 0,
                },
                _ if is_blank(*byte) => 1,
                _ if begins_name(*byte) => match (length_of(rest, is_in_name), rest.get(1)) {
                    (1, Some(b'\'' | b'&')) => 0,
                    (length, _) if length < rest.len() => length,
                    _ => 0,
                },
                _ => 0,
            };
            if length == 0 {
                break;
            }
            at = at.saturating_add(length);
        }
        at
    }
}
