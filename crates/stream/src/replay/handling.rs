//! Whether a statement is passed on to a restore, by its words (pure).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::needs::{
    GRANTED, GRANTERS, NAME_BYTES, OWNERS, ROLES, TABLESPACES, note, note_grantees, note_names,
    note_skipped, plain, unquoted,
};
use super::{Needs, Omit, skip};

/// The one line of a dump about the search path.
pub(super) const EMPTY_SEARCH_PATH: &str =
    "SELECT pg_catalog.set_config('search_path', '', false);";

/// Settings that end a statement or a session after some time. A dump switches them off with 0.
const LIMITS: [&str; 5] = [
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
];

/// What happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handling {
    Passed,
    LeftOut,
    /// It is replaced by this line.
    Replaced(&'static str),
}

/// Whether a line is one of the `psql` commands that a dump holds. Two of them change the connection, but the restore already
/// has one; the others take keys, and the restore has its own.
pub(super) fn clashes(line: &str) -> bool {
    let words: Vec<&str> = line.split_ascii_whitespace().take(3).collect();
    match words.as_slice() {
        ["\\restrict" | "\\unrestrict", _] => line.starts_with('\\'),
        // If the database has an unusual name, the second comes before the first.
        ["\\connect" | "\\encoding", ..] => line.starts_with('\\'),
        _ => false,
    }
}

/// Decides what happens to one whole statement, and notes what it needs.
pub(super) fn handling_of(line: &str, omit: &Omit, needs: &mut Needs) -> Handling {
    let words = words(line);
    if words.last() != Some(&";") {
        return Handling::Passed;
    }
    // A statement that is left out needs nothing.
    if skip::kind_of(&words).is_some_and(|kind| omit.skip.holds(kind)) {
        note_skipped(&words, needs);
        return Handling::LeftOut;
    }
    let is_left_out = match words.as_slice() {
        ["BEGIN" | "COMMIT", ";"] => !omit.keeps_transactions,
        // A dump made with --create has these lines. The user has already chosen the target of the restore.
        ["CREATE" | "DROP" | "ALTER", "DATABASE", ..]
        | ["COMMENT", "ON", "DATABASE", ..]
        | ["SECURITY", "LABEL", "ON", "DATABASE", ..]
        | ["SECURITY", "LABEL", "FOR", _, "ON", "DATABASE", ..]
        | ["ALTER", "ROLE", _, "IN", "DATABASE", ..] => true,
        ["GRANT" | "REVOKE", rest @ ..] if rest.windows(2).any(|two| two == ["ON", "DATABASE"]) => {
            true
        }
        // The extension brings its own comment, and only its owner may set another.
        ["COMMENT", "ON", "EXTENSION", ..] => true,
        ["CREATE", "SCHEMA", "public", ";"]
        | ["DROP", "SCHEMA", "public", ";"]
        | ["DROP", "SCHEMA", "IF", "EXISTS", "public", ";"] => omit.public_schema,
        ["COMMENT", "ON", "SCHEMA", "public", ..] => omit.public_comment,
        ["SET", "default_tablespace", "=", name, ";"] => {
            let Some(name) = unquoted(name) else {
                return Handling::Passed;
            };
            note(name, needs, TABLESPACES);
            let name = plain(name);
            let may_be_used = |there: &Arc<BTreeSet<String>>| there.contains(&name);
            if omit.tablespaces.as_ref().is_none_or(may_be_used) {
                return Handling::Passed;
            }
            // This must be replaced, because otherwise the previous value would stay in force.
            return Handling::Replaced("SET default_tablespace = '';\n");
        }
        ["SET", "client_encoding", "=", name, ";"] => {
            let name = name.trim_matches('\'');
            needs.encoding = Some(name.to_owned()).filter(|name| name.len() <= NAME_BYTES);
            false
        }
        // Only a dump that somebody changed sets a limit, which could end the restore.
        ["SET", limit, "=" | "TO", value, ";"]
            if LIMITS.contains(limit) && value.trim_matches('\'') != "0" =>
        {
            true
        }
        ["SET", "transaction_timeout", ..] => omit.transaction_timeout,
        ["SELECT", ..] => omit.search_path && line == EMPTY_SEARCH_PATH,
        ["ALTER", .., "OWNER", "TO", role, ";"] => {
            note(role, needs, ROLES);
            note(role, needs, OWNERS);
            omit.owners
        }
        ["GRANT" | "REVOKE", ..] | ["ALTER", "DEFAULT", "PRIVILEGES", ..] => {
            note_grantees(&words, needs);
            needs.public_revoked |= matches!(
                words.as_slice(),
                [
                    "REVOKE",
                    "ALL" | "CREATE",
                    "ON",
                    "SCHEMA",
                    "public",
                    "FROM",
                    "PUBLIC",
                    ..
                ]
            );
            omit.privileges
        }
        ["SET", "SESSION", "AUTHORIZATION", role, ";"] => {
            // These lines stand around grants that somebody other than the owner made.
            if *role != "DEFAULT" {
                let role = role.trim_matches('\'');
                note(role, needs, ROLES);
                note(role, needs, GRANTED);
                note(role, needs, GRANTERS);
            }
            omit.privileges
        }
        ["RESET", "SESSION", "AUTHORIZATION", ";"] => omit.privileges,
        _ => {
            note_names(&words, needs);
            false
        }
    };
    if is_left_out {
        Handling::LeftOut
    } else {
        Handling::Passed
    }
}

/// The words of a line, cut at spaces, commas and the semicolon outside quotes and parentheses. The semicolon itself is a word.
pub(super) fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let (mut quote, mut depth) = (None, 0_u32);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth = depth.saturating_add(1),
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        let cuts = quote.is_none() && depth == 0 && (c.is_whitespace() || c == ',' || c == ';');
        if cuts {
            words.extend(start.take().and_then(|start: usize| line.get(start..at)));
            if c == ';' {
                words.push(";");
            }
        } else {
            start.get_or_insert(at);
        }
    }
    words.extend(start.and_then(|start| line.get(start..)));
    words
}
