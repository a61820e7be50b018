//! The reasons why a drill can't find out anything about a backup: its server lacks something that the backup needs.
//!
//! These reasons are recognized by lists and codes: by what the dump asks for and what the server has, by whether each
//! extension can be created on its own, and by the SQLSTATE of the error that ended the restore.

use std::borrow::Cow;

use super::DrillError;
use crate::postgres::{PostgresError, Refused};
use crate::restore::target::{Refusals, Survey, missing};
use stream::replay::Needs;

/// What is in the way, and which setting to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    reason: String,
    hint: Cow<'static, str>,
}

/// The facts about the drill's server that can explain why a restore failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// Whether the drill's user is a superuser, who may do everything.
    pub(super) is_superuser: bool,
    /// Whether the server is older than the one that was dumped.
    pub(super) is_older: bool,
    /// An extension of the backup that the server has but can't create, and why not.
    pub(super) refused_extension: Option<(String, String)>,
}

const EXTENSIONS: &str = "drill on a server that has them, in VERIFY_DATABASE_URL (or --into); or, for embedded drills, build the image with them (build argument SERVER_EXTENSIONS)";
const EXTENSION: &str = "drill on a server that can create it, in VERIFY_DATABASE_URL (or --into): some extensions must be preloaded (shared_preload_libraries), and some can be in one database of a server only; else restore it by hand and compare";
const RIGHTS: &str = "drill as a user who may do it, such as a superuser, in VERIFY_DATABASE_URL (or --into), or set that to embedded";
const LOCALE: &str = "drill on a server that has this locale, in VERIFY_DATABASE_URL (or --into), such as one of the image that the source runs in";
const OLDER: &str = "drill on a server of the source's major version or a newer one, in VERIFY_DATABASE_URL (or --into)";
const FEATURE: &str = "drill on a server that was built with what `error` names, in VERIFY_DATABASE_URL (or --into), such as one of the image that the source runs in";
const ROLES: &str = "create them on the drill's server (CREATE ROLE), or set VERIFY_DATABASE_URL (or --into) to embedded, which makes them";
const UNCOUNTED: &str = "restore it by hand and compare; rows are counted one by one where they come by COPY, which --inserts and its like in BACKUP_OPTIONS turn off";

impl Obstacle {
    /// What the server lacks, as far as that is known before the restore.
    pub(super) fn beforehand(needs: &Needs, server: &Survey) -> Option<Self> {
        let extensions = missing(&needs.extensions, &server.available_extensions);
        if let Some(extensions) = extensions {
            return Some(Self {
                reason: format!("the drill's server does not have these extensions: {extensions}"),
                hint: Cow::Borrowed(EXTENSIONS),
            });
        }
        missing(&needs.named_roles, &server.roles).map(|roles| Self {
            reason: format!(
                "policies or user mappings name roles that the drill's server does not have: {roles}"
            ),
            hint: Cow::Borrowed(ROLES),
        })
    }

    /// A restore that refused to begin.
    pub(super) fn refused(refusals: &Refusals) -> Self {
        Self {
            reason: refusals.to_string(),
            hint: refusals.hint().to_owned().into(),
        }
    }

    /// A failure in a database that compares and sorts in another way than the one that was dumped.
    pub(super) fn locale(locale: &str, error: &DrillError) -> Self {
        Self {
            reason: format!("the drill's server lacks the locale {locale}, without which: {error}"),
            hint: Cow::Borrowed(LOCALE),
        }
    }

    /// Rows that the drill's user can't see.
    pub(super) fn hidden(tables: &str) -> Self {
        Self {
            reason: format!(
                "row-level security hides rows from the drill's user, so they can't be counted: {tables}"
            ),
            hint: Cow::Borrowed(RIGHTS),
        }
    }

    /// Rows that were not counted.
    pub(super) fn uncounted(what: String) -> Self {
        Self {
            reason: what,
            hint: Cow::Borrowed(UNCOUNTED),
        }
    }

    /// The error that ended the restore, if the drill's server is the cause of it.
    pub(super) fn afterwards(error: &PostgresError, place: &Surroundings) -> Option<Self> {
        let because = |what: &str, hint: &'static str| Self {
            reason: format!("{what}: {}", error.text),
            hint: hint.into(),
        };
        if let Some((name, why)) = &place.refused_extension {
            return Some(Self {
                reason: format!("the drill's server can't create the extension {name}: {why}"),
                hint: Cow::Borrowed(EXTENSION),
            });
        }
        let Refused { code, words, .. } = error.refused.as_deref()?;
        match code.as_str() {
            "42501" if !place.is_superuser => {
                Some(because("the drill's user lacks a right", RIGHTS))
            }
            // Several errors share this code. The words only tell them apart, if the server speaks English.
            "42704" if words.starts_with("collation ") => {
                Some(because("the drill's server lacks a locale", LOCALE))
            }
            "22023" if words.starts_with("could not create locale ") => {
                Some(because("the drill's server lacks a locale", LOCALE))
            }
            "08000" | "08003" | "08006" => None,
            _ if code.starts_with("53") || code.starts_with("57") || code.starts_with("40") => None,
            _ if place.is_older => Some(because(
                "the drill's server is older than the one that was dumped",
                OLDER,
            )),
            "0A000" | "58P01" => Some(because("the drill's server lacks a feature", FEATURE)),
            _ => None,
        }
    }
}

impl From<Obstacle> for DrillError {
    fn from(obstacle: Obstacle) -> Self {
        Self::Unprovable {
            reason: obstacle.reason,
            hint: obstacle.hint.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    fn error(code: &str, words: &str) -> PostgresError {
        PostgresError {
            refused: Some(Box::new(Refused {
                code: code.to_owned(),
                words: words.to_owned(),
                is_within_function: false,
            })),
            ..PostgresError::new(Kind::Restore, words.to_owned(), String::new())
        }
    }

    #[test]
    fn a_refusal_is_the_places_fault_by_its_code() {
        let plain = Surroundings::default;
        let superuser = || Surroundings {
            is_superuser: true,
            ..plain()
        };
        let older = || Surroundings {
            is_older: true,
            ..superuser()
        };
        let extension = || Surroundings {
            refused_extension: Some(("pg_cron".to_owned(), "no".to_owned())),
            ..superuser()
        };
        for (code, words, place, hint) in [
            ("42501", "permission denied", plain(), Some(RIGHTS)),
            ("42501", "permission denied", superuser(), None),
            (
                "42704",
                "collation \"x\" for encoding \"UTF8\" does not exist",
                superuser(),
                Some(LOCALE),
            ),
            (
                "22023",
                "could not create locale \"x\"",
                superuser(),
                Some(LOCALE),
            ),
            (
                "42704",
                "type \"collation \" does not exist",
                superuser(),
                None,
            ),
            ("42704", "type \"x\" does not exist", older(), Some(OLDER)),
            ("53100", "disk full", older(), None),
            (
                "0A000",
                "ICU is not supported in this build",
                superuser(),
                Some(FEATURE),
            ),
            ("23505", "duplicate key", plain(), None),
            (
                "P0001",
                "can only create extension in database postgres",
                extension(),
                Some(EXTENSION),
            ),
        ] {
            let found = Obstacle::afterwards(&error(code, words), &place);
            assert_eq!(
                found.as_ref().map(|obstacle| obstacle.hint.as_ref()),
                hint,
                "{code} {words}"
            );
        }
        let silent = PostgresError::new(Kind::Restore, String::new(), String::new());
        assert_eq!(Obstacle::afterwards(&silent, &plain()), None);
    }
}
