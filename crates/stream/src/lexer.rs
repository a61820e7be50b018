//! SQL text cut where `psql` cuts it.
//!
//! `psql` does not know SQL. It looks for the semicolons, backslashes and quotes that matter with the rules of its
//! `psqlscan.l`, one line at a time. Each state here is one of its own, and `tests/lexer.rs` holds both against each
//! other. Where its majors differ, which is only in text that no server accepts, the newer ones are followed.
//!
//! What can't be followed is what `psql` learns from elsewhere: the values of its own variables (`:NAME`).

/// The longest token whose text is kept. A table's name has at most 257 bytes in each of its two parts.
const TOKEN_BYTES: usize = 1024;

/// The longest client command whose text is kept: its key is a word of any length in `--restrict-key`.
pub(crate) const COMMAND_BYTES: usize = 4096;

/// The longest tag of a dollar quote. `pg_dump` makes a tag longer until the text does not hold it, by eight bytes each
/// time; one of this length means that somebody wants memory.
const TAG_BYTES: usize = 64 * 1024;

/// Cuts text into tokens, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    mode: Mode,
    /// What has been in force since the line began.
    settings: Settings,
    /// What is in force from the next line on.
    next: Settings,
    mask: Mask,
    /// The text of the token at hand, as far as it is kept.
    text: Vec<u8>,
    is_cut: bool,
    /// `$tag$` of the dollar quote at hand.
    tag: Vec<u8>,
    /// Open parentheses: inside them a semicolon ends nothing, as in the actions of a rule.
    parentheses: u32,
    body: Body,
    /// Nobody asks for the tokens of this statement any more.
    skims: bool,
    /// How many parentheses were opened outside of any other one since then.
    groups: u64,
}

/// What decides how a line is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `standard_conforming_strings = off`: a backslash in `'…'` takes the next byte along.
    pub(crate) escapes: bool,
    /// `client_encoding`
    pub(crate) encoding: Encoding,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Blanks, or a piece of something that has not ended yet.
    Nothing,
    /// A name or keyword without quotes.
    Word,
    /// `"…"` with its quotes.
    Quoted,
    /// A literal; its text is what is inside, as it is spelled.
    Literal,
    /// A number.
    Number,
    /// Any other character.
    Symbol(u8),
    /// A semicolon that ends a statement for the server, and none for `psql`.
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
    /// Behind the closing quote of a literal, which may go on.
    AfterLiteral(Literal, Behind),
    Quoted,
    /// Behind a double quote that closes a name or is doubled inside it.
    AfterQuoted,
    /// `$` and the beginning of a tag.
    Tag,
    /// `$tag$ … $tag$`; so many bytes of the closing tag were seen.
    DollarQuote(usize),
    LineComment,
    /// `/* … */`, which nests, and the byte before.
    BlockComment(u32, u8),
    /// There is no telling any more what the text is.
    Lost(Lost),
}

/// A literal in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Literal {
    /// Whether a backslash takes the next byte along.
    escapes: bool,
    /// Whether it just did.
    escaped: bool,
    /// `B'…'` or `X'…'`, in which no quote can be doubled.
    bits: bool,
}

/// What stands between the closing quote of a literal and the next byte. After a carriage return, which is a line end to
/// SQL and none to `psql`'s reader, another quote goes on with the same literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    NewLine,
    Blanks { line_end: bool },
    Dash { line_end: bool },
    Comment,
}

/// A number, and the letters that stick to it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Number {
    letters: bool,
    fraction: bool,
    /// The last byte was the `e` of an exponent.
    exponent: bool,
    /// The last byte was the sign of one.
    sign: bool,
}

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

/// How deep the text is in the `BEGIN ATOMIC … END` of a function. `psql` counts words to find it out: the initials of the
/// first four tell whether the statement is a `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
#[derive(Debug, Default)]
struct Body {
    initials: [u8; 4],
    words: usize,
    depth: u32,
}

impl Body {
    /// Whether the words so far, and those to come, can open a body.
    const fn can_open(&self) -> bool {
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

    const fn defines(&self) -> bool {
        matches!(
            self.initials,
            [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']
        )
    }

    fn take(&mut self, word: &[u8], parentheses: u32) {
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
        if !self.defines() || parentheses > 0 {
            return;
        }
        // CASE … END stands inside a body too.
        let opens = word.eq_ignore_ascii_case(b"begin")
            || self.depth > 0 && word.eq_ignore_ascii_case(b"case");
        if opens {
            self.depth = self.depth.saturating_add(1);
        } else if word.eq_ignore_ascii_case(b"end") {
            self.depth = self.depth.saturating_sub(1);
        }
    }
}

/// An encoding, as far as it decides where text is cut: in some, a byte that looks like a quote or a backslash can be the
/// rest of a character.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// No byte of a longer character looks like ASCII.
    #[default]
    Safe,
    /// `SJIS` and `SHIFT_JIS_2004`
    Sjis,
    /// `BIG5`, `GBK` and `UHC`
    TwoBytes,
    Gb18030,
    Johab,
}

impl Encoding {
    /// The encoding of this name, as a server understands it.
    pub(crate) fn named(name: &[u8]) -> Self {
        let name: Vec<u8> = name
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
            .collect();
        match name.as_slice() {
            b"sjis" | b"shiftjis" | b"mskanji" | b"win932" | b"windows932" | b"shiftjis2004" => {
                Self::Sjis
            }
            b"big5" | b"win950" | b"windows950" | b"gbk" | b"win936" | b"windows936" | b"uhc"
            | b"win949" | b"windows949" => Self::TwoBytes,
            b"gb18030" => Self::Gb18030,
            b"johab" => Self::Johab,
            _ => Self::Safe,
        }
    }
}

/// Hides the rest of a longer character, as `psql` does before it looks at a line.
#[derive(Debug, Default)]
struct Mask {
    /// Bytes of the character at hand that are to come.
    rest: u8,
    /// The next byte is the second one of GB18030, and says how many there are.
    is_second: bool,
    /// The next byte as it was found out already.
    known: Option<u8>,
}

impl Mask {
    fn look(&mut self, byte: u8, encoding: Encoding) -> u8 {
        if let Some(known) = self.known {
            return known;
        }
        if byte == b'\n' {
            *self = Self::default();
        } else if self.rest > 0 {
            self.rest -= 1;
            if std::mem::take(&mut self.is_second) && byte.is_ascii_digit() {
                self.rest = 2;
            }
            self.known = Some(0xff);
            return 0xff;
        } else if byte >= 0x80 {
            self.rest = match encoding {
                Encoding::Sjis if (0xa1..=0xdf).contains(&byte) => 0,
                Encoding::Johab if byte == 0x8f => 2,
                _ => 1,
            };
            self.is_second = encoding == Encoding::Gb18030;
        }
        self.known = Some(byte);
        byte
    }
}

impl Lexer {
    /// Takes the next token, or a part of it, from a piece that is not empty, and says how many bytes that were. None is a
    /// token that ended before the piece.
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

    /// What follows is read like this from the next line on.
    pub(crate) const fn next_settings(&mut self) -> &mut Settings {
        &mut self.next
    }

    /// Whether the next line is read in another way than this one.
    pub(crate) fn turns(&self) -> bool {
        self.settings != self.next
    }

    /// Begins a line. Only needed when [`Self::turns`].
    pub(crate) fn begin_line(&mut self) {
        self.settings = self.next;
        self.mask = Mask::default();
    }

    /// Says whether anybody asks for the tokens of this statement. Where nobody does, they need not be told one by one.
    pub(crate) const fn skim(&mut self, skims: bool) {
        if skims && !self.skims {
            self.groups = 0;
        }
        self.skims = skims;
    }

    /// How many groups in parentheses, not counting those inside of others, began since the tokens are skimmed.
    pub(crate) const fn groups(&self) -> u64 {
        self.groups
    }

    /// Gives up.
    pub(crate) const fn lose(&mut self, lost: Lost) {
        self.mode = Mode::Lost(lost);
    }

    /// Whether the text is outside of parentheses and of a function's body.
    pub(crate) const fn is_at_the_top(&self) -> bool {
        self.parentheses == 0 && self.body.depth == 0
    }

    /// Why the text is not followed any more.
    pub(crate) const fn lost(&self) -> Option<Lost> {
        match self.mode {
            Mode::Lost(lost) => Some(lost),
            _ => None,
        }
    }

    /// Whether no token, quote, comment or command is open.
    pub(crate) fn is_between_tokens(&self) -> bool {
        self.mode == Mode::Plain
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

    /// Ends a token before the byte that is not its own.
    const fn ended(&mut self, token: Token) -> (usize, Token) {
        self.mode = Mode::Plain;
        (0, token)
    }

    fn scan(&mut self, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let Some(byte) = text.first().copied() else {
            return (0, Token::Nothing);
        };
        match self.mode {
            Mode::Plain => self.scan_plain(byte, text),
            Mode::Word => {
                let length = length_of(text, is_in_name);
                self.keep(raw.get(..length).unwrap_or_default(), TOKEN_BYTES);
                match text.get(length) {
                    Some(next) if length == 0 => self.end_word(*next),
                    _ => (length, Token::Nothing),
                }
            }
            Mode::Number(number) => self.scan_number(number, byte),
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

    /// Passes over tokens that change nothing, such as the values of an `INSERT`, and says how many bytes that were. It stops
    /// before whatever is not plain to see.
    fn pass_over(&mut self, text: &[u8]) -> usize {
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

    fn scan_plain(&mut self, byte: u8, text: &[u8]) -> (usize, Token) {
        if self.skims && !self.body.can_open() {
            let passed = self.pass_over(text);
            if passed > 0 {
                return (passed, Token::Nothing);
            }
        }
        let mode = match byte {
            _ if is_blank(byte) => return (length_of(text, is_blank), Token::Nothing),
            _ if begins_name(byte) => {
                self.begin(Mode::Word);
                return (0, Token::Nothing);
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
            b';' if self.parentheses == 0 && self.body.depth == 0 => {
                self.body.words = 0;
                return (1, Token::End);
            }
            b';' => return (1, Token::Separator),
            b'(' => {
                self.open_parenthesis();
                return (1, Token::Symbol(byte));
            }
            b')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                return (1, Token::Symbol(byte));
            }
            _ => return (1, Token::Symbol(byte)),
        };
        self.mode = mode;
        (1, Token::Nothing)
    }

    /// Ends a word, which can turn out to be the beginning of a literal.
    fn end_word(&mut self, next: u8) -> (usize, Token) {
        match (self.text.as_slice(), next) {
            (b"e" | b"E", b'\'') => self.begin_literal(true, false),
            (b"b" | b"B" | b"x" | b"X", b'\'') => self.begin_literal(false, true),
            (b"n" | b"N", b'\'') => self.begin_literal(self.settings.escapes, false),
            (b"u" | b"U", b'&') => self.mode = Mode::Unicode,
            (word, _) => {
                self.body.take(word, self.parentheses);
                return self.ended(Token::Word);
            }
        }
        (1, Token::Nothing)
    }

    fn scan_number(&mut self, mut number: Number, byte: u8) -> (usize, Token) {
        let Number {
            letters,
            fraction,
            exponent,
            sign,
        } = number;
        let belongs = match byte {
            b'0'..=b'9' | b'_' => true,
            _ if sign => false,
            b'+' | b'-' => exponent,
            b'.' => !letters && !fraction,
            b'$' => letters,
            _ => begins_name(byte),
        };
        if !belongs {
            return self.ended(Token::Number);
        }
        number.sign = matches!(byte, b'+' | b'-');
        number.exponent = !letters && matches!(byte, b'e' | b'E');
        number.letters |= byte != b'_' && begins_name(byte);
        number.fraction |= byte == b'.';
        self.keep(&[byte], TOKEN_BYTES);
        self.mode = Mode::Number(number);
        (1, Token::Nothing)
    }

    fn begin_literal(&mut self, escapes: bool, bits: bool) {
        self.begin(Mode::Literal(Literal {
            escapes,
            escaped: false,
            bits,
        }));
    }

    fn scan_literal(&mut self, literal: Literal, text: &[u8], raw: &[u8]) -> (usize, Token) {
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

    /// Finds out whether a literal goes on. `psql` looks for that in the same line only, where a carriage return is the line
    /// end that must stand between the two pieces.
    fn scan_behind(
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

    fn scan_tag(&mut self, byte: u8, text: &[u8], raw: &[u8]) -> (usize, Token) {
        let is_empty = self.tag.len() == 1;
        if byte == b'$' {
            self.tag.push(byte);
            self.mode = Mode::DollarQuote(0);
            return (1, Token::Nothing);
        }
        if is_empty && byte.is_ascii_digit() {
            // A parameter. It has no fraction.
            self.begin(Mode::Number(Number {
                fraction: true,
                ..Number::default()
            }));
            return (0, Token::Symbol(b'$'));
        }
        let length = length_of(text, is_in_tag);
        if length == 0 {
            // No tag: a dollar, and a word.
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

    fn scan_dollar_quote(&mut self, matched: usize, byte: u8, text: &[u8]) -> (usize, Token) {
        if matched == 0 {
            let Some(dollar) = memchr::memchr(b'$', text) else {
                return (text.len(), Token::Nothing);
            };
            self.mode = Mode::DollarQuote(1);
            return (dollar.saturating_add(1), Token::Nothing);
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
        self.is_cut = true;
        self.mode = Mode::Plain;
        (1, Token::Literal)
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

    /// Takes what ends with its line.
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

/// How many bytes at the beginning are of this kind.
fn length_of(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
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
