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
    pub(super) fn of(cause: Cause, otherwise: Kind, said: &str) -> Self {
        Self {
            kind: cause.kind(otherwise),
            cause,
            text: one_line(said),
            hint: cause.meaning().hint.to_owned(),
            refused: None,
        }
    }

    /// The failure of a `psql` that asked one of our questions and ended with this status.
    #[must_use]
    pub(super) fn of_psql(said: &Said, status: Option<i32>) -> Self {
        let shown = message::without_codes(said.shown());
        // Status 2: there is no connection, or no longer one. 3: a statement failed. Anything else is a failure of psql itself.
        let (cause, otherwise) = match status {
            Some(2) => (words::of_lost_psql(said), Kind::Connect),
            _ => (words::of_statement(said), Kind::Internal),
        };
        Self::of(cause, otherwise, &shown)
    }

    /// The failure of a `pg_dump` that ended with an error. `has_output` says that it had a session.
    #[must_use]
    pub fn of_pg_dump(said: &Said, has_output: bool) -> Self {
        let (cause, otherwise) = words::of_pg_dump(said, has_output);
        Self::of(cause, otherwise, said.shown())
    }

    /// Adds the code with which the server refused.
    #[must_use]
    pub(super) fn with_code(self, code: &str) -> Self {
        let text = format!("{} (SQLSTATE {code})", self.text);
        let cause = words::of_refusal_code(code);
        Self::of(cause, self.kind, &text)
    }

    /// The same failure, with a cause that was found out later.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self::of(cause, self.kind, &self.text)
    }

    /// Completes the hint: it names the variable that holds this URL, its user and its database.
    #[must_use]
    pub fn about(mut self, url: &DatabaseUrl) -> Self {
        let redactor = url.redactor();
        let quoted = |name: &str| {
            // A name that is also the password is not shown.
            if redactor.redact(name) == name {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                "…".to_owned()
            }
        };
        self.hint = self
            .hint
            .replace("BACKUP_DATABASE_URL", url.variable())
            .replace("{user}", &quoted(url.user()))
            .replace("{database}", &quoted(url.database()));
        self
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
    fn names_in_a_hint_are_quoted_and_never_the_password() {
        let hint = |url: &str| {
            let url = DatabaseUrl::parse(url).unwrap().0;
            PostgresError::of(Cause::NoConnectRight, Kind::Connect, "x")
                .about(&url)
                .hint
        };
        assert!(
            hint("postgres://a%22b:secret@h/My%20Db")
                .ends_with("run: GRANT CONNECT ON DATABASE \"My Db\" TO \"a\"\"b\";")
        );
        assert!(hint("postgres://postgres:postgres@h/d").ends_with("ON DATABASE \"d\" TO …;"));
        let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
        let url = url.from_variable("RESTORE_DATABASE_URL");
        let error = PostgresError::of(Cause::Password, Kind::Connect, "x").about(&url);
        assert!(
            error.hint.starts_with("RESTORE_DATABASE_URL has"),
            "{}",
            error.hint
        );
    }

    #[test]
    fn a_hint_has_no_place_left_open_but_those_for_names() {
        for cause in Cause::ALL {
            let url = DatabaseUrl::parse("postgres://u:p@h/d").unwrap().0;
            let hint = PostgresError::of(cause, Kind::DumpExit, "x")
                .about(&url)
                .hint;
            let hint = hint.replace("${{Postgres.DATABASE_URL}}", "");
            assert!(
                !hint.contains(['{', '}']) && hint.len() > 30,
                "{cause:?}: {hint}"
            );
        }
    }
}
