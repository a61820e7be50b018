//! Whether a database can hold the letters of a backup.

use crate::dump::label::Traits;
use crate::reader::Summary;

/// What becomes of the letters of a backup in a database of another encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Letters {
    /// They are the same letters there.
    Fit,
    /// The server translates them, and refuses one that its encoding does not have.
    MayLack {
        /// The encoding that they came from.
        from: String,
    },
    /// Nothing translates them or looks at them: what comes back from there is not what was stored.
    Unreadable {
        /// The encoding of their bytes.
        from: String,
    },
}

/// The encoding that stands for bytes without a meaning. The server neither translates nor checks what comes in it.
const BYTES: &str = "SQL_ASCII";

impl Letters {
    /// Judges them. Only letters beyond ASCII differ from one encoding to the other.
    #[must_use]
    pub(super) fn of(backup: &Summary, target: &str) -> Self {
        // A version of this service that did not ask the target, or a backup that was not read to its first rows.
        let Some(written) = backup.needs.encoding.as_deref() else {
            return Self::Fit;
        };
        if target.is_empty() || !backup.needs.has_letters_beyond_ascii {
            return Self::Fit;
        }
        // `pg_dump --encoding` writes in another one than the database's, and the server made sure that it can be read as such.
        // Only where it writes mere bytes they are still those of the database.
        let stored = database(backup).map(|traits| traits.encoding.as_str());
        let from = match stored {
            Some(stored) if written == BYTES => stored,
            _ => written,
        };
        if from == target {
            Self::Fit
        } else if from == BYTES || target == BYTES || written == BYTES {
            Self::Unreadable {
                from: from.to_owned(),
            }
        } else if target == "UTF8" || stored == Some(target) {
            Self::Fit
        } else {
            Self::MayLack {
                from: stored.unwrap_or(from).to_owned(),
            }
        }
    }
}

/// The line that makes a database for the letters of a backup.
///
/// Names of locales come from the backup, so only those are written of which a shell makes nothing else.
#[must_use]
pub(super) fn createdb(backup: &Summary, from: &str) -> String {
    let is_plain = |word: &&str| {
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"_.@-".contains(&b);
        !word.is_empty() && word.len() <= 100 && word.bytes().all(is_letter)
    };
    let plain = |word: &str| Some(word).filter(is_plain).map(str::to_owned);
    let encoding = plain(from).unwrap_or_else(|| BYTES.to_owned());
    let locale = database(backup)
        .filter(|traits| traits.encoding == from)
        .and_then(|traits| {
            let (collate, ctype) = (plain(&traits.collate)?, plain(&traits.ctype)?);
            let usual = if collate == ctype {
                format!("--locale={collate}")
            } else {
                format!("--lc-collate={collate} --lc-ctype={ctype}")
            };
            let locale = traits.locale.as_deref().and_then(plain);
            Some(match (traits.provider.as_str(), locale) {
                ("icu", Some(locale)) => {
                    format!("{usual} --locale-provider=icu --icu-locale={locale}")
                }
                ("builtin", Some(locale)) => {
                    format!("{usual} --locale-provider=builtin --builtin-locale={locale}")
                }
                _ => usual,
            })
        });
    format!(
        "createdb --template=template0 --encoding={encoding} {} NAME",
        locale.as_deref().unwrap_or("--locale=C")
    )
}

fn database(backup: &Summary) -> Option<&Traits> {
    backup.head.as_ref()?.origin.database.as_ref()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dump::label::{Head, Origin};
    use stream::replay::Needs;

    fn backup(written: &str, stored: Option<&str>, has_letters_beyond_ascii: bool) -> Summary {
        let head = stored.map(|encoding| {
            let database = Traits {
                encoding: encoding.to_owned(),
                collate: "de_DE.utf8".to_owned(),
                ctype: "de_DE.utf8".to_owned(),
                ..Traits::default()
            };
            Arc::new(Head {
                origin: Origin {
                    database: Some(database),
                    ..Origin::default()
                },
                ..Head::default()
            })
        });
        Summary {
            needs: Needs {
                encoding: Some(written.to_owned()),
                has_letters_beyond_ascii,
                ..Needs::default()
            },
            head,
            ..Summary::default()
        }
    }

    #[test]
    fn bytes_without_a_meaning_get_none_elsewhere() {
        let unreadable = |from: &str| Letters::Unreadable {
            from: from.to_owned(),
        };
        let may_lack = |from: &str| Letters::MayLack {
            from: from.to_owned(),
        };
        for (written, stored, target, expected) in [
            ("UTF8", Some("UTF8"), "UTF8", Letters::Fit),
            ("UTF8", None, "UTF8", Letters::Fit),
            ("SQL_ASCII", Some("SQL_ASCII"), "SQL_ASCII", Letters::Fit),
            (
                "SQL_ASCII",
                Some("SQL_ASCII"),
                "UTF8",
                unreadable("SQL_ASCII"),
            ),
            ("SQL_ASCII", None, "UTF8", unreadable("SQL_ASCII")),
            ("UTF8", Some("UTF8"), "SQL_ASCII", unreadable("UTF8")),
            ("LATIN1", Some("LATIN1"), "UTF8", Letters::Fit),
            ("UTF8", Some("UTF8"), "LATIN1", may_lack("UTF8")),
            ("LATIN1", Some("LATIN1"), "LATIN9", may_lack("LATIN1")),
            // pg_dump --encoding
            ("UTF8", Some("SQL_ASCII"), "UTF8", Letters::Fit),
            ("UTF8", Some("LATIN1"), "LATIN1", Letters::Fit),
            ("LATIN1", Some("UTF8"), "LATIN1", Letters::Fit),
            ("LATIN1", Some("UTF8"), "UTF8", Letters::Fit),
            ("SQL_ASCII", Some("UTF8"), "UTF8", Letters::Fit),
            ("SQL_ASCII", Some("UTF8"), "LATIN1", unreadable("UTF8")),
        ] {
            let found = Letters::of(&backup(written, stored, true), target);
            assert_eq!(found, expected, "{written} of {stored:?} into {target}");
            let ascii = Letters::of(&backup(written, stored, false), target);
            assert_eq!(ascii, Letters::Fit);
        }
    }

    #[test]
    fn the_line_holds_the_locale_and_nothing_that_a_shell_understands() {
        let line = |summary: &Summary, from| createdb(summary, from);
        let known = backup("UTF8", Some("UTF8"), true);
        assert_eq!(
            line(&known, "UTF8"),
            "createdb --template=template0 --encoding=UTF8 --locale=de_DE.utf8 NAME"
        );
        let unknown = backup("SQL_ASCII", None, true);
        assert_eq!(
            line(&unknown, "SQL_ASCII"),
            "createdb --template=template0 --encoding=SQL_ASCII --locale=C NAME"
        );
        let mut odd = backup("UTF8", Some("UTF8"), true);
        let head = odd.head.as_mut().and_then(Arc::get_mut).unwrap();
        let database = head.origin.database.as_mut().unwrap();
        database.collate = "C; reboot".to_owned();
        assert!(line(&odd, "UTF8").ends_with("--encoding=UTF8 --locale=C NAME"));
        assert!(!line(&odd, "$(x)").contains('$'));
    }
}
