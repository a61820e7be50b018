//! Reads the output of `pg_dumpall --globals-only` as data. It comes from a bucket, so it is not trusted: statements of the few
//! forms that the program writes are understood, everything else is counted, and none of the text is ever sent to a server.

use std::collections::BTreeMap;
use std::mem;

/// The longest statement that is read. The longest ones are about a role's settings.
const STATEMENT_BYTES: usize = 256 * 1024;

/// The memory for all statements together, which is enough for more than half a million roles.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// The longest name of anything. The server would cut a longer one, and it could become the name of something else.
const NAME_BYTES: usize = 63;

/// A role as it was on the server that was dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) superuser: bool,
    pub(super) inherit: bool,
    pub(super) create_role: bool,
    pub(super) create_db: bool,
    pub(super) login: bool,
    pub(super) replication: bool,
    pub(super) bypass_rls: bool,
    pub(super) connection_limit: Option<u64>,
    /// The hash of the password.
    pub(super) password: Option<String>,
    pub(super) valid_until: Option<String>,
    /// Each setting with its values.
    pub(super) settings: Vec<(String, Vec<String>)>,
}

impl Default for Role {
    /// The attributes of a role that is made with `CREATE ROLE` alone.
    fn default() -> Self {
        Self {
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: None,
            password: None,
            valid_until: None,
            settings: Vec::new(),
        }
    }
}

impl Role {
    /// Whether it has rights over the whole server that no grant gives.
    pub(super) const fn is_powerful(&self) -> bool {
        self.superuser || self.replication || self.bypass_rls
    }
}

/// One role's membership in another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) role: String,
    pub(super) member: String,
    pub(super) admin: bool,
    pub(super) inherit: Option<bool>,
    pub(super) set: Option<bool>,
}

/// What was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Globals {
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) memberships: Vec<Membership>,
    pub(super) tablespaces: Vec<String>,
    /// How many statements of the program are about something else: comments, and rights on tablespaces and parameters.
    pub(super) others: u64,
    /// How many statements are not of the program's forms.
    pub(super) strange: u64,
    /// Whether there was more than is kept.
    pub(super) is_cut: bool,
}

/// Where the next byte belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ReaderState {
    #[default]
    Between,
    /// In a comment, or in a command to `psql`.
    Line,
    Statement,
    Name,
    Text {
        escapes: bool,
    },
    /// After a backslash in a text with escapes.
    Escaped,
}

/// Reads the text piece by piece.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: ReaderState,
    statement: Vec<u8>,
    is_too_long: bool,
    bytes: usize,
    globals: Globals,
}

impl Reader {
    /// Takes the next piece.
    pub(super) fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            self.take(*byte);
        }
    }

    /// Returns everything that was understood.
    pub(super) fn finish(mut self) -> Globals {
        if !matches!(self.state, ReaderState::Between | ReaderState::Line) {
            self.globals.strange = self.globals.strange.saturating_add(1);
        }
        self.globals
    }

    fn take(&mut self, byte: u8) {
        match (self.state, byte) {
            (ReaderState::Between, b' ' | b'\t' | b'\r' | b'\n') => return,
            (ReaderState::Between, b'-') => self.state = ReaderState::Line,
            (ReaderState::Between, b'\\') => {
                self.globals.strange = self.globals.strange.saturating_add(1);
                self.state = ReaderState::Line;
            }
            (ReaderState::Line, b'\n') => self.state = ReaderState::Between,
            (ReaderState::Statement, b';') => {
                self.state = ReaderState::Between;
                return self.end();
            }
            (ReaderState::Between | ReaderState::Statement, b'"') => self.state = ReaderState::Name,
            (ReaderState::Between | ReaderState::Statement, b'\'') => {
                let escapes = self.statement.last() == Some(&b'E');
                self.state = ReaderState::Text { escapes };
            }
            (ReaderState::Between, _) => self.state = ReaderState::Statement,
            (ReaderState::Name, b'"') | (ReaderState::Text { .. }, b'\'') => {
                self.state = ReaderState::Statement;
            }
            (ReaderState::Text { escapes: true }, b'\\') => self.state = ReaderState::Escaped,
            (ReaderState::Escaped, _) => self.state = ReaderState::Text { escapes: true },
            _ => {}
        }
        if self.state == ReaderState::Between || self.state == ReaderState::Line {
            return;
        }
        if self.statement.len() < STATEMENT_BYTES {
            self.statement.push(byte);
        } else {
            self.is_too_long = true;
        }
    }

    fn end(&mut self) {
        let statement = mem::take(&mut self.statement);
        let is_too_long = mem::take(&mut self.is_too_long);
        self.bytes = self.bytes.saturating_add(statement.len());
        if self.bytes > MOST_BYTES {
            self.globals.is_cut = true;
            return;
        }
        let text = str::from_utf8(&statement).ok().filter(|_| !is_too_long);
        let understood = text
            .and_then(tokens)
            .and_then(|tokens| understand(&tokens, &mut self.globals));
        if understood.is_none() {
            self.globals.strange = self.globals.strange.saturating_add(1);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword, in capitals as the program writes it.
    Word(String),
    Name(String),
    Text(String),
    Number(i64),
    Comma,
    Equals,
}

/// The tokens of a statement; `None` if there is anything else in it.
fn tokens(statement: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            ' ' | '\n' | '\t' | '\r' => rest.get(1..)?,
            ',' => {
                tokens.push(Token::Comma);
                rest.get(1..)?
            }
            '=' => {
                tokens.push(Token::Equals);
                rest.get(1..)?
            }
            '"' => {
                let (name, after) = quoted(rest.get(1..)?, '"', false)?;
                tokens.push(Token::Name(name));
                after
            }
            '\'' => {
                let (text, after) = quoted(rest.get(1..)?, '\'', false)?;
                tokens.push(Token::Text(text));
                after
            }
            'E' if rest.starts_with("E'") => {
                let (text, after) = quoted(rest.get(2..)?, '\'', true)?;
                tokens.push(Token::Text(text));
                after
            }
            _ => {
                let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                tokens.push(word_token(word)?);
                after
            }
        };
    }
    Some(tokens)
}

fn word_token(word: &str) -> Option<Token> {
    let all = |is: fn(u8) -> bool| word.bytes().all(is);
    if word.is_empty() {
        None
    } else if all(|byte| byte.is_ascii_uppercase()) {
        Some(Token::Word(word.to_owned()))
    } else if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        word.parse().ok().map(Token::Number)
    } else if all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        Some(Token::Name(word.to_owned()))
    } else {
        None
    }
}

/// The text between quotes, and the rest after them. In a text with escapes, the program writes no escape other than a doubled
/// backslash.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let after = text.get(at.saturating_add(c.len_utf8())..)?;
        if c == '\0' {
            return None;
        } else if c == quote {
            if !after.starts_with(quote) {
                return Some((inside, after));
            }
            chars.next();
        } else if escapes && c == '\\' {
            if !after.starts_with('\\') {
                return None;
            }
            chars.next();
        }
        inside.push(c);
    }
    None
}

/// A name that a role or a setting can have.
fn name(token: &Token) -> Option<&str> {
    match token {
        Token::Name(name) if !name.is_empty() && name.len() <= NAME_BYTES => Some(name),
        _ => None,
    }
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// Adds what a statement says; `None` if the program does not write such a statement.
fn understand(tokens: &[Token], globals: &mut Globals) -> Option<()> {
    let words: Vec<&str> = tokens.iter().map_while(word).collect();
    match (words.as_slice(), tokens) {
        (["CREATE", "ROLE"], [_, _, role]) => {
            globals.roles.entry(name(role)?.to_owned()).or_default();
        }
        (["ALTER", "ROLE"], [_, _, role, Token::Word(verb), rest @ ..]) => {
            let role = globals.roles.get_mut(name(role)?)?;
            match verb.as_str() {
                "WITH" => *role = attributes(rest, role.settings.clone())?,
                "SET" => role.settings.push(setting(rest)?),
                _ => return None,
            }
        }
        (["GRANT"], [_, role, Token::Word(to), member, rest @ ..]) if to == "TO" => {
            let mut membership = options(rest)?;
            name(role)?.clone_into(&mut membership.role);
            name(member)?.clone_into(&mut membership.member);
            globals.memberships.push(membership);
        }
        (["CREATE", "TABLESPACE"], [_, _, tablespace, ..]) => {
            globals.tablespaces.push(name(tablespace)?.to_owned());
        }
        (["SET" | "COMMENT" | "SECURITY", ..] | ["ALTER", "TABLESPACE"], _) => {
            globals.others = globals.others.saturating_add(1);
        }
        // Rights on tablespaces and parameters.
        (["GRANT" | "REVOKE", _, ..], tokens) if tokens.contains(&Token::Word("ON".to_owned())) => {
            globals.others = globals.others.saturating_add(1);
        }
        _ => return None,
    }
    Some(())
}

/// `SUPERUSER NOINHERIT … CONNECTION LIMIT 5 PASSWORD '…' VALID UNTIL '…'`
fn attributes(tokens: &[Token], settings: Vec<(String, Vec<String>)>) -> Option<Role> {
    let mut role = Role {
        settings,
        ..Role::default()
    };
    let mut rest = tokens;
    while let Some((Token::Word(word), after)) = rest.split_first() {
        rest = after;
        let (given, bare) = match word.strip_prefix("NO") {
            Some(bare) => (false, bare),
            None => (true, word.as_str()),
        };
        match (word.as_str(), bare, rest) {
            (_, "SUPERUSER", _) => role.superuser = given,
            (_, "INHERIT", _) => role.inherit = given,
            (_, "CREATEROLE", _) => role.create_role = given,
            (_, "CREATEDB", _) => role.create_db = given,
            (_, "LOGIN", _) => role.login = given,
            (_, "REPLICATION", _) => role.replication = given,
            (_, "BYPASSRLS", _) => role.bypass_rls = given,
            ("CONNECTION", _, [Token::Word(limit), Token::Number(most), after @ ..])
                if limit == "LIMIT" =>
            {
                role.connection_limit = u64::from(u32::try_from(*most).ok()?).into();
                rest = after;
            }
            ("PASSWORD", _, [Token::Text(hash), after @ ..]) => {
                role.password = Some(hash.clone()).filter(|hash| is_hash(hash));
                // A server would take anything else for a password in plain text.
                role.password.as_ref()?;
                rest = after;
            }
            ("VALID", _, [Token::Word(until), Token::Text(time), after @ ..])
                if until == "UNTIL" && is_time(time) =>
            {
                role.valid_until = Some(time.clone());
                rest = after;
            }
            _ => return None,
        }
    }
    rest.is_empty().then_some(role)
}

/// `name TO 'value', 'value'`
fn setting(tokens: &[Token]) -> Option<(String, Vec<String>)> {
    let [setting, Token::Word(to), values @ ..] = tokens else {
        return None;
    };
    let mut texts = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match value {
            Token::Comma if at % 2 == 1 => {}
            Token::Text(text) if at % 2 == 0 => texts.push(text.clone()),
            _ => return None,
        }
    }
    let is_whole = to == "TO" && values.len() % 2 == 1;
    is_whole.then_some((name(setting)?.to_owned(), texts))
}

/// `WITH ADMIN OPTION, INHERIT TRUE, SET FALSE GRANTED BY somebody`
fn options(tokens: &[Token]) -> Option<Membership> {
    let mut membership = Membership::default();
    let mut rest = tokens;
    while let Some((Token::Word(first), after)) = rest.split_first() {
        rest = match (first.as_str(), after) {
            ("GRANTED", [Token::Word(by), grantor]) if by == "BY" => {
                name(grantor)?;
                &[]
            }
            ("WITH", after) => after,
            (option, [Token::Word(given), after @ ..]) => {
                let given = match given.as_str() {
                    "OPTION" | "TRUE" => true,
                    "FALSE" => false,
                    _ => return None,
                };
                match option {
                    "ADMIN" => membership.admin = given,
                    "INHERIT" => membership.inherit = Some(given),
                    "SET" => membership.set = Some(given),
                    _ => return None,
                }
                match after {
                    [Token::Comma, after @ ..] => after,
                    after => after,
                }
            }
            _ => return None,
        };
    }
    rest.is_empty().then_some(membership)
}

/// `SCRAM-SHA-256$4096:salt$stored:server`, or `md5` and 32 digits.
fn is_hash(text: &str) -> bool {
    let is_base64 = |text: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        !text.is_empty() && text.len() <= 1024 && text.bytes().all(is_letter)
    };
    let is_digits = |text: &str| {
        !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some(digest) = text.strip_prefix("md5") {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        return digest.len() == 32 && digest.bytes().all(is_digit);
    }
    let parts = text.strip_prefix("SCRAM-SHA-256$").and_then(|rest| {
        let (first, second) = rest.split_once('$')?;
        Some((first.split_once(':')?, second.split_once(':')?))
    });
    parts.is_some_and(|((iterations, salt), (stored, server))| {
        is_digits(iterations) && is_base64(salt) && is_base64(stored) && is_base64(server)
    })
}

/// A time as the server prints it.
fn is_time(text: &str) -> bool {
    let is_of_time = |byte: u8| byte.is_ascii_alphanumeric() || b":+-. ".contains(&byte);
    text.len() <= 64 && text.bytes().all(is_of_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> Globals {
        let mut reader = Reader::default();
        for piece in text.as_bytes().chunks(step) {
            reader.read(piece);
        }
        reader.finish()
    }

    /// As 18 and 14 write it.
    const WRITTEN: &str = r#"--
-- PostgreSQL database cluster dump
--

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE ROLE "Odd ""name""; é --";
ALTER ROLE "Odd ""name""; é --" WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5 PASSWORD 'SCRAM-SHA-256$4096:pAQRdBiKEhh4FOjW0C1PlA==$iP36NhD0NuuqODvC3h6cGxM+dXmEk1hlI2/JHaUuZSE=:vMwi9Rzvn+PDoCpu0Pyd5S9dxu3O5iV4oO5RowFoCAo=' VALID UNTIL '2030-01-01 00:00:00+00';
COMMENT ON ROLE app IS 'hello;
CREATE ROLE evil SUPERUSER;';
CREATE ROLE md;
ALTER ROLE md WITH NOSUPERUSER INHERIT LOGIN PASSWORD 'md5739440c5d87b2b8095b909f9d2a1bbf9';

--
-- User Config "app"; CREATE ROLE evil;
--

ALTER ROLE app SET search_path TO 'a b', 'public';
ALTER ROLE app SET "my.x" TO E'it''s \\ odd
CREATE ROLE evil;';

GRANT app TO "Odd ""name""; é --" WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY postgres;
GRANT app TO md GRANTED BY postgres;
GRANT app TO other WITH ADMIN OPTION GRANTED BY md;
GRANT SET ON PARAMETER log_statement TO md;
CREATE TABLESPACE ts OWNER postgres LOCATION '/somewhere';
GRANT ALL ON TABLESPACE ts TO app;
"#;

    #[test]
    fn what_the_program_writes_is_read_whatever_the_pieces() {
        for step in [1, 2, 3, 7, 64, 100_000] {
            let globals = read(WRITTEN, step);
            assert_eq!((globals.strange, globals.is_cut), (0, false));
            let names: Vec<&str> = globals.roles.keys().map(String::as_str).collect();
            assert_eq!(names, ["Odd \"name\"; é --", "app", "md"]);
            let app = &globals.roles["app"];
            assert_eq!(
                (app.login, app.inherit, app.connection_limit),
                (true, false, Some(5))
            );
            assert!(app.password.as_ref().unwrap().starts_with("SCRAM-SHA-256$"));
            assert_eq!(app.valid_until.as_deref(), Some("2030-01-01 00:00:00+00"));
            assert_eq!(
                app.settings,
                [
                    (
                        "search_path".to_owned(),
                        vec!["a b".to_owned(), "public".to_owned()]
                    ),
                    (
                        "my.x".to_owned(),
                        vec!["it's \\ odd\nCREATE ROLE evil;".to_owned()]
                    )
                ]
            );
            assert!(globals.roles["Odd \"name\"; é --"].create_db);
            let [first, second, third] = &globals.memberships[..] else {
                panic!("{:?}", globals.memberships);
            };
            assert_eq!(
                (first.admin, first.inherit, first.set),
                (true, Some(false), Some(false))
            );
            assert_eq!(
                (second.member.as_str(), second.admin, second.inherit),
                ("md", false, None)
            );
            assert_eq!(
                (third.role.as_str(), third.member.as_str(), third.admin),
                ("app", "other", true)
            );
            assert_eq!(globals.tablespaces, ["ts"]);
        }
    }

    #[test]
    fn what_it_does_not_write_is_counted_and_not_understood() {
        for text in [
            "ALTER ROLE postgres PASSWORD 'x';",
            "CREATE ROLE a SUPERUSER;",
            "CREATE ROLE a LOGIN PASSWORD 'md5739440c5d87b2b8095b909f9d2a1bbf9';",
            "CREATE ROLE U&\"a\";",
            "CREATE ROLE \"\";",
            "CREATE ROLE A;",
            "create role a;",
            "CREATE ROLE a /* b */;",
            "CREATE ROLE a -- b\n;",
            "CREATE USER a;",
            "DROP ROLE a;",
            "DO $$ BEGIN END $$;",
            "SELECT 1;",
            "\\! true\n",
            "\\connect other\n",
            "GRANT a TO b, c;",
            "GRANT a, b TO c;",
            "GRANT a TO b WITH ADMIN OPTION GRANTED BY c, d;",
            "ALTER ROLE a WITH SUPERUSER;",
            "CREATE ROLE a",
            "CREATE ROLE \"a",
            "CREATE ROLE a\0;",
        ] {
            let globals = read(text, 5);
            assert_eq!(globals.strange, 1, "{text}");
            assert_eq!(
                (globals.roles.len(), globals.memberships.len()),
                (0, 0),
                "{text}"
            );
        }
        for attributes in [
            "WITH PASSWORD 'plain'",
            "WITH PASSWORD 'md5739440C5d87b2b8095b909f9d2a1bbf9'",
            "WITH PASSWORD 'SCRAM-SHA-256$4096:a$b:c$d'",
            "WITH PASSWORD 'SCRAM-SHA-256$4096:a''$b:c'",
            "WITH VALID UNTIL 'now''; DROP'",
            "WITH CONNECTION LIMIT 99999999999",
            "WITH SUPERUSER IN ROLE b",
            "WITH NOPASSWORD",
            "SET search_path TO a",
            "SET search_path TO 'a',",
            "SET search_path = 'a'",
            "SET x TO E'\\x41'",
            "IN DATABASE d SET x TO 'a'",
            "RENAME TO b",
        ] {
            let globals = read(&format!("CREATE ROLE a;\nALTER ROLE a {attributes};"), 9);
            assert_eq!(globals.strange, 1, "{attributes}");
            assert_eq!(globals.roles["a"], Role::default(), "{attributes}");
        }
        // Two statements on one line are two statements, and one that is too long is none.
        let globals = read(
            "CREATE ROLE a; ALTER ROLE b PASSWORD 'x'; CREATE ROLE c;",
            4,
        );
        assert_eq!((globals.roles.len(), globals.strange), (2, 1));
        let long = format!(
            "CREATE ROLE a;\nALTER ROLE a SET x TO '{}';CREATE ROLE b;",
            "x".repeat(300_000)
        );
        let globals = read(&long, 4096);
        assert_eq!((globals.roles.len(), globals.strange), (2, 1));
        let name = "x".repeat(64);
        assert_eq!(read(&format!("CREATE ROLE {name};"), 9).strange, 1);
    }

    #[test]
    fn a_hundred_thousand_roles_are_read() {
        let mut text = String::new();
        for number in 0..100_000 {
            text.push_str(&format!(
                "CREATE ROLE r{number};\nALTER ROLE r{number} WITH NOSUPERUSER INHERIT LOGIN;\n"
            ));
        }
        let globals = read(&text, 65_536);
        assert_eq!((globals.roles.len(), globals.strange), (100_000, 0));
    }
}
