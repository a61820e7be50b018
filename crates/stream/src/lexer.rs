//! SQL text cut where `psql` cuts it.
//!
//! `psql` does not know SQL. It looks for the semicolons, backslashes and quotes that matter with the rules of its
//! `psqlscan.l`, one line at a time. Each state here is one of `psql`'s states, and `tests/lexer.rs` compares the two programs.
//! The major versions of `psql` differ only in text that no server accepts; there the newer ones are followed.
//!
//! One thing can't be known here: the values of `psql`'s own variables (`:NAME`).

mod body;
mod encoding;
mod literal;
mod lost;
mod skim;

use body::FunctionBody;
pub(crate) use encoding::Encoding;
use encoding::Mask;
use literal::{Behind, Literal, Number};
pub use lost::Lost;

/// The longest token whose text is kept. A table's name has at most 257 bytes in each of its two parts.
const TOKEN_BYTES: usize = 1024;

/// The longest client command whose text is kept. With `--restrict-key`, its key can have any length.
pub(crate) const COMMAND_BYTES: usize = 4096;

/// The longest tag of a dollar quote. `pg_dump` makes a tag eight bytes longer until the text does not hold it. A tag of this
/// length was made on purpose, to use up memory.
const TAG_BYTES: usize = 64 * 1024;

/// Cuts text into tokens, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    mode: Mode,
    /// The settings in force since the beginning of the line.
    settings: Settings,
    /// The settings from the next line on.
    next: Settings,
    mask: Mask,
    /// The text of the current token, as far as it is kept.
    text: Vec<u8>,
    is_cut: bool,
    /// `$tag$` of the current dollar quote.
    tag: Vec<u8>,
    /// How many parentheses are open. Inside them a semicolon ends nothing, as in the actions of a rule.
    parentheses: u32,
    body: FunctionBody,
    /// Whether the rest of this statement can be skipped, because nobody asks for its tokens.
    skims: bool,
    /// How many groups in parentheses, not counting nested ones, have begun since then.
    groups: u64,
}

/// The settings that decide how a line is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `standard_conforming_strings = off`: a backslash in `'…'` escapes the next byte.
    pub(crate) escapes: bool,
    /// `client_encoding`
    pub(crate) encoding: Encoding,
}

/// A token, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// White space, or a piece of something that has not ended yet.
    Nothing,
    /// A name or keyword without quotes.
    Word,
    /// `"…"` with its quotes.
    Quoted,
    /// A literal. Its text is what is between the quotes, unchanged.
    Literal,
    /// A number.
    Number,
    /// Any other character.
    Symbol(u8),
    /// A semicolon that ends a statement for the server, but not for `psql`.
    Separator,
    /// A semicolon that ends a statement.
    End,
    /// `-- …` without the dashes.
    Comment,
    /// A client command such as `\restrict KEY`, with all of its line.
    Command,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Between two tokens.
    #[default]
    Plain,
    Word,
    Number(Number),
    /// `.`, which can begin a number.
    Dot,
    /// `-`, which can begin a comment.
    Dash,
    /// `/`, the same.
    Slash,
    /// `:`, which can begin the name of a variable of `psql`.
    Colon,
    /// `:name`
    Variable,
    /// `u&`, which can begin `U&'…'` or `U&"…"`.
    Unicode,
    Backslash,
    Command,
    Literal(Literal),
    /// After the closing quote of a literal, which may be continued.
    AfterLiteral(Literal, Behind),
    Quoted,
    /// After a double quote that either closes a name or is doubled inside it.
    AfterQuoted,
    /// `$` and the beginning of a tag.
    Tag,
    /// `$tag$ … $tag$`, and how many bytes of the closing tag were seen.
    DollarQuote(usize),
    LineComment,
    /// `/* … */`, which nests, and the byte before.
    BlockComment(u32, u8),
    /// It is not known any more what the text means.
    Lost(Lost),
}

impl Lexer {
    /// Takes the next token, or as much of it as there is, from a piece that is not empty, and returns how many bytes that
    /// took. It can be zero, if a token ended just before the piece.
    pub(crate) fn advance(&mut self, piece: &[u8]) -> (usize, Token) {
        let encoding = self.settings.encoding;
        if encoding == Encoding::Safe {
            return self.scan(piece, piece);
        }
        let Some(byte) = piece.first().copied() else {
            return (0, Token::Nothing);
        };
        let masked = self.mask.look(byte, encoding);
        let (taken, token) = self.scan(&[masked], &[byte]);
        if taken > 0 {
            self.mask.known = None;
        }
        (taken, token)
    }

    /// The text of the last token; `None` when it was too long to be kept.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        (!self.is_cut).then_some(self.text.as_slice())
    }

    /// The settings from the next line on, to be changed.
    pub(crate) const fn next_settings(&mut self) -> &mut Settings {
        &mut self.next
    }

    /// Whether the next line is read with other settings than this one.
    pub(crate) fn turns(&self) -> bool {
        self.settings != self.next
    }

    /// Begins a line. This is needed only if [`Self::turns`].
    pub(crate) fn begin_line(&mut self) {
        self.settings = self.next;
        self.mask = Mask::default();
    }

    /// Sets whether the rest of this statement can be skipped. Its tokens are then not returned one by one.
    pub(crate) const fn skim(&mut self, skims: bool) {
        if skims && !self.skims {
            self.groups = 0;
        }
        self.skims = skims;
    }

    /// Begins a statement whose first words were read and that defines no function, to skip the rest of it.
    pub(crate) fn begin_skimming(&mut self) {
        self.body = FunctionBody::impossible();
        self.skim(true);
    }

    /// How many groups in parentheses, not counting nested ones, have begun since tokens are skipped.
    pub(crate) const fn groups(&self) -> u64 {
        self.groups
    }

    /// Stops reading the text, for this reason.
    pub(crate) const fn lose(&mut self, lost: Lost) {
        self.mode = Mode::Lost(lost);
    }

    /// Whether the text is outside parentheses and function bodies.
    pub(crate) const fn is_at_the_top(&self) -> bool {
        self.parentheses == 0 && self.body.depth == 0
    }

    /// Why the text can't be followed any more.
    pub(crate) const fn lost(&self) -> Option<Lost> {
        match self.mode {
            Mode::Lost(lost) => Some(lost),
            _ => None,
        }
    }

    /// Whether no token, quote, comment or command is open.
    pub(crate) const fn is_between_tokens(&self) -> bool {
        matches!(self.mode, Mode::Plain)
    }

    /// Whether a quote or a block comment is open.
    pub(crate) const fn is_inside_quote(&self) -> bool {
        matches!(
            self.mode,
            Mode::Literal(_)
                | Mode::Quoted
                | Mode::Tag
                | Mode::DollarQuote(_)
                | Mode::BlockComment(..)
        )
    }

    /// Whether a comment or a command that ends with its line is open.
    pub(crate) const fn is_inside_line(&self) -> bool {
        matches!(
            self.mode,
            Mode::LineComment | Mode::Command | Mode::Backslash
        )
    }

    fn begin(&mut self, mode: Mode) {
        self.text.clear();
        self.is_cut = false;
        self.mode = mode;
    }

    fn keep(&mut self, text: &[u8], most: usize) {
        let room = most.saturating_sub(self.text.len());
        self.text
            .extend_from_slice(text.get(..room).unwrap_or(text));
        self.is_cut |= text.len() > room;
    }

    const fn open_parenthesis(&mut self) {
        if self.parentheses == 0 {
            self.groups = self.groups.saturating_add(1);
        }
        self.parentheses = self.parentheses.saturating_add(1);
    }

    const fn close_parenthesis(&mut self) {
        self.parentheses = self.parentheses.saturating_sub(1);
    }

    /// Ends a token before a byte that does not belong to it.
    const fn ended(&mut self, token: Token) -> (usize, Token) {
        self.mode = Mode::Plain;
        (0, token)
    }

    /// Scans until a token ends, or the text.
    fn scan(&mut self, text: &[u8], raw: &[u8]) -> (usize, Token) {
        // Between two statements, blanks are returned on their own, so that a reader can stop there.
        let mut taken = match self.mode {
            Mode::Plain if self.skims => self.pass_over(text),
            Mode::Plain if self.body.words > 0 => length_of(text, is_blank),
            _ => 0,
        };
        while let (Some(text), Some(raw)) = (text.get(taken..), raw.get(taken..))
            && let Some(byte) = text.first()
        {
            let (more, token) = self.scan_on(*byte, text, raw);
            taken = taken.saturating_add(more);
            if token != Token::Nothing || self.is_between_tokens() {
                return (taken, token);
            }
        }
        (taken, Token::Nothing)
    }

    fn scan_on(&mut self, byte: u8, text: &[u8], raw: &[u8]) -> (usize, Token) {
        match self.mode {
            Mode::Plain => self.scan_plain(byte, text, raw),
            Mode::Word => self.scan_word(text, raw),
            Mode::Number(number) => self.scan_number(number, text, raw),
            Mode::Dot => {
                if byte.is_ascii_digit() {
                    self.begin(Mode::Number(Number {
                        fraction: true,
                        ..Number::default()
                    }));
                    return (0, Token::Symbol(b'.'));
                }
                self.mode = Mode::Plain;
                (usize::from(byte == b'.'), Token::Symbol(b'.'))
            }
            Mode::Dash => {
                if byte == b'-' {
                    self.begin(Mode::LineComment);
                    return (1, Token::Nothing);
                }
                self.ended(Token::Symbol(b'-'))
            }
            Mode::Slash => {
                if byte == b'*' {
                    self.mode = Mode::BlockComment(1, 0);
                    return (1, Token::Nothing);
                }
                self.ended(Token::Symbol(b'/'))
            }
            Mode::Colon => {
                if is_in_tag(byte) {
                    self.mode = Mode::Variable;
                    return (0, Token::Nothing);
                }
                self.mode = Mode::Plain;
                (usize::from(byte == b':'), Token::Symbol(b':'))
            }
            Mode::Variable => match length_of(text, is_in_tag) {
                0 => self.ended(Token::Symbol(b':')),
                length => (length, Token::Nothing),
            },
            Mode::Unicode => match byte {
                b'\'' => {
                    self.begin_literal(false, false);
                    (1, Token::Nothing)
                }
                b'"' => {
                    self.keep(b"&\"", TOKEN_BYTES);
                    self.mode = Mode::Quoted;
                    (1, Token::Nothing)
                }
                _ => self.ended(Token::Symbol(b'&')),
            },
            Mode::Backslash => match byte {
                b';' => {
                    self.body.words = 0;
                    self.mode = Mode::Plain;
                    (1, Token::Separator)
                }
                b':' => {
                    self.mode = Mode::Plain;
                    (1, Token::Symbol(b':'))
                }
                _ => {
                    self.begin(Mode::Command);
                    self.keep(b"\\", COMMAND_BYTES);
                    (0, Token::Nothing)
                }
            },
            Mode::Command => self.scan_to_end(
                memchr::memchr(b'\n', text),
                raw,
                COMMAND_BYTES,
                Token::Command,
            ),
            Mode::LineComment => self.scan_to_end(
                memchr::memchr2(b'\n', b'\r', text),
                raw,
                TOKEN_BYTES,
                Token::Comment,
            ),
            Mode::Literal(literal) => self.scan_literal(literal, text, raw),
            Mode::AfterLiteral(literal, behind) => self.scan_behind(literal, behind, byte, text),
            Mode::Quoted => {
                let end = memchr::memchr(b'"', text).map(|end| end.saturating_add(1));
                let length = end.unwrap_or(text.len());
                self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
                if end.is_some() {
                    self.mode = Mode::AfterQuoted;
                }
                (length, Token::Nothing)
            }
            Mode::AfterQuoted => {
                if byte == b'"' {
                    self.keep(b"\"", TOKEN_BYTES);
                    self.mode = Mode::Quoted;
                    return (1, Token::Nothing);
                }
                self.ended(Token::Quoted)
            }
            Mode::Tag => self.scan_tag(byte, text, raw),
            Mode::DollarQuote(matched) => self.scan_dollar_quote(matched, byte, text),
            Mode::BlockComment(depth, before) => self.scan_comment(depth, before, byte, text),
            Mode::Lost(_) => (text.len(), Token::Nothing),
        }
    }

    fn scan_plain(&mut self, byte: u8, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let mode = match byte {
            _ if is_blank(byte) => return (length_of(text, is_blank), Token::Nothing),
            _ if begins_name(byte) => {
                self.begin(Mode::Word);
                return self.scan_word(text, raw);
            }
            b'0'..=b'9' => {
                self.begin(Mode::Number(Number::default()));
                return (0, Token::Nothing);
            }
            b'\'' => {
                self.begin_literal(self.settings.escapes, false);
                return (1, Token::Nothing);
            }
            b'"' => {
                self.begin(Mode::Quoted);
                self.keep(b"\"", TOKEN_BYTES);
                return (1, Token::Nothing);
            }
            b'$' => {
                self.begin(Mode::Tag);
                self.tag.clear();
                self.tag.push(b'$');
                return (1, Token::Nothing);
            }
            b'.' => Mode::Dot,
            b'-' => Mode::Dash,
            b'/' => Mode::Slash,
            b':' => Mode::Colon,
            b'\\' => Mode::Backslash,
            b';' if self.is_at_the_top() => {
                self.body.words = 0;
                return (1, Token::End);
            }
            b';' => return (1, Token::Separator),
            b'(' => {
                self.open_parenthesis();
                return (1, Token::Symbol(byte));
            }
            b')' => {
                self.close_parenthesis();
                return (1, Token::Symbol(byte));
            }
            _ => return (1, Token::Symbol(byte)),
        };
        self.mode = mode;
        (1, Token::Nothing)
    }

    fn scan_word(&mut self, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let length = length_of(text, is_in_name);
        self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
        let Some(next) = text.get(length) else {
            return (length, Token::Nothing);
        };
        // It can turn out to be the beginning of a literal.
        match (self.text.as_slice(), next) {
            (b"e" | b"E", b'\'') => self.begin_literal(true, false),
            (b"b" | b"B" | b"x" | b"X", b'\'') => self.begin_literal(false, true),
            (b"n" | b"N", b'\'') => self.begin_literal(self.settings.escapes, false),
            (b"u" | b"U", b'&') => self.mode = Mode::Unicode,
            (word, _) => {
                self.body.take(word, self.parentheses);
                self.mode = Mode::Plain;
                return (length, Token::Word);
            }
        }
        (length.saturating_add(1), Token::Nothing)
    }

    fn scan_number(&mut self, mut number: Number, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let length = length_of(text, |byte| number.goes_on_with(byte));
        self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
        if length == text.len() {
            self.mode = Mode::Number(number);
            return (length, Token::Nothing);
        }
        self.mode = Mode::Plain;
        (length, Token::Number)
    }

    fn scan_comment(&mut self, depth: u32, before: u8, byte: u8, text: &[u8]) -> (usize, Token) {
        let (depth, before) = match (before, byte) {
            (b'*', b'/') => (depth.saturating_sub(1), 0),
            (b'/', b'*') => (depth.saturating_add(1), 0),
            (_, b'*' | b'/') => (depth, byte),
            _ => {
                self.mode = Mode::BlockComment(depth, 0);
                let end = memchr::memchr2(b'*', b'/', text);
                return (end.unwrap_or(text.len()), Token::Nothing);
            }
        };
        self.mode = if depth == 0 {
            Mode::Plain
        } else {
            Mode::BlockComment(depth, before)
        };
        (1, Token::Nothing)
    }

    /// Takes something that ends with its line.
    fn scan_to_end(
        &mut self,
        end: Option<usize>,
        raw: &[u8],
        most: usize,
        token: Token,
    ) -> (usize, Token) {
        let length = end.unwrap_or(raw.len());
        self.keep(raw.get(..length).unwrap_or_default(), most);
        if end.is_none() {
            return (length, Token::Nothing);
        }
        self.mode = Mode::Plain;
        (length.saturating_add(1), token)
    }
}

/// How many bytes at the beginning of the text are of this kind.
fn length_of(text: &[u8], mut belongs: impl FnMut(u8) -> bool) -> usize {
    let end = text.iter().position(|byte| !belongs(*byte));
    end.unwrap_or(text.len())
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

const fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_in_tag(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit()
}

const fn is_in_name(byte: u8) -> bool {
    is_in_tag(byte) || byte == b'$'
}
