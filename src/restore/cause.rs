//! What stops a restore, and what to do about it.

use crate::kind::Kind;
use crate::postgres::{self, PostgresError, Refused, Said};

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
        "the target has more tables than one transaction may lock there; raise max_locks_per_transaction and restart that server",
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
        &["42704"],
        "unrecognized configuration parameter",
        "the target is older than the server the backup came from; restore into the same major version or a newer one",
    ),
    (
        &["0A000", "58P01"],
        "",
        "the target's server lacks an extension, its library or a feature; restore into a server that has the same extensions, in the same major version or a newer one",
    ),
    (
        &["42501"],
        "",
        "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-owner --no-privileges",
    ),
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
        "the target was not empty; restore into a new database",
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

/// Reads what `psql` said while it restored: statements are refused then, not connections.
pub(super) fn of_psql(said: &Said) -> PostgresError {
    let shown = postgres::without_codes(said.shown());
    let refused = postgres::last_error(said.raw()).map(|(code, words)| {
        Box::new(Refused {
            code: code.to_owned(),
            words: words.to_owned(),
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
    CAUSES
        .iter()
        .find(|(codes, words, _)| {
            codes.iter().any(|beginning| code.starts_with(beginning)) && text.starts_with(words)
        })
        .map_or(OTHER, |(_, _, hint)| hint)
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
                "psql's own words",
            ),
            ("", "psql's own words"),
        ] {
            assert!(hint(said).contains(piece), "{said}: {}", hint(said));
        }
    }
}
