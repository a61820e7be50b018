//! Values that must not be seen, and the redactor that removes them from other texts.

pub mod renewable;

use std::fmt;
use std::ops::Range;

/// A value that no log, error or debug output may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Removes known secrets from a text.
///
/// A text must be redacted before it is cut or escaped for people, because half of a secret can't be found.
///
/// A secret is found however it is spelled: as it is, percent-encoded, or with the escapes of JSON, XML, SQL or of
/// [`crate::format::text::visible`]. If a secret has several lines, each line counts as a secret, because texts are read line
/// by line. Not every place where its characters happen to stand is the secret, though: see `Reach`.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Vec<(Secret, Reach)>);

/// Where the characters of a secret are the secret. Weak passwords are words that a log is full of: blacked out everywhere,
/// they would make it unreadable, and give away what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Everywhere, also in the middle of a word.
    Everywhere,
    /// Where they stand alone: a plain word or number.
    Alone,
    /// Where a text gives a secret, as `password=postgres` and `postgres://postgres:postgres@host` do: a word that everybody
    /// uses, or a name that is no secret.
    Given,
}

/// The shortest line of a secret that counts as a secret of its own. A shorter one tells little, and is part of too many texts.
const SHORTEST_LINE: usize = 6;

impl Redactor {
    /// A redactor for these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut all = Vec::new();
        for secret in secrets {
            let lines = secret.0.lines().map(str::trim);
            let lines = lines.filter(|line| line.chars().count() >= SHORTEST_LINE);
            all.extend(lines.map(|line| Secret::new(line.to_owned())));
            all.push(secret.clone());
        }
        all.retain(|secret| !secret.0.is_empty());
        let reaching = all.into_iter().map(|secret| {
            let reach = reach(secret.expose());
            (secret, reach)
        });
        Self(reaching.collect())
    }

    /// The same beside names that may be read: where a user, a database or a host is called as the password is, the name is
    /// still shown.
    #[must_use]
    pub fn beside<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.into_iter().map(str::to_lowercase).collect();
        for (secret, reach) in &mut self.0 {
            if *reach == Reach::Alone && names.contains(&secret.0.to_lowercase()) {
                *reach = Reach::Given;
            }
        }
        self
    }

    /// Takes the secrets of both out.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for known in other.0 {
            if !self.0.contains(&known) {
                self.0.push(known);
            }
        }
        self
    }

    /// How many bytes the longest secret can have in a text, however it is spelled.
    #[must_use]
    pub fn longest(&self) -> usize {
        /// The length of `&#x10ffff;` and similar spellings.
        const LONGEST_SPELLING: usize = 12;
        let signs = self.0.iter().map(|(secret, _)| secret.0.chars().count());
        signs.max().unwrap_or(0).saturating_mul(LONGEST_SPELLING)
    }

    /// The text with each secret replaced. If secrets overlap, all of them are replaced.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (secret, reach) in &self.0 {
            found.extend(places(secret.expose(), *reach, text));
        }
        found.sort_by_key(|place| place.start);
        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for place in found {
            if place.start >= end {
                redacted.push_str(text.get(end..place.start).unwrap_or_default());
                redacted.push_str("[redacted]");
            }
            end = end.max(place.end);
        }
        redacted.push_str(text.get(end..).unwrap_or_default());
        redacted
    }
}

/// The places of a secret in a text.
fn places(secret: &str, reach: Reach, text: &str) -> impl Iterator<Item = Range<usize>> {
    text.char_indices().filter_map(move |(start, _)| {
        let (before, rest) = text.split_at_checked(start)?;
        let length = spelled(secret, rest)?;
        let after = rest.get(length..)?;
        let is_it = match reach {
            Reach::Everywhere => true,
            Reach::Alone => !is_inside_a_word(before, after),
            Reach::Given => !is_inside_a_word(before, after) && is_given(before, after),
        };
        is_it.then_some(start..start.saturating_add(length))
    })
}

/// Words that passwords are made of, and this service's log lines too.
const COMMON: &[&str] = &[
    "access",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "app",
    "application",
    "auth",
    "backup",
    "backups",
    "bucket",
    "client",
    "cloud",
    "connect",
    "connection",
    "container",
    "data",
    "database",
    "default",
    "demo",
    "develop",
    "developer",
    "development",
    "docker",
    "dump",
    "endpoint",
    "error",
    "example",
    "guest",
    "host",
    "key",
    "laptop",
    "local",
    "localhost",
    "login",
    "main",
    "manager",
    "master",
    "minio",
    "minioadmin",
    "name",
    "network",
    "nobody",
    "none",
    "null",
    "object",
    "owner",
    "pass",
    "passwd",
    "password",
    "port",
    "postgres",
    "postgresql",
    "primary",
    "prod",
    "production",
    "public",
    "railway",
    "region",
    "replica",
    "restore",
    "restored",
    "role",
    "root",
    "schema",
    "secret",
    "server",
    "service",
    "session",
    "stage",
    "staging",
    "standby",
    "storage",
    "store",
    "superuser",
    "supabase",
    "system",
    "table",
    "test",
    "tester",
    "testing",
    "token",
    "user",
    "username",
    "verify",
    "website",
    "welcome",
    "worker",
    "write",
];

/// How far a secret reaches.
fn reach(secret: &str) -> Reach {
    const A_WORD: usize = 12;
    const ANYTHING: usize = 4;
    const A_NUMBER: usize = 6;
    let length = secret.chars().count();
    let is_word = secret.chars().all(char::is_alphabetic);
    let is_number = secret.chars().all(|c| c.is_ascii_digit());
    if length < ANYTHING
        || length < A_NUMBER && is_number
        || COMMON.contains(&secret.to_lowercase().as_str())
    {
        Reach::Given
    } else if length < A_WORD && (is_word || is_number) {
        Reach::Alone
    } else {
        Reach::Everywhere
    }
}

/// Whether a text gives a secret at this place: as the password of a URL, or behind a word that says so.
fn is_given(before: &str, after: &str) -> bool {
    /// What says so by itself, as in `the password "postgres"`.
    const SAID: [&str; 5] = ["password", "passwd", "passphrase", "pwd", "secret"];
    /// What says so with a sign between the name and the value.
    const NAMED: [&str; 6] = ["pass", "key", "keyid", "token", "credential", "credentials"];
    /// As much of the text before as is looked at.
    const NEAR: usize = 40;
    let near = before.ceil_char_boundary(before.len().saturating_sub(NEAR));
    let before = before.get(near..).unwrap_or_default().to_ascii_lowercase();
    // In a URL, and in one inside another.
    if [":", "%3a"].iter().any(|sign| before.ends_with(sign))
        && ["@", "%40"].iter().any(|sign| after.starts_with(sign))
    {
        return true;
    }
    let (name, between) = name_before(&before);
    let ends_with = |word: &&str| name.ends_with(*word);
    SAID.iter().any(ends_with) || between.contains(['=', ':', '>']) && NAMED.iter().any(ends_with)
}

/// The last word of a text, and the signs that stand behind it.
fn name_before(text: &str) -> (&str, String) {
    /// More signs than that do not belong to a word.
    const SIGNS: usize = 8;
    let mut rest = text;
    let mut between = String::new();
    for _ in 0..SIGNS {
        if let Some((start, escaped)) = rest
            .len()
            .checked_sub(3)
            .and_then(|at| rest.split_at_checked(at))
            && let Some(digits) = escaped.strip_prefix('%')
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            between.push(char::from(byte));
            rest = start;
        } else if let Some(sign) = rest.chars().next_back()
            && !sign.is_alphanumeric()
        {
            between.push(sign);
            rest = rest.strip_suffix(sign).unwrap_or_default();
        } else {
            break;
        }
    }
    let word = rest
        .rfind(|c: char| !c.is_alphanumeric())
        .and_then(|at| rest.get(at..))
        .unwrap_or(rest);
    (word, between)
}

/// Whether a letter or digit comes directly before or after. The letter of a possible escape, as in `\npostgres`, is not part
/// of a word.
fn is_inside_a_word(before: &str, after: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    let last: Vec<char> = before.chars().rev().take(6).collect();
    let is_escape = match last.as_slice() {
        ['b' | 'f' | 'n' | 'r' | 't', '\\', ..] => true,
        [low, high, '%', ..] => low.is_ascii_hexdigit() && high.is_ascii_hexdigit(),
        [digits @ .., 'u', '\\'] => digits.iter().all(char::is_ascii_hexdigit),
        _ => false,
    };
    after.starts_with(is_letter) || last.first().is_some_and(|c| is_letter(*c)) && !is_escape
}

/// How many bytes at the beginning of a text spell this secret. A character may have several spellings, and one can begin like
/// another, so all possible ends are followed.
fn spelled(secret: &str, text: &str) -> Option<usize> {
    let mut ends = vec![0];
    for sign in secret.chars() {
        let mut further = Vec::new();
        for end in ends {
            let rest = text.get(end..).unwrap_or_default();
            further.extend(spellings(sign, rest).map(|length| end.saturating_add(length)));
        }
        if further.is_empty() {
            return None;
        }
        further.dedup();
        ends = further;
    }
    ends.into_iter().max()
}

/// The lengths of all spellings of a character with which a text begins.
fn spellings(sign: char, text: &str) -> impl Iterator<Item = usize> {
    let plain = text.starts_with(sign).then(|| sign.len_utf8());
    // Most characters do not begin an escape.
    let escaped = text.starts_with(['%', '\\', '&', '+', '\'', '"']);
    let escapes = escaped.then(|| escapes(sign)).into_iter().flatten();
    let of_text = move |escape: String| {
        let start = text.get(..escape.len())?;
        // Hexadecimal digits can be in capitals or small letters.
        let same = match escape.as_bytes() {
            [b'%' | b'\\' | b'&', ..] => start.eq_ignore_ascii_case(&escape),
            _ => start == escape,
        };
        same.then_some(escape.len())
    };
    plain.into_iter().chain(escapes.filter_map(of_text))
}

/// All ways to write a character, except the character itself.
fn escapes(sign: char) -> Vec<String> {
    let (mut bytes, mut units) = ([0; 4], [0; 2]);
    let bytes = sign.encode_utf8(&mut bytes).bytes();
    let units = sign.encode_utf16(&mut units).iter();
    let code = u32::from(sign);
    let mut escapes = vec![
        bytes.map(|byte| format!("%{byte:02x}")).collect(),
        units.map(|unit| format!("\\u{unit:04x}")).collect(),
        sign.escape_unicode().to_string(),
        format!("&#{code};"),
        format!("&#x{code:x};"),
    ];
    let named = match sign {
        ' ' => &["+"][..],
        '&' => &["&amp;"],
        '<' => &["&lt;"],
        '>' => &["&gt;"],
        '"' => &["&quot;", "\"\""],
        '\'' => &["&apos;", "''"],
        '\n' => &["\\n"],
        '\r' => &["\\r"],
        '\t' => &["\\t"],
        '\u{8}' => &["\\b"],
        '\u{c}' => &["\\f"],
        _ => &[],
    };
    escapes.extend(named.iter().map(|name| (*name).to_owned()));
    if sign.is_ascii_punctuation() {
        escapes.push(format!("\\{sign}"));
    }
    escapes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = secrets
            .iter()
            .map(|s| Secret::new((*s).to_owned()))
            .collect();
        Redactor::new(&secrets).redact(text)
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2".to_owned());
        assert!(!format!("{secret:?}").contains("hunter"));
        assert_eq!(
            redact(&["hunter2"], "a hunter2 bhunter2c"),
            "a [redacted] b[redacted]c"
        );
        assert_eq!(redact(&["", "x"], "y"), "y");
    }

    #[test]
    fn where_secrets_overlap_all_of_them_go_and_what_is_written_instead_is_left_alone() {
        for (secrets, text, left) in [
            (
                &["s3cret", "s3cret-long"][..],
                "s3cret-long s3cret",
                "[redacted] [redacted]",
            ),
            (&["ab12cd", "cd34ef"], "ab12cd34ef!", "[redacted]!"),
            (
                &["redacted", "[red"],
                "[red redacted",
                "[redacted] [redacted]",
            ),
            (
                &["aaa1"],
                "aaaa1 aaa1aaa1",
                "a[redacted] [redacted][redacted]",
            ),
        ] {
            assert_eq!(redact(secrets, text), left, "{text}");
        }
    }

    #[test]
    fn a_secret_is_found_however_it_is_spelled() {
        let secret = "p@ss\"w'\\ rd/<&>\n\u{1b}%é😀%25x";
        let json = serde_json::to_string(secret).unwrap();
        let percent =
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        for spelled in [
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            percent.clone(),
            percent.to_lowercase(),
            percent.replace("%20", "+"),
            crate::format::text::visible(secret).into_owned(),
            crate::format::text::visible_json(&json)
                .trim_matches('"')
                .to_owned(),
            secret.escape_debug().to_string(),
            secret.escape_default().to_string(),
            secret
                .chars()
                .map(|c| format!("\\u{:04X}", u32::from(c)))
                .take(8)
                .collect::<String>()
                + &secret.chars().skip(8).collect::<String>(),
            secret.replace('\'', "''").replace('"', "\"\""),
            secret
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#39;"),
        ] {
            assert_eq!(
                redact(&[secret], &format!("x{spelled}y")),
                "x[redacted]y",
                "{spelled}"
            );
        }
    }

    #[test]
    fn of_a_secret_of_several_lines_no_line_shows() {
        let key = "-----BEGIN\nfirst1line\r\nx\nlast2line\n";
        for (text, left) in [
            ("said first1line here", "said [redacted] here"),
            ("x", "x"),
            ("-----BEGIN\nfirst1line\r\nx\nlast2line\n!", "[redacted]!"),
        ] {
            assert_eq!(redact(&[key], text), left);
        }
    }

    #[test]
    fn a_secret_that_is_a_plain_word_is_taken_out_only_where_it_stands_alone() {
        for (secret, text, left) in [
            (
                "postgres",
                "postgresql://h mypostgres postgres_x postgres9",
                "postgresql://h mypostgres postgres_x postgres9",
            ),
            (
                "hunter",
                "user \"hunter\" at :hunter@h, hunters",
                "user \"[redacted]\" at :[redacted]@h, hunters",
            ),
            (
                "hunter",
                "a%20hunter%20b \\nhunter\\n \\u0020hunter",
                "a%20[redacted]%20b \\n[redacted]\\n \\u0020[redacted]",
            ),
            ("543210", "port 5432101, 543210", "port 5432101, [redacted]"),
            // A secret that has a digit in it, or is long, does not appear in a text by chance.
            ("hunter2", "xhunter2x", "x[redacted]x"),
            ("abcdefghijkl", "xabcdefghijklx", "x[redacted]x"),
        ] {
            assert_eq!(redact(&[secret], text), left);
        }
    }

    #[test]
    fn a_word_that_everybody_uses_stays_readable_except_where_it_is_given_as_a_secret() {
        for (secret, text, left) in [
            (
                "postgres",
                "role \"postgres\" of the database postgres on postgres.railway.internal: postgres",
                "role \"postgres\" of the database postgres on postgres.railway.internal: postgres",
            ),
            (
                "postgres",
                "password authentication failed for user \"postgres\"",
                "password authentication failed for user \"postgres\"",
            ),
            (
                "postgres",
                "postgres://postgres:postgres@postgres:5432/postgres",
                "postgres://postgres:[redacted]@postgres:5432/postgres",
            ),
            (
                "postgres",
                "next=postgres%3A%2F%2Fpostgres%3Apostgres%40postgres",
                "next=postgres%3A%2F%2Fpostgres%3A[redacted]%40postgres",
            ),
            (
                "postgres",
                "host=postgres user=postgres password=postgres dbname=postgres",
                "host=postgres user=postgres password=[redacted] dbname=postgres",
            ),
            (
                "postgres",
                "?user=postgres&password=postgres&password%3Dpostgres",
                "?user=postgres&password=[redacted]&password%3D[redacted]",
            ),
            (
                "postgres",
                "ALTER ROLE postgres PASSWORD 'postgres'; PGPASSWORD=postgres",
                "ALTER ROLE postgres PASSWORD '[redacted]'; PGPASSWORD=[redacted]",
            ),
            (
                "postgres",
                r#"{"user": "postgres", "password": "postgres", "Password":"postgres"}"#,
                r#"{"user": "postgres", "password": "[redacted]", "Password":"[redacted]"}"#,
            ),
            (
                "Postgres",
                "Postgres is not postgres, the password \"Postgres\" is",
                "Postgres is not postgres, the password \"[redacted]\" is",
            ),
            (
                "minioadmin",
                "the key minioadmin: <AWSAccessKeyId>minioadmin</AWSAccessKeyId> Credential=minioadmin/20260125",
                "the key minioadmin: <AWSAccessKeyId>[redacted]</AWSAccessKeyId> Credential=[redacted]/20260125",
            ),
            ("5432", "port 5432, pwd=5432", "port 5432, pwd=[redacted]"),
            ("a", "a bad day a:a@a", "a bad day a:[redacted]@a"),
            ("backup", "no backup :backup@h", "no backup :[redacted]@h"),
        ] {
            assert_eq!(redact(&[secret], text), left, "{secret}");
        }
    }

    #[test]
    fn a_name_stays_readable_if_the_password_is_the_same_word() {
        let secret = Secret::new("Tinder".to_owned());
        let redactor = Redactor::new([&secret]).beside(["tinder", "h"]);
        assert_eq!(
            redactor.redact("database \"tinder\" is not Tinder: tinder:Tinder@h"),
            "database \"tinder\" is not Tinder: tinder:[redacted]@h"
        );
        let secret = Secret::new("hunter2".to_owned());
        let redactor = Redactor::new([&secret]).beside(["hunter2"]);
        assert_eq!(redactor.redact("hunter2"), "[redacted]");
    }
}
