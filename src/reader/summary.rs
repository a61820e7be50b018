//! What a backup says of itself.

use std::sync::Arc;

use stream::replay::Needs;
use stream::script::{self, Contents, Unchecked};

use crate::dump::label::Head;

/// What a backup says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows, tables and bytes.
    pub contents: Contents,
    /// Roles and extensions.
    pub needs: Needs,
    /// Constraints that the source had not checked against its rows (`NOT VALID`).
    pub unchecked_constraints: Vec<Unchecked>,
    /// Whether there were more of them than are kept.
    pub has_more_unchecked: bool,
    /// Statements that define something: none of rows, of settings, or of transactions.
    pub definitions: u64,
    /// Statements that begin, end or name a transaction. A dump of `pg_dump` holds none but those that a restore leaves out.
    pub transaction_statements: u64,
    /// Commands to `psql` itself, the same.
    pub client_commands: u64,
    /// The version of the server it came from.
    pub dumped_from: String,
    /// The version of the `pg_dump` that made it.
    pub dumped_by: String,
    /// Its description of itself; backups of older versions have none.
    pub head: Option<Arc<Head>>,
}

impl Summary {
    /// The major version of the server it came from.
    #[must_use]
    pub fn server_major(&self) -> Option<u16> {
        major(&self.dumped_from)
    }

    /// Says how far a backup that describes nothing of itself was found whole.
    pub fn tell_how_whole(&self, name: &str) {
        if self.head.is_none() {
            tracing::info!(
                name,
                hint = "it was made by a version of this service that bound its parts together by no checksum",
                "backup whole as far as gzip and the dump can tell"
            );
        }
    }

    /// Says what is odd about a backup that was read whole. None of it is a reason not to restore it: a restore has other
    /// means to hold statements and commands off that are not its own.
    pub fn warn(&self, name: &str) {
        if self.transaction_statements > 0 || self.client_commands > 0 {
            tracing::warn!(
                name,
                transaction_statements = self.transaction_statements,
                client_commands = self.client_commands,
                hint = "find out who wrote this object; a restore of it changes nothing, or ends with an error",
                "backup holds what no dump of pg_dump holds"
            );
        }
        if let Some(inside) = self.contents.ends_inside {
            tracing::warn!(name, inside = %inside, hint = script::ENDS_INSIDE_HINT, "backup ends inside of something");
        }
        if self.contents.has_more_tables {
            tracing::warn!(
                name,
                tables = self.contents.tables.len(),
                hint = "the rows of the others are in the sum only",
                "backup holds too many tables to count them one by one"
            );
        }
    }
}

fn major(version: &str) -> Option<u16> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
