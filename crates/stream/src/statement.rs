//! What one statement does, from its tokens, as far as it matters to a reader of dumps.

use crate::lexer::{Encoding, Token};
use crate::script::{TableName, Unchecked};

/// The words that begin a statement about transactions.
const TRANSACTION_WORDS: [&str; 9] = [
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "PREPARE",
    "SAVEPOINT",
    "RELEASE",
];

/// The longest name of a table that is kept. Two names of 63 bytes, each in quotes and with every byte doubled, have 257.
const NAME_BYTES: usize = 1024;

/// What a statement does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// `COPY … FROM stdin`: its rows follow. The name is missing if it is longer than PostgreSQL allows.
    Copy {
        table: Option<TableName>,
        binary: bool,
    },
    /// `INSERT INTO … VALUES` of a table with this [name](Statement::name). Its rows are the groups in parentheses that follow.
    Insert,
    /// `INSERT INTO … DEFAULT VALUES`, which is one row.
    InsertDefault,
    /// A setting that decides how text is read.
    Set(Setting),
    /// `ALTER … ADD CONSTRAINT … NOT VALID`: a constraint that the source had not checked. It is missing if a name is longer
    /// than PostgreSQL allows.
    Unchecked(Option<Unchecked>),
    /// Begins, ends or names a transaction.
    Transaction,
    /// `SELECT lo_open(…)`: the data of a large object follows.
    LargeObject,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `standard_conforming_strings = off`
    Escapes(bool),
    /// `client_encoding`
    Encoding(Encoding),
    /// Both settings, set back to their first values.
    Reset,
}

/// The statement that is being read, from its tokens.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    is_begun: bool,
    /// Whether it is a part of a longer statement that defines something. Only a server can tell where the statements inside it
    /// begin and end.
    is_part: bool,
    grammar: Grammar,
    /// The name of the table, or of the setting.
    name: Vec<u8>,
    is_name_cut: bool,
    binary: bool,
    setting: Option<Setting>,
    /// How many words of `NOT VALID` stand at its end so far.
    invalid: u8,
    /// The name of the constraint that is added, and whether it is added to a domain.
    constraint: Vec<u8>,
    is_of_domain: bool,
}

/// The place of the next token: in which statement, and where in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Grammar {
    #[default]
    Start,
    Copy(Copy),
    Insert(Insert),
    Set(Set),
    Reset,
    /// `SELECT set_config('name', 'value', …)`, and how many of its tokens were read.
    SetConfig(u8),
    Alter(Alter),
    Transaction,
    LargeObject,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// A part of the table's name must come.
    Part,
    /// A dot, the columns or the direction.
    Name,
    /// `(columns)`
    Columns(u32),
    /// The direction.
    Direction,
    /// `FROM`
    From,
    /// `FROM stdin`, and whatever comes behind it.
    Options(Options),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Insert {
    /// `INSERT`
    Verb,
    /// A part of the table's name must come.
    Part,
    /// A dot, the columns, or what follows them.
    Name,
    /// `(columns)`
    Columns(u32),
    /// `OVERRIDING SYSTEM VALUE`, or the values.
    Source,
    /// `DEFAULT`
    Default,
    /// `DEFAULT VALUES`
    DefaultValues,
    /// `VALUES`
    Values,
}

/// `BINARY`, or `(FORMAT binary)`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Options {
    depth: u32,
    state: OptionState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum OptionState {
    #[default]
    Elsewhere,
    Key,
    Format,
    /// After `WHERE` there are no more options.
    Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// `SET`
    Scope,
    /// `SET LOCAL`
    Name,
    /// `=` or `TO`
    Becomes,
    Value,
    Done,
}

/// `ALTER TABLE name ADD CONSTRAINT name …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alter {
    /// `TABLE` or `DOMAIN`, after `FOREIGN` perhaps.
    Kind,
    /// `ONLY`, or the first part of the name.
    Object,
    /// Another part of it.
    Part,
    /// A dot, or `ADD`.
    Name,
    /// `CONSTRAINT`
    Add,
    /// Its name.
    Constraint,
    Definition,
}

impl Statement {
    /// Whether any token of it was read.
    pub(crate) const fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether it is already known what it does, whatever tokens follow.
    pub(crate) const fn is_known(&self) -> bool {
        matches!(
            self.grammar,
            Grammar::Insert(Insert::Values | Insert::DefaultValues)
                | Grammar::Transaction
                | Grammar::LargeObject
                | Grammar::Other
        )
    }

    /// Whether it is an `INSERT` whose values follow, or have begun.
    pub(crate) const fn has_values(&self) -> bool {
        matches!(self.grammar, Grammar::Insert(Insert::Values))
    }

    /// Begins an `INSERT` into this table, of which everything up to its values was read.
    pub(crate) fn begin_values(&mut self, table: &[u8]) {
        self.begin();
        self.is_begun = true;
        self.grammar = Grammar::Insert(Insert::Values);
        self.name.extend_from_slice(table);
    }

    /// Begins the next statement.
    pub(crate) fn begin(&mut self) {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        *self = Self {
            name,
            ..Self::default()
        };
    }

    /// Begins the next statement, which for `psql` is still the same one. `is_part` says that it is only a part of a statement.
    pub(crate) fn go_on(&mut self, is_part: bool) {
        let is_part = is_part || self.is_part;
        self.begin();
        self.is_begun = true;
        self.is_part = is_part;
    }

    /// Takes the next token. The text is missing if it is too long to matter.
    pub(crate) fn take(&mut self, token: Token, text: Option<&[u8]>) {
        self.is_begun = true;
        let text = text.unwrap_or_default();
        let word = if token == Token::Word { text } else { b"" };
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        if let Grammar::Alter(_) = self.grammar {
            self.invalid = match self.invalid {
                _ if is("NOT") => 1,
                1 if is("VALID") => 2,
                _ => 0,
            };
        }
        self.grammar = match self.grammar {
            Grammar::Start => match () {
                () if is("COPY") => Grammar::Copy(Copy::Part),
                () if is("INSERT") => Grammar::Insert(Insert::Verb),
                () if is("SET") => Grammar::Set(Set::Scope),
                () if is("RESET") || is("DISCARD") => Grammar::Reset,
                () if is("SELECT") => Grammar::SetConfig(0),
                () if is("ALTER") => Grammar::Alter(Alter::Kind),
                () if TRANSACTION_WORDS.iter().any(|word| is(word)) => Grammar::Transaction,
                () => Grammar::Other,
            },
            Grammar::Copy(copy) => self
                .take_copy(copy, token, text, is)
                .map_or(Grammar::Other, Grammar::Copy),
            Grammar::Insert(insert) => self
                .take_insert(insert, token, text, is)
                .map_or(Grammar::Other, Grammar::Insert),
            Grammar::Alter(alter) => self
                .take_alter(alter, token, text, is)
                .map_or(Grammar::Other, Grammar::Alter),
            Grammar::Set(set) => self
                .take_set(set, token, text, is)
                .map_or(Grammar::Other, Grammar::Set),
            Grammar::Reset => {
                if is("ALL") {
                    self.setting = Some(Setting::Reset);
                } else if let Some(name) = name_of(token, text) {
                    self.setting = setting(&name, None);
                }
                Grammar::Other
            }
            Grammar::SetConfig(at) => self.take_set_config(at, token, text),
            other => other,
        };
    }

    /// What it does, as far as it was read.
    pub(crate) fn meaning(&mut self) -> Meaning {
        match self.grammar {
            Grammar::Copy(Copy::Options(_)) => Meaning::Copy {
                table: (!self.is_name_cut).then(|| TableName::from(std::mem::take(&mut self.name))),
                binary: self.binary,
            },
            _ if self.is_part => Meaning::Other,
            Grammar::Insert(Insert::Values) => Meaning::Insert,
            Grammar::Insert(Insert::DefaultValues) => Meaning::InsertDefault,
            Grammar::Alter(Alter::Definition) if self.invalid == 2 => {
                Meaning::Unchecked(self.take_unchecked())
            }
            Grammar::Transaction => Meaning::Transaction,
            Grammar::LargeObject => Meaning::LargeObject,
            _ => self.setting.map_or(Meaning::Other, Meaning::Set),
        }
    }

    /// The name of the table that rows are inserted into. It is missing if it is longer than PostgreSQL allows.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        (!self.is_name_cut).then_some(self.name.as_slice())
    }

    fn keep_name(&mut self, text: &[u8]) {
        // A name that is too long to be kept as a token comes with an empty text.
        if text.is_empty() || self.name.len().saturating_add(text.len()) > NAME_BYTES {
            self.is_name_cut = true;
        } else {
            self.name.extend_from_slice(text);
        }
    }

    fn take_copy(
        &mut self,
        copy: Copy,
        token: Token,
        text: &[u8],
        is: impl Fn(&str) -> bool,
    ) -> Option<Copy> {
        let direction = || is("FROM").then_some(Copy::From);
        match (copy, token) {
            (Copy::Part, Token::Word) if self.name.is_empty() && is("BINARY") => {
                self.binary = true;
                Some(Copy::Part)
            }
            (Copy::Part, Token::Word | Token::Quoted) => {
                self.keep_name(text);
                Some(Copy::Name)
            }
            (Copy::Name, Token::Symbol(b'.')) => {
                self.keep_name(b".");
                Some(Copy::Part)
            }
            (Copy::Name, Token::Symbol(b'(')) => Some(Copy::Columns(1)),
            (Copy::Name | Copy::Direction, Token::Word) => direction(),
            (Copy::Columns(depth), Token::Symbol(b'(')) => {
                Some(Copy::Columns(depth.saturating_add(1)))
            }
            (Copy::Columns(1), Token::Symbol(b')')) => Some(Copy::Direction),
            (Copy::Columns(depth), Token::Symbol(b')')) => {
                Some(Copy::Columns(depth.saturating_sub(1)))
            }
            (Copy::Columns(_), _) => Some(copy),
            // A server accepts either word, because the direction leaves no doubt.
            (Copy::From, Token::Word) if is("STDIN") || is("STDOUT") => {
                Some(Copy::Options(Options::default()))
            }
            (Copy::Options(options), _) => {
                Some(Copy::Options(self.take_option(options, token, text, is)))
            }
            _ => None,
        }
    }

    fn take_insert(
        &mut self,
        insert: Insert,
        token: Token,
        text: &[u8],
        is: impl Fn(&str) -> bool,
    ) -> Option<Insert> {
        match (insert, token) {
            (Insert::Verb, Token::Word) => is("INTO").then_some(Insert::Part),
            (Insert::Part, Token::Word | Token::Quoted) => {
                self.keep_name(text);
                Some(Insert::Name)
            }
            (Insert::Name, Token::Symbol(b'.')) => {
                self.keep_name(b".");
                Some(Insert::Part)
            }
            (Insert::Name, Token::Symbol(b'(')) => Some(Insert::Columns(1)),
            (Insert::Columns(depth), Token::Symbol(b'(')) => {
                Some(Insert::Columns(depth.saturating_add(1)))
            }
            (Insert::Columns(1), Token::Symbol(b')')) => Some(Insert::Source),
            (Insert::Columns(depth), Token::Symbol(b')')) => {
                Some(Insert::Columns(depth.saturating_sub(1)))
            }
            (Insert::Columns(_), _) => Some(insert),
            (Insert::Name | Insert::Source, Token::Word) => match () {
                () if is("VALUES") => Some(Insert::Values),
                () if is("DEFAULT") => Some(Insert::Default),
                () if ["OVERRIDING", "SYSTEM", "USER", "VALUE"]
                    .iter()
                    .any(|word| is(word)) =>
                {
                    Some(Insert::Source)
                }
                () => None,
            },
            (Insert::Default, Token::Word) => is("VALUES").then_some(Insert::DefaultValues),
            (Insert::Values | Insert::DefaultValues, _) => Some(insert),
            _ => None,
        }
    }

    fn take_option(
        &mut self,
        options: Options,
        token: Token,
        text: &[u8],
        is: impl Fn(&str) -> bool,
    ) -> Options {
        let Options { depth, state } = options;
        let mut next = Options {
            depth,
            state: OptionState::Elsewhere,
        };
        match (state, token) {
            (OptionState::Condition, _) => next.state = OptionState::Condition,
            (OptionState::Format, _) => {
                self.binary |= value_of(token, text).is_some_and(|value| value == b"binary");
            }
            (OptionState::Key, _) if name_of(token, text).is_some_and(|name| name == b"format") => {
                next.state = OptionState::Format;
            }
            (_, Token::Symbol(b'(')) => {
                next.depth = depth.saturating_add(1);
                if depth == 0 {
                    next.state = OptionState::Key;
                }
            }
            (_, Token::Symbol(b')')) => next.depth = depth.saturating_sub(1),
            (_, Token::Symbol(b',')) if depth == 1 => next.state = OptionState::Key,
            (_, Token::Word) if depth == 0 && is("BINARY") => self.binary = true,
            (_, Token::Word) if depth == 0 && is("WHERE") => next.state = OptionState::Condition,
            _ => {}
        }
        next
    }

    fn take_alter(
        &mut self,
        alter: Alter,
        token: Token,
        text: &[u8],
        is: impl Fn(&str) -> bool,
    ) -> Option<Alter> {
        match (alter, token) {
            (Alter::Kind, Token::Word) if is("FOREIGN") => Some(Alter::Kind),
            (Alter::Kind, Token::Word) if is("TABLE") => Some(Alter::Object),
            (Alter::Kind, Token::Word) if is("DOMAIN") => {
                self.is_of_domain = true;
                Some(Alter::Object)
            }
            (Alter::Object, Token::Word) if is("ONLY") => Some(Alter::Object),
            (Alter::Object | Alter::Part, Token::Word | Token::Quoted) => {
                self.keep_name(text);
                Some(Alter::Name)
            }
            (Alter::Name, Token::Symbol(b'.')) => {
                self.keep_name(b".");
                Some(Alter::Part)
            }
            (Alter::Name, Token::Word) if is("ADD") => Some(Alter::Add),
            (Alter::Add, Token::Word) if is("CONSTRAINT") => Some(Alter::Constraint),
            (Alter::Constraint, Token::Word | Token::Quoted) => {
                self.constraint = name_of(token, text).unwrap_or_default();
                Some(Alter::Definition)
            }
            (Alter::Definition, _) => Some(Alter::Definition),
            _ => None,
        }
    }

    fn take_unchecked(&mut self) -> Option<Unchecked> {
        let is_long = self.constraint.is_empty() || self.constraint.len() > NAME_BYTES;
        (!is_long && !self.is_name_cut).then(|| Unchecked {
            of: TableName::from(std::mem::take(&mut self.name)),
            is_of_domain: self.is_of_domain,
            name: undoubled(&self.constraint),
        })
    }

    fn take_set(
        &mut self,
        set: Set,
        token: Token,
        text: &[u8],
        is: impl Fn(&str) -> bool,
    ) -> Option<Set> {
        match (set, token) {
            (Set::Scope, Token::Word) if is("SESSION") || is("LOCAL") => Some(Set::Name),
            (Set::Scope | Set::Name, Token::Word) if is("NAMES") => {
                self.name.extend_from_slice(b"client_encoding");
                Some(Set::Value)
            }
            (Set::Scope | Set::Name, Token::Word | Token::Quoted) => {
                self.name = name_of(token, text)?;
                Some(Set::Becomes)
            }
            (Set::Becomes, Token::Symbol(b'=')) => Some(Set::Value),
            (Set::Becomes, Token::Word) if is("TO") => Some(Set::Value),
            (Set::Value, _) => {
                let value = value_of(token, text)?;
                let value = (!is("DEFAULT")).then_some(value);
                self.setting = setting(&self.name, value.as_deref());
                Some(Set::Done)
            }
            (Set::Done, _) => Some(Set::Done),
            _ => None,
        }
    }

    fn take_set_config(&mut self, at: u8, token: Token, text: &[u8]) -> Grammar {
        let name = name_of(token, text).unwrap_or_default();
        let next = match (at, token) {
            (0, _) if name == b"pg_catalog" => 1,
            (1, Token::Symbol(b'.')) => 2,
            (0 | 2, _) if name == b"set_config" => 3,
            (0 | 2, _) if name == b"lo_open" => return Grammar::LargeObject,
            (3, Token::Symbol(b'(')) => 4,
            (4, Token::Literal) => {
                self.name.extend_from_slice(&text.to_ascii_lowercase());
                5
            }
            (5, Token::Symbol(b',')) => 6,
            (6, Token::Literal) => {
                self.setting = setting(&self.name, Some(text));
                return Grammar::Other;
            }
            _ => return Grammar::Other,
        };
        Grammar::SetConfig(next)
    }
}

/// The name as a server understands it: in lower case, unless it is in quotes.
fn name_of(token: Token, text: &[u8]) -> Option<Vec<u8>> {
    match token {
        Token::Word => Some(text.to_ascii_lowercase()),
        Token::Quoted => {
            let inside = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            Some(inside.to_vec())
        }
        _ => None,
    }
}

/// A name from between its quotes, in which a doubled quote stands for one.
fn undoubled(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'"' {
            bytes.next_if_eq(&b'"');
        }
        plain.push(byte);
    }
    plain
}

/// A value: a name, or what can stand in its place.
fn value_of(token: Token, text: &[u8]) -> Option<Vec<u8>> {
    match token {
        Token::Literal | Token::Number => Some(text.to_vec()),
        _ => name_of(token, text),
    }
}

/// What it means if a setting is set to this value, or back to its first one.
fn setting(name: &[u8], value: Option<&[u8]>) -> Option<Setting> {
    if name.eq_ignore_ascii_case(b"client_encoding") {
        let encoding = value.map_or(Encoding::Safe, Encoding::named);
        return Some(Setting::Encoding(encoding));
    }
    if !name.eq_ignore_ascii_case(b"standard_conforming_strings") {
        return None;
    }
    let value = value.unwrap_or(b"on").to_ascii_lowercase();
    // A server accepts any beginning of a word that fits no other word.
    let is = |word: &[u8], least: usize| value.len() >= least && word.starts_with(&value);
    if is(b"on", 2) || is(b"true", 1) || is(b"yes", 1) || value == b"1" {
        Some(Setting::Escapes(false))
    } else if is(b"off", 2) || is(b"false", 1) || is(b"no", 1) || value == b"0" {
        Some(Setting::Escapes(true))
    } else {
        None
    }
}
