//! Whether a database is in use, and how large it is: what a person should know before it is replaced.

use std::time::Duration;

use serde::Deserialize;

use super::ask;
use crate::format::{grouped, size, span};
use crate::postgres::{Database, PostgresError, Sql};

/// What the server tells about the use of a database. What this user may not know is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// `pg_database_size`
    size_bytes: Option<u64>,
    /// How many other sessions are connected to it.
    sessions: u64,
    /// How long ago one of them began or ended a statement.
    seconds_since_statement: Option<i64>,
    /// How many rows were inserted, updated and deleted.
    rows_written: Option<u64>,
    /// Since how long the server has counted them.
    seconds_counted: Option<i64>,
    /// How long ago a table was read, by whomever. Servers before 16 do not know it.
    seconds_since_read: Option<i64>,
}

impl Activity {
    /// Asks the server about the database of this name; `None` if it has no such database.
    ///
    /// # Errors
    /// Whatever `psql` said.
    pub async fn ask(database: &Database<'_>, name: &str) -> Result<Option<Self>, PostgresError> {
        ask(database, &question(name)).await
    }

    /// The size, if the user may know it.
    #[must_use]
    pub fn size(&self) -> Option<String> {
        self.size_bytes.map(size)
    }

    /// Who uses it now.
    #[must_use]
    pub fn sessions(&self) -> String {
        let sessions = match self.sessions {
            0 => return "no other session is connected to it now".to_owned(),
            1 => "1 other session is connected to it".to_owned(),
            many => format!("{} other sessions are connected to it", grouped(many)),
        };
        match self.seconds_since_statement {
            Some(seconds) => format!("{sessions}, the newest statement {}", ago(seconds)),
            None => sessions,
        }
    }

    /// What was done with it before, if the server has counted that.
    #[must_use]
    pub fn past(&self) -> Option<String> {
        let written = self.rows_written.map(|rows| {
            let since = match self.seconds_counted {
                Some(seconds) => format!("in the last {}", span(duration(seconds))),
                None => "since the server began to count".to_owned(),
            };
            format!("{} rows written {since}", grouped(rows))
        });
        let read = self
            .seconds_since_read
            .map(|seconds| format!("a table was last read {}", ago(seconds)));
        let known: Vec<String> = written.into_iter().chain(read).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn ago(seconds: i64) -> String {
    format!("{} ago", span(duration(seconds)))
}

/// All times are told as the server's clock has them, which need not be this machine's.
fn question(name: &str) -> Sql {
    Sql::new("SELECT COALESCE((SELECT pg_catalog.json_build_object(
    'size_bytes', CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END,
    'sessions', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid OPERATOR(pg_catalog.=) d.oid
        AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL),
    'seconds_since_statement', (SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.max(COALESCE(state_change, backend_start)))::bigint
        FROM pg_catalog.pg_stat_activity a WHERE a.datid OPERATOR(pg_catalog.=) d.oid AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL),
    'rows_written', s.tup_inserted OPERATOR(pg_catalog.+) s.tup_updated OPERATOR(pg_catalog.+) s.tup_deleted,
    'seconds_counted', pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.stats_reset)::bigint,
    'seconds_since_read', CASE WHEN d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() THEN (
        SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.max(value::pg_catalog.timestamptz))::bigint
        FROM pg_catalog.pg_stat_user_tables u, pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(u)) AS e (key, value)
        WHERE key OPERATOR(pg_catalog.=) ANY ('{last_seq_scan,last_idx_scan}')) END)
    FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_stat_database s ON s.datid OPERATOR(pg_catalog.=) d.oid WHERE d.datname OPERATOR(pg_catalog.=) ")
    .text(name)
    .sql("), 'null');")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        let unused = Activity::default();
        assert_eq!(unused.sessions(), "no other session is connected to it now");
        assert_eq!((unused.size(), unused.past()), (None, None));
        let used = Activity {
            size_bytes: Some(1_234_567_890),
            sessions: 3,
            seconds_since_statement: Some(12),
            rows_written: Some(48_211),
            seconds_counted: Some(3 * 86_400),
            seconds_since_read: Some(-2),
        };
        assert_eq!(used.size().as_deref(), Some("1.2 GB"));
        assert_eq!(
            used.sessions(),
            "3 other sessions are connected to it, the newest statement 12 seconds ago"
        );
        assert_eq!(
            used.past().as_deref(),
            Some(
                "48,211 rows written in the last 3 days, a table was last read less than a second ago"
            )
        );
        let hidden = Activity {
            sessions: 1,
            rows_written: Some(0),
            ..Activity::default()
        };
        assert_eq!(hidden.sessions(), "1 other session is connected to it");
        assert_eq!(
            hidden.past().as_deref(),
            Some("0 rows written since the server began to count")
        );
    }
}
