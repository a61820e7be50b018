//! What stops a restore, and what to do about it.

use crate::fault::Kind;
use crate::postgres::{self, PostgresError, Refused, Said};
use crate::restore::target::Permits;

/// The code of the error that ended a restore, or its beginning, and what to do. The words only tell apart what has one code
/// in common, where the server speaks English.
const CAUSES: &[(&[&str], &str, &str)] = &[
    // The system's word for it decides which code that has.
    (
        &[""],
        "could not extend file ",
        "the target server's disk is full; make it larger, or restore elsewhere",
    ),
    (
        &["53100"],
        "",
        "the target server's disk is full; make it larger, or restore elsewhere",
    ),
    (
        &["53200"],
        "out of shared memory",
        "one transaction may not lock as many tables, indexes and large objects there; restore into a new database with --create, which needs no such transaction; or raise max_locks_per_transaction and restart that server",
    ),
    (
        &["53200"],
        "",
        "the target server is out of memory; give it more, or raise max_locks_per_transaction if its words are about shared memory",
    ),
    (
        &["53300"],
        "",
        "the target server has no free connection; close idle sessions, or raise max_connections",
    ),
    (
        &["55P03"],
        "",
        "another session uses what --clean would replace; stop the application, then try again",
    ),
    (
        &["57014"],
        "",
        "somebody cancelled the statement, or statement_timeout of the target's role or database did; set that to 0 there (ALTER ROLE … SET statement_timeout = 0), then try again",
    ),
    (
        &["22P05", "22021"],
        "",
        "the target's encoding does not have a letter of the backup; restore into a database with the backup's encoding (createdb --template=template0 --encoding=…), or let restore make it: --create",
    ),
    (
        &["23505", "23503", "23514", "23502", "23P01"],
        "",
        "rows of the backup break a constraint or a unique index of its own, because the source itself holds such rows; mend them there and make a new backup, or save them from this one as docs/restore.md says under \"Rows that break a rule\"",
    ),
    (
        &["25P04"],
        "",
        "transaction_timeout ended the session; set it to 0 for the target's role (ALTER ROLE … SET transaction_timeout = 0), then try again",
    ),
    (
        &["25P03"],
        "",
        "idle_in_transaction_session_timeout ended the session; set it to 0 for the target's role (ALTER ROLE … SET idle_in_transaction_session_timeout = 0), then try again",
    ),
    (
        &["57P01"],
        "",
        "somebody ended the session (pg_terminate_backend), or the server was shut down; find out who and why, then try again",
    ),
    (
        &["57P02", "57P03"],
        "",
        "the target server crashed; look at its log, then try again",
    ),
    (
        &["42704"],
        "unrecognized configuration parameter",
        "the target is older than the server the backup came from; restore into the same major version or a newer one",
    ),
    (
        &["0A000", "58P01"],
        "",
        "the target's server lacks an extension, its library or a feature; restore into a server that has the same extensions, in the same major version or a newer one",
    ),
    (&["42501"], "", RIGHTS),
    (
        &["42704", "42P01", "42883", "42703", "3F000", "3D000"],
        "",
        "the target lacks something that the backup takes for granted, such as a role; create it, then try again",
    ),
    (
        &[
            "42P07", "42710", "42P06", "42723", "42712", "42701", "42P04",
        ],
        "",
        NOT_EMPTY,
    ),
    (
        &["40"],
        "",
        "another session was in the way; stop the application, then try again",
    ),
    (
        &["08", "57P"],
        "",
        "the target server went away; find out why, then try again",
    ),
];

/// The user lacks a right. What there is to do depends on what is left out already.
const RIGHTS: &str = "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-owner --no-privileges";

/// Something is there already.
const NOT_EMPTY: &str = "the target was not empty; restore into a new database";

/// Makes a hint fit what the operator has allowed already, so that it names no flag that is given.
pub(super) fn fit(error: &mut PostgresError, permits: Permits, is_drill: bool) {
    let hint = match error.hint.as_str() {
        RIGHTS if is_drill => {
            "the drill's user may not do this, which says nothing of the backup; prove it with a superuser's URL, or on the embedded server"
        }
        RIGHTS => match (permits.no_owner, permits.no_privileges) {
            (false, false) => RIGHTS,
            (false, true) => {
                "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-owner too"
            }
            (true, false) => {
                "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-privileges too"
            }
            (true, true) if permits.skip.is_everything() => {
                "the user of the target may not do this; restore as the database's owner or a superuser, or have a superuser grant or make what the statement in `error` needs"
            }
            (true, true) => {
                "the user of the target may not do this; restore as the database's owner or a superuser, or, if the statement is about an event trigger, a publication, a subscription or an extension, leave those out with --skip"
            }
        },
        NOT_EMPTY if permits.clean => {
            "something of that name belongs to somebody else than the target's user, and so --clean left it there; restore as its owner or a superuser, or into a new database"
        }
        _ => return,
    };
    hint.clone_into(&mut error.hint);
}

/// Reads what `psql` said while it restored: statements are refused then, not connections.
pub(super) fn of_psql(said: &Said) -> PostgresError {
    let shown = postgres::without_codes(said.shown());
    let refused = postgres::last_error(said.raw()).map(|(code, words)| {
        Box::new(Refused {
            code: code.to_owned(),
            words: words.to_owned(),
            is_within_function: within_function(said.raw()),
        })
    });
    PostgresError {
        refused,
        ..PostgresError::new(
            Kind::Restore,
            postgres::one_line(&shown),
            hint(said.raw()).to_owned(),
        )
    }
}

fn hint(said: &str) -> &'static str {
    let Some((code, text)) = postgres::last_error(said) else {
        return without_code(said);
    };
    if NAMES.contains(&code) && within_function(said) {
        return SEARCH_PATH;
    }
    CAUSES
        .iter()
        .find(|(codes, words, _)| {
            codes.iter().any(|beginning| code.starts_with(beginning)) && text.starts_with(words)
        })
        .map_or(OTHER, |(_, _, hint)| hint)
}

/// What does not exist: a function or an operator, a table, a type, a schema.
const NAMES: [&str; 4] = ["42883", "42P01", "42704", "3F000"];

/// Whether a function of the backup did not find a name, for which there may be a search path.
pub(super) fn wants_search_path(error: &PostgresError) -> bool {
    let refused = error.refused.as_deref();
    refused
        .is_some_and(|refused| refused.is_within_function && NAMES.contains(&refused.code.as_str()))
}

/// What to do about a name without a schema.
const SEARCH_PATH: &str = "a function of the backup, which CONTEXT in `error` names, uses a name without its schema, and a dump is restored with an empty search_path; try again with --search-path public (or the schemas that it means; from PostgreSQL 17 on this does not reach indexes and materialized views), and mend the function in the source: ALTER FUNCTION … SET search_path = …";

/// Whether the last error came up within a function, and not only within the rows of a table. The label is psql's own word;
/// what follows it is in the server's language, and begins with COPY in all of them where it is about rows.
fn within_function(said: &str) -> bool {
    let context = said
        .lines()
        .rev()
        .take_while(|line| !line.starts_with("psql:<stdin>:"))
        .filter_map(|line| line.strip_prefix("CONTEXT:  "))
        .last();
    context.is_some_and(|context| !context.starts_with("COPY "))
}

/// The words of `psql` itself, which are English.
fn without_code(said: &str) -> &'static str {
    let own = |words: &str| {
        said.lines().any(|line| {
            let own = line
                .strip_prefix("psql:<stdin>:")
                .and_then(|line| line.split_once(": "));
            own.is_some_and(|(_, own)| own.starts_with(words))
        })
    };
    if own("error: invalid command \\restrict") {
        return "this psql is older than the pg_dump that made the backup; use this service's image";
    }
    if own("server closed the connection")
        || own("SSL ")
        || own("error: connection to server was lost")
    {
        return "the target server went away; find out why, then try again";
    }
    OTHER
}

const OTHER: &str = "look at psql's own words in `error`, and at what it says of the target";

#[cfg(test)]
mod tests {
    use super::*;
    use stream::replay::skip;

    #[test]
    fn no_hint_names_a_flag_that_is_given() {
        let fitted = |hint: &str, permits, is_drill| {
            let mut error = PostgresError::new(Kind::Restore, String::new(), hint.to_owned());
            fit(&mut error, permits, is_drill);
            error.hint
        };
        let mut permits = Permits::default();
        assert!(fitted(RIGHTS, permits, false).contains("--no-owner --no-privileges"));
        assert_eq!(fitted(NOT_EMPTY, permits, false), NOT_EMPTY);
        assert_eq!(fitted(OTHER, permits, true), OTHER);
        permits.no_owner = true;
        let hint = fitted(RIGHTS, permits, false);
        assert!(hint.contains("--no-privileges") && !hint.contains("--no-owner"));
        permits.no_privileges = true;
        let hint = fitted(RIGHTS, permits, false);
        assert!(hint.contains("--skip") && !hint.contains("--no-"));
        permits.skip = skip::EVERYTHING.into_iter().collect();
        assert!(!fitted(RIGHTS, permits, false).contains("--"));
        assert!(!fitted(RIGHTS, permits, true).contains("--"));
        permits.clean = true;
        assert!(fitted(NOT_EMPTY, permits, false).contains("--clean left it"));
    }

    #[test]
    fn a_code_gets_its_remedy_in_any_language_and_whatever_names_say() {
        for (said, piece) in [
            (
                "psql:<stdin>:9: FEHLER:  53100: konnte Datei »x« nicht erweitern",
                "disk is full",
            ),
            (
                "psql:<stdin>:9: ERROR:  53200: out of shared memory",
                "max_locks_per_transaction and restart",
            ),
            (
                "psql:<stdin>:9: ERROR:  42704: unrecognized configuration parameter \"x\"",
                "older than the server",
            ),
            (
                "psql:<stdin>:9: ERROR:  42704: role \"No space left on device\" does not exist",
                "such as a role",
            ),
            (
                "psql:<stdin>:9: ERROR:  42P07: relation \"permission denied\" already exists",
                "not empty",
            ),
            (
                "psql:<stdin>:9: ERROR:  42501: must be owner of table x",
                "--no-owner",
            ),
            (
                "psql:<stdin>:3: error: invalid command \\restrict",
                "this service's image",
            ),
            (
                "psql:<stdin>:3: SSL connection has been closed unexpectedly\npsql:<stdin>:3: error: connection to server was lost",
                "went away",
            ),
            (
                "psql:<stdin>:9: ERROR:  23505: No space left on device",
                "Rows that break a rule",
            ),
            (
                "psql:<stdin>:9: ERROR:  42883: function lower_name(text) does not exist\nHINT:  x\nCONTEXT:  PL/pgSQL function public.f(text) line 3 at RETURN\nCOPY t, line 1: \"a\"\nLOCATION:  x",
                "--search-path public",
            ),
            (
                "psql:<stdin>:9: FEHLER:  42P01: Relation »x« existiert nicht\nCONTEXT:  SQL-Funktion »f« beim Inlining",
                "--search-path public",
            ),
            (
                "psql:<stdin>:9: ERROR:  42704: type \"x\" does not exist\nCONTEXT:  COPY t, line 1, column a",
                "such as a role",
            ),
            (
                "psql:<stdin>:9: FATAL:  57P01: terminating connection due to administrator command",
                "pg_terminate_backend",
            ),
            (
                "psql:<stdin>:9: FATAL:  25P04: terminating connection due to transaction timeout",
                "transaction_timeout = 0",
            ),
            ("", "psql's own words"),
        ] {
            assert!(hint(said).contains(piece), "{said}: {}", hint(said));
        }
    }
}
