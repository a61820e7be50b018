//! Literals, in all the ways in which SQL quotes them.

use super::{
    Lexer, Lost, Mode, TAG_BYTES, TOKEN_BYTES, Token, begins_name, is_blank, is_in_tag, length_of,
};

/// A literal in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Literal {
    /// Whether a backslash escapes the next byte.
    pub(super) escapes: bool,
    /// Whether the next byte is escaped.
    pub(super) escaped: bool,
    /// `B'…'` or `X'…'`, in which no quote can be doubled.
    pub(super) bits: bool,
}

/// What stands between the closing quote of a literal and the next byte. After a carriage return, another quote continues the
/// same literal: for SQL it is a line end, and for `psql`'s reader it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    NewLine,
    Blanks { line_end: bool },
    Dash { line_end: bool },
    Comment,
}

/// A number, and the letters that stick to it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) letters: bool,
    pub(super) fraction: bool,
    /// The last byte was the `e` of an exponent.
    pub(super) exponent: bool,
    /// The last byte was the sign of an exponent.
    pub(super) sign: bool,
}

impl Number {
    /// Whether this byte belongs to the number too, which then goes on behind it.
    pub(super) const fn goes_on_with(&mut self, byte: u8) -> bool {
        let belongs = match byte {
            b'0'..=b'9' | b'_' => true,
            _ if self.sign => false,
            b'+' | b'-' => self.exponent,
            b'.' => !self.letters && !self.fraction,
            b'$' => self.letters,
            _ => begins_name(byte),
        };
        self.sign = matches!(byte, b'+' | b'-');
        self.exponent = !self.letters && matches!(byte, b'e' | b'E');
        self.letters |= byte != b'_' && begins_name(byte);
        self.fraction |= byte == b'.';
        belongs
    }
}

impl Lexer {
    pub(super) fn begin_literal(&mut self, escapes: bool, bits: bool) {
        self.begin(Mode::Literal(Literal {
            escapes,
            escaped: false,
            bits,
        }));
    }

    pub(super) fn scan_literal(
        &mut self,
        literal: Literal,
        text: &[u8],
        raw: &[u8],
    ) -> (usize, Token) {
        let going_on = |escaped| Mode::Literal(Literal { escaped, ..literal });
        let end = if literal.escaped {
            self.mode = going_on(false);
            Some(1)
        } else if literal.escapes {
            memchr::memchr2(b'\'', b'\\', text)
        } else {
            memchr::memchr(b'\'', text)
        };
        let length = end.unwrap_or(text.len());
        if self.text.len() < TOKEN_BYTES || length == 0 {
            self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
        } else {
            self.is_cut = true;
        }
        if literal.escaped {
            return (1, Token::Nothing);
        }
        match end.and_then(|end| text.get(end)) {
            Some(b'\\') => {
                self.keep(b"\\", TOKEN_BYTES);
                self.mode = going_on(true);
                (length.saturating_add(1), Token::Nothing)
            }
            Some(_) => {
                self.mode = Mode::AfterLiteral(literal, Behind::Nothing);
                (length.saturating_add(1), Token::Nothing)
            }
            None => (length, Token::Nothing),
        }
    }

    /// Finds out whether a literal is continued. `psql` looks for that only in the same line, so the line end that must stand
    /// between the two pieces can only be a carriage return.
    pub(super) fn scan_behind(
        &mut self,
        literal: Literal,
        behind: Behind,
        byte: u8,
        text: &[u8],
    ) -> (usize, Token) {
        let mut go_on = |behind| {
            self.mode = Mode::AfterLiteral(literal, behind);
            (1, Token::Nothing)
        };
        match (behind, byte) {
            (Behind::Nothing, b'\'') if !literal.bits => {
                self.keep(b"'", TOKEN_BYTES);
                self.mode = Mode::Literal(literal);
                (1, Token::Nothing)
            }
            (Behind::Blanks { line_end: true }, b'\'') => {
                self.mode = Mode::Literal(literal);
                (1, Token::Nothing)
            }
            (Behind::Nothing | Behind::NewLine, b'\n') => go_on(Behind::NewLine),
            (Behind::Nothing | Behind::NewLine, b'-') => go_on(Behind::Dash { line_end: false }),
            (Behind::Nothing | Behind::NewLine, _) if is_blank(byte) => go_on(Behind::Blanks {
                line_end: byte == b'\r',
            }),
            (Behind::Blanks { line_end }, b'-') => go_on(Behind::Dash { line_end }),
            (Behind::Blanks { line_end }, _) if byte != b'\n' && is_blank(byte) => {
                go_on(Behind::Blanks {
                    line_end: line_end || byte == b'\r',
                })
            }
            (Behind::Dash { .. }, b'-') => go_on(Behind::Comment),
            (Behind::Comment, b'\r') => go_on(Behind::Blanks { line_end: true }),
            (Behind::Comment, b'\n') | (Behind::Blanks { .. }, _) => self.ended(Token::Literal),
            (Behind::Comment, _) => {
                let end = memchr::memchr2(b'\n', b'\r', text);
                (end.unwrap_or(text.len()), Token::Nothing)
            }
            (Behind::Dash { .. }, _) => {
                self.mode = Mode::Dash;
                (0, Token::Literal)
            }
            (Behind::Nothing | Behind::NewLine, _) => self.ended(Token::Literal),
        }
    }

    pub(super) fn scan_tag(&mut self, byte: u8, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let is_empty = self.tag.len() == 1;
        if byte == b'$' {
            self.tag.push(byte);
            self.mode = Mode::DollarQuote(0);
            return (1, Token::Nothing);
        }
        if is_empty && byte.is_ascii_digit() {
            // This is a parameter, which has no fraction.
            self.begin(Mode::Number(Number {
                fraction: true,
                ..Number::default()
            }));
            return (0, Token::Symbol(b'$'));
        }
        let length = length_of(text, is_in_tag);
        if length == 0 {
            // This is not a tag, but a dollar and a word.
            self.mode = if is_empty { Mode::Plain } else { Mode::Word };
            return (0, Token::Symbol(b'$'));
        }
        self.tag
            .extend_from_slice(text.get(..length).unwrap_or_default());
        self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
        if self.tag.len() > TAG_BYTES {
            self.tag = Vec::new();
            self.lose(Lost::Tag);
        }
        (length, Token::Nothing)
    }

    pub(super) fn scan_dollar_quote(
        &mut self,
        matched: usize,
        byte: u8,
        text: &[u8],
    ) -> (usize, Token) {
        if matched == 0 {
            return self.find_closing_tag(text);
        }
        let matched = if self.tag.get(matched) == Some(&byte) {
            matched.saturating_add(1)
        } else {
            usize::from(byte == b'$')
        };
        if matched < self.tag.len() {
            self.mode = Mode::DollarQuote(matched);
            return (1, Token::Nothing);
        }
        self.end_dollar_quote(1)
    }

    fn find_closing_tag(&mut self, text: &[u8]) -> (usize, Token) {
        for dollar in memchr::memchr_iter(b'$', text) {
            let tag = text.get(dollar..).unwrap_or_default();
            if tag.starts_with(&self.tag) {
                return self.end_dollar_quote(dollar.saturating_add(self.tag.len()));
            }
            if self.tag.starts_with(tag) {
                // Its rest can be in the next piece.
                self.mode = Mode::DollarQuote(tag.len());
                break;
            }
        }
        (text.len(), Token::Nothing)
    }

    fn end_dollar_quote(&mut self, taken: usize) -> (usize, Token) {
        self.is_cut = true;
        self.mode = Mode::Plain;
        (taken, Token::Literal)
    }
}
