//! Whether a server can hold a lock on every table of a database at the same time, as a dump does.

use std::time::Duration;

use super::{Database, PostgresError, Sql, not_understood};

/// How many tables there are, and how many locks the server has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locks {
    /// How many tables a dump of everything locks.
    pub tables: u64,
    /// How many locks the settings make room for. All sessions share this room, and in practice it is a little larger.
    pub room: u64,
}

impl Locks {
    /// Asks the server.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn ask(database: &Database<'_>, limit: Duration) -> Result<Self, PostgresError> {
        let question = Sql::new(
            r"
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) relnamespace
        WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')
          AND NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid OPERATOR(pg_catalog.=) c.oid
              AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e')),
       (SELECT pg_catalog.sum(setting::bigint) FROM pg_catalog.pg_settings
        WHERE name OPERATOR(pg_catalog.=) ANY ('{max_connections,max_prepared_transactions,max_worker_processes,max_wal_senders,autovacuum_max_workers}')),
       pg_catalog.current_setting('max_locks_per_transaction');
",
        );
        let answer = database.ask(&question, limit).await?;
        let numbers = answer.trim().split('\t').map(str::parse);
        let numbers: Option<Vec<u64>> = numbers.map(Result::ok).collect();
        match numbers.as_deref() {
            Some(&[tables, processes, each]) => Ok(Self {
                tables,
                room: processes.saturating_mul(each),
            }),
            _ => Err(not_understood(database.client)),
        }
    }

    /// Whether there is not enough room for all tables, even if no other session holds a lock.
    #[must_use]
    pub const fn are_too_few(&self) -> bool {
        self.tables > self.room
    }
}
