//! `psql` that fills a new database, which nobody uses until all of it is there.
//!
//! There is no transaction around the text: whatever goes wrong, the whole database is dropped. So neither the number of
//! locks nor a `COMMIT` within the text matters. That everything arrived is known from three things: the object was read
//! whole, `psql` ended well, and the server has a sign that was sent behind the text. The sign is a secret until then, and
//! other sessions see it only if it was executed and committed.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::task::JoinSet;

use super::RestoreError;
use super::psql::{self, Started};
use super::walls::no_limits;
use crate::postgres::{Database, PostgresError, Said, Sql, random_key};
use crate::process::running::Running;
use crate::reader::ReadWhole;

/// How long the sign may be asked for.
const LIMIT: Duration = Duration::from_secs(60);

/// `psql` in a new database. Dropped means killed.
pub(super) struct Filling {
    // Fields are dropped in this order: the program is gone before its input is closed.
    running: Running,
    stdin: ChildStdin,
    /// Reads what the text's own queries print, or `psql` would wait.
    _output: JoinSet<()>,
    key: String,
    sign: String,
}

/// How a `psql` ended.
pub(super) struct Ended {
    pub(super) said: Said,
    /// Its exit status; none if a signal ended it.
    pub(super) status: Option<i32>,
}

impl Filling {
    pub(super) fn start(database: &Database<'_>) -> Result<Self, RestoreError> {
        let failed = |error: std::io::Error| RestoreError::Start(error.to_string());
        let (key, sign) = (random_key().map_err(failed)?, random_key().map_err(failed)?);
        let Started {
            running,
            stdin,
            mut stdout,
        } = Started::new(database, "postgres-s3-backups restore", true)?;
        let mut output = JoinSet::new();
        output.spawn(async move {
            let mut piece = [0; 8192];
            while matches!(stdout.read(&mut piece).await, Ok(1..)) {}
        });
        Ok(Self {
            running,
            stdin,
            _output: output,
            key,
            sign,
        })
    }

    /// What comes before the text, with the search path for it, if one was named. Nobody waits for the disk at each statement:
    /// a server that dies takes the new database along, and the renaming at the end is written out with everything before it.
    pub(super) async fn begin(&mut self, search_path: Sql) -> Result<(), ()> {
        let begin = no_limits()
            .sql("SET synchronous_commit TO off;\nSET default_transaction_read_only TO off;\n")
            .piece(&search_path);
        let script = [
            format!("\\restrict {}\n", self.key).as_bytes(),
            begin.as_bytes(),
        ]
        .concat();
        self.stdin.write_all(&script).await.map_err(|_| ())
    }

    /// Where the text goes.
    pub(super) const fn input(&mut self) -> &mut ChildStdin {
        &mut self.stdin
    }

    /// Sends the sign, and waits for the end. `Ok` holds the sign, if `psql` ended well.
    pub(super) async fn end(mut self, _proof: &ReadWhole, database: &str) -> Result<String, Ended> {
        let sign = Sql::new("COMMENT ON DATABASE ")
            .name(database)
            .sql(" IS ")
            .text(&self.sign)
            .sql(";\n");
        let script = [
            format!("\n\\unrestrict {}\n", self.key).as_bytes(),
            b"SET standard_conforming_strings TO on;\n",
            sign.as_bytes(),
        ]
        .concat();
        // If psql has given up already, its status and its words tell.
        drop(self.stdin.write_all(&script).await);
        drop(self.stdin);
        let status = self.running.wait().await;
        let said = self.running.said().await;
        match status {
            Ok(status) if status.success() => Ok(self.sign),
            Ok(status) => Err(Ended {
                said,
                status: status.code(),
            }),
            Err(_) => Err(Ended { said, status: None }),
        }
    }

    /// Ends it before its input ends, and finds out what it said if it ended by itself.
    pub(super) async fn kill(mut self) -> Ended {
        let status = psql::end(&mut self.running).await;
        drop(self.stdin);
        let said = self.running.said().await;
        Ended { said, status }
    }
}

/// Whether the server has the sign, asked in another session, and takes it away.
pub(super) async fn has_sign(
    server: &Database<'_>,
    database: &str,
    sign: &str,
) -> Result<bool, PostgresError> {
    let question = Sql::new("SELECT pg_catalog.count(*) FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) ")
        .text(database)
        .sql(" AND pg_catalog.shobj_description(oid, 'pg_database') OPERATOR(pg_catalog.=) ")
        .text(sign)
        .sql(";");
    if server.ask(&question, LIMIT).await?.trim() != "1" {
        return Ok(false);
    }
    let remove = Sql::new("COMMENT ON DATABASE ")
        .name(database)
        .sql(" IS NULL;");
    server.change(&remove, LIMIT).await?;
    Ok(true)
}
