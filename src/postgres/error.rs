//! A failure between this service and a database, as it is shown to people.

use super::cause::Cause;
use super::said::Said;
use super::{DatabaseUrl, message, words};
use crate::fault::{Diagnosed, Kind};

/// What went wrong between this service and the database.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PostgresError {
    /// The kind of the failure.
    pub kind: Kind,
    /// The cause, as far as it is known.
    pub cause: Cause,
    /// The database's or its client's own words, redacted.
    pub text: String,
    /// What to do.
    pub hint: String,
    /// The server's error that ended it, if that is known.
    pub refused: Option<Box<Refused>>,
}

/// An error that a server reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its SQLSTATE.
    pub code: String,
    /// Its message, in the server's language.
    pub words: String,
    /// Whether it happened in the body of a function.
    pub is_within_function: bool,
}

impl Diagnosed for PostgresError {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hint(&self) -> &str {
        &self.hint
    }

    fn is_retryable(&self) -> bool {
        self.kind.is_retryable() && !self.cause.is_hopeless()
    }
}

impl PostgresError {
    /// A failure that this service found itself.
    #[must_use]
    pub const fn new(kind: Kind, text: String, hint: String) -> Self {
        Self {
            kind,
            cause: Cause::Other,
            text,
            hint,
            refused: None,
        }
    }

    /// A failure with a known cause. It gets the kind `otherwise` if the cause has none of its own.
    #[must_use]
    pub(super) fn of(cause: Cause, otherwise: Kind, said: &str, url: &DatabaseUrl) -> Self {
        Self {
            kind: cause.kind(otherwise),
            cause,
            text: one_line(said),
            hint: cause.hint(url),
            refused: None,
        }
    }

    /// The failure of a `psql` that asked one of our questions and ended with this status.
    #[must_use]
    pub(super) fn of_psql(said: &Said, status: Option<i32>, url: &DatabaseUrl) -> Self {
        let shown = message::without_codes(said.shown());
        // Status 2: there is no connection, or no longer one. 3: a statement failed. Anything else is a failure of psql itself.
        let (cause, otherwise) = match status {
            Some(2) => (words::of_lost_psql(said), Kind::Connect),
            _ => (words::of_statement(said), Kind::Internal),
        };
        Self::of(cause, otherwise, &shown, url)
    }

    /// The failure of a `pg_dump` that ended with an error. `has_output` says that it had a session.
    #[must_use]
    pub fn of_pg_dump(said: &Said, has_output: bool, url: &DatabaseUrl) -> Self {
        let (cause, otherwise) = words::of_pg_dump(said, has_output);
        Self::of(cause, otherwise, said.shown(), url)
    }

    /// Adds the code with which the server refused.
    #[must_use]
    pub(super) fn with_code(self, code: &str, url: &DatabaseUrl) -> Self {
        let text = format!("{} (SQLSTATE {code})", self.text);
        let cause = words::of_refusal_code(code);
        Self::of(cause, self.kind, &text, url)
    }

    /// The same failure, with a cause that was found out later.
    #[must_use]
    pub fn because(self, cause: Cause, url: &DatabaseUrl) -> Self {
        Self::of(cause, self.kind, &self.text, url)
    }
}

/// Several lines as one.
pub(crate) fn one_line(said: &str) -> String {
    said.trim()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_hint_are_quoted_and_stay_readable_beside_a_weak_password() {
        let hint = |url: &str| {
            let url = DatabaseUrl::parse(url).unwrap().0;
            Cause::NoConnectRight.hint(&url)
        };
        assert!(
            hint("postgres://a%22b:secret@h/My%20Db")
                .ends_with("run: GRANT CONNECT ON DATABASE \"My Db\" TO \"a\"\"b\";")
        );
        for name in ["postgres", "tinder"] {
            let hint = hint(&format!("postgres://{name}:{name}@h/d"));
            assert!(
                hint.ends_with(&format!("ON DATABASE \"d\" TO \"{name}\";")),
                "{hint}"
            );
        }
        assert!(hint("postgres://hunter2:hunter2@h/d").ends_with("TO …;"));
        let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
        let url = url.from_variable("RESTORE_DATABASE_URL");
        let hint = Cause::Password.hint(&url);
        assert!(hint.starts_with("RESTORE_DATABASE_URL has"), "{hint}");
    }

    #[test]
    fn no_hint_names_another_variable_than_that_of_the_url() {
        for cause in Cause::ALL {
            let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
            let hint = cause.hint(&url.from_variable("RESTORE_DATABASE_URL"));
            assert!(
                !hint.contains("BACKUP_DATABASE_URL") && hint.len() > 30,
                "{cause:?}: {hint}"
            );
        }
    }
}
