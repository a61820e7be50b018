//! A new database for a backup, as much like the one that was backed up as the server allows.
//!
//! What decides how text is compared, sorted and changed to capitals is not in a dump: encoding, locale provider, locale and
//! rules are in the backup's head. Each major can say a little more of it than the one before, and a server may lack a
//! locale. So there are several statements, from the best likeness to the plainest, and the first that the server
//! accepts decides what is said of the database.

use std::time::Duration;

use crate::dump::label::Traits;
use crate::fault::Kind;
use crate::postgres::{Database, PostgresError, Sql};
use crate::reader::Summary;

/// How long making a database may take: the server copies template0, and may wait for a checkpoint.
const LIMIT: Duration = Duration::from_secs(300);

/// How far a new database compares and sorts as the one that was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Likeness {
    /// It has the same locale.
    Same,
    /// The backup does not say which locale its database had; the new one has the server's usual one, or C.
    Unknown,
    /// The server does not have this locale, described for a person. The new database has the nearest one.
    Different(String),
}

/// A way to make the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The end of `CREATE DATABASE`.
    options: Sql,
    /// What the result is like.
    pub likeness: Likeness,
}

/// Makes a database of that name for a backup, empty but for what every database has.
///
/// # Errors
/// What the server said to the best of all ways, if it accepts none.
pub async fn make(
    server: &Database<'_>,
    major: u16,
    name: &str,
    summary: &Summary,
) -> Result<Likeness, PostgresError> {
    let usual = Sql::new(
        "SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) 'template0';",
    );
    let usual = server.ask(&usual, LIMIT).await?;
    let traits = summary
        .head
        .as_ref()
        .and_then(|head| head.origin.database.as_ref());
    let dumped_in = summary.needs.encoding.as_deref();
    let mut first_error = None;
    for way in ways(traits, dumped_in, usual.trim(), major) {
        match server.run(&way.statement(name), LIMIT).await {
            Ok(_) => return Ok(way.likeness),
            Err(error) if error.kind == Kind::Connect => {
                return Err(first_error.unwrap_or(error));
            }
            // Words and codes differ between majors and providers. That a plainer statement works shows what was wrong
            // with this one.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| crate::postgres::not_understood(server.client)))
}

impl Way {
    /// The whole statement.
    #[must_use]
    pub fn statement(&self, name: &str) -> Sql {
        Sql::new("SET standard_conforming_strings TO on;\nCREATE DATABASE ")
            .name(name)
            .sql(" TEMPLATE template0")
            .piece(&self.options)
            .sql(";")
    }
}

/// The ways to make a database for a backup on a server of that major, the best first. Without traits, it is made in the
/// encoding of the dump; `usual` is the encoding of template0.
#[must_use]
pub fn ways(traits: Option<&Traits>, dumped_in: Option<&str>, usual: &str, major: u16) -> Vec<Way> {
    let Some(traits) = traits.filter(|traits| !traits.encoding.is_empty()) else {
        return vec![without_traits(dumped_in, usual, major)];
    };
    let libc = |collate: &str, ctype: &str| {
        let options = Sql::new(" ENCODING ").text(&traits.encoding);
        // template0 can have another provider, and gives it to its copies.
        let options = options.sql(if major < 15 {
            ""
        } else {
            " LOCALE_PROVIDER libc"
        });
        options
            .sql(" LC_COLLATE ")
            .text(collate)
            .sql(" LC_CTYPE ")
            .text(ctype)
    };
    let different = Likeness::Different(described(traits));
    let locale = traits.locale.as_deref().unwrap_or("C");
    let rules = traits.rules.as_deref().filter(|rules| !rules.is_empty());
    let mut ways = Vec::new();
    let mut add = |options: Sql, likeness: &Likeness| {
        if ways.iter().all(|way: &Way| way.options != options) {
            ways.push(Way {
                options,
                likeness: likeness.clone(),
            });
        }
    };
    match traits.provider.as_str() {
        "icu" if major >= 15 => {
            // Here libc's part decides next to nothing, and its locale is often missing in an image.
            for (collate, ctype) in [(traits.collate.as_str(), traits.ctype.as_str()), ("C", "C")] {
                let options = Sql::new(" ENCODING ")
                    .text(&traits.encoding)
                    .sql(" LOCALE_PROVIDER icu ICU_LOCALE ")
                    .text(locale)
                    .sql(" LC_COLLATE ")
                    .text(collate)
                    .sql(" LC_CTYPE ")
                    .text(ctype);
                match rules {
                    Some(rules) if major >= 16 => {
                        add(options.sql(" ICU_RULES ").text(rules), &Likeness::Same);
                    }
                    Some(_) => add(options, &different),
                    None => add(options, &Likeness::Same),
                }
            }
            add(libc(&traits.collate, &traits.ctype), &different);
        }
        "icu" => add(libc(&traits.collate, &traits.ctype), &different),
        "builtin" => {
            for (collate, ctype) in [(traits.collate.as_str(), traits.ctype.as_str()), ("C", "C")] {
                let builtin = |locale: &str| {
                    Sql::new(" ENCODING ")
                        .text(&traits.encoding)
                        .sql(" LOCALE_PROVIDER builtin BUILTIN_LOCALE ")
                        .text(locale)
                        .sql(" LC_COLLATE ")
                        .text(collate)
                        .sql(" LC_CTYPE ")
                        .text(ctype)
                };
                if major >= 17 {
                    add(builtin(locale), &Likeness::Same);
                }
            }
            if major >= 17 && locale != "C" {
                // 18 has more of them than 17.
                let nearest = Sql::new(" ENCODING ").text(&traits.encoding).sql(
                    " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'",
                );
                add(nearest, &different);
            }
            // Every builtin locale sorts by code points, as C does in UTF8; they differ in what is a letter.
            if locale == "C" {
                add(libc("C", "C"), &Likeness::Same);
            } else {
                add(libc("C", "C.UTF-8"), &different);
            }
        }
        _ => {
            add(libc(&traits.collate, &traits.ctype), &Likeness::Same);
            // Every image of Debian has this one; in it letters are letters, as in any other locale of this encoding.
            if traits.encoding == "UTF8" {
                add(libc("C", "C.UTF-8"), &different);
            }
        }
    }
    add(libc("C", "C"), &different);
    ways
}

/// As a backup without a description of itself is proven.
fn without_traits(dumped_in: Option<&str>, usual: &str, major: u16) -> Way {
    let encoding = dumped_in.filter(|name| is_plain(name) && !CLIENTS_ONLY.contains(name));
    let options = match encoding {
        Some(encoding) if encoding != usual => Sql::new(" ENCODING ")
            .text(encoding)
            .sql(if major < 15 {
                ""
            } else {
                " LOCALE_PROVIDER libc"
            })
            .sql(" LC_COLLATE 'C' LC_CTYPE 'C'"),
        _ => Sql::new(""),
    };
    Way {
        options,
        likeness: Likeness::Unknown,
    }
}

/// The locale of a database, for a person.
#[must_use]
pub fn described(traits: &Traits) -> String {
    let locale = traits.locale.as_deref().unwrap_or("C");
    match traits.provider.as_str() {
        "icu"
            if traits
                .rules
                .as_deref()
                .is_some_and(|rules| !rules.is_empty()) =>
        {
            format!("{locale} of ICU with rules of its own")
        }
        "icu" => format!("{locale} of ICU"),
        "builtin" => format!("{locale} of the builtin provider"),
        _ if traits.collate == traits.ctype => traits.collate.clone(),
        _ => format!(
            "{} for sorting and {} for letters",
            traits.collate, traits.ctype
        ),
    }
}

/// The encodings that a dump can have (`--encoding`) and a database can't.
const CLIENTS_ONLY: [&str; 7] = [
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

/// Whether this can be the name of an encoding.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(provider: &str, collate: &str, locale: Option<&str>, rules: Option<&str>) -> Traits {
        Traits {
            encoding: "UTF8".to_owned(),
            provider: provider.to_owned(),
            collate: collate.to_owned(),
            ctype: collate.to_owned(),
            locale: locale.map(str::to_owned),
            rules: rules.map(str::to_owned),
            ..Traits::default()
        }
    }

    /// Each way, as its options and whether it is the same, unknown or different.
    fn check(traits: Option<&Traits>, major: u16, expected: &[&str]) {
        let ways = ways(traits, Some("LATIN1"), "UTF8", major);
        let shown: Vec<String> = ways
            .iter()
            .map(|way| {
                let likeness = match &way.likeness {
                    Likeness::Same => "same",
                    Likeness::Unknown => "unknown",
                    Likeness::Different(_) => "different",
                };
                let options = String::from_utf8_lossy(way.options.as_bytes()).into_owned();
                format!("{likeness}:{options}")
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_major_is_asked_for_what_it_knows() {
        let libc = traits("libc", "de_DE", None, None);
        check(
            Some(&libc),
            14,
            &[
                "same: ENCODING 'UTF8' LC_COLLATE 'de_DE' LC_CTYPE 'de_DE'",
                "different: ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE U&'C\\002eUTF\\002d8'",
                "different: ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        check(
            Some(&libc),
            18,
            &[
                "same: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'de_DE' LC_CTYPE 'de_DE'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE U&'C\\002eUTF\\002d8'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        let icu = traits("icu", "C", Some("de"), None);
        check(
            Some(&icu),
            14,
            &["different: ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"],
        );
        check(
            Some(&icu),
            15,
            &[
                "same: ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de' LC_COLLATE 'C' LC_CTYPE 'C'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        let ruled = traits("icu", "C", Some("de"), Some("abc"));
        check(
            Some(&ruled),
            15,
            &[
                "different: ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de' LC_COLLATE 'C' LC_CTYPE 'C'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        check(
            Some(&ruled),
            16,
            &[
                "same: ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de' LC_COLLATE 'C' LC_CTYPE 'C' ICU_RULES 'abc'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        let builtin = traits("builtin", "C", Some("C"), None);
        check(
            Some(&builtin),
            16,
            &["same: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"],
        );
        check(
            Some(&traits("builtin", "C", Some("X_1"), None)),
            17,
            &[
                "same: ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'X_1' LC_COLLATE 'C' LC_CTYPE 'C'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE U&'C\\002eUTF\\002d8'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            ],
        );
        // A C that is C is no other one.
        check(
            Some(&traits("libc", "C", None, None)),
            17,
            &[
                "same: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
                "different: ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE U&'C\\002eUTF\\002d8'",
            ],
        );
    }

    #[test]
    fn without_a_head_the_encoding_of_the_dump_counts() {
        check(
            None,
            14,
            &["unknown: ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"],
        );
        for (dumped_in, usual) in [
            (None, "UTF8"),
            (Some("UTF8"), "UTF8"),
            (Some("SJIS"), "UTF8"),
            (Some("a;b"), "UTF8"),
        ] {
            let ways = ways(None, dumped_in, usual, 18);
            assert_eq!(
                String::from_utf8_lossy(ways[0].statement("n").as_bytes()),
                "SET standard_conforming_strings TO on;\nCREATE DATABASE \"n\" TEMPLATE template0;"
            );
        }
    }

    #[test]
    fn a_locale_is_described() {
        for (traits, expected) in [
            (traits("libc", "de_DE", None, None), "de_DE"),
            (traits("icu", "C", Some("de"), Some("")), "de of ICU"),
            (
                traits("icu", "C", Some("de"), Some("&a<b")),
                "de of ICU with rules of its own",
            ),
            (
                traits("builtin", "C", Some("C.UTF-8"), None),
                "C.UTF-8 of the builtin provider",
            ),
        ] {
            assert_eq!(described(&traits), expected);
        }
    }
}
