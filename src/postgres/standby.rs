//! What a standby lacks: the rows of unlogged tables are only on the primary.

use std::time::Duration;

use super::{Database, PostgresError, Sql};

/// How many tables are named; more are only counted.
const NAMED: usize = 3;

/// The unlogged tables of a standby. They are empty there, whatever they hold on the primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unlogged {
    /// How many there are.
    pub count: usize,
    /// Some of them, by name.
    pub first: Vec<String>,
}

impl Unlogged {
    /// Asks the server. On a primary no rows are missing, so there are none.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn ask(database: &Database<'_>, limit: Duration) -> Result<Self, PostgresError> {
        let question = Sql::new(
            r"
SELECT pg_catalog.format('%I.%I', nspname, relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) relnamespace
WHERE pg_catalog.pg_is_in_recovery() AND relpersistence OPERATOR(pg_catalog.=) 'u' AND relkind OPERATOR(pg_catalog.=) 'r'
ORDER BY 1 LIMIT 10000;
",
        );
        let answer = database.ask(&question, limit).await?;
        let names = || answer.lines().filter(|name| !name.is_empty());
        Ok(Self {
            count: names().count(),
            first: names().take(NAMED).map(str::to_owned).collect(),
        })
    }

    /// `3 unlogged tables (a, b, …)`
    #[must_use]
    pub fn text(&self) -> String {
        let what = if self.count == 1 { "table" } else { "tables" };
        let more = if self.count > self.first.len() {
            ", …"
        } else {
            ""
        };
        format!(
            "{} unlogged {what} ({}{more})",
            self.count,
            self.first.join(", ")
        )
    }
}

/// What to do about them.
pub const UNLOGGED_HINT: &str = "unlogged tables are empty on a standby, so their rows are not in the backup: back up the primary if they matter, or make them logged (ALTER TABLE … SET LOGGED)";
